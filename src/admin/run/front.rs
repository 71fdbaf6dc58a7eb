//! The front of `enq run`: the process that the caller started, signals and waits for.
//!
//! It starts the keeper, passes signals on, owns the terminal, and exits with what the keeper says. It trusts the
//! keeper with nothing that matters: if the keeper dies, or is still there a moment before the lease ends, the front
//! kills everything below itself.

use std::{
    fs::File,
    io::{self, Write as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    path::Path,
    process::{Child, Command, ExitStatus},
    time::Duration,
};

use nix::{
    fcntl::{FcntlArg, FdFlag, OFlag, fcntl},
    sys::{
        prctl,
        signal::{Signal, kill, killpg, raise},
    },
    unistd::{Pid, getpgrp, pipe2},
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    net::unix::pipe::Receiver,
};

use super::{
    INNER, brood, margin,
    report::{self, Ending, Outcome, Report, Slate},
    signals::{self, Signals},
    terminal::{self, Terminal},
};
use crate::{
    admin::{
        args::Run,
        exit::{self, Failure},
    },
    client::{self, Moment},
};

/// How often the clock is looked at, as the keeper does: timers stand still while a machine sleeps.
const TICK: Duration = Duration::from_millis(500);

/// How long after a stop was passed on a stop of the command is taken for its answer.
const STOP_WITHIN: Duration = Duration::from_secs(1);

/// Runs the command under the lock; the exit code.
#[must_use]
pub(in crate::admin) fn run(run: &Run) -> u8 {
    match prepare(run) {
        Ok((runtime, mut status)) => {
            let outcome = runtime.block_on(front(run)).unwrap_or_else(|error| {
                Failure::system(format!("cannot start: {error}")).print();
                Outcome::without_lock(Ending::Failed { error: error.to_string() }, exit::SOFTWARE)
            });
            if let Some(file) = &mut status
                && let Ok(mut line) = serde_json::to_vec(&outcome)
            {
                line.push(b'\n');
                // Whoever asked for the line has gone; the exit code still tells.
                let _ = file.write_all(&line);
            }
            outcome.exit
        }
        Err(failure) => {
            failure.print();
            failure.exit
        }
    }
}

/// What can be refused before anything is started.
fn prepare(run: &Run) -> Result<(tokio::runtime::Runtime, Option<File>), Failure> {
    super::locks::check(run)?;
    let status = match run.status_fd {
        None => None,
        Some(number) if number < 1 => {
            return Err(Failure::usage(
                "--status-fd takes the number of an open descriptor",
                "--status-fd 3 3>FILE",
            ));
        }
        Some(number) => Some(report::take_over(number).map_err(|error| {
            Failure::usage(
                format!("cannot write to file descriptor {number}: {error}"),
                "open it in the shell, such as 3>FILE; it must be a file, a pipe or a terminal",
            )
        })?),
    };
    terminal::block_stop_on_output();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok((runtime.map_err(|error| Failure::system(error.to_string()))?, status))
}

/// What the front knows while the keeper lives.
struct Front {
    keeper: Child,
    terminal: Option<Terminal>,
    command: Option<Pid>,
    had_foreground: bool,
    /// When a stop from the keyboard was last passed on. It can meet a command that has just been stopped because it asked
    /// for the terminal; then it is this stop that counts.
    stop_asked: Option<Moment>,
    outcome: Option<Outcome>,
}

async fn front(run: &Run) -> io::Result<Outcome> {
    prctl::set_child_subreaper(true)?;
    let mut signals = Signals::listen()?;
    let mut children = signals::stream(Signal::SIGCHLD)?;
    let terminal = Terminal::open();
    let had_foreground = terminal::wants_foreground();
    let slate = Slate::new()?;
    let (keeper, reports) = start_keeper(&slate, had_foreground && terminal.is_some())?;
    let mut reports = BufReader::new(reports).lines();
    let mut front =
        Front { keeper, terminal, command: None, had_foreground, stop_asked: None, outcome: None };
    let patience = margin(run.ttl) / 2;
    let status = loop {
        let left = |slate: &Slate| slate.read().map(|end| end.since(client::now()).saturating_sub(patience));
        let watch = left(&slate).map(|left| left.min(TICK)).unwrap_or(TICK);
        tokio::select! {
            biased;
            line = reports.next_line() => match line? {
                Some(line) => front.hear(&line, &mut signals).await,
                // The keeper has closed its end: it is ending.
                None => break front.keeper_status().await?,
            },
            signal = signals.next() => front.pass_on(signal),
            _ = children.recv() => if let Some(status) = front.keeper.try_wait()? {
                front.hear_the_rest(&mut reports, &mut signals).await;
                break status;
            },
            () = tokio::time::sleep(watch) => if left(&slate) == Some(Duration::ZERO) {
                break front.overrule()?;
            }
        }
    };
    front.finish(status).await
}

/// Starts the keeper, with a pipe on which it reports.
fn start_keeper(slate: &Slate, lend_foreground: bool) -> io::Result<(Child, Receiver)> {
    let (read, write): (OwnedFd, OwnedFd) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&write, FcntlArg::F_SETFD(FdFlag::empty()))?;
    let group = if lend_foreground { getpgrp().as_raw() } else { 0 };
    let keeper = Command::new(own_program())
        .arg0("enq-keeper")
        .args([INNER, "keep"])
        .args(
            [Pid::this().as_raw(), write.as_raw_fd(), slate.descriptor(), group]
                .map(|number| number.to_string()),
        )
        .process_group(0)
        .spawn()?;
    Ok((keeper, Receiver::from_owned_fd(read)?))
}

/// This program, even if its file was replaced meanwhile.
pub(in crate::admin) fn own_program() -> &'static Path {
    Path::new("/proc/self/exe")
}

impl Front {
    fn tell(&self, signal: Signal) {
        // The keeper is our child and not yet buried: its number is its own. That it ended is noticed elsewhere.
        let _ = i32::try_from(self.keeper.id()).map(|pid| kill(Pid::from_raw(pid), signal));
    }

    async fn hear(&mut self, line: &str, signals: &mut Signals) {
        match serde_json::from_str(line) {
            Ok(Report::Started(pid)) => self.command = Some(Pid::from_raw(pid)),
            Ok(Report::Stopped(number)) => {
                if let Ok(signal) = Signal::try_from(number) {
                    self.stop(signal, signals).await;
                }
            }
            Ok(Report::Ended(outcome)) => self.outcome = Some(*outcome),
            // Only the same program writes here.
            Err(_) => {}
        }
    }

    async fn hear_the_rest(&mut self, reports: &mut Lines<BufReader<Receiver>>, signals: &mut Signals) {
        while let Ok(Some(line)) = reports.next_line().await {
            self.hear(&line, signals).await;
        }
    }

    fn pass_on(&mut self, signal: Signal) {
        match signal {
            // If the command stops, the keeper says so, and then this job stops.
            Signal::SIGTSTP if self.command.is_some() => {
                self.stop_asked = Some(client::now());
                self.tell(Signal::SIGTSTP);
            }
            Signal::SIGTSTP => {
                if terminal::has_job_control() {
                    // Stopping oneself cannot fail; what follows runs after the continuation.
                    let _ = raise(Signal::SIGSTOP);
                }
            }
            Signal::SIGCONT => self.go_on(),
            other => self.tell(other),
        }
    }

    /// The command was stopped: so is this job, if there is a shell that can continue it.
    async fn stop(&mut self, signal: Signal, signals: &mut Signals) {
        let Some(command) = self.command else { return };
        let wants_terminal = matches!(signal, Signal::SIGTTIN | Signal::SIGTTOU);
        let asked = self.stop_asked.take().is_some_and(|at| client::now().since(at) < STOP_WITHIN);
        if wants_terminal
            && !asked
            && let Some(terminal) = &self.terminal
            && terminal.is_foreground(getpgrp())
        {
            // It asks for the terminal and we have it: from now on the command is in front.
            self.had_foreground = true;
            self.go_on();
        } else if signal == Signal::SIGSTOP {
            // Somebody stopped the command alone, and will continue it alone.
        } else if terminal::has_job_control() {
            if let Some(terminal) = &self.terminal {
                terminal.hand_over(command, getpgrp());
            }
            // The others of this job stop too; we ourselves catch this signal, and so stop by the other.
            let _ = killpg(getpgrp(), Signal::SIGTSTP);
            let _ = raise(Signal::SIGSTOP);
            self.go_on();
            // What we sent to ourselves is still on its way to the streams: let it come, and drop it.
            while tokio::time::timeout(Duration::from_millis(20), signals.next()).await.is_ok_and(|number| {
                let ours = matches!(number, Signal::SIGTSTP | Signal::SIGCONT);
                if !ours {
                    self.tell(number);
                }
                ours
            }) {}
        } else {
            // Nobody could continue it. POSIX lets no stop happen here, and hangs up on those that need the terminal.
            if wants_terminal {
                self.tell(Signal::SIGHUP);
            }
            self.tell(Signal::SIGCONT);
        }
    }

    /// We were continued: so is the command, in front if we are.
    fn go_on(&mut self) {
        if let (Some(terminal), Some(command), true) = (&self.terminal, self.command, self.had_foreground) {
            terminal.hand_over(getpgrp(), command);
        }
        self.tell(Signal::SIGCONT);
    }

    /// The keeper has closed its pipe: it is about to end, and if it does not, it is made to.
    async fn keeper_status(&mut self) -> io::Result<ExitStatus> {
        for _ in 0..200 {
            if let Some(status) = self.keeper.try_wait()? {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.overrule()
    }

    /// The keeper is still there and must not be: its death kills the command, and what is left is ours to kill.
    fn overrule(&mut self) -> io::Result<ExitStatus> {
        self.keeper.kill()?;
        self.keeper.wait()
    }

    /// The keeper has ended: makes sure of everything below, takes the terminal back, and says how it was.
    async fn finish(self, status: ExitStatus) -> io::Result<Outcome> {
        let done =
            self.outcome.as_ref().is_some_and(|outcome| !matches!(outcome.ending, Ending::Lost { .. }));
        if !done {
            brood::destroy(None).await;
        }
        if let (Some(terminal), Some(command)) = (&self.terminal, self.command) {
            terminal.hand_over(command, getpgrp());
        }
        Ok(self.outcome.unwrap_or_else(|| abandoned(status, self.command.is_some())))
    }
}

/// The outcome when the keeper ended without a word.
fn abandoned(status: ExitStatus, started: bool) -> Outcome {
    let how =
        status.signal().map_or_else(|| status.to_string(), |signal| format!("killed by signal {signal}"));
    if started {
        let cause = format!("the process that kept the lock was {how}; the command was stopped");
        Failure::new("LOST", cause.clone(), "", exit::LOST).print();
        return Outcome::without_lock(Ending::Lost { cause }, exit::LOST);
    }
    let error = format!("the process that asks for the lock was {how}");
    let code = status.signal().map_or(exit::SOFTWARE, exit::of_signal);
    Failure { exit: code, ..Failure::system(error.clone()) }.print();
    Outcome::without_lock(Ending::Failed { error }, code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keeper_that_dies_after_the_start_is_a_lost_lock() {
        let status = ExitStatus::from_raw(9);
        assert_eq!(abandoned(status, true).exit, exit::LOST);
        assert_eq!(abandoned(status, false).exit, 137);
    }
}
