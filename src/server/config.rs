//! What an operator can say: on the command line, or by `ENQ_*` in the environment. What is not known is refused.

use super::DoorLimits;
use crate::{engine::Limits, log::Place};
use std::{env, net::SocketAddr, path::PathBuf, time::Duration};

/// The command line of `enqd`.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "enqd", version, about = "The server of enq, a distributed lock manager", long_about = None)]
pub struct Args {
    /// Address to serve clients on; may be given more than once. Port 0 picks a free one.
    #[arg(
        long,
        value_name = "ADDR",
        env = "ENQ_LISTEN",
        value_delimiter = ',',
        default_value = "127.0.0.1:21065"
    )]
    pub listen: Vec<SocketAddr>,

    /// Directory that keeps the epoch of the server's boots. Without it: $STATE_DIRECTORY, else enq in the user's state
    /// directory.
    #[arg(long, value_name = "DIR", env = "ENQ_STATE_DIR")]
    pub state_dir: Option<PathBuf>,

    /// What is logged to standard error: error, warn, info, debug, trace, or a filter such as enq::server=debug.
    #[arg(long, value_name = "FILTER", env = "ENQ_LOG_LEVEL", default_value = "info")]
    pub log_level: String,

    /// Log one JSON object a line.
    #[arg(long, env = "ENQ_LOG_JSON")]
    pub log_json: bool,

    /// Connections that are served at a time.
    #[arg(long, value_name = "N", env = "ENQ_CONNECTIONS_MAX", default_value_t = DoorLimits::default().connections)]
    pub connections_max: usize,

    /// Connections from one address, this machine's own apart.
    #[arg(long, value_name = "N", env = "ENQ_CONNECTIONS_A_SOURCE_MAX",
        default_value_t = DoorLimits::default().a_source)]
    pub connections_a_source_max: usize,

    /// Locks a session may have, in any queue; 0 for any number.
    #[arg(long, value_name = "N", env = "ENQ_LOCKS_A_SESSION_MAX",
        default_value_t = Limits::default().locks_a_session)]
    pub locks_a_session_max: u32,
}

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// Where its epoch is kept.
    pub state: Place,
    /// How many may come in.
    pub door: DoorLimits,
    /// What sessions and resources may have.
    pub limits: Limits,
    /// How long it waits for its peers.
    pub patience: Patience,
}

/// How long the server waits for a peer that must not take long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For the first bytes of a connection.
    pub first_frame: Duration,
    /// For the rest of the first frame.
    pub handshake: Duration,
    /// For the rest of a frame; also for a peer without session to read something.
    pub frame: Duration,
    /// For a peer to read something when too much is unread.
    pub overrun: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            first_frame: Duration::from_secs(2),
            handshake: Duration::from_secs(5),
            frame: Duration::from_secs(10),
            overrun: Duration::from_secs(1),
        }
    }
}

impl Config {
    /// A server on a free port of this machine that keeps nothing, for tests.
    #[must_use]
    pub fn for_tests() -> Config {
        Config {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            state: Place::Nowhere,
            door: DoorLimits::default(),
            limits: Limits::default(),
            patience: Patience::default(),
        }
    }

    /// What the state of this server is called: by its first port, so that two servers of a user do not meet.
    pub(super) fn state_name(&self) -> String {
        format!("enqd-{}", self.listen.first().map_or(0, SocketAddr::port))
    }
}

impl From<&Args> for Config {
    fn from(args: &Args) -> Config {
        let door = DoorLimits {
            connections: args.connections_max,
            a_source: args.connections_a_source_max,
            ..DoorLimits::default()
        };
        let limits = Limits { locks_a_session: args.locks_a_session_max, ..Limits::default() };
        let a_free_port = args.listen.first().is_none_or(|address| address.port() == 0);
        let state = args.state_dir.clone().map(Place::Given).or_else(|| from_systemd().map(Place::Given));
        let state = match state {
            Some(place) => place,
            // A port that is another one at each start has no state to find again.
            None if a_free_port => Place::Nowhere,
            None => of_user().map_or(Place::Nowhere, Place::Usual),
        };
        Config { listen: args.listen.clone(), state, door, limits, patience: Patience::default() }
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
