//! Names and limits, and the plate that says what a file is (`docs/journal.md` has it byte by byte).
//!
//! Every number is little-endian. A plate is 64 bytes: what it is the plate of, the version of the format, a checksum, six
//! numbers. The checksum is looked at before the version, so that a damaged plate is not taken for one of the future.

use super::{batch::HEADER_BYTES, planted::Planted};
use std::time::Duration;

/// The version of all that is written here.
const VERSION: u32 = 1;

/// A batch, its header included, is never longer: so much is zeroed behind a tail that is cut, and held in memory twice.
pub const BATCH_BYTES_MAX: usize = 1 << 20;

/// What a record takes in a batch beside its own bytes.
pub const RECORD_OVERHEAD: usize = 4;

/// The sector of its own that plates stand in: it is written whole or not at all.
pub(super) const SECTOR_BYTES: usize = 512;

/// How long a plate is.
pub(super) const PLATE_BYTES: usize = 64;

/// How a journal is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The length of a new segment.
    pub segment_bytes: usize,
    /// The longest batch, its header included.
    pub batch_bytes: usize,
    /// As many segments are kept in reserve for a full disk.
    pub spares: usize,
    /// Of the segments that are not needed any more, so many are kept for recycling.
    pub spares_max: usize,
    /// What may wait to be written, in bytes; more is refused.
    pub queue_bytes: usize,
    /// After so long without a record the head gets to know that all of them are durable.
    pub idle: Duration,
    /// A mistake, in tests.
    pub planted: Planted,
}

impl Default for Settings {
    /// Segments of 64 MiB: a rotation costs a few syncs, every ten seconds at full load. Two spare ones take the releases
    /// of a million locks. 8 MiB in the queue are a tenth of a second of writing.
    fn default() -> Settings {
        Settings {
            segment_bytes: 64 << 20,
            batch_bytes: BATCH_BYTES_MAX,
            spares: 2,
            spares_max: 8,
            queue_bytes: 8 << 20,
            idle: Duration::from_millis(50),
            planted: Planted::NONE,
        }
    }
}

impl Settings {
    /// The longest record.
    #[must_use]
    pub fn record_bytes_max(&self) -> usize {
        self.batch_bytes - HEADER_BYTES - RECORD_OVERHEAD
    }

    /// Do they make sense together?
    pub(super) fn check(&self) {
        assert!(self.batch_bytes <= BATCH_BYTES_MAX, "batches of at most {BATCH_BYTES_MAX} bytes");
        assert!(self.batch_bytes >= 2 * HEADER_BYTES, "batches with room for a record");
        assert!(self.segment_bytes.is_multiple_of(SECTOR_BYTES), "segments of whole sectors");
        assert!(
            self.segment_bytes >= SECTOR_BYTES + self.batch_bytes + HEADER_BYTES,
            "segments that hold a batch"
        );
    }
}

/// What a file of the directory is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    /// Epoch and newest segment.
    Head,
    /// What is being applied.
    Attempts,
    /// The segment with this number.
    Segment(u64),
    /// A segment that is not in use.
    Spare(u64),
    /// The snapshot of everything up to this position.
    Snapshot(u64),
    /// A file that was being made when somebody stopped.
    Unfinished,
}

/// What a name of an unfinished file ends in.
pub(super) const UNFINISHED: &str = ".new";

impl Name {
    /// The name as the directory has it. Numbers have all their digits, so that a listing is in order.
    pub(super) fn text(self) -> String {
        match self {
            Name::Head => "head".into(),
            Name::Attempts => "attempts".into(),
            Name::Segment(number) => format!("{number:020}.segment"),
            Name::Spare(number) => format!("{number:020}.spare"),
            Name::Snapshot(position) => format!("{position:020}.snapshot"),
            Name::Unfinished => UNFINISHED.into(),
        }
    }

    /// The name while the file is being made.
    pub(super) fn unfinished(self) -> String {
        self.text() + UNFINISHED
    }

    /// What this name says; nothing if it is none of ours.
    pub(super) fn of(text: &str) -> Option<Name> {
        if let Some(name) = text.strip_suffix(UNFINISHED) {
            return Name::of(name).map(|_| Name::Unfinished);
        }
        let number = |ending: &str| text.strip_suffix(ending).and_then(|digits| digits.parse().ok());
        let named = [
            Some(Name::Head),
            Some(Name::Attempts),
            number(".segment").map(Name::Segment),
            number(".spare").map(Name::Spare),
            number(".snapshot").map(Name::Snapshot),
        ];
        named.into_iter().flatten().find(|name| name.text() == text)
    }
}

/// What a plate is the plate of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Head,
    Segment,
    Snapshot,
    Attempts,
    Backup,
}

impl Kind {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            Kind::Head => b"enq-head",
            Kind::Segment => b"enq-sgmt",
            Kind::Snapshot => b"enq-snap",
            Kind::Attempts => b"enq-atmp",
            Kind::Backup => b"enq-bkup",
        }
    }
}

/// What is wrong with a plate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadPlate {
    /// It is not what was written.
    Damaged,
    /// Another version wrote it.
    Version(u32),
}

/// The bytes of a plate.
pub(super) fn plate(kind: Kind, numbers: [u64; 6]) -> [u8; PLATE_BYTES] {
    let mut bytes = [0; PLATE_BYTES];
    bytes[..8].copy_from_slice(kind.magic());
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    for (at, number) in (16..).step_by(8).zip(numbers) {
        bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
    }
    let checksum = checksum_of_plate(&bytes);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The numbers of a plate of this kind.
pub(super) fn read_plate(kind: Kind, bytes: &[u8]) -> Result<[u64; 6], BadPlate> {
    let bytes: &[u8; PLATE_BYTES] = bytes.first_chunk().ok_or(BadPlate::Damaged)?;
    if bytes[..8] != *kind.magic() || checksum_of_plate(bytes) != u32_at(bytes, 12) {
        return Err(BadPlate::Damaged);
    }
    match u32_at(bytes, 8) {
        VERSION => Ok([16, 24, 32, 40, 48, 56].map(|at| u64_at(bytes, at))),
        version => Err(BadPlate::Version(version)),
    }
}

fn checksum_of_plate(bytes: &[u8; PLATE_BYTES]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..])
}

/// The checksum that others begin with: bytes that are right in another place, or in another journal, are wrong here.
pub(super) fn seed(numbers: [u64; 3]) -> u32 {
    numbers.iter().fold(0, |sum, number| crc32c::crc32c_append(sum, &number.to_le_bytes()))
}

/// The number in four bytes.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("the length was checked"))
}

/// The number in eight bytes.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("the length was checked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_a_file_is_and_nothing_else_does() {
        for name in [Name::Head, Name::Attempts, Name::Segment(7), Name::Spare(1), Name::Snapshot(u64::MAX)] {
            assert_eq!(Name::of(&name.text()), Some(name));
            assert_eq!(Name::of(&name.unfinished()), Some(Name::Unfinished));
        }
        for text in [
            "",
            ".new",
            "7.segment",
            "head2",
            "notes",
            "00000000000000000007.segment.bak",
            "+0000000000000000007.spare",
        ] {
            assert_eq!(Name::of(text), None, "{text}");
        }
    }

    #[test]
    fn a_plate_with_any_bit_wrong_is_damaged_and_only_a_good_one_has_a_version() {
        let good = plate(Kind::Head, [1, 2, 3, 4, 5, 6]);
        assert_eq!(read_plate(Kind::Head, &good), Ok([1, 2, 3, 4, 5, 6]));
        assert_eq!(read_plate(Kind::Segment, &good), Err(BadPlate::Damaged));
        assert_eq!(read_plate(Kind::Head, &good[..63]), Err(BadPlate::Damaged));
        for bit in 0..8 * PLATE_BYTES {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read_plate(Kind::Head, &bad), Err(BadPlate::Damaged), "bit {bit}");
        }
        let mut future = good;
        future[8] = 9;
        let checksum = checksum_of_plate(&future);
        future[12..16].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(read_plate(Kind::Head, &future), Err(BadPlate::Version(9)));
    }
}
