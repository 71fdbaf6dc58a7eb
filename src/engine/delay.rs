//! Lock-delay: what a dead session held goes on blocking for a while (rule E4 of `docs/locking.md`).
//!
//! A delayed lock is an orphan with an end: no session, told nothing, and gone at its moment, which only a Tick brings.
//! Nothing else is true of it that is true of a holder: its grant is not live, and nobody joins its fence.

use super::history::Gone;
use super::lock::{At, LockSlot, Mark};
use super::planted::Mistake;
use super::shard::Shard;
use super::value_block::is_writer;
use enq_protocol::vocabulary::{Happened, LockMode, Status};

impl Shard {
    /// E4: does this lock of a session that died go on blocking? One in NL blocks nobody, but it may be needed by
    /// sublocks that do.
    pub(super) fn is_to_be_delayed(&self, slot: LockSlot) -> bool {
        let lock = &self.locks[slot];
        let Some(held) = lock.at.held() else { return false };
        let ignored = self.limits.planted.is(Mistake::LockDelayIsIgnored);
        lock.sublocks > 0 || (held != LockMode::Nl && self.delay_ms(slot) > 0 && !ignored)
    }

    fn delay_ms(&self, slot: LockSlot) -> u32 {
        let lockspace = self.resources[self.locks[slot].resource].lockspace;
        self.space(lockspace).map_or(0, |space| space.policy.lock_delay_ms)
    }

    /// E4: the lock stays until its delay is over; a conversion under way is dropped.
    pub(super) fn delay(&mut self, slot: LockSlot) {
        self.record_change(slot, Happened::Delayed, Status::Done);
        if let At::Converting { .. } = self.locks[slot].at {
            self.revert(slot);
        }
        // E2: a writer that died leaves its block not valid, from its death on.
        let held = self.locks[slot].at.held();
        if is_writer(held) {
            self.abandon_value(slot);
        }
        self.unattend(slot);
        let end = self.now.after_ms(self.delay_ms(slot));
        // Sublocks are delayed before their parents, and so go before them.
        let stamp = self.next_stamp();
        let lock = &mut self.locks[slot];
        lock.stamp = stamp;
        lock.marks.put(Mark::Delayed, true);
        self.resources[lock.resource].delayed += u32::from(held.is_some_and(LockMode::is_fenced));
        self.counts.delayed += 1;
        self.set_deadline(slot, end);
    }

    /// E4: the delay of this lock is over. If it still has sublocks it goes with the last of them.
    pub(super) fn end_delay(&mut self, slot: LockSlot) {
        if self.locks[slot].sublocks == 0 {
            self.counts.deq += 1;
            self.remove(slot, Gone::DELAY_ENDED);
        }
    }

    /// E4: a sublock has gone: a delayed parent whose own delay is over goes too.
    pub(super) fn end_delay_above(&mut self, parent: Option<LockSlot>) {
        if let Some(parent) = parent {
            self.end_delay_of(parent);
        }
    }

    #[inline(never)]
    fn end_delay_of(&mut self, parent: LockSlot) {
        let lock = &self.locks[parent];
        if lock.marks.has(Mark::Delayed) && !lock.marks.has(Mark::Deadline) && lock.sublocks == 0 {
            self.counts.deq += 1;
            self.remove(parent, Gone::DELAY_ENDED);
        }
    }

    /// A lock that goes is counted no more.
    pub(super) fn forget_delay(&mut self, slot: LockSlot) {
        let lock = &self.locks[slot];
        if lock.marks.has(Mark::Delayed) {
            let fenced = lock.at.held().is_some_and(LockMode::is_fenced);
            self.resources[lock.resource].delayed -= u32::from(fenced);
            self.counts.delayed -= 1;
        }
    }
}
