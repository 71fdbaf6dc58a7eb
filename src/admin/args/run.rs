//! The arguments of `enq run`.

use std::{ffi::OsString, time::Duration};

use clap::Args;
use enq_protocol::vocabulary::LockMode;

use super::{mode, mode_of};
use crate::admin::duration;

pub(super) const ABOUT: &str = "\
Runs a command while holding a lock, and releases the lock when the command has ended.

The lock is a lease that is renewed while the command runs. If it cannot be renewed, or the connection to the server \
is lost, the command and everything it started is sent TERM and then KILL before the lease can end. If enq itself is \
killed, everything it started is killed with it. When the command ends, what it leaves in its process group is \
stopped before the lock is released; a process that made a session of its own (a daemon) is left alone.";

/// `enq run`.
#[derive(Args, Clone, Debug)]
pub struct Run {
    /// The mode of the lock: NL, CR, CW, PR, PW or EX
    #[arg(short, long, value_name = "MODE", value_parser = mode, conflicts_with_all = ["shared", "exclusive"])]
    pub mode: Option<LockMode>,
    /// Share the lock with others that share it: mode PR
    #[arg(short, long, conflicts_with = "exclusive")]
    pub shared: bool,
    /// Hold the lock alone: mode EX; what happens if nothing is said
    #[arg(short = 'x', long)]
    pub exclusive: bool,
    /// Do not wait: if the lock cannot be granted now, say who holds it and exit 75
    #[arg(short = 'n', long, conflicts_with = "wait")]
    pub no_wait: bool,
    /// Wait at most this long, then exit 75
    #[arg(short, long, value_name = "DUR", value_parser = duration::parse)]
    pub wait: Option<Duration>,
    /// Exit with this code instead of 75
    #[arg(short = 'E', long, value_name = "CODE", default_value = "75")]
    pub conflict_exit_code: u8,
    /// The lease: how long the server keeps the lock when it hears nothing
    #[arg(long, value_name = "DUR", value_parser = duration::parse, default_value = "15s")]
    pub ttl: Duration,
    /// Why the lock is taken, for those who look
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// The deadlock priority, 0 to 255: of a deadlock the lowest is refused, 255 never
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub deadlock_priority: u8,
    /// From TERM to KILL when the lock is lost; at most half of the lease [default: a third of the lease, 10s at most]
    #[arg(long, value_name = "DUR", value_parser = duration::parse)]
    pub kill_after: Option<Duration>,
    /// Keep the lock at least this long, even if the command ends sooner
    #[arg(long, value_name = "DUR", value_parser = duration::parse)]
    pub min_hold: Option<Duration>,
    /// One more lock to hold; may be given several times; all are taken in the order of their names
    #[arg(long, value_name = "NAME:MODE", value_parser = also)]
    pub also: Vec<Also>,
    /// Names are paths: a/b/c is c below b below a (\/ for a slash in a name)
    #[arg(long)]
    pub path: bool,
    /// Write one line of JSON with the true outcome to this open file descriptor
    #[arg(long, value_name = "N")]
    pub status_fd: Option<i32>,
    /// Give the command /dev/null as its standard input
    #[arg(long)]
    pub no_stdin: bool,
    /// Do not say on standard error that and for whom it waits
    #[arg(short, long)]
    pub quiet: bool,
    /// The resource to lock, byte for byte
    #[arg(value_name = "NAME")]
    pub name: OsString,
    /// The command and its arguments
    #[arg(last = true, required = true, num_args = 1.., value_name = "CMD")]
    pub command: Vec<OsString>,
}

impl Run {
    /// The mode that is asked for.
    #[must_use]
    pub fn mode(&self) -> LockMode {
        mode_of(self.mode, self.shared)
    }
}

/// One more lock of `enq run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Also {
    /// The resource.
    pub name: OsString,
    /// The mode.
    pub mode: LockMode,
}

fn also(text: &str) -> Result<Also, String> {
    let (name, letters) = text.rsplit_once(':').ok_or("NAME:MODE is expected, such as db/orders:PR")?;
    Ok(Also { name: name.into(), mode: mode(letters)? })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::admin::args::{Enq, Verb};

    #[test]
    fn the_mode_of_run_is_exclusive_unless_something_else_is_said() {
        let mode = |words: &[&str]| {
            let all = ["enq", "run"].iter().chain(words).chain(&["X", "--", "true"]);
            match Enq::try_parse_from(all).map(|enq| enq.verb) {
                Ok(Verb::Run(run)) => Some(run.mode()),
                _ => None,
            }
        };
        assert_eq!(mode(&[]), Some(LockMode::Ex));
        assert_eq!(mode(&["-s"]), Some(LockMode::Pr));
        assert_eq!(mode(&["-m", "pw"]), Some(LockMode::Pw));
        assert_eq!(mode(&["-m", "pw", "-x"]), None);
        assert_eq!(mode(&["-n", "-w", "1s"]), None);
    }

    #[test]
    fn a_name_with_colons_keeps_them_in_also() {
        assert_eq!(also("a:b:PR"), Ok(Also { name: "a:b".into(), mode: LockMode::Pr }));
        assert!(also("a").is_err());
    }
}
