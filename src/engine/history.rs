//! The flight recorder of a shard: what happened to its locks, the last of it, in a ring that never grows.
//!
//! It is written where a lock is queued, granted or goes, under the mutex that the step holds anyway: an entry of two
//! cache lines, nothing allocated after the first. What is older than the ring is long is overwritten. No rule ever reads
//! it, so it changes no output; without room (`Limits::history` 0) nothing is written at all.
//!
//! An entry keeps the end of its resource's path, 50 bytes with the lengths of the names, and for longer ones a hash of it all.

use super::input::{Input, LockRef, Under};
use super::lock::{LockSlot, ResourceSlot};
use super::output::{Output, Said};
use super::resource::Resource;
use super::shard::Shard;
use super::slab::Slab;
use super::time::Instant;
use enq_protocol::vocabulary::{
    Fence, Happened, HistoryCursor, HistoryOf, HistoryView, LockId, LockMode, LockspaceId, ResourceName, Seq,
    SessionId, Status,
};
use foldhash::fast::FixedState;
use std::hash::{BuildHasher as _, Hasher as _};

/// The bytes of a path that an entry keeps.
const KEPT_LEN: usize = 50;

/// The path of a resource as an entry keeps it: each name with its length in front, the leaf first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    bytes: [u8; KEPT_LEN],
    len: u8,
    /// Does something of it not fit?
    is_cut: bool,
}

/// Where something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Where {
    lockspace: LockspaceId,
    path: Kept,
    /// Of the whole path, if it is cut; otherwise 0.
    hash: u64,
}

impl Where {
    /// On the resource with these names, leaf first.
    fn new<'a>(lockspace: LockspaceId, names: impl Iterator<Item = &'a [u8]> + Clone) -> Where {
        let mut path = Kept { bytes: [0; KEPT_LEN], len: 0, is_cut: false };
        let mut at = 0;
        for name in names.clone() {
            let room = KEPT_LEN - at;
            path.is_cut = name.len() >= room;
            if room < 2 {
                break;
            }
            let fitting = name.len().min(room - 1);
            path.bytes[at] = u8::try_from(name.len()).unwrap_or(u8::MAX);
            path.bytes[at + 1..=at + fitting].copy_from_slice(&name[..fitting]);
            at += 1 + fitting;
            if path.is_cut {
                break;
            }
        }
        path.len = u8::try_from(at).unwrap_or(u8::MAX);
        let hash = if path.is_cut { hash_of(names) } else { 0 };
        Where { lockspace, path, hash }
    }
}

/// Tells paths apart of which only the ends are kept. No output depends on it.
fn hash_of<'a>(names: impl Iterator<Item = &'a [u8]>) -> u64 {
    let mut hasher = FixedState::with_seed(0).build_hasher();
    for name in names {
        hasher.write_usize(name.len());
        hasher.write(name);
    }
    hasher.finish()
}

impl Kept {
    /// The names, root first, as far as they were kept.
    fn names(&self) -> Vec<ResourceName> {
        let mut rest = &self.bytes[..usize::from(self.len)];
        let mut names = Vec::new();
        while let [len, after @ ..] = rest {
            let (name, after) = after.split_at(after.len().min(usize::from(*len)));
            names.extend(ResourceName::new(name));
            rest = after;
        }
        names.reverse();
        names
    }
}

/// What happened, and to which lock.
#[derive(Clone, Copy, Debug)]
struct Fact {
    happened: Happened,
    status: Status,
    /// 0 for a new request that was refused.
    lock: LockId,
    /// 0 for an orphan.
    session: SessionId,
    held: Option<LockMode>,
    mode: Option<LockMode>,
    seq: Seq,
    fence: Fence,
    waited_ms: u32,
    detail: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: Instant,
    place: Where,
    fact: Fact,
}

/// The bytes of an entry: two lines of the processor's cache.
pub const HISTORY_ENTRY_LEN: usize = 128;

const _: () = assert!(size_of::<Entry>() == HISTORY_ENTRY_LEN);

/// Why a lock goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone {
    happened: Happened,
    status: Status,
    detail: u64,
}

impl Gone {
    pub(super) const RELEASED: Gone = Gone::by(Happened::Released);
    pub(super) const PURGED: Gone = Gone::by(Happened::Purged);
    pub(super) const DELAY_ENDED: Gone = Gone::by(Happened::DelayEnded);

    const fn by(happened: Happened) -> Gone {
        Gone { happened, status: Status::Done, detail: 0 }
    }

    /// Its session ended, or gave it up with others.
    pub(super) fn with_session(is_told: bool, has_died: bool) -> Gone {
        Gone::by(match (is_told, has_died) {
            (true, _) => Happened::Released,
            (false, true) => Happened::Died,
            (false, false) => Happened::Closed,
        })
    }

    /// An administrator took it away.
    pub(super) fn forced(by: SessionId) -> Gone {
        Gone { happened: Happened::Forced, status: Status::Forced, detail: by.0 }
    }

    /// Its request ended.
    pub(super) fn ended(status: Status) -> Gone {
        Gone { happened: Happened::Ended, status, detail: 0 }
    }
}

/// The ring; see the front page.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorder {
    ring: Vec<Entry>,
    /// How many it holds.
    len_max: usize,
    /// Where the next one goes, once the ring is full.
    next: usize,
    /// How many were ever written.
    written: u64,
    /// The number of the deadlock that the step at hand breaks.
    pub(super) record: u64,
}

impl Recorder {
    pub(super) fn new(len_max: usize) -> Recorder {
        Recorder { len_max, ..Recorder::default() }
    }

    /// The bytes it has allocated.
    pub(super) fn bytes(&self) -> usize {
        self.ring.capacity() * HISTORY_ENTRY_LEN
    }

    fn is_on(&self) -> bool {
        self.len_max > 0
    }

    fn write(&mut self, entry: Entry) {
        self.written += 1;
        if self.ring.len() < self.len_max {
            // All of it at once, so that it is never moved.
            self.ring.reserve_exact(self.len_max - self.ring.len());
            self.ring.push(entry);
            return;
        }
        self.ring[self.next] = entry;
        self.next = if self.next + 1 == self.len_max { 0 } else { self.next + 1 };
    }

    /// The entries with their numbers, the newest first.
    fn newest_first(&self) -> impl Iterator<Item = (u64, &Entry)> {
        let (newer, older) = self.ring.split_at(self.next);
        (1..=self.written).rev().zip(newer.iter().rev().chain(older.iter().rev()))
    }
}

/// An entry that somebody asked for.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Where it stands among all.
    pub cursor: HistoryCursor,
    /// What it says.
    pub view: HistoryView,
}

/// The names of a resource, leaf first.
fn names_of(resources: &Slab<Resource>, slot: ResourceSlot) -> impl Iterator<Item = &[u8]> + Clone {
    std::iter::successors(Some(slot), |slot| resources[*slot].parent)
        .map(|slot| resources[slot].name.as_bytes())
}

impl Shard {
    /// Notes what happens to a lock that is still there.
    fn record(&mut self, slot: LockSlot, happened: Happened, change: impl FnOnce(Fact) -> Fact) {
        let lock = &self.locks[slot];
        let fact = Fact {
            happened,
            status: Status::Done,
            lock: self.id_of(slot),
            session: lock.session.map_or(SessionId(0), |session| self.attendances[session].session),
            held: lock.at.held(),
            mode: lock.at.wanted(),
            seq: lock.seq,
            fence: lock.fence,
            waited_ms: 0,
            detail: 0,
        };
        let lockspace = self.resources[lock.resource].lockspace;
        let place = Where::new(lockspace, names_of(&self.resources, lock.resource));
        self.history.write(Entry { at: self.now, place, fact: change(fact) });
    }

    /// How long the request of this lock waits by now.
    fn waited_ms(&self, since: Instant) -> u32 {
        u32::try_from(self.now.ms_since(since)).unwrap_or(u32::MAX)
    }

    /// A request has come into a queue.
    pub(super) fn record_queued(&mut self, slot: LockSlot) {
        if self.history.is_on() {
            self.record(slot, Happened::Queued, |fact| fact);
        }
    }

    /// A lock was granted that held this mode before; if it had waited, since then.
    pub(super) fn record_grant(
        &mut self,
        slot: LockSlot,
        before: Option<LockMode>,
        is_adopted: bool,
        waited_since: Option<Instant>,
    ) {
        if !self.history.is_on() {
            return;
        }
        let waited_ms = waited_since.map_or(0, |since| self.waited_ms(since));
        let happened = if is_adopted { Happened::Adopted } else { Happened::Granted };
        self.record(slot, happened, |fact| Fact { held: before, mode: fact.held, waited_ms, ..fact });
    }

    /// A conversion ends without a grant and the lock stays, or something else happens to it that leaves it there.
    pub(super) fn record_change(&mut self, slot: LockSlot, happened: Happened, status: Status) {
        if !self.history.is_on() {
            return;
        }
        let lock = &self.locks[slot];
        let waited_ms = lock.at.wanted().map_or(0, |_| self.waited_ms(lock.since));
        let detail = if status == Status::Deadlock { self.history.record } else { 0 };
        self.record(slot, happened, |fact| Fact { status, waited_ms, detail, ..fact });
    }

    /// A lock goes; it is still in its queue and its session's list.
    pub(super) fn record_gone(&mut self, slot: LockSlot, gone: Gone) {
        if !self.history.is_on() {
            return;
        }
        let lock = &self.locks[slot];
        let waited_ms = lock.at.wanted().map_or(0, |_| self.waited_ms(lock.since));
        // U2: whoever releases what waits ends its request.
        let gone = match (gone.happened, lock.at.held()) {
            (Happened::Released, None) => Gone::ended(Status::Aborted),
            _ => gone,
        };
        let detail = if gone.status == Status::Deadlock { self.history.record } else { gone.detail };
        let status = gone.status;
        self.record(slot, gone.happened, |fact| Fact { status, waited_ms, detail, ..fact });
    }

    /// A request for a mode that was refused at once, if this step's answer, from here on, says so.
    pub(super) fn record_refusal(&mut self, input: &Input<'_>, said: &[Output]) {
        let Some(Output { said: Said::Refused { status, blocker, .. }, .. }) = said.first() else { return };
        if !self.history.is_on() {
            return;
        }
        let (status, detail) = (*status, blocker.map_or(0, |blocker| blocker.0));
        let (ask, place) = match input {
            Input::Enq { ask, under, name, .. } | Input::Adopt { ask, under, name, .. } => {
                let (lockspace, above) = match under {
                    Under::Lockspace(lockspace) => (*lockspace, None),
                    Under::Parent(parent) => {
                        let Some(parent) = self.resolve(ask.session, *parent) else { return };
                        let above = self.locks[parent].resource;
                        (self.resources[above].lockspace, Some(above))
                    }
                };
                let above = above.into_iter().flat_map(|above| names_of(&self.resources, above));
                (ask, Where::new(lockspace, std::iter::once(name.as_bytes()).chain(above)))
            }
            Input::EnqPath { ask, lockspace, path, .. } => {
                (ask, Where::new(*lockspace, path.iter().rev().map(ResourceName::as_bytes)))
            }
            Input::Convert { session, lock, mode, .. } => {
                return self.record_refused_conversion(*session, *lock, *mode, (status, detail));
            }
            _ => return,
        };
        let fact = Fact {
            happened: Happened::Refused,
            status,
            lock: LockId(0),
            session: ask.session,
            held: None,
            mode: Some(ask.mode),
            seq: Seq::default(),
            fence: Fence::UNFENCED,
            waited_ms: 0,
            detail,
        };
        self.history.write(Entry { at: self.now, place, fact });
    }

    fn record_refused_conversion(
        &mut self,
        session: SessionId,
        lock: LockRef,
        mode: LockMode,
        (status, detail): (Status, u64),
    ) {
        if let Some(slot) = self.resolve(session, lock) {
            self.record(slot, Happened::Refused, |fact| Fact { mode: Some(mode), status, detail, ..fact });
        }
    }

    /// The entries of a resource or a session, the newest first: only those before the cursor, and at most so many.
    #[must_use]
    pub fn show_history(
        &self,
        now: Instant,
        of: &HistoryOf,
        before: Option<HistoryCursor>,
        max: usize,
    ) -> Vec<Recorded> {
        let wanted = match of {
            HistoryOf::Resource { lockspace, path } => {
                Some(Where::new(*lockspace, path.iter().rev().map(ResourceName::as_bytes)))
            }
            HistoryOf::Session(_) => None,
        };
        let is_meant = |entry: &Entry| match of {
            HistoryOf::Resource { .. } => wanted == Some(entry.place),
            HistoryOf::Session(session) => entry.fact.session == *session,
        };
        let shard = self.place().shard() << 56;
        let entries = self.history.newest_first().filter(|(_, entry)| is_meant(entry));
        let placed =
            entries.map(|(number, entry)| (HistoryCursor { at: entry.at.0, entry: shard | number }, entry));
        let asked = placed.filter(|(cursor, _)| before.is_none_or(|before| *cursor < before)).take(max);
        asked.map(|(cursor, entry)| Recorded { cursor, view: entry.view(now) }).collect()
    }

    /// From when on nothing was overwritten; none if nothing ever was.
    #[must_use]
    pub fn history_begins(&self) -> Option<Instant> {
        let is_full = self.history.written > self.history.ring.len() as u64;
        is_full.then(|| self.history.ring[self.history.next].at)
    }

    /// The whole path of the resource of a lock that is there.
    #[must_use]
    pub fn path_of_lock(&self, lock: LockId) -> Option<Vec<ResourceName>> {
        self.slot_of(lock).map(|slot| self.path_of(self.locks[slot].resource))
    }
}

impl Entry {
    fn view(&self, now: Instant) -> HistoryView {
        let Entry { at, place: Where { lockspace, path, .. }, fact } = *self;
        let is_new = fact.happened == Happened::Refused && fact.held.is_none();
        HistoryView {
            age_ms: now.ms_since(at),
            happened: fact.happened,
            status: fact.status,
            lock: (!is_new).then_some(fact.lock),
            session: (fact.session != SessionId(0)).then_some(fact.session),
            lockspace,
            is_cut: path.is_cut,
            path: path.names(),
            held: fact.held,
            mode: fact.mode,
            seq: fact.seq,
            fence: fact.fence,
            waited_ms: fact.waited_ms,
            detail: fact.detail,
        }
    }
}

#[cfg(test)]
mod tests;
