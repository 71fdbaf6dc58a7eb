//! All a shard can be told. One input, one step.
//!
//! Names and values are borrowed from whoever brings them: an input that finds its resource allocates nothing.

use enq_protocol::vocabulary::{
    Flags, Handle, LockId, LockMode, LockspaceId, Owner, Policy, ResourceName, SessionId, Stamp,
};

/// Which lock is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockRef {
    /// By id: the session register knew it.
    Id(LockId),
    /// By handle: a path request made it, and perhaps not yet.
    Handle(Handle),
}

/// What a request for a new lock says, of a root, a sublock or a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask<'a> {
    /// Who asks.
    pub session: SessionId,
    /// The mode asked for.
    pub mode: LockMode,
    /// The flags, legal or not.
    pub flags: Flags,
    /// The node of the waits-for graph.
    pub owner: Owner,
    /// How long it may wait; none for ever.
    pub timeout_ms: Option<u32>,
    /// Deadlock priority.
    pub priority: u8,
    /// Why, for those who look.
    pub reason: &'a [u8],
}

/// Where a new lock's resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Under {
    /// A root of this lockspace.
    Lockspace(LockspaceId),
    /// A subresource of this lock's resource.
    Parent(LockRef),
}

/// One input of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// Ask for a new lock.
    Enq {
        /// What is asked.
        ask: Ask<'a>,
        /// The session's number for the lock.
        handle: Handle,
        /// Root or sublock.
        under: Under,
        /// The resource's name there.
        name: &'a ResourceName,
    },
    /// Ask for a leaf and its intents (rule P1).
    EnqPath {
        /// What is asked of the leaf.
        ask: Ask<'a>,
        /// One handle a level, root first.
        handles: &'a [Handle],
        /// The lockspace.
        lockspace: LockspaceId,
        /// One name a level, root first.
        path: &'a [ResourceName],
    },
    /// Change a mode.
    Convert {
        /// Who asks.
        session: SessionId,
        /// Which lock.
        lock: LockRef,
        /// The mode asked for.
        mode: LockMode,
        /// The flags, legal or not.
        flags: Flags,
        /// How long it may wait; none for ever.
        timeout_ms: Option<u32>,
        /// Deadlock priority.
        priority: u8,
        /// The block to store.
        value: Option<&'a [u8]>,
    },
    /// Release a lock.
    Deq {
        /// Who asks.
        session: SessionId,
        /// Which lock.
        lock: LockRef,
        /// The flags, legal or not.
        flags: Flags,
        /// The block to store.
        value: Option<&'a [u8]>,
    },
    /// Withdraw what waits.
    Cancel {
        /// Who asks.
        session: SessionId,
        /// Which lock.
        lock: LockRef,
        /// The flags, legal or not.
        flags: Flags,
    },
    /// Begin an end of all locks of a session in this shard (rule E1). Answers nothing.
    SealSession {
        /// Whose.
        session: SessionId,
        /// Why.
        end: End,
        /// Under which its orphans can be adopted (rule O1); empty if they cannot.
        orphan_key: &'a [u8],
    },
    /// Begin an end of all sublocks of a lock (rule T6). Answers only if it refuses: the caller says RELEASED when
    /// `Continue` is through, and until then the session asks for nothing else.
    SealSublocks {
        /// Who asks.
        session: SessionId,
        /// Whose sublocks.
        lock: LockRef,
        /// The flags, legal or not.
        flags: Flags,
        /// The orphan key of the session (rule O1).
        orphan_key: &'a [u8],
    },
    /// Take over an orphan (rules O2, O3).
    Adopt {
        /// What is asked; there is nothing to wait for, so its timeout means nothing.
        ask: Ask<'a>,
        /// The session's number for the lock.
        handle: Handle,
        /// Root or sublock.
        under: Under,
        /// The resource's name there.
        name: &'a ResourceName,
        /// The orphan key of the session that had it.
        orphan_key: &'a [u8],
    },
    /// Release orphans, at most [`super::REMOVALS_A_STEP`] of them (rule O4).
    Purge {
        /// The lockspace they are in.
        lockspace: LockspaceId,
        /// Only in the tree of this root.
        root: Option<&'a ResourceName>,
        /// Their orphan key.
        orphan_key: &'a [u8],
        /// Where the step before ended; none for the first.
        from: Option<LockId>,
    },
    /// Go on with the oldest end.
    Continue,
    /// Time has passed: fire deadlines (rule U7).
    Tick,
    /// A lockspace exists, with this policy.
    SetPolicy {
        /// Which.
        lockspace: LockspaceId,
        /// Its policy; none removes the lockspace, which must be empty here.
        policy: Option<&'a Policy>,
    },
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
    /// An administrator ends a request that waits or converts: it ends FORCED, with the effect of a cancel.
    EndRequest {
        /// The lock that waits or converts.
        lock: LockId,
    },
    /// D5: a request ends to break a deadlock, if it is still the one that was found: void otherwise.
    RefuseDeadlock {
        /// The lock that waits or converts.
        lock: LockId,
        /// Its entry into its queue.
        stamp: Stamp,
        /// The number of the record that tells the cycle.
        record: u64,
    },
    /// An administrator sets a deadlock priority.
    SetPriority {
        /// Which.
        lock: LockId,
        /// The new priority.
        priority: u8,
    },
    /// A new epoch for the seqs to come; lower ones are ignored.
    RaiseEpoch {
        /// The epoch.
        epoch: u32,
    },
}

/// Why all locks of a session end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It released everything and goes on; persistent locks go too.
    ReleasedAll {
        /// IVVALBLK.
        invalidate: bool,
    },
    /// It was closed in order.
    Closed,
    /// Its lease ran out, its connection broke, or an administrator ended it.
    Died,
}
