//! The journal of a world's server: what its threads do, as events on a simulated disk.
//!
//! Records are collected by the pipe. One event writes what has come, as one batch, and applies it record by record, so that
//! the judges see each; it comes as late as a sync takes. Snapshots, notes in the head and spare segments are events, too.
//! The disk is that of the journal's own tests (`tests/disk`): it can be crashed after any operation.
//!
//! `keeping` (what is drawn), `chores` (the events of a server that serves), `fall` (how it ends), `start` (how the next one
//! begins, and what it must find), `twin` (its state against that of the one before); `dialogues` in which what is lost is
//! chosen.

mod chores;
pub(crate) mod dialogues;
mod fall;
mod keeping;
mod start;
mod twin;

pub(crate) use chores::Chore;
pub(crate) use fall::End;
pub(crate) use keeping::Keeping;
pub(crate) use start::first;

use super::clock::Time;
use crate::disk::Model;
use enq::engine::Instant;
use enq::log::journal::{AppendError, Body, Failure, RECORD_OVERHEAD, SnapshotError, SnapshotWriter, Writer};
use enq::log::{Applier, Pipe};
use enq_protocol::vocabulary::SessionId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is appended and not being written yet.
#[derive(Debug)]
pub(crate) struct Queue {
    crowded: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    records: VecDeque<Vec<u8>>,
    bytes: usize,
    next: u64,
    is_short_of_room: bool,
    /// How often somebody was refused because of that.
    refused: u64,
}

impl Queue {
    fn new(next: u64, crowded: usize) -> Queue {
        let waiting =
            Waiting { records: VecDeque::new(), bytes: 0, next, is_short_of_room: false, refused: 0 };
        Queue { crowded, waiting: Mutex::new(waiting) }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_empty(&self) -> bool {
        self.waiting().records.is_empty()
    }

    /// Puts as much as fits into a batch.
    fn fill(&self, body: &mut Body, batch_bytes: usize) {
        let mut waiting = self.waiting();
        let fits =
            |body: &Body, record: &mut Vec<u8>| body.length() + RECORD_OVERHEAD + record.len() <= batch_bytes;
        while let Some(record) = waiting.records.pop_front_if(|record| fits(body, record)) {
            waiting.bytes -= record.len();
            body.push(&record);
        }
    }
}

impl Pipe for Queue {
    fn append(&self, record: &[u8]) -> Result<u64, AppendError> {
        let mut waiting = self.waiting();
        waiting.records.push_back(record.to_vec());
        waiting.bytes += record.len();
        waiting.next += 1;
        Ok(waiting.next - 1)
    }

    fn is_crowded(&self) -> bool {
        self.waiting().bytes > self.crowded
    }

    fn is_short_of_room(&self) -> bool {
        let mut waiting = self.waiting();
        waiting.refused += u64::from(waiting.is_short_of_room);
        waiting.is_short_of_room
    }

    // The world sees to it.
    fn tend(&self, _: Instant) {}

    fn close(&self) -> Result<(), Failure> {
        Ok(())
    }
}

/// How far a snapshot has come.
#[derive(Default)]
enum Taking {
    #[default]
    Nothing,
    /// It stands for this position, and this is in it.
    Due(u64, Vec<u8>),
    /// So much of it was written.
    Writing(Box<SnapshotWriter>, Vec<u8>, usize),
}

/// The journal of a server that serves.
pub(crate) struct Journal {
    pub(crate) disk: Model,
    queue: Arc<Queue>,
    applier: Applier,
    writer: Writer,
    /// The batch that is being written.
    writing: Option<Body>,
    taking: Taking,
    /// The last position that was applied.
    applied: u64,
    since_snapshot: usize,
    is_noted: bool,
    is_preparing: bool,
    pub(crate) epoch: u32,
    /// What the applier was told to stop for.
    stopped: Arc<Mutex<Option<String>>>,
}

impl Journal {
    /// Takes what waits to be written, if nothing is being written.
    fn begin_batch(&mut self, batch_bytes: usize) -> bool {
        let begins = self.writing.is_none() && !self.queue.is_empty();
        if begins {
            let mut body = self.writer.body();
            self.queue.fill(&mut body, batch_bytes);
            assert!(body.batch().count() > 0, "a record fits into a batch");
            self.writing = Some(body);
        }
        begins
    }

    /// Writes the batch.
    fn write(&mut self) -> Result<(), Failure> {
        self.is_noted = false;
        self.writing.as_mut().map_or(Ok(()), |body| self.writer.write(body))
    }

    /// Writes and applies whatever there is; no, if there is nothing.
    pub(crate) fn write_all(&mut self) -> bool {
        if !self.begin_batch(2_000) {
            return false;
        }
        self.write().expect("nothing goes wrong here");
        let body = self.writing.take().expect("a batch was written");
        body.batch().records().for_each(|(position, record)| self.apply(position, record));
        true
    }

    /// Applies one record of it.
    fn apply(&mut self, position: u64, record: &[u8]) {
        let mut one = Body::new(position);
        one.push(record);
        self.applier.apply(one.batch());
        self.applied = position;
        self.since_snapshot += record.len();
    }

    /// Why the applier has stopped, if it has.
    fn why_stopped(&self) -> Option<String> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Goes on with a snapshot; no, if none is being taken, or not any more.
    fn snapshot_on(&mut self) -> Result<bool, SnapshotError> {
        self.taking = match std::mem::take(&mut self.taking) {
            Taking::Nothing => return Ok(false),
            Taking::Due(position, image) => {
                Taking::Writing(Box::new(self.writer.snapshot(position)?), image, 0)
            }
            Taking::Writing(mut snapshot, image, at) if at < image.len() => {
                let end = (at + image.len() / 2 + 1).min(image.len());
                snapshot.add(&image[at..end])?;
                Taking::Writing(snapshot, image, end)
            }
            Taking::Writing(snapshot, ..) => {
                snapshot.finish()?;
                return Ok(false);
            }
        };
        Ok(true)
    }
}

/// What a world remembers of its server's journal beside the server.
#[derive(Default)]
pub(crate) struct Upkeep {
    /// Nobody serves.
    pub(crate) is_down: bool,
    /// How many servers there were.
    pub(crate) life: u64,
    /// What is left of the last one.
    fallen: Option<fall::Fallen>,
    /// The longest that a record took to be applied.
    pub(crate) slowest: Time,
    /// When the server began, and the sessions that it went on with.
    pub(crate) began: Time,
    pub(crate) went_on: BTreeSet<SessionId>,
    /// The moment of the last record that was applied, and what each session had acknowledged by its last one.
    moment: Instant,
    acked: BTreeMap<SessionId, u64>,
    /// How the server ends as soon as its disk is busy with that.
    falls_when: Option<(End, fall::Busy)>,
    /// Its machine has lost its power.
    lost_power: bool,
    /// The disk has no room.
    is_full: bool,
    /// A call of the disk is to fail, or has.
    has_error: bool,
    /// Somebody was refused because the disk was full, and there is room again.
    awaits_grant: bool,
}
