//! How long the session's locks may be believed in: the client's half of the lease.
//!
//! The server counts a lease from the moment it receives a frame, on its own clock. The client therefore counts from
//! the moment it *sent* a frame whose answer has arrived, which is earlier, allows both clocks to run wrong by one per
//! cent, and stops a tenth of a second before that. No clock is read here: moments are arguments.

use super::clock::Moment;
use std::time::Duration;

/// What a lock is worth at this moment. Only `Lost` is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockState {
    /// Held, and less than half of the lease has passed since the server was last heard.
    Safe,
    /// Held, but half of the lease has passed without an answer: finish, or be ready to.
    Jeopardy,
    /// Not held any more, or nobody can say that it is.
    Lost,
}

/// Kept back from each lease for the time between looking at the clock and acting.
const MARGIN: Duration = Duration::from_millis(100);

/// A session's lease as its client sees it.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    ttl: Duration,
    confirmed: Moment,
}

impl Lease {
    /// A lease that was asked for at `sent` and given for `ttl`.
    #[must_use]
    pub fn new(ttl: Duration, sent: Moment) -> Lease {
        Lease { ttl, confirmed: sent }
    }

    /// The time the server gives.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// A frame that was sent at `sent` has been answered.
    pub fn confirm(&mut self, sent: Moment) {
        self.confirmed = self.confirmed.max(sent);
    }

    /// From here on nothing is held: TTL x (1 - rho) / (1 + rho) - 100 ms after the confirmed sending, rho = 1 %.
    #[must_use]
    pub fn deadline(&self) -> Moment {
        self.confirmed.plus((self.ttl * 99 / 101).saturating_sub(MARGIN))
    }

    /// When tokens fire that tell work to stop: a tenth of the lease before the deadline.
    #[must_use]
    pub fn warning(&self) -> Moment {
        self.confirmed.plus((self.ttl * 99 / 101).saturating_sub(MARGIN + self.ttl / 10))
    }

    /// When half of the lease has been used without an answer.
    #[must_use]
    pub fn jeopardy(&self) -> Moment {
        self.confirmed.plus(self.ttl / 2)
    }

    /// How long a client may say nothing before it renews.
    #[must_use]
    pub fn renew_after(&self) -> Duration {
        self.ttl / 3
    }

    /// What the session's locks are worth.
    #[must_use]
    pub fn state(&self, now: Moment) -> LockState {
        if now >= self.deadline() {
            LockState::Lost
        } else if now >= self.jeopardy() {
            LockState::Jeopardy
        } else {
            LockState::Safe
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_runs_from_the_sending_of_what_was_answered() {
        let at = |ms: u64| Moment(1_000_000_000).plus(Duration::from_millis(ms));
        let mut lease = Lease::new(Duration::from_secs(15), at(0));
        assert_eq!(lease.deadline().since(at(0)).as_millis(), 14_602);
        assert_eq!(lease.state(at(7_499)), LockState::Safe);
        assert_eq!(lease.state(at(7_500)), LockState::Jeopardy);
        assert_eq!(lease.state(at(14_603)), LockState::Lost);
        assert!(lease.warning() < lease.deadline() && lease.jeopardy() < lease.warning());
        lease.confirm(at(5_000));
        lease.confirm(at(3_000));
        assert_eq!(lease.deadline().since(at(5_000)).as_millis(), 14_602, "an older answer changes nothing");
    }

    #[test]
    fn the_shortest_lease_still_has_an_order() {
        let lease = Lease::new(Duration::from_secs(1), Moment(0));
        assert!(lease.jeopardy() < lease.warning() && lease.warning() < lease.deadline());
        assert!(lease.renew_after() < lease.jeopardy().since(Moment(0)));
        let none = Lease::new(Duration::from_millis(50), Moment(0));
        assert_eq!(none.state(Moment(0)), LockState::Lost, "a lease shorter than the margin is no lease");
    }
}
