//! What a journal that is served has done, and how long its disk took: counted where it happens, read by whoever shows it.
//!
//! Nothing here reads a clock: whoever serves hands one in, and without one nothing is measured.

use super::journal::{Batch, Report, Room};
use std::sync::atomic::{AtomicU64, Ordering};

/// Says the moment, in nanoseconds since some other one.
pub type Moments = Box<dyn Fn() -> u64 + Send>;

/// Upper bounds of the parts of the histogram, in microseconds; what took longer is in a last part.
pub const WRITE_US: [u64; 12] =
    [100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 1_000_000];

/// What was done since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Batches that became durable.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of these records.
    pub bytes: u64,
    /// How many batches took at most so long to be written and synced, by [`WRITE_US`]; then those that took longer.
    pub write_us: [u64; WRITE_US.len() + 1],
    /// What all of them took together, in microseconds.
    pub write_us_sum: u64,
    /// What the slowest took.
    pub write_us_max: u64,
    /// The position of the last record that was applied.
    pub position: u64,
    /// Snapshots that were taken.
    pub snapshots: u64,
    /// Snapshots that came to nothing.
    pub snapshots_failed: u64,
    /// The bytes of the last one.
    pub snapshot_bytes: u64,
    /// The position of the last one, those of earlier starts among them.
    pub snapshot_position: u64,
    /// Records that the start has read.
    pub recovered_records: u64,
    /// How long the start has read and written, in milliseconds.
    pub recovery_ms: u64,
    /// What can still be written.
    pub room: Option<Room>,
}

/// The counters.
#[derive(Debug, Default)]
pub(super) struct Measures {
    batches: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    write_us: [AtomicU64; WRITE_US.len() + 1],
    write_us_sum: AtomicU64,
    write_us_max: AtomicU64,
    position: AtomicU64,
    snapshots: AtomicU64,
    snapshots_failed: AtomicU64,
    snapshot_bytes: AtomicU64,
    snapshot_position: AtomicU64,
    recovered_records: AtomicU64,
    recovery_ms: AtomicU64,
}

impl Measures {
    /// After a start.
    pub(super) fn of(report: &Report) -> Measures {
        let measures = Measures::default();
        measures.recovered_records.store(report.records, Ordering::Relaxed);
        measures.snapshot_position.store(report.snapshot, Ordering::Relaxed);
        // The record of the start itself.
        measures.position.store(report.last + 1, Ordering::Relaxed);
        measures
    }

    /// So long the start took.
    pub(super) fn recovered_within(&self, ms: u64) {
        self.recovery_ms.store(ms, Ordering::Relaxed);
    }

    /// A batch is durable, and it took so long, if that was measured.
    pub(super) fn wrote(&self, batch: &Batch<'_>, took_ns: Option<u64>) {
        let bytes: usize = batch.records().map(|(_, record)| record.len()).sum();
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.records.fetch_add(batch.count().into(), Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.position.store(batch.next() - 1, Ordering::Relaxed);
        let Some(us) = took_ns.map(|ns| ns / 1_000) else { return };
        let part = WRITE_US.iter().position(|bound| us <= *bound).unwrap_or(WRITE_US.len());
        self.write_us[part].fetch_add(1, Ordering::Relaxed);
        self.write_us_sum.fetch_add(us, Ordering::Relaxed);
        self.write_us_max.fetch_max(us, Ordering::Relaxed);
    }

    /// A snapshot was taken, or came to nothing.
    pub(super) fn took_snapshot(&self, position: u64, bytes: usize, is_there: bool) {
        if !is_there {
            self.snapshots_failed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.snapshots.fetch_add(1, Ordering::Relaxed);
        self.snapshot_bytes.store(bytes as u64, Ordering::Relaxed);
        self.snapshot_position.store(position, Ordering::Relaxed);
    }

    /// What they say by now.
    pub(super) fn show(&self, room: Option<Room>) -> Measured {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Measured {
            batches: read(&self.batches),
            records: read(&self.records),
            bytes: read(&self.bytes),
            write_us: self.write_us.each_ref().map(read),
            write_us_sum: read(&self.write_us_sum),
            write_us_max: read(&self.write_us_max),
            position: read(&self.position),
            snapshots: read(&self.snapshots),
            snapshots_failed: read(&self.snapshots_failed),
            snapshot_bytes: read(&self.snapshot_bytes),
            snapshot_position: read(&self.snapshot_position),
            recovered_records: read(&self.recovered_records),
            recovery_ms: read(&self.recovery_ms),
            room,
        }
    }
}
