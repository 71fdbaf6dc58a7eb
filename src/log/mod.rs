//! How an input becomes applied: the only thing that differs between deployments.
//!
//! *Volatile*: at once. (*Journal* and *cluster* make it durable or agreed upon first, then apply it; they are not
//! there yet.) Whatever changes the table goes through here; who only looks asks the table.

mod epoch;
pub mod journal;
mod survivors;
mod volatile;

pub use epoch::{Epoch, EpochError, Place};
pub use survivors::Survivors;
pub use volatile::Volatile;
