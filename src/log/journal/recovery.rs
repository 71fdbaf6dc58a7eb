//! The start: what is there is read, judged and handed out in order; then the journal goes on behind it.
//!
//! Where the last segment ends too early, one question decides: can a crash have done this? A crash tears the one batch
//! that was under way, which nobody was told of; so it leaves nothing intact behind the tear. Damage is
//!
//! * whatever is wrong in a segment that another one follows, or a segment that is missing;
//! * whatever has an intact header behind it;
//! * a journal that ends before its newest snapshot, or before what the head says was durable.
//!
//! Everything else is a torn tail: it is cut off, and said. Reading changes nothing, and what `start` changes it may change
//! again: a start that crashes is repeated by the next one. What was found at the end is written again before anybody is
//! told of it: after a sync that failed, the system's memory has what the disk has not.

use super::{
    attempts::Attempts,
    batch::{Batch, Header},
    contents::{Access, Contents},
    disk::{Disk, write_all},
    error::{Damage, OpenError},
    head::{FoundHead, Head, HeadFile},
    layout::{Name, Settings},
    planted::Mistake,
    segment::{Found, Plate, Segment},
    snapshot::SnapshotReader,
    store::{Books, Store},
    writer::Writer,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
    sync::Arc,
};

/// How the journal ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Behind the last batch there is nothing of this segment.
    Clean,
    /// A batch was torn, and is cut off.
    Torn {
        /// The segment.
        file: PathBuf,
        /// Where the batch began.
        offset: u64,
        /// The position that its first record would have had.
        position: u64,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// What a start has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The position of the snapshot that was used, 0 if there was none.
    pub snapshot: u64,
    /// Snapshots that are damaged, each with what is wrong: an older one was used, and nothing is lost.
    pub damaged_snapshots: Vec<(PathBuf, String)>,
    /// Is one slot of the head damaged? The other one was used, and nothing is lost.
    pub has_damaged_slot: bool,
    /// Records handed out.
    pub records: u64,
    /// Bytes of the batches they stood in.
    pub bytes: u64,
    /// The position of the last one.
    pub last: u64,
    /// Segments read.
    pub segments: u64,
    /// How the last one ended.
    pub tail: Tail,
}

/// A journal that is being opened: first its snapshot, then its batches, then [`Recovery::start`].
pub struct Recovery {
    disk: Arc<dyn Disk>,
    settings: Settings,
    head: FoundHead,
    names: Names,
    /// Segments still to be read.
    behind: VecDeque<Plate>,
    segment: Option<Segment>,
    /// The position that the next batch must have.
    next: u64,
    /// Records up to here are in the snapshot that is used.
    known: u64,
    /// Records up to here were durable: the head says so, or there is a snapshot of them, usable or not.
    reached: u64,
    attempts: Attempts,
    report: Report,
    is_at_end: bool,
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
        let found = match contents.head.take() {
            Some(found) => found?,
            None => return Err(missing(&*disk, Name::Head, "it is missing", None).into()),
        };
        let attempts = Attempts::find(Arc::clone(&disk), &contents, found.head.id)?;
        let mut report = Report {
            snapshot: 0,
            damaged_snapshots: Vec::new(),
            has_damaged_slot: found.has_damage,
            records: 0,
            bytes: 0,
            last: 0,
            segments: 0,
            tail: Tail::Clean,
        };
        let snapshots = usable_snapshots(&access, &contents, found.head.id, &mut report)?;
        let known = report.snapshot;
        let reached = contents.snapshots().next_back().unwrap_or(0).max(found.head.durable);
        let plates = plates(&*disk, std::mem::take(&mut contents.segments), found.head)?;
        let behind = to_read(&*disk, &plates, &report)?;
        let segments = plates.iter().map(|(number, plate)| (*number, plate.first)).collect();
        let (spares, unusable) = spares(&*disk, &contents, &settings)?;
        let useless = contents.unfinished.iter().cloned().chain(unusable).collect();
        let names = Names { segments, spares, snapshots, useless };
        drop(contents);
        let next = behind.front().map_or(known + 1, |plate| plate.first);
        report.last = known.max(next - 1);
        let (segment, is_at_end) = (None, false);
        let head = found;
        Ok(Recovery {
            disk,
            settings,
            head,
            names,
            behind,
            segment,
            next,
            known,
            reached,
            attempts,
            report,
            is_at_end,
        })
    }

    /// The snapshot that stands for everything before the first batch; it has been read to its end once.
    ///
    /// # Errors
    /// It cannot be read any more.
    pub fn snapshot(&self) -> Result<Option<SnapshotReader>, OpenError> {
        let access = Access { disk: &*self.disk, planted: self.settings.planted };
        let open = || SnapshotReader::open(&access, Some(self.head.head.id), self.known);
        (self.known > 0).then(open).transpose()
    }

    /// The next batch; nothing after the last one.
    ///
    /// # Errors
    /// What should be there is damaged. What was applied so far must be thrown away.
    pub fn batch(&mut self) -> Result<Option<Batch<'_>>, OpenError> {
        Ok(self.step()?.map(|(batch, _)| batch))
    }

    /// The next batch with the note of what is being applied, for who applies it.
    ///
    /// # Errors
    /// As [`Recovery::batch`].
    pub fn step(&mut self) -> Result<Option<(Batch<'_>, &mut Attempts)>, OpenError> {
        let Some((header, offset)) = self.find_batch()? else { return Ok(None) };
        let segment = self.segment.as_ref().expect("the batch was found in it");
        Ok(Some((segment.batch(header, offset).after(self.known_records()), &mut self.attempts)))
    }

    /// Records up to here are not handed out.
    fn known_records(&self) -> u64 {
        if self.settings.planted.is(Mistake::KnownRecordsComeAgain) { 0 } else { self.known }
    }

    fn find_batch(&mut self) -> Result<Option<(Header, usize)>, OpenError> {
        let known = self.known_records();
        loop {
            if self.is_at_end || (self.segment.is_none() && !self.begin_segment()?) {
                return Ok(None);
            }
            let segment = self.segment.as_mut().expect("it has just begun");
            match segment.step() {
                Found::Batch(header, offset) => {
                    let batch = segment.batch(header, offset);
                    if header.first != self.next || header.durable >= header.first {
                        return Err(self.damage(offset, "a batch does not follow the one before it", None));
                    }
                    self.next = batch.next();
                    self.report.last = self.report.last.max(batch.next() - 1);
                    let count = batch.after(known).count();
                    if count > 0 {
                        self.report.records += u64::from(count);
                        self.report.bytes += (header.end(offset) - offset) as u64;
                        return Ok(Some((header, offset)));
                    }
                }
                Found::Gap(why, header, at) => {
                    let offset = segment.offset();
                    if !self.settings.planted.is(Mistake::CutAtAnyDamage) {
                        let proof = format!(
                            "an intact batch at offset {at} says that {} was durable",
                            header.durable
                        );
                        return Err(self.damage(offset, why, Some(proof)));
                    }
                    self.end_segment(Some(why))?;
                }
                Found::End(wrong) => self.end_segment(wrong)?,
            }
        }
    }

    /// Goes on to the next segment, if there is one.
    fn begin_segment(&mut self) -> Result<bool, OpenError> {
        let Some(plate) = self.behind.pop_front() else { return Ok(false) };
        let access = Access { disk: &*self.disk, planted: self.settings.planted };
        self.segment = Some(Segment::read(&access, plate)?);
        self.report.segments += 1;
        Ok(true)
    }

    /// Nothing intact is left in a segment. Can a crash have done this?
    fn end_segment(&mut self, wrong: Option<&'static str>) -> Result<(), OpenError> {
        let Some(segment) = &self.segment else { return Ok(()) };
        let offset = segment.offset();
        let why = wrong.unwrap_or("there is no batch");
        let is_cut = |following: &Plate| {
            following.first != self.next && self.settings.planted.is(Mistake::CutAtAnyDamage)
        };
        if self.behind.front().is_some_and(is_cut) {
            self.behind.clear();
        }
        if let Some(following) = self.behind.front() {
            if following.first != self.next {
                let proof = format!("segment {} begins with position {}", following.number, following.first);
                return Err(self.damage(offset, why, Some(proof)));
            }
            self.segment = None;
            return Ok(());
        }
        if self.next <= self.reached && !self.settings.planted.is(Mistake::CutAtAnyDamage) {
            let proof = format!("position {} was durable, as the head or a snapshot says", self.reached);
            return Err(self.damage(offset, why, Some(proof)));
        }
        if let Some(why) = wrong {
            let file = self.disk.path(&Name::Segment(segment.plate.number).text());
            self.report.tail = Tail::Torn { file, offset: offset as u64, position: self.next, why };
        }
        self.is_at_end = true;
        Ok(())
    }

    fn damage(&self, offset: usize, why: &'static str, proof: Option<String>) -> OpenError {
        let number = self.segment.as_ref().map_or(0, |segment| segment.plate.number);
        let file = self.disk.path(&Name::Segment(number).text());
        Damage { file, offset: Some(offset as u64), position: Some(self.next), why, proof }.into()
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
        let head = self.head.head;
        let name = Name::Head.text();
        let epoch =
            head.epoch.checked_add(1).ok_or_else(|| OpenError::Exhausted { file: self.disk.path(&name) })?;
        let is_raised = !self.settings.planted.is(Mistake::EpochIsNotRaised) || head.epoch == 0;
        let epoch = if is_raised { epoch } else { head.epoch };
        let file = self.disk.open(&name).map_err(|error| OpenError::unusable(&*self.disk, &name, error))?;
        let books = Books {
            head: HeadFile::found(file, self.head, self.settings.planted),
            segments: self.names.segments,
            spares: self.names.spares,
            snapshots: self.names.snapshots,
        };
        let store = Arc::new(Store::new(Arc::clone(&self.disk), self.settings, books, self.next - 1));
        for useless in &self.names.useless {
            store.attempt("remove", useless, self.disk.remove(useless))?;
        }
        // What has been read may have got its name just before the crash, and not have been synced.
        store.sync_names()?;
        let writer = match self.segment {
            None => {
                let (file, plate) = store.begin_segment(self.next)?;
                Writer::begun(Arc::clone(&store), file, plate)
            }
            Some(segment) => {
                let name = Name::Segment(segment.plate.number).text();
                let file = store.attempt("open", &name, self.disk.open(&name))?;
                if !store.settings.planted.is(Mistake::TailIsNotRewritten) {
                    let (begin, bytes) = segment.tail();
                    store.attempt("write", &name, write_all(&*file, &bytes, begin as u64))?;
                    store.attempt("sync", &name, file.sync())?;
                }
                Writer::new(Arc::clone(&store), file, segment.plate, segment.offset(), self.next)
            }
        };
        store.raise(epoch)?;
        Ok(Started { epoch, writer, attempts: self.attempts, report: self.report })
    }
}

/// Makes the head of a directory that has nothing of a journal in it, save what a start before has not finished.
fn begin(disk: &dyn Disk, settings: &Settings, contents: &Contents<'_>, id: u64) -> Result<(), OpenError> {
    let is_empty = contents.segments.is_empty()
        && contents.spares.is_empty()
        && contents.snapshots.is_empty()
        && !contents.has_attempts;
    if !is_empty {
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

/// The snapshots to count on; the report names the newest of them, and those that are damaged.
fn usable_snapshots(
    access: &Access<'_>,
    contents: &Contents<'_>,
    id: u64,
    report: &mut Report,
) -> Result<BTreeSet<u64>, OpenError> {
    let mut usable = contents.snapshots.clone();
    for position in contents.snapshots().rev() {
        match SnapshotReader::open(access, Some(id), position).and_then(SnapshotReader::verify) {
            Ok(()) => {
                report.snapshot = position;
                break;
            }
            Err(OpenError::Damaged(damage)) => {
                let offset = damage.offset.unwrap_or_default();
                report.damaged_snapshots.push((damage.file, format!("{} at offset {offset}", damage.why)));
                usable.remove(&position);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(usable)
}

/// The plates of all segments, which must be of this journal and reach up to the one that the head names.
fn plates(
    disk: &dyn Disk,
    found: BTreeMap<u64, Result<Plate, OpenError>>,
    head: Head,
) -> Result<BTreeMap<u64, Plate>, OpenError> {
    let mut plates = BTreeMap::new();
    for (number, plate) in found {
        let plate = plate?;
        if plate.id != head.id {
            return Err(OpenError::Stranger { file: disk.path(&Name::Segment(number).text()) });
        }
        plates.insert(number, plate);
    }
    let newest = plates.last_key_value().map_or(0, |(number, _)| *number);
    if newest < head.segment {
        let proof = "the head knows it".to_owned();
        return Err(missing(disk, Name::Segment(head.segment), "it is missing", Some(proof)).into());
    }
    Ok(plates)
}

/// The segments that have what follows the snapshot. Older ones may be there, in any number.
fn to_read(
    disk: &dyn Disk,
    plates: &BTreeMap<u64, Plate>,
    report: &Report,
) -> Result<VecDeque<Plate>, OpenError> {
    let begin = plates.values().rev().find(|plate| plate.first <= report.snapshot + 1);
    let Some(begin) = begin else {
        // Only a journal that begins, or one that was made from a snapshot, has no segment.
        return match (plates.first_key_value(), report.damaged_snapshots.first()) {
            (None, None) => Ok(VecDeque::new()),
            (Some((number, plate)), _) => {
                let proof = format!("segment {number} begins with {}", plate.first);
                // The first segment of a journal that was made from a snapshot begins behind it.
                let name =
                    if *number > 1 { Name::Segment(number - 1) } else { Name::Snapshot(plate.first - 1) };
                let why = "it is missing, and no snapshot that can be used stands for its records";
                Err(missing(disk, name, why, Some(proof)).into())
            }
            (None, Some((file, _))) => {
                let why = "there is no other snapshot, and no segment";
                Err(Damage { file: file.clone(), offset: None, position: None, why, proof: None }.into())
            }
        };
    };
    let plate_of = |number| {
        let plate = plates.get(&number).copied();
        plate.ok_or_else(|| missing(disk, Name::Segment(number), "it is missing", None).into())
    };
    let newest = plates.last_key_value().map_or(begin.number, |(number, _)| *number);
    (begin.number..=newest).map(plate_of).collect()
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

fn missing(disk: &dyn Disk, name: Name, why: &'static str, proof: Option<String>) -> Damage {
    Damage { file: disk.path(&name.text()), offset: None, position: None, why, proof }
}
