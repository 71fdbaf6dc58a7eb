//! Looking at the table: copies, never handles. A look holds one shard's mutex for at most 2,000 locks, a listing for
//! far less (`LISTED_A_STEP`), and only a look at one resource that has more of them for more. What is shown stays below the
//! length of a frame.

use super::{Scratch, SessionCell, Table};
use crate::engine::{Input, Instant, LISTED_A_STEP, Said};
use enq_protocol::vocabulary::{
    Edge, LockFilter, LockId, LockPage, LockView, LockspaceId, ResourceName, ResourceView, Seq, SessionId,
    SessionView, Statistics, Status,
};
use std::{collections::BTreeSet, sync::Arc};

/// About how many bytes an answer may take; a frame is 64 KiB.
pub(super) const WEIGHT_MAX: usize = 56 * 1024;

/// Sessions a part of their list.
const SESSIONS_MAX: usize = 200;

/// Locks a part of a listing.
const LOCKS_MAX: usize = 2_000;

/// How many steps one part of a listing takes, through a hundred thousand places, so that a filter that finds nothing
/// still comes back.
const LOOKS_A_PART: usize = 100_000 / LISTED_A_STEP;

/// A resource, and who has locks on it.
#[derive(Clone, Debug)]
pub struct ResourceSeen {
    /// The resource.
    pub resource: ResourceView,
    /// The sessions of the locks shown.
    pub sessions: Vec<SessionView>,
}

/// What a lock waits for, or what waits for it.
#[derive(Clone, Debug)]
pub struct Edges {
    /// The other ends.
    pub edges: Vec<Edge>,
    /// How many there are.
    pub total: u32,
    /// The sessions of the locks shown.
    pub sessions: Vec<SessionView>,
}

impl Table {
    /// One lock.
    #[must_use]
    pub fn show_lock(&self, now: Instant, lock: LockId) -> Option<LockView> {
        self.look_into(lock.shard(), |shard| shard.show_lock(now, lock))
    }

    /// One resource with its queues.
    #[must_use]
    pub fn show_resource(
        &self,
        now: Instant,
        lockspace: LockspaceId,
        path: &[ResourceName],
    ) -> Option<ResourceSeen> {
        let number = self.shard_of(lockspace, path.first()?);
        let mut resource = self.look_into(number, |shard| shard.show_resource(now, lockspace, path))?;
        let mut seen = Seen::new(self, now, path.iter().map(|name| name.as_bytes().len() + 1).sum());
        let fitting = resource.locks.iter().take_while(|view| seen.takes(view)).count();
        resource.locks.truncate(fitting);
        Some(ResourceSeen { resource, sessions: seen.sessions })
    }

    /// What this lock waits for.
    #[must_use]
    pub fn show_blockers(&self, now: Instant, lock: LockId) -> Option<Edges> {
        let edges = self.look_into(lock.shard(), |shard| shard.blocked_by(now, lock))?;
        Some(self.edges(now, edges))
    }

    /// What waits for this lock.
    #[must_use]
    pub fn show_blocked(&self, now: Instant, lock: LockId) -> Option<Edges> {
        let edges = self.look_into(lock.shard(), |shard| shard.blocking_of(now, lock))?;
        Some(self.edges(now, edges))
    }

    fn edges(&self, now: Instant, (mut edges, total): (Vec<Edge>, u32)) -> Edges {
        let mut seen = Seen::new(self, now, 0);
        let fitting = edges.iter().take_while(|edge| seen.takes(&edge.lock)).count();
        edges.truncate(fitting);
        Edges { edges, total, sessions: seen.sessions }
    }

    /// A part of a listing, from where the part before ended. Each lock that is there throughout is shown once (Q4).
    #[must_use]
    pub fn show_page(&self, now: Instant, from: Option<u64>, max: u32, filter: &LockFilter) -> LockPage {
        let max = usize::try_from(max).unwrap_or(usize::MAX).clamp(1, LOCKS_MAX);
        let first = Cursor::from_number(from.unwrap_or(0));
        let only = filter.root.as_ref().zip(filter.lockspace).map(|(root, space)| self.shard_of(space, root));
        let mut page = LockPage::default();
        let mut weight = 0;
        let mut found = Vec::new();
        let shards = (first.shard..=u8::MAX).filter(|number| only.is_none_or(|only| only == *number));
        let mut looks = 0;
        for number in shards {
            let mut slot = Some(if number == first.shard { first.slot } else { 0 });
            while let Some(from) = slot {
                if looks == LOOKS_A_PART {
                    page.next = Some(Cursor { shard: number, slot: from }.number());
                    return page;
                }
                // What would not fit is not copied, but for the first that tells so.
                let room = (WEIGHT_MAX.saturating_sub(weight) / WEIGHT_MIN).min(max - page.locks.len()) + 1;
                slot = self.look_into(number, |shard| shard.show_page(now, from, room, filter, &mut found));
                looks += usize::from(slot.is_some());
                for view in found.drain(..) {
                    weight += weight_of(&view);
                    if !page.locks.is_empty() && (weight > WEIGHT_MAX || page.locks.len() == max) {
                        page.next = Some(Cursor { shard: number, slot: view.lock.slot() }.number());
                        return page;
                    }
                    page.locks.push(view);
                }
            }
        }
        page
    }

    /// One session.
    #[must_use]
    pub fn show_session(&self, now: Instant, session: SessionId) -> Option<SessionView> {
        self.session(session).map(|cell| cell.show(now))
    }

    /// A part of the list of sessions, by id, and whether there are more.
    #[must_use]
    pub fn show_sessions(
        &self,
        now: Instant,
        after: Option<SessionId>,
        max: u32,
    ) -> (Vec<SessionView>, bool) {
        let max = usize::try_from(max).unwrap_or(usize::MAX).clamp(1, SESSIONS_MAX);
        let all = self.all_sessions();
        let begin = after.map_or(0, |after| all.partition_point(|cell| cell.id <= after));
        let mut weight = 0;
        let mut part: Vec<SessionView> = Vec::new();
        for cell in all.iter().skip(begin) {
            weight += session_weight(cell);
            if part.len() == max || (weight > WEIGHT_MAX && !part.is_empty()) {
                return (part, true);
            }
            part.push(cell.show(now));
        }
        (part, false)
    }

    /// The counters of all shards together; what is left of a wait after a restart is the caller's to say.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let all = self.shards.iter().map(|cell| cell.shard.lock().statistics());
        let sum = all.fold(Statistics::default(), |a, b| Statistics {
            enq_new: a.enq_new + b.enq_new,
            enq_converted: a.enq_converted + b.enq_converted,
            deq: a.deq + b.deq,
            blocking_ast: a.blocking_ast + b.blocking_ast,
            enq_forced_to_wait: a.enq_forced_to_wait + b.enq_forced_to_wait,
            enq_not_queued: a.enq_not_queued + b.enq_not_queued,
            deadlock_search: 0,
            deadlock_find: a.deadlock_find + b.deadlock_find,
            timeouts: a.timeouts + b.timeouts,
            locks: a.locks + b.locks,
            resources: a.resources + b.resources,
            converting: a.converting + b.converting,
            waiting: a.waiting + b.waiting,
            sessions: 0,
            delayed: a.delayed + b.delayed,
            recovering_ms: 0,
        });
        Statistics { sessions: self.session_count(), deadlock_search: self.deadlocks.searches(), ..sum }
    }

    /// Is the grant with this seq live?
    #[must_use]
    pub fn is_live(&self, lockspace: LockspaceId, path: &[ResourceName], seq: Seq) -> bool {
        path.first().is_some_and(|root| {
            let number = self.shard_of(lockspace, root);
            self.look_into(number, |shard| shard.is_live(lockspace, path, seq))
        })
    }

    /// An administrator takes a granted lock away from its holder, who is told.
    pub fn force_release(
        &self,
        now: Instant,
        lock: LockId,
        version: u64,
        (by, reason): (SessionId, &str),
        scratch: &mut Scratch,
    ) -> Status {
        self.administer(now, lock, Input::ForceRelease { lock, version, by, reason }, scratch)
    }

    /// An administrator sets the deadlock priority of a lock.
    pub fn set_priority(&self, now: Instant, lock: LockId, priority: u8, scratch: &mut Scratch) -> Status {
        self.administer(now, lock, Input::SetPriority { lock, priority }, scratch)
    }

    fn administer(&self, now: Instant, lock: LockId, input: Input<'_>, scratch: &mut Scratch) -> Status {
        let answer = self.with_shard(lock.shard(), scratch, |table, shard, scratch| {
            table.step(shard, now, input, None, scratch)
        });
        match answer {
            Some(Said::Refused { status, .. } | Said::Done(status)) => status,
            other => unreachable!("administration is answered done or refused, not {other:?}"),
        }
    }
}

/// What fits into one answer: locks, and the sessions they belong to, each once.
pub(super) struct Seen<'a> {
    table: &'a Table,
    now: Instant,
    pub(super) weight: usize,
    known: BTreeSet<SessionId>,
    pub(super) sessions: Vec<SessionView>,
}

impl<'a> Seen<'a> {
    pub(super) fn new(table: &'a Table, now: Instant, weight: usize) -> Seen<'a> {
        Seen { table, now, weight, known: BTreeSet::new(), sessions: Vec::new() }
    }

    /// Takes a lock and its session, if both fit.
    pub(super) fn takes(&mut self, view: &LockView) -> bool {
        let new = view.session.filter(|session| !self.known.contains(session));
        let cell: Option<Arc<SessionCell>> = new.and_then(|session| self.table.session(session));
        self.weight += weight_of(view) + cell.as_deref().map_or(0, session_weight);
        if self.weight > WEIGHT_MAX {
            return false;
        }
        self.known.extend(new);
        self.sessions.extend(cell.map(|cell| cell.show(self.now)));
        true
    }
}

/// What a lock takes to show beside its reason and its names.
const WEIGHT_MIN: usize = 160;

/// About how many bytes a lock takes to show; rather too many.
pub(super) fn weight_of(view: &LockView) -> usize {
    WEIGHT_MIN + view.reason.len() + view.path.iter().map(|name| name.as_bytes().len() + 2).sum::<usize>()
}

/// About how many bytes a session takes to show; rather too many.
fn session_weight(cell: &SessionCell) -> usize {
    let about = &cell.about;
    128 + about.name.len() + about.purpose.len() + about.host.len() + about.peer.len()
}

/// About how many bytes a copy of a session takes to show; rather too many.
pub(super) fn session_view_weight(view: &SessionView) -> usize {
    128 + view.name.len() + view.purpose.len() + view.host.len() + view.peer.len()
}

/// Where a listing goes on: a shard and a slot of its slab.
#[derive(Clone, Copy)]
struct Cursor {
    shard: u8,
    slot: u32,
}

impl Cursor {
    fn from_number(number: u64) -> Cursor {
        let id = LockId(number);
        Cursor { shard: id.shard(), slot: id.slot() }
    }

    fn number(self) -> u64 {
        LockId::new(self.shard, self.slot, 0).0
    }
}
