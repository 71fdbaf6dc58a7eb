//! Deadlines of requests that wait (rule U7 of `docs/locking.md`), and of lock-delays (rule E4).
//!
//! Deadlines fire only by Tick, so a request is never ended early, and never because some other input came.

use super::limits::REMOVALS_A_STEP;
use super::lock::{At, LockSlot, Mark};
use super::memory::take;
use super::output::Output;
use super::path::Undo;
use super::shard::{Map, Shard, map};
use super::time::Instant;
use enq_protocol::vocabulary::{Stamp, Status};
use std::collections::BTreeMap;

/// The deadlines of a shard, in the order in which they fire: by moment, then by stamp.
#[derive(Clone)]
pub(super) struct Deadlines {
    pub(super) order: BTreeMap<(Instant, Stamp), LockSlot>,
    pub(super) of: Map<LockSlot, (Instant, Stamp)>,
}

impl Deadlines {
    pub(super) fn new(seed: u64) -> Deadlines {
        Deadlines { order: BTreeMap::new(), of: map(seed) }
    }

    /// When the request of this lock gives up.
    pub(super) fn of(&self, slot: LockSlot) -> Option<Instant> {
        self.of.get(&slot).map(|entry| entry.0)
    }

    /// The bytes it has allocated, with so many for each in the tree.
    pub(super) fn bytes(&self, each: usize) -> usize {
        self.of.allocation_size() + self.order.len() * each
    }

    /// The request of this lock gives up no more.
    #[cold]
    pub(super) fn forget(&mut self, slot: LockSlot) {
        if let Some(entry) = take(&mut self.of, &slot) {
            self.order.remove(&entry);
        }
    }

    fn first(&self) -> Option<(Instant, LockSlot)> {
        self.order.first_key_value().map(|((moment, _), slot)| (*moment, *slot))
    }
}

impl Shard {
    /// When Tick has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        match (self.deadlines.first(), self.recovering) {
            (Some((first, _)), Some(recovering)) => Some(first.min(recovering)),
            (first, recovering) => first.map(|first| first.0).or(recovering),
        }
    }

    /// U7: the request waits no longer than asked, and no longer than the lockspace allows.
    pub(super) fn start_deadline(&mut self, slot: LockSlot, timeout_ms: Option<u32>) {
        if let Some(moment) = self.deadline_after(slot, timeout_ms) {
            self.set_deadline(slot, moment);
        }
    }

    /// When a request of this lock that asks for this timeout gives up.
    pub(super) fn deadline_after(&self, slot: LockSlot, timeout_ms: Option<u32>) -> Option<Instant> {
        let lockspace = self.resources[self.locks[slot].resource].lockspace;
        let policy_max = self.space(lockspace).map(|space| space.policy.wait_ms_max).filter(|max| *max > 0);
        let timeout_ms = match (timeout_ms, policy_max) {
            (Some(asked), Some(max)) => Some(asked.min(max)),
            (asked, max) => asked.or(max),
        };
        timeout_ms.map(|timeout_ms| self.now.after_ms(timeout_ms))
    }

    pub(super) fn set_deadline(&mut self, slot: LockSlot, moment: Instant) {
        let entry = (moment, self.locks[slot].stamp);
        self.locks[slot].marks.put(Mark::Deadline, true);
        self.deadlines.order.insert(entry, slot);
        self.deadlines.of.insert(slot, entry);
    }

    pub(super) fn drop_deadline(&mut self, slot: LockSlot) {
        if self.locks[slot].marks.take(Mark::Deadline) {
            self.deadlines.forget(slot);
        }
    }

    /// U7: fires what is due, each with its sweep, so that one request's end can still be another's grant.
    pub(super) fn tick(&mut self, out: &mut Vec<Output>) {
        for _ in 0..REMOVALS_A_STEP {
            let first = self.deadlines.first().filter(|(moment, _)| *moment <= self.now);
            if self.is_recovery_over(first.map(|first| first.0)) {
                self.end_recovery(out);
                continue;
            }
            let Some((_, slot)) = first else { return };
            self.drop_deadline(slot);
            // E4: a lock-delay is over.
            if self.locks[slot].marks.has(Mark::Delayed) {
                self.end_delay(slot);
                self.settle(out);
                continue;
            }
            // E1: a sealed lock takes no request; its end is under way.
            if self.is_sealed(slot) {
                continue;
            }
            self.counts.timeouts += 1;
            match self.path_waiting_for(slot) {
                Some(path) => self.end_path(path, Status::Timeout, Undo::All, out),
                None => {
                    let waited = !matches!(self.locks[slot].at, At::Granted { .. });
                    debug_assert!(waited, "a grant drops its deadline");
                    self.withdraw(slot, Status::Timeout, out);
                }
            }
            self.settle(out);
        }
    }
}
