//! All a shard can say. One step leaves any number of these, in the order in which they are to be told.

use enq_protocol::vocabulary::{Grant, Handle, LockId, LockMode, PathLevel, Seq, SessionId, Status};

/// Something for one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// For whom.
    pub session: SessionId,
    /// What.
    pub said: Said,
}

/// An answer to the input at hand, or an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Answer: granted at once.
    Granted(Grant),
    /// Answer: the path is granted at once; the levels root first, the leaf last.
    PathGranted {
        /// The leaf's grant.
        leaf: Grant,
        /// All levels.
        levels: Box<[PathLevel]>,
    },
    /// Answer: it waits. For a path, the leaf's handle and the id of the lock that waits.
    Queued {
        /// The lock.
        handle: Handle,
        /// Its id.
        lock: LockId,
    },
    /// Answer: DONE or CANCELGRANT.
    Done(Status),
    /// Answer: the lock is gone.
    Released {
        /// The lock.
        handle: Handle,
        /// Is the handle free by this? Otherwise an `Ended` before it, in the same step, said so.
        frees: bool,
    },
    /// Answer: no.
    Refused {
        /// Why.
        status: Status,
        /// For NOTQUEUED, who is in the way.
        blocker: Option<LockId>,
        /// For NOTQUEUED, how many wait or convert there; for RECOVERING, the milliseconds left.
        waiting: u32,
    },
    /// Answer: so many orphans are gone.
    Purged {
        /// How many.
        released: u64,
        /// Where to go on; none at the end.
        next: Option<LockId>,
    },
    /// Event: a queued request is granted.
    GrantedLater(Grant),
    /// Event: a queued path is granted.
    PathGrantedLater {
        /// The leaf's grant.
        leaf: Grant,
        /// All levels.
        levels: Box<[PathLevel]>,
    },
    /// Event: a queued request ended without a grant.
    Ended {
        /// The lock.
        handle: Handle,
        /// CANCELLED, ABORTED, TIMEOUT, DEADLOCK, FORCED.
        status: Status,
        /// What the lock still holds; none if it is gone.
        holds: Option<LockMode>,
        /// For DEADLOCK, the number of the record.
        record: u64,
    },
    /// For the session register only, never told to the client: this handle is free. A release of all, an undone or
    /// released path, a level of a path that reused a lock. Handles are freed by `Ended` without `holds`, `Released`
    /// with `frees`, `Revoked` and this, each exactly once; and by `Refused`, which answers a request that made none.
    Gone {
        /// The lock.
        handle: Handle,
    },
    /// Event: the held mode dropped to NL, the conversion goes on.
    Demoted {
        /// The lock.
        handle: Handle,
    },
    /// Event: an administrator took a granted lock away.
    Revoked {
        /// The lock.
        handle: Handle,
        /// Who.
        by: SessionId,
        /// Why.
        reason: Box<str>,
    },
    /// Event: somebody wants a mode that this lock blocks.
    Blocking {
        /// The lock.
        handle: Handle,
        /// The grant that blocks.
        seq: Seq,
        /// The mode wanted.
        mode: LockMode,
    },
}

impl Said {
    /// Is this the answer to the input at hand? A step has at most one.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        match self {
            Said::Granted(_)
            | Said::PathGranted { .. }
            | Said::Queued { .. }
            | Said::Done(_)
            | Said::Released { .. }
            | Said::Refused { .. }
            | Said::Purged { .. } => true,
            Said::GrantedLater(_)
            | Said::PathGrantedLater { .. }
            | Said::Ended { .. }
            | Said::Gone { .. }
            | Said::Demoted { .. }
            | Said::Revoked { .. }
            | Said::Blocking { .. } => false,
        }
    }

    /// The handle that is free by this. (A refusal frees what its request would have made, which it does not name.)
    #[must_use]
    pub fn frees(&self) -> Option<Handle> {
        match self {
            Said::Released { handle, frees: true }
            | Said::Ended { handle, holds: None, .. }
            | Said::Gone { handle }
            | Said::Revoked { handle, .. } => Some(*handle),
            Said::Granted(_)
            | Said::PathGranted { .. }
            | Said::Queued { .. }
            | Said::Done(_)
            | Said::Released { frees: false, .. }
            | Said::Refused { .. }
            | Said::Purged { .. }
            | Said::GrantedLater(_)
            | Said::PathGrantedLater { .. }
            | Said::Ended { holds: Some(_), .. }
            | Said::Demoted { .. }
            | Said::Blocking { .. } => None,
        }
    }
}
