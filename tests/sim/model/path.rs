//! Path locks: rules P.

use super::tables::writes_block;
use super::{Model, PathRequest, Queue, Wish, covers};
use crate::words::{Ask, Grant, Level, Place, What, Which};
use enq_protocol::vocabulary::{Flags, LockMode, Status};

/// P7: what the intents of a path request are asked with.
const OF_ALL_LEVELS: u32 = Flags::BLKAST.0 | Flags::PERSISTENT.0 | Flags::NODLCKWT.0 | Flags::NODLCKBLK.0;

/// P1: what the ancestors of a leaf in this mode need.
fn intent(leaf: LockMode) -> LockMode {
    match leaf {
        LockMode::Nl | LockMode::Cr | LockMode::Pr => LockMode::Cr,
        LockMode::Cw | LockMode::Pw | LockMode::Ex => LockMode::Cw,
    }
}

impl PathRequest {
    fn is_leaf(&self, level: usize) -> bool {
        level + 1 == self.path.len()
    }

    fn place(&self, level: usize) -> Place {
        (self.space, self.path[..=level].to_vec())
    }

    /// Is it the leaf for which it waits?
    pub(super) fn waits_for_leaf(&self) -> bool {
        self.is_leaf(self.levels.len())
    }

    /// The handle under which the client knows the request.
    pub(super) fn leaf(&self) -> u32 {
        *self.handles.last().expect("a path has a level")
    }

    /// P1, P7: the mode and the flags of a level.
    fn wish(&self, level: usize) -> Wish {
        let flags = self.ask.flags;
        let leaf = self.is_leaf(level);
        Wish {
            mode: if leaf { self.ask.mode } else { intent(self.ask.mode) },
            flags: if leaf { flags } else { Flags(flags.0 & OF_ALL_LEVELS) },
            value: None,
            deadline: self.deadline,
            stamp: 0,
            demoted: false,
        }
    }
}

/// How far a path request came.
enum Came {
    Through(Grant),
    Waiting(u64),
    Full,
}

impl Model {
    /// The path request that waits for this lock.
    pub(super) fn path_that_waits(&self, id: u64) -> Option<usize> {
        self.paths.iter().position(|path| path.waits == Some(id))
    }

    /// P5: the path request that has this handle for a level that it has not asked for yet.
    pub(super) fn unmade(&self, session: u64, which: Which) -> Option<usize> {
        self.paths.iter().position(|path| {
            let unmade = path.handles.iter().skip(path.levels.len() + 1);
            let sealed = path.waits.and_then(|id| self.lock(id)).is_some_and(|lock| lock.sealed);
            let named = path.ask.session == session && which.by_handle;
            named && !sealed && unmade.copied().any(|handle| handle == which.name.1)
        })
    }

    pub(super) fn path_space(&self, index: usize) -> u32 {
        self.paths[index].space
    }

    pub(super) fn new_path(&mut self, ask: &Ask, handles: &[u32], space: u32, path: &[&'static str]) {
        let policy = match self.checked(ask, space) {
            Ok(policy) => policy,
            Err(status) => return self.refuse(ask.session, status),
        };
        let intent = intent(ask.mode);
        if path.len() > 1 && !policy.modes.contains(intent) {
            return self.refuse(ask.session, Status::Denied);
        }
        if self.must_come_again(ask) {
            return;
        }
        let request = PathRequest {
            ask: ask.clone(),
            handles: handles.to_vec(),
            space,
            path: path.to_vec(),
            deadline: self.deadline(ask.timeout_ms, &policy),
            levels: Vec::new(),
            waits: None,
        };
        let request = PathRequest { levels: self.reused(&request), ..request };
        if ask.flags.0 & Flags::NOQUEUE.0 != 0 {
            // P4: all levels are tested before any is changed.
            for level in 0..path.len() {
                let (at, wish) = (request.place(level), request.wish(level));
                if level >= request.levels.len() && self.may_grant_new(&at, &wish).is_none() {
                    let bast = Flags(wish.flags.0 | ask.flags.0 & Flags::NOQUEUEBAST.0);
                    return self.not_queued(ask.session, &at, &Wish { flags: bast, ..wish }, None);
                }
            }
        }
        self.paths.push(request);
        let index = self.paths.len() - 1;
        match self.descend(index) {
            Came::Through(mut grant) => {
                grant.synchronous = ask.flags.0 & Flags::SYNCSTS.0 != 0;
                self.through(index, grant, false);
            }
            Came::Waiting(lock) => {
                let handle = self.paths[index].leaf();
                self.say(ask.session, What::Queued { handle, lock });
            }
            Came::Full => {
                self.undo(index, None, false);
                self.refuse(ask.session, Status::ResourceExhausted);
            }
        }
    }

    /// P2: what this request stands on already, root first: the deepest of the owner's locks of which it and all that it
    /// stands on itself cover the intent, and of several the oldest.
    fn reused(&self, request: &PathRequest) -> Vec<(u64, u32, bool)> {
        let chains = (0..request.path.len() - 1).rev().map(|level| {
            let ids = self.locks.iter().filter(|lock| lock.at == request.place(level)).map(|lock| lock.id);
            let mut ids: Vec<u64> = ids.collect();
            ids.sort_unstable();
            ids.into_iter().find_map(|id| self.chain_of(id, request))
        });
        chains.flatten().next().unwrap_or_default()
    }

    /// The lock and what it stands on, root first, if all of it covers the intent.
    fn chain_of(&self, id: u64, request: &PathRequest) -> Option<Vec<(u64, u32, bool)>> {
        let lock = self.lock(id)?;
        let fits = lock.owner == (request.ask.session, request.ask.owner)
            && lock.session == Some(request.ask.session)
            && lock.queue == Queue::Granted
            && !lock.sealed
            && lock.held.is_some_and(|held| covers(held, intent(request.ask.mode)));
        let mut chain = match lock.parent {
            _ if !fits => return None,
            Some(parent) => self.chain_of(parent, request)?,
            None => Vec::new(),
        };
        chain.push((id, lock.handle, false));
        Some(chain)
    }

    /// P3: goes down from where it is.
    fn descend(&mut self, index: usize) -> Came {
        loop {
            let request = self.paths[index].clone();
            let level = request.levels.len();
            let leaf = request.is_leaf(level);
            let (at, wish, handle) = (request.place(level), request.wish(level), request.handles[level]);
            let parent = request.levels.last().map(|above| above.0);
            let mode = self.may_grant_new(&at, &wish);
            if mode.is_none() && self.is_full(&at) {
                return Came::Full;
            }
            let queued = mode.is_none().then(|| wish.clone());
            let id = self.make(&request.ask, handle, &at, parent, queued);
            let lock = self.lock_mut(id);
            (lock.by_handle, lock.intent) = (true, !leaf);
            self.touch(&at);
            let Some(mode) = mode else {
                self.paths[index].waits = Some(id);
                return Came::Waiting(id);
            };
            let grant = self.grant(id, mode, &wish);
            self.paths[index].levels.push((id, handle, true));
            if leaf {
                return Came::Through(grant);
            }
        }
    }

    /// P3: the lock it waited for is granted.
    pub(super) fn path_goes_on(&mut self, index: usize, grant: Grant) {
        let id = self.paths[index].waits.take().expect("it waited");
        self.paths[index].levels.push((id, grant.handle, true));
        if self.paths[index].levels.len() == self.paths[index].path.len() {
            return self.through(index, grant, true);
        }
        match self.descend(index) {
            Came::Through(grant) => self.through(index, grant, true),
            Came::Waiting(_) => {}
            Came::Full => self.undo(index, Some(Status::ResourceExhausted), false),
        }
    }

    /// The one answer or completion. The handles of levels that reuse a lock are free by now.
    fn through(&mut self, index: usize, grant: Grant, later: bool) {
        let request = self.paths.remove(index);
        for ((_, _, made), handle) in request.levels.iter().zip(&request.handles) {
            if !made {
                self.say(request.ask.session, What::Gone { handle: *handle });
            }
        }
        let mut levels = Vec::new();
        for (lock, handle, made) in request.levels {
            let held = self.lock(lock).and_then(|lock| lock.held);
            let mode = held.expect("what a path stands on stays, and holds a mode");
            if made && let Some(index) = self.by_id(Some(lock)) {
                self.locks[index].by_handle = false;
            }
            levels.push(Level { handle, lock, mode, made });
        }
        self.say(request.ask.session, What::Granted { later, grant, levels: Some(levels) });
    }

    /// P5: undoes what the request made, leaf first, save what others below need. With a status the request was
    /// queued and completes.
    pub(super) fn undo(&mut self, index: usize, status: Option<Status>, invalidates: bool) {
        let request = self.paths.remove(index);
        let to = request.ask.session;
        if let Some(status) = status {
            let ended = What::Ended { handle: request.leaf(), status, holds: None, record: 0 };
            self.say(to, ended);
        }
        let of_end = request.waits.and_then(|id| self.lock(id)).is_some_and(|lock| lock.sealed);
        if let Some(id) = request.waits {
            self.remove(id);
        }
        for level in (0..request.handles.len()).rev() {
            let handle = request.handles[level];
            match request.levels.get(level) {
                Some((_, _, false)) | None => {}
                Some((id, _, true)) => {
                    // T6: an end takes what it sealed and nothing else.
                    let kept = self.lock(*id).is_none_or(|lock| !lock.sealed && of_end);
                    if kept || self.is_needed(*id) {
                        continue;
                    }
                    let lock = self.lock(*id).expect("just looked").clone();
                    if invalidates && lock.held.is_some_and(writes_block) {
                        self.invalidate(&lock.at);
                    }
                    self.remove(*id);
                    if lock.wish.is_some() {
                        self.ended(&lock, Status::Aborted);
                        continue;
                    }
                }
            }
            if status.is_some() && level + 1 < request.handles.len() {
                self.say(to, What::Gone { handle });
            }
        }
    }
}
