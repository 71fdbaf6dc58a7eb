//! The start: what is there is read, judged and handed out in order (`reading.rs`); then the journal goes on behind it.
//!
//! A torn tail is cut off, and said; damage is refused. Reading changes nothing, and what `start` changes it may change
//! again: a start that crashes is repeated by the next one. What was found at the end is written again before anybody is
//! told of it: after a sync that failed, the system's memory has what the disk has not.

use super::{
    attempts::Attempts,
    batch::Batch,
    contents::{Access, Contents},
    disk::{Disk, write_all},
    error::OpenError,
    head::{Head, HeadFile},
    layout::{Name, Settings},
    planted::Mistake,
    reading::{Opened, Reading, Report, missing},
    snapshot::SnapshotReader,
    store::{Books, Store},
    writer::Writer,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A journal that is being opened: first its snapshot, then its batches, then [`Recovery::start`].
pub struct Recovery {
    settings: Settings,
    reading: Reading,
    names: Names,
    attempts: Attempts,
}

/// What the directory has.
struct Names {
    segments: BTreeMap<u64, u64>,
    spares: BTreeSet<u64>,
    snapshots: BTreeSet<u64>,
    /// To be removed: unfinished files, and spare segments of another length.
    useless: Vec<String>,
}

/// A journal that goes on.
pub struct Started {
    /// The number of this start, greater than that of every one before.
    pub epoch: u32,
    /// What follows the last record that was found.
    pub writer: Writer,
    /// The note of what is being applied.
    pub attempts: Attempts,
    /// What was found.
    pub report: Report,
}

impl Recovery {
    /// Opens the journal in this directory; in an empty one it begins, under this number, which should be drawn.
    ///
    /// # Errors
    /// It cannot be used, is somebody else's, or is damaged where no crash can have damaged it.
    ///
    /// # Panics
    /// The settings contradict each other.
    pub fn open(disk: Arc<dyn Disk>, settings: Settings, id_if_new: u64) -> Result<Recovery, OpenError> {
        settings.check();
        let is_ours = disk.lock().map_err(|error| OpenError::unusable(&*disk, "", error))?;
        if !is_ours {
            return Err(OpenError::InUse { path: disk.path("") });
        }
        let access = Access { disk: &*disk, planted: settings.planted };
        let mut contents = Contents::look_with(access)?;
        if contents.head.is_none() {
            begin(&*disk, &settings, &contents, id_if_new)?;
            contents = Contents::look_with(access)?;
        }
        let found = contents.take_head()?;
        let attempts = Attempts::find(Arc::clone(&disk), &contents, found.head.id)?;
        let (spares, unusable) = spares(&*disk, &contents, &settings)?;
        let useless = contents.unfinished.iter().cloned().chain(unusable).collect();
        let Opened { reading, segments, snapshots } =
            Reading::open(&disk, settings.planted, contents, found)?;
        let names = Names { segments, spares, snapshots, useless };
        Ok(Recovery { settings, reading, names, attempts })
    }

    /// The snapshot that stands for everything before the first batch; it has been read to its end once.
    ///
    /// # Errors
    /// It cannot be read any more.
    pub fn snapshot(&self) -> Result<Option<SnapshotReader>, OpenError> {
        self.reading.snapshot()
    }

    /// The next batch; nothing after the last one.
    ///
    /// # Errors
    /// What should be there is damaged. What was applied so far must be thrown away.
    pub fn batch(&mut self) -> Result<Option<Batch<'_>>, OpenError> {
        self.reading.batch()
    }

    /// The next batch with the note of what is being applied, for who applies it.
    ///
    /// # Errors
    /// As [`Recovery::batch`].
    pub fn step(&mut self) -> Result<Option<(Batch<'_>, &mut Attempts)>, OpenError> {
        Ok(self.reading.batch()?.map(|batch| (batch, &mut self.attempts)))
    }

    /// The number of the last start; that of this one is the next.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.reading.epoch()
    }

    /// The note of what is being applied.
    pub fn attempts(&mut self) -> &mut Attempts {
        &mut self.attempts
    }

    /// Reads what has not been read yet, makes the end of the journal durable, and raises the epoch.
    ///
    /// # Errors
    /// Something is damaged, or the disk fails.
    pub fn start(mut self) -> Result<Started, OpenError> {
        while self.batch()?.is_some() {}
        let Reading { disk, head: found, segment, next, report, .. } = self.reading;
        let name = Name::Head.text();
        let epoch = found.head.epoch.checked_add(1);
        let epoch = epoch.ok_or_else(|| OpenError::Exhausted { file: disk.path(&name) })?;
        let is_raised = !self.settings.planted.is(Mistake::EpochIsNotRaised) || found.head.epoch == 0;
        let epoch = if is_raised { epoch } else { found.head.epoch };
        let file = disk.open(&name).map_err(|error| OpenError::unusable(&*disk, &name, error))?;
        let books = Books {
            head: HeadFile::found(file, found, self.settings.planted),
            segments: self.names.segments,
            spares: self.names.spares,
            snapshots: self.names.snapshots,
        };
        let store = Arc::new(Store::new(Arc::clone(&disk), self.settings, books, next - 1));
        for useless in &self.names.useless {
            store.attempt("remove", useless, disk.remove(useless))?;
        }
        // What has been read may have got its name just before the crash, and not have been synced.
        store.sync_names()?;
        let writer = match segment {
            None => {
                let (file, plate) = store.begin_segment(next)?;
                Writer::begun(Arc::clone(&store), file, plate)
            }
            Some(segment) => {
                let name = Name::Segment(segment.plate.number).text();
                let file = store.attempt("open", &name, disk.open(&name))?;
                if !store.settings.planted.is(Mistake::TailIsNotRewritten) {
                    let (begin, bytes) = segment.tail();
                    store.attempt("write", &name, write_all(&*file, &bytes, begin as u64))?;
                    store.attempt("sync", &name, file.sync())?;
                }
                Writer::new(Arc::clone(&store), file, segment.plate, segment.offset(), next)
            }
        };
        store.raise(epoch)?;
        Ok(Started { epoch, writer, attempts: self.attempts, report })
    }
}

/// Makes the head of a directory that has nothing of a journal in it, save what a start before has not finished.
fn begin(disk: &dyn Disk, settings: &Settings, contents: &Contents<'_>, id: u64) -> Result<(), OpenError> {
    if !contents.is_empty() {
        return Err(
            missing(disk, Name::Head, "it is missing, and other files of a journal are there", None).into()
        );
    }
    let (unfinished, name) = (Name::Head.unfinished(), Name::Head.text());
    let make = || {
        for left in &contents.unfinished {
            disk.remove(left)?;
        }
        let head = HeadFile::new(
            disk.create(&unfinished)?,
            Head { id, epoch: 0, segment: 0, durable: 0 },
            settings.planted,
        );
        head.write_first()?;
        disk.rename(&unfinished, &name)?;
        disk.sync()
    };
    make().map_err(|error| OpenError::unusable(disk, &name, error))
}

/// Spare segments of the right length, and the names of others.
fn spares(
    disk: &dyn Disk,
    contents: &Contents<'_>,
    settings: &Settings,
) -> Result<(BTreeSet<u64>, Vec<String>), OpenError> {
    let (mut right, mut wrong) = (BTreeSet::new(), Vec::new());
    for number in &contents.spares {
        let name = Name::Spare(*number).text();
        let length = disk.open(&name).and_then(|file| file.length());
        if length.map_err(|error| OpenError::unusable(disk, &name, error))? == settings.segment_bytes as u64 {
            right.insert(*number);
        } else {
            wrong.push(name);
        }
    }
    Ok((right, wrong))
}
