//! The files of a journal that is in use: made, named, recycled, in orders that no crash turns round.
//!
//! | before this | that is durable |
//! |---|---|
//! | a file has its last name | its content |
//! | a record of a segment is called durable | the segment's plate, its name, and its number in the head |
//! | a recycled segment gets a new plate | that it has lost its old name |
//! | an older snapshot or a segment is given up | two newer snapshots, read back |
//!
//! A failure is remembered for ever and told to everybody. Only a lack of room for what is not needed yet, a spare segment
//! or a snapshot, is none.

use super::{
    disk::{Disk, File, write_all},
    error::{Failure, SnapshotError, is_no_room},
    head::{Head, HeadFile},
    layout::{Name, SECTOR_BYTES, Settings},
    planted::Mistake,
    segment::Plate,
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

/// So many zeros are written at a time.
const ZEROS: usize = 1 << 20;

/// What can still be written if the disk is full from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// In bytes of batches.
    pub bytes: usize,
    /// Segments in reserve.
    pub spares: usize,
    /// Segments in use.
    pub segments: usize,
    /// How long one is, in bytes.
    pub segment_bytes: usize,
    /// Is the reserve smaller than it should be? Then what needs more and more room must wait.
    pub is_short: bool,
}

/// See the front page.
pub(super) struct Store {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) settings: Settings,
    pub(super) id: u64,
    books: Mutex<Books>,
    /// Held while a spare segment is made: the file has one name until it is full of zeros.
    making: Mutex<()>,
    is_taking_snapshot: AtomicBool,
    durable: AtomicU64,
    /// What is left in the segment that is written.
    left: AtomicUsize,
    /// As many spare segments as the books have, for who only looks.
    spare_count: AtomicUsize,
    /// The same of segments.
    segment_count: AtomicUsize,
    failure: OnceLock<Failure>,
    /// Wakes who would not look before the next record comes.
    alarm: OnceLock<Alarm>,
}

/// Does something when the disk fails.
pub(super) type Alarm = Box<dyn Fn() + Send + Sync>;

/// Which files there are.
pub(super) struct Books {
    pub(super) head: HeadFile,
    /// Number and first position of each segment.
    pub(super) segments: BTreeMap<u64, u64>,
    pub(super) spares: BTreeSet<u64>,
    /// Those that were read to their end, or that were when they were written.
    pub(super) snapshots: BTreeSet<u64>,
}

impl Books {
    fn free_spare(&self) -> u64 {
        (1..).find(|number| !self.spares.contains(number)).expect("there are more numbers than files")
    }
}

impl Store {
    pub(super) fn new(disk: Arc<dyn Disk>, settings: Settings, books: Books, durable: u64) -> Store {
        Store {
            disk,
            settings,
            id: books.head.head().id,
            spare_count: AtomicUsize::new(books.spares.len()),
            segment_count: AtomicUsize::new(books.segments.len()),
            books: Mutex::new(books),
            making: Mutex::new(()),
            is_taking_snapshot: AtomicBool::new(false),
            durable: AtomicU64::new(durable),
            left: AtomicUsize::new(0),
            failure: OnceLock::new(),
            alarm: OnceLock::new(),
        }
    }

    /// The last position that is durable.
    pub(super) fn durable(&self) -> u64 {
        self.durable.load(Ordering::SeqCst)
    }

    /// The writer has come so far.
    pub(super) fn advance(&self, durable: u64, left: usize) {
        self.durable.store(durable, Ordering::SeqCst);
        self.left.store(left, Ordering::SeqCst);
    }

    /// Says no after a failure.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.failure.get().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    /// What the disk said to an act that has to succeed.
    pub(super) fn attempt<T>(
        &self,
        act: &'static str,
        name: &str,
        result: io::Result<T>,
    ) -> Result<T, Failure> {
        self.check()?;
        result.map_err(|error| self.fail(act, name, error))
    }

    /// The first failure is the one that is told.
    pub(super) fn fail(&self, act: &'static str, name: &str, error: io::Error) -> Failure {
        let (path, durable) = (self.disk.path(name), self.durable());
        let failure = self.failure.get_or_init(|| Failure { act, path, error: Arc::new(error), durable });
        if let Some(alarm) = self.alarm.get() {
            alarm();
        }
        failure.clone()
    }

    /// Whoever writes is to be woken by a failure of somebody else: it is his to tell.
    pub(super) fn set_alarm(&self, alarm: Alarm) {
        assert!(self.alarm.set(alarm).is_ok(), "one writes");
    }

    /// The names that there are now survive.
    pub(super) fn sync_names(&self) -> Result<(), Failure> {
        if self.settings.planted.is(Mistake::DirectoryIsNotSynced) {
            return Ok(());
        }
        self.attempt("sync", "", self.disk.sync())
    }

    /// Begins a segment with this position, from a spare one if there is any. What was before is durable.
    pub(super) fn begin_segment(&self, first: u64) -> Result<(Box<dyn File>, Plate), Failure> {
        while self.books.lock().spares.is_empty() {
            if let Err(error) = self.make_spare()? {
                let bytes = self.settings.segment_bytes;
                let error = io::Error::new(
                    error.kind(),
                    format!("{error}, where a segment of {bytes} bytes needs it"),
                );
                return Err(self.fail("make", &Name::Spare(0).unfinished(), error));
            }
        }
        let mut books = self.books.lock();
        let spare =
            books.spares.pop_first().map(Name::Spare).expect("nobody else takes spare segments").text();
        self.count_files(&books);
        let head = books.head.head();
        let number = books.segments.last_key_value().map_or(head.segment, |(number, _)| *number) + 1;
        let bytes = self.settings.segment_bytes as u64;
        let plate = Plate { id: self.id, number, first, bytes };
        let name = Name::Segment(number).text();
        let file = self.attempt("open", &spare, self.disk.open(&spare))?;
        self.attempt("write", &spare, write_all(&*file, &plate.bytes(), 0))?;
        self.attempt("sync", &spare, file.sync())?;
        self.attempt("rename", &spare, self.disk.rename(&spare, &name))?;
        self.sync_names()?;
        books.segments.insert(number, first);
        self.count_files(&books);
        self.write_head(&mut books, Head { segment: number, durable: first - 1, ..head })?;
        Ok((file, plate))
    }

    /// This is the epoch from now on.
    pub(super) fn raise(&self, epoch: u32) -> Result<(), Failure> {
        let mut books = self.books.lock();
        let segment = books.segments.last_key_value().map_or(0, |(number, _)| *number);
        let head = Head { epoch, segment, durable: self.durable(), ..books.head.head() };
        self.write_head(&mut books, head)
    }

    /// Notes in the head what is durable.
    pub(super) fn note_durable(&self) -> Result<(), Failure> {
        let mut books = self.books.lock();
        let head = Head { durable: self.durable(), ..books.head.head() };
        self.write_head(&mut books, head)
    }

    fn write_head(&self, books: &mut Books, mut head: Head) -> Result<(), Failure> {
        if self.settings.planted.is(Mistake::HeadForgetsSegments) {
            head.segment = 0;
        }
        if self.settings.planted.is(Mistake::DurableIsNotNoted) {
            head.durable = 0;
        }
        self.attempt("write", &Name::Head.text(), books.head.write(head))
    }

    /// Makes spare segments until the reserve is full, or the disk is.
    pub(super) fn prepare(&self) -> Result<Room, Failure> {
        self.check()?;
        while self.room().is_short && self.make_spare()?.is_ok() {}
        Ok(self.room())
    }

    /// Makes a spare segment; it may be that there is no room.
    fn make_spare(&self) -> Result<io::Result<()>, Failure> {
        let _alone = self.making.lock();
        self.check()?;
        let unfinished = Name::Spare(0).unfinished();
        let made = self.disk.create(&unfinished);
        let has_name = made.is_ok();
        let made = made.and_then(|file| {
            fill_with_zeros(&*file, self.settings.segment_bytes)?;
            file.sync()
        });
        match made {
            Ok(()) => {
                let mut books = self.books.lock();
                let number = books.free_spare();
                let name = Name::Spare(number).text();
                self.attempt("rename", &unfinished, self.disk.rename(&unfinished, &name))?;
                books.spares.insert(number);
                self.count_files(&books);
                Ok(Ok(()))
            }
            Err(error) if is_no_room(&error) => {
                if has_name {
                    self.attempt("remove", &unfinished, self.disk.remove(&unfinished))?;
                }
                Ok(Err(error))
            }
            Err(error) => Err(self.fail("make", &unfinished, error)),
        }
    }

    /// What can still be written.
    pub(super) fn room(&self) -> Room {
        let spares = self.spare_count.load(Ordering::SeqCst);
        let bytes = self.left.load(Ordering::SeqCst) + spares * (self.settings.segment_bytes - SECTOR_BYTES);
        let segments = self.segment_count.load(Ordering::SeqCst);
        let segment_bytes = self.settings.segment_bytes;
        Room { bytes, spares, segments, segment_bytes, is_short: spares < self.settings.spares }
    }

    fn count_files(&self, books: &Books) {
        self.spare_count.store(books.spares.len(), Ordering::SeqCst);
        self.segment_count.store(books.segments.len(), Ordering::SeqCst);
    }

    /// One snapshot is written at a time. Says no if one is.
    pub(super) fn take_snapshots(&self) -> bool {
        !self.is_taking_snapshot.swap(true, Ordering::SeqCst)
    }

    pub(super) fn give_back_snapshots(&self) {
        self.is_taking_snapshot.store(false, Ordering::SeqCst);
    }

    /// A snapshot could not be written. If there was no room, it is only that.
    pub(super) fn no_snapshot(&self, act: &'static str, name: &str, error: io::Error) -> SnapshotError {
        if is_no_room(&error) {
            return SnapshotError::NoRoom { error: Arc::new(error) };
        }
        self.fail(act, name, error).into()
    }

    /// This snapshot is durable and was read back: with the one before it, it is all that is needed of the past.
    pub(super) fn keep_snapshot(&self, position: u64) -> Result<(), Failure> {
        let kept = if self.settings.planted.is(Mistake::OneSnapshot) { 1 } else { 2 };
        let oldest = {
            let mut books = self.books.lock();
            books.snapshots.insert(position);
            books.snapshots.iter().rev().nth(kept - 1).copied()
        };
        // The first snapshot is alone, and what it stands for may still be needed.
        oldest.map_or(Ok(()), |oldest| self.give_up_before(oldest))
    }

    /// Gives up snapshots before this one, and the segments that begin and end before what follows it.
    pub(super) fn give_up_before(&self, oldest: u64) -> Result<(), Failure> {
        let mut books = self.books.lock();
        let rest = books.snapshots.split_off(&oldest);
        for position in std::mem::replace(&mut books.snapshots, rest) {
            let name = Name::Snapshot(position).text();
            self.attempt("remove", &name, self.disk.remove(&name))?;
        }
        self.sync_names()?;
        let needed = books.segments.iter().rev().find(|(_, first)| **first <= oldest + 1);
        let Some((&needed, _)) = needed else { return Ok(()) };
        let kept = books.segments.split_off(&needed);
        for number in std::mem::replace(&mut books.segments, kept).into_keys() {
            let name = Name::Segment(number).text();
            if books.spares.len() < self.settings.spares_max && self.has_right_length(&name)? {
                let spare = books.free_spare();
                self.attempt("rename", &name, self.disk.rename(&name, &Name::Spare(spare).text()))?;
                books.spares.insert(spare);
            } else {
                self.attempt("remove", &name, self.disk.remove(&name))?;
            }
        }
        self.count_files(&books);
        // The lock on the books is held until then: nobody writes a plate into a file that has its old name on disk.
        self.sync_names()
    }

    fn has_right_length(&self, name: &str) -> Result<bool, Failure> {
        let length = self.disk.open(name).and_then(|file| file.length());
        Ok(self.attempt("open", name, length)? == self.settings.segment_bytes as u64)
    }
}

/// Writes zeros, so that later writes find blocks that belong to the file and the sync of a batch changes no metadata.
fn fill_with_zeros(file: &dyn File, length: usize) -> io::Result<()> {
    let zeros = vec![0; length.min(ZEROS)];
    for offset in (0..length).step_by(ZEROS) {
        write_all(file, &zeros[..zeros.len().min(length - offset)], offset as u64)?;
    }
    Ok(())
}
