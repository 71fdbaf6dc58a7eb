//! When to stop: SIGTERM or SIGINT.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What asks the process to stop. From when this is made, such a signal no longer kills it.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Listens for them. Needs a tokio runtime.
    ///
    /// # Errors
    /// If the system gives no notice of signals.
    pub fn listen() -> io::Result<StopSignals> {
        Ok(StopSignals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits until one comes. Says which.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
