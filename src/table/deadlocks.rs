//! The deadlock search over a table that goes on moving (rules D3-D6 of `docs/locking.md`).
//!
//! Shard by shard, the queues of resources that have any are copied, at most 2,000 locks a hold unless one resource has
//! more; then no mutex is held while the cycles are looked for; then each wait of a cycle is looked at again in its shard.
//! A wait that stands unchanged at both moments stood at all moments in between, and the moment at which the copying ended
//! is in between for all of them: at that moment the deadlock was there, and nothing but one of its own requests can have
//! ended it since. The refusal is void if that request has.

use super::{
    Scratch, Table,
    listing::{WEIGHT_MAX, session_view_weight, weight_of},
};
use crate::engine::{
    Input, Instant, LOOKED_AT_A_STEP, Said,
    deadlock::{Copied, Cycle, Due, Rule, Seat, Wait, search as find},
};
use enq_protocol::vocabulary::{
    DeadlockView, LockId, LockspaceId, Policy, SessionId, SessionView, Stamp, Status, WaitView,
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Records that are kept; older ones go.
const RECORDS: usize = 256;

/// Waits of a deadlock that its record shows; the rest is counted.
const WAITS_SHOWN: usize = 64;

/// A deadlock that was found, confirmed and acted upon.
#[derive(Clone, Debug)]
pub struct Deadlock {
    /// Its number, from 1.
    pub number: u64,
    /// When it was confirmed.
    pub found: Instant,
    /// Is it a ring?
    pub is_ring: bool,
    /// Its waits, or the first of them.
    pub waits: Vec<WaitView>,
    /// How many there are.
    pub wait_count: usize,
    /// The sessions of all locks that are shown.
    pub sessions: Vec<SessionView>,
    /// The request that was refused; none if the lockspaces spare all.
    pub refused: Option<LockId>,
}

impl Deadlock {
    /// As it is shown, with as many waits as fit into one answer, and about how many bytes that takes.
    fn show(&self, now: Instant) -> (DeadlockView, usize) {
        let mut weight = 64;
        let mut waits = Vec::new();
        let mut known = BTreeSet::new();
        let mut sessions = Vec::new();
        for wait in &self.waits {
            let whose = [wait.waiting.session, wait.blocker.session];
            let is_new =
                |view: &&SessionView| whose.contains(&Some(view.session)) && !known.contains(&view.session);
            let new: Vec<&SessionView> = self.sessions.iter().filter(is_new).collect();
            weight += weight_of(&wait.waiting) + weight_of(&wait.blocker);
            weight += new.iter().map(|view| session_view_weight(view)).sum::<usize>();
            if weight > WEIGHT_MAX {
                break;
            }
            known.extend(new.iter().map(|view| view.session));
            sessions.extend(new.into_iter().cloned());
            waits.push(wait.clone());
        }
        let view = DeadlockView {
            number: self.number,
            age_ms: now.ms_since(self.found),
            is_ring: self.is_ring,
            wait_count: u32::try_from(self.wait_count).unwrap_or(u32::MAX),
            waits,
            sessions,
            refused: self.refused,
        };
        (view, weight.min(WEIGHT_MAX))
    }
}

/// What a search did.
#[derive(Clone, Debug, Default)]
pub struct Searched {
    /// Locks that were copied.
    pub locks: usize,
    /// The deadlocks it found and acted upon.
    pub found: Vec<Arc<Deadlock>>,
}

/// A search on its way, for whoever takes it step by step.
#[derive(Debug)]
pub struct Search {
    began: Instant,
    due: Due,
    rules: BTreeMap<LockspaceId, Rule>,
    copied: Copied,
    /// Where the copying goes on: the shard, and the place in its list of resources; none when all is copied.
    next: Option<(u8, usize)>,
    cycles: VecDeque<Cycle>,
    /// Those that nobody may break, by their requests.
    standing: BTreeSet<Vec<(LockId, Stamp)>>,
    found: Vec<Arc<Deadlock>>,
}

impl Search {
    /// How many locks were copied by now.
    #[must_use]
    pub fn copied(&self) -> usize {
        self.copied.locks()
    }
}

/// What a look at a cycle says.
#[derive(Debug)]
pub enum Looked {
    /// It stands, and something has to be done.
    Stands(Confirmed),
    /// It does not stand any more, or nobody may be refused and that was told before.
    Gone,
    /// There is no other.
    Over,
}

/// A cycle that stood when each of its waits was looked at again, and how these looked.
#[derive(Clone, Debug)]
pub struct Confirmed {
    cycle: Cycle,
    waits: Vec<WaitView>,
}

impl Confirmed {
    /// The request that is about to be refused; none if the lockspaces spare all.
    #[must_use]
    pub fn victim(&self) -> Option<LockId> {
        Some(self.seat()?.lock)
    }

    /// Its waits, or the first of them.
    #[must_use]
    pub fn waits(&self) -> &[WaitView] {
        &self.waits
    }

    fn seat(&self) -> Option<Seat> {
        Some(self.cycle.waits.get(self.cycle.victim?)?.waiting)
    }
}

/// A request that is to be refused to break a deadlock, as it was when that was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The lock that waits or converts.
    pub lock: LockId,
    /// Its entry into its queue.
    pub stamp: Stamp,
    /// The number of the record that tells the deadlock.
    pub record: u64,
    /// Does it hold something meanwhile? Then those that waited for its grant wait for that, which may close another ring.
    pub converts: bool,
}

/// What became of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The request was refused.
    Done,
    /// It had gone.
    Void,
    /// That is known later.
    UnderWay,
}

/// What the table remembers of searches.
#[derive(Debug)]
pub(super) struct Deadlocks {
    /// When the next search is due; `u64::MAX` if nobody waits.
    next: AtomicU64,
    searches: AtomicU64,
    /// Held throughout a search.
    alone: Mutex<()>,
    records: Mutex<Records>,
}

#[derive(Debug, Default)]
struct Records {
    last: u64,
    ring: VecDeque<Arc<Deadlock>>,
    /// Deadlocks that nobody may break, and that were told: by their requests.
    standing: BTreeSet<Vec<(LockId, Stamp)>>,
}

impl Default for Deadlocks {
    fn default() -> Deadlocks {
        let (next, searches) = (AtomicU64::new(u64::MAX), AtomicU64::new(0));
        Deadlocks { next, searches, alone: Mutex::default(), records: Mutex::default() }
    }
}

impl Deadlocks {
    /// Somebody waits whom a search at this moment may concern.
    pub(super) fn note(&self, due: Instant) {
        self.next.fetch_min(due.0, Ordering::Relaxed);
    }

    pub(super) fn searches(&self) -> u64 {
        self.searches.load(Ordering::Relaxed)
    }
}

impl Table {
    /// Is a search due?
    #[must_use]
    pub fn is_search_due(&self, now: Instant) -> bool {
        self.deadlocks.next.load(Ordering::Relaxed) <= now.0
    }

    /// Looks for deadlocks that are due, and has one request of each refused, and again for as long as a refusal may have
    /// made another one. One search at a time: who comes meanwhile waits.
    pub fn search_deadlocks(
        &self,
        now: Instant,
        due: Due,
        mut refuse: impl FnMut(&Refusal) -> Refused,
    ) -> Searched {
        let _alone = self.deadlocks.alone.lock();
        let mut all = Searched::default();
        loop {
            let (searched, is_to_go_on) = self.search_once(now, due, &mut refuse);
            all.locks = searched.locks;
            all.found.extend(searched.found);
            if !is_to_go_on {
                return all;
            }
        }
    }

    /// One search; and whether a conversion was refused.
    fn search_once(
        &self,
        now: Instant,
        due: Due,
        refuse: &mut impl FnMut(&Refusal) -> Refused,
    ) -> (Searched, bool) {
        let mut search = self.begin_search(now, due);
        while self.copy_part(&mut search, LOOKED_AT_A_STEP) {}
        self.look_for_cycles(&mut search);
        let mut refuses_conversions = false;
        loop {
            match self.confirm_next(now, &mut search) {
                Looked::Stands(confirmed) => {
                    let (record, refusal) = self.record(now, confirmed);
                    let refused = refusal.map_or(Refused::Done, |refusal| refuse(&refusal));
                    if refused != Refused::Void {
                        search.found.push(record);
                    }
                    refuses_conversions |=
                        refused == Refused::Done && refusal.is_some_and(|refusal| refusal.converts);
                }
                Looked::Gone => {}
                Looked::Over => return (self.end_search(search), refuses_conversions),
            }
        }
    }

    /// The first step of a search: it has copied nothing yet. Whoever takes the steps himself sees to it that no other
    /// search runs.
    #[must_use]
    pub fn begin_search(&self, now: Instant, due: Due) -> Search {
        self.deadlocks.searches.fetch_add(1, Ordering::Relaxed);
        // Whoever is queued from here on notes himself anew.
        self.deadlocks.next.store(u64::MAX, Ordering::Relaxed);
        Search {
            began: now,
            due,
            rules: self.rules(),
            copied: Copied::default(),
            next: Some((0, usize::MAX)),
            cycles: VecDeque::new(),
            standing: BTreeSet::new(),
            found: Vec::new(),
        }
    }

    /// Copies the queues of one hold of a shard, of about so many locks; false when all is copied.
    pub fn copy_part(&self, search: &mut Search, at_most: usize) -> bool {
        let Some((number, from)) = search.next else { return false };
        let rest = self.look_into(number, |shard| shard.copy_queues(from, at_most, &mut search.copied));
        search.next = match rest {
            0 => number.checked_add(1).map(|number| (number, usize::MAX)),
            rest => Some((number, rest)),
        };
        search.next.is_some()
    }

    /// Looks for the cycles of what was copied, holding nothing.
    pub fn look_for_cycles(&self, search: &mut Search) {
        let rule_of = |space: LockspaceId| search.rules.get(&space).copied().unwrap_or_default();
        if let Some(next) = search.copied.next_search(search.began, rule_of) {
            self.deadlocks.note(next);
        }
        let cycles = find(search.due, &search.copied, rule_of, |session| self.locks_of(session));
        search.standing = cycles.iter().filter(|cycle| cycle.victim.is_none()).map(requests).collect();
        search.cycles = cycles.into();
    }

    /// D5: looks once more at the next cycle. Where it has gone, another one may have been passed over on account of its
    /// victim, so the next search is due at once.
    #[must_use]
    pub fn confirm_next(&self, now: Instant, search: &mut Search) -> Looked {
        let Some(cycle) = search.cycles.pop_front() else { return Looked::Over };
        if cycle.victim.is_none() && self.deadlocks.records.lock().standing.contains(&requests(&cycle)) {
            return Looked::Gone;
        }
        let confirmed = self.confirm_cycle(now, cycle);
        if confirmed.is_none() {
            self.deadlocks.note(now);
        }
        confirmed.map_or(Looked::Gone, Looked::Stands)
    }

    /// The last step: what the search did.
    #[must_use]
    pub fn end_search(&self, search: Search) -> Searched {
        self.deadlocks.records.lock().standing = search.standing;
        Searched { locks: search.copied.locks(), found: search.found }
    }

    /// The deadlocks of before, the latest first.
    #[must_use]
    pub fn deadlock_records(&self) -> Vec<Arc<Deadlock>> {
        self.deadlocks.records.lock().ring.iter().rev().map(Arc::clone).collect()
    }

    /// A part of the records, the latest first: as much as fits into an answer, and whether there are more.
    #[must_use]
    pub fn show_deadlocks(&self, now: Instant, before: Option<u64>, max: u32) -> (Vec<DeadlockView>, bool) {
        let max = usize::try_from(max).unwrap_or(usize::MAX).clamp(1, RECORDS);
        let records = self.deadlock_records();
        let mut part = Vec::new();
        let mut room = WEIGHT_MAX;
        for record in records.iter().filter(|record| before.is_none_or(|before| record.number < before)) {
            if part.len() == max {
                return (part, true);
            }
            let (view, weight) = record.show(now);
            if weight > room && !part.is_empty() {
                return (part, true);
            }
            room = room.saturating_sub(weight);
            part.push(view);
        }
        (part, false)
    }

    fn rules(&self) -> BTreeMap<LockspaceId, Rule> {
        let policies = self.policies();
        let rule =
            |policy: &Policy| Rule { victim: policy.deadlock_victim, wait_ms: policy.deadlock_wait_ms };
        policies.into_iter().map(|(space, policy)| (space, rule(&policy))).collect()
    }

    fn locks_of(&self, session: SessionId) -> u32 {
        self.session(session).map_or(0, |cell| cell.locks())
    }

    fn confirm_cycle(&self, now: Instant, cycle: Cycle) -> Option<Confirmed> {
        let mut waits = Vec::new();
        for (at, wait) in cycle.waits.iter().enumerate() {
            let seen = self.confirm(now, wait)?;
            if at < WAITS_SHOWN || cycle.victim == Some(at) {
                waits.push(seen);
            }
        }
        Some(Confirmed { cycle, waits })
    }

    /// D5: records a cycle that was confirmed, and refuses its victim; nothing if that request has gone since.
    pub fn refuse_victim(
        &self,
        now: Instant,
        search: &mut Search,
        confirmed: Confirmed,
        scratch: &mut Scratch,
    ) -> Option<Arc<Deadlock>> {
        let (record, refusal) = self.record(now, confirmed);
        if refusal.is_some_and(|refusal| self.refuse(now, &refusal, scratch) == Refused::Void) {
            return None;
        }
        search.found.push(Arc::clone(&record));
        Some(record)
    }

    /// Records a cycle that was confirmed, and says who is to be refused. The record is there before anybody is told its
    /// number.
    pub fn record(&self, now: Instant, confirmed: Confirmed) -> (Arc<Deadlock>, Option<Refusal>) {
        let seat = confirmed.seat();
        let Confirmed { cycle, waits } = confirmed;
        let shown = waits.iter().flat_map(|wait| [wait.waiting.session, wait.blocker.session]).flatten();
        let sessions: BTreeSet<SessionId> = shown.collect();
        let sessions = sessions.into_iter().filter_map(|session| self.show_session(now, session)).collect();
        let mut records = self.deadlocks.records.lock();
        records.last += 1;
        let record = Arc::new(Deadlock {
            number: records.last,
            found: now,
            is_ring: cycle.is_ring,
            waits,
            wait_count: cycle.waits.len(),
            sessions,
            refused: seat.map(|seat| seat.lock),
        });
        records.ring.push_back(Arc::clone(&record));
        if records.ring.len() > RECORDS {
            records.ring.pop_front();
        }
        let refusal = seat.map(|seat| Refusal {
            lock: seat.lock,
            stamp: seat.stamp,
            record: record.number,
            converts: seat.held.is_some(),
        });
        (record, refusal)
    }

    /// D5: refuses a request, unless it has gone since; then its record goes, too.
    pub fn refuse(&self, now: Instant, refusal: &Refusal, scratch: &mut Scratch) -> Refused {
        let Refusal { lock, stamp, record, converts } = *refusal;
        let input = Input::RefuseDeadlock { lock, stamp, record };
        let answer = self.with_shard(lock.shard(), scratch, |table, shard, scratch| {
            table.step(shard, now, input, None, scratch)
        });
        let is_void = !matches!(answer, Some(Said::Done(Status::Done)));
        if is_void {
            self.deadlocks.records.lock().ring.retain(|kept| kept.number != record);
        }
        if is_void || converts {
            self.deadlocks.note(now);
        }
        if is_void { Refused::Void } else { Refused::Done }
    }

    /// D5: the two locks of a wait that still stands.
    fn confirm(&self, now: Instant, wait: &Wait) -> Option<WaitView> {
        self.look_into(wait.waiting.lock.shard(), |shard| {
            let is_there = shard.confirms(wait);
            let waiting = is_there.then(|| shard.show_lock(now, wait.waiting.lock)).flatten()?;
            let blocker = shard.show_lock(now, wait.blocker.lock)?;
            Some(WaitView { waiting, blocker, why: wait.why })
        })
    }
}

/// The requests of a deadlock: what tells it from another one.
fn requests(cycle: &Cycle) -> Vec<(LockId, Stamp)> {
    let mut requests: Vec<_> =
        cycle.waits.iter().map(|wait| (wait.waiting.lock, wait.waiting.stamp)).collect();
    requests.sort_unstable();
    requests
}

#[cfg(test)]
mod tests;
