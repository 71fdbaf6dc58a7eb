//! What an operator can say, and what the server makes of it.
//!
//! Read in this order: `settings` (every name with its meaning and default), `value` (how values are written), `source`
//! (file, environment, command line), `relations` (what must fit together). What is not known is refused, and so is what
//! contradicts itself: a server never guesses what was meant.

mod machine;
mod relations;
mod settings;
mod source;
mod value;

pub use machine::make_room_for;
pub use settings::{KEYS, Key, Settings};
pub use source::{ConfigError, Origin, Task, Told, command};
pub use value::Size;

use super::{DoorLimits, TTL_MS_MAX_UNKEPT, in_ms};
use crate::{
    engine::{HISTORY_ENTRY_LEN, Limits},
    log::Place,
    table::SHARDS,
};
use std::{env, net::SocketAddr, path::PathBuf, time::Duration};

/// The part of the memory that flight recorders may take: one in so many.
const HISTORY_PART: usize = 32;

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// Where its epoch is kept, and which leases may outlive it.
    pub state: Place,
    /// Where its journal is, if it has one.
    pub data_dir: Option<PathBuf>,
    /// As many bytes of records are between two snapshots.
    pub snapshot_every: usize,
    /// The length of a segment of its journal.
    pub segment_bytes: usize,
    /// An operator asserts that there are no leases of before.
    pub no_survivors: bool,
    /// How many may come in.
    pub door: DoorLimits,
    /// What sessions and resources may have.
    pub limits: Limits,
    /// How long it waits for its peers.
    pub patience: Patience,
    /// What a session may have in flight.
    pub window: Window,
    /// How long frames may be, and how much unread.
    pub bounds: Bounds,
    /// How long leases may be.
    pub leases: LeaseLimits,
    /// After how long a silence the network asks for the other side.
    pub keepalive: Duration,
    /// After how long a wait the log tells of it; zero for never.
    pub log_wait_after: Duration,
}

/// What a session may have in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Requests.
    pub requests: u32,
    /// Their bytes.
    pub bytes: u32,
}

/// How long frames may be, and how much may be unread, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Any frame.
    pub frame: usize,
    /// The first frame of a connection.
    pub first_frame: usize,
    /// Unread output beyond which a peer's requests are parked, but for those that make the table smaller.
    pub soft: usize,
    /// Unread output beyond which the connection ends, unless the peer reads on. The session lives on its lease.
    pub hard: usize,
}

impl Bounds {
    /// Unread output beyond which the connection ends, although the peer reads: more than the completions of all that a
    /// session may have waiting, value blocks and all.
    #[must_use]
    pub fn last(&self) -> usize {
        self.hard.saturating_mul(16)
    }
}

impl From<&Settings> for Bounds {
    fn from(settings: &Settings) -> Bounds {
        Bounds {
            frame: settings.frame_max.0,
            first_frame: settings.frame_first_max.0,
            soft: settings.outbox_soft.0,
            hard: settings.outbox_hard.0,
        }
    }
}

/// How long leases may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseLimits {
    /// The shortest.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
}

/// How long the server waits for a peer that must not take long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For the first bytes of a connection.
    pub first_frame: Duration,
    /// For the rest of the first frame.
    pub handshake: Duration,
    /// For the rest of a frame.
    pub frame: Duration,
    /// For a peer to read something; no less than the lease of its session.
    pub write: Duration,
    /// For a peer to read something when too much is unread.
    pub overrun: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience::from(&Settings::default())
    }
}

impl From<&Settings> for Patience {
    fn from(settings: &Settings) -> Patience {
        Patience {
            first_frame: settings.first_frame_timeout,
            handshake: settings.handshake_timeout,
            frame: settings.frame_timeout,
            write: settings.write_timeout,
            overrun: settings.outbox_timeout,
        }
    }
}

impl Config {
    /// A server on a free port of this machine that keeps nothing, for tests.
    #[must_use]
    pub fn for_tests() -> Config {
        let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        Config { state: Place::Nowhere, ..Config::from(&Settings { listen, ..Settings::default() }) }
    }

    /// For how long leases of before may still be believed in, in milliseconds, given the longest that is known of.
    ///
    /// Who listens on free ports only and keeps no state has no server before it: nobody can have asked at its address.
    pub(super) fn survivors_ms(&self, before: Option<u32>, is_kept: bool) -> u32 {
        let on_free_ports = self.listen.iter().all(|address| address.port() == 0);
        match before {
            _ if self.no_survivors => 0,
            Some(lease_ms) => lease_ms,
            None if !is_kept && on_free_ports => 0,
            None if !is_kept => TTL_MS_MAX_UNKEPT,
            None => in_ms(self.leases.max),
        }
    }

    /// What the state of this server is called: by its first port, so that two servers of a user do not meet.
    pub(super) fn state_name(&self) -> String {
        format!("enqd-{}", self.listen.first().map_or(0, SocketAddr::port))
    }
}

/// The settings must keep their relations, as those of [`Told::gather`] do.
impl From<&Settings> for Config {
    fn from(settings: &Settings) -> Config {
        let a_free_port = settings.listen.first().is_none_or(|address| address.port() == 0);
        let state = settings.state_dir.clone().or_else(from_systemd).map(Place::Given);
        let state = match state {
            Some(place) => place,
            // A port that is another one at each start has no state to find again.
            None if a_free_port => Place::Nowhere,
            None => of_user().map_or(Place::Nowhere, Place::Usual),
        };
        let count = |number| usize::try_from(number).unwrap_or(usize::MAX);
        let memory = settings.memory_max.map_or_else(machine::memory_budget, |size| size.0);
        Config {
            listen: settings.listen.clone(),
            state,
            data_dir: settings.data_dir.clone(),
            snapshot_every: settings.snapshot_every.0,
            segment_bytes: settings.segment_size.0,
            no_survivors: settings.no_survivors,
            door: DoorLimits {
                connections: count(settings.connections_max),
                kept: count(settings.connections_max) * usize::from(settings.connections_kept_percent) / 100,
                a_source: count(settings.connections_a_source_max),
                strangers: count(settings.connections_unauthenticated_max),
            },
            limits: Limits {
                waiting_a_resource: settings.waiting_a_resource_max,
                locks_a_session: settings.locks_a_session_max,
                waiting_a_session: settings.waiting_a_session_max,
                name_len: usize::from(settings.name_max),
                depth: settings.depth_max,
                value_len: usize::from(settings.value_max),
                memory,
                history: count(settings.history_entries)
                    .min(memory / HISTORY_PART / SHARDS / HISTORY_ENTRY_LEN),
                ..Limits::default()
            },
            patience: Patience::from(settings),
            window: Window {
                requests: settings.window_requests,
                bytes: u32::try_from(settings.window_bytes.0).unwrap_or(u32::MAX),
            },
            bounds: Bounds::from(settings),
            leases: LeaseLimits { min: settings.ttl_min, max: settings.ttl_max },
            keepalive: settings.keepalive,
            log_wait_after: settings.log_wait_after,
        }
    }
}

/// The first directory that the service manager made for the state of this service.
fn from_systemd() -> Option<PathBuf> {
    let directories = env::var_os("STATE_DIRECTORY")?;
    env::split_paths(&directories).next().filter(|path| path.is_absolute())
}

/// Where this user's programs keep their state.
fn of_user() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("enq"))
}
