//! The bytes of every message: the codec, the vectors and the document say the same, and what is broken is refused.
//!
//! `UPDATE=1` writes the vectors anew; the difference is read before it is committed.

#![expect(clippy::unwrap_used, reason = "a sample that cannot be made fails its test")]

mod broken;
mod corpus;
mod document;
#[expect(unreachable_pub, reason = "public for the targets, which are another crate")]
#[path = "../../../fuzz/src/wire.rs"]
mod fuzz;
mod layout;
mod refusals;
mod said;
mod samples;
mod vectors;
mod views;
