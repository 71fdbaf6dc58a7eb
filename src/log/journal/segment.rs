//! A segment: a plate in a sector of its own, then batches, then what is left of an earlier life, or zeros.
//!
//! It is read as a whole and walked from its first batch on; batches stand close together. Where the walk ends, these bytes
//! cannot say alone what that means: that is for who knows the other segments and the head (`recovery.rs`).

use super::{
    batch::{ALIGNMENT, Batch, Header, Site, is_signed},
    contents::Access,
    disk::{File, read_up_to},
    error::OpenError,
    layout::{BATCH_BYTES_MAX, BadPlate, Kind, Name, PLATE_BYTES, SECTOR_BYTES, plate, read_plate},
};
use std::io;

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

/// A segment that is being walked.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) plate: Plate,
    bytes: Vec<u8>,
    site: Site,
    /// Where the batch before this place begins.
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
    /// Reads all of it; its plate has been looked at before.
    pub(super) fn read(access: &Access<'_>, plate: Plate) -> Result<Segment, OpenError> {
        let name = Name::Segment(plate.number).text();
        let unusable = |error| OpenError::unusable(access.disk, &name, error);
        let file = access.disk.open(&name).map_err(unusable)?;
        let bytes = read_whole(&*file).map_err(unusable)?;
        let site =
            Site { id: plate.id, segment: plate.number, offset: SECTOR_BYTES, planted: access.planted };
        Ok(Segment { plate, bytes, site, before: None })
    }

    /// Where the walk is.
    pub(super) fn offset(&self) -> usize {
        self.site.offset
    }

    /// What comes next; a batch is stepped over.
    pub(super) fn step(&mut self) -> Found {
        let site = self.site;
        let wrong = match Header::at(&self.bytes, site) {
            Some(header) if header.has_intact_records(&self.bytes, site) => {
                self.before = Some(site.offset);
                self.site.offset = header.end(site.offset);
                return Found::Batch(header, site.offset);
            }
            Some(_) => Some("the records of a batch are not intact"),
            None if is_signed(&self.bytes, site) => Some("the header of a batch is not intact"),
            None => None,
        };
        match self.intact_behind() {
            Some((offset, header)) => Found::Gap(wrong.unwrap_or("there is no batch"), header, offset),
            None => Found::End(wrong),
        }
    }

    /// The batch that was found there.
    pub(super) fn batch(&self, header: Header, offset: usize) -> Batch<'_> {
        header.batch(&self.bytes, offset).expect("it was intact when it was found")
    }

    /// The first intact header behind this place, with its offset. Whoever wrote it knew that all before it was durable.
    fn intact_behind(&self) -> Option<(usize, Header)> {
        let offsets = (self.site.offset + ALIGNMENT..self.bytes.len()).step_by(ALIGNMENT);
        let mut headers =
            offsets.map(|offset| (offset, Header::at(&self.bytes, Site { offset, ..self.site })));
        headers.find_map(|(offset, header)| Some((offset, header?)))
    }

    /// The last batch again, as it is written, and zeros behind it, as far as a torn one can have reached; and where that
    /// begins.
    pub(super) fn tail(&self) -> (usize, Vec<u8>) {
        let end = self.site.offset;
        let begin = self.before.unwrap_or(end);
        let mut bytes = self.bytes[begin..end].to_vec();
        bytes.resize(self.bytes.len().min(end + BATCH_BYTES_MAX) - begin, 0);
        (begin, bytes)
    }
}

fn read_whole(file: &dyn File) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.length()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    let read = read_up_to(file, &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}
