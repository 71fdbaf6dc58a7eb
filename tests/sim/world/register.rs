//! A resource that checks tokens: what the application protects, behind both gates of the library, and once more
//! without any, to see that the gates are what keeps it whole.
//!
//! Operations come when their messages come, long after their sender looked at its clock, or after it died.

use enq::client::{FenceGate, SeqGate};
use enq_protocol::vocabulary::{Fence, LockMode, Seq};

/// The numbers that an operation brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) mode: LockMode,
    pub(crate) seq: Seq,
    pub(crate) fence: Fence,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// The first act after a grant: it raises the gates, and reads.
    Enter,
    /// Writes one more than was read.
    Write { read: u64, read_unguarded: u64 },
}

/// Which gates let an operation through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) scalar: bool,
    pub(crate) per_mode: bool,
}

/// The resource.
#[derive(Clone, Debug, Default)]
pub(crate) struct Register {
    scalar: FenceGate,
    per_mode: SeqGate,
    /// The counter behind the gates, and how many writes were accepted.
    pub(crate) counter: u64,
    pub(crate) accepted: u64,
    /// The counter without gates, and how many writes there were.
    pub(crate) unguarded: u64,
    pub(crate) unguarded_writes: u64,
}

impl Register {
    /// Whom the gates let through; a counter needs both.
    pub(crate) fn meet(&mut self, token: Token, deed: Deed) -> Passed {
        let passed = Passed {
            scalar: self.scalar.pass(token.fence).is_ok(),
            per_mode: self.per_mode.pass(token.mode, token.seq).is_ok(),
        };
        if let Deed::Write { read, read_unguarded } = deed {
            self.unguarded = read_unguarded + 1;
            self.unguarded_writes += 1;
            if passed.scalar && passed.per_mode {
                self.counter = read + 1;
                self.accepted += 1;
            }
        }
        passed
    }
}
