//! The arguments of `enq history`.

use std::{ffi::OsString, time::Duration};

use clap::Args;

use super::Output;
use crate::admin::duration;

pub(super) const ABOUT: &str = "\
Shows what happened to a resource, or to the locks of a session: who asked, waited, was granted, converted, was refused, let go \
or died, and when, the newest first. The session may have ended, and the resource may be gone.

The server keeps this in memory, in a recorder of bounded size: the oldest entries are overwritten by new ones, and nothing of it \
survives the server. The last line says from when on nothing is missing.";

/// `enq history`.
#[derive(Args, Clone, Debug)]
pub struct History {
    /// A resource, byte for byte; or a session by its id, such as 3.17
    #[arg(value_name = "NAME|SESSION")]
    pub of: OsString,
    /// It is the name of a resource, although it looks like the id of a session
    #[arg(long)]
    pub name: bool,
    /// It is the path of a resource: a/b/c is c below b below a
    #[arg(long)]
    pub path: bool,
    /// Only what happened in this time
    #[arg(long, value_name = "DUR", value_parser = duration::parse)]
    pub since: Option<Duration>,
    /// At most so many entries
    #[arg(long, value_name = "N", default_value = "1000")]
    pub limit: usize,
    /// How it is printed
    #[command(flatten)]
    pub output: Output,
}
