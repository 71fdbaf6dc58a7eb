//! The start of a server that has a journal: what is on disk becomes the table, and the new start is put into the journal.
//!
//! The newest snapshot is taken, and every record behind it is applied, noted before and after, so that a record that ends
//! the process is found out by the second start after it. Then the journal begins to be written, and its first record says
//! that a server starts, with its epoch and its limits.

use super::{
    Applier, Journaled, Keeper, Pipe, Stopped,
    apply::{Common, Machine},
    journal::{Disk, Failure, OpenError, Recovery, Report, Settings, SnapshotReader, Started, Writer},
    measures::{Measures, Moments},
    record::{Act, Record},
};
use crate::{
    engine::{
        Instant, Local, Mistake,
        image::{self, Bad, Image, Reader},
    },
    table::{Table, Terms},
};
use enq_protocol::vocabulary::Seq;
use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize},
    },
};

/// Why a journal does not become a table.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The journal cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The disk failed when the start was written.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// A record is none of this version.
    #[error(
        "position {position} of the journal is not a record that this enqd knows: start the version that wrote it; it leaves a \
         snapshot when it stops, which this one can read"
    )]
    Record {
        /// Which.
        position: u64,
    },
    /// A snapshot is none of this version.
    #[error(
        "the state of position {position} is none that this enqd knows: {error}; a journal can be read by the version that wrote \
         it, and by others if it was stopped in order"
    )]
    Image {
        /// Which.
        position: u64,
        /// Why.
        error: Bad,
    },
    /// No server has served from it yet.
    #[error("the journal in {path} has no state yet: no server has got as far as serving from it")]
    Nothing {
        /// The directory.
        path: PathBuf,
    },
    /// The state that came out is none that there can be.
    #[error(
        "the state of position {position} is not sound: {why}; report it with a copy of the file or directory"
    )]
    Unsound {
        /// Of what it is the state.
        position: u64,
        /// The invariant that does not hold.
        why: String,
    },
    /// Seqs have no room for a greater epoch.
    #[error("epoch {epoch} of {path} is among the last there are: seqs and fences could not grow any more")]
    EpochsUsedUp {
        /// The directory or the file.
        path: PathBuf,
        /// The epoch.
        epoch: u32,
    },
    /// What is being applied cannot be noted.
    #[error("what is being applied cannot be noted: {0}")]
    Note(io::Error),
}

impl RecoverError {
    /// Is it the disk that has failed? Otherwise the directory is not one that can be served.
    #[must_use]
    pub fn is_of_the_disk(&self) -> bool {
        match self {
            RecoverError::Open(error) => error.is_of_the_disk(),
            RecoverError::Failed(_) | RecoverError::Note(_) => true,
            RecoverError::Record { .. }
            | RecoverError::Image { .. }
            | RecoverError::Nothing { .. }
            | RecoverError::Unsound { .. }
            | RecoverError::EpochsUsedUp { .. } => false,
        }
    }
}

/// What a journal is served with.
pub struct Served {
    /// What the start says; its epoch is the journal's, its key is drawn for the first.
    pub terms: Terms,
    /// What is not in the journal.
    pub local: Local,
    /// As many bytes of records are between two snapshots, at least, and as many as the last one has.
    pub snapshot_every: usize,
    /// Told why nothing more is served.
    pub stopped: Stopped,
}

/// A journal that has become a table.
pub struct Recovered {
    common: Arc<Common>,
    /// Who applies what becomes durable.
    pub applier: Applier,
    /// Who makes it durable.
    pub writer: Writer,
    /// What was found.
    pub report: Report,
    /// The epoch of this start.
    pub epoch: u32,
    /// The moment at which time goes on.
    pub now: Instant,
}

/// Reads a journal, makes the table of it, and writes that a server starts.
///
/// # Errors
/// [`RecoverError`]; what is damaged has not been changed.
pub fn recover(
    disk: Arc<dyn Disk>,
    settings: Settings,
    id_if_new: u64,
    served: Served,
) -> Result<Recovered, RecoverError> {
    let Served { terms, local, snapshot_every, stopped } = served;
    let path = disk.path("");
    let mut recovery = Recovery::open(disk, settings, id_if_new)?;
    if recovery.epoch() >= Seq::EPOCH_MAX {
        return Err(RecoverError::EpochsUsedUp { path, epoch: recovery.epoch() });
    }
    let mut machine = from_snapshot(recovery.snapshot()?, local)?;
    apply_all(&mut recovery, &mut machine)?;
    let Started { epoch, mut writer, attempts, report } = recovery.start()?;
    let terms = machine.terms(Terms { epoch, ..terms });
    let mut bytes = Vec::new();
    Record { now: machine.now, act: Act::Start(terms) }.write(&mut bytes);
    let mut body = writer.body();
    body.push(&bytes);
    writer.write(&mut body)?;
    machine.apply(&bytes).expect("it was written by this process");
    let snapshots = (snapshot_every, machine.image_bytes);
    let table = machine.table.expect("a start has begun it");
    let planted = table.bounds().planted;
    let now = if planted.is(Mistake::LogTimeStartsOver) { Instant::START } else { machine.now };
    let sessions = table.all_sessions();
    // The time without a server is nobody's fault: every lease runs anew.
    if !planted.is(Mistake::LeasesGoOnFromBefore) {
        sessions.iter().for_each(|cell| cell.renew(now));
    }
    let common = Arc::new(Common {
        table,
        pledges: Default::default(),
        opened: sessions.iter().map(|cell| cell.id).collect::<Vec<_>>().into(),
        refusals: AtomicUsize::new(0),
        passes: AtomicBool::new(false),
        now: AtomicU64::new(now.0),
        is_taking_snapshot: AtomicBool::new(false),
        since_snapshot: AtomicUsize::new(
            usize::try_from(report.bytes).unwrap_or(usize::MAX).saturating_add(bytes.len()),
        ),
        measures: Measures::of(&report),
    });
    let applier = Applier::new(Arc::clone(&common), attempts, snapshots, stopped);
    Ok(Recovered { common, applier, writer, report, epoch, now })
}

impl Recovered {
    /// The log, which appends to this.
    #[must_use]
    pub fn log(&self, pipe: Arc<dyn Pipe>) -> Journaled {
        Journaled::new(Arc::clone(&self.common), pipe)
    }

    /// From now on it is measured how long the disk takes, by this clock. The start took so many milliseconds.
    #[must_use]
    pub fn measured_by(mut self, moments: Moments, recovery_ms: u64) -> Recovered {
        self.applier.measure_by(moments);
        self.common.measures.recovered_within(recovery_ms);
        self
    }

    /// Serves with threads of its own: one writes and applies, one takes snapshots.
    ///
    /// # Errors
    /// There are no threads to be had.
    pub fn serve(self) -> io::Result<Journaled> {
        let keeper = Keeper::start(self.applier, self.writer, Arc::clone(&self.common))?;
        Ok(Journaled::new(self.common, Arc::new(keeper)))
    }
}

/// The state that a snapshot has; none, if there is no snapshot.
pub(super) fn from_snapshot(snapshot: Option<SnapshotReader>, local: Local) -> Result<Machine, RecoverError> {
    let Some(mut snapshot) = snapshot else {
        return Ok(Machine::new(None, Instant::START, 0, local));
    };
    let position = snapshot.position();
    let mut image = Vec::new();
    while let Some(piece) = snapshot.piece()? {
        image.extend_from_slice(piece);
    }
    let (now, table) = from_image(&image, &local).map_err(|error| RecoverError::Image { position, error })?;
    Ok(Machine::new(Some(table), now, image.len(), local))
}

/// The state as a snapshot has it: the moment it is of, then the table.
pub(super) fn image(table: &Table, now: Instant) -> Vec<u8> {
    let mut image = image::Writer::default();
    now.write(&mut image);
    let mut image = image.into_bytes();
    table.put_image(&mut image);
    image
}

pub(super) fn from_image(image: &[u8], local: &Local) -> Result<(Instant, Table), Bad> {
    let mut reader = Reader::new(image);
    let now = Image::read(&mut reader)?;
    Ok((now, Table::from_image(reader.slice(reader.left())?, local)?))
}

/// So many records are noted together: to note a batch of one record takes longer than to apply it.
const NOTED: u64 = 512;

fn apply_all(recovery: &mut Recovery, machine: &mut Machine) -> Result<(), RecoverError> {
    let mut noted = 0;
    let applied = apply_batches(recovery, machine, &mut noted);
    let attempts = recovery.attempts();
    // Who refuses what comes next was not ended by what he has applied; but what ended somebody before may still come.
    let is_past = match attempts.suspects() {
        Some(_) => applied.is_ok(),
        None => noted > 0,
    };
    if is_past {
        attempts.all_applied().map_err(RecoverError::Note)?;
    }
    applied
}

/// `noted` is the last position of which it is noted that it is being applied.
fn apply_batches(
    recovery: &mut Recovery,
    machine: &mut Machine,
    noted: &mut u64,
) -> Result<(), RecoverError> {
    while let Some((batch, attempts)) = recovery.step()? {
        let last = batch.next() - 1;
        // Which of the records that ended a process before is the one is found out one by one.
        let is_suspect = attempts.suspects().is_some_and(|(first, last)| {
            (first..=last).contains(&batch.first()) || (batch.first()..batch.next()).contains(&first)
        });
        if is_suspect {
            *noted = 0;
        } else if last > *noted {
            // What is noted of a process before stays until its turn has come.
            let ahead = if attempts.suspects().is_some() { 0 } else { NOTED };
            *noted = last.max(batch.first() + ahead);
            attempts.applying(batch.first(), *noted).map_err(RecoverError::Note)?;
        }
        for (position, record) in batch.records() {
            if is_suspect {
                attempts.applying(position, position).map_err(RecoverError::Note)?;
            }
            machine.apply(record).map_err(|_| RecoverError::Record { position })?;
            if is_suspect {
                attempts.applied(position).map_err(RecoverError::Note)?;
            }
        }
    }
    Ok(())
}
