//! The memory budget: what everything takes together, and whether there is room for more.
//!
//! Whoever allocates counts his own share and tells the sum only when the share has changed by a kilobyte, so that the
//! hot path does a comparison; a shard counts only now and then while three quarters of the budget are free. What would make the server larger is asked for before it is done. A sixteenth of the budget
//! is kept for answers to those that give something up, renew, cancel, convert or come back: they are never refused for
//! lack of memory. An eighth is kept for sessions, since the table does not shrink: free slots wait for new locks.

use crate::engine::session::{Outgoing, Register};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// By how much a share changes before the sum is told.
const GRAIN: usize = 1_024;

/// The sums, and their limit.
#[derive(Debug)]
pub struct Memory {
    table: AtomicUsize,
    sessions: AtomicUsize,
    max: usize,
}

/// What a share is a share of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Locks, resources and what belongs to them.
    Table,
    /// Sessions and connections.
    Sessions,
}

/// What somebody has allocated, as far as the sum knows. It is given back when this goes.
#[derive(Debug)]
pub struct Share {
    of: Arc<Memory>,
    pool: Pool,
    counted: AtomicUsize,
}

impl Memory {
    /// Nothing used, of so many bytes.
    #[must_use]
    pub fn new(max: usize) -> Arc<Memory> {
        Arc::new(Memory { table: AtomicUsize::new(0), sessions: AtomicUsize::new(0), max })
    }

    /// What locks and resources use.
    #[must_use]
    pub fn table(&self) -> usize {
        self.table.load(Ordering::Relaxed)
    }

    /// What sessions and connections use.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// The budget.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max
    }

    /// What is kept for sessions and connections whatever the table takes.
    fn of_sessions(&self) -> usize {
        self.max / 8
    }

    /// What is kept for answers.
    fn reserve(&self) -> usize {
        self.max / 16
    }

    /// May one more session begin, or one more connection come in?
    #[must_use]
    pub fn has_room_for_session(&self) -> bool {
        let sessions = self.sessions();
        sessions < self.of_sessions() || self.table().saturating_add(sessions) < self.max - 2 * self.reserve()
    }

    /// May the table, if it takes so much, grow by so many bytes for new locks?
    fn may_grow(&self, table: usize, growth: usize) -> bool {
        let sessions = self.sessions().max(self.of_sessions());
        growth == 0 || table.saturating_add(growth).saturating_add(sessions) <= self.max - self.reserve()
    }

    /// Is so much of it free that no request comes near the limit, and nobody has to look closely? A table that is full
    /// moves into a room twice as large, and keeps the old one until it has.
    fn is_mostly_free(&self) -> bool {
        self.table().saturating_add(self.sessions()) < self.max / 4
    }

    fn pool(&self, pool: Pool) -> &AtomicUsize {
        match pool {
            Pool::Table => &self.table,
            Pool::Sessions => &self.sessions,
        }
    }
}

impl Share {
    /// A share of nothing.
    #[must_use]
    pub fn new(of: &Arc<Memory>, pool: Pool) -> Share {
        Share { of: Arc::clone(of), pool, counted: AtomicUsize::new(0) }
    }

    /// Is most of the memory free?
    #[must_use]
    pub fn has_plenty(&self) -> bool {
        self.of.is_mostly_free()
    }

    /// The share is this large now; its owner is the only one who says so at a time.
    pub fn count(&self, bytes: usize) {
        if self.counted.load(Ordering::Relaxed).abs_diff(bytes) >= GRAIN {
            self.tell(bytes);
        }
    }

    /// May the table grow by so many bytes, now that this share of it is so large?
    #[must_use]
    pub fn may_grow(&self, bytes: usize, growth: usize) -> bool {
        // What was not worth telling counts here, so that what was just given up can be taken again.
        let others = self.of.table().saturating_sub(self.counted.load(Ordering::Relaxed));
        self.of.may_grow(others + bytes, growth)
    }

    fn tell(&self, bytes: usize) {
        let before = self.counted.swap(bytes, Ordering::Relaxed);
        // Modulo 2^64 a smaller share is a sum, too.
        self.of.pool(self.pool).fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.tell(0);
    }
}

/// What the two halves of a session take, each counted by who holds it.
#[derive(Debug)]
pub(super) struct SessionShares {
    fixed: Share,
    taken_in: Share,
    told: Share,
}

impl SessionShares {
    /// Those of a session that takes so many bytes whatever it does.
    pub(super) fn new(of: &Arc<Memory>, bytes: usize) -> SessionShares {
        let share = || Share::new(of, Pool::Sessions);
        let shares = SessionShares { fixed: share(), taken_in: share(), told: share() };
        shares.fixed.tell(bytes);
        shares
    }

    /// Counts the in-half, which the caller holds.
    pub(super) fn count_in(&self, register: &Register) {
        self.taken_in.count(register.bytes());
    }

    /// Counts the out-half, which the caller holds.
    pub(super) fn count_out(&self, outgoing: &Outgoing) {
        self.told.count(outgoing.bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_told_in_grains_and_given_back() {
        let memory = Memory::new(1_000_000);
        let share = Share::new(&memory, Pool::Table);
        share.count(1_000);
        assert_eq!(memory.table(), 0, "not worth telling");
        share.count(5_000);
        assert_eq!(memory.table(), 5_000);
        share.count(4_500);
        share.count(3_000);
        assert_eq!((memory.table(), memory.sessions()), (3_000, 0));
        drop(share);
        assert_eq!(memory.table(), 0);
    }

    #[test]
    fn each_has_its_own_and_what_needs_nothing_is_never_refused() {
        let memory = Memory::new(16_000);
        let (table, sessions) = (Share::new(&memory, Pool::Table), Share::new(&memory, Pool::Sessions));
        table.tell(12_000);
        assert!(table.may_grow(12_000, 1_000), "an eighth and a sixteenth are left");
        assert!(!table.may_grow(12_000, 1_001) && table.may_grow(12_000, 0));
        assert!(table.may_grow(11_999, 1_001), "what was given up can be taken again");
        sessions.tell(1_999);
        assert!(memory.has_room_for_session(), "that is what was kept for them");
        table.tell(13_000);
        assert!(memory.has_room_for_session(), "a full table keeps nobody out");
        sessions.tell(2_000);
        assert!(!memory.has_room_for_session());
        table.tell(1_000);
        assert!(memory.has_room_for_session(), "what the table does not use is theirs");
        sessions.tell(13_000);
        assert!(!memory.has_room_for_session() && table.may_grow(1_000, 1_000));
        assert!(!table.may_grow(1_000, 1_001), "and what they use is not the table's");
    }
}
