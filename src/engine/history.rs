//! The flight recorder of a shard: what happened to its locks, the last of it, in a ring that never grows.
//!
//! It is written where a lock is queued, granted or goes, under the mutex that the step holds anyway: an entry of two
//! cache lines, nothing allocated after the first. What is older than the ring is long is overwritten. No rule ever reads
//! it, so it changes no output; without room (`Limits::history` 0) nothing is written at all.
//!
//! An entry keeps the end of its resource's path, 50 bytes with the lengths of the names, and for longer ones a hash of it all.

mod place;

use self::place::{Where, names_of};
use super::input::{Input, LockRef, Under};
use super::lock::LockSlot;
use super::output::{Output, Said};
use super::queued::Queued;
use super::shard::Shard;
use super::time::Instant;
use enq_protocol::vocabulary::{
    Fence, Happened, HistoryCursor, HistoryOf, HistoryView, LockId, LockMode, ResourceName, Seq, SessionId,
    Status,
};

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

impl Entry {
    /// Room for an entry.
    const BLANK: Entry = Entry {
        at: Instant::START,
        place: Where::NOWHERE,
        fact: Fact {
            happened: Happened::Queued,
            status: Status::Done,
            lock: LockId(0),
            session: SessionId(0),
            held: None,
            mode: None,
            seq: Seq(0),
            fence: Fence::UNFENCED,
            waited_ms: 0,
            detail: 0,
        },
    };
}

/// The bytes of an entry: two lines of the processor's cache.
pub const HISTORY_ENTRY_LEN: usize = 128;

const _: () = assert!(size_of::<Entry>() == HISTORY_ENTRY_LEN);

/// What happens to a lock.
#[derive(Clone, Copy, Debug)]
struct What {
    happened: Happened,
    status: Status,
    held: Option<LockMode>,
    mode: Option<LockMode>,
    waited_ms: u32,
    detail: u64,
}

impl What {
    fn plain(happened: Happened) -> What {
        What { happened, status: Status::Done, held: None, mode: None, waited_ms: 0, detail: 0 }
    }
}

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
    /// Blank behind the last entry until it is full.
    ring: Vec<Entry>,
    /// How many it holds.
    len_max: usize,
    /// Where the next one goes.
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

    /// The oldest entry, which is to be overwritten.
    fn next_entry(&mut self) -> &mut Entry {
        if self.next == self.ring.len() {
            self.go_on();
        }
        let at = self.next;
        self.next += 1;
        self.written += 1;
        &mut self.ring[at]
    }

    /// From the end of the ring to its beginning; or, as long as it is not full, a few entries further.
    #[cold]
    fn go_on(&mut self) {
        /// A page.
        const AT_ONCE: usize = 32;
        if self.ring.len() == self.len_max {
            self.next = 0;
            return;
        }
        // All the room at once, so that nothing is ever moved; the system gives it page by page.
        self.ring.reserve_exact(self.len_max - self.ring.len());
        let len = self.len_max.min(self.ring.len() + AT_ONCE);
        self.ring.resize(len, Entry::BLANK);
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

impl Shard {
    /// Notes what happens to a lock that is still there.
    fn record(&mut self, slot: LockSlot, what: What) {
        let lock = &self.locks[slot];
        let session = lock.session.map_or(SessionId(0), |session| self.attendances[session].session);
        let id = self.id_of(slot);
        let entry = self.history.next_entry();
        entry.at = self.now;
        entry.fact = Fact {
            happened: what.happened,
            status: what.status,
            lock: id,
            session,
            held: what.held,
            mode: what.mode,
            seq: lock.seq,
            fence: lock.fence,
            waited_ms: what.waited_ms,
            detail: what.detail,
        };
        entry.place.keep_of(&self.resources, lock.resource);
    }

    /// How long the request of this lock waits by now.
    fn waited_ms(&self, since: Instant) -> u32 {
        u32::try_from(self.now.ms_since(since)).unwrap_or(u32::MAX)
    }

    /// A request has come into a queue.
    pub(super) fn record_queued(&mut self, slot: LockSlot) {
        if self.history.is_on() {
            let at = self.locks[slot].at;
            self.record(slot, What { held: at.held(), mode: at.wanted(), ..What::plain(Happened::Queued) });
        }
    }

    /// A lock was granted that held this mode before; if it had waited, since then.
    #[inline]
    pub(super) fn record_grant(
        &mut self,
        slot: LockSlot,
        before: Option<LockMode>,
        is_adopted: bool,
        waited_since: Option<Instant>,
    ) {
        if self.history.is_on() {
            self.record_granted(slot, before, is_adopted, waited_since);
        }
    }

    #[inline(never)]
    fn record_granted(
        &mut self,
        slot: LockSlot,
        before: Option<LockMode>,
        is_adopted: bool,
        waited_since: Option<Instant>,
    ) {
        let waited_ms = waited_since.map_or(0, |since| self.waited_ms(since));
        let happened = if is_adopted { Happened::Adopted } else { Happened::Granted };
        let mode = self.locks[slot].at.held();
        self.record(slot, What { held: before, mode, waited_ms, ..What::plain(happened) });
    }

    /// A conversion ends without a grant and the lock stays, or something else happens to it that leaves it there.
    pub(super) fn record_change(&mut self, slot: LockSlot, happened: Happened, status: Status) {
        self.record_gone(slot, Gone { happened, status, detail: 0 });
    }

    /// A lock goes; it is still in its queue and its session's list.
    #[inline]
    pub(super) fn record_gone(&mut self, slot: LockSlot, gone: Gone) {
        if self.history.is_on() {
            self.record_going(slot, gone);
        }
    }

    #[inline(never)]
    fn record_going(&mut self, slot: LockSlot, gone: Gone) {
        let lock = &self.locks[slot];
        let (held, mode) = (lock.at.held(), lock.at.wanted());
        let waited_ms = if mode.is_some() { self.waited_ms(lock.since) } else { 0 };
        // U2: whoever releases what waits ends its request.
        let gone = match (gone.happened, held) {
            (Happened::Released, None) => Gone::ended(Status::Aborted),
            _ => gone,
        };
        let detail = if gone.status == Status::Deadlock { self.history.record } else { gone.detail };
        let (happened, status) = (gone.happened, gone.status);
        self.record(slot, What { happened, status, held, mode, waited_ms, detail });
    }

    /// A request for a mode that was refused at once, if this step's answer, from here on, says so.
    #[inline]
    pub(super) fn record_refusal(&mut self, input: &Input<'_>, said: &[Output]) {
        let Some(Output { said: Said::Refused { status, blocker, .. }, .. }) = said.first() else { return };
        if self.history.is_on() {
            self.record_refused(input, *status, blocker.map_or(0, |blocker| blocker.0));
        }
    }

    #[inline(never)]
    fn record_refused(&mut self, input: &Input<'_>, status: Status, detail: u64) {
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
        *self.history.next_entry() = Entry { at: self.now, place, fact };
    }

    fn record_refused_conversion(
        &mut self,
        session: SessionId,
        lock: LockRef,
        mode: LockMode,
        (status, detail): (Status, u64),
    ) {
        if let Some(slot) = self.resolve(session, lock) {
            let held = self.locks[slot].at.held();
            let what = What { held, mode: Some(mode), status, detail, ..What::plain(Happened::Refused) };
            self.record(slot, what);
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
            HistoryOf::Resource { .. } => wanted.as_ref().is_some_and(|wanted| wanted.is(&entry.place)),
            HistoryOf::Session(session) => entry.fact.session == *session,
        };
        let shard = self.place().shard() << 56;
        let entries = self.history.newest_first().filter(|(_, entry)| is_meant(entry));
        let placed =
            entries.map(|(number, entry)| (HistoryCursor { at: entry.at.0, entry: shard | number }, entry));
        let asked = placed.filter(|(cursor, _)| before.is_none_or(|before| *cursor < before)).take(max);
        asked.map(|(cursor, entry)| Recorded { cursor, view: entry.view(now) }).collect()
    }

    /// What ended the wait that began with this entry into a queue, as far as it is recorded: when, what, and why.
    pub(super) fn first_after(&self, queued: &Queued) -> Option<(Instant, Happened, Status)> {
        let is_of_lock = |entry: &&Entry| entry.fact.lock == queued.lock && entry.at >= queued.since;
        let mut last = None;
        for (_, entry) in self.history.newest_first().take_while(|(_, entry)| entry.at >= queued.since) {
            match entry.fact.happened {
                _ if !is_of_lock(&entry) => {}
                Happened::Queued if entry.at == queued.since => break,
                Happened::Demoted => {}
                happened => last = Some((entry.at, happened, entry.fact.status)),
            }
        }
        last
    }

    /// From when on nothing was overwritten; none if nothing ever was.
    #[must_use]
    pub fn history_begins(&self) -> Option<Instant> {
        let Recorder { ring, next, written, .. } = &self.history;
        let oldest = if *next == ring.len() { ring.first() } else { ring.get(*next) };
        oldest.filter(|_| *written > ring.len() as u64).map(|oldest| oldest.at)
    }

    /// The whole path of the resource of a lock that is there.
    #[must_use]
    pub fn path_of_lock(&self, lock: LockId) -> Option<Vec<ResourceName>> {
        self.slot_of(lock).map(|slot| self.path_of(self.locks[slot].resource))
    }
}

impl Entry {
    fn view(&self, now: Instant) -> HistoryView {
        let Entry { at, place, fact } = *self;
        let is_new = fact.happened == Happened::Refused && fact.held.is_none();
        HistoryView {
            age_ms: now.ms_since(at),
            happened: fact.happened,
            status: fact.status,
            lock: (!is_new).then_some(fact.lock),
            session: (fact.session != SessionId(0)).then_some(fact.session),
            lockspace: place.lockspace,
            is_cut: place.is_cut(),
            path: place.names(),
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
