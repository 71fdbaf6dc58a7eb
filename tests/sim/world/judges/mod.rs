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
pub(crate) mod queues;
pub(crate) mod soundness;
pub(crate) mod streams;
pub(crate) mod tokens;
pub(crate) mod values;

use super::actor::Place;
use super::clock::Time;
use super::server::Server;
use enq::engine::Instant;
use enq_protocol::vocabulary::{LockId, LockMode, LockView, LockspaceId, Queue, SessionId, ValueBlock};
use std::collections::BTreeSet;

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
    pub(crate) sessions: BTreeSet<SessionId>,
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
        Glance {
            places: places.iter().map(look).collect(),
            sessions: table.all_sessions().iter().map(|cell| cell.id).collect(),
        }
    }
}

/// Those who look at queues, and remember what they saw last.
#[derive(Debug, Default)]
pub(crate) struct Bench {
    before: Glance,
    tokens: tokens::Tokens,
    values: values::Values,
    delays: delays::Delays,
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
        self.before = Glance { places: vec![Seen::default(); places], sessions: BTreeSet::new() };
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
        for (place, (before, seen)) in self.before.places.iter().zip(&now.places).enumerate() {
            let at = |wrong: String| format!("place {place}: {wrong}");
            exclusion::look(seen).map_err(at)?;
            order::look(before, seen, rules.recovering).map_err(at)?;
            self.tokens.look(place, before, seen).map_err(at)?;
            self.values.look(place, (before, seen), &now.sessions).map_err(at)?;
            self.delays.look((before, seen), &now.sessions, rules).map_err(at)?;
        }
        self.before = now;
        Ok(())
    }
}
