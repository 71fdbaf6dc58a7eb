//! Sessions, lockspaces and administration.

use crate::vocabulary::{LockId, LockspaceId, LockspaceView, Policy, ResourceName, SessionId};
use alloc::{boxed::Box, string::String};

/// The longest orphan key, in bytes.
pub const ORPHAN_KEY_LEN_MAX: usize = 64;

/// OPEN: begin a session on this connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// What the session calls itself.
    pub name: String,
    /// What it is for.
    pub purpose: String,
    /// The node it runs on.
    pub node: String,
    /// The node's number in the client's own cluster, 0 if none.
    pub node_id: u32,
    /// The host.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// When the process started, in seconds of its host's clock since 1970; with pid it names a process for ever.
    pub process_start: u64,
    /// The lease asked for.
    pub ttl_ms: u32,
    /// Under which its persistent locks can be adopted later, at most [`ORPHAN_KEY_LEN_MAX`] bytes; empty for never.
    pub orphan_key: Box<[u8]>,
    /// The log it belongs to: 0 volatile.
    pub log: u8,
    /// The session ends with its connection.
    pub bind_connection: bool,
}

/// OPENED: the session that began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its id.
    pub session: SessionId,
    /// What opens it again; never shown to anybody else.
    pub secret: [u8; 16],
    /// The lease given.
    pub ttl_ms: u32,
}

/// RESUME: go on with a session on this connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// Which.
    pub session: SessionId,
    /// What opens it.
    pub secret: [u8; 16],
    /// The last number of the server's stream that the client has received; 0 for none. All after it is sent again.
    pub received: u64,
}

/// RESUMED: the session goes on here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// The last request that was executed: the next one to execute is the one after it.
    pub executed: u64,
    /// The lease, which runs anew.
    pub ttl_ms: u32,
}

/// What is asked of lockspaces. Create, set and remove are numbered requests, the others are looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Space {
    /// Make one. Idempotent if it exists with this policy, unless `exclusive`.
    Create {
        /// Its name.
        name: ResourceName,
        /// Its policy.
        policy: Policy,
        /// NEW_EXCLUSIVE: refuse SPACEEXISTS if it exists.
        exclusive: bool,
    },
    /// Change its policy.
    Set {
        /// Which.
        lockspace: LockspaceId,
        /// The version the caller saw; otherwise CHANGED.
        version: u64,
        /// The new policy.
        policy: Policy,
    },
    /// Remove it. Refused SPACEINUSE while it has locks, unless `force`, which releases them.
    Remove {
        /// Which.
        lockspace: LockspaceId,
        /// Release what is in it.
        force: bool,
    },
}

/// The answer to a lockspace request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceReply {
    /// The lockspace as it is now, or as it was last.
    pub space: LockspaceView,
    /// Did the request change anything?
    pub changed: bool,
}

/// What an administrator does to others' locks. By lock id *and* version, so that a stale look harms nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Administer {
    /// End a session as if its lease had run out.
    ExpireSession {
        /// Which.
        session: SessionId,
        /// Why, for the log.
        reason: String,
    },
    /// Take a granted lock away from its holder, who is told. Its value block becomes not valid after PW or EX.
    ForceRelease {
        /// Which.
        lock: LockId,
        /// The seq of its last grant.
        version: u64,
        /// Why, for the log and the holder.
        reason: String,
    },
    /// Set the deadlock priority of a lock.
    SetPriority {
        /// Which.
        lock: LockId,
        /// The new priority.
        priority: u8,
    },
    /// Search for deadlocks now, and refuse one request of each.
    Scan,
}
