//! How a path ends: which of its locks stay, which go, and what becomes of its handles (rules P3, P5 of
//! `docs/locking.md`).
//!
//! Of an attempt that has ended, nothing is left that somebody else does not use.

use super::history::Gone;
use super::input::LockRef;
use super::lock::{At, LockSlot, Mark, SessionSlot};
use super::output::{Output, Said};
use super::path::{Named, Path, PathSlot, Told, Undo};
use super::shard::Shard;
use enq_protocol::vocabulary::{Handle, PathLevel, SessionId, Status};

impl Shard {
    /// The path that this handle or id stands for: the lock that waits, or a level not asked for yet. `slot` is the lock
    /// that it resolves to.
    pub(super) fn path_under_way(
        &self,
        session: SessionId,
        lock: LockRef,
        slot: Option<LockSlot>,
    ) -> Option<PathSlot> {
        if let LockRef::Handle(handle) = lock {
            let at = *self.sessions.get(&session)?;
            if let Some(Named::Path(slot)) = self.paths.by_handle.get(&(at, handle)) {
                let waits_for = self.paths.waiting[*slot].levels.last()?.lock;
                return (!self.is_sealed(waits_for)).then_some(*slot);
            }
        }
        self.path_waiting_for(slot?)
    }

    /// The path that waits for this lock.
    pub(super) fn path_waiting_for(&self, slot: LockSlot) -> Option<PathSlot> {
        self.locks[slot].marks.has(Mark::Path).then(|| self.paths.waits_for.get(&slot).copied()).flatten()
    }

    /// U2 for a path that waits: its request ends, then the release is answered.
    pub(super) fn release_path(
        &mut self,
        session: SessionId,
        path: PathSlot,
        lock: LockRef,
        out: &mut Vec<Output>,
    ) {
        let handle = match lock {
            LockRef::Handle(handle) => handle,
            LockRef::Id(_) => self.paths.waiting[path].leaf_handle(),
        };
        self.counts.deq += 1;
        self.end_path(path, Status::Aborted, Undo::All, out);
        out.push(Output { session, said: Said::Released { handle, frees: false } });
    }

    /// P5: ends a path that waits, undoing what it made.
    pub(super) fn end_path(&mut self, path: PathSlot, status: Status, undo: Undo, out: &mut Vec<Output>) {
        let path = self.take_path(path);
        self.undo_path(&path, status, undo, out);
    }

    /// Takes a path out; its handles lead nowhere, its locks are plain locks.
    pub(super) fn take_path(&mut self, slot: PathSlot) -> Path {
        let path = self.paths.waiting.take(slot);
        self.beside -= path.beside();
        for level in &path.levels {
            let marks = &mut self.locks[level.lock].marks;
            if level.made {
                marks.take(Mark::ByHandle);
            }
            if marks.take(Mark::Path) {
                self.paths.waits_for.remove(&level.lock);
            }
            self.unpin(level.lock, slot);
        }
        if let Some(session) = self.sessions.get(&path.session).copied() {
            for handle in &path.handles {
                self.paths.forget_handle(session, *handle);
            }
        }
        path
    }

    /// P5: the path no longer stands on this lock.
    fn unpin(&mut self, lock: LockSlot, path: PathSlot) {
        if let Some(pins) = self.paths.pins.get_mut(&lock) {
            pins.retain(|pin| *pin != path);
            if pins.is_empty() {
                self.paths.pins.remove(&lock);
                self.locks[lock].marks.put(Mark::Pinned, false);
            }
        }
    }

    /// P5: a path that waits somewhere below this lock.
    pub(super) fn path_below(&self, slot: LockSlot) -> Option<PathSlot> {
        let pinned = self.locks[slot].marks.has(Mark::Pinned);
        pinned.then(|| self.paths.pins.get(&slot)?.first().copied()).flatten()
    }

    /// T4, P5: is this lock needed by others below it?
    pub(super) fn is_needed(&self, slot: LockSlot) -> bool {
        self.locks[slot].sublocks > 0 || self.locks[slot].marks.has(Mark::Pinned)
    }

    /// P5: the request ends; its locks go, leaf first, save those that others of the session use.
    pub(super) fn undo_path(&mut self, path: &Path, status: Status, undo: Undo, out: &mut Vec<Output>) {
        let leaf = path.leaf_handle();
        let (told, invalidate) = match undo {
            Undo::All => (Told::Yes, false),
            Undo::Sealed { told, invalidate } => (told, invalidate),
        };
        let mut tell = |said| {
            if told == Told::Yes {
                out.push(Output { session: path.session, said });
            }
        };
        tell(Said::Ended { handle: leaf, status, holds: None, record: 0 });
        let gone = match undo {
            Undo::Sealed { told: Told::No, .. } => Gone::with_session(false, invalidate),
            Undo::Sealed { told: Told::Yes, .. } | Undo::All => Gone::ended(status),
        };
        let mut kept = Vec::new();
        for level in path.levels.iter().rev().filter(|level| level.made) {
            let lock = &self.locks[level.lock];
            let handle = lock.handle;
            if self.is_needed(level.lock) || (undo != Undo::All && !self.is_sealed(level.lock)) {
                kept.push(handle);
                if let Some(session) = lock.session {
                    self.name_lock(session, handle, level.lock);
                }
                continue;
            }
            if let At::Converting { .. } = lock.at {
                kept.push(handle);
                tell(Said::Ended { handle, status: Status::Aborted, holds: None, record: 0 });
            }
            if invalidate {
                self.abandon_value(level.lock);
            }
            self.remove(level.lock, gone);
        }
        for handle in path.handles.iter().rev().filter(|handle| **handle != leaf && !kept.contains(handle)) {
            tell(Said::Gone { handle: *handle });
        }
    }

    /// What a granted path tells its session of each level.
    pub(super) fn levels_of(&self, path: &Path) -> Box<[PathLevel]> {
        let level = |level: &super::path::Level| {
            let lock = &self.locks[level.lock];
            let mode = lock.at.held()?;
            Some(PathLevel { handle: lock.handle, lock: self.id_of(level.lock), mode, made: level.made })
        };
        path.levels.iter().filter_map(level).collect()
    }

    /// P3: the handles of levels that reuse a lock were not needed.
    pub(super) fn free_unused_handles(&self, path: &Path, out: &mut Vec<Output>) {
        let session = path.session;
        for (level, handle) in path.levels.iter().zip(&path.handles) {
            if !level.made {
                out.push(Output { session, said: Said::Gone { handle: *handle } });
            }
        }
    }

    /// Lets the handles of a path that waited lead to the locks it made; the session register knows no ids of them.
    pub(super) fn name_locks(&mut self, path: &Path) {
        let Some(session) = self.sessions.get(&path.session).copied() else { return };
        for (level, handle) in path.levels.iter().zip(&path.handles) {
            if level.made {
                self.name_lock(session, *handle, level.lock);
            }
        }
    }

    pub(super) fn name_lock(&mut self, session: SessionSlot, handle: Handle, lock: LockSlot) {
        self.locks[lock].marks.put(Mark::ByHandle, true);
        self.paths.by_handle.insert((session, handle), Named::Lock(lock));
    }
}
