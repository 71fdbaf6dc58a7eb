//! The volatile log: an input is applied at once, and nothing outlives the process, save how long somebody may still
//! believe in it (`survivors`).

use super::{Log, LogKind, Outcome, Promise, Survivors};
use crate::{
    engine::{
        Input, Instant,
        deadlock::Due,
        session::{Call, Register},
    },
    table::{About, Executed, Refusal, Refused, Request, Scratch, Searched, SessionCell, Table},
};
use enq_protocol::vocabulary::{LockId, SessionId, Status};
use std::io;

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
}

impl Log for Volatile {
    fn kind(&self) -> LogKind {
        LogKind::Volatile
    }

    fn table(&self) -> &Table {
        &self.table
    }

    fn open_session(&self, now: Instant, about: About) -> Promise {
        Promise::kept(Outcome::Opened(self.table.open_session(now, about)))
    }

    fn execute(
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

    fn kill(&self, now: Instant, session: (&SessionCell, &mut Register), scratch: &mut Scratch) -> Promise {
        let status = if session.1.has_ended() { Status::NoSuchSession } else { Status::Done };
        self.table.kill(now, session, scratch);
        Promise::kept(Outcome::Answered(status))
    }

    fn pass_time(&self, now: Instant, scratch: &mut Scratch) {
        self.table.visit(now, scratch);
        if self.survivors.has_before() && self.table.recovering_ms(now) == 0 {
            self.survivors.let_go();
        }
    }

    fn is_search_due(&self, now: Instant) -> bool {
        self.table.is_search_due(now)
    }

    fn search_deadlocks(&self, now: Instant, due: Due, scratch: &mut Scratch) -> Searched {
        self.table.search_deadlocks(now, due, |refusal| self.table.refuse(now, refusal, scratch))
    }

    fn refuse(&self, now: Instant, refusal: &Refusal, scratch: &mut Scratch) -> Refused {
        self.table.refuse(now, refusal, scratch)
    }

    fn force_release(
        &self,
        now: Instant,
        lock: LockId,
        version: u64,
        by: (SessionId, &str),
        scratch: &mut Scratch,
    ) -> Promise {
        Promise::kept(Outcome::Answered(self.table.force_release(now, lock, version, by, scratch)))
    }

    fn set_priority(&self, now: Instant, lock: LockId, priority: u8, scratch: &mut Scratch) -> Promise {
        Promise::kept(Outcome::Answered(self.table.set_priority(now, lock, priority, scratch)))
    }

    fn trouble(&self) -> Option<io::Error> {
        self.survivors.trouble()
    }

    // A session that is bound to a connection ends with it, and its holder knows nothing of that yet.
    fn close_books(&self) -> u32 {
        self.survivors.close();
        let held = self.table.all_sessions().into_iter().filter(|cell| {
            // Whoever executes for it now was before the books were closed, and is waited for.
            let register = cell.in_half.lock();
            let ended = cell.out_half.lock().outgoing.ended_len();
            register.locks() > ended
        });
        held.map(|cell| cell.about.ttl_ms).max().unwrap_or(0)
    }

    fn balance_books(&self, held_ms: u32) {
        self.survivors.balance(held_ms);
    }
}

/// May somebody hold a lock by this who held none? Whoever has one was covered when he asked for it.
fn makes_a_holder(input: &Input<'_>) -> bool {
    !matches!(
        input,
        Input::Convert { .. } | Input::Deq { .. } | Input::Cancel { .. } | Input::SealSublocks { .. }
    )
}
