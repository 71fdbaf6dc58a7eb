//! The journal as a log: an input is appended where it was taken in, made durable with whatever else has come, and applied
//! by the one who applies (`apply`).
//!
//! Nothing in here waits. Whoever appends holds the in-half of his session, which the applier takes for each request of it;
//! so an append has no bound of its own: what may be under way is bounded by the windows of the sessions, and whoever
//! finds much under way ([`Log::is_crowded`]) lets his own come through before he takes in more. After a failure of the
//! disk nothing that was appended is answered, and the process ends.

use super::{
    Log, LogKind, Measured, Outcome, Promise,
    apply::Common,
    journal::{AppendError, Failure, Room},
    record::{Act, Record},
};
use crate::{
    engine::{
        Input, Instant, Mistake,
        deadlock::Due,
        session::{Call, Register},
    },
    table::{About, Executed, Refusal, Refused, Request, Scratch, Searched, SessionCell, Table},
};
use enq_protocol::vocabulary::{LockId, SessionId, Status};
use parking_lot::Mutex;
use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

/// Where records go to become durable, and to be applied after that.
pub trait Pipe: Send + Sync {
    /// Takes a record and says which position it has.
    ///
    /// # Errors
    /// It will never be durable: the server stops, or the disk has failed.
    fn append(&self, record: &[u8]) -> Result<u64, AppendError>;

    /// Does very much wait to be written?
    fn is_crowded(&self) -> bool;

    /// Is there little room left on the disk?
    fn is_short_of_room(&self) -> bool;

    /// What can still be written, if that is known.
    fn room(&self) -> Option<Room> {
        None
    }

    /// Sees to what is not on the way of a record: room for what is to come.
    fn tend(&self, now: Instant);

    /// Takes nothing more, and returns when everything is durable and applied.
    ///
    /// # Errors
    /// The disk has failed.
    fn close(&self) -> Result<(), Failure>;
}

/// See the front page.
pub struct Journaled {
    common: Arc<Common>,
    pipe: Arc<dyn Pipe>,
    /// Of which disk failure nobody is told any more who serves.
    trouble: Mutex<Option<io::Error>>,
}

impl Journaled {
    pub(super) fn new(common: Arc<Common>, pipe: Arc<dyn Pipe>) -> Journaled {
        Journaled { common, pipe, trouble: Mutex::default() }
    }

    fn append(&self, now: Instant, act: Act<'_>) -> Result<u64, AppendError> {
        let mut bytes = Vec::with_capacity(128);
        Record { now, act }.write(&mut bytes);
        self.pipe.append(&bytes)
    }

    /// Appends what somebody waits for. If it will never be durable, he waits for the end of the process.
    fn promise(&self, now: Instant, act: Act<'_>) -> Promise {
        let (promise, pledge) = Promise::open();
        // Held meanwhile, so that the one who applies finds the pledge however fast he is.
        let mut pledges = self.common.pledges.lock();
        if let Ok(position) = self.append(now, act) {
            pledges.insert(position, pledge);
        }
        promise
    }
}

impl Log for Journaled {
    fn kind(&self) -> LogKind {
        LogKind::Journal
    }

    fn table(&self) -> &Table {
        &self.common.table
    }

    fn open_session(&self, now: Instant, about: About) -> Promise {
        self.promise(now, Act::Open(about))
    }

    fn take_opened(&self) -> Vec<SessionId> {
        std::mem::take(&mut self.common.opened.lock())
    }

    fn execute(
        &self,
        now: Instant,
        (cell, register): (&SessionCell, &mut Register),
        request: Request,
        call: Call<'_>,
        scratch: &mut Scratch,
    ) -> Executed {
        let is_refused = takes_room(&call)
            && (self.pipe.is_short_of_room() || !self.common.table.has_memory_for(register, &call));
        let call = if is_refused { Call::Refused(Status::ResourceExhausted) } else { call };
        let act = Act::Request { session: cell.id, request, acked: register.acked(), call };
        // What cannot be appended is never answered: the process is about to end.
        if self.common.table.bounds().planted.is(Mistake::AppliedBeforeDurable) {
            let _ = self.append(now, act.clone());
            if let Act::Request { call, .. } = act {
                self.common.table.execute(now, (cell, register), request, call, scratch);
            }
        } else {
            let _ = self.append(now, act);
        }
        Executed::UnderWay
    }

    fn kill(
        &self,
        now: Instant,
        (cell, register): (&SessionCell, &mut Register),
        _scratch: &mut Scratch,
    ) -> Promise {
        if register.has_ended() {
            return Promise::kept(Outcome::Answered(Status::NoSuchSession));
        }
        register.condemn();
        self.promise(now, Act::Kill(cell.id))
    }

    fn pass_time(&self, now: Instant, _scratch: &mut Scratch) {
        self.pipe.tend(now);
        if self.common.table.is_due(now) && !self.common.passes.swap(true, Ordering::Relaxed) {
            let _ = self.append(now, Act::Pass);
        }
    }

    /// Not before all refusals of the search before are through: who is about to be refused is still seen waiting.
    fn is_search_due(&self, now: Instant) -> bool {
        self.common.refusals.load(Ordering::Relaxed) == 0 && self.common.table.is_search_due(now)
    }

    fn search_deadlocks(&self, now: Instant, due: Due, scratch: &mut Scratch) -> Searched {
        if self.common.refusals.load(Ordering::Relaxed) > 0 {
            return Searched::default();
        }
        self.common.table.search_deadlocks(now, due, |refusal| self.refuse(now, refusal, scratch))
    }

    fn refuse(&self, now: Instant, refusal: &Refusal, _scratch: &mut Scratch) -> Refused {
        self.common.refusals.fetch_add(1, Ordering::Relaxed);
        let _ = self.append(now, Act::Refuse(*refusal));
        Refused::UnderWay
    }

    fn force_release(
        &self,
        now: Instant,
        lock: LockId,
        version: u64,
        (by, reason): (SessionId, &str),
        _scratch: &mut Scratch,
    ) -> Promise {
        self.promise(now, Act::ForceRelease { lock, version, by, reason })
    }

    fn set_priority(&self, now: Instant, lock: LockId, priority: u8, _scratch: &mut Scratch) -> Promise {
        self.promise(now, Act::SetPriority { lock, priority })
    }

    fn measured(&self) -> Option<Measured> {
        Some(self.common.measures.show(self.pipe.room()))
    }

    fn is_crowded(&self) -> bool {
        self.pipe.is_crowded()
    }

    fn may_open(&self) -> bool {
        !self.pipe.is_short_of_room()
    }

    // Whatever was answered is on disk, and its sessions live on.
    fn close_books(&self) -> u32 {
        0
    }

    fn balance_books(&self, _held_ms: u32) {
        *self.trouble.lock() = self.pipe.close().err().map(io::Error::other);
    }

    fn trouble(&self) -> Option<io::Error> {
        self.trouble.lock().take()
    }
}

/// Does this take room that is given back only when somebody asks for it? On a full disk it is refused, so that there is
/// still room for those who give something up.
fn takes_room(call: &Call<'_>) -> bool {
    match call {
        Call::Lock(input) => matches!(input, Input::Enq { .. } | Input::EnqPath { .. } | Input::Adopt { .. }),
        Call::CreateSpace { .. } => true,
        Call::ReleaseAll { .. }
        | Call::Purge { .. }
        | Call::SetSpace { .. }
        | Call::RemoveSpace { .. }
        | Call::Close
        | Call::Refused(_) => false,
    }
}
