//! DEQ: a lock is released, by its session or by force (rules U1, U2, T4, P6 of `docs/locking.md`).

use super::history::Gone;
use super::input::LockRef;
use super::lock::{At, Lock, LockSlot, Mark};
use super::output::{Output, Said};
use super::shard::Shard;
use super::value_block::is_writer;
use enq_protocol::vocabulary::{Flags, LockId, LockspaceId, SessionId, Status};

impl Shard {
    pub(super) fn deq(
        &mut self,
        session: SessionId,
        lock: LockRef,
        flags: Flags,
        value: Option<&[u8]>,
        out: &mut Vec<Output>,
    ) {
        let slot = self.resolve(session, lock);
        if let Some(path) = self.path_under_way(session, lock, slot) {
            let lockspace = self.paths.waiting[path].lockspace;
            let checked = self.check_release(lockspace, flags, value);
            return match checked {
                Ok(()) => self.release_path(session, path, lock, out),
                Err(status) => Self::refuse(session, status, out),
            };
        }
        let Some(slot) = slot else {
            return Self::refuse(session, Status::NoSuchLock, out);
        };
        let Lock { at, resource, parent, handle, .. } = self.locks[slot];
        let lockspace = self.resources[resource].lockspace;
        if let Err(status) = self.check_release(lockspace, flags, value) {
            return Self::refuse(session, status, out);
        }
        // T4: sublocks pin their parent, and so do paths that wait below.
        if self.is_needed(slot) {
            return Self::refuse(session, Status::HasSublocks, out);
        }
        self.counts.deq += 1;
        if flags.contains(Flags::IVVALBLK) || value.is_some() {
            self.release_value(slot, flags, value);
        }
        // U2: a request that waits ends first.
        let ended = at.wanted().is_some();
        if ended {
            let said = Said::Ended { handle, status: Status::Aborted, holds: None, record: 0 };
            self.tell(slot, said, out);
        }
        // U1: the lock goes, and the release is answered.
        out.push(Output { session, said: Said::Released { handle, frees: !ended } });
        self.remove(slot, Gone::RELEASED);
        if flags.contains(Flags::PATH) {
            self.release_intents(session, parent, out);
        }
    }

    /// R2: may anything there be released like that?
    fn check_release(
        &self,
        lockspace: LockspaceId,
        flags: Flags,
        value: Option<&[u8]>,
    ) -> Result<(), Status> {
        let valblk = flags.contains(Flags::VALBLK);
        let value_len_max = self.space(lockspace).map_or(0, |space| space.policy.value_len_max);
        let is_bad = !Flags::OF_DEQ.contains(flags)
            || (valblk && flags.contains(Flags::IVVALBLK))
            || valblk != value.is_some()
            || value.map_or(0, <[u8]>::len) > usize::from(value_len_max);
        if is_bad { Err(Status::BadParam) } else { Ok(()) }
    }

    /// P6: upwards, the intents that nothing needs any more.
    fn release_intents(&mut self, session: SessionId, from: Option<LockSlot>, out: &mut Vec<Output>) {
        let mut next = from;
        while let Some(slot) = next {
            let lock = &self.locks[slot];
            if !lock.marks.has(Mark::Intent) || self.is_needed(slot) || !matches!(lock.at, At::Granted { .. })
            {
                return;
            }
            next = lock.parent;
            let handle = self.remove(slot, Gone::RELEASED);
            out.push(Output { session, said: Said::Gone { handle } });
        }
    }

    /// V4: an administrator takes a granted lock away.
    pub(super) fn force_release(
        &mut self,
        lock: LockId,
        version: u64,
        by: SessionId,
        reason: &str,
        out: &mut Vec<Output>,
    ) {
        let slot = match self.check_force(lock, version) {
            Ok(slot) => slot,
            Err(status) => return Self::refuse(by, status, out),
        };
        out.push(Output { session: by, said: Said::Done(Status::Done) });
        let handle = self.locks[slot].handle;
        if let At::Converting { granted, .. } = self.locks[slot].at {
            let holds = Some(granted);
            self.tell(slot, Said::Ended { handle, status: Status::Forced, holds, record: 0 }, out);
        }
        self.tell(slot, Said::Revoked { handle, by, reason: reason.into() }, out);
        if is_writer(self.locks[slot].at.held()) {
            self.abandon_value(slot);
        }
        self.remove(slot, Gone::forced(by));
    }

    fn check_force(&self, lock: LockId, version: u64) -> Result<LockSlot, Status> {
        let slot = self.slot_of(lock).filter(|slot| !self.is_sealed(*slot)).ok_or(Status::NoSuchLock)?;
        let lock = &self.locks[slot];
        if lock.at.held().is_none() || lock.seq.0 != version {
            return Err(Status::Changed);
        }
        if self.is_needed(slot) {
            return Err(Status::HasSublocks);
        }
        Ok(slot)
    }
}
