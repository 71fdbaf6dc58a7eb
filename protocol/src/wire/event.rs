//! What the server says unasked: completions (numbered, kept until acknowledged) and blocking notices (neither).

use crate::vocabulary::{Grant, Handle, LockMode, PathLevel, Seq, SessionId, Status};
use alloc::{string::String, vec::Vec};

/// An event of a session stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request that was queued is granted. Numbered.
    Granted(Grant),
    /// A path that was queued is granted. Numbered.
    PathGranted {
        /// The leaf.
        leaf: Grant,
        /// All levels, root first, the leaf last.
        levels: Vec<PathLevel>,
    },
    /// A request that was queued ended without a grant: CANCELLED, ABORTED, TIMEOUT, DEADLOCK, FORCED. Numbered.
    Ended {
        /// The lock.
        handle: Handle,
        /// How.
        status: Status,
        /// What the lock holds now: its old mode after a conversion, none if the lock is gone.
        holds: Option<LockMode>,
        /// For DEADLOCK, the number of the record.
        record: u64,
    },
    /// CONVDEADLK: the lock's granted mode dropped to NL, its conversion goes on. Numbered.
    Demoted {
        /// The lock.
        handle: Handle,
    },
    /// A granted lock was taken away by others. Numbered.
    Revoked {
        /// The lock.
        handle: Handle,
        /// [`Status::Forced`].
        status: Status,
        /// The session of who did it.
        by: SessionId,
        /// Why, in their words.
        reason: String,
    },
    /// Somebody wants a mode that this lock blocks. Not numbered, not kept; `seq` names the grant it is about.
    Blocking {
        /// The lock.
        handle: Handle,
        /// The number of the grant that blocks.
        seq: Seq,
        /// The mode wanted.
        mode: LockMode,
    },
}
