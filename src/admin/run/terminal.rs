//! The terminal's foreground: lent to the command, taken back when it stops or ends.
//!
//! Only the front uses this, and the command's own first step. Both block SIGTTOU meanwhile, as shells do: handing the
//! foreground over from the background is otherwise an attempt to write.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal as _},
};

use nix::{
    sys::signal::{SigSet, Signal},
    unistd::{self, Pid, getpgid, getpgrp, getsid},
};

/// The terminal that this session of processes belongs to.
pub(super) struct Terminal {
    tty: File,
}

impl Terminal {
    /// None if there is no controlling terminal.
    pub(super) fn open() -> Option<Terminal> {
        let tty = OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?;
        Some(Terminal { tty })
    }

    /// Is this process group in the foreground?
    pub(super) fn is_foreground(&self, group: Pid) -> bool {
        unistd::tcgetpgrp(&self.tty) == Ok(group)
    }

    /// Moves the foreground from one process group to another; nothing happens if it is elsewhere.
    pub(super) fn hand_over(&self, from: Pid, to: Pid) {
        if self.is_foreground(from) {
            // The group may have ended in this moment; then the shell takes the terminal.
            let _ = unistd::tcsetpgrp(&self.tty, to);
        }
    }
}

/// Is the command to have the foreground from its first moment? Not beside others in a pipeline: they need it too, and
/// the command gets it when it asks.
pub(super) fn wants_foreground() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Keeps this thread from being stopped for what it does to the terminal.
pub(super) fn block_stop_on_output() {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTTOU);
    // Blocking one valid signal cannot fail.
    let _ = set.thread_block();
}

/// Is there a shell that can continue us after a stop? (No: POSIX calls the process group orphaned.)
pub(super) fn has_job_control() -> bool {
    let (own, session) = (getpgrp(), getsid(None));
    let mut ancestor = Pid::parent();
    // Ancestors in our own group stop with us; the first in another group must be of our session.
    for _ in 0..64 {
        if ancestor.as_raw() <= 1 {
            return false;
        }
        if getpgid(Some(ancestor)) != Ok(own) {
            return getsid(Some(ancestor)) == session;
        }
        let Some(next) = parent_of(ancestor) else { return false };
        ancestor = next;
    }
    false
}

fn parent_of(pid: Pid) -> Option<Pid> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok().map(Pid::from_raw)
}
