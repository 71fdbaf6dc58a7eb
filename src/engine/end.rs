//! Ends: of a session, of everything it holds, of a subtree (rules E1-E3, T6 of `docs/locking.md`).
//!
//! An end seals all its locks at once and then removes them in steps of bounded work. A sealed lock still blocks, so
//! nobody is granted anything that the end has not yet given up.

use super::history::Gone;
use super::input::{End, LockRef};
use super::limits::{LOOKED_AT_A_STEP, REMOVALS_A_STEP};
use super::lock::{At, LockSlot, SessionSlot, Which};
use super::memory::take;
use super::output::{Output, Said};
use super::path::{Told, Undo};
use super::planted::Mistake;
use super::shard::Shard;
use super::value_block::is_writer;
use enq_protocol::vocabulary::{Flags, Happened, SessionId, Status};

/// An end that is under way.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    /// All locks of a session.
    Whole { session: SessionSlot, end: End },
    /// All sublocks of a lock; `level` and `next` say where it is, from the deepest level upwards.
    Under { root: LockSlot, session: SessionSlot, invalidate: bool, level: usize, next: Option<LockSlot> },
}

impl Shard {
    /// Is an end under way, so that Continue has something to do?
    #[must_use]
    pub fn has_ending(&self) -> bool {
        !self.endings.is_empty()
    }

    /// E1: is this lock's end under way?
    pub(super) fn is_sealed(&self, slot: LockSlot) -> bool {
        !self.endings.is_empty() && self.is_of_an_end(slot)
    }

    #[cold]
    fn is_of_an_end(&self, slot: LockSlot) -> bool {
        // O1: what has no session is no end's business.
        let Some(session) = self.locks[slot].session else { return false };
        if self.attendances[session].sealed {
            return true;
        }
        self.endings.iter().any(|ending| match ending {
            Ending::Under { root, .. } => self.is_below(slot, *root),
            Ending::Whole { .. } => false,
        })
    }

    pub(super) fn is_below(&self, slot: LockSlot, root: LockSlot) -> bool {
        let mut parents = std::iter::successors(self.locks[slot].parent, |up| self.locks[*up].parent);
        parents.any(|up| up == root)
    }

    /// E1: seals all locks of a session.
    pub(super) fn seal_session(&mut self, session: SessionId, end: End, orphan_key: &[u8]) {
        let Some(slot) = self.sessions.get(&session).copied() else { return };
        self.attendances[slot].orphan_key = orphan_key.into();
        let was_sealed = std::mem::replace(&mut self.attendances[slot].sealed, true);
        if was_sealed {
            // A session that dies while it is releasing everything.
            for ending in &mut self.endings {
                match ending {
                    Ending::Whole { session, end: under_way } if *session == slot => *under_way = end,
                    Ending::Whole { .. } | Ending::Under { .. } => {}
                }
            }
            return;
        }
        self.endings.push_back(Ending::Whole { session: slot, end });
    }

    /// T6: seals all sublocks of a lock. Says nothing unless it refuses; the answer comes when Continue is through.
    pub(super) fn seal_sublocks(
        &mut self,
        session: SessionId,
        lock: LockRef,
        flags: Flags,
        orphan_key: &[u8],
        out: &mut Vec<Output>,
    ) {
        let Some(root) = self.resolve(session, lock) else {
            return Self::refuse(session, Status::NoSuchLock, out);
        };
        if !Flags::OF_DEQ_ALL.contains(flags) {
            return Self::refuse(session, Status::BadParam, out);
        }
        let Some(session) = self.locks[root].session.filter(|_| self.locks[root].sublocks > 0) else {
            return;
        };
        self.attendances[session].orphan_key = orphan_key.into();
        let level = self.attendances[session].levels.len() - 1;
        let next = self.attendances[session].levels[level].head;
        let invalidate = flags.contains(Flags::IVVALBLK);
        self.endings.push_back(Ending::Under { root, session, invalidate, level, next });
    }

    /// E1: removes the next locks of the oldest end.
    pub(super) fn continue_end(&mut self, out: &mut Vec<Output>) {
        match self.endings.front().cloned() {
            None => {}
            Some(Ending::Whole { session, end }) => self.continue_whole(session, end, out),
            Some(Ending::Under { .. }) => self.continue_under(out),
        }
    }

    fn continue_whole(&mut self, session: SessionSlot, end: End, out: &mut Vec<Output>) {
        for _ in 0..REMOVALS_A_STEP {
            let levels = &self.attendances[session].levels;
            let Some(slot) = levels.iter().rev().find_map(|level| level.head) else { break };
            match end {
                End::ReleasedAll { invalidate } => self.end_lock(slot, invalidate, Told::Yes, out),
                End::Closed if self.stays(slot) => self.orphan(slot),
                End::Closed => self.end_lock(slot, false, Told::No, out),
                End::Died if self.stays(slot) || self.forgets_the_queue(slot) => self.orphan(slot),
                End::Died if self.is_to_be_delayed(slot) => self.delay(slot),
                End::Died => self.end_lock(slot, true, Told::No, out),
            }
        }
        if self.attendances[session].locks > 0 {
            return;
        }
        self.endings.pop_front();
        match end {
            End::ReleasedAll { .. } => self.attendances[session].sealed = false,
            End::Closed | End::Died => {
                let attendance = self.attendances.take(session);
                self.beside -= attendance.beside();
                take(&mut self.sessions, &attendance.session);
            }
        }
    }

    fn continue_under(&mut self, out: &mut Vec<Output>) {
        let mut removed = 0;
        for _ in 0..LOOKED_AT_A_STEP {
            let Some(Ending::Under { root, session, invalidate, level, next }) = self.endings.front_mut()
            else {
                return;
            };
            let (root, session, invalidate) = (*root, *session, *invalidate);
            // The level of the root itself is not looked at.
            if *level <= usize::from(self.resources[self.locks[root].resource].depth) {
                self.endings.pop_front();
                return;
            }
            let Some(slot) = *next else {
                *level -= 1;
                *next = self.attendances[session].levels[*level].head;
                continue;
            };
            *next = self.locks[slot].after(Which::Session);
            if self.is_below(slot, root) {
                self.end_lock(slot, invalidate, Told::Yes, out);
                removed += 1;
            }
            if removed == REMOVALS_A_STEP {
                return;
            }
        }
    }

    /// A lock is about to leave the list of its session: an end that would look at it next looks at the one after, and
    /// one of its sublocks, which must all have gone, is through.
    pub(super) fn step_over(&mut self, slot: LockSlot) {
        if self.endings.is_empty() {
            return;
        }
        self.endings.retain(|ending| !matches!(ending, Ending::Under { root, .. } if *root == slot));
        for ending in &mut self.endings {
            match ending {
                Ending::Under { next, .. } if *next == Some(slot) => {
                    *next = self.locks[slot].after(Which::Session);
                }
                Ending::Under { .. } | Ending::Whole { .. } => {}
            }
        }
    }

    /// T6, E2: one lock of an end goes.
    fn end_lock(&mut self, slot: LockSlot, invalidate: bool, told: Told, out: &mut Vec<Output>) {
        self.counts.deq += 1;
        if let Some(path) = self.path_waiting_for(slot) {
            return self.end_path(path, Status::Aborted, Undo::Sealed { told, invalidate }, out);
        }
        // P5: a path that waits elsewhere and stands on this lock cannot be granted any more.
        let id = self.id_of(slot);
        while let Some(path) = self.slot_of(id).and_then(|slot| self.path_below(slot)) {
            self.end_path(path, Status::Aborted, Undo::All, out);
        }
        if self.slot_of(id).is_none() {
            return;
        }
        let lock = &self.locks[slot];
        let handle = lock.handle;
        if told == Told::Yes {
            let said = if lock.at.wanted().is_some() {
                Said::Ended { handle, status: Status::Aborted, holds: None, record: 0 }
            } else {
                Said::Gone { handle }
            };
            self.tell(slot, said, out);
        }
        // O1: whatever stands on it outlives this end, and so must it.
        if self.locks[slot].sublocks > 0 {
            return self.orphan(slot);
        }
        // E2: a writer that died leaves its block not valid.
        let keeps = self.limits.planted.is(Mistake::ValueOutlivesItsWriter);
        if invalidate && is_writer(self.locks[slot].at.held()) && !keeps {
            self.abandon_value(slot);
        }
        self.remove(slot, Gone::with_session(told == Told::Yes, invalidate));
    }

    /// E3: does this lock outlive its session?
    fn stays(&self, slot: LockSlot) -> bool {
        let lock = &self.locks[slot];
        lock.at.held().is_some() && (lock.has(Flags::PERSISTENT) || lock.orphans > 0)
    }

    /// Planted: a request that waits is left to wait.
    fn forgets_the_queue(&self, slot: LockSlot) -> bool {
        self.limits.planted.is(Mistake::GrantToTheDead)
            && matches!(self.locks[slot].at, At::Waiting { .. })
            && self.path_waiting_for(slot).is_none()
    }

    /// E3: the lock stays, without session; a conversion under way is dropped.
    fn orphan(&mut self, slot: LockSlot) {
        self.record_change(slot, Happened::Orphaned, Status::Done);
        if let At::Converting { .. } = self.locks[slot].at {
            self.revert(slot);
        }
        if let Some(parent) = self.locks[slot].parent {
            self.locks[parent].orphans += 1;
        }
        let Some(session) = self.locks[slot].session else { return };
        self.unattend(slot);
        let orphan_key = self.attendances[session].orphan_key.clone();
        self.enter_orphans(slot, &orphan_key);
    }
}
