//! The command's first step: tie this process to the keeper's life, take the foreground, become the command.
//!
//! Between the keeper's start of this process and the tie there is a moment in which the keeper can die unnoticed; so
//! the parent is looked at after the tie is made.

use std::{
    ffi::OsString,
    fs::OpenOptions,
    io::Write as _,
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode},
};

use nix::{
    sys::{prctl, signal::Signal},
    unistd::{Pid, close, getpgrp},
};

use super::terminal::{self, Terminal};
use crate::admin::exit;

/// Becomes the command. `report` is a pipe on which the error number is written if that fails; `front` is the process
/// group that may lend its foreground, 0 if none.
pub(super) fn launch(parent: i32, report: i32, front: i32, command: &[OsString]) -> ExitCode {
    let tied = prctl::set_pdeathsig(Signal::SIGKILL).is_ok() && Pid::parent().as_raw() == parent;
    // Opening it anew makes a descriptor that is closed when this process becomes the command: its end says "started".
    let pipe = OpenOptions::new().write(true).open(format!("/dev/fd/{report}"));
    let [program, arguments @ ..] = command else { return exit::USAGE.into() };
    let (true, Ok(mut pipe), Ok(())) = (tied, pipe, close(report)) else { return exit::SOFTWARE.into() };
    if front != 0
        && let Some(terminal) = Terminal::open()
    {
        terminal::block_stop_on_output();
        terminal.hand_over(Pid::from_raw(front), getpgrp());
    }
    // Returns only if it failed. The mask of signals is emptied on the way, and SIGPIPE is what it was.
    let error = Command::new(program).args(arguments).exec();
    let number = error.raw_os_error().unwrap_or(0);
    // If the keeper does not read, it has gone and this process with it.
    let _ = pipe.write_all(&number.to_le_bytes());
    exit::CANNOT_EXECUTE.into()
}
