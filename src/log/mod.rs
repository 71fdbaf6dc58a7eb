//! How an input becomes applied: the only thing that differs between deployments.
//!
//! A [`Log`] takes inputs and says what becomes of them, at once or later. *Volatile*: applied at once. *Journal*: made
//! durable in groups, then applied in the order of their positions. (*Cluster*: agreed upon, then applied; not there yet.)
//! Whatever changes the table goes through here; who only looks asks the table.
//!
//! Read in this order: `record` (what a log has), `apply` (what becomes of it), `promise`, `volatile`, `journaled` with
//! `recover` and `keeper`, and then the storage in `journal`. Beside them, for the volatile log: `epoch`, `survivors`; for
//! those who look at a journal without a server: `replay`; for those who look after one that is served: `measures`.

mod apply;
mod epoch;
pub mod journal;
mod journaled;
mod keeper;
mod measures;
mod planted;
mod promise;
mod record;
mod recover;
mod replay;
mod survivors;
mod volatile;

pub use apply::{Applier, Stopped};
pub use epoch::{Epoch, EpochError, Place};
pub use journaled::{Journaled, Pipe};
pub use keeper::Keeper;
pub use measures::{Measured, Moments, WRITE_US};
pub use promise::{Outcome, Promise};
pub use record::{Act, BadRecord, Record, Room, Words};
pub use recover::{RecoverError, Recovered, Served, recover};
pub use replay::{EPOCHS_A_RESTORE, Figures, Replayed, last_epoch};
pub use survivors::Survivors;
pub use volatile::Volatile;

use crate::{
    engine::{
        Instant,
        deadlock::Due,
        session::{Call, Register},
    },
    table::{About, Executed, Refusal, Refused, Request, Scratch, Searched, SessionCell, Table},
};
use enq_protocol::vocabulary::{LockId, SessionId};
use std::io;

/// Which log it is, as the protocol numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKind {
    /// Nothing outlives the process.
    Volatile = 0,
    /// What was answered is on disk.
    Journal = 1,
}

/// The way of every input to the table.
pub trait Log: Send + Sync {
    /// Which sort it is.
    fn kind(&self) -> LogKind;

    /// The table, for who looks.
    fn table(&self) -> &Table;

    /// A session begins: [`Outcome::Opened`].
    fn open_session(&self, now: Instant, about: About) -> Promise;

    /// May one more session begin?
    fn may_open(&self) -> bool {
        true
    }

    /// Sessions that have begun and whose leases nobody looks after yet; those for whom it is done where they are opened are
    /// not among them.
    fn take_opened(&self) -> Vec<SessionId> {
        Vec::new()
    }

    /// The next request of a session, which its register has admitted and whose in-half the caller holds. Its answer is in
    /// the out-half when this returns, or, if it is under way, when the session is woken.
    fn execute(
        &self,
        now: Instant,
        session: (&SessionCell, &mut Register),
        request: Request,
        call: Call<'_>,
        scratch: &mut Scratch,
    ) -> Executed;

    /// A session dies, if it has not ended yet. Nothing of it is admitted when this returns. [`Outcome::Answered`].
    fn kill(&self, now: Instant, session: (&SessionCell, &mut Register), scratch: &mut Scratch) -> Promise;

    /// Time has passed: deadlines fire, and ends go on.
    fn pass_time(&self, now: Instant, scratch: &mut Scratch);

    /// Is a search for deadlocks due?
    fn is_search_due(&self, now: Instant) -> bool;

    /// Looks for deadlocks that are due, and has one request of each refused.
    fn search_deadlocks(&self, now: Instant, due: Due, scratch: &mut Scratch) -> Searched;

    /// A request is refused to break a deadlock, unless it has gone when that comes through. For whoever searches step by
    /// step.
    fn refuse(&self, now: Instant, refusal: &Refusal, scratch: &mut Scratch) -> Refused;

    /// An administrator takes a granted lock away from its holder: [`Outcome::Answered`].
    fn force_release(
        &self,
        now: Instant,
        lock: LockId,
        version: u64,
        by: (SessionId, &str),
        scratch: &mut Scratch,
    ) -> Promise;

    /// An administrator sets the deadlock priority of a lock: [`Outcome::Answered`].
    fn set_priority(&self, now: Instant, lock: LockId, priority: u8, scratch: &mut Scratch) -> Promise;

    /// What its journal has done since the start, if it has one.
    fn measured(&self) -> Option<Measured> {
        None
    }

    /// Is so much under way that whoever has something under way should wait for it before he asks for more?
    fn is_crowded(&self) -> bool {
        false
    }

    /// What went wrong last with what is kept beside the table, once each time.
    fn trouble(&self) -> Option<io::Error> {
        None
    }

    /// The server stops: nothing more is granted. Says up to which lease locks are held that nobody will know of after the
    /// stop, in milliseconds; 0 if there are none. This comes before any connection is told.
    fn close_books(&self) -> u32;

    /// The server has stopped in order, with such locks held up to this lease.
    fn balance_books(&self, held_ms: u32);
}
