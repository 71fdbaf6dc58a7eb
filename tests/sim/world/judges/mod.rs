//! The judges: each knows one promise, sees what it needs to see, and remembers what it must.
//!
//! None of them asks the code under test whether it is right. Those that look at queues are shown all locks of all
//! resources after everything that the server does.

pub(crate) mod belief;
pub(crate) mod completeness;
pub(crate) mod delays;
pub(crate) mod effects;
pub(crate) mod exclusion;
pub(crate) mod ghosts;
pub(crate) mod order;
pub(crate) mod orphans;
pub(crate) mod queues;
pub(crate) mod soundness;
pub(crate) mod streams;
pub(crate) mod tokens;
pub(crate) mod values;

use super::actor::Place;
use super::clock::Time;
use super::server::Server;
use enq::{engine::Instant, table::SessionCell};
use enq_protocol::vocabulary::{LockId, LockMode, LockView, LockspaceId, Queue, SessionId, ValueBlock};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is wrong, in words.
pub(crate) type Wrong = String;

/// One resource as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) locks: Vec<LockView>,
    pub(crate) value: ValueBlock,
}

/// All resources, and who has a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Glance {
    pub(crate) places: Vec<Seen>,
    /// Each with its orphan key.
    pub(crate) sessions: BTreeMap<SessionId, Box<[u8]>>,
    /// What has outlived its session by rule E3 or O1.
    pub(crate) orphans: BTreeSet<LockId>,
}

impl Seen {
    pub(crate) fn lock(&self, id: LockId) -> Option<&LockView> {
        self.locks.iter().find(|lock| lock.lock == id)
    }

    pub(crate) fn queue(&self, queue: Queue) -> impl Iterator<Item = &LockView> {
        self.locks.iter().filter(move |lock| lock.queue == queue)
    }

    /// Locks and the modes they hold.
    pub(crate) fn holding(&self) -> impl Iterator<Item = (&LockView, LockMode)> {
        self.locks.iter().filter_map(|lock| Some((lock, lock.granted?)))
    }
}

impl Glance {
    pub(crate) fn at(server: &Server, now: Instant, places: &[Place]) -> Glance {
        let table = server.table();
        let look = |place: &Place| match table.show_resource(now, LockspaceId(0), place) {
            Some(seen) => Seen { locks: seen.resource.locks, value: seen.resource.value },
            None => Seen::default(),
        };
        let places: Vec<Seen> = places.iter().map(look).collect();
        let key = |cell: &Arc<SessionCell>| (cell.id, cell.about.orphan_key.clone());
        let orphans = orphans::all(&places);
        Glance { places, sessions: table.all_sessions().iter().map(key).collect(), orphans }
    }

    pub(crate) fn lock(&self, id: LockId) -> Option<&LockView> {
        self.places.iter().find_map(|seen| seen.lock(id))
    }

    /// Has the session of this lock ended?
    fn has_lost_session(&self, lock: &LockView) -> bool {
        lock.session.is_some_and(|session| !self.sessions.contains_key(&session))
    }
}

/// Those who look at queues, and remember what they saw last.
#[derive(Debug, Default)]
pub(crate) struct Bench {
    before: Glance,
    tokens: tokens::Tokens,
    values: values::Values,
    delays: delays::Delays,
    pub(crate) orphans: orphans::Orphans,
}

/// What is the case besides what is seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) now: Time,
    /// The server waits for the leases of an earlier one, and grants nothing.
    pub(crate) recovering: bool,
    /// Sessions that end now may have been closed in order.
    pub(crate) closing: bool,
    /// How long what a dead session held goes on blocking; 0 for not at all.
    pub(crate) lock_delay: Time,
    /// As long after an end was decided it may have been seen.
    pub(crate) slowest: Time,
}

impl Bench {
    /// The server is another one: what was in the table of the last one is gone.
    pub(crate) fn restart(&mut self) {
        let places = self.before.places.len();
        self.before = Glance { places: vec![Seen::default(); places], ..Glance::default() };
        self.values.restart();
    }

    /// What was seen last.
    pub(crate) fn last(&self) -> &Glance {
        &self.before
    }

    pub(crate) fn look(&mut self, now: Glance, rules: Rules) -> Result<(), Wrong> {
        if self.before.places.len() != now.places.len() {
            self.before.places = vec![Seen::default(); now.places.len()];
        }
        let Bench { before, tokens, values, delays, orphans } = self;
        for place in 0..now.places.len() {
            let at = |wrong: String| format!("place {place}: {wrong}");
            let both = (&*before, &now);
            let (old, seen) = (&before.places[place], &now.places[place]);
            exclusion::look(seen).map_err(at)?;
            order::look(old, seen, rules.recovering).map_err(at)?;
            tokens.look(place, old, (seen, &now.orphans)).map_err(at)?;
            values.look(place, both).map_err(at)?;
            delays.look(place, both, rules).map_err(at)?;
        }
        orphans.look(before, &now)?;
        self.before = now;
        Ok(())
    }
}
