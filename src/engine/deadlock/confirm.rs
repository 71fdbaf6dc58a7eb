//! What was found in copies is looked at once more where it is true, before anybody is refused (rule D5).

use super::{
    super::{
        lock::LockSlot,
        output::{Output, Said},
        path::Undo,
        planted::Mistake,
        shard::Shard,
    },
    Copied, Seat, Wait,
};
use enq_protocol::vocabulary::{LockId, SessionId, Stamp, Status};

impl Shard {
    /// D5: does this wait still stand, unchanged since it was copied? All of it is in this shard.
    #[must_use]
    pub fn confirms(&self, wait: &Wait) -> bool {
        let Some(slot) = self.slot_of(wait.waiting.lock) else { return false };
        let mut copied = Copied::default();
        self.copy_resource(self.locks[slot].resource, &mut copied);
        let (Some(waiting), Some(blocker)) = (copied.find(wait.waiting.lock), copied.find(wait.blocker.lock))
        else {
            return false;
        };
        // Both as they were, and not sealed since: whoever began to convert since is another matter. Priorities may have changed.
        let is_same =
            |at: usize, before: &Seat| Seat { priority: before.priority, ..*copied.seat(at) } == *before;
        if self.limits.planted.is(Mistake::ConfirmationIsSkipped) {
            return true;
        }
        is_same(waiting, &wait.waiting)
            && is_same(blocker, &wait.blocker)
            && copied.stands_in_the_way(waiting, blocker) == Some(wait.why)
    }

    /// Is this the request that entered its queue with this stamp, and does it count?
    fn is_request(&self, slot: LockSlot, stamp: Stamp) -> bool {
        let lock = &self.locks[slot];
        let is_meant = lock.stamp == stamp || self.limits.planted.is(Mistake::AnyEntryIsTheVictim);
        is_meant && lock.at.wanted().is_some() && !self.is_sealed(slot)
    }

    /// D5: ends a request to break a deadlock, unless it is no longer the one that was meant. A conversion leaves the lock
    /// as it was.
    pub(in super::super) fn refuse_deadlock(
        &mut self,
        lock: LockId,
        stamp: Stamp,
        record: u64,
        out: &mut Vec<Output>,
    ) {
        let slot = self.slot_of(lock).filter(|slot| self.is_request(*slot, stamp));
        let Some(slot) = slot else {
            return Self::refuse(SessionId(0), Status::NoSuchLock, out);
        };
        self.counts.deadlock_find += 1;
        self.history.record = record;
        match self.path_waiting_for(slot) {
            Some(path) => self.end_path(path, Status::Deadlock, Undo::All, out),
            None => _ = self.withdraw(slot, Status::Deadlock, out),
        }
        // The number of the record goes with the refusal.
        for Output { said, .. } in out.iter_mut() {
            if let Said::Ended { status: Status::Deadlock, record: number, .. } = said {
                *number = record;
            }
        }
        out.push(Output { session: SessionId(0), said: Said::Done(Status::Done) });
    }

    /// A lock as the search would see it now, for whoever explains.
    #[must_use]
    pub fn seat_of(&self, lock: LockId) -> Option<Seat> {
        self.slot_of(lock).map(|slot| self.seat(slot))
    }
}
