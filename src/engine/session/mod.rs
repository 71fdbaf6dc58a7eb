//! The register of one session: its numbers, its handles, its quotas, and all that it is still to be told.
//!
//! It has two halves, because two sorts of people touch it. The [`Register`] is the in-half: whoever executes the
//! session's requests has it to himself. The [`Outgoing`] is the out-half: everybody whose step says something to the
//! session appends there. Each output goes through the out-half once, in the order of its making; the in-half takes it
//! over for sending and keeps it, if it is numbered, until it is acknowledged.
//!
//! Plain data and pure functions: no mutex, no clock, no bytes. What must be held while a half is touched is the
//! business of `src/table`.

mod handles;
mod outgoing;
mod register;

pub use outgoing::{Entry, Outgoing, Told};
pub use register::{Bounds, Ended, Numbered, Register, Started};

use super::Input;
use enq_protocol::vocabulary::{Flags, LockspaceId, Policy, ResourceName, Status};

/// One numbered request of a session, in the words of the engine. Locks are named by handle; the register knows which
/// locks are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call<'a> {
    /// For one shard: a new lock, a path, a conversion, a release, a release of sublocks, a cancel, an adoption.
    Lock(Input<'a>),
    /// Release every lock of the session.
    ReleaseAll {
        /// The flags, legal or not.
        flags: Flags,
    },
    /// Release orphans.
    Purge {
        /// The lockspace they are in.
        lockspace: LockspaceId,
        /// Only in the tree of this root.
        root: Option<ResourceName>,
        /// Their orphan key.
        orphan_key: &'a [u8],
    },
    /// Make a lockspace.
    CreateSpace {
        /// Its name.
        name: ResourceName,
        /// Its policy.
        policy: Policy,
        /// Refuse if it exists, whatever its policy.
        exclusive: bool,
    },
    /// Change the policy of a lockspace.
    SetSpace {
        /// Which.
        lockspace: LockspaceId,
        /// The version the caller saw.
        version: u64,
        /// The new policy.
        policy: Policy,
    },
    /// Remove a lockspace.
    RemoveSpace {
        /// Which.
        lockspace: LockspaceId,
        /// Release what is in it.
        force: bool,
    },
    /// End the session in order.
    Close,
    /// What was wrong before it came here: it takes its number and has this answer.
    Refused(Status),
}
