//! What is put into a log: every input that changes the table, with the moment at which it was taken in.
//!
//! A log is these records in order; the table is what becomes of them (`apply`). Whatever is decided outside, such as
//! whether there is memory for a new lock, is decided before and stands in the record. So the same records make the same
//! table, wherever and whenever they are applied.
//!
//! `codec` writes them as bytes and reads them; `docs/journal.md` has the layout. `words` says them to people.

mod codec;
mod words;

pub use codec::{BadRecord, Room};
pub use words::Words;

use crate::{
    engine::{Instant, session::Call},
    table::{About, Refusal, Request, Terms},
};
use enq_protocol::vocabulary::{LockId, SessionId};

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record<'a> {
    /// When it was taken in, by the clock of the log, which never goes back and does not run while nobody serves.
    pub now: Instant,
    /// What it says.
    pub act: Act<'a>,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub enum Act<'a> {
    /// A server begins to serve: from here on its epoch and its limits hold.
    Start(Terms),
    /// A session begins.
    Open(About),
    /// A session asks for something.
    Request {
        /// Whose it is.
        session: SessionId,
        /// Its number and what tells it from others.
        request: Request,
        /// The last output of the session that had arrived when it was let in.
        acked: u64,
        /// What it asks.
        call: Call<'a>,
    },
    /// A session dies.
    Kill(SessionId),
    /// Time has passed: deadlines fire, and ends go on.
    Pass,
    /// A request is refused to break a deadlock.
    Refuse(Refusal),
    /// An administrator takes a granted lock away.
    ForceRelease {
        /// Which.
        lock: LockId,
        /// The seq of its last grant, as the administrator saw it.
        version: u64,
        /// Who.
        by: SessionId,
        /// Why.
        reason: &'a str,
    },
    /// An administrator sets a deadlock priority.
    SetPriority {
        /// Of which lock.
        lock: LockId,
        /// The priority.
        priority: u8,
    },
}
