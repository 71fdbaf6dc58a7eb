//! The numbered answers of a session stream: one to each request, in request order.

use crate::vocabulary::{Grant, Handle, LockId, PathLevel, Place, Status};
use alloc::vec::Vec;

use super::SpaceReply;

/// An answer. `place` says where in the order of its shard it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The lock is granted; no completion follows.
    Granted(Grant),
    /// The path is granted; the grant is the leaf's, the levels are root first and end with the leaf.
    PathGranted {
        /// The leaf.
        leaf: Grant,
        /// All levels.
        levels: Vec<PathLevel>,
    },
    /// The request waits; its completion is an event.
    Queued {
        /// The lock.
        handle: Handle,
        /// Its id.
        lock: LockId,
    },
    /// The call did what it says: [`Status::Done`], [`Status::Released`] or [`Status::CancelGrant`].
    Done {
        /// Which.
        status: Status,
    },
    /// The call did nothing.
    Refused {
        /// Why.
        status: Status,
        /// For NOTQUEUED, the lock that is in the way.
        blocker: Option<LockId>,
        /// For NOTQUEUED, how many requests wait for the resource; for RECOVERING, the milliseconds left.
        detail: u32,
    },
    /// Orphans are gone.
    Purged {
        /// How many.
        released: u64,
    },
    /// The answer to a lockspace request.
    Space(SpaceReply),
}

/// Where an answer stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The number of the request that is answered.
    pub request: u64,
    /// The step that produced it.
    pub place: Place,
    /// The answer.
    pub reply: Reply,
}
