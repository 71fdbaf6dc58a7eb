//! The bytes of an image: what writes them, what reads them, and what is said when they are wrong.
//!
//! A number is written in sevens of bits, the lowest first, each but the last with the upper bit set (LEB128). There is
//! one way to write each number, and another one is refused: the bytes of a state are the only ones that it has.
//!
//! The reader trusts nothing: no number makes it look behind the end or make room for more than is left.

use super::super::slab::{Slab, Slot};
use std::fmt;

/// Writes an image.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// One that writes behind what is there.
    #[must_use]
    pub fn behind(bytes: Vec<u8>) -> Writer {
        Writer { bytes }
    }

    /// All that was written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// One byte.
    pub fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// A number, in as few bytes as it takes.
    pub fn number(&mut self, number: u64) {
        if number < 0x80 {
            return self.bytes.push(number.to_le_bytes()[0]);
        }
        let (mut sevens, mut len, mut rest) = ([0; 10], 0, number);
        for seven in &mut sevens {
            *seven = rest.to_le_bytes()[0] | 0x80;
            rest >>= 7;
            len += 1;
            if rest == 0 {
                *seven &= 0x7F;
                break;
            }
        }
        // All ten and then fewer: a copy of a length that is known costs two moves.
        let end = self.bytes.len() + len;
        self.bytes.extend_from_slice(&sevens);
        self.bytes.truncate(end);
    }

    /// So many bytes of which both sides know how many they are.
    pub fn fixed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes behind how many they are.
    pub fn counted(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }
}

/// Reads an image.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// One that has read nothing yet.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// How many bytes are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// What was read last is not what it must be.
    #[cold]
    #[must_use]
    pub fn wrong(&self, what: &'static str) -> Bad {
        Bad(Box::new(Wrong { what: What::Said(what), at: self.at, field: None }))
    }

    /// The version of the layout, which must be this one.
    ///
    /// # Errors
    /// It is another one: of an earlier program, or a later one.
    pub fn version(&mut self, known: u64) -> Result<(), Bad> {
        let found = self.number()?;
        let what = What::Version { found, known };
        if found == known { Ok(()) } else { Err(Bad(Box::new(Wrong { what, at: self.at, field: None }))) }
    }

    /// What was read last must be so.
    ///
    /// # Errors
    /// That it is not.
    pub fn ensure(&self, holds: bool, what: &'static str) -> Result<(), Bad> {
        if holds { Ok(()) } else { Err(self.wrong(what)) }
    }

    /// One byte.
    ///
    /// # Errors
    /// There is none left.
    pub fn byte(&mut self) -> Result<u8, Bad> {
        let Some(byte) = self.bytes.get(self.at) else { return Err(self.wrong(CUT)) };
        self.at += 1;
        Ok(*byte)
    }

    /// A number.
    ///
    /// # Errors
    /// It is cut, greater than 64 bits, or not in as few bytes as it takes.
    pub fn number(&mut self) -> Result<u64, Bad> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(first.into());
        }
        let mut number = u64::from(first & 0x7F);
        for shift in (7..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7F);
            self.ensure(part << shift >> shift == part, "a number of more than 64 bits")?;
            number |= part << shift;
            if byte < 0x80 {
                self.ensure(byte != 0, "a number in more bytes than it takes")?;
                return Ok(number);
            }
        }
        Err(self.wrong("a number of more than 64 bits"))
    }

    /// So many bytes.
    ///
    /// # Errors
    /// There are not so many left.
    pub fn slice(&mut self, len: usize) -> Result<&'a [u8], Bad> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(slice) = rest.get(..len) else { return Err(self.wrong(CUT)) };
        self.at += len;
        Ok(slice)
    }

    /// As many bytes as both sides know.
    ///
    /// # Errors
    /// There are not so many left.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        let mut fixed = [0; N];
        fixed.copy_from_slice(self.slice(N)?);
        Ok(fixed)
    }

    /// How many things follow, each of one byte at least.
    ///
    /// # Errors
    /// More than there are bytes left.
    pub fn count(&mut self) -> Result<usize, Bad> {
        let count = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        self.ensure(count <= self.left(), "more things than bytes")?;
        Ok(count)
    }

    /// Bytes behind how many they are.
    ///
    /// # Errors
    /// There are not so many left.
    pub fn counted(&mut self) -> Result<&'a [u8], Bad> {
        let len = self.count()?;
        self.slice(len)
    }

    /// A slot that is live here.
    pub(in super::super) fn slot_in<T>(&mut self, slab: &Slab<T>) -> Result<Slot<T>, Bad> {
        let index = u32::try_from(self.number()?).ok();
        let slot = index.and_then(|index| slab.live_at(index));
        slot.ok_or_else(|| self.wrong("a slot that is not live"))
    }

    /// The next slot of a list that a 0 ends: a slot that is live here, or none at the end.
    pub(in super::super) fn listed_in<T>(&mut self, slab: &Slab<T>) -> Result<Option<Slot<T>>, Bad> {
        let Some(index) = self.number()?.checked_sub(1) else { return Ok(None) };
        let slot = u32::try_from(index).ok().and_then(|index| slab.live_at(index));
        slot.map(Some).ok_or_else(|| self.wrong("a slot in a list that is not live"))
    }

    /// Everything has been read.
    ///
    /// # Errors
    /// Something is left.
    pub fn end(&self) -> Result<(), Bad> {
        self.ensure(self.left() == 0, "bytes behind the end")
    }
}

const CUT: &str = "the end too early";

/// Bytes that are not an image: what is wrong, and behind which byte. As small as a pointer, for every number that is
/// read may be wrong, and none is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad(Box<Wrong>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Said(&'static str),
    Version { found: u64, known: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Wrong {
    what: What,
    at: usize,
    field: Option<(&'static str, &'static str)>,
}

impl Bad {
    /// It is a field of this; what lies in it has told its own already.
    #[cold]
    #[must_use]
    pub fn within(mut self, whole: &'static str, field: &'static str) -> Bad {
        self.0.field.get_or_insert((whole, field));
        self
    }

    /// Behind which byte.
    #[must_use]
    pub fn at(&self) -> usize {
        self.0.at
    }
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Wrong { what, at, field } = &*self.0;
        match what {
            What::Said(what) => write!(f, "no state image: {what}, before byte {at}")?,
            What::Version { found, known } => {
                write!(f, "a state image of layout {found}, and this program knows layout {known}")?;
            }
        }
        match field {
            Some((whole, field)) => write!(f, ", in {field} of {whole}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Bad {}
