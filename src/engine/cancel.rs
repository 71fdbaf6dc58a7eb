//! CANCEL: what waits is withdrawn (rules U3, U4, U5 of `docs/locking.md`).
//!
//! A cancel has two outcomes and no third: the request has ended, or the lock was granted already. A timeout is a
//! cancel by the clock.

use super::history::Gone;
use super::input::LockRef;
use super::lock::{At, LockSlot};
use super::output::{Output, Said};
use super::path::Undo;
use super::planted::Mistake;
use super::shard::Shard;
use enq_protocol::vocabulary::{Flags, Happened, LockId, SessionId, Status};

impl Shard {
    pub(super) fn cancel(&mut self, session: SessionId, lock: LockRef, flags: Flags, out: &mut Vec<Output>) {
        let slot = self.resolve(session, lock);
        let path = self.path_under_way(session, lock, slot);
        if path.is_none() && slot.is_none() {
            return Self::refuse(session, Status::NoSuchLock, out);
        }
        // R2: a cancel takes no flag, FORCEUNLOCK least of all.
        if !Flags::OF_CANCEL.contains(flags) {
            return Self::refuse(session, Status::BadParam, out);
        }
        let status = match (path, slot) {
            // P5: the lock that a path waits for stands for the path, and so do those not asked for yet.
            (Some(path), _) => {
                self.end_path(path, Status::Cancelled, Undo::All, out);
                Status::Done
            }
            (None, Some(slot)) if self.withdraw(slot, Status::Cancelled, out) => Status::Done,
            (None, _) if self.limits.planted.is(Mistake::CancelDeniesTheGrant) => Status::Done,
            // U5: too late, and said so.
            (None, _) => Status::CancelGrant,
        };
        out.push(Output { session, said: Said::Done(status) });
    }

    /// U7: an administrator ends the request, as a cancel would. A lock that does not wait is left alone.
    pub(super) fn end_request(&mut self, lock: LockId, out: &mut Vec<Output>) {
        let slot = self.slot_of(lock).filter(|slot| !self.is_sealed(*slot));
        let path = slot.and_then(|slot| self.path_waiting_for(slot));
        let status = match (path, slot) {
            (Some(path), _) => {
                self.end_path(path, Status::Forced, Undo::All, out);
                Status::Done
            }
            (None, Some(slot)) if self.withdraw(slot, Status::Forced, out) => Status::Done,
            (None, Some(_)) => Status::CancelGrant,
            (None, None) => return Self::refuse(SessionId(0), Status::NoSuchLock, out),
        };
        out.push(Output { session: SessionId(0), said: Said::Done(status) });
    }

    /// U3, U4, U7: ends the request that waits; false if none does.
    pub(super) fn withdraw(&mut self, slot: LockSlot, status: Status, out: &mut Vec<Output>) -> bool {
        let handle = self.locks[slot].handle;
        let holds = match self.locks[slot].at {
            At::Granted { .. } => return false,
            At::Waiting { .. } => None,
            At::Converting { granted, .. } => Some(granted),
        };
        self.tell(slot, Said::Ended { handle, status, holds, record: 0 }, out);
        if status == Status::Timeout && self.limits.planted.is(Mistake::TimedOutStays) {
            return true;
        }
        if holds.is_none() {
            // U3: a new request leaves nothing behind.
            self.remove(slot, Gone::ended(status));
        } else {
            // U4: a conversion leaves the lock as it was.
            self.record_change(slot, Happened::Ended, status);
            self.revert(slot);
        }
        true
    }
}
