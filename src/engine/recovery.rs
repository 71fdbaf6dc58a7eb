//! The wait after a restart (rule G10 of `docs/locking.md`): clients of before may still believe in their locks.
//!
//! A shard is recovering from its making or never. While it is, nobody holds anything, so there is nothing to release,
//! to convert or to demote; requests queue, withdraw and time out as always.

use super::lock::{ResourceSlot, Which};
use super::output::{Output, Said};
use super::planted::Mistake;
use super::shard::Shard;
use super::time::Instant;
use enq_protocol::vocabulary::{Flags, SessionId, Stamp, Status};

impl Shard {
    /// G10: this shard grants nothing before that moment. It is new, so nobody has a lock in it.
    #[must_use]
    pub fn recovering_until(mut self, moment: Instant) -> Shard {
        self.recovering = Some(moment).filter(|_| !self.limits.planted.is(Mistake::RecoveryIsIgnored));
        self
    }

    /// G10: does it still grant nothing?
    pub(super) fn is_recovering(&self) -> bool {
        self.recovering.is_some()
    }

    /// What is left of it, in milliseconds.
    pub(super) fn recovery_left_ms(&self, now: Instant) -> Option<u64> {
        self.recovering.map(|moment| now.ms_until(moment))
    }

    /// G10: a request that never waits is told how long everybody else does. Whoever asks again then finds it over.
    pub(super) fn refuse_recovering(
        &mut self,
        session: SessionId,
        flags: Flags,
        out: &mut Vec<Output>,
    ) -> bool {
        let Some(moment) = self.recovering.filter(|_| flags.intersects(Flags::NOQUEUE | Flags::EXPEDITE))
        else {
            return false;
        };
        self.counts.enq_not_queued += 1;
        let waiting = u32::try_from(self.now.ms_until(moment)).unwrap_or(u32::MAX).max(1);
        out.push(Output {
            session,
            said: Said::Refused { status: Status::Recovering, blocker: None, waiting },
        });
        true
    }

    /// Is the wait over by now, and not after the next deadline, which is due?
    pub(super) fn is_recovery_over(&self, next: Option<Instant>) -> bool {
        self.recovering.is_some_and(|until| until <= self.now && next.is_none_or(|next| until <= next))
    }

    /// G10: every queue is swept, the resource first of which the first request has waited longest.
    pub(super) fn end_recovery(&mut self, out: &mut Vec<Output>) {
        self.recovering = None;
        let oldest = |slot: ResourceSlot| -> Option<Stamp> {
            let waiting = self.resources[slot].waiting().iter(&self.locks, Which::Queue);
            waiting.map(|lock| self.locks[lock].stamp).min()
        };
        let all = self.resources.iter().filter_map(|(slot, _)| Some((oldest(slot)?, slot)));
        let mut all: Vec<(Stamp, ResourceSlot)> = all.collect();
        all.sort_by_key(|(stamp, _)| *stamp);
        for (_, resource) in all {
            self.touch(resource);
        }
        self.settle(out);
    }
}
