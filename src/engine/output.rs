//! All a shard can say. One step leaves any number of these, in the order in which they are to be told.

use enq_protocol::vocabulary::{
    Grant, Handle, LockId, LockMode, PathLevel, Seq, SessionId, Status,
};

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
    /// Answer: DONE, RELEASED or CANCELGRANT.
    Done(Status),
    /// Answer: no.
    Refused {
        /// Why.
        status: Status,
        /// For NOTQUEUED, who is in the way.
        blocker: Option<LockId>,
        /// For NOTQUEUED, how many wait or convert there.
        waiting: u32,
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
    /// Event: the lock at this handle is gone without a request having ended: a release of all, an undone path.
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
