//! The exit codes of `enq`, and the one shape in which it says what went wrong: a code, a cause, a hint.
//!
//! Statuses of the server bring their exit code along in the status table; the numbers here are for what the server
//! has no part in. They follow sysexits(3).

use std::{fmt, io::Write as _};

use enq_protocol::vocabulary::Status;

/// Everything went as asked.
pub const DONE: u8 = 0;
/// Bad arguments.
pub const USAGE: u8 = 64;
/// A journal or a backup is damaged, or is none.
pub const DAMAGED: u8 = 65;
/// No server reachable.
pub const UNREACHABLE: u8 = 69;
/// The server refused it, or this machine would not do what is needed.
pub const SOFTWARE: u8 = 70;
/// A file cannot be read or written.
pub const DISK: u8 = 74;
/// Not granted: conflict or timeout.
pub const CONFLICT: u8 = 75;
/// The lock was lost: while the command ran, which was stopped; or a grant that is asked about is not live.
pub const LOST: u8 = 76;
/// The command is there and cannot be executed.
pub const CANNOT_EXECUTE: u8 = 126;
/// The command was not found.
pub const NOT_FOUND: u8 = 127;
/// Added to the number of the signal that something died of.
pub const SIGNALLED: u8 = 128;

/// The exit code for an end by this signal.
#[must_use]
pub fn of_signal(signal: i32) -> u8 {
    u8::try_from(signal).map_or(u8::MAX, |signal| SIGNALLED.saturating_add(signal))
}

/// Why a verb did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// A word to look up: a status of the server, or one of our own.
    pub code: String,
    /// What happened, in one line.
    pub cause: String,
    /// More lines about the cause, each with its end; mostly none.
    pub details: String,
    /// What to do about it; empty if there is nothing to say.
    pub hint: String,
    /// The exit code.
    pub exit: u8,
}

impl Failure {
    /// A failure with everything but details.
    pub fn new(code: &str, cause: impl Into<String>, hint: impl Into<String>, exit: u8) -> Failure {
        Failure { code: code.into(), cause: cause.into(), details: String::new(), hint: hint.into(), exit }
    }

    /// Bad arguments that the definitions alone could not refuse.
    pub fn usage(cause: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure::new("USAGE", cause, hint, USAGE)
    }

    /// What this machine would not do.
    pub fn system(cause: impl Into<String>) -> Failure {
        Failure::new("SYSTEM", cause, "", SOFTWARE)
    }

    /// A server that cannot be reached, or does not answer.
    pub fn unreachable(cause: impl Into<String>) -> Failure {
        let hint = "is enqd running there? name servers with --server HOST:PORT or ENQ_SERVERS";
        Failure::new("UNREACHABLE", cause, hint, UNREACHABLE)
    }

    /// What the server refused.
    #[must_use]
    pub fn status(status: Status) -> Failure {
        let exit = status.row().map_or(SOFTWARE, |row| row.exit);
        Failure::new(&status.to_string(), status.sentence(), hint(status), exit)
    }

    /// The same failure with more to say about its cause.
    #[must_use]
    pub fn about(mut self, what: impl fmt::Display) -> Failure {
        self.cause = format!("{what}: {}", self.cause);
        self
    }

    /// Prints it from a thread of its own, for those who must not wait: a terminal that was halted, or a pipe that nobody
    /// reads, blocks whoever writes.
    pub fn print_aside(self) {
        say_aside(self.to_string());
    }

    /// Prints it on standard error.
    pub fn print(&self) {
        // Nobody can be told that standard error is closed.
        let _ = std::io::stderr().write_all(self.to_string().as_bytes());
    }
}

/// Says it on standard error, from a thread of its own.
pub fn say_aside(text: String) {
    // Without a thread it stays unsaid: nothing that matters may wait for a reader.
    let _ = std::thread::Builder::new().spawn(move || std::io::stderr().write_all(text.as_bytes()));
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "enq: {}: {}", self.code, self.cause)?;
        f.write_str(&self.details)?;
        if !self.hint.is_empty() {
            writeln!(f, "hint: {}", self.hint)?;
        }
        Ok(())
    }
}

/// What to do about a status, for those that a user can do something about.
fn hint(status: Status) -> &'static str {
    match status {
        Status::NotQueued => "wait for it with -w DUR, or without -n for as long as it takes",
        Status::Timeout => "see who holds it with enq show NAME, or wait longer with -w DUR",
        Status::Deadlock => {
            "try again: the locks that were in the way are free by then; several locks in one run are \
                             taken in one order"
        }
        Status::Denied => "see the policy with enq space show NAME; give a reason with --reason TEXT",
        Status::Recovering => "the server was started anew; try again when the leases of before have ended",
        Status::NoSuchSpace => "see the lockspaces with enq space ls, or make one with enq space create NAME",
        Status::NoSuchLock => "the lock has gone; see those that are there with enq ls",
        Status::NoSuchSession => "the session has ended; see those that are there with enq session ls",
        Status::Changed => "look again, and repeat it with what is there now",
        Status::SpaceInUse => "see its locks with enq ls --space NAME; --force releases them",
        Status::SpaceExists => "without --exclusive that is no error if the policy is the same",
        Status::Limit => "lease, wait and sizes have limits; see enqd(8)",
        Status::BadName => "a name has 1 to 255 bytes",
        _ => "",
    }
}
