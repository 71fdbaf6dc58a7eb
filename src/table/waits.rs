//! Who waits for whom, and what would follow from an end: looks that go over all shards.
//!
//! Like the deadlock search, each holds one shard's mutex at a time and looks at nothing but copies. What has moved
//! between the copy and the view is left out, and the answer says that it is not complete.

use super::{
    Table,
    listing::{Seen, WEIGHT_MAX},
};
use crate::engine::{
    Instant, LOOKED_AT_A_STEP, Shard,
    deadlock::{Copied, Cycle, Due, Line, Picture, Rule, Seat, picture, search},
    what_if::{Foregrant, PLAYED_MAX},
};
use enq_protocol::vocabulary::{
    ForeseenGrant, ForeseenView, LockId, LockView, StandingView, Status, WaitLine, WaitsFrom, WaitsView,
    WhatIf,
};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// About how many bytes a wait takes in an answer.
const WAIT_WEIGHT: usize = 21;

/// All queues as they were copied, and the deadlocks in them.
#[derive(Debug)]
struct Snapshot {
    copied: Copied,
    cycles: Vec<Cycle>,
}

/// What those who ask at one time share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Snapshots that were begun.
    begun: AtomicU64,
    /// Who waits for one.
    asking: AtomicUsize,
    /// The last one with its number, while somebody may want it.
    last: Mutex<Option<(u64, Arc<Snapshot>)>>,
}

impl Table {
    /// Who waits for whom, from these requests on, as much of it as fits into an answer.
    ///
    /// # Errors
    /// NOSUCHLOCK or NOSUCHSESSION, if there is none to begin with.
    pub fn show_waits(&self, now: Instant, from: &WaitsFrom, max: u32) -> Result<WaitsView, Status> {
        if let Some(lock) = from.lock {
            self.show_lock(now, lock).ok_or(Status::NoSuchLock)?;
        }
        if let Some(session) = from.session {
            self.session(session).ok_or(Status::NoSuchSession)?;
        }
        let Snapshot { copied, cycles } = &*self.snapshot();
        let begins = |seat: &Seat| {
            from.lockspace.is_none_or(|lockspace| seat.lockspace == lockspace)
                && from.lock.is_none_or(|lock| seat.lock == lock)
                && from.session.is_none_or(|session| seat.party.map(|party| party.session) == Some(session))
        };
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let picture = picture(copied, cycles, begins, max);
        Ok(self.view_of(now, &picture))
    }

    /// Who waits for whom everywhere, as it is now: not begun before this was called. One at a time is made; whoever comes
    /// meanwhile waits for the next one, and shares it with all who do. So many who look cost what one does.
    fn snapshot(&self) -> Arc<Snapshot> {
        let shared = &self.waits;
        let begun_before = shared.begun.load(Ordering::SeqCst);
        shared.asking.fetch_add(1, Ordering::SeqCst);
        let mut last = shared.last.lock();
        shared.asking.fetch_sub(1, Ordering::SeqCst);
        let known = last.take().filter(|(number, _)| *number > begun_before);
        let (number, snapshot) = known.unwrap_or_else(|| {
            let number = shared.begun.fetch_add(1, Ordering::SeqCst) + 1;
            (number, Arc::new(self.draw_snapshot()))
        });
        // Kept only for those who wait for it.
        if shared.asking.load(Ordering::SeqCst) > 0 {
            *last = Some((number, Arc::clone(&snapshot)));
        }
        snapshot
    }

    fn draw_snapshot(&self) -> Snapshot {
        let mut copied = Copied::default();
        for number in 0..=u8::MAX {
            self.copy_queues(number, &mut copied);
        }
        let mut cycles = search(Due::All, &copied, |_| Rule::default(), |_| 0);
        cycles.retain(|cycle| self.still_stands(cycle));
        Snapshot { copied, cycles }
    }

    /// The queues of one shard, some at a time.
    fn copy_queues(&self, number: u8, copied: &mut Copied) {
        let mut from = usize::MAX;
        while from > 0 {
            from = self.look_into(number, |shard| shard.copy_queues(from, LOOKED_AT_A_STEP, copied));
        }
    }

    /// D5: is it a deadlock, or did it only look like one because the copies were made one after the other?
    fn still_stands(&self, cycle: &Cycle) -> bool {
        let confirms = |number: u8, wait| self.look_into(number, |shard| shard.confirms(wait));
        cycle.waits.iter().all(|wait| confirms(wait.waiting.lock.shard(), wait))
    }

    fn view_of(&self, now: Instant, picture: &Picture) -> WaitsView {
        let mut view = WaitsView { is_complete: !picture.is_cut, ..WaitsView::default() };
        let mut room = Room { table: self, now, seen: Seen::new(self, now, 64), known: BTreeMap::new() };
        for Line { waiting, blocker, why, deadlock } in &picture.waits {
            let Some((waiting, blocker)) = room.both(picture, (*waiting, *blocker), &mut view) else { break };
            room.seen.weight += WAIT_WEIGHT;
            match (waiting, blocker) {
                (Some(waiting), Some(blocker)) => {
                    view.waits.push(WaitLine { lock: waiting, blocker, why: *why, deadlock: *deadlock });
                }
                _ => view.is_complete = false,
            }
        }
        // Requests that nobody is in the way of: after a restart, or because they are just being granted.
        for at in 0..picture.locks.len() {
            if room.show(picture, at, &mut view).is_none() {
                break;
            }
        }
        view.is_complete &= room.seen.weight <= WEIGHT_MAX;
        view.sessions = room.seen.sessions;
        view
    }

    /// What would be granted if this ended and nobody did anything else.
    ///
    /// # Errors
    /// NOSUCHLOCK or NOSUCHSESSION, if there is none.
    pub fn show_what_if(&self, now: Instant, what: WhatIf) -> Result<ForeseenView, Status> {
        let shards = match what {
            WhatIf::Released(lock) => {
                self.show_lock(now, lock).ok_or(Status::NoSuchLock)?;
                lock.shard()..=lock.shard()
            }
            WhatIf::Ended(session) => {
                self.session(session).ok_or(Status::NoSuchSession)?;
                0..=u8::MAX
            }
        };
        let mut view = ForeseenView { is_complete: true, ..ForeseenView::default() };
        let (mut grants, mut looked_at): (Vec<Foregrant>, usize) = (Vec::new(), 0);
        for number in shards {
            let begin = |shard: &Shard| shard.begin_excerpt(what, PLAYED_MAX - looked_at);
            let Some(mut excerpt) = self.look_into(number, begin) else { continue };
            while self.look_into(number, |shard| shard.go_on_with(&mut excerpt, LOOKED_AT_A_STEP)) {}
            looked_at += excerpt.len();
            let foreseen = excerpt.play();
            view.is_complete &= foreseen.is_complete;
            grants.extend(foreseen.grants);
        }
        grants.sort_by_key(|grant| grant.after_ms);
        view.looked_at = u32::try_from(looked_at).unwrap_or(u32::MAX);
        view.total = u32::try_from(grants.len()).unwrap_or(u32::MAX);
        let mut seen = Seen::new(self, now, 64);
        for Foregrant { lock, stamp, mode, after_ms } in grants {
            let Some(lock) = self.show_lock(now, lock).filter(|lock| lock.stamp == stamp) else {
                (view.is_complete, view.total) = (false, view.total - 1);
                continue;
            };
            seen.weight += WAIT_WEIGHT;
            if !seen.takes(&lock) {
                break;
            }
            view.grants.push(ForeseenGrant { lock, mode, after_ms });
        }
        view.sessions = seen.sessions;
        Ok(view)
    }
}

/// What of a picture fits into an answer.
struct Room<'a> {
    table: &'a Table,
    now: Instant,
    seen: Seen<'a>,
    /// The locks that were looked at: shown, or not as they were.
    known: BTreeMap<LockId, bool>,
}

impl Room<'_> {
    /// Shows both ends of a wait; none if they do not fit, and none of one that has moved.
    fn both(
        &mut self,
        picture: &Picture,
        (waiting, blocker): (usize, usize),
        view: &mut WaitsView,
    ) -> Option<(Option<LockId>, Option<LockId>)> {
        Some((self.show(picture, waiting, view)?, self.show(picture, blocker, view)?))
    }

    fn show(&mut self, picture: &Picture, at: usize, view: &mut WaitsView) -> Option<Option<LockId>> {
        let standing = &picture.locks[at];
        let id = standing.seat.lock;
        if let Some(is_shown) = self.known.get(&id) {
            return Some(is_shown.then_some(id));
        }
        let Some(lock) = self.look(&standing.seat) else {
            view.is_complete = false;
            self.known.insert(id, false);
            return Some(None);
        };
        if !self.seen.takes(&lock) {
            return None;
        }
        self.known.insert(id, true);
        view.locks.push(StandingView { lock, position: standing.position, queued: standing.queued });
        Some(Some(id))
    }

    /// The lock, if it is still as it was copied.
    fn look(&self, seat: &Seat) -> Option<LockView> {
        self.table.look_into(seat.lock.shard(), |shard| {
            let now = shard.seat_of(seat.lock)?;
            let is_same = Seat { priority: seat.priority, is_ending: seat.is_ending, ..now } == *seat;
            is_same.then(|| shard.show_lock(self.now, seat.lock)).flatten()
        })
    }
}

#[cfg(test)]
mod tests;
