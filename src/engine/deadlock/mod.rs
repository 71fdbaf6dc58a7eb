//! The deadlock search: who waits for whom on all resources, where that goes round, and which request has to go
//! (rules D1-D6 of `docs/locking.md`; `docs/deadlock.md` tells why none is missed and none invented).
//!
//! Three steps, of which only the first and the last touch a shard:
//!
//! 1. `copy`: each shard copies the queues of its resources that have any, whole, into a [`Copied`];
//! 2. `graph` and `search`: pure functions find the cycles in the copies, `victim` says who is refused;
//! 3. `confirm`: each wait of a cycle is looked at once more in its shard, and the refusal is an input that is void if
//!    the request has changed.
//!
//! A node of the graph is a [`Party`]: an owner of a session. Nothing here refuses anybody.

mod confirm;
mod copy;
mod graph;
mod knot;
mod picture;
mod search;
mod victim;

pub use copy::Copied;
pub use enq_protocol::vocabulary::{NEVER_REFUSED, VictimRule};
pub use picture::{Line, Picture, Standing, picture};
pub use search::{Due, search};
pub use victim::Rule;

use super::time::Instant;
use enq_protocol::vocabulary::{EdgeWhy, Flags, LockId, LockMode, LockspaceId, Owner, Seq, SessionId, Stamp};

/// Who waits, and is waited for: an owner of a session. Owner 0 of two sessions is two parties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Party {
    /// The session.
    pub session: SessionId,
    /// The owner within it.
    pub owner: Owner,
}

/// A lock of a resource that has a queue, as it was when it was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Which lock.
    pub lock: LockId,
    /// Whose; none for an orphan, which waits for nobody and releases nothing.
    pub party: Option<Party>,
    /// Is it sealed? Then it still blocks, but it is about to go: it waits for nobody, and nobody for it in vain.
    pub is_ending: bool,
    /// Where.
    pub lockspace: LockspaceId,
    /// The mode it holds.
    pub held: Option<LockMode>,
    /// The mode it waits for.
    pub wanted: Option<LockMode>,
    /// Its entry into its queue.
    pub stamp: Stamp,
    /// Its last grant.
    pub seq: Seq,
    /// When it entered its queue.
    pub since: Instant,
    /// Its deadlock priority.
    pub priority: u8,
    /// Those of NODLCKWT (it does not count as waiting), NODLCKBLK (nor as blocking) and NOORDER that it has.
    pub flags: Flags,
}

/// One wait of a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The request that waits.
    pub waiting: Seat,
    /// The lock it waits for.
    pub blocker: Seat,
    /// Why.
    pub why: EdgeWhy,
}

/// Parties that wait for each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// The waits. In a ring, and nearly all are rings, the blocker of each is of the party that waits next.
    pub waits: Vec<Wait>,
    /// Is it a ring? Otherwise it goes through a request with NODLCKWT, and all its waits together make the deadlock.
    pub is_ring: bool,
    /// Which of them is refused; none if all of them are spared.
    pub victim: Option<usize>,
}
