//! A batch: the records of one write and one sync, there as a whole or not at all.
//!
//! Its header says where it belongs: journal, segment, offset, position. All of that is in its checksum, so that bytes of
//! another place or another life of the file are not taken for it; and the segment's number stands in it in full, because
//! 32 bits of checksum are too few to tell thousands of old batches from a new one. The header has a checksum of its own:
//! an intact header proves that somebody wrote here, even if the records behind it are torn.

use super::{
    layout::{seed, u32_at, u64_at},
    planted::{Mistake, Planted},
};

/// How long a header is.
pub(super) const HEADER_BYTES: usize = 48;

/// Batches begin at multiples of this, so that the search for an intact one is short.
pub(super) const ALIGNMENT: usize = 8;

const MAGIC: &[u8; 4] = b"enqb";

/// Where a batch stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site {
    pub(super) id: u64,
    pub(super) segment: u64,
    pub(super) offset: usize,
    pub(super) planted: Planted,
}

impl Site {
    fn seed(self) -> u32 {
        let segment = if self.planted.is(Mistake::StaleBatchesAreRight) { 0 } else { self.segment };
        seed([self.id, segment, self.offset as u64])
    }
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The position of the first record.
    pub(super) first: u64,
    /// The last position that was durable when the batch was written.
    pub(super) durable: u64,
    /// How many records there are.
    pub(super) count: u32,
    /// How many bytes they take.
    bytes: usize,
    checksum: u32,
}

impl Header {
    /// The header that these bytes, which stand there, begin with, if it is an intact one of this segment.
    pub(super) fn at(bytes: &[u8], site: Site) -> Option<Header> {
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let is_whose = u64_at(header, 8) == site.segment || site.planted.is(Mistake::StaleBatchesAreRight);
        let is_intact = header[..4] == *MAGIC
            && is_whose
            && crc32c::crc32c_append(site.seed(), &header[8..]) == u32_at(header, 4);
        is_intact.then(|| Header {
            first: u64_at(header, 16),
            durable: u64_at(header, 24),
            count: u32_at(header, 32),
            bytes: usize::try_from(u32_at(header, 36)).expect("a usize has 32 bits"),
            checksum: u32_at(header, 40),
        })
    }

    /// Where the next batch stands.
    pub(super) fn end(&self, offset: usize) -> usize {
        (offset + HEADER_BYTES + self.bytes).next_multiple_of(ALIGNMENT)
    }

    /// Are the records behind it as they were written? The bytes begin with the header.
    pub(super) fn has_intact_records(&self, bytes: &[u8], site: Site) -> bool {
        let is_intact = |batch: Batch<'_>| {
            crc32c::crc32c_append(site.seed(), batch.records) == self.checksum && batch.is_whole()
        };
        self.batch(bytes).is_some_and(is_intact)
    }

    /// The records behind it, as they are; nothing if the bytes, which begin with it, end before.
    pub(super) fn batch<'a>(&self, bytes: &'a [u8]) -> Option<Batch<'a>> {
        let records = bytes.get(HEADER_BYTES..)?.get(..self.bytes)?;
        Some(Batch { first: self.first, count: self.count, records })
    }
}

/// Does this begin like the header of a batch in that segment, intact or not?
pub(super) fn is_signed(bytes: &[u8], site: Site) -> bool {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return false };
    header[..4] == *MAGIC && u64_at(header, 8) == site.segment
}

/// Where headers may begin in these bytes, which stand at a multiple of [`ALIGNMENT`].
pub(super) fn beginnings(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let places = bytes.chunks(ALIGNMENT).enumerate();
    places.filter(|(_, place)| place.starts_with(MAGIC)).map(|(number, _)| number * ALIGNMENT)
}

/// Records in order, as they are on disk.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    first: u64,
    count: u32,
    records: &'a [u8],
}

impl<'a> Batch<'a> {
    /// The position of the first record.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// How many records there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The position after the last record.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    /// The records with their positions.
    pub fn records(&self) -> impl Iterator<Item = (u64, &'a [u8])> + use<'a> {
        let mut rest = self.records;
        (self.first..).map_while(move |position| {
            let (record, behind) = split(rest)?;
            rest = behind;
            Some((position, record))
        })
    }

    /// The same without those up to a position.
    pub(super) fn after(self, position: u64) -> Batch<'a> {
        let mut batch = self;
        while batch.first <= position
            && let Some((_, behind)) = split(batch.records)
        {
            batch = Batch { first: batch.first + 1, count: batch.count - 1, records: behind };
        }
        batch
    }

    /// Are its bytes so many records, and nothing else?
    fn is_whole(&self) -> bool {
        let (mut rest, mut count) = (self.records, 0);
        while let Some((_, behind)) = split(rest) {
            rest = behind;
            count += 1;
        }
        rest.is_empty() && count == self.count
    }
}

/// The first record, and what is behind it.
fn split(records: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = records.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

/// A batch that is being filled. Room for its header is at the front, so that all of it is one write.
#[derive(Debug)]
pub struct Body {
    /// Padded when it is sealed.
    bytes: Vec<u8>,
    length: usize,
    first: u64,
    count: u32,
}

impl Body {
    /// No records yet; the first will have this position.
    #[must_use]
    pub fn new(first: u64) -> Body {
        Body { bytes: vec![0; HEADER_BYTES], length: HEADER_BYTES, first, count: 0 }
    }

    /// Adds a record.
    pub fn push(&mut self, record: &[u8]) {
        let length = u32::try_from(record.len()).expect("whoever takes records has measured them");
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(record);
        self.length = self.bytes.len();
        self.count += 1;
    }

    /// How long the batch is, its header included.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// How many bytes of it are records.
    pub(super) fn record_bytes(&self) -> usize {
        self.length - HEADER_BYTES
    }

    /// Its records.
    #[must_use]
    pub fn batch(&self) -> Batch<'_> {
        Batch { first: self.first, count: self.count, records: &self.bytes[HEADER_BYTES..self.length] }
    }

    /// What is written: header, records, and zeros up to the next batch. Nothing is added after that.
    pub(super) fn seal(&mut self, site: Site, durable: u64) -> &[u8] {
        let (header, records) = self.bytes.split_at_mut(HEADER_BYTES);
        let length = u32::try_from(records.len()).expect("a batch is shorter than its limit");
        header[..4].copy_from_slice(MAGIC);
        header[8..16].copy_from_slice(&site.segment.to_le_bytes());
        header[16..24].copy_from_slice(&self.first.to_le_bytes());
        header[24..32].copy_from_slice(&durable.to_le_bytes());
        header[32..36].copy_from_slice(&self.count.to_le_bytes());
        header[36..40].copy_from_slice(&length.to_le_bytes());
        header[40..44].copy_from_slice(&crc32c::crc32c_append(site.seed(), records).to_le_bytes());
        let checksum = crc32c::crc32c_append(site.seed(), &header[8..]);
        header[4..8].copy_from_slice(&checksum.to_le_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
        &self.bytes
    }
}
