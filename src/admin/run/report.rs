//! What the keeper tells the front: events, a line of JSON each; the lease's end, on a slate; the last line is also what
//! `--status-fd` gets.
//!
//! The slate is a few bytes of memory that both see. Events go through a pipe, which a front that was stopped for hours
//! does not empty; a pipe full of deadlines would stop the keeper, and old ones would alarm the front.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{fd::AsRawFd as _, unix::fs::FileExt as _},
};

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use crate::client::Moment;

/// What the keeper says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Report {
    /// The command runs, as this process, in a process group of the same number.
    Started(i32),
    /// The command was stopped by this signal.
    Stopped(i32),
    /// It is over.
    Ended(Box<Outcome>),
}

/// How it ended: the last word, and what exit codes alone cannot say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// The version of this format.
    pub(super) version: u32,
    /// What happened.
    #[serde(flatten)]
    pub(super) ending: Ending,
    /// The exit code of `enq run`.
    pub(super) exit: u8,
    /// The grant, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) lock: Option<Grant>,
    /// How long it waited for the locks.
    pub(super) waited_ms: u64,
    /// How long it held them.
    pub(super) held_ms: u64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(super) enum Ending {
    /// The command ran under the lock to its end.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// The command died of a signal that was not ours.
    Signalled {
        /// Its number.
        signal: i32,
    },
    /// The command was not found.
    NotFound {
        /// What the system said.
        error: String,
    },
    /// The command cannot be executed.
    CannotExecute {
        /// What the system said.
        error: String,
    },
    /// The lock was lost while the command ran, and the command was stopped.
    Lost {
        /// Why.
        cause: String,
    },
    /// The lock was not granted, or nobody could be asked.
    NotGranted {
        /// The code of the refusal.
        status: String,
    },
    /// A signal ended the wait for the lock.
    Interrupted {
        /// Its number.
        signal: i32,
    },
    /// This machine would not do what is needed.
    Failed {
        /// What it said.
        error: String,
    },
}

/// The grant, as JSON shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Grant {
    /// The name, in its printable form.
    pub(super) name: String,
    /// The mode.
    pub(super) mode: String,
    /// The lock's id.
    pub(super) id: String,
    /// The number of the grant.
    pub(super) seq: String,
    /// Its fence.
    pub(super) fence: String,
    /// The session.
    pub(super) session: String,
}

impl Outcome {
    /// The outcome of a run that never had its lock.
    pub(super) fn without_lock(ending: Ending, exit: u8) -> Outcome {
        Outcome { version: 1, ending, exit, lock: None, waited_ms: 0, held_ms: 0 }
    }
}

/// The keeper's end of the line.
pub(super) struct Reporter {
    pipe: File,
}

impl Reporter {
    /// Takes over the inherited descriptor with this number, so that the command does not inherit it.
    pub(super) fn take_over(descriptor: i32) -> io::Result<Reporter> {
        Ok(Reporter { pipe: take_over(descriptor)? })
    }

    /// Says it. A front that does not listen any more has gone, and that is noticed elsewhere.
    pub(super) fn say(&mut self, report: &Report) {
        if let Ok(mut line) = serde_json::to_vec(report) {
            line.push(b'\n');
            let _ = self.pipe.write_all(&line);
        }
    }
}

/// When the lease ends, where both can see it; nothing while there is no command to stop.
pub(super) struct Slate {
    memory: File,
}

impl Slate {
    /// A clean one, which processes started from here inherit.
    pub(super) fn new() -> io::Result<Slate> {
        Ok(Slate { memory: memfd_create(c"lease", MFdFlags::empty())?.into() })
    }

    /// The number by which a process started from here finds it.
    pub(super) fn descriptor(&self) -> i32 {
        self.memory.as_raw_fd()
    }

    /// Takes over the inherited slate with this number, so that the command does not inherit it.
    pub(super) fn take_over(descriptor: i32) -> io::Result<Slate> {
        let memory = OpenOptions::new().read(true).write(true).open(format!("/dev/fd/{descriptor}"))?;
        nix::unistd::close(descriptor)?;
        Ok(Slate { memory })
    }

    /// The lease ends then.
    pub(super) fn write(&self, deadline: Moment) {
        // Eight bytes of memory: there is always room for them.
        let _ = self.memory.write_all_at(&deadline.0.to_le_bytes(), 0);
    }

    /// There is nothing to stop any more.
    pub(super) fn clear(&self) {
        self.write(Moment(0));
    }

    /// When the lease ends.
    pub(super) fn read(&self) -> Option<Moment> {
        let mut bytes = [0; 8];
        self.memory.read_exact_at(&mut bytes, 0).ok()?;
        Some(u64::from_le_bytes(bytes)).filter(|moment| *moment != 0).map(Moment)
    }
}

/// Opens the inherited descriptor anew, for writing at its end, and closes the inherited one; 1 and 2 stay open.
pub(super) fn take_over(descriptor: i32) -> io::Result<File> {
    let file = OpenOptions::new().append(true).open(format!("/dev/fd/{descriptor}"))?;
    if descriptor > 2 {
        nix::unistd::close(descriptor)?;
    }
    Ok(file)
}
