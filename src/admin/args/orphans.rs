//! The arguments of `enq orphans`.

use std::ffi::OsString;

use clap::{Args, Subcommand};

use super::Output;

pub(super) const ABOUT: &str = "\
An orphan is a lock that was asked for as persistent and whose session has ended: it goes on blocking until somebody who \
knows the orphan key of that session adopts or purges it, or until `enq force-release`. The orphan key is shown to nobody.";

/// `enq orphans`.
#[derive(Args, Clone, Debug)]
pub struct Orphans {
    /// What to do with orphans.
    #[command(subcommand)]
    pub verb: OrphansVerb,
}

/// What to do with orphans.
#[derive(Clone, Debug, Subcommand)]
pub enum OrphansVerb {
    /// List the orphans
    Ls {
        /// Only resources whose root name starts with this
        prefix: Option<OsString>,
        /// How it is printed
        #[command(flatten)]
        output: Output,
    },
    /// Release the orphans that were left under this orphan key
    #[command(long_about = "\
Releases the orphans that were left under this orphan key, and prints how many there were. What one of them held in PW \
or EX leaves its value block not valid. Whoever waits for them is granted what was waited for, so be sure that what the \
locks guarded is as it should be.")]
    Purge {
        /// Only those in the tree of this root resource [default: all of the lockspace]
        name: Option<OsString>,
        /// The orphan key of the session that has ended; from the environment nobody sees it in a list of processes
        #[arg(long, value_name = "KEY", env = "ENQ_ORPHAN_KEY", hide_env_values = true)]
        key: OsString,
        /// How it is printed
        #[command(flatten)]
        output: Output,
    },
}
