//! Every setting of the server: its name, what it means, its default.
//!
//! One name for the file (`connections_max`), the environment (`ENQ_CONNECTIONS_MAX`) and the command line
//! (`--connections-max`). The manual pages enqd(8) and enqd.toml(5) are made from this table.

use super::value::{Size, Value};
use enq_protocol::{
    vocabulary::{NAME_LEN_MAX, VALUE_LEN_MAX},
    wire::{FRAME_LEN_MAX, FRAME_LEN_MAX_BEFORE_SESSION},
};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// One setting, for who goes through them all.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in the file.
    pub name: &'static str,
    /// What it means, one doc comment.
    about: &'static str,
    /// What stands for its value in help texts.
    pub place: &'static str,
    /// Does the file hold its value without quotation marks?
    pub is_bare: bool,
    /// Gives it this value.
    pub(super) set: fn(&mut Settings, &str) -> Result<(), String>,
    show: fn(&Settings) -> String,
}

impl Key {
    /// What it means, as a sentence.
    #[must_use]
    pub fn about(&self) -> &'static str {
        self.about.trim()
    }

    /// Its value, as it is written.
    #[must_use]
    pub fn value(&self, settings: &Settings) -> String {
        (self.show)(settings)
    }

    /// Its name on the command line, without the hyphens in front.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// Its name in the environment.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("ENQ_{}", self.name.to_uppercase())
    }
}

macro_rules! settings {
    ($($(#[doc = $about:literal])+ $name:ident: $kind:ty = $default:expr;)+) => {
        /// What a server can be told.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Settings {
            $($(#[doc = $about])+ pub $name: $kind,)+
        }

        impl Default for Settings {
            fn default() -> Settings {
                Settings { $($name: $default,)+ }
            }
        }

        /// All settings, in the order of the manual.
        pub const KEYS: &[Key] = &[$(
            Key {
                name: stringify!($name),
                about: concat!($($about),+),
                place: <$kind as Value>::PLACE,
                is_bare: <$kind as Value>::BARE,
                set: |settings, text| {
                    settings.$name = <$kind as Value>::read(text)?;
                    Ok(())
                },
                show: |settings| Value::write(&settings.$name),
            },
        )+];
    };
}

settings! {
    /// Addresses to serve clients on. Port 0 picks a free one.
    listen: Vec<SocketAddr> = vec![SocketAddr::from(([127, 0, 0, 1], 21_065))];
    /// Directory that keeps the epoch of the server's boots and which leases may outlive it. Without it: $STATE_DIRECTORY, else enq in the user's state
    /// directory.
    state_dir: Option<PathBuf> = None;
    /// Directory of the journal: sessions, locks and value blocks survive a restart, a crash, a loss of power; what is answered
    /// is on disk. Without it the server is volatile. It is made if only its last name is missing.
    data_dir: Option<PathBuf> = None;
    /// As many bytes of the journal are read again by a start, at most about: when so much has been written, and as much as
    /// the last snapshot has, another one is taken.
    snapshot_every: Size = Size::kib(16 * 1_024);
    /// The length of each file that the journal is written into. At least one is in use and two are in reserve, so the disk needs
    /// four times as much, and room for three snapshots. Two in reserve take the releases of so many locks when the disk is full.
    segment_size: Size = Size::kib(64 * 1_024);
    /// Nobody holds a lock of the server that ran here before: do not wait for leases of before. Two may hold one lock if
    /// this is not true.
    no_survivors: bool = false;
    /// What is logged to standard error: error, warn, info, debug, trace, or a filter such as enq::server=debug.
    log_level: String = "info".into();
    /// Log one JSON object a line.
    log_json: bool = false;
    /// After how long a wait the log tells, at the level info, that a request waits and for whom, and later how that ended;
    /// 0s for never.
    log_wait_after: Duration = Duration::from_secs(10);

    /// Connections that are served at a time.
    connections_max: u32 = 20_000;
    /// Of these, the part in a hundred that is kept for who takes a session up again or looks. Who opens a session there is
    /// told UNAVAILABLE.
    connections_kept_percent: u8 = 10;
    /// Connections from one address, this machine's own apart.
    connections_a_source_max: u32 = 4_096;
    /// Connections that have not sent a whole first frame. When there are more, the oldest of them is closed.
    connections_unauthenticated_max: u32 = 512;
    /// How long the first byte of a connection may take.
    first_frame_timeout: Duration = Duration::from_secs(2);
    /// How long the whole first frame may take, and who comes to a kept place to show what for.
    handshake_timeout: Duration = Duration::from_secs(5);
    /// How long the rest of a frame may take once it has begun.
    frame_timeout: Duration = Duration::from_secs(10);
    /// How long a client may take none of what is written to it; if the lease of its session is longer, so long.
    write_timeout: Duration = Duration::from_secs(10);
    /// How long it may do so when outbox_hard is passed.
    outbox_timeout: Duration = Duration::from_secs(1);
    /// After how long a silence the network asks whether the other side is still there.
    keepalive: Duration = Duration::from_secs(15);
    /// The longest frame.
    frame_max: Size = Size(FRAME_LEN_MAX);
    /// The longest first frame.
    frame_first_max: Size = Size(FRAME_LEN_MAX_BEFORE_SESSION);
    /// Requests of a session in flight: not answered, or with answers that are not acknowledged.
    window_requests: u32 = 1_024;
    /// The bytes of these requests.
    window_bytes: Size = Size::kib(256);
    /// Output that a client has not read, beyond which its requests are put aside, but for those that give something up.
    outbox_soft: Size = Size::kib(256);
    /// Output that a client has not read, beyond which it loses its connection unless it reads on. Its session lives.
    outbox_hard: Size = Size::kib(1_024);

    /// The shortest lease a session may ask for.
    ttl_min: Duration = Duration::from_secs(1);
    /// The longest lease a session may ask for: how long its locks may outlive their holder.
    ttl_max: Duration = Duration::from_secs(60);
    /// Locks a session may have, in any queue; 0 for any number.
    locks_a_session_max: u32 = 100_000;
    /// Requests of a session that may wait or convert: the room for their completions is set aside.
    waiting_a_session_max: u32 = 10_000;
    /// Requests that may wait or convert on one resource.
    waiting_a_resource_max: u32 = 10_000;
    /// The longest name of a resource, in bytes.
    name_max: u16 = 255;
    /// How many levels below its root a tree may have.
    depth_max: u8 = 127;
    /// The longest value block that a lockspace may allow, in bytes.
    value_max: u16 = 1_024;
    /// Memory for all that is kept: at least an eighth of it for sessions and connections, a sixteenth for the answers to
    /// those that give something up, the rest for locks. auto: three quarters of what the machine or the control group
    /// has.
    memory_max: Option<Size> = None;
    /// Entries of what happened to locks that each of 256 shards keeps for enq history, 128 bytes each; 0 for none. However many,
    /// all together never take more than a 32nd of memory_max.
    history_entries: u32 = 1_024;
}

/// Bounds that the protocol sets and no server can move up.
pub(super) const FRAME_MAX: usize = FRAME_LEN_MAX;
pub(super) const FRAME_FIRST_MAX: usize = FRAME_LEN_MAX_BEFORE_SESSION;
pub(super) const NAME_MAX: usize = NAME_LEN_MAX;
pub(super) const VALUE_MAX: usize = VALUE_LEN_MAX;
