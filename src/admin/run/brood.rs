//! Everything that descends from this process: found in `/proc`, killed, and buried.
//!
//! A process that loses its parent below a subreaper becomes the subreaper's child, so "no descendant is left" is
//! reached by killing what is found until nothing is found. Nothing here signals a process that is not below us.

use std::{fs, time::Duration};

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill, killpg},
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};

/// How long a killed process may take to go: what hangs in the kernel longer than this cannot be helped by waiting.
const PATIENCE: Duration = Duration::from_secs(10);

/// The first pause between two looks; it doubles up to a limit.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// A line of the table of processes.
struct Process {
    pid: i32,
    parent: i32,
    group: i32,
    dead: bool,
}

fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read(entry.path().join("stat")).ok()?;
            // The command's name stands in parentheses and may hold anything, further parentheses included.
            let end = stat.iter().rposition(|byte| *byte == b')')?;
            let rest = String::from_utf8_lossy(stat.get(end + 1..)?).into_owned();
            let mut fields = rest.split_whitespace();
            let dead = matches!(fields.next()?, "Z" | "X");
            Some(Process {
                pid,
                parent: fields.next()?.parse().ok()?,
                group: fields.next()?.parse().ok()?,
                dead,
            })
        })
        .collect()
}

/// Everything below this process, parents before children.
fn descendants() -> Vec<Process> {
    let mut rest = processes();
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![Pid::this().as_raw()];
    while !parents.is_empty() {
        let (children, others): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|process| parents.contains(&process.parent));
        parents = children.iter().map(|process| process.pid).collect();
        found.extend(children);
        rest = others;
    }
    found
}

/// Buries the dead children that were left to us, all but `known`, whom somebody else asks about.
pub(super) fn bury(known: Option<Pid>) {
    let own = Pid::this().as_raw();
    for process in processes() {
        let orphan = process.dead && process.parent == own && Some(process.pid) != known.map(Pid::as_raw);
        if orphan {
            // It may have gone since, which is what was wanted.
            let _ = waitpid(Pid::from_raw(process.pid), Some(WaitPidFlag::WNOHANG));
        }
    }
}

/// Is some living process below us in this process group?
pub(super) fn has_members(group: Pid) -> bool {
    descendants().iter().any(|process| !process.dead && process.group == group.as_raw())
}

/// Sends the signal to everybody in the process group. That nobody is there is no error.
pub(super) fn signal_group(group: Pid, signal: Signal) {
    let _ = killpg(group, signal);
}

/// Kills everything below us and returns when nothing is left alive, or after a long while; true if nothing is left.
pub(super) async fn destroy(group: Option<Pid>) -> bool {
    let mut waited = Duration::ZERO;
    let mut pause = PAUSE_MIN;
    loop {
        if let Some(group) = group {
            signal_group(group, Signal::SIGKILL);
        }
        let mut alive = false;
        for process in descendants() {
            if process.dead {
                continue;
            }
            // Programs of another user may not be signalled; waiting for them would only hold up the end.
            alive |= kill(Pid::from_raw(process.pid), Signal::SIGKILL) != Err(Errno::EPERM);
        }
        bury(group);
        if !alive || waited >= PATIENCE {
            return !alive;
        }
        tokio::time::sleep(pause).await;
        waited += pause;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Ends what is still alive in the process group: TERM first, KILL after `grace`.
pub(super) async fn dissolve(group: Pid, grace: Duration) {
    bury(None);
    if !has_members(group) {
        return;
    }
    signal_group(group, Signal::SIGTERM);
    signal_group(group, Signal::SIGCONT);
    let mut waited = Duration::ZERO;
    let mut pause = PAUSE_MIN;
    while has_members(group) && waited < grace {
        tokio::time::sleep(pause).await;
        waited += pause;
        pause = (pause * 2).min(PAUSE_MAX);
        bury(None);
    }
    let mut waited = Duration::ZERO;
    while has_members(group) && waited < PATIENCE {
        signal_group(group, Signal::SIGKILL);
        tokio::time::sleep(PAUSE_MIN).await;
        waited += PAUSE_MIN;
        bury(None);
    }
}
