//! The arguments of `enq why`.

use std::{fmt, str::FromStr};

use clap::Args;
use enq_protocol::vocabulary::{LockId, SessionId};

use super::Output;

pub(super) const ABOUT: &str = "\
Follows the waits of a lock, or of all requests of a session, down to whoever waits for nobody, the root: who holds what in \
which mode since when, who is ahead in the queue, what these wait for themselves. Then it tells which locks would be \
granted, in which order, if the root ended; the server plays that on a copy, nothing is changed.";

/// What is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyOf {
    /// A lock.
    Lock(LockId),
    /// All requests of a session.
    Session(SessionId),
}

impl WhyOf {
    /// At the beginning of a sentence.
    pub(in crate::admin) fn in_words(self) -> String {
        match self {
            WhyOf::Lock(lock) => format!("Lock {lock}"),
            WhyOf::Session(session) => format!("Session {session}"),
        }
    }
}

impl FromStr for WhyOf {
    type Err = String;

    fn from_str(text: &str) -> Result<WhyOf, String> {
        let wrong = || {
            String::from(
                "a lock id is hexadecimal digits, such as #1f00000002; a session id two numbers, such as 3.17",
            )
        };
        if text.contains('.') {
            text.parse().map(WhyOf::Session).map_err(|_| wrong())
        } else {
            text.parse().map(WhyOf::Lock).map_err(|_| wrong())
        }
    }
}

impl fmt::Display for WhyOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WhyOf::Lock(lock) => write!(f, "lock {lock}"),
            WhyOf::Session(session) => write!(f, "session {session}"),
        }
    }
}

/// `enq why`.
#[derive(Args, Clone, Debug)]
pub struct Why {
    /// A lock or a session, by the id that `enq ls`, `enq show` and `enq session ls` print
    #[arg(value_name = "LOCK|SESSION")]
    pub of: WhyOf,
    /// How it is printed; name: only the roots
    #[command(flatten)]
    pub output: Output,
}
