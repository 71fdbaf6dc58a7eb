//! Sessions that were closed in order, kept for a while: whoever lost his connection before the last answers came can
//! still get them.
//!
//! One is kept for as long as its lease would have gone on, or until all its answers are acknowledged. All of them
//! together are few and small: the one that would go next makes room.

use super::{SessionCell, Table};
use crate::engine::{Instant, session::Register};
use enq_protocol::vocabulary::SessionId;
use std::{collections::BTreeMap, sync::Arc};

/// How many are kept.
const KEPT_MAX: usize = 4_096;

/// About how many bytes of answers they may have together.
const KEPT_WEIGHT_MAX: usize = 16 * 1024 * 1024;

/// Closed sessions by the moment at which each is forgotten.
#[derive(Debug, Default)]
pub(super) struct Closed {
    kept: BTreeMap<(Instant, SessionId), (Arc<SessionCell>, usize)>,
    until: BTreeMap<SessionId, Instant>,
    weight: usize,
}

impl Closed {
    /// Keeps one that was kept before, with the weight that it had; false if there is one with its id.
    pub(super) fn keep_again(&mut self, until: Instant, cell: Arc<SessionCell>, weight: usize) -> bool {
        let fits = !self.until.contains_key(&cell.id) && self.weight.checked_add(weight).is_some();
        if fits {
            self.keep(until, cell, weight);
        }
        fits
    }

    fn keep(&mut self, until: Instant, cell: Arc<SessionCell>, weight: usize) {
        self.until.insert(cell.id, until);
        self.kept.insert((until, cell.id), (cell, weight));
        self.weight += weight;
        while self.kept.len() > KEPT_MAX || (self.weight > KEPT_WEIGHT_MAX && self.kept.len() > 1) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(((_, session), (_, weight))) = self.kept.pop_first() {
            self.until.remove(&session);
            self.weight -= weight;
        }
    }

    fn forget(&mut self, session: SessionId) {
        if let Some(until) = self.until.remove(&session)
            && let Some((_, weight)) = self.kept.remove(&(until, session))
        {
            self.weight -= weight;
        }
    }

    /// All of them, the one that is forgotten next in front: until when, which, and how much they weighed when they came.
    pub(super) fn all(&self) -> impl Iterator<Item = (Instant, &Arc<SessionCell>, usize)> {
        self.kept.iter().map(|((until, _), (cell, weight))| (*until, cell, *weight))
    }

    fn find(&self, session: SessionId) -> Option<Arc<SessionCell>> {
        let until = *self.until.get(&session)?;
        self.kept.get(&(until, session)).map(|(cell, _)| Arc::clone(cell))
    }

    fn forget_until(&mut self, now: Instant) {
        while self.kept.first_key_value().is_some_and(|((until, _), _)| *until <= now) {
            self.forget_first();
        }
    }
}

impl Table {
    /// The session with this id, if another connection can go on with it: it is there, or it was closed not long ago, and
    /// it is not bound to its connection.
    #[must_use]
    pub fn resumable(&self, now: Instant, session: SessionId) -> Option<Arc<SessionCell>> {
        let found = self.session(session).or_else(|| {
            let mut closed = self.closed.lock();
            closed.forget_until(now);
            closed.find(session)
        });
        found.filter(|cell| !cell.about.bound)
    }

    /// How many closed sessions are kept.
    #[must_use]
    pub fn closed_count(&self) -> usize {
        self.closed.lock().kept.len()
    }

    /// Keeps a session that was closed in order, if somebody may come for its answers.
    pub(super) fn keep_closed(&self, now: Instant, cell: Arc<SessionCell>, register: &Register) {
        if !cell.about.bound {
            let weight = register.kept_weight(&cell.out_half.lock().outgoing);
            let until = now.after_ms(cell.about.ttl_ms);
            self.closed.lock().keep(until, cell, weight);
        }
    }

    /// All its answers have been received.
    pub fn forget_closed(&self, session: SessionId) {
        self.closed.lock().forget(session);
    }

    /// Forgets those whose time has passed.
    pub(super) fn forget_closed_until(&self, now: Instant) {
        self.closed.lock().forget_until(now);
    }
}
