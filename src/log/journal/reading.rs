//! What a journal has, read in order and judged: its snapshot, then its batches. Nothing is changed, and nobody is kept
//! from it.
//!
//! Where the last segment ends too early, one question decides: can a crash have done this? A crash tears the one batch
//! that was under way, which nobody was told of; so it leaves nothing intact behind the tear. Damage is
//!
//! * whatever is wrong in a segment that another one follows, or a segment that is missing;
//! * whatever has an intact header behind it;
//! * a journal that ends before its newest snapshot, or before what the head says was durable.
//!
//! Everything else is a torn tail. A start cuts it off (`recovery.rs`); who only looks stops there. Whoever looks while a
//! server serves may find that files went away meanwhile, or that the end of one is not what its beginning promised: he
//! looks again.

use super::{
    batch::{Batch, Header},
    contents::{Access, Contents},
    disk::Disk,
    error::{Damage, OpenError},
    head::{FoundHead, Head},
    layout::Name,
    planted::{Mistake, Planted},
    segment::{Found, Plate, Segment},
    snapshot::SnapshotReader,
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

/// A journal that is read: first its snapshot, then its batches.
pub struct Reading {
    pub(super) disk: Arc<dyn Disk>,
    planted: Planted,
    pub(super) head: FoundHead,
    /// Segments still to be read.
    behind: VecDeque<Plate>,
    pub(super) segment: Option<Segment>,
    /// The position that the next batch must have.
    pub(super) next: u64,
    /// Records up to here are in the snapshot that is used.
    known: u64,
    /// Records up to here were durable: the head says so, or there is a snapshot of them, usable or not.
    reached: u64,
    pub(super) report: Report,
    is_at_end: bool,
}

/// A journal that is about to be read, and what it has.
pub(super) struct Opened {
    pub(super) reading: Reading,
    /// Number and first position of each segment.
    pub(super) segments: BTreeMap<u64, u64>,
    /// The snapshots to count on.
    pub(super) snapshots: BTreeSet<u64>,
}

impl Reading {
    /// Looks at the journal in this directory.
    ///
    /// # Errors
    /// There is none, it cannot be read, or it is damaged.
    pub fn look(disk: Arc<dyn Disk>) -> Result<Reading, OpenError> {
        let mut contents = Contents::look_at_journal(&*disk)?;
        let found = contents.take_head()?;
        Ok(Reading::open(&disk, Planted::NONE, contents, found)?.reading)
    }

    pub(super) fn open(
        disk: &Arc<dyn Disk>,
        planted: Planted,
        mut contents: Contents<'_>,
        found: FoundHead,
    ) -> Result<Opened, OpenError> {
        let access = Access { disk: &**disk, planted };
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
        let plates = plates(&**disk, std::mem::take(&mut contents.segments), found.head)?;
        let behind = to_read(&**disk, &plates, found.head, &report)?;
        let segments = plates.iter().map(|(number, plate)| (*number, plate.first)).collect();
        let next = behind.front().map_or(known + 1, |plate| plate.first);
        report.last = known.max(next - 1);
        let (segment, is_at_end) = (None, false);
        let disk = Arc::clone(disk);
        let head = found;
        let reading =
            Reading { disk, planted, head, behind, segment, next, known, reached, report, is_at_end };
        Ok(Opened { reading, segments, snapshots })
    }

    /// The number of the last start.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.head.head.epoch
    }

    /// The number that was drawn when the directory was made.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.head.head.id
    }

    /// What has been found so far.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The snapshot that stands for everything before the first batch; it has been read to its end once.
    ///
    /// # Errors
    /// It cannot be read any more.
    pub fn snapshot(&self) -> Result<Option<SnapshotReader>, OpenError> {
        let access = Access { disk: &*self.disk, planted: self.planted };
        let open = || SnapshotReader::open(&access, Some(self.head.head.id), self.known);
        (self.known > 0).then(open).transpose()
    }

    /// The next batch; nothing after the last one.
    ///
    /// # Errors
    /// What should be there is damaged. What was applied so far must be thrown away.
    pub fn batch(&mut self) -> Result<Option<Batch<'_>>, OpenError> {
        let Some((header, offset)) = self.find_batch()? else { return Ok(None) };
        Ok(Some(self.found(header, offset)))
    }

    /// The batch that was found there, without records that the snapshot has.
    fn found(&self, header: Header, offset: usize) -> Batch<'_> {
        let segment = self.segment.as_ref().expect("the batch was found in it");
        segment.batch(header, offset).after(self.known_records())
    }

    /// Records up to here are not handed out.
    fn known_records(&self) -> u64 {
        if self.planted.is(Mistake::KnownRecordsComeAgain) { 0 } else { self.known }
    }

    fn find_batch(&mut self) -> Result<Option<(Header, usize)>, OpenError> {
        let known = self.known_records();
        loop {
            if self.is_at_end || (self.segment.is_none() && !self.begin_segment()?) {
                return Ok(None);
            }
            let segment = self.segment.as_mut().expect("it has just begun");
            match segment.step()? {
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
                    if !self.planted.is(Mistake::CutAtAnyDamage) {
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
        let access = Access { disk: &*self.disk, planted: self.planted };
        self.segment = Some(Segment::open(&access, plate)?);
        self.report.segments += 1;
        Ok(true)
    }

    /// Nothing intact is left in a segment. Can a crash have done this?
    fn end_segment(&mut self, wrong: Option<&'static str>) -> Result<(), OpenError> {
        let Some(segment) = &self.segment else { return Ok(()) };
        let offset = segment.offset();
        let why = wrong.unwrap_or("there is no batch");
        let is_cut =
            |following: &Plate| following.first != self.next && self.planted.is(Mistake::CutAtAnyDamage);
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
        if self.next <= self.reached && !self.planted.is(Mistake::CutAtAnyDamage) {
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
    head: Head,
    report: &Report,
) -> Result<VecDeque<Plate>, OpenError> {
    let begin = plates.values().rev().find(|plate| plate.first <= report.snapshot + 1);
    let Some(begin) = begin else {
        // Only a journal that begins, or one that was made from a snapshot, has no segment.
        return match (plates.first_key_value(), report.damaged_snapshots.first()) {
            (None, None) if report.snapshot < head.durable => {
                let proof = "the head says that its records were durable".to_owned();
                let why = "it is missing, and so is everything else";
                Err(missing(disk, Name::Snapshot(head.durable), why, Some(proof)).into())
            }
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

pub(super) fn missing(disk: &dyn Disk, name: Name, why: &'static str, proof: Option<String>) -> Damage {
    Damage { file: disk.path(&name.text()), offset: None, position: None, why, proof }
}
