//! E3, O1: what was asked PERSISTENT and holds a mode when its session ends stays as it is, without session, and so does what
//! it stands on, until somebody adopts it, which is a grant, or purges it by its key. Nothing else stays.

use super::super::actor::Place;
use super::{Glance, Seen, Wrong};
use enq_protocol::vocabulary::{Flags, LockId, LockView, SessionId};
use std::collections::{BTreeMap, BTreeSet};

/// The locks without session that may stay by E3: persistent ones, and what they stand on. What is only delayed is none.
pub(super) fn all(places: &[Seen]) -> BTreeSet<LockId> {
    let locks = || places.iter().flat_map(|seen| &seen.locks).filter(|lock| lock.session.is_none());
    let persistent = locks().filter(|lock| lock.flags.contains(Flags::PERSISTENT));
    let mut orphans: BTreeSet<LockId> = persistent.map(|lock| lock.lock).collect();
    loop {
        let above = locks().filter(|lock| orphans.contains(&lock.lock)).filter_map(|lock| lock.parent);
        let above: Vec<LockId> = above.filter(|parent| locks().any(|lock| lock.lock == *parent)).collect();
        let before = orphans.len();
        orphans.extend(above);
        if orphans.len() == before {
            return orphans;
        }
    }
}

/// P5: an end undoes what a path made that still waits below, persistent or not.
fn is_undone(lock: &LockView, glance: &Glance) -> bool {
    let locks = glance.places.iter().flat_map(|seen| &seen.locks);
    let mut waiting = locks.filter(|other| other.granted.is_none() && other.session == lock.session);
    waiting.any(|other| other.path.len() > lock.path.len() && other.path.starts_with(&lock.path))
}

/// What the judge remembers, and what has been seen.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    keys: BTreeMap<SessionId, Box<[u8]>>,
    /// By which key it can be had.
    left: BTreeMap<LockId, Box<[u8]>>,
    /// Keys by which somebody has asked to purge; that may come about at any time since.
    pub(crate) purged: BTreeSet<Box<[u8]>>,
    /// Places and keys by which somebody has asked to adopt: what he gives up at once has gone as soon as it is his.
    pub(crate) wanted: BTreeSet<(Place, Box<[u8]>)>,
    pub(crate) adoptions: u64,
    pub(crate) purges: u64,
    /// Locks that stayed because others stand on them.
    pub(crate) parents: u64,
}

impl Orphans {
    pub(super) fn look(&mut self, before: &Glance, now: &Glance) -> Result<(), Wrong> {
        for (session, key) in &now.sessions {
            self.keys.entry(*session).or_insert_with(|| key.clone());
        }
        for was in before.places.iter().flat_map(|seen| &seen.locks) {
            let is_left = now.has_lost_session(was) && was.granted.is_some();
            // R8: a conversion sets it when it is granted; until then a view does not tell what is asked from what is.
            let is_persistent = was.flags.contains(Flags::PERSISTENT) && was.requested.is_none();
            let is_persistent = is_persistent && !is_undone(was, before);
            if is_left && (is_persistent || now.orphans.contains(&was.lock)) {
                let key = was.session.and_then(|session| self.keys.get(&session));
                self.left.insert(was.lock, key.cloned().unwrap_or_default());
                self.parents += u64::from(!was.flags.contains(Flags::PERSISTENT));
            }
            if is_left || before.orphans.contains(&was.lock) {
                self.goes_on(was, now)?;
            }
        }
        let stands = |lock: &LockView| lock.parent.is_none_or(|parent| now.lock(parent).is_some());
        let mut orphans = now.orphans.iter().filter_map(|id| now.lock(*id));
        match orphans.find(|lock| !stands(lock)) {
            Some(lock) => Err(format!("O1: orphan {} has lost its parent lock: {lock:?}", lock.lock)),
            None => Ok(()),
        }
    }

    /// Something that stays is as it was, or was adopted, or purged.
    fn goes_on(&mut self, was: &LockView, now: &Glance) -> Result<(), Wrong> {
        let Some(key) = self.left.get(&was.lock) else { return Ok(()) };
        match now.lock(was.lock) {
            Some(is) if is.session.is_none() => {
                // Of sessions that end in one round an earlier one may have let a conversion of this one's come about.
                let converts = was.requested.is_some() && is.granted == was.requested && is.seq > was.seq;
                let as_before = (is.granted, is.seq) == (was.granted, was.seq) || converts;
                if !as_before || is.parent != was.parent || is.requested.is_some() {
                    return Err(format!("E3: {was:?} has become {is:?}"));
                }
            }
            Some(is) => {
                self.left.remove(&was.lock);
                self.adoptions += 1;
                if is.seq <= was.seq {
                    return Err(format!("O3: {was:?} was adopted without a grant: {is:?}"));
                }
            }
            None if self.purged.contains(key) => {
                self.left.remove(&was.lock);
                self.purges += 1;
            }
            None if self.wanted.contains(&(was.path.clone(), key.clone())) => _ = self.left.remove(&was.lock),
            None => return Err(format!("O1: {was:?} is gone, and nobody purges by {key:?}")),
        }
        Ok(())
    }
}
