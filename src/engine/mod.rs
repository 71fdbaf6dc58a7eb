//! The lock rules: one shard as a function of its inputs.
//!
//! [`Shard::step`] takes a moment, one [`Input`] and a list to which it adds its [`Output`]s. It is total: every input
//! has an answer, a bad one is refused. Same inputs, same outputs, on every machine.
//!
//! Read in this order: `time limits input output` (what goes in and out), `slab lock resource tree shard` (the data),
//! `compat grant enq convert deq cancel value_block blocking fence path undo end orphan` (the rules of `docs/locking.md`,
//! cited by number), `deadline`, `deadlock` (the search: what is copied, found, confirmed), `session` (the register of one session: numbers, handles, retained answers), `show`,
//! `what_if` and `invariant` (looking, never changing), `image` (all of it as bytes, and back), `queued` and `history` (long waits, and what happened, for who looks later), `memory` (what all that takes).
//!
//! Nothing in this room reads a clock, knows a socket, spawns a thread, writes a log line or draws a random number.

mod blocking;
mod cancel;
mod compat;
mod convert;
mod deadline;
pub mod deadlock;
mod delay;
mod deq;
mod end;
mod enq;
mod fence;
mod grant;
mod history;
pub mod image;
mod input;
mod invariant;
mod limits;
mod lock;
mod memory;
mod orphan;
mod output;
mod path;
mod planted;
mod queued;
mod recovery;
mod resource;
pub mod session;
mod shard;
mod show;
mod slab;
mod time;
mod tree;
mod undo;
mod value_block;
pub mod what_if;

pub use history::{HISTORY_ENTRY_LEN, Recorded};
pub use image::Local;
pub use input::{Ask, End, Input, LockRef, Under};
pub use limits::{DEPTH_MAX, LISTED_A_STEP, LOOKED_AT_A_STEP, Limits, REMOVALS_A_STEP, SHOWN_MAX};
pub use output::{Output, Said};
pub use planted::{Mistake, Planted};
pub use queued::{Queued, WaitEnd, Walk};
pub use shard::Shard;
pub use time::Instant;
