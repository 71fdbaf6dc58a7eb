//! What a directory has, looked at without changing anything: for the start, and for whoever wants to see a journal.
//!
//! A look judges each file by itself. What they mean together is for `recovery.rs`.

use super::{
    batch::{Batch, Header},
    disk::{Disk, read_up_to},
    error::{Damage, OpenError},
    head::{FoundHead, Head},
    layout::{BadPlate, Name, PLATE_BYTES},
    planted::Planted,
    segment::{Found, Plate, Segment},
    snapshot::SnapshotReader,
};
use std::collections::{BTreeMap, BTreeSet};

/// The disk that is looked at.
#[derive(Clone, Copy)]
pub(super) struct Access<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) planted: Planted,
}

/// What a directory has.
pub struct Contents<'a> {
    pub(super) access: Access<'a>,
    /// The head, if there is one.
    pub(super) head: Option<Result<FoundHead, OpenError>>,
    /// The segments by number, with their plates.
    pub(super) segments: BTreeMap<u64, Result<Plate, OpenError>>,
    /// Segments that are not in use, by the numbers in their names.
    pub(super) spares: BTreeSet<u64>,
    /// The snapshots by position.
    pub(super) snapshots: BTreeSet<u64>,
    /// Is there a note of what was being applied?
    pub(super) has_attempts: bool,
    /// Names of files that were being made when somebody stopped.
    pub(super) unfinished: Vec<String>,
}

impl<'a> Contents<'a> {
    /// Looks at a directory.
    ///
    /// # Errors
    /// It cannot be read, or has things that are not ours.
    pub fn look(disk: &'a dyn Disk) -> Result<Contents<'a>, OpenError> {
        Contents::look_with(Access { disk, planted: Planted::NONE })
    }

    /// Looks at a directory that has a journal.
    ///
    /// # Errors
    /// As [`Contents::look`], or it has nothing of a journal.
    pub fn look_at_journal(disk: &'a dyn Disk) -> Result<Contents<'a>, OpenError> {
        let contents = Contents::look(disk)?;
        if contents.is_empty() {
            return Err(OpenError::NoJournal { path: disk.path("") });
        }
        Ok(contents)
    }

    pub(super) fn look_with(access: Access<'a>) -> Result<Contents<'a>, OpenError> {
        let mut names = access.disk.list().map_err(|error| OpenError::unusable(access.disk, "", error))?;
        names.sort();
        // The root of a file system of its own.
        names.retain(|name| name != "lost+found");
        let (ours, foreign): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| Name::of(name).is_some());
        if !foreign.is_empty() {
            let names = foreign[..foreign.len().min(3)].join(", ");
            return Err(OpenError::Foreign { path: access.disk.path(""), names });
        }
        let mut contents = Contents {
            access,
            head: None,
            segments: BTreeMap::new(),
            spares: BTreeSet::new(),
            snapshots: BTreeSet::new(),
            has_attempts: false,
            unfinished: Vec::new(),
        };
        for text in ours {
            match Name::of(&text) {
                Some(Name::Head) => contents.head = Some(Head::find(&access)),
                Some(Name::Attempts) => contents.has_attempts = true,
                Some(Name::Segment(number)) => {
                    contents.segments.insert(number, access.plate(number));
                }
                Some(Name::Spare(number)) => {
                    contents.spares.insert(number);
                }
                Some(Name::Snapshot(position)) => {
                    contents.snapshots.insert(position);
                }
                Some(Name::Unfinished) | None => contents.unfinished.push(text),
            }
        }
        Ok(contents)
    }

    /// Is there nothing of a journal, save what is not finished?
    pub(super) fn is_empty(&self) -> bool {
        self.head.is_none()
            && self.segments.is_empty()
            && self.spares.is_empty()
            && self.snapshots.is_empty()
            && !self.has_attempts
    }

    /// The head, which must be there.
    pub(super) fn take_head(&mut self) -> Result<FoundHead, OpenError> {
        self.head.take().unwrap_or_else(|| {
            let why = "it is missing, and other files of a journal are there";
            let file = self.access.disk.path(&Name::Head.text());
            Err(Damage { file, offset: None, position: None, why, proof: None }.into())
        })
    }

    /// The epoch of the last start.
    ///
    /// # Errors
    /// There is no head, or a damaged one.
    pub fn epoch(&self) -> Result<u32, &OpenError> {
        self.head.as_ref().map_or(Ok(0), |head| head.as_ref().map(|found| found.head.epoch))
    }

    /// The same, for who wants nothing else.
    ///
    /// # Errors
    /// There is no head, or a damaged one.
    pub fn into_epoch(mut self) -> Result<u32, OpenError> {
        Ok(self.take_head()?.head.epoch)
    }

    /// The segments in order: number, and position of the first record or what is wrong.
    pub fn segments(&self) -> impl Iterator<Item = (u64, Result<u64, &OpenError>)> {
        self.segments.iter().map(|(number, plate)| (*number, plate.as_ref().map(|plate| plate.first)))
    }

    /// The positions of the snapshots, in order.
    pub fn snapshots(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.snapshots.iter().copied()
    }

    /// Opens a snapshot; whether it is whole is known when it has been read to its end.
    ///
    /// # Errors
    /// It is not there, or not one of this journal.
    pub fn snapshot(&self, position: u64) -> Result<SnapshotReader, OpenError> {
        let id = match &self.head {
            Some(Ok(found)) => Some(found.head.id),
            Some(Err(_)) | None => None,
        };
        SnapshotReader::open(&self.access, id, position)
    }

    /// Walks a segment; nothing if it is not there or its plate is damaged.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn walk(&self, number: u64) -> Result<Option<Walk>, OpenError> {
        let Some(Ok(plate)) = self.segments.get(&number) else { return Ok(None) };
        Ok(Some(Walk { segment: Segment::open(&self.access, *plate)? }))
    }
}

impl Access<'_> {
    /// The plate of a segment.
    fn plate(&self, number: u64) -> Result<Plate, OpenError> {
        let name = Name::Segment(number).text();
        let path = self.disk.path(&name);
        let unusable = |error| OpenError::unusable(self.disk, &name, error);
        let damage = |why| Damage { file: path.clone(), offset: Some(0), position: None, why, proof: None };
        let file = self.disk.open(&name).map_err(unusable)?;
        let mut bytes = [0; PLATE_BYTES];
        read_up_to(&*file, &mut bytes, 0).map_err(unusable)?;
        let plate = match Plate::read(&bytes) {
            Ok(plate) => plate,
            Err(BadPlate::Version(version)) => return Err(OpenError::Version { file: path, version }),
            Err(BadPlate::Damaged) => return Err(damage("its first sector is not intact").into()),
        };
        if plate.number != number {
            return Err(damage("it is another segment than its name says").into());
        }
        if plate.bytes != file.length().map_err(unusable)? {
            let why = "it is not as long as its first sector says";
            return Err(Damage { position: Some(plate.first), ..damage(why) }.into());
        }
        Ok(plate)
    }
}

/// The batches of a segment, one after the other.
pub struct Walk {
    segment: Segment,
}

/// One thing in a segment.
#[derive(Debug)]
pub enum Walked<'a> {
    /// A batch, where it begins, and what it says of those before it: up to here they are durable.
    Batch(u64, u64, Batch<'a>),
    /// The end of what can be read: where it is, and what is wrong there, if that can be seen.
    End(u64, Option<&'static str>),
    /// Something that is not intact, what is wrong with it, and where there is an intact batch behind it.
    Gap(u64, &'static str, u64),
}

impl Walk {
    /// The next batch, or the end, again and again.
    pub fn step(&mut self) -> Walked<'_> {
        match self.segment.step() {
            Ok(Found::Batch(header, offset)) => {
                let Header { durable, .. } = header;
                Walked::Batch(offset as u64, durable, self.segment.batch(header, offset))
            }
            Ok(Found::End(wrong)) => Walked::End(self.segment.offset() as u64, wrong),
            Ok(Found::Gap(why, _, behind)) => Walked::Gap(self.segment.offset() as u64, why, behind as u64),
            Err(_) => Walked::End(self.segment.offset() as u64, Some("the file cannot be read")),
        }
    }
}
