//! One batch after the other: one write, one sync, and then it is durable. At most one is under way.
//!
//! Because the next write begins only after the sync of the last one, a crash can tear one batch and no more, and an intact
//! header proves that all before it was durable. The writer owns the file from the first write in a segment to the last
//! sync.

use super::{
    batch::{Body, Site},
    disk::{File, write_all},
    error::{Failure, SnapshotError},
    layout::{Name, SECTOR_BYTES},
    planted::Mistake,
    segment::Plate,
    snapshot::SnapshotWriter,
    store::{Room, Store},
};
use std::sync::Arc;

/// Writes batches. `Journal` has one in a thread; a simulation may drive its own.
pub struct Writer {
    store: Arc<Store>,
    file: Box<dyn File>,
    plate: Plate,
    /// Where the next batch goes.
    offset: usize,
    /// The position of the next record.
    next: u64,
    /// Does the head say that all before `next` is durable?
    is_noted: bool,
}

impl Writer {
    /// Goes on in this segment.
    pub(super) fn new(
        store: Arc<Store>,
        file: Box<dyn File>,
        plate: Plate,
        offset: usize,
        next: u64,
    ) -> Writer {
        let writer = Writer { store, file, plate, offset, next, is_noted: false };
        writer.store.advance(next - 1, writer.left());
        writer
    }

    /// Begins this segment.
    pub(super) fn begun(store: Arc<Store>, file: Box<dyn File>, plate: Plate) -> Writer {
        Writer::new(store, file, plate, SECTOR_BYTES, plate.first)
    }

    /// The position of the next record.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// An empty batch that begins where the last one ended.
    #[must_use]
    pub fn body(&self) -> Body {
        Body::new(self.next)
    }

    /// Writes a batch. When this returns it is durable.
    ///
    /// # Errors
    /// The disk has failed, now or before. Nobody may be told anything more.
    ///
    /// # Panics
    /// It does not begin at [`Writer::next`].
    pub fn write(&mut self, body: &mut Body) -> Result<(), Failure> {
        assert_eq!(body.batch().first(), self.next, "batches follow each other");
        self.store.check()?;
        if body.length() > self.left() {
            self.rotate()?;
        }
        self.put(body)
    }

    /// Notes in the head that all is durable, if that is not there yet. Until then damage of the last batch looks like a
    /// torn write.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn note(&mut self) -> Result<(), Failure> {
        self.store.check()?;
        if !self.is_noted {
            self.store.note_durable()?;
            self.is_noted = true;
        }
        Ok(())
    }

    /// Is there nothing more to note?
    pub(super) fn is_noted(&self) -> bool {
        self.is_noted
    }

    /// Begins a snapshot of everything up to this position.
    ///
    /// # Errors
    /// It is not durable, another one is being written, or the disk is full or has failed.
    pub fn snapshot(&self, position: u64) -> Result<SnapshotWriter, SnapshotError> {
        SnapshotWriter::begin(Arc::clone(&self.store), position)
    }

    /// Fills the reserve of segments, if there is room. Not on the way of a batch: it takes as long as writing them.
    ///
    /// # Errors
    /// The disk has failed; that it is full is none.
    pub fn prepare(&self) -> Result<Room, Failure> {
        self.store.prepare()
    }

    /// What can still be written.
    #[must_use]
    pub fn room(&self) -> Room {
        self.store.room()
    }

    pub(super) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    fn left(&self) -> usize {
        usize::try_from(self.plate.bytes).unwrap_or(usize::MAX).saturating_sub(self.offset)
    }

    fn put(&mut self, body: &mut Body) -> Result<(), Failure> {
        let planted = self.store.settings.planted;
        let name = Name::Segment(self.plate.number).text();
        let site = Site { id: self.plate.id, segment: self.plate.number, offset: self.offset, planted };
        let bytes = body.seal(site, self.next - 1);
        let end = self.offset + bytes.len();
        if planted.is(Mistake::AcknowledgedBeforeSync) {
            self.store.attempt("sync", &name, self.file.sync())?;
        }
        self.store.attempt("write", &name, write_all(&*self.file, bytes, self.offset as u64))?;
        if !planted.is(Mistake::AcknowledgedBeforeSync) {
            let mut synced = self.file.sync();
            if synced.is_err() && planted.is(Mistake::SyncIsTriedAgain) {
                synced = self.file.sync();
            }
            self.store.attempt("sync", &name, synced)?;
        }
        self.offset = end;
        self.next = body.batch().next();
        self.is_noted = false;
        self.store.advance(self.next - 1, self.left());
        Ok(())
    }

    /// Goes on in a new segment. Its plate and the head say that all before it is durable.
    fn rotate(&mut self) -> Result<(), Failure> {
        (self.file, self.plate) = self.store.begin_segment(self.next)?;
        self.offset = SECTOR_BYTES;
        self.is_noted = true;
        self.store.advance(self.next - 1, self.left());
        Ok(())
    }
}
