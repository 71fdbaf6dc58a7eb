//! The volatile log: an input is applied at once, and nothing outlives the process.

use crate::{
    engine::{
        Instant,
        session::{Call, Register},
    },
    table::{About, Executed, Request, Scratch, SessionCell, Table},
};
use enq_protocol::vocabulary::{LockId, SessionId, Status};
use std::sync::Arc;

/// The volatile log.
pub struct Volatile {
    table: Table,
}

impl Volatile {
    /// The log before this table.
    #[must_use]
    pub fn new(table: Table) -> Volatile {
        Volatile { table }
    }

    /// The table, for who looks.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// A session begins.
    #[must_use]
    pub fn open_session(&self, now: Instant, about: About) -> Arc<SessionCell> {
        self.table.open_session(now, about)
    }

    /// The next request of a session, whose in-half the caller holds. Its answer is in the out-half when this returns.
    pub fn execute(
        &self,
        now: Instant,
        session: (&SessionCell, &mut Register),
        request: Request,
        call: Call<'_>,
        scratch: &mut Scratch,
    ) -> Executed {
        self.table.execute(now, session, request, call, scratch)
    }

    /// A session dies, if it has not ended yet.
    pub fn kill(&self, now: Instant, session: (&SessionCell, &mut Register), scratch: &mut Scratch) {
        self.table.kill(now, session, scratch);
    }

    /// Time has passed: deadlines fire, and ends go on.
    pub fn pass_time(&self, now: Instant, scratch: &mut Scratch) {
        self.table.visit(now, scratch);
    }

    /// An administrator takes a granted lock away from its holder.
    pub fn force_release(
        &self,
        now: Instant,
        lock: LockId,
        version: u64,
        by: (SessionId, &str),
        scratch: &mut Scratch,
    ) -> Status {
        self.table.force_release(now, lock, version, by, scratch)
    }

    /// An administrator sets the deadlock priority of a lock.
    pub fn set_priority(&self, now: Instant, lock: LockId, priority: u8, scratch: &mut Scratch) -> Status {
        self.table.set_priority(now, lock, priority, scratch)
    }
}
