//! The signals that front and keeper listen to.
//!
//! A signal that was ignored when this program started (by `nohup`, say) stays ignored, here and in the command.

use std::{fs, io};

use nix::sys::signal::Signal;
use tokio::{
    signal::unix::{Signal as Stream, SignalKind, signal},
    sync::mpsc,
};

/// What is passed on to the command.
const FORWARDED: [Signal; 6] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

/// Job control: passed on too, but with more to it.
const JOB_CONTROL: [Signal; 2] = [Signal::SIGTSTP, Signal::SIGCONT];

/// "Kill everything": what the system tells the keeper when the front dies, and what the front tells it.
///
/// It is a signal that no user and no terminal sends by accident, and that can be caught.
pub(super) const KILL_EVERYTHING: Signal = Signal::SIGPWR;

/// One stream of the signals that are passed on.
pub(super) struct Signals {
    arrived: mpsc::Receiver<Signal>,
}

impl Signals {
    /// Begins to listen.
    pub(super) fn listen() -> io::Result<Signals> {
        let (sender, arrived) = mpsc::channel(16);
        let ignored = ignored();
        for number in FORWARDED.into_iter().chain(JOB_CONTROL) {
            if ignored & (1 << (number as i32 - 1)) != 0 {
                continue;
            }
            let mut stream = stream(number)?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() && sender.send(number).await.is_ok() {}
            });
        }
        Ok(Signals { arrived })
    }

    /// The next of them.
    pub(super) async fn next(&mut self) -> Signal {
        match self.arrived.recv().await {
            Some(signal) => signal,
            // All of them were ignored from the start: none will come.
            None => std::future::pending().await,
        }
    }
}

/// A stream of one signal.
pub(super) fn stream(number: Signal) -> io::Result<Stream> {
    signal(SignalKind::from_raw(number as i32))
}

/// The signals that were ignored when this program started, bit n-1 for signal n.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
