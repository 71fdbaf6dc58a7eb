//! The house: what all conversations have in common, and nothing that knows a socket or a clock.
//!
//! The log with its table, the leases, the counters, and the server's own limits. A server has one, and so has a
//! simulation; the moment it is comes with every call.

use super::{Bounds, Metrics, Patience, Settings, lease::Leases, tries::Tries};
use crate::{engine::Instant, log::Log, table::SessionCell};
use enq_protocol::wire::{PROTOCOL_VERSION, Resume, Welcome};
use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use subtle::ConstantTimeEq as _;

/// Draws the secret of a new session; none if there are no random numbers to be had.
pub type Draw = Box<dyn Fn() -> Option<[u8; 16]> + Send + Sync>;

/// What a house is made with.
pub struct HouseRules {
    /// How long it waits for its peers.
    pub patience: Patience,
    /// The shortest lease it gives.
    pub ttl_ms_min: u32,
    /// The longest.
    pub ttl_ms_max: u32,
    /// Settings that weaken a promise, by name.
    pub unsafe_settings: Vec<String>,
    /// Where secrets come from: the system, or the seed of a simulation.
    pub draw: Draw,
}

impl fmt::Debug for HouseRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HouseRules")
            .field("patience", &self.patience)
            .field("ttl_ms", &(self.ttl_ms_min..=self.ttl_ms_max))
            .finish_non_exhaustive()
    }
}

/// What all conversations have in common; see the front page.
pub struct House {
    pub(super) log: Box<dyn Log>,
    pub(super) leases: Leases,
    pub(super) metrics: Metrics,
    pub(super) rules: HouseRules,
    pub(super) bounds: Bounds,
    tries: Tries,
    stops: AtomicBool,
}

impl House {
    /// A house with nobody in it.
    #[must_use]
    pub fn new(log: impl Log + 'static, rules: HouseRules) -> House {
        House::with(Box::new(log), rules)
    }

    /// The same, whichever log it is.
    #[must_use]
    pub fn with(log: Box<dyn Log>, rules: HouseRules) -> House {
        House {
            log,
            leases: Leases::default(),
            metrics: Metrics::default(),
            rules,
            bounds: Bounds::from(&Settings::default()),
            tries: Tries::default(),
            stops: AtomicBool::new(false),
        }
    }

    /// The same with other bounds than the usual ones.
    #[must_use]
    pub fn bounded(self, bounds: Bounds) -> House {
        House { bounds, ..self }
    }

    /// The log, which everything that changes the table goes through.
    #[must_use]
    pub fn log(&self) -> &dyn Log {
        &*self.log
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Says it if the state file could not be written: what needs it is refused UNAVAILABLE meanwhile.
    pub(super) fn say_trouble(&self) {
        if let Some(error) = self.log.trouble() {
            tracing::error!(%error, "the state file cannot be written");
        }
    }

    /// From now on everything that is to be said is said at once, for there will be no later.
    pub fn stop(&self) {
        self.stops.store(true, Ordering::Relaxed);
    }

    /// Does the server stop?
    #[must_use]
    pub fn stops(&self) -> bool {
        self.stops.load(Ordering::Relaxed)
    }

    /// The session that somebody at this address may go on with, if there is one and he has its secret. Whoever has tried
    /// too many wrong ones of sessions that exist does not learn.
    pub(super) fn resumable(&self, now: Instant, asked: &Resume, source: IpAddr) -> Option<Arc<SessionCell>> {
        if self.tries.are_too_many(now, source) {
            return None;
        }
        let found = self.log.table().resumable(now, asked.session);
        // Where there is no session, a secret is compared all the same.
        let secret = found.as_ref().map_or([0; 16], |cell| cell.about.secret);
        let is_right = bool::from(secret.ct_eq(&asked.secret));
        if found.is_some() && !is_right {
            self.tries.count(now, source);
        }
        found.filter(|_| is_right)
    }

    /// What a peer is told that speaks this protocol.
    pub(super) fn welcome(&self) -> Welcome {
        let bounds = self.log.table().bounds();
        Welcome {
            version: PROTOCOL_VERSION,
            features: 0,
            frame_len_max: u32::try_from(self.bounds.frame).unwrap_or(u32::MAX),
            window_requests: bounds.window_requests,
            window_bytes: bounds.window_bytes,
            locks_max: bounds.locks,
            waiting_max: bounds.waiting,
            ttl_min_ms: self.rules.ttl_ms_min,
            ttl_max_ms: self.rules.ttl_ms_max,
            server: concat!("enqd ", env!("CARGO_PKG_VERSION")).into(),
            role: 0,
            leader: String::new(),
            members: Vec::new(),
            log: self.log.kind() as u8,
            unsafe_settings: self.rules.unsafe_settings.clone(),
        }
    }
}
