//! The pace of looks: whoever looks at much of the table is read again only after a rest.
//!
//! A look is work that nobody waits for but the one who looks, and a listing of a million locks is a great deal of it. On
//! a machine whose cores are few it would take one away from everybody. So a connection rests three times as long as its
//! looks took, in all, and looks have a quarter of a core at most; what is said to its session meanwhile is said at once.
//! A short debt is not paid: somebody who asks why a lock waits is answered as fast as he asks. A rest is bounded far
//! below the shortest lease, for renewals wait behind it too.

use crate::engine::Instant;
use std::time::Duration;

/// How much longer than the looks themselves.
const TIMES: u64 = 3;

/// A debt below this is not paid.
const FREE_NS: u64 = 5_000_000;

/// The longest rest.
const REST_NS_MAX: u64 = 50_000_000;

/// See the front page. Reads no clock.
#[derive(Debug, Default)]
pub struct Pace {
    /// When everything is paid, if nothing is added.
    paid_at: Instant,
}

impl Pace {
    /// Looks have taken so long, up to now. Nothing was paid meanwhile.
    pub fn looked(&mut self, now: Instant, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let before = now.0.saturating_sub(took);
        let paid_at = self.paid_at.0.max(before).saturating_add(took.saturating_mul(1 + TIMES));
        self.paid_at = Instant(paid_at.min(now.0.saturating_add(FREE_NS + REST_NS_MAX)));
    }

    /// How long it has to rest from now.
    #[must_use]
    pub fn rest(&self, now: Instant) -> Option<Duration> {
        let debt = self.paid_at.0.saturating_sub(now.0);
        debt.checked_sub(FREE_NS).filter(|rest| *rest > 0).map(Duration::from_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    const fn at(us: u64) -> Instant {
        Instant(us * 1_000)
    }

    #[test]
    fn who_looks_a_little_does_not_rest() {
        let mut pace = Pace::default();
        for look in 1..1_000 {
            pace.looked(at(look * 1_000), us(100));
            assert_eq!(pace.rest(at(look * 1_000)), None, "{look}");
        }
    }

    #[test]
    fn who_does_nothing_but_look_has_a_quarter_of_the_time() {
        let (mut pace, mut now) = (Pace::default(), 0);
        let mut looked = 0;
        while now < 10_000_000 {
            now += 400;
            looked += 400;
            pace.looked(at(now), us(400));
            now += pace.rest(at(now)).map_or(0, |rest| u64::try_from(rest.as_micros()).unwrap());
        }
        assert!((2_490_000..=2_510_000).contains(&looked), "{looked}");
    }

    #[test]
    fn a_rest_is_short_and_the_rest_of_the_debt_is_forgotten() {
        let mut pace = Pace::default();
        pace.looked(at(0), Duration::MAX);
        assert_eq!(pace.rest(at(0)), Some(us(50_000)));
        assert_eq!(pace.rest(at(49_000)), Some(us(1_000)));
        assert_eq!(pace.rest(at(50_000)), None);
        pace.looked(at(50_100), us(100));
        assert_eq!(pace.rest(at(50_100)), Some(us(300)), "what is free was used up");
    }
}
