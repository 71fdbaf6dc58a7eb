//! Ends and administrators: rules E, T6, V4 (b) and (c).

use super::tables::{Call, legal, writes_block};
use super::{Ending, Lock, Model};
use crate::words::{End, Name, What, Which};
use enq_protocol::vocabulary::{Flags, LockMode, Status};
use std::collections::BTreeMap;

/// What ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Session(End),
    Sublocks { under: u64, invalidate: bool },
}

impl Kind {
    fn releases(self) -> bool {
        !matches!(self, Kind::Session(End::Closed | End::Died))
    }

    /// V4, E2: does what held PW or EX leave its block not valid?
    fn invalidates(self) -> bool {
        match self {
            Kind::Session(End::ReleasedAll { invalidate }) | Kind::Sublocks { invalidate, .. } => invalidate,
            Kind::Session(End::Died) => true,
            Kind::Session(End::Closed) => false,
        }
    }
}

impl Model {
    /// E1: seals all locks of a session.
    pub(super) fn end_session(&mut self, session: u64, end: End) {
        let locks = self.locks.iter().filter(|lock| lock.session == Some(session) && !lock.sealed);
        let locks: Vec<u64> = locks.map(|lock| lock.id).collect();
        let under_way =
            self.endings.iter_mut().find(|ending| ending.session == session && !ending.is_sublocks());
        if let Some(ending) = under_way {
            // A second end of a session goes on as the first one's rest.
            ending.locks.extend(&locks);
            ending.kind = Kind::Session(end);
            for id in locks {
                self.lock_mut(id).sealed = true;
            }
        } else if self.attended.contains(&session) {
            self.seal(locks, session, Kind::Session(end));
        }
    }

    /// T6: seals all sublocks of a lock. Whoever runs the ends answers when this one is through.
    pub(super) fn release_sublocks(
        &mut self,
        session: u64,
        which: Which,
        flags: Flags,
        known: &BTreeMap<Name, u64>,
    ) {
        let Some(index) = self.find(session, which, known) else {
            return self.refuse(session, Status::NoSuchLock);
        };
        if !legal(flags, Call::ReleaseAll, None) {
            return self.refuse(session, Status::BadParam);
        }
        let root = self.locks[index].id;
        let mut under = vec![root];
        let mut locks = Vec::new();
        while let Some(id) = under.pop() {
            let sublocks = self
                .locks
                .iter()
                .filter(|lock| lock.parent == Some(id) && !lock.sealed)
                .filter(|lock| lock.session.is_some()); // O1: orphans are no end's.
            let sublocks: Vec<u64> = sublocks.map(|lock| lock.id).collect();
            locks.extend(&sublocks);
            under.extend(sublocks);
        }
        if self.sublocks(root) == 0 {
            return; // There is no end; where there are orphans alone it is an end of nothing.
        }
        let invalidate = flags.0 & Flags::IVVALBLK.0 != 0;
        self.seal(locks, session, Kind::Sublocks { under: root, invalidate });
    }

    /// E1: what a path makes in a subtree while that subtree ends is sealed with the others.
    pub(super) fn seal_new(&mut self, id: u64, parent: Option<u64>) {
        let Some(parent) = parent else { return };
        let ending = self.endings.iter_mut().find(|ending| match ending.kind {
            Kind::Sublocks { under, .. } => under == parent || ending.locks.contains(&parent),
            Kind::Session(_) => false,
        });
        if let Some(ending) = ending {
            ending.locks.push(id);
            self.lock_mut(id).sealed = true;
        }
    }

    fn seal(&mut self, locks: Vec<u64>, session: u64, kind: Kind) {
        for id in &locks {
            self.lock_mut(*id).sealed = true;
        }
        self.endings.push(Ending { locks, session, kind });
    }

    /// Is an end under way that this session asked for?
    pub(crate) fn is_ending(&self, session: u64) -> bool {
        self.endings.iter().any(|ending| ending.session == session)
    }
    /// Is there work for Continue?
    pub(crate) fn has_ending(&self) -> bool {
        !self.endings.is_empty()
    }

    /// E1: at most 256 locks of the oldest end, deepest first, then by age.
    pub(super) fn go_on(&mut self) {
        if self.endings.is_empty() {
            return;
        }
        let Ending { mut locks, session, kind } = self.endings.remove(0);
        locks.retain(|id| self.lock(*id).is_some());
        locks.sort_by_key(|id| {
            let lock = self.lock(*id).expect("just looked");
            (std::cmp::Reverse(lock.at.1.len()), lock.age)
        });
        let rest = locks.split_off(locks.len().min(256));
        for id in locks {
            if self.lock(id).is_some() {
                self.end_lock(id, kind);
            }
        }
        if !rest.is_empty() {
            self.endings.insert(0, Ending { locks: rest, session, kind });
        }
    }

    fn end_lock(&mut self, id: u64, kind: Kind) {
        let lock = self.lock(id).expect("the caller has just seen it").clone();
        let sublocks: Vec<&Lock> = self.locks.iter().filter(|below| below.parent == Some(id)).collect();
        let under_orphans = sublocks.iter().any(|below| below.delayed.is_none());
        let stays = lock.persistent || under_orphans;
        if !kind.releases() && stays && lock.held.is_some() {
            return self.orphan(&lock); // E3
        }
        let delay_ms = self.spaces[&lock.at.0].lock_delay_ms;
        let blocks = lock.held.is_some_and(|held| held != LockMode::Nl) && delay_ms > 0;
        if matches!(kind, Kind::Session(End::Died)) && (blocks || !sublocks.is_empty()) {
            return self.delay(&lock, delay_ms); // E4
        }
        if let Some(path) = self.path_that_waits(id) {
            // P5: whether its locks are PERSISTENT or not. Who is over is told nothing.
            let said = self.out.len();
            self.undo(path, Some(Status::Aborted), kind.invalidates());
            if !kind.releases() {
                self.out.truncate(said);
            }
            return;
        }
        let session = lock.session.filter(|_| kind.releases());
        if let Some(session) = session {
            if lock.wish.is_some() {
                self.ended(&lock, Status::Aborted);
            } else {
                self.say(session, What::Gone { handle: lock.handle });
            }
        }
        if self.sublocks(id) > 0 {
            return self.orphan(&lock); // O1: they have no session, for all others of this end have gone.
        }
        if kind.invalidates() && lock.held.is_some_and(writes_block) {
            self.invalidate(&lock.at);
        }
        self.remove(id);
    }

    /// E4: it stays until its time is over, holding what it held, for nobody.
    fn delay(&mut self, lock: &Lock, delay_ms: u32) {
        self.orphan(lock);
        if lock.held.is_some_and(writes_block) {
            self.invalidate(&lock.at);
        }
        let end = self.now + u64::from(delay_ms) * 1_000_000;
        // From now on its age is that of its delay.
        let age = self.stamp();
        let delayed = self.lock_mut(lock.id);
        (delayed.delayed, delayed.age, delayed.orphan) = (Some(Some(end)), age, None);
    }

    /// An administrator's lock, that must not be sealed.
    pub(super) fn any_lock(&self, which: Which, known: &BTreeMap<Name, u64>) -> Option<usize> {
        self.by_id(known.get(&which.name).copied()).filter(|index| !self.locks[*index].sealed)
    }

    /// Nobody in particular asks, so session 0 is answered.
    pub(super) fn set_priority(&mut self, which: Which, priority: u8, known: &BTreeMap<Name, u64>) {
        match self.any_lock(which, known) {
            Some(index) => {
                self.locks[index].priority = priority;
                self.say(0, What::Done(Status::Done));
            }
            None => self.refuse(0, Status::NoSuchLock),
        }
    }

    /// V4 (c): an administrator takes a lock away.
    pub(super) fn force_release(&mut self, which: Which, stale: bool, by: u64, known: &BTreeMap<Name, u64>) {
        let Some(index) = self.any_lock(which, known) else {
            return self.refuse(by, Status::NoSuchLock);
        };
        let lock = self.locks[index].clone();
        if stale || lock.held.is_none() {
            return self.refuse(by, Status::Changed);
        }
        if self.is_needed(lock.id) {
            return self.refuse(by, Status::HasSublocks);
        }
        self.say(by, What::Done(Status::Done));
        if let Some(session) = lock.session {
            if lock.wish.is_some() {
                let held = lock.held;
                let ended =
                    What::Ended { handle: lock.handle, status: Status::Forced, holds: held, record: 0 };
                self.say(session, ended);
            }
            let revoked = What::Revoked { handle: lock.handle, by, reason: String::from("why") };
            self.say(session, revoked);
        }
        if lock.held.is_some_and(writes_block) {
            self.invalidate(&lock.at);
        }
        self.remove(lock.id);
    }
}
