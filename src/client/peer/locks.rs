//! The locks of a session by handle: what was asked of each, and whose business it is.
//!
//! A handle is given lowest first and is free again when its lock's final message has arrived *and* every request that
//! named it is answered, so that no late answer can be taken for one about the next lock. A lock that nobody answers
//! for any more, but that the server kept because it still had sublocks, is *adrift*: its release is said again when
//! some other lock has gone, and now and then, for what stands on it may be an orphan, of which nobody here hears. `past.rs` has the locks that nobody may believe in any more, and those that an earlier
//! process left.

mod past;

use super::{Happening, Outcome, Told};
use crate::client::error::NotGranted;
use enq_protocol::vocabulary::{Grant, Handle, LockMode, PathLevel, Seq, SessionId, Status};
use std::{cmp::Reverse, collections::BinaryHeap, mem};

/// How many locks that are adrift are released again at a time.
const TRIES_AT_ONCE: usize = 16;

/// Which answer or completion a lock's holder waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// None.
    Idle,
    /// The first grant, at once or, when it is queued, later.
    Asking { queued: bool },
    /// The grant of a conversion.
    Converting { queued: bool },
}

/// Has a release been sent, and does somebody wait for its answer?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Release {
    No,
    Awaited,
    Quiet,
}

/// One lock of one life of its handle: what has been said of a lock that has gone is never taken for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Its handle.
    pub handle: Handle,
    born: u64,
}

/// One lock.
struct Entry<L> {
    born: u64,
    to: L,
    call: Call,
    release: Release,
    /// The final message has arrived.
    gone: bool,
    /// Requests that name this handle and are not answered.
    unanswered: u32,
    /// The last grant's number; 0 before the first, and for the levels above a leaf, which are not told theirs.
    seq: Seq,
    /// A notice about a grant that has not been heard of yet.
    early: Option<(Seq, LockMode)>,
    /// For the leaf of a path, while it is asked for: the handles of the levels above, root first.
    path: Vec<Handle>,
    /// For the leaf of a path, until somebody takes them over: the levels above that the request made, root first.
    made: Vec<Handle>,
    /// A level above a leaf: which grant a notice is about cannot be known.
    level: bool,
    /// Some guard, or a request that waits, releases it when it is dropped.
    answered_for: bool,
    /// The lease ran out while it was held: nobody answers for it ever again.
    lapsed: bool,
}

impl<L> Entry<L> {
    fn new(born: u64, to: L) -> Entry<L> {
        Entry {
            born,
            to,
            call: Call::Asking { queued: false },
            release: Release::No,
            gone: false,
            unanswered: 1,
            seq: Seq(0),
            early: None,
            path: Vec::new(),
            made: Vec::new(),
            level: false,
            answered_for: true,
            lapsed: false,
        }
    }
}

/// See the front page.
pub(super) struct Locks<L> {
    entries: Vec<Option<Entry<L>>>,
    free: BinaryHeap<Reverse<u32>>,
    max: u32,
    births: u64,
    /// Locks whose release is to be sent: the levels of a path that nobody wants any more, and those adrift.
    releases_due: Vec<Handle>,
    adrift: Vec<Handle>,
}

impl<L: Clone> Locks<L> {
    pub(super) fn new(max: u32) -> Locks<L> {
        Locks {
            entries: Vec::new(),
            free: BinaryHeap::new(),
            max,
            births: 0,
            releases_due: Vec::new(),
            adrift: Vec::new(),
        }
    }

    /// The lowest free handle, with a lock that is being asked for.
    pub(super) fn begin(&mut self, to: L) -> Option<Ticket> {
        let number = match self.free.pop() {
            Some(Reverse(number)) => number,
            None => {
                let number = u32::try_from(self.entries.len()).ok()?.checked_add(1)?;
                if number > self.max {
                    return None;
                }
                self.entries.push(None);
                number
            }
        };
        let handle = Handle::new(number)?;
        self.births += 1;
        *self.entries.get_mut(index(handle))? = Some(Entry::new(self.births, to));
        Some(Ticket { handle, born: self.births })
    }

    /// Handles for a path, root first, one for each `to`; all or none. The ticket is the leaf's.
    pub(super) fn begin_path(&mut self, to: Vec<L>) -> Option<(Ticket, Vec<Handle>)> {
        let mut handles = Vec::with_capacity(to.len());
        let mut leaf = None;
        for to in to {
            leaf = self.begin(to);
            match leaf {
                Some(ticket) => handles.push(ticket.handle),
                None => break,
            }
        }
        let Some(leaf) = leaf else {
            handles.into_iter().for_each(|handle| self.forget(handle));
            return None;
        };
        let above: Vec<Handle> = handles.iter().copied().filter(|handle| *handle != leaf.handle).collect();
        for level in &above {
            let entry = self.entry(*level)?;
            entry.level = true;
            entry.answered_for = false;
            entry.call = Call::Idle;
            entry.unanswered = 0;
        }
        self.entry(leaf.handle)?.path = above;
        Some((leaf, handles))
    }

    /// Is this the lock that has the handle now, and is it not gone?
    pub(super) fn is_live(&self, ticket: Ticket) -> bool {
        let entry = self.entries.get(index(ticket.handle)).and_then(Option::as_ref);
        entry.is_some_and(|entry| entry.born == ticket.born && !entry.gone)
    }

    /// The request was never sent: its handle is free.
    pub(super) fn forget(&mut self, handle: Handle) {
        if self.entries.get_mut(index(handle)).and_then(Option::take).is_some() {
            self.free.push(Reverse(handle.number()));
        }
    }

    /// A conversion is about to be sent; false if there is no such lock.
    pub(super) fn converts(&mut self, handle: Handle) -> bool {
        let Some(entry) = self.entry(handle).filter(|entry| !entry.gone && entry.release == Release::No)
        else {
            return false;
        };
        entry.call = Call::Converting { queued: false };
        entry.unanswered += 1;
        true
    }

    /// A cancel is about to be sent; false if nothing waits.
    pub(super) fn cancels(&mut self, handle: Handle) -> bool {
        let Some(entry) = self.entry(handle) else { return false };
        let waits = !entry.gone && entry.call != Call::Idle;
        entry.unanswered += u32::from(waits);
        waits
    }

    /// Does it wait for a conversion, as far as is known?
    pub(super) fn is_converting(&mut self, handle: Handle) -> bool {
        self.entry(handle).is_some_and(|entry| matches!(entry.call, Call::Converting { .. }))
    }

    /// A release is about to be sent whose answer somebody awaits; false if it was sent before or there is no lock.
    pub(super) fn releases(&mut self, handle: Handle) -> bool {
        self.releases_as(handle, Release::Awaited)
    }

    fn releases_as(&mut self, handle: Handle, release: Release) -> bool {
        let Some(entry) = self.entry(handle).filter(|entry| !entry.gone && entry.release == Release::No)
        else {
            return false;
        };
        entry.release = release;
        entry.unanswered += 1;
        true
    }

    /// Nobody answers for this lock any more, nor for the levels it made and nobody took over: the releases to send.
    pub(super) fn abandon(&mut self, handle: Handle) -> Vec<Handle> {
        let Some(entry) = self.entry(handle) else { return Vec::new() };
        entry.answered_for = false;
        if entry.release == Release::Awaited {
            entry.release = Release::Quiet;
        }
        let above = if entry.call == Call::Idle { mem::take(&mut entry.made) } else { Vec::new() };
        let all = above.into_iter().chain([handle]).rev();
        all.collect::<Vec<_>>().into_iter().filter(|h| self.releases_as(*h, Release::Quiet)).collect()
    }

    /// The levels above this leaf, root first, are somebody's now, whatever became of the first guards of those that
    /// the request found held.
    pub(super) fn take_over(&mut self, leaf: Handle, levels: &[PathLevel]) -> Vec<(Ticket, L)> {
        if let Some(entry) = self.entry(leaf) {
            entry.made.clear();
        }
        let mut taken = Vec::with_capacity(levels.len());
        for handle in levels.iter().map(|level| level.handle).filter(|handle| *handle != leaf) {
            self.adrift.retain(|other| *other != handle);
            self.releases_due.retain(|other| *other != handle);
            if let Some(entry) = self.entry(handle) {
                entry.answered_for = !entry.lapsed;
                taken.push((Ticket { handle, born: entry.born }, entry.to.clone()));
            }
        }
        taken
    }

    pub(super) fn is_adrift(&self) -> bool {
        !self.adrift.is_empty()
    }

    /// Those that have been adrift the longest are to be released again: a few, for they may all be kept once more.
    pub(super) fn try_adrift(&mut self) {
        let some = self.adrift.len().min(TRIES_AT_ONCE);
        self.releases_due.extend(self.adrift.drain(..some));
    }

    /// Releases that nobody awaits and that are to be sent now.
    pub(super) fn take_releases_due(&mut self) -> Vec<Handle> {
        if self.releases_due.is_empty() {
            return Vec::new();
        }
        let due = mem::take(&mut self.releases_due);
        due.into_iter().filter(|handle| self.releases_as(*handle, Release::Quiet)).collect()
    }

    /// A request or conversion is answered with, or completed by, a grant.
    pub(super) fn granted(&mut self, grant: Grant, answers: bool, told: &mut Vec<Told<L>>) {
        let handle = grant.handle;
        let Some(entry) = self.answered(handle, answers) else { return };
        let waited = matches!(entry.call, Call::Asking { queued: true } | Call::Converting { queued: true });
        entry.call = Call::Idle;
        entry.seq = grant.seq;
        let notice = entry.early.take().filter(|(seq, _)| *seq == grant.seq);
        if entry.release != Release::Quiet {
            told.push(Told::Outcome(
                entry.to.clone(),
                Outcome::Granted { grant, levels: Vec::new(), waited },
            ));
            if let Some((_, mode)) = notice {
                told.push(Told::Happened(entry.to.clone(), Happening::Blocking(mode)));
            }
        }
        self.settle(handle);
    }

    /// A path is granted, at once or later.
    pub(super) fn path_granted(
        &mut self,
        grant: Grant,
        levels: Vec<PathLevel>,
        answers: bool,
        told: &mut Vec<Told<L>>,
    ) {
        let leaf = grant.handle;
        let Some(entry) = self.answered(leaf, answers) else { return };
        let waited = entry.call == Call::Asking { queued: true };
        let unwanted = entry.release == Release::Quiet;
        entry.call = Call::Idle;
        entry.seq = grant.seq;
        let own = mem::take(&mut entry.path);
        let to = entry.to.clone();
        let made = |handle: &Handle| levels.iter().any(|level| level.made && level.handle == *handle);
        let (made, unused): (Vec<Handle>, Vec<Handle>) = own.into_iter().partition(made);
        unused.into_iter().for_each(|handle| self.end(handle));
        if unwanted {
            self.releases_due.extend(made.iter().rev());
        } else {
            if let Some(entry) = self.entry(leaf) {
                entry.made = made;
            }
            told.push(Told::Outcome(to, Outcome::Granted { grant, levels, waited }));
        }
        self.settle(leaf);
    }

    /// A request or conversion is answered QUEUED.
    pub(super) fn queued(&mut self, handle: Handle) {
        let Some(entry) = self.answered(handle, true) else { return };
        match &mut entry.call {
            Call::Asking { queued } | Call::Converting { queued } => *queued = true,
            Call::Idle => {}
        }
        self.settle(handle);
    }

    /// A request or conversion is refused, or ends without a grant.
    pub(super) fn ended(
        &mut self,
        handle: Handle,
        why: NotGranted,
        holds: Option<LockMode>,
        answers: bool,
        told: &mut Vec<Told<L>>,
    ) {
        let Some(entry) = self.answered(handle, answers) else { return };
        let converting = matches!(entry.call, Call::Converting { .. });
        let gone = why.status() == Status::NoSuchLock || holds.is_none() && !(answers && converting);
        if mem::replace(&mut entry.call, Call::Idle) != Call::Idle && entry.release != Release::Quiet {
            told.push(Told::Outcome(entry.to.clone(), Outcome::Ended { why, holds, gone }));
        }
        let path = mem::take(&mut entry.path);
        if answers {
            // A path that is refused at once has made nothing.
            path.into_iter().for_each(|level| self.end(level));
        } else {
            // P5: what it made has gone, save those levels that other locks of the session need. Which ones is not told,
            // so all are released: what has gone answers NOSUCHLOCK, what is needed HASSUBLOCKS.
            self.releases_due.extend(path.into_iter().rev());
        }
        if gone {
            self.end(handle);
        } else {
            self.settle(handle);
        }
    }

    /// A cancel is answered: what it did has been said before.
    pub(super) fn cancelled(&mut self, handle: Handle) {
        self.answered(handle, true);
        self.settle(handle);
    }

    /// A release is answered.
    pub(super) fn released(&mut self, handle: Handle, refused: Option<NotGranted>, told: &mut Vec<Told<L>>) {
        let Some(entry) = self.answered(handle, true) else { return };
        let gone = refused.as_ref().is_none_or(|why| why.status() == Status::NoSuchLock);
        let awaited = mem::replace(&mut entry.release, Release::No) == Release::Awaited;
        let answered_for = entry.answered_for;
        if awaited {
            let outcome = match refused {
                Some(why) => Outcome::Ended { why, holds: None, gone },
                None => Outcome::Done(Status::Released),
            };
            told.push(Told::Outcome(entry.to.clone(), outcome));
        }
        if gone {
            self.end(handle);
        } else if !answered_for {
            self.adrift.push(handle);
        }
    }

    /// An administrator took a lock away.
    pub(super) fn revoked(&mut self, handle: Handle, by: SessionId, reason: String, told: &mut Vec<Told<L>>) {
        let Some(entry) = self.entry(handle) else { return };
        if mem::replace(&mut entry.call, Call::Idle) != Call::Idle && entry.release != Release::Quiet {
            let forced = Outcome::Ended { why: NotGranted::Forced, holds: None, gone: true };
            told.push(Told::Outcome(entry.to.clone(), forced));
        }
        told.push(Told::Happened(entry.to.clone(), Happening::Revoked { by, reason }));
        self.end(handle);
    }

    /// A lock's granted mode dropped to NL.
    pub(super) fn demoted(&mut self, handle: Handle, told: &mut Vec<Told<L>>) {
        if let Some(entry) = self.entry(handle) {
            told.push(Told::Happened(entry.to.clone(), Happening::Demoted));
        }
    }

    /// A blocking notice: told if it is about the grant that is known, kept if about a later one, otherwise dropped.
    pub(super) fn blocking(&mut self, handle: Handle, seq: Seq, mode: LockMode, told: &mut Vec<Told<L>>) {
        let Some(entry) = self.entry(handle).filter(|entry| !entry.gone) else { return };
        if entry.level || seq == entry.seq {
            told.push(Told::Happened(entry.to.clone(), Happening::Blocking(mode)));
        } else if seq > entry.seq {
            entry.early = Some((seq, mode));
        }
    }

    /// Everybody who waits for something, told once that it will not come.
    pub(super) fn lose(&mut self, lost: &Outcome, told: &mut Vec<Told<L>>) {
        for entry in self.entries.iter_mut().flatten() {
            let waits = entry.call != Call::Idle || entry.release == Release::Awaited;
            if waits && entry.release != Release::Quiet && !entry.gone {
                told.push(Told::Outcome(entry.to.clone(), lost.clone()));
            }
        }
        self.entries.clear();
        self.free.clear();
        self.max = 0;
    }

    /// How many handles are in use.
    pub(super) fn count(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    fn entry(&mut self, handle: Handle) -> Option<&mut Entry<L>> {
        self.entries.get_mut(index(handle))?.as_mut()
    }

    fn answered(&mut self, handle: Handle, answers: bool) -> Option<&mut Entry<L>> {
        let entry = self.entry(handle)?;
        entry.unanswered = entry.unanswered.saturating_sub(u32::from(answers));
        Some(entry)
    }

    /// The lock's final message has arrived.
    fn end(&mut self, handle: Handle) {
        if let Some(entry) = self.entry(handle) {
            entry.gone = true;
        }
        self.settle(handle);
    }

    fn settle(&mut self, handle: Handle) {
        if self.entry(handle).is_some_and(|entry| entry.gone && entry.unanswered == 0) {
            self.forget(handle);
            self.adrift.retain(|other| *other != handle);
            self.releases_due.append(&mut self.adrift);
        }
    }
}

fn index(handle: Handle) -> usize {
    usize::try_from(handle.number() - 1).unwrap_or(usize::MAX)
}
