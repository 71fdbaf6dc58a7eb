//! A server with a journal: its directory is read and served, and what it fails of is told to who runs the server.

use super::{Clock, Config, Ready, StartError, random};
use crate::{
    engine::{Instant, Local},
    log::{
        Epoch, Recovered, Served,
        journal::{Directory, Disk as _, Report, Settings, Tail},
        recover,
    },
    table::Terms,
};
use parking_lot::Mutex;
use std::{path::Path, sync::Arc};
use tokio::sync::Notify;

/// Why a journal serves no more, for who waits for that.
#[derive(Clone, Debug, Default)]
pub(super) struct Failure(Arc<(Mutex<Option<String>>, Notify)>);

impl Failure {
    /// The first word counts.
    fn tell(&self, why: &str) {
        tracing::error!(why, "the journal has failed: nothing is answered any more");
        self.0.0.lock().get_or_insert_with(|| why.into());
        self.0.1.notify_waiters();
    }

    /// Returns when there is one.
    pub(super) async fn wait(&self) -> String {
        loop {
            let told = self.0.1.notified();
            if let Some(why) = &*self.0.0.lock() {
                return why.clone();
            }
            told.await;
        }
    }
}

/// Reads the journal in this directory, and begins to write it.
pub(super) fn ready(directory: &Path, config: &Config, failure: &Failure) -> Result<Ready, StartError> {
    let clock = Clock::start(Instant::START);
    let unusable = |error| StartError::Directory { path: directory.to_path_buf(), error };
    let disk = Arc::new(Directory::open(directory).map_err(unusable)?);
    let terms = Terms {
        epoch: 0,
        route_key: random()?,
        window_requests: config.window.requests,
        window_bytes: config.window.bytes,
        limits: config.limits,
    };
    let local = Local {
        hash_seed: u64::from_le_bytes(random()?),
        memory: config.limits.memory,
        history: config.limits.history,
        planted: config.limits.planted,
    };
    let told = failure.clone();
    let served = Served {
        terms,
        local,
        snapshot_every: config.snapshot_every,
        stopped: Box::new(move |why| told.tell(why)),
    };
    let id = u64::from_le_bytes(random()?);
    let head = disk.path("head");
    let settings = Settings { segment_bytes: config.segment_bytes, ..Settings::default() };
    let recovered = recover(disk, settings, id, served)?;
    let took_ms = clock.now().ms_since(Instant::START);
    tell(&recovered.report, took_ms);
    let recovered = recovered.measured_by(Box::new(move || clock.now().0), took_ms);
    let Recovered { epoch, now, .. } = recovered;
    let found = Some(recovered.report.clone());
    let log = Box::new(recovered.serve().map_err(StartError::Thread)?);
    Ok(Ready { log, epoch: Epoch::of_journal(epoch, head), from: now, found })
}

/// Says what an operator should know of what was found.
fn tell(report: &Report, took_ms: u64) {
    let Report { snapshot, records, last, segments, .. } = report;
    tracing::info!(snapshot, records, last, segments, took_ms, "the journal was read");
    for (file, why) in &report.damaged_snapshots {
        tracing::warn!(file = %file.display(), why, "a snapshot is damaged; an older one was used, and nothing is lost");
    }
    if report.has_damaged_slot {
        tracing::warn!(
            "one of the two slots of the head was damaged; the other one was used, and nothing is lost"
        );
    }
    if let Tail::Torn { file, offset, position, why } = &report.tail {
        tracing::warn!(
            file = %file.display(), offset, position, why,
            "what was being written when the server ended was cut off; nobody was told of it"
        );
    }
}
