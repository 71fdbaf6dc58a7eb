//! The arguments of `enq deadlocks`.

use clap::{Args, Subcommand};

use super::Output;

pub(super) const ABOUT: &str = "\
A deadlock is a ring of requests of which each waits for a lock that belongs to the next one, so that none is ever granted. \
The server looks for deadlocks when a request has waited for a while, and refuses one request of each: its program is told \
DEADLOCK and the number of a record, and enq exits with 79. The server keeps the last 256 records until it ends.";

/// `enq deadlocks`.
#[derive(Args, Clone, Debug)]
pub struct Deadlocks {
    /// What to do with deadlocks.
    #[command(subcommand)]
    pub verb: DeadlocksVerb,
}

/// What to do with deadlocks.
#[derive(Clone, Debug, Subcommand)]
pub enum DeadlocksVerb {
    /// List the deadlocks that were found, the latest first
    Ls(Output),
    /// Show one deadlock: who held what, who waited for whom, and who was refused
    Show {
        /// The number of its record
        number: u64,
        /// How it is printed
        #[command(flatten)]
        output: Output,
    },
    /// Search for deadlocks now, although nobody has waited long, and refuse one request of each
    Scan(Output),
}
