//! The arguments of the verbs that are made for scripts.

use std::{ffi::OsString, time::Duration};

use clap::{Args, ValueEnum};
use enq_protocol::vocabulary::{LockId, LockMode};
use nix::sys::signal::Signal;

use super::{Output, lock_id, mode, mode_of};
use crate::admin::duration;

pub(super) const LOCK_ABOUT: &str = "\
Takes a lock in the session that `enq session open` has opened for this shell, waits for it, and prints the lock's id \
and its fence. The lock is held until `enq deq ID`, or until the session ends. If enq is interrupted while it waits, \
the request is withdrawn.";

pub(super) const OPEN_ABOUT: &str = "\
Opens a session that is kept by a process in the background, and prints what a shell evaluates to use it: \
eval \"$(enq session open)\". The session ends with `enq session close`, or when the shell ends; all its locks are \
released then.";

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

/// `enq session open`.
#[derive(Args, Clone, Debug)]
pub struct Open {
    /// What the session calls itself, for those who look [default: the user's name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// What it is for, for those who look [default: which process it belongs to]
    #[arg(long, value_name = "TEXT")]
    pub purpose: Option<String>,
    /// The lease: how long the server keeps the locks when it hears nothing
    #[arg(long, value_name = "DUR", value_parser = duration::parse, default_value = "15s")]
    pub ttl: Duration,
    /// The process with which the session ends; 0 for none [default: the one that calls enq, which is the shell]
    #[arg(long, value_name = "PID")]
    pub parent: Option<u32>,
    /// Send that process this signal, such as TERM, once, when a lock is about to be lost or is lost
    #[arg(long, value_name = "SIGNAL", value_parser = signal)]
    pub on_lost: Option<i32>,
    /// How it is printed
    #[arg(short = 'o', long = "output", value_enum, value_name = "FORMAT", default_value = "shell")]
    pub format: OpenFormat,
}

/// How a session that was opened is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OpenFormat {
    /// What a shell evaluates: it sets and exports ENQ_SESSION.
    Shell,
    /// JSON with stable keys and a version.
    Json,
    /// The value of ENQ_SESSION alone.
    Name,
}

/// What is asked for: by `enq lock` and `enq try`.
#[derive(Args, Clone, Debug)]
pub struct Ask {
    /// The mode of the lock: NL, CR, CW, PR, PW or EX
    #[arg(short, long, value_name = "MODE", value_parser = mode, conflicts_with_all = ["shared", "exclusive"])]
    pub mode: Option<LockMode>,
    /// Share the lock with others that share it: mode PR
    #[arg(short, long, conflicts_with = "exclusive")]
    pub shared: bool,
    /// Hold the lock alone: mode EX; what happens if nothing is said
    #[arg(short = 'x', long)]
    pub exclusive: bool,
    /// Why the lock is taken, for those who look
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// The deadlock priority, 0 to 255: of a deadlock the lowest is refused, 255 never
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub deadlock_priority: u8,
    /// The name is a path: a/b/c is c below b below a (\/ for a slash in a name)
    #[arg(long)]
    pub path: bool,
    /// How the grant is printed
    #[arg(short = 'o', long = "output", value_enum, value_name = "FORMAT", default_value = "line")]
    pub format: GrantFormat,
    /// The resource to lock, byte for byte
    #[arg(value_name = "NAME")]
    pub name: OsString,
}

impl Ask {
    /// The mode that is asked for.
    #[must_use]
    pub fn mode(&self) -> LockMode {
        mode_of(self.mode, self.shared)
    }
}

/// How a grant is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GrantFormat {
    /// The lock's id and its fence.
    Line,
    /// The lock's id alone.
    Name,
    /// JSON with stable keys and a version; ids and tokens are strings.
    Json,
    /// What a shell evaluates: it sets ENQ_LOCK_ID, ENQ_FENCE and so on.
    Shell,
}

/// `enq lock`.
#[derive(Args, Clone, Debug)]
pub struct Lock {
    /// Do not wait: if the lock cannot be granted now, say who holds it and exit 75
    #[arg(short = 'n', long, conflicts_with = "wait")]
    pub no_wait: bool,
    /// Wait at most this long, then exit 75
    #[arg(short, long, value_name = "DUR", value_parser = duration::parse)]
    pub wait: Option<Duration>,
    /// What is asked for.
    #[command(flatten)]
    pub ask: Ask,
}

/// `enq convert`.
#[derive(Args, Clone, Debug)]
pub struct Convert {
    /// The lock's id, as `enq lock` printed it
    #[arg(value_parser = lock_id)]
    pub id: LockId,
    /// The mode it is to have
    #[arg(value_name = "MODE", value_parser = mode)]
    pub mode: LockMode,
    /// Do not wait: if it cannot be granted now, say who is in the way and exit 75
    #[arg(short = 'n', long, conflicts_with = "wait")]
    pub no_wait: bool,
    /// Wait at most this long, then exit 75
    #[arg(short, long, value_name = "DUR", value_parser = duration::parse)]
    pub wait: Option<Duration>,
    /// The deadlock priority, 0 to 255: of a deadlock the lowest is refused, 255 never
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub deadlock_priority: u8,
    /// Store this in the value block: for a conversion from EX, or from PW to another mode than EX
    #[arg(long, value_name = "TEXT")]
    pub value: Option<OsString>,
    /// How the grant is printed
    #[arg(short = 'o', long = "output", value_enum, value_name = "FORMAT", default_value = "line")]
    pub format: GrantFormat,
}

/// `enq deq`.
#[derive(Args, Clone, Debug)]
pub struct Deq {
    /// The lock's id, as `enq lock` printed it
    #[arg(value_parser = lock_id)]
    pub id: LockId,
    /// Store this in the value block; the lock must hold PW or EX
    #[arg(long, value_name = "TEXT", conflicts_with = "invalidate")]
    pub value: Option<OsString>,
    /// Mark the value block not valid, if the lock holds PW or EX
    #[arg(long)]
    pub invalidate: bool,
}

/// `enq cancel`.
#[derive(Args, Clone, Debug)]
pub struct Cancel {
    /// The lock's id, as `enq ls --waiting` prints it
    #[arg(value_parser = lock_id)]
    pub id: LockId,
}

fn signal(text: &str) -> Result<i32, String> {
    let name = text.to_uppercase();
    let name = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
    match name.parse::<Signal>() {
        Ok(signal) => Ok(signal as i32),
        Err(_) => Err(String::from("a signal is a name, such as TERM or USR1")),
    }
}
