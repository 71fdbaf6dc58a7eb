//! When to stop: SIGTERM or SIGINT.

use std::io;
use tokio::signal::unix::{SignalKind, signal};

/// Waits until the process is asked to stop. Says by what.
///
/// # Errors
/// If the system gives no notice of signals.
pub async fn asked_to_stop() -> io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
