//! The command while it runs: started once, signalled, watched, and stopped before the lease can end.
//!
//! Three moments before the lease ends, all counted back from its deadline, which each renewal moves: TERM at
//! `kill-after`, KILL at a margin, and the front's own KILL at half of that margin. A lock that is lost for another
//! reason gets TERM at once and KILL after `kill-after`, or at the margin if that is sooner.

use std::{
    io,
    os::{
        fd::AsRawFd as _,
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, OFlag, fcntl},
    sys::{
        signal::Signal,
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::{Pid, pipe2},
};
use tokio::{io::AsyncReadExt as _, net::unix::pipe::Receiver};

use super::{
    INNER, brood, environment,
    front::own_program,
    keeper::Lines,
    locks::{self, Held},
    margin,
    report::{Ending, Report},
};
use crate::{
    admin::{
        args::{Reach, Run},
        exit::{self, Failure},
    },
    client::{self, Moment},
};

/// How long what a command leaves in its process group has between TERM and KILL.
const LEFTOVERS: Duration = Duration::from_secs(2);

/// How often the clock is looked at. Timers stand still while a machine sleeps, the lease does not: this is how long a
/// command can run on after the machine woke up.
const TICK: Duration = Duration::from_millis(500);

/// How it ended.
pub(super) enum Ended {
    /// The front has gone: nobody listens any more, and everything below is dead.
    FrontGone,
    /// As this says, with this exit code.
    Known(Ending, u8),
}

/// The command is being stopped.
struct Stopping {
    cause: String,
    kill_at: Moment,
}

/// Runs the command to its end, or to its stop; nothing of its process group is left when this returns.
pub(super) async fn supervise(reach: &Reach, run: &Run, held: &Held, group: i32, lines: &mut Lines) -> Ended {
    match start(reach, run, held, group, lines).await {
        Ok(Start::Running(child)) => watch(run, held, child, lines).await,
        Ok(Start::Refused(ending, exit)) => Ended::Known(ending, exit),
        Ok(Start::FrontGone) => Ended::FrontGone,
        Err(error) => {
            Failure::system(format!("cannot start the command: {error}")).print();
            Ended::Known(Ending::Failed { error: error.to_string() }, exit::SOFTWARE)
        }
    }
}

enum Start {
    Running(Child),
    Refused(Ending, u8),
    FrontGone,
}

/// Starts the command by its inner step, and returns when it has become the command or has said why not.
async fn start(reach: &Reach, run: &Run, held: &Held, group: i32, lines: &mut Lines) -> io::Result<Start> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&write, FcntlArg::F_SETFD(FdFlag::empty()))?;
    let mut command = Command::new(own_program());
    command
        .args([INNER, "launch"])
        .args([Pid::this().as_raw(), write.as_raw_fd(), group].map(|number| number.to_string()))
        .args(&run.command)
        .envs(environment::of(reach, run, held))
        .process_group(0);
    if run.no_stdin {
        command.stdin(Stdio::null());
    }
    // The lease is watched by the front from before the command exists.
    lines.slate.write(held.deadline());
    let mut child = command.spawn()?;
    drop(write);
    lines.reporter.say(&Report::Started(group_of(&child).as_raw()));
    let mut said = Vec::new();
    let mut pipe = Receiver::from_owned_fd(read)?;
    tokio::select! {
        biased;
        _ = lines.death.recv() => {
            brood::destroy(Some(group_of(&child))).await;
            return Ok(Start::FrontGone);
        }
        _ = pipe.read_to_end(&mut said) => {}
    }
    let Ok(number) = <[u8; 4]>::try_from(said.as_slice()) else { return Ok(Start::Running(child)) };
    child.wait()?;
    let error = io::Error::from_raw_os_error(i32::from_le_bytes(number));
    let program = run.command.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    let not_found = error.raw_os_error() == Some(Errno::ENOENT as i32);
    let code = if not_found { exit::NOT_FOUND } else { exit::CANNOT_EXECUTE };
    let word = if not_found { "NOT_FOUND" } else { "CANNOT_EXECUTE" };
    let hint = "what stands behind -- is a program and its arguments; for a shell line: -- sh -c 'LINE'";
    Failure::new(word, format!("{program}: {error}"), hint, code).print();
    let error = error.to_string();
    let ending = if not_found { Ending::NotFound { error } } else { Ending::CannotExecute { error } };
    Ok(Start::Refused(ending, code))
}

/// The command's process, and its process group: they have one number.
fn group_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

async fn watch(run: &Run, held: &Held, mut child: Child, lines: &mut Lines) -> Ended {
    let group = group_of(&child);
    let (kill_after, margin) = (locks::kill_after(run).min(held.ttl() / 2), margin(held.ttl()));
    let before = |moment: Moment, by: Duration| Moment(moment.0.saturating_sub(Moment(0).plus(by).0));
    let stop = |cause: String| {
        brood::signal_group(group, Signal::SIGTERM);
        brood::signal_group(group, Signal::SIGCONT);
        Failure::new("LOST", format!("{cause}; stopping the command"), "", exit::LOST).print_aside();
        let kill_at = client::now().plus(kill_after).min(before(held.deadline(), margin));
        Stopping { cause, kill_at }
    };
    let mut stopping: Option<Stopping> = None;
    let status = loop {
        lines.slate.write(held.deadline());
        let due = match &stopping {
            Some(stopping) => stopping.kill_at,
            None => before(held.deadline(), kill_after).min(client::now().plus((held.ttl() / 6).min(TICK))),
        };
        tokio::select! {
            biased;
            _ = lines.death.recv() => {
                brood::destroy(Some(group)).await;
                return Ended::FrontGone;
            }
            cause = held.lost(), if stopping.is_none() => stopping = Some(stop(cause)),
            _ = lines.children.recv() => match child.try_wait() {
                Ok(Some(status)) => break Some(status),
                Ok(None) => {
                    report_stop(group, lines);
                    brood::bury(Some(group));
                }
                Err(_) => break None,
            },
            signal = lines.signals.next() => brood::signal_group(group, signal),
            () = tokio::time::sleep(due.since(client::now())) => match &stopping {
                Some(_) => {
                    brood::destroy(Some(group)).await;
                    break child.try_wait().ok().flatten();
                }
                None if client::now() >= before(held.deadline(), kill_after) => {
                    stopping = Some(stop("the lease cannot be renewed in time".into()));
                }
                None => {}
            }
        }
    };
    let lost = stopping.map(|stopping| stopping.cause).or_else(|| held.is_lost());
    if let Some(cause) = lost {
        brood::destroy(Some(group)).await;
        return Ended::Known(Ending::Lost { cause }, exit::LOST);
    }
    clean_up(group, held, lines, status).await
}

/// The command has ended under the lock: what it left in its process group ends too, under the lock.
async fn clean_up(group: Pid, held: &Held, lines: &mut Lines, status: Option<ExitStatus>) -> Ended {
    let lost = tokio::select! {
        biased;
        _ = lines.death.recv() => {
            brood::destroy(Some(group)).await;
            return Ended::FrontGone;
        }
        cause = held.lost() => Some(cause),
        () = brood::dissolve(group, LEFTOVERS.min(held.ttl() / 4)) => None,
    };
    if lost.is_some() {
        // The command itself had come to its end; only its leftovers were in the way.
        brood::destroy(Some(group)).await;
    }
    match status.map(|status| (status.code(), status.signal())) {
        Some((Some(code), _)) => Ended::Known(Ending::Exited { code }, u8::try_from(code).unwrap_or(u8::MAX)),
        Some((None, Some(signal))) => Ended::Known(Ending::Signalled { signal }, exit::of_signal(signal)),
        Some((None, None)) | None => {
            let error = String::from("the system does not say how the command ended");
            Ended::Known(Ending::Failed { error }, exit::SOFTWARE)
        }
    }
}

/// Tells the front if the command was stopped.
fn report_stop(group: Pid, lines: &mut Lines) {
    let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG;
    if let Ok(WaitStatus::Stopped(_, signal)) = waitid(Id::Pid(group), flags) {
        lines.reporter.say(&Report::Stopped(signal as i32));
    }
}
