//! The volatile log: an input is applied at once, and nothing outlives the process, save how long somebody may still
//! believe in it (`survivors`).

use super::Survivors;
use crate::{
    engine::{
        Input, Instant,
        deadlock::Due,
        session::{Call, Register},
    },
    table::{About, Executed, Request, Scratch, Searched, SessionCell, Table},
};
use enq_protocol::vocabulary::{LockId, SessionId, Status};
use std::{io, sync::Arc};

/// The volatile log.
pub struct Volatile {
    table: Table,
    survivors: Survivors,
}

impl Volatile {
    /// The log before this table, of a server that has no next boot.
    #[must_use]
    pub fn new(table: Table) -> Volatile {
        Volatile::with_survivors(table, Survivors::nowhere())
    }

    /// The log before this table, and where it is kept who may outlive it.
    #[must_use]
    pub fn with_survivors(table: Table, survivors: Survivors) -> Volatile {
        Volatile { table, survivors }
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
        let is_covered = match &call {
            Call::Lock(input) if makes_a_holder(input) => self.survivors.cover(session.0.about.ttl_ms),
            Call::CreateSpace { policy, .. } | Call::SetSpace { policy, .. } => {
                self.survivors.cover_delay(policy.lock_delay_ms)
            }
            _ => true,
        };
        // G10: a grant that the next boot would not wait for is not made.
        if !is_covered {
            let refused = Call::Refused(Status::Unavailable);
            return self.table.execute(now, session, request, refused, scratch);
        }
        self.table.execute(now, session, request, call, scratch)
    }

    /// A session dies, if it has not ended yet.
    pub fn kill(&self, now: Instant, session: (&SessionCell, &mut Register), scratch: &mut Scratch) {
        self.table.kill(now, session, scratch);
    }

    /// Time has passed: deadlines fire, and ends go on.
    pub fn pass_time(&self, now: Instant, scratch: &mut Scratch) {
        self.table.visit(now, scratch);
        if self.survivors.has_before() && self.table.recovering_ms(now) == 0 {
            self.survivors.let_go();
        }
    }

    /// Looks for deadlocks that are due, and refuses one request of each.
    pub fn search_deadlocks(&self, now: Instant, due: Due, scratch: &mut Scratch) -> Searched {
        self.table.search_deadlocks(now, due, scratch)
    }

    /// Why the state file could not be written last, once each time.
    pub fn trouble(&self) -> Option<io::Error> {
        self.survivors.trouble()
    }

    /// The server stops: nothing more is granted that is not on disk. Says up to which lease locks are held, in
    /// milliseconds; 0 if none is. This comes before any connection is told, for a session that is bound to one ends
    /// with it, and its holder knows nothing of that yet.
    #[must_use]
    pub fn close_books(&self) -> u32 {
        self.survivors.close();
        let held = self.table.all_sessions().into_iter().filter(|cell| {
            // Whoever executes for it now was before the books were closed, and is waited for.
            let register = cell.in_half.lock();
            let ended = cell.out_half.lock().outgoing.ended_len();
            register.locks() > ended
        });
        held.map(|cell| cell.about.ttl_ms).max().unwrap_or(0)
    }

    /// The server has stopped in order, with locks held up to this lease.
    pub fn balance_books(&self, held_ms: u32) {
        self.survivors.balance(held_ms);
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

/// May somebody hold a lock by this who held none? Whoever has one was covered when he asked for it.
fn makes_a_holder(input: &Input<'_>) -> bool {
    !matches!(
        input,
        Input::Convert { .. } | Input::Deq { .. } | Input::Cancel { .. } | Input::SealSublocks { .. }
    )
}
