//! How persistently a lost connection is replaced: the pauses between attempts, how long one may take, when to give up.
//!
//! Pauses have full jitter: a random time between nothing and twice as much as before, up to a cap. When a server comes
//! back, those who lost it do not all come at the same moment. Pure: random numbers are arguments.

use std::time::Duration;

/// How persistently.
#[derive(Clone, Copy, Debug)]
pub(super) struct Persistence {
    /// The longest first pause.
    pub(super) base: Duration,
    /// The longest pause of all.
    pub(super) cap: Duration,
    /// How long to go on after the lease has run out; none: three leases.
    pub(super) after_lease: Option<Duration>,
    /// The longest that one attempt may take.
    pub(super) within: Duration,
}

impl Default for Persistence {
    fn default() -> Persistence {
        Persistence {
            base: Duration::from_millis(50),
            cap: Duration::from_secs(2),
            after_lease: None,
            within: Duration::from_secs(5),
        }
    }
}

/// A server that stood still gives the time back to its sessions; after that, it is more likely gone.
const LEASES_AFTER_LEASE: u32 = 3;

/// The shortest time that a first attempt is given: a connection and a greeting.
const ATTEMPT_MIN: Duration = Duration::from_millis(100);

impl Persistence {
    /// How long to go on after a lease of this length has run out.
    pub(super) fn after_lease(&self, ttl_ms: u32) -> Duration {
        self.after_lease.unwrap_or(Duration::from_millis(ttl_ms.into()) * LEASES_AFTER_LEASE)
    }
}

/// The attempts of one session.
#[derive(Debug)]
pub(super) struct Backoff {
    persistence: Persistence,
    ttl: Duration,
    tried: u32,
}

impl Backoff {
    pub(super) fn new(persistence: Persistence, ttl: Duration) -> Backoff {
        Backoff { persistence, ttl, tried: 0 }
    }

    /// No pause is longer than a quarter of the lease: there must be several attempts in what is left of it.
    fn cap(&self) -> Duration {
        self.persistence.cap.min(self.ttl / 4)
    }

    /// The pause before the next attempt; `random` is any number, all equally likely.
    pub(super) fn pause(&mut self, random: u64) -> Duration {
        let doubled = self.persistence.base.saturating_mul(1 << self.tried.min(20));
        self.tried = self.tried.saturating_add(1);
        let most = doubled.min(self.cap()).as_nanos();
        Duration::from_nanos(u64::try_from((most * u128::from(random)) >> 64).unwrap_or(u64::MAX))
    }

    /// How long the attempt after that pause may take: a tenth of the lease, and more each time, because what takes so
    /// long may be the way and not the server.
    pub(super) fn within(&self) -> Duration {
        let first = (self.ttl / 10).max(ATTEMPT_MIN);
        first.saturating_mul(self.tried.max(1)).min(self.persistence.within.max(ATTEMPT_MIN))
    }

    /// A connection lasted so long. One that broke at once does not count as a success.
    pub(super) fn lasted(&mut self, time: Duration) {
        if time >= self.cap() {
            self.tried = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_jitter_is_full() {
        let mut backoff = Backoff::new(Persistence::default(), Duration::from_secs(15));
        let longest: Vec<u128> = (0..8).map(|_| backoff.pause(u64::MAX).as_millis()).collect();
        assert_eq!(longest, [49, 99, 199, 399, 799, 1_599, 1_999, 1_999]);
        assert_eq!(backoff.pause(0), Duration::ZERO);
        assert_eq!(backoff.pause(1 << 63), Duration::from_secs(1));
        backoff.lasted(Duration::from_millis(1_999));
        assert_eq!(backoff.pause(u64::MAX).as_millis(), 1_999, "it broke at once, again");
        backoff.lasted(Duration::from_secs(2));
        assert_eq!(backoff.pause(u64::MAX).as_millis(), 49);
        for _ in 0..100 {
            assert!(backoff.pause(u64::MAX) < Duration::from_secs(2));
        }
    }

    #[test]
    fn what_is_left_of_a_lease_is_enough_for_several_attempts() {
        for ttl in [1, 2, 15, 3_600].map(Duration::from_secs) {
            let mut backoff = Backoff::new(Persistence::default(), ttl);
            // Silence is noticed after two thirds at the latest: a renewal at a third, unanswered for another.
            let left = ttl * 99 / 101 - Duration::from_millis(100) - ttl * 2 / 3;
            let first = backoff.pause(u64::MAX) + backoff.within();
            assert!(first < left, "{ttl:?}: {first:?} of {left:?}");
        }
        let persistence = Persistence { after_lease: Some(Duration::ZERO), ..Persistence::default() };
        assert_eq!(persistence.after_lease(1_000), Duration::ZERO);
        assert_eq!(Persistence::default().after_lease(1_000), Duration::from_secs(3));
    }
}
