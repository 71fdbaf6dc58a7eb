//! The keeper of `enq run`: it holds the session, takes the locks, and lets them go when nothing is left below it.
//!
//! It is tied to the front from its first moment: a keeper without a front stops everything and ends. It reads the
//! front's arguments from the system instead of getting them again, so that a search for "enq run" in the table of
//! processes finds the front alone.

use std::{ffi::OsString, fs, io, os::unix::ffi::OsStringExt as _, process::ExitCode};

use clap::Parser as _;
use nix::{sys::prctl, unistd::Pid};
use tokio::signal::unix::Signal as Stream;

use super::{
    locks::{self, Held},
    report::{Ending, Outcome, Report, Reporter, Slate},
    signals::{self, KILL_EVERYTHING, Signals},
    supervise::{self, Ended},
    terminal,
};
use crate::{
    admin::{
        args::{Enq, Reach, Run, Verb},
        duration,
        exit::{self, Failure},
    },
    client,
};

/// What the keeper listens to and speaks on.
pub(super) struct Lines {
    pub(super) signals: Signals,
    /// The front has died, or wants everything dead.
    pub(super) death: Stream,
    /// Something below has ended or was stopped.
    pub(super) children: Stream,
    pub(super) reporter: Reporter,
    pub(super) slate: Slate,
}

/// Carries out what the front was started for.
pub(super) fn keep(front: i32, report: i32, slate: i32, group: i32) -> ExitCode {
    // It is a courtesy to those who look at the table of processes.
    let _ = prctl::set_name(c"lock-keeper");
    terminal::block_stop_on_output();
    let front = Pid::from_raw(front);
    let (Some((reach, run)), Ok(reporter), Ok(slate)) =
        (arguments_of(front), Reporter::take_over(report), Slate::take_over(slate))
    else {
        return exit::SOFTWARE.into();
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return exit::SOFTWARE.into();
    };
    match runtime.block_on(keep_for(front, &reach, &run, group, reporter, slate)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            Failure::system(error.to_string()).print();
            exit::SOFTWARE.into()
        }
    }
}

/// The arguments of the front, from the system's table of processes.
fn arguments_of(front: Pid) -> Option<(Reach, Box<Run>)> {
    let line = fs::read(format!("/proc/{front}/cmdline")).ok()?;
    let words =
        line.strip_suffix(b"\0")?.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec()));
    match Enq::try_parse_from(words).ok()? {
        Enq { reach, verb: Verb::Run(run) } => Some((reach, run)),
        Enq { .. } => None,
    }
}

async fn keep_for(
    front: Pid,
    reach: &Reach,
    run: &Run,
    group: i32,
    reporter: Reporter,
    slate: Slate,
) -> io::Result<()> {
    prctl::set_child_subreaper(true)?;
    let mut lines = Lines {
        signals: Signals::listen()?,
        death: signals::stream(KILL_EVERYTHING)?,
        children: signals::stream(nix::sys::signal::Signal::SIGCHLD)?,
        reporter,
        slate,
    };
    prctl::set_pdeathsig(KILL_EVERYTHING)?;
    // The front may have died before the tie was made.
    if Pid::parent() != front {
        return Ok(());
    }
    if let Some(outcome) = watch_over(reach, run, group, &mut lines).await {
        lines.reporter.say(&Report::Ended(Box::new(outcome)));
    }
    Ok(())
}

/// Locks, command, release; no outcome if nobody is there to hear it.
async fn watch_over(reach: &Reach, run: &Run, group: i32, lines: &mut Lines) -> Option<Outcome> {
    let began = client::now();
    let taken = tokio::select! {
        biased;
        _ = lines.death.recv() => return None,
        signal = interruption(&mut lines.signals) => {
            let signal = signal as i32;
            return Some(Outcome::without_lock(Ending::Interrupted { signal }, exit::of_signal(signal)));
        }
        taken = locks::take(reach, run) => taken,
    };
    let held = match taken {
        Ok(held) => held,
        Err(failure) => {
            failure.print();
            let ending = Ending::NotGranted { status: failure.code };
            let waited_ms = duration::ms(client::now().since(began));
            return Some(Outcome { waited_ms, ..Outcome::without_lock(ending, failure.exit) });
        }
    };
    let granted = client::now();
    let ended = supervise::supervise(reach, run, &held, group, lines).await;
    let (ending, exit) = match ended {
        Ended::FrontGone => return None,
        Ended::Known(ending, exit) => (ending, exit),
    };
    lines.slate.clear();
    let lost = matches!(ending, Ending::Lost { .. });
    if let (Some(hold), false) = (run.min_hold, lost) {
        let rest = granted.plus(hold).since(client::now());
        tokio::select! {
            biased;
            _ = lines.death.recv() => return None,
            _ = interruption(&mut lines.signals) => {}
            _ = held.lost() => {}
            () = tokio::time::sleep(rest) => {}
        }
    }
    let lock = Some(held.grant());
    let held_ms = duration::ms(client::now().since(granted));
    if !lost {
        // What is lost cannot be released in order: the connection closes with this process, and that ends the session.
        tokio::select! {
            biased;
            _ = lines.death.recv() => return None,
            () = release(held, reach) => {}
        }
    }
    let waited_ms = duration::ms(granted.since(began));
    Some(Outcome { version: 1, ending, exit, lock, waited_ms, held_ms })
}

/// Releases; a server that does not answer sees the connection close, which releases too.
async fn release(held: Held, reach: &Reach) {
    let _ = tokio::time::timeout(reach.timeout, held.release()).await;
}

/// The next signal that ends a program.
async fn interruption(signals: &mut Signals) -> nix::sys::signal::Signal {
    use nix::sys::signal::Signal::{SIGCONT, SIGTSTP};
    loop {
        let signal = signals.next().await;
        if !matches!(signal, SIGCONT | SIGTSTP) {
            return signal;
        }
    }
}
