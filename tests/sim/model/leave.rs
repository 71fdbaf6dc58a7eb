//! Leaving: rules U, V2 and V4, P5 and P6.

use super::tables::{Call, legal, writes_block};
use super::{Lock, Model, Queue};
use crate::words::{Name, Place, What, Which};
use enq_protocol::vocabulary::{Flags, Status};
use std::collections::BTreeMap;

fn has(flags: Flags, flag: Flags) -> bool {
    flags.0 & flag.0 != 0
}

impl Model {
    /// Takes a lock out of the list; a resource without locks and subresources goes too.
    pub(super) fn remove(&mut self, id: u64) -> Lock {
        let index = self.by_id(Some(id)).expect("the caller has just seen it");
        let lock = self.locks.remove(index);
        self.touch(&lock.at);
        self.forget_empty();
        // E4: a delayed parent whose own time is over goes with the last of its sublocks.
        if let Some(parent) = lock.parent.and_then(|parent| self.lock(parent))
            && parent.delayed == Some(None)
            && self.sublocks(parent.id) == 0
        {
            let parent = parent.id;
            self.remove(parent);
        }
        lock
    }

    pub(super) fn forget_empty(&mut self) {
        let locks = &self.locks;
        self.blocks
            .retain(|(at, _)| locks.iter().any(|lock| lock.at.0 == at.0 && lock.at.1.starts_with(&at.1)));
    }

    /// C6: a lock that converts goes back into the granted queue as it was.
    pub(super) fn put_back(&mut self, id: u64) {
        let rank = self.last_rank();
        let lock = self.lock_mut(id);
        (lock.queue, lock.rank, lock.wish) = (Queue::Granted, rank, None);
        lock.told.clear();
        let at = lock.at.clone();
        self.touch(&at);
    }

    pub(super) fn release(
        &mut self,
        session: u64,
        which: Which,
        flags: Flags,
        value: Option<&[u8]>,
        known: &BTreeMap<Name, u64>,
    ) {
        let Some(index) = self.find(session, which, known) else {
            return self.release_unmade(session, which, flags, value);
        };
        let lock = self.locks[index].clone();
        if !self.may_release(lock.at.0, flags, value) {
            return self.refuse(session, Status::BadParam);
        }
        if let Some(path) = self.path_that_waits(lock.id) {
            // Its id was told with the leaf's handle: by id it is the leaf that is released.
            let leaf = self.paths[path].leaf();
            return self.release_path(path, if which.by_handle { lock.handle } else { leaf });
        }
        if self.is_needed(lock.id) {
            return self.refuse(session, Status::HasSublocks);
        }
        let frees = lock.wish.is_none();
        if !frees {
            self.ended(&lock, Status::Aborted); // U2
        }
        self.leave(&lock, flags, value);
        self.say(session, What::Released { handle: lock.handle, frees });
        if has(flags, Flags::PATH) {
            self.release_upwards(lock.parent);
        }
    }

    /// T4: has it sublocks? P5: or does a path request that waits stand on it?
    pub(super) fn is_needed(&self, id: u64) -> bool {
        let stands_on = |path: &super::PathRequest| path.levels.iter().any(|(lock, ..)| *lock == id);
        self.sublocks(id) > 0 || self.paths.iter().any(stands_on)
    }

    /// R2.
    fn may_release(&self, space: u32, flags: Flags, value: Option<&[u8]>) -> bool {
        let longest = usize::from(self.spaces[&space].value_len_max);
        let fits = value.is_none_or(|value| value.len() <= longest);
        legal(flags, Call::Release, None) && has(flags, Flags::VALBLK) == value.is_some() && fits
    }

    /// A release by the handle of a leaf that does not exist yet.
    fn release_unmade(&mut self, session: u64, which: Which, flags: Flags, value: Option<&[u8]>) {
        let Some(path) = self.unmade(session, which) else {
            return self.refuse(session, Status::NoSuchLock);
        };
        if !self.may_release(self.paths[path].space, flags, value) {
            return self.refuse(session, Status::BadParam);
        }
        self.release_path(path, which.name.1);
    }

    /// P5: the whole request goes, and with it the handle that was named.
    fn release_path(&mut self, path: usize, handle: u32) {
        let session = self.paths[path].ask.session;
        self.undo(path, Some(Status::Aborted), false);
        self.say(session, What::Released { handle, frees: false });
    }

    /// V2 and V4 (a), and out.
    pub(super) fn leave(&mut self, lock: &Lock, flags: Flags, value: Option<&[u8]>) {
        if lock.held.is_some_and(writes_block) {
            if let Some(bytes) = value {
                self.store(&lock.at, bytes);
            }
            if has(flags, Flags::IVVALBLK) {
                self.invalidate(&lock.at);
            }
        }
        self.remove(lock.id);
    }

    /// P6: the intents above that a path request made and that nothing else needs.
    pub(super) fn release_upwards(&mut self, mut parent: Option<u64>) {
        while let Some(id) = parent {
            let lock = self.lock(id).expect("a parent lock outlives its sublocks").clone();
            // One that converts is wanted by somebody.
            let needed = self.is_needed(id) || lock.wish.is_some();
            if !lock.intent || needed || lock.sealed {
                return;
            }
            let session = lock.session.expect("it is its sublock's session");
            self.say(session, What::Gone { handle: lock.handle });
            self.remove(id);
            parent = lock.parent;
        }
    }

    /// A queued request of a lock that goes ends without a grant.
    pub(super) fn ended(&mut self, lock: &Lock, status: Status) {
        if let Some(session) = lock.session {
            self.say(session, What::Ended { handle: lock.handle, status, holds: None, record: 0 });
        }
    }

    pub(super) fn cancel(&mut self, session: u64, which: Which, flags: Flags, known: &BTreeMap<Name, u64>) {
        let lock = self.find(session, which, known).map(|index| self.locks[index].clone());
        let path = match &lock {
            Some(lock) => self.path_that_waits(lock.id),
            None => self.unmade(session, which),
        };
        if lock.is_none() && path.is_none() {
            return self.refuse(session, Status::NoSuchLock); // U6
        }
        if !legal(flags, Call::Cancel, None) {
            return self.refuse(session, Status::BadParam);
        }
        match (lock, path) {
            (_, Some(path)) => self.undo(path, Some(Status::Cancelled), false),
            (Some(lock), None) if lock.wish.is_some() => self.withdraw(&lock, Status::Cancelled),
            _ => return self.say(session, What::Done(Status::CancelGrant)), // U5
        }
        self.say(session, What::Done(Status::Done));
    }

    /// U7: an administrator ends what waits, as a cancel would.
    pub(super) fn end_request(&mut self, which: Which, known: &BTreeMap<Name, u64>) {
        let Some(index) = self.any_lock(which, known) else {
            return self.refuse(0, Status::NoSuchLock);
        };
        let lock = self.locks[index].clone();
        match self.path_that_waits(lock.id) {
            Some(path) => self.undo(path, Some(Status::Forced), false),
            None if lock.wish.is_some() => self.withdraw(&lock, Status::Forced),
            None => return self.say(0, What::Done(Status::CancelGrant)),
        }
        self.say(0, What::Done(Status::Done));
    }

    /// U3, U4, U7: what waits goes, what converts goes back.
    fn withdraw(&mut self, lock: &Lock, status: Status) {
        if lock.queue == Queue::Converting {
            self.put_back(lock.id);
            let session = lock.session.expect("an orphan does not convert");
            let said = What::Ended { handle: lock.handle, status, holds: lock.held, record: 0 };
            self.say(session, said);
        } else {
            self.ended(lock, status);
            self.remove(lock.id);
        }
    }

    /// U7, E4 and G10, by their moments.
    pub(super) fn tick(&mut self) {
        for _ in 0..256 {
            let due = self.locks.iter().filter(|lock| !lock.sealed).filter_map(|lock| {
                let (moment, stamp) = match (&lock.wish, lock.delayed) {
                    (Some(wish), _) => (wish.deadline?, wish.stamp),
                    (None, delayed) => (delayed??, lock.age),
                };
                (moment <= self.now).then_some((moment, stamp, lock.id))
            });
            let due = due.min();
            let first = due.map_or(self.now, |(moment, ..)| moment);
            if self.recovering.is_some_and(|until| until <= first) {
                self.recover();
                continue;
            }
            let Some((_, _, id)) = due else { return };
            let lock = self.lock_mut(id);
            if lock.delayed.is_some() {
                lock.delayed = Some(None);
                if self.sublocks(id) == 0 {
                    self.remove(id);
                }
                self.sweep_touched();
                continue;
            }
            match self.path_that_waits(id) {
                Some(path) => self.undo(path, Some(Status::Timeout), false),
                None => {
                    let lock = self.lock(id).expect("it is due").clone();
                    self.withdraw(&lock, Status::Timeout);
                }
            }
            self.sweep_touched(); // G8: each timeout is a change of its own.
        }
    }

    /// G10: the wait is over, and every queue is swept, the one first whose first request is the oldest.
    fn recover(&mut self) {
        self.recovering = None;
        let mut oldest: Vec<(u64, Place)> = Vec::new();
        for at in self.resources() {
            let waiting = self.locks.iter().filter(|lock| lock.at == at).map(|lock| lock.age);
            oldest.extend(waiting.min().map(|age| (age, at)));
        }
        oldest.sort();
        self.touched.extend(oldest.into_iter().map(|(_, at)| at));
        self.sweep_touched();
    }
}
