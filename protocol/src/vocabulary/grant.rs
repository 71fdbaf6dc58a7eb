//! What a grant brings: the mode, its two numbers, and what became of the value block.

use super::{Fence, Handle, LockId, LockMode, Seq, ValueBlock};
use alloc::boxed::Box;

/// What a grant brings, at once or later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The lock.
    pub handle: Handle,
    /// Its id, for views and administrators.
    pub lock: LockId,
    /// The mode that was granted; not always the one asked for.
    pub mode: LockMode,
    /// The number of this grant.
    pub seq: Seq,
    /// The fence of this grant.
    pub fence: Fence,
    /// Granted at once, and SYNCSTS asked to be told.
    pub synchronous: bool,
    /// ALTPR or ALTCW: the mode is the alternate one.
    pub alternate: bool,
    /// CONVDEADLK: the granted mode was dropped to NL on the way.
    pub demoted: bool,
    /// VALBLK stored the caller's block.
    pub stored: bool,
    /// VALBLK read the resource's block.
    pub value: Option<Box<ValueBlock>>,
}

/// One level of a granted path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathLevel {
    /// The handle of the lock at this level: the request's own, or that of a lock it reuses.
    pub handle: Handle,
    /// The lock's id.
    pub lock: LockId,
    /// The mode it holds.
    pub mode: LockMode,
    /// Did this request make it?
    pub made: bool,
}
