//! `enq run`: a command under a lock, and nothing left of it when the lock has gone.
//!
//! Three processes, each in a process group of its own, so that a signal for one group never takes two of them:
//!
//! ```text
//!  front    `enq run`: what the caller started, signals and waits for. Passes signals on, owns the
//!    |      terminal's foreground, and watches the keeper: if that dies or sleeps past the lease,
//!    |      the front kills everything below it.
//!  keeper   holds the session and the locks, and is the parent of the command. When the front dies,
//!    |      when the lock is lost, or when the lease cannot be renewed in time, it stops everything
//!    |      below it, and only then lets the locks go.
//!  command  starts as a small step of this program that ties itself to the keeper's life and its
//!           process group to the terminal, and then becomes the command.
//! ```
//!
//! Both front and keeper are *subreapers*: whatever loses its parent below them becomes their child and is found.
//! The system ties the keeper to the front and the command to the keeper (`PR_SET_PDEATHSIG`). What is not covered: the
//! whole machine, or front and keeper together, frozen past the lease, or both killed in the same moment; and programs
//! that run as another user, which this user may not signal. That rest is what fences are for.
//!
//! Nothing here retries, and nothing here starts the command twice.

mod brood;
mod environment;
mod front;
mod keeper;
mod launch;
mod locks;
mod refusal;
mod report;
mod signals;
mod supervise;
mod terminal;

use std::{ffi::OsString, process::ExitCode};

pub(super) use front::{own_program, run};
pub(super) use locks::{REASON_LEN_MAX, Wanted};
pub(super) use refusal::explain;

/// The word that stands before an inner step. It is no verb: no user says it.
pub(super) const INNER: &str = "__inner";

/// How long before the end of the lease the keeper kills; the front does at half of it. A sixth of the lease: on a machine
/// that is busy with something else, a process may wait for a few hundred milliseconds until it runs, and three of them
/// have to, one after the other.
fn margin(ttl: std::time::Duration) -> std::time::Duration {
    (ttl / 6).clamp(std::time::Duration::from_millis(150), std::time::Duration::from_secs(1))
}

/// Carries out the inner step that these arguments name.
#[must_use]
pub(super) fn inner(arguments: &[OsString]) -> ExitCode {
    let numbers = |word: &OsString| word.to_str().and_then(|text| text.parse::<i32>().ok());
    match arguments {
        [step, parent, report, slate, front] if step == "keep" => {
            match (numbers(parent), numbers(report), numbers(slate), numbers(front)) {
                (Some(parent), Some(report), Some(slate), Some(front)) => {
                    keeper::keep(parent, report, slate, front)
                }
                _ => super::exit::USAGE.into(),
            }
        }
        [step, parent, report, front, command @ ..] if step == "launch" => {
            match (numbers(parent), numbers(report), numbers(front)) {
                (Some(parent), Some(report), Some(front)) => launch::launch(parent, report, front, command),
                _ => super::exit::USAGE.into(),
            }
        }
        _ => super::exit::USAGE.into(),
    }
}
