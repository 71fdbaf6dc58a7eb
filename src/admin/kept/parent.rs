//! The process with which a kept session ends: the shell that opened it, mostly.
//!
//! It is no parent of the keeper's, which has left its family, so the system does not tell when it ends: it is looked
//! for, a few times a second. A process is known by its number *and* the time of its start, since numbers are given anew.

use std::{fs, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How often it is looked for.
const EVERY: Duration = Duration::from_millis(200);

/// A process that was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    pid: i32,
    /// When it started, in ticks of the system since its own start.
    start: String,
}

impl Parent {
    /// The living process with this number.
    pub(super) fn of(pid: i32) -> Option<Parent> {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        // The program's name stands in parentheses and may hold anything, further parentheses included.
        let end = stat.iter().rposition(|byte| *byte == b')')?;
        let rest = String::from_utf8_lossy(stat.get(end + 1..)?).into_owned();
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // Fields are counted from 1 in proc(5), and the name is the second.
        let (state, start) = (*fields.first()?, *fields.get(22 - 3)?);
        let is_dead = matches!(state, "Z" | "X");
        (!is_dead).then(|| Parent { pid, start: start.into() })
    }

    fn is_there(&self) -> bool {
        Parent::of(self.pid).as_ref() == Some(self)
    }

    /// Returns when it has ended.
    pub(super) async fn end(&self) {
        while self.is_there() {
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Sends it a signal, if it is still there.
    pub(super) fn signal(&self, signal: Signal) {
        if self.is_there() {
            // It can have ended since, or belong to somebody else by now; there is nobody to tell.
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_number_and_start() {
        let own = Parent::of(std::process::id().cast_signed()).expect("this test runs");
        assert!(own.is_there());
        assert!(own.start.parse::<u64>().is_ok_and(|start| start > 0), "{own:?}");
        assert!(!Parent { start: "1".into(), ..own }.is_there(), "another one with this number");
        assert_eq!(Parent::of(i32::MAX), None);
    }
}
