//! The arguments of the verbs that are made for scripts.

use std::ffi::OsString;

use clap::Args;

use super::Output;

/// `enq check-token`.
#[derive(Args, Clone, Debug)]
pub struct CheckToken {
    /// The resource
    pub name: OsString,
    /// The seq of the grant, as the grant was answered with; `enq run` leaves it in $ENQ_SEQ
    #[arg(long, value_name = "N")]
    pub seq: u64,
    /// The name is a path: a/b/c is c below b below a
    #[arg(long)]
    pub path: bool,
    /// How it is printed.
    #[command(flatten)]
    pub output: Output,
}
