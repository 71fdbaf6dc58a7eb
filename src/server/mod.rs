//! The server: sockets, handshake, sessions' connections, leases, shutdown.
//!
//! Read in this order: `config`, `listener` (the door), `connection` (sockets and timers of one connection, its `pace`),
//! `conversation` (its turns: bytes in, bytes out), `house` (what all conversations share), `peer` (what frames mean),
//! `translate` (wire to engine), `outbox` (engine to wire), `look`, `lease`, `metrics`, `shutdown`. Time enters by
//! `clock` only. What is locked is decided elsewhere: everything here goes through `src/log` to the table.
//!
//! `conversation`, `house` and the rounds of `lease` know neither sockets nor clocks: the simulation runs them as they
//! are.

mod clock;
mod config;
mod connection;
pub mod conversation;
mod counters;
pub mod deadlock;
mod house;
mod journal;
mod lease;
mod listener;
mod long_wait;
mod look;
mod metrics;
mod outbox;
mod pace;
pub mod peer;
mod shutdown;
pub mod translate;
mod tries;
mod wheel;

pub use clock::Clock;
pub use config::{
    Bounds, Config, ConfigError, KEYS, Key, LeaseLimits, Origin, Patience, Settings, Size, Task, Told,
    Window, command, make_room_for,
};
pub use house::{Draw, House, HouseRules};
pub use lease::{Passing, ROUND};
pub use listener::DoorLimits;
pub use metrics::{Limit, Metrics};
pub use pace::Pace;
pub use shutdown::StopSignals;

use crate::{
    engine::Instant,
    log::{Epoch, EpochError, Log, LogKind, RecoverError, Volatile, journal::Report},
    table::{Setting, Table},
};
use enq_protocol::vocabulary::Statistics;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The longest lease if the epoch could not be kept.
const TTL_MS_MAX_UNKEPT: u32 = 15_000;

/// What a server says of itself that was told not to wait for leases of before.
const NO_SURVIVORS: &str = "no-survivors";

/// How long connections may take to say their last words when the server stops.
const LEAVING: Duration = Duration::from_secs(3);

/// What all connections share.
struct Shared {
    clock: Clock,
    house: Arc<House>,
    door: Arc<listener::Door>,
    stop: CancellationToken,
    keepalive: Duration,
    log_wait_after: Duration,
}

/// A server that serves.
pub struct Server {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    tracker: TaskTracker,
    epoch: Epoch,
    /// What its journal had, if it has one.
    found: Option<Report>,
    failure: journal::Failure,
}

/// A log that is ready to serve.
struct Ready {
    log: Box<dyn Log>,
    epoch: Epoch,
    /// The moment at which time goes on.
    from: Instant,
    found: Option<Report>,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What went wrong.
        error: io::Error,
    },
    /// There is no epoch.
    #[error(transparent)]
    Epoch(#[from] EpochError),
    /// The journal cannot be served.
    #[error(transparent)]
    Journal(#[from] RecoverError),
    /// Its directory cannot be used.
    #[error("cannot use {path}: {error}")]
    Directory {
        /// What was tried.
        path: std::path::PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// The system has no thread to give.
    #[error("the system gives no thread: {0}")]
    Thread(io::Error),
    /// The system has no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

impl StartError {
    /// Is it the disk of the journal that has failed? Otherwise it is the configuration that cannot be served.
    #[must_use]
    pub fn is_of_the_disk(&self) -> bool {
        matches!(self, StartError::Journal(error) if error.is_of_the_disk())
    }
}

impl Server {
    /// Raises the epoch, listens, and answers requests when this returns. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub async fn start(config: Config) -> Result<Server, StartError> {
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for address in &config.listen {
            let failed = |error| StartError::Listen { address: *address, error };
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            addresses.push(listener.local_addr().map_err(failed)?);
            listeners.push(listener);
        }
        let failure = journal::Failure::default();
        let Ready { log, epoch, from, found } = match &config.data_dir {
            Some(directory) => journal::ready(directory, &config, &failure)?,
            None => volatile(&config)?,
        };
        let kept = epoch.kept.is_some();
        let stop = CancellationToken::new();
        let rules = HouseRules {
            patience: config.patience,
            ttl_ms_min: in_ms(config.leases.min),
            ttl_ms_max: in_ms(config.leases.max).min(if kept { u32::MAX } else { TTL_MS_MAX_UNKEPT }),
            unsafe_settings: unsafe_settings(&config, kept),
            draw: Box::new(draw),
        };
        let house = Arc::new(House::with(log, rules).bounded(config.bounds));
        let shared = Arc::new(Shared {
            clock: Clock::start(from),
            house: Arc::clone(&house),
            door: Arc::new(listener::Door::new(config.door, &house, stop.clone())),
            keepalive: config.keepalive,
            log_wait_after: config.log_wait_after,
            stop,
        });
        let tracker = TaskTracker::new();
        for listener in listeners {
            tracker.spawn(listener::accept(listener, Arc::clone(&shared), tracker.clone()));
        }
        let time = Arc::clone(&shared);
        tracker.spawn(async move { lease::pass_time(&time, &time.stop).await });
        Ok(Server { shared, addresses, tracker, epoch, found, failure })
    }

    /// What its journal had when it started; nothing if it has none.
    #[must_use]
    pub fn found(&self) -> Option<&Report> {
        self.found.as_ref()
    }

    /// Returns when its journal has failed, and why. Whoever serves has to end then: nothing is answered any more.
    pub async fn failed(&self) -> String {
        self.failure.wait().await
    }

    /// Where it listens, in the order of its configuration.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The first address it listens on.
    ///
    /// # Panics
    /// If it was started without one.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        *self.addresses.first().expect("a server listens somewhere")
    }

    /// The epoch of its seqs, and where it is kept.
    #[must_use]
    pub fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.house.metrics
    }

    /// Its counters, as a client is shown them.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics { recovering_ms: self.recovering_ms(), ..self.table().statistics() }
    }

    /// Was it told that there are no leases of before?
    #[must_use]
    pub fn asserts_no_survivors(&self) -> bool {
        self.shared.house.rules.unsafe_settings.iter().any(|name| name == NO_SURVIVORS)
    }

    /// What is left of its wait for leases of before, in milliseconds.
    #[must_use]
    pub fn recovering_ms(&self) -> u64 {
        self.table().recovering_ms(self.shared.clock.now())
    }

    /// The table, for who looks.
    #[must_use]
    pub fn table(&self) -> &Table {
        self.shared.house.log.table()
    }

    /// Stops: nobody else is let in, everybody inside is told SHUTDOWN, and what was to be written is written. Says why its
    /// journal could not be closed, if that is so.
    pub async fn shutdown(self) -> Option<String> {
        let held_ms = self.shared.house.log.close_books();
        self.shared.house.stop();
        self.shared.stop.cancel();
        self.tracker.close();
        if tokio::time::timeout(LEAVING, self.tracker.wait()).await.is_err() {
            tracing::warn!(connections = self.tracker.len(), "not every connection ended in time");
        }
        self.shared.house.log.balance_books(held_ms);
        match self.shared.house.log.kind() {
            LogKind::Journal => self.shared.house.log.trouble().map(|error| error.to_string()),
            LogKind::Volatile => {
                self.shared.house.say_trouble();
                None
            }
        }
    }
}

/// A volatile log: it keeps nothing but its epoch, and how long somebody may believe in it.
fn volatile(config: &Config) -> Result<Ready, StartError> {
    let epoch = Epoch::raise(&config.state, &config.state_name())?;
    let before_ms = config.survivors_ms(epoch.before_ms, epoch.kept.is_some());
    let table = Table::new(&Setting {
        epoch: epoch.number,
        limits: config.limits,
        window_requests: config.window.requests,
        window_bytes: config.window.bytes,
        route_key: random()?,
        hash_seed: u64::from_le_bytes(random()?),
        recovering_until: (before_ms > 0).then(|| Instant::START.after_ms(with_drift(before_ms))),
    });
    let survivors = epoch.survivors(before_ms);
    let log = Box::new(Volatile::with_survivors(table, survivors));
    Ok(Ready { log, epoch, from: Instant::START, found: None })
}

/// Random bytes from the system.
fn random<const N: usize>() -> Result<[u8; N], StartError> {
    let mut random = [0; N];
    getrandom::fill(&mut random).map_err(StartError::Random)?;
    Ok(random)
}

/// A secret from the system's random numbers.
fn draw() -> Option<[u8; 16]> {
    let mut secret = [0; 16];
    getrandom::fill(&mut secret).ok().map(|()| secret)
}

/// The settings that weaken a promise, by name.
fn unsafe_settings(config: &Config, kept: bool) -> Vec<String> {
    let settings = [(!kept, "epoch-not-kept"), (config.no_survivors, NO_SURVIVORS)];
    settings.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name.into()).collect()
}

/// A time by whoever's clock, which may go wrong by one per cent, as is ours.
fn with_drift(ms: u32) -> u32 {
    ms.saturating_add(ms.div_ceil(50))
}

/// In milliseconds; longer than 49 days is for ever.
fn in_ms(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
