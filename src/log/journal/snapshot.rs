//! A snapshot: bytes that stand for everything up to a position, in pieces with checksums and a count at the end.
//!
//! It is written under another name, synced, renamed, the directory is synced, and it is read back from its first byte to
//! its last, before anything that it stands for is given up (`store.rs`). A reader never hands out a piece that is not
//! intact, and says that it is whole only when the count and the end of the file agree.

use super::{
    contents::Access,
    disk::{Disk, File, read_up_to, write_all},
    error::{Damage, OpenError, SnapshotError},
    layout::{BadPlate, Kind, Name, PLATE_BYTES, plate, read_plate, seed, u32_at, u64_at},
    planted::{Mistake, Planted},
    store::Store,
};
use std::{io, path::PathBuf, sync::Arc};

/// A piece is read and checked as a whole, so it is no longer than this.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// Length and checksum before each piece.
const PREFIX_BYTES: usize = 8;

/// The last piece has no length; behind its checksum stand the number of pieces and of their bytes.
const TRAILER_BYTES: usize = PREFIX_BYTES + 16;

/// The checksum of a piece: of its place, its length, its bytes.
fn checksum(place: [u64; 3], length: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed(place), &length.to_le_bytes()), bytes)
}

/// Writes all pieces of this content behind a plate, and the end. Says where that is.
pub(super) fn put_pieces(file: &dyn File, (id, position): (u64, u64), content: &[u8]) -> io::Result<u64> {
    let mut at = PLATE_BYTES as u64;
    let mut number = 0_u64;
    let mut put = |length: u32, number: u64, bytes: &[u8]| -> io::Result<u64> {
        let checksum = checksum([id, position, number], length, bytes);
        let piece = [&length.to_le_bytes()[..], &checksum.to_le_bytes(), bytes].concat();
        write_all(file, &piece, at)?;
        at += piece.len() as u64;
        Ok(at)
    };
    for piece in content.chunks(PIECE_BYTES_MAX) {
        let length = u32::try_from(piece.len()).expect("a piece is shorter than its limit");
        put(length, number, piece)?;
        number += 1;
    }
    put(0, number, &[number.to_le_bytes(), (content.len() as u64).to_le_bytes()].concat())
}

/// A snapshot that is being written. Dropped before it is finished, it is none.
pub struct SnapshotWriter {
    store: Arc<Store>,
    position: u64,
    file: Box<dyn File>,
    /// What is written so far, with the plate.
    end: u64,
    piece: Vec<u8>,
    pieces: u64,
    is_finished: bool,
}

impl SnapshotWriter {
    pub(super) fn begin(store: Arc<Store>, position: u64) -> Result<SnapshotWriter, SnapshotError> {
        let durable = store.durable();
        if position > durable {
            return Err(SnapshotError::TooEarly { position, durable });
        }
        store.check()?;
        if !store.take_snapshots() {
            return Err(SnapshotError::Busy);
        }
        let name = Name::Snapshot(position).unfinished();
        let file = match store.disk.create(&name) {
            Ok(file) => file,
            Err(error) => {
                store.give_back_snapshots();
                return Err(store.no_snapshot("create", &name, error));
            }
        };
        let end = PLATE_BYTES as u64;
        let mut writer =
            SnapshotWriter { store, position, file, end, piece: Vec::new(), pieces: 0, is_finished: false };
        let plate = plate(Kind::Snapshot, [writer.store.id, position, 0, 0, 0, 0]);
        writer.put(&plate, 0)?;
        Ok(writer)
    }

    /// What it stands for.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// They cannot be written; then there is no snapshot.
    pub fn add(&mut self, mut bytes: &[u8]) -> Result<(), SnapshotError> {
        while !bytes.is_empty() {
            let (fits, rest) = bytes.split_at(bytes.len().min(PIECE_BYTES_MAX - self.piece.len()));
            self.piece.extend_from_slice(fits);
            bytes = rest;
            if self.piece.len() == PIECE_BYTES_MAX {
                self.close_piece()?;
            }
        }
        Ok(())
    }

    fn close_piece(&mut self) -> Result<(), SnapshotError> {
        let length = u32::try_from(self.piece.len()).expect("a piece is shorter than its limit");
        let checksum = checksum([self.store.id, self.position, self.pieces], length, &self.piece);
        let prefix = [length.to_le_bytes(), checksum.to_le_bytes()].concat();
        let piece = [&prefix, &*self.piece].concat();
        self.put(&piece, self.end)?;
        self.end += piece.len() as u64;
        self.pieces += 1;
        self.piece.clear();
        Ok(())
    }

    /// Makes it durable, reads it back, and gives up what it replaces: older snapshots but one, and segments that nobody
    /// needs any more.
    ///
    /// # Errors
    /// There is no snapshot, or it is there and the disk failed after that.
    pub fn finish(mut self) -> Result<(), SnapshotError> {
        if !self.piece.is_empty() {
            self.close_piece()?;
        }
        let content = self.end - PLATE_BYTES as u64 - self.pieces * PREFIX_BYTES as u64;
        let counts = [self.pieces.to_le_bytes(), content.to_le_bytes()].concat();
        let checksum = checksum([self.store.id, self.position, self.pieces], 0, &counts);
        self.put(&[&0_u32.to_le_bytes(), &checksum.to_le_bytes(), &*counts].concat(), self.end)?;
        let store = Arc::clone(&self.store);
        if store.settings.planted.is(Mistake::RecycledTooEarly) {
            store.give_up_before(self.position)?;
        }
        let (unfinished, name) =
            (Name::Snapshot(self.position).unfinished(), Name::Snapshot(self.position).text());
        if !store.settings.planted.is(Mistake::NamedBeforeSynced)
            && let Err(error) = self.file.sync()
        {
            return Err(store.no_snapshot("sync", &unfinished, error));
        }
        store.attempt("rename", &unfinished, store.disk.rename(&unfinished, &name))?;
        self.is_finished = true;
        store.sync_names()?;
        let access = Access { disk: &*store.disk, planted: Planted::NONE };
        let verified =
            SnapshotReader::open(&access, Some(store.id), self.position).and_then(SnapshotReader::verify);
        verified.map_err(|error| store.fail("read back", &name, std::io::Error::other(error)))?;
        store.keep_snapshot(self.position)?;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8], offset: u64) -> Result<(), SnapshotError> {
        let name = Name::Snapshot(self.position).unfinished();
        self.store.check()?;
        write_all(&*self.file, bytes, offset).map_err(|error| self.store.no_snapshot("write", &name, error))
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.is_finished && self.store.check().is_ok() {
            let name = Name::Snapshot(self.position).unfinished();
            let _ = self.store.attempt("remove", &name, self.store.disk.remove(&name));
        }
        self.store.give_back_snapshots();
    }
}

/// A snapshot, piece by piece.
pub struct SnapshotReader {
    path: PathBuf,
    file: Box<dyn File>,
    id: u64,
    position: u64,
    at: u64,
    piece: Vec<u8>,
    pieces: u64,
    content: u64,
}

impl SnapshotReader {
    /// Opens the snapshot of this position; of this journal, if it is known which one that is.
    pub(super) fn open(
        access: &Access<'_>,
        id: Option<u64>,
        position: u64,
    ) -> Result<SnapshotReader, OpenError> {
        let disk: &dyn Disk = access.disk;
        let name = Name::Snapshot(position).text();
        let unusable = |error| OpenError::unusable(disk, &name, error);
        let path = disk.path(&name);
        let damage = |why| Damage { file: path.clone(), offset: Some(0), position: None, why, proof: None };
        let file = disk.open(&name).map_err(unusable)?;
        let mut bytes = [0; PLATE_BYTES];
        read_up_to(&*file, &mut bytes, 0).map_err(unusable)?;
        let [whose, of, ..] = match read_plate(Kind::Snapshot, &bytes) {
            Ok(numbers) => numbers,
            Err(BadPlate::Version(version)) => return Err(OpenError::Version { file: path, version }),
            Err(BadPlate::Damaged) => return Err(damage("its first 64 bytes are not intact").into()),
        };
        if id.is_some_and(|id| id != whose) {
            return Err(OpenError::Stranger { file: path });
        }
        if of != position {
            return Err(damage("it is another snapshot than its name says").into());
        }
        Ok(SnapshotReader::behind_plate(path, file, (whose, position)))
    }

    /// The pieces behind a plate that has been looked at.
    pub(super) fn behind_plate(
        path: PathBuf,
        file: Box<dyn File>,
        (id, position): (u64, u64),
    ) -> SnapshotReader {
        let (piece, at) = (Vec::new(), PLATE_BYTES as u64);
        SnapshotReader { path, file, id, position, at, piece, pieces: 0, content: 0 }
    }

    /// What it stands for.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next piece; nothing after the last one, and then the snapshot is known to be whole.
    ///
    /// # Errors
    /// It is damaged here, or cannot be read.
    pub fn piece(&mut self) -> Result<Option<&[u8]>, OpenError> {
        let unusable = |path: &PathBuf, error| OpenError::Unusable { path: path.clone(), error };
        let mut prefix = [0; TRAILER_BYTES];
        let read =
            read_up_to(&*self.file, &mut prefix, self.at).map_err(|error| unusable(&self.path, error))?;
        let (length, expected) = (u32_at(&prefix, 0), u32_at(&prefix, 4));
        let place = [self.id, self.position, self.pieces];
        if length == 0 {
            let counts = &prefix[PREFIX_BYTES..];
            // A file that is cut within the upper bytes of a count, which are 0, is not whole either.
            let is_last = read == TRAILER_BYTES
                && checksum(place, 0, counts) == expected
                && (u64_at(counts, 0), u64_at(counts, 8)) == (self.pieces, self.content)
                && self.file.length().map_err(|error| unusable(&self.path, error))? == self.at + read as u64;
            return if is_last { Ok(None) } else { Err(self.damage("its end is not intact")) };
        }
        let bytes = usize::try_from(length).unwrap_or(usize::MAX);
        if bytes > PIECE_BYTES_MAX {
            return Err(self.damage("a piece is longer than it can be"));
        }
        self.piece.resize(bytes, 0);
        let begin = self.at + PREFIX_BYTES as u64;
        let read =
            read_up_to(&*self.file, &mut self.piece, begin).map_err(|error| unusable(&self.path, error))?;
        if read < bytes || checksum(place, length, &self.piece) != expected {
            return Err(self.damage("a piece is not intact"));
        }
        self.at = begin + u64::from(length);
        self.pieces += 1;
        self.content += u64::from(length);
        Ok(Some(&self.piece))
    }

    /// Reads it to its end.
    ///
    /// # Errors
    /// It is damaged, or cannot be read.
    pub fn verify(mut self) -> Result<(), OpenError> {
        while self.piece()?.is_some() {}
        Ok(())
    }

    fn damage(&self, why: &'static str) -> OpenError {
        Damage { file: self.path.clone(), offset: Some(self.at), position: None, why, proof: None }.into()
    }
}
