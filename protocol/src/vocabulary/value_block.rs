//! The lock value block: a few bytes that travel with a resource (rules V1-V5 of `docs/locking.md`).
//!
//! A block is stored with its own length, counted by a sequence number, and either valid or *not valid*: the holder
//! that should have written it died. A block that is not valid is shown all the same, with that word.

use alloc::boxed::Box;

/// The longest block a lockspace may ask for, in bytes.
pub const VALUE_LEN_MAX: usize = 1024;

/// The longest block of a lockspace that asks for nothing. VMS had 16, then 64.
pub const VALUE_LEN_DEFAULT: u16 = 64;

/// A value block as somebody who was granted a lock reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueBlock {
    /// The bytes last stored, 0 to the lockspace's length; a fresh resource has none.
    pub bytes: Box<[u8]>,
    /// How many times the block was stored since its resource came into being.
    pub seq: u64,
    /// False if a holder in PW or EX ended without storing, or said so.
    pub valid: bool,
}

impl Default for ValueBlock {
    fn default() -> ValueBlock {
        ValueBlock { bytes: Box::default(), seq: 0, valid: true }
    }
}
