//! A segment: a plate in a sector of its own, then batches, then what is left of an earlier life, or zeros.
//!
//! It is walked from its first batch on; batches stand close together, and a part of the file is in memory at a time. Where
//! the walk ends, these bytes cannot say alone what that means: that is for who knows the other segments and the head
//! (`recovery.rs`).

use super::{
    batch::{ALIGNMENT, Batch, HEADER_BYTES, Header, Site, beginnings, is_signed},
    contents::Access,
    disk::{File, read_up_to},
    error::OpenError,
    layout::{BATCH_BYTES_MAX, BadPlate, Kind, Name, PLATE_BYTES, SECTOR_BYTES, plate, read_plate},
};
use std::{io, path::PathBuf};

/// What a segment's plate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plate {
    pub(super) id: u64,
    /// Its number: each life of a file has another one, and it is never used again.
    pub(super) number: u64,
    /// The position of its first record. All before it were durable when this was written.
    pub(super) first: u64,
    /// How long the file is.
    pub(super) bytes: u64,
}

impl Plate {
    pub(super) fn bytes(self) -> [u8; PLATE_BYTES] {
        plate(Kind::Segment, [self.id, self.number, self.first, self.bytes, 0, 0])
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Plate, BadPlate> {
        let [id, number, first, bytes, ..] = read_plate(Kind::Segment, bytes)?;
        Ok(Plate { id, number, first, bytes })
    }
}

/// So much is read at a time, if there is so much.
const PART_BYTES: usize = 4 * BATCH_BYTES_MAX;

/// A segment that is being walked.
pub(super) struct Segment {
    pub(super) plate: Plate,
    path: PathBuf,
    file: Box<dyn File>,
    /// How long the file is.
    length: usize,
    /// Where the part that is in memory begins.
    begin: usize,
    part: Vec<u8>,
    site: Site,
    /// Where the batch before this place begins; it is in memory.
    before: Option<usize>,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Found {
    /// A batch, intact, and where.
    Batch(Header, usize),
    /// Nothing intact any more. If something of this segment stands there and is not as it was written, what is wrong.
    End(Option<&'static str>),
    /// No batch here, and an intact one behind: what is between is lost.
    Gap(&'static str, Header, usize),
}

impl Segment {
    /// Begins the walk; its plate has been looked at before.
    pub(super) fn open(access: &Access<'_>, plate: Plate) -> Result<Segment, OpenError> {
        let name = Name::Segment(plate.number).text();
        let unusable = |error| OpenError::unusable(access.disk, &name, error);
        let file = access.disk.open(&name).map_err(unusable)?;
        let length = file.length().and_then(|length| usize::try_from(length).map_err(io::Error::other));
        let length = length.map_err(unusable)?;
        let site =
            Site { id: plate.id, segment: plate.number, offset: SECTOR_BYTES, planted: access.planted };
        let path = access.disk.path(&name);
        Ok(Segment { plate, path, file, length, begin: SECTOR_BYTES, part: Vec::new(), site, before: None })
    }

    /// Where the walk is.
    pub(super) fn offset(&self) -> usize {
        self.site.offset
    }

    /// What comes next; a batch is stepped over.
    pub(super) fn step(&mut self) -> Result<Found, OpenError> {
        self.read_on().map_err(|error| OpenError::Unusable { path: self.path.clone(), error })?;
        let (site, bytes) = (self.site, self.bytes_at(self.site.offset));
        let wrong = match Header::at(bytes, site) {
            Some(header) if header.has_intact_records(bytes, site) => {
                self.before = Some(site.offset);
                self.site.offset = header.end(site.offset);
                return Ok(Found::Batch(header, site.offset));
            }
            Some(_) => Some("the records of a batch are not intact"),
            None if is_signed(bytes, site) => Some("the header of a batch is not intact"),
            None => None,
        };
        let behind = self.intact_behind();
        match behind.map_err(|error| OpenError::Unusable { path: self.path.clone(), error })? {
            Some((offset, header)) => Ok(Found::Gap(wrong.unwrap_or("there is no batch"), header, offset)),
            None => Ok(Found::End(wrong)),
        }
    }

    /// Sees to it that the longest batch that may stand here is in memory, and the one before.
    fn read_on(&mut self) -> io::Result<()> {
        let offset = self.site.offset;
        let end = self.begin + self.part.len();
        if end >= self.length.min(offset + BATCH_BYTES_MAX) {
            return Ok(());
        }
        let begin = self.before.unwrap_or(offset);
        self.part.drain(..begin - self.begin);
        self.begin = begin;
        self.part.resize(self.length.min(offset + PART_BYTES) - begin, 0);
        let read = read_up_to(&*self.file, &mut self.part[end - begin..], end as u64)?;
        self.part.truncate(end - begin + read);
        Ok(())
    }

    /// What is in memory from this place on.
    fn bytes_at(&self, offset: usize) -> &[u8] {
        self.part.get(offset - self.begin..).unwrap_or_default()
    }

    /// The batch that was found there.
    pub(super) fn batch(&self, header: Header, offset: usize) -> Batch<'_> {
        header.batch(self.bytes_at(offset)).expect("it was intact when it was found")
    }

    /// The first intact header behind this place, with its offset. Whoever wrote it knew that all before it was durable.
    fn intact_behind(&self) -> io::Result<Option<(usize, Header)>> {
        let most = self.length.saturating_sub(self.site.offset).min(BATCH_BYTES_MAX + HEADER_BYTES);
        let mut part = vec![0; most];
        for begin in (self.site.offset + ALIGNMENT..self.length).step_by(BATCH_BYTES_MAX) {
            let read = read_up_to(&*self.file, &mut part, begin as u64)?;
            for at in beginnings(&part[..read.min(BATCH_BYTES_MAX)]) {
                let offset = begin + at;
                if let Some(header) = Header::at(&part[at..read], Site { offset, ..self.site }) {
                    return Ok(Some((offset, header)));
                }
            }
        }
        Ok(None)
    }

    /// The last batch again, as it is written, and zeros behind it, as far as a torn one can have reached; and where that
    /// begins.
    pub(super) fn tail(&self) -> (usize, Vec<u8>) {
        let end = self.site.offset;
        let begin = self.before.unwrap_or(end);
        let mut bytes = self.bytes_at(begin)[..end - begin].to_vec();
        bytes.resize(self.length.min(end + BATCH_BYTES_MAX) - begin, 0);
        (begin, bytes)
    }
}
