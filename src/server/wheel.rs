//! A timing wheel: which sessions are to be looked at by now. Pure, and a list of ids and nothing else.
//!
//! Each session is in it once, at a moment at which its lease *might* have ended. Putting one in is O(1), whatever its
//! lease; it is taken out when its slot has passed, looked at, and put back if it was heard of since. So a keepalive does
//! not touch the wheel. What lies beyond its horizon stands in the last slot and is put back from there.

use crate::engine::Instant;
use enq_protocol::vocabulary::SessionId;

/// How long a slot lasts.
const SLOT_NS: u64 = 10_000_000;

/// Slots there are: 82 seconds, more than the longest lease that is usual.
const SLOTS: u64 = 8_192;

/// An emptied slot with more room than this gives it back.
const ROOM_KEPT: usize = 256;

/// See the front page.
#[derive(Debug)]
pub(super) struct Wheel {
    slots: Vec<Vec<SessionId>>,
    /// The slot that is emptied next, counted from the beginning of time; those before it are empty.
    next: u64,
}

impl Default for Wheel {
    fn default() -> Wheel {
        Wheel { slots: (0..SLOTS).map(|_| Vec::new()).collect(), next: 0 }
    }
}

impl Wheel {
    /// This session is to be looked at then, not earlier, and a slot later at most; if that is beyond the horizon, at
    /// the horizon.
    pub(super) fn insert(&mut self, moment: Instant, session: SessionId) {
        let slot = (moment.0 / SLOT_NS).clamp(self.next, self.next + SLOTS - 1);
        self.slot(slot).push(session);
    }

    /// Takes out sessions whose slots have passed, at most so many; says whether there are more.
    pub(super) fn take_due(&mut self, now: Instant, max: usize, due: &mut Vec<SessionId>) -> bool {
        let current = now.0 / SLOT_NS;
        let full = due.len() + max;
        while self.next < current {
            let next = self.next;
            let slot = self.slot(next);
            let left = slot.len().saturating_sub(full - due.len());
            due.extend(slot.drain(left..));
            if left > 0 {
                return true;
            }
            if slot.capacity() > ROOM_KEPT {
                *slot = Vec::new();
            }
            self.next += 1;
        }
        false
    }

    fn slot(&mut self, number: u64) -> &mut Vec<SessionId> {
        let at = usize::try_from(number % SLOTS).unwrap_or_default();
        &mut self.slots[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
    use std::collections::BTreeSet;

    /// The same as a list that is looked through from end to end.
    #[derive(Default)]
    struct Naive {
        all: Vec<(u64, SessionId)>,
        next: u64,
    }

    impl Naive {
        fn insert(&mut self, moment: Instant, session: SessionId) {
            self.all.push(((moment.0 / SLOT_NS).clamp(self.next, self.next + SLOTS - 1), session));
        }

        /// All that is due in the first slots, which is what the wheel may take from.
        fn due(&self, now: Instant) -> Vec<(u64, SessionId)> {
            let mut due: Vec<_> =
                self.all.iter().copied().filter(|(slot, _)| *slot < now.0 / SLOT_NS).collect();
            due.sort_unstable();
            due
        }
    }

    #[test]
    fn it_gives_what_a_list_would_give() {
        for seed in 0..200 {
            let mut random = StdRng::seed_from_u64(seed);
            let (mut wheel, mut naive) = (Wheel::default(), Naive::default());
            let (mut now, mut session) = (Instant(random.random_range(0..1 << 40)), 0);
            for _ in 0..400 {
                if random.random_bool(0.7) {
                    let ahead = *[0, 1_000_000_000, 60_000_000_000, 7_200_000_000_000]
                        .get(random.random_range(0..4))
                        .unwrap();
                    let moment = Instant(now.0 + random.random_range(0..=ahead));
                    session += 1;
                    wheel.insert(moment, SessionId(session));
                    naive.insert(moment, SessionId(session));
                    continue;
                }
                now = Instant(now.0 + random.random_range(0..3_000_000_000));
                let max = random.random_range(1..50);
                let mut taken = Vec::new();
                let more = wheel.take_due(now, max, &mut taken);
                let due = naive.due(now);
                assert_eq!(taken.len(), due.len().min(max), "seed {seed}");
                assert_eq!(more, due.len() > max, "seed {seed}");
                let taken: BTreeSet<SessionId> = taken.into_iter().collect();
                let slots: Vec<u64> =
                    due.iter().filter(|(_, id)| taken.contains(id)).map(|(slot, _)| *slot).collect();
                assert_eq!(slots.len(), taken.len(), "seed {seed}: only what is due");
                let first: Vec<u64> = due.iter().take(max).map(|(slot, _)| *slot).collect();
                assert_eq!(slots, first, "seed {seed}: the earliest slots first");
                naive.all.retain(|(_, id)| !taken.contains(id));
                let left = naive.due(now).first().map(|(slot, _)| *slot);
                naive.next = left.unwrap_or(now.0 / SLOT_NS).max(naive.next);
            }
        }
    }

    #[test]
    fn nobody_is_given_early_and_nobody_a_slot_late() {
        let mut wheel = Wheel::default();
        let moment = Instant(15_000_000_001);
        wheel.insert(moment, SessionId(1));
        let mut due = Vec::new();
        assert!(!wheel.take_due(moment, 9, &mut due) && due.is_empty());
        assert!(!wheel.take_due(Instant(15_009_999_999), 9, &mut due) && due.is_empty());
        assert!(!wheel.take_due(Instant(15_010_000_000), 9, &mut due));
        assert_eq!(due, [SessionId(1)]);
        // What is put in for the past is given at once.
        wheel.insert(Instant(3), SessionId(2));
        assert!(!wheel.take_due(Instant(15_020_000_000), 9, &mut due));
        assert_eq!(due, [SessionId(1), SessionId(2)]);
    }

    /// A million sessions that are all due at once are taken in portions, and the wheel keeps no room for them.
    #[test]
    fn a_million_at_once_come_in_portions() {
        let mut wheel = Wheel::default();
        for session in 0..1_000_000 {
            wheel.insert(Instant(1_000_000_000), SessionId(session));
        }
        let now = Instant(2_000_000_000);
        let (mut rounds, mut seen) = (0, 0);
        loop {
            let mut due = Vec::new();
            let more = wheel.take_due(now, 4_096, &mut due);
            assert!(due.len() <= 4_096);
            (rounds, seen) = (rounds + 1, seen + due.len());
            if !more {
                break;
            }
        }
        assert_eq!((rounds, seen), (1_000_000_usize.div_ceil(4_096), 1_000_000));
        assert!(wheel.slots.iter().all(|slot| slot.capacity() <= ROOM_KEPT));
    }
}
