//! Orphans: rules O, and E3 where it makes them.

use super::tables::{Call, legal, writes_block};
use super::{Lock, Model, Queue, Wish};
use crate::words::{Ask, Name, Place, Under, What, Which, orphan_key};
use enq_protocol::vocabulary::{Flags, LockMode, Status};
use std::collections::BTreeMap;

impl Model {
    /// E3, O1: it stays, holding what it held, for nobody.
    pub(super) fn orphan(&mut self, lock: &Lock) {
        if lock.queue == Queue::Converting {
            self.put_back(lock.id);
        }
        let came = self.stamp();
        let session = lock.session.expect("it had a session");
        let orphan = self.lock_mut(lock.id);
        (orphan.session, orphan.sealed, orphan.by_handle) = (None, false, false);
        orphan.orphan = Some((came, orphan_key(session)));
    }

    /// O2 and O3.
    pub(super) fn adopt(
        &mut self,
        ask: &Ask,
        handle: u32,
        (under, name): (Under, &'static str),
        asked_key: &str,
        known: &BTreeMap<Name, u64>,
    ) {
        let found = self.place_named(ask.session, under, name, known);
        let found = found.and_then(|(at, parent)| self.adoptable(ask, &at, parent, asked_key));
        let id = match found {
            Ok(id) => id,
            Err(status) => return self.refuse(ask.session, status),
        };
        let wish =
            Wish { mode: ask.mode, flags: ask.flags, value: None, deadline: None, stamp: 0, demoted: false };
        let age = self.stamp();
        let lock = self.lock_mut(id);
        (lock.handle, lock.owner) = (handle, (ask.session, ask.owner));
        (lock.priority, lock.reason, lock.age) = (ask.priority, ask.reason, age);
        // The grant is to an orphan, so it reads as for a new lock.
        let mut grant = self.grant(id, ask.mode, &wish);
        grant.synchronous = wish.has(Flags::SYNCSTS);
        let lock = self.lock_mut(id);
        (lock.session, lock.orphan) = (Some(ask.session), None);
        let at = lock.at.clone();
        self.attended.insert(ask.session);
        self.say(ask.session, What::Granted { later: false, grant, levels: None });
        self.touch(&at);
    }

    /// R2, then O2: the orphan that is meant.
    fn adoptable(&self, ask: &Ask, at: &Place, parent: Option<u64>, asked_key: &str) -> Result<u64, Status> {
        let policy = self.spaces.get(&at.0).ok_or(Status::NoSuchSpace)?;
        if !legal(ask.flags, Call::Adopt, Some(ask.mode)) {
            return Err(Status::BadParam);
        }
        if policy.reason_required && ask.reason.is_empty() {
            return Err(Status::Denied);
        }
        let has_key = |lock: &&Lock| lock.orphan.is_some_and(|(_, key)| !key.is_empty() && key == asked_key);
        let there = |lock: &&Lock| lock.at == *at && lock.parent == parent;
        let modes: Vec<(u64, Option<LockMode>)> =
            self.locks.iter().filter(has_key).filter(there).map(|lock| (lock.id, lock.held)).collect();
        let fitting = modes.iter().filter(|(_, held)| *held == Some(ask.mode)).map(|(id, _)| *id);
        let otherwise = if modes.is_empty() { Status::NoSuchOrphan } else { Status::WrongMode };
        fitting.min().ok_or(otherwise)
    }

    /// O4: one step, which begins at `from` if that is one of them.
    pub(super) fn purge(
        &mut self,
        space: u32,
        root: Option<&str>,
        asked_key: &str,
        from: Option<Which>,
        known: &BTreeMap<Name, u64>,
    ) {
        let has_key = |lock: &&Lock| lock.orphan.is_some_and(|(_, key)| !key.is_empty() && key == asked_key);
        let mut orphans: Vec<&Lock> =
            self.locks.iter().filter(|lock| lock.at.0 == space).filter(has_key).collect();
        orphans.sort_by_key(|lock| (std::cmp::Reverse(lock.at.1.len()), lock.orphan));
        let mut orphans: Vec<u64> = orphans.into_iter().map(|lock| lock.id).collect();
        let from = from.and_then(|which| known.get(&which.name));
        let from = from.and_then(|id| orphans.iter().position(|orphan| orphan == id));
        orphans.drain(..from.unwrap_or(0));
        assert!(orphans.len() <= 256, "no history has so many locks that a purge takes two steps");
        let said = self.out.len();
        let mut released = 0;
        for id in orphans {
            let lock = self.lock(id).expect("a purge removes nobody else's").clone();
            let elsewhere = root.is_some_and(|root| lock.at.1.first().is_none_or(|first| *first != root));
            if elsewhere || self.sublocks(id) > 0 {
                continue;
            }
            if lock.held.is_some_and(writes_block) {
                self.invalidate(&lock.at);
            }
            self.remove(id);
            released += 1;
        }
        assert_eq!(self.out.len(), said, "nobody is told that an orphan goes");
        self.say(0, What::Purged { released, next: None });
    }
}
