//! The numbered requests of a session stream: locks and lockspaces.
//!
//! A request borrows the bytes it was cut from, so that reading one allocates nothing.

use crate::vocabulary::{Flags, Handle, LockMode, LockspaceId, Owner};
use alloc::vec::Vec;

use super::Space;

/// ENQ: ask for a new lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enq<'a> {
    /// The client's number for the lock.
    pub handle: Handle,
    /// The lockspace; ignored for a sublock, which lives in its parent's.
    pub lockspace: LockspaceId,
    /// The parent lock, for a sublock.
    pub parent: Option<Handle>,
    /// The resource's name under its parent: 1 to 255 bytes.
    pub name: &'a [u8],
    /// The mode asked for.
    pub mode: LockMode,
    /// [`Flags::OF_ENQ`].
    pub flags: Flags,
    /// The node of the waits-for graph.
    pub owner: Owner,
    /// How long it may wait; none for ever.
    pub timeout_ms: Option<u32>,
    /// Deadlock priority; the lowest on a cycle is refused. 0 unless asked otherwise.
    pub priority: u8,
    /// Why, for those who look: the REASON extension.
    pub reason: &'a [u8],
}

/// ENQ PATH: ask for a leaf and the intents on its ancestors, in one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnqPath<'a> {
    /// One handle a level, root first; those of levels that reuse a lock stay free.
    pub handles: Vec<Handle>,
    /// The lockspace.
    pub lockspace: LockspaceId,
    /// The path, root first: as many components as handles.
    pub path: Vec<&'a [u8]>,
    /// The mode asked for on the leaf.
    pub mode: LockMode,
    /// [`Flags::OF_ENQ`].
    pub flags: Flags,
    /// The node of the waits-for graph.
    pub owner: Owner,
    /// How long the whole request may wait; none for ever.
    pub timeout_ms: Option<u32>,
    /// Deadlock priority.
    pub priority: u8,
    /// Why: the REASON extension.
    pub reason: &'a [u8],
}

/// CONVERT: change the mode of a granted lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convert<'a> {
    /// The lock.
    pub handle: Handle,
    /// The mode asked for.
    pub mode: LockMode,
    /// [`Flags::OF_CONVERT`].
    pub flags: Flags,
    /// How long it may wait; none for ever.
    pub timeout_ms: Option<u32>,
    /// Deadlock priority.
    pub priority: u8,
    /// The block to store, if the grant stores one; only with VALBLK.
    pub value: Option<&'a [u8]>,
}

/// DEQ: release a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deq<'a> {
    /// The lock.
    pub handle: Handle,
    /// [`Flags::OF_DEQ`].
    pub flags: Flags,
    /// The block to store; only with VALBLK.
    pub value: Option<&'a [u8]>,
}

/// DEQ ALL: release all locks of the session, or all sublocks of one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeqAll {
    /// Only the sublocks of this lock, which itself stays.
    pub under: Option<Handle>,
    /// [`Flags::OF_DEQ_ALL`].
    pub flags: Flags,
}

/// CANCEL: withdraw what waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancel {
    /// The lock that waits or converts.
    pub handle: Handle,
    /// [`Flags::OF_CANCEL`]: none is legal.
    pub flags: Flags,
}

/// ADOPT: take over an orphan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adopt<'a> {
    /// The client's number for the lock.
    pub handle: Handle,
    /// The lockspace; ignored for a sublock, which lives in its parent's.
    pub lockspace: LockspaceId,
    /// The parent lock, for a sublock: an orphan that this session has adopted before.
    pub parent: Option<Handle>,
    /// The resource's name under its parent: 1 to 255 bytes.
    pub name: &'a [u8],
    /// The mode that the orphan holds.
    pub mode: LockMode,
    /// [`Flags::OF_ADOPT`].
    pub flags: Flags,
    /// The node of the waits-for graph.
    pub owner: Owner,
    /// Deadlock priority.
    pub priority: u8,
    /// The orphan key of the session that had it; an empty one finds nothing.
    pub orphan_key: &'a [u8],
    /// Why, for those who look: the REASON extension.
    pub reason: &'a [u8],
}

/// PURGE: release orphans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purge<'a> {
    /// The lockspace they are in.
    pub lockspace: LockspaceId,
    /// Only in the tree of this root.
    pub root: Option<&'a [u8]>,
    /// Their orphan key; an empty one finds nothing.
    pub orphan_key: &'a [u8],
}

/// A numbered request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Ask for a new lock.
    Enq(Enq<'a>),
    /// Ask for a leaf and the intents above it.
    EnqPath(EnqPath<'a>),
    /// Change a mode.
    Convert(Convert<'a>),
    /// Release one lock.
    Deq(Deq<'a>),
    /// Release a subtree or everything.
    DeqAll(DeqAll),
    /// Withdraw what waits.
    Cancel(Cancel),
    /// Take over an orphan.
    Adopt(Adopt<'a>),
    /// Release orphans.
    Purge(Purge<'a>),
    /// Create, change or remove a lockspace.
    Space(Space),
    /// End the session cleanly, releasing everything. The last request of a session.
    Close,
    /// A well-framed request whose fields are wrong: it takes its number and is refused with this status.
    Refused(crate::vocabulary::Status),
}
