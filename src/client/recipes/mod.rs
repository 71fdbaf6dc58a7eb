//! Recipes: what programs build on locks, built once.
//!
//! Each is made of requests, conversions and value blocks that anybody could write down; none knows the wire. A recipe
//! is built on a [`LockRequest`](super::LockRequest), which names the resource and says in whose behalf and why.

mod election;
mod readwrite;
mod semaphore;

pub use election::{Election, Leader, Observer};
pub use readwrite::{ReadWrite, Reading, Writing};
pub use semaphore::{Permit, Semaphore};
