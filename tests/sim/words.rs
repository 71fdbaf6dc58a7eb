//! What both sides are told and what both sides say, in one set of words.
//!
//! A [`Command`] names locks by session and handle, so that a recorded history can be replayed, printed and cut
//! shorter. An [`Event`] is what is compared: the model says events, and the engine's outputs are read as events.

use enq_protocol::vocabulary::{Flags, LockMode, Policy, Status};
use std::fmt;

/// Session, and its number for the lock.
pub(crate) type Name = (u64, u32);

/// A resource: its lockspace and its name, root first.
pub(crate) type Place = (u32, Vec<&'static str>);

/// How a command refers to a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Which {
    /// The lock was made with this session and handle; the last such lock is meant.
    pub(crate) name: Name,
    /// Refer to it by handle, which is for locks that a path request makes; otherwise by id.
    pub(crate) by_handle: bool,
}

/// What every request for a new lock says.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) session: u64,
    pub(crate) mode: LockMode,
    pub(crate) flags: Flags,
    pub(crate) owner: u64,
    pub(crate) timeout_ms: Option<u32>,
    pub(crate) priority: u8,
    pub(crate) reason: &'static str,
}

/// The orphan key of a session of these tests; some have none.
pub(crate) fn orphan_key(session: u64) -> &'static str {
    ["", "k1", "k2"][usize::try_from(session % 3).expect("below three")]
}

/// Where a new lock goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Under {
    Space(u32),
    Lock(Which),
}

/// Why a session's locks end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    ReleasedAll { invalidate: bool },
    Closed,
    Died,
}

/// One input.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    New {
        ask: Ask,
        handle: u32,
        under: Under,
        name: &'static str,
    },
    Path {
        ask: Ask,
        handles: Vec<u32>,
        space: u32,
        path: Vec<&'static str>,
    },
    Convert {
        session: u64,
        lock: Which,
        mode: LockMode,
        flags: Flags,
        timeout_ms: Option<u32>,
        priority: u8,
        value: Option<Vec<u8>>,
    },
    Release {
        session: u64,
        lock: Which,
        flags: Flags,
        value: Option<Vec<u8>>,
    },
    Cancel {
        session: u64,
        lock: Which,
        flags: Flags,
    },
    ReleaseSublocks {
        session: u64,
        lock: Which,
        flags: Flags,
    },
    EndSession {
        session: u64,
        end: End,
    },
    /// Take over an orphan.
    Adopt {
        ask: Ask,
        handle: u32,
        under: Under,
        name: &'static str,
        orphan_key: &'static str,
    },
    /// One step of a purge; `from` is where the step before ended, if it was one.
    Purge {
        space: u32,
        root: Option<&'static str>,
        orphan_key: &'static str,
        from: Option<Which>,
    },
    Continue,
    Tick,
    SetPolicy {
        space: u32,
        policy: Option<Policy>,
    },
    ForceRelease {
        lock: Which,
        stale: bool,
        by: u64,
    },
    EndRequest {
        lock: Which,
    },
    SetPriority {
        lock: Which,
        priority: u8,
    },
    RaiseEpoch {
        epoch: u32,
    },
}

/// A command and how long after the one before it comes.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) after_ms: u32,
    pub(crate) command: Command,
}

/// What a grant says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) handle: u32,
    pub(crate) lock: u64,
    pub(crate) mode: LockMode,
    pub(crate) seq: u64,
    pub(crate) fence: u64,
    pub(crate) synchronous: bool,
    pub(crate) alternate: bool,
    pub(crate) demoted: bool,
    pub(crate) stored: bool,
    pub(crate) value: Option<Block>,
}

/// A value block.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) bytes: Vec<u8>,
    pub(crate) seq: u64,
    pub(crate) valid: bool,
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.valid { "" } else { " not valid" };
        write!(f, "{:?}/{}{word}", String::from_utf8_lossy(&self.bytes), self.seq)
    }
}

/// One level of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) handle: u32,
    pub(crate) lock: u64,
    pub(crate) mode: LockMode,
    pub(crate) made: bool,
}

/// Something said to a session.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) to: u64,
    pub(crate) what: What,
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// At once or later; of a path with its levels.
    Granted {
        later: bool,
        grant: Grant,
        levels: Option<Vec<Level>>,
    },
    Queued {
        handle: u32,
        lock: u64,
    },
    Done(Status),
    Released {
        handle: u32,
        frees: bool,
    },
    Refused {
        status: Status,
        blocker: Option<u64>,
        waiting: u32,
    },
    Ended {
        handle: u32,
        status: Status,
        holds: Option<LockMode>,
        record: u64,
    },
    Demoted {
        handle: u32,
    },
    Revoked {
        handle: u32,
        by: u64,
        reason: String,
    },
    Blocking {
        handle: u32,
        seq: u64,
        mode: LockMode,
    },
    Gone {
        handle: u32,
    },
    /// So many orphans are gone; where the purge goes on.
    Purged {
        released: u64,
        next: Option<u64>,
    },
}

impl Event {
    /// The seqs and fences in it, in a fixed order.
    pub(crate) fn numbers(&mut self) -> Vec<&mut u64> {
        match &mut self.what {
            What::Granted { grant, .. } => vec![&mut grant.seq, &mut grant.fence],
            What::Blocking { seq, .. } => vec![seq],
            _ => Vec::new(),
        }
    }

    /// The handle that this makes free again, if any.
    pub(crate) fn frees(&self) -> Option<u32> {
        match self.what {
            What::Ended { handle, holds: None, .. }
            | What::Released { handle, frees: true }
            | What::Revoked { handle, .. }
            | What::Gone { handle } => Some(handle),
            _ => None,
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "to {}: {:?}", self.to, self.what)
    }
}

/// One lock as a look shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) lock: u64,
    pub(crate) session: Option<u64>,
    pub(crate) handle: u32,
    pub(crate) owner: u64,
    pub(crate) queue: &'static str,
    pub(crate) held: Option<LockMode>,
    pub(crate) wanted: Option<LockMode>,
    pub(crate) seq: u64,
    pub(crate) fence: u64,
    pub(crate) parent: Option<u64>,
    pub(crate) sublocks: u32,
    pub(crate) priority: u8,
    pub(crate) reason: Vec<u8>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) pause_ms: Option<u64>,
}

/// One resource as a look shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeenResource {
    pub(crate) value: Block,
    pub(crate) subresources: u32,
    pub(crate) locks: Vec<Seen>,
}
