//! Takes fields from the front of a body. Never panics, never reads past the end, never allocates.

use super::super::{DecodeError, Extensions, Fault, HEADER_LEN, Header, Kind};
use crate::vocabulary::NAME_LEN_MAX;

/// The rest of a body.
pub(super) struct Reader<'a> {
    message: Kind,
    /// How long the body is.
    whole: usize,
    rest: &'a [u8],
}

pub(super) type Read<T> = Result<T, DecodeError>;

impl<'a> Reader<'a> {
    /// Begins a body. What the header reserves must be 0, and `numbered` says whether its number must.
    #[inline]
    pub(super) fn new(header: &Header, body: &'a [u8], numbered: bool) -> Read<Reader<'a>> {
        let fail = |field, offset, fault| Err(DecodeError { message: header.kind, field, offset, fault });
        if header.flags != 0 {
            return fail("header flags", 5, Fault::Reserved { value: u64::from(header.flags) });
        }
        if header.reserved != 0 {
            return fail("header reserved", 6, Fault::Reserved { value: u64::from(header.reserved) });
        }
        match (numbered, header.number) {
            (true, 0) => return fail("number", 8, Fault::NoNumber),
            (false, value @ 1..) => return fail("number", 8, Fault::Reserved { value }),
            _ => {}
        }
        Ok(Reader { message: header.kind, whole: body.len(), rest: body })
    }

    /// Where the next field begins in the frame.
    pub(super) fn offset(&self) -> usize {
        HEADER_LEN + self.whole - self.rest.len()
    }

    /// Which message this is.
    pub(super) fn message(&self) -> Kind {
        self.message
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// An error in the field that begins there.
    pub(super) fn fail(&self, field: &'static str, offset: usize, fault: Fault) -> DecodeError {
        DecodeError { message: self.message, field, offset, fault }
    }

    /// So many bytes, whatever they are.
    #[inline]
    pub(super) fn array<const N: usize>(&mut self, field: &'static str) -> Read<[u8; N]> {
        match self.rest.split_first_chunk::<N>() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(*bytes)
            }
            None => Err(self.fail(field, self.offset(), Fault::Truncated { need: N, have: self.rest.len() })),
        }
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Read<u8> {
        self.array(field).map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Read<u16> {
        self.array(field).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Read<u32> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Read<u64> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// 0 or 1.
    pub(super) fn bool(&mut self, field: &'static str) -> Read<bool> {
        let offset = self.offset();
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            number => Err(self.fail(field, offset, Fault::BadChoice { number })),
        }
    }

    /// A `bool` that says whether the field is there, and the field.
    pub(super) fn option<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Self, &'static str) -> Read<T>,
    ) -> Read<Option<T>> {
        if self.bool(field)? { read(self, field).map(Some) } else { Ok(None) }
    }

    /// A length of 16 bits and so many bytes; `wrong` is the fault if they are not all there.
    #[inline]
    fn bytes_or(&mut self, field: &'static str, wrong: impl FnOnce(usize, usize) -> Fault) -> Read<&'a [u8]> {
        let offset = self.offset();
        let len = usize::from(self.u16(field)?);
        match self.rest.split_at_checked(len) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(self.fail(field, offset, wrong(len, self.rest.len()))),
        }
    }

    /// A length of 16 bits and at most `max` bytes.
    pub(super) fn bytes(&mut self, field: &'static str, max: usize) -> Read<&'a [u8]> {
        let offset = self.offset();
        let bytes = self.bytes_or(field, |need, have| Fault::Truncated { need, have })?;
        if bytes.len() > max {
            return Err(self.fail(field, offset, Fault::TooLong { len: bytes.len(), max }));
        }
        Ok(bytes)
    }

    /// The bytes of a value block; how many there may be is the lockspace's business.
    pub(super) fn value(&mut self, field: &'static str) -> Read<&'a [u8]> {
        self.bytes_or(field, |len, _| Fault::BadValue { len })
    }

    /// The bytes of one name.
    pub(super) fn name(&mut self, field: &'static str) -> Read<&'a [u8]> {
        let offset = self.offset();
        let name = self.bytes_or(field, |len, _| Fault::BadName { len })?;
        match name.len() {
            1..=NAME_LEN_MAX => Ok(name),
            len => Err(self.fail(field, offset, Fault::BadName { len })),
        }
    }

    /// Text of at most `max` bytes.
    pub(super) fn text(&mut self, field: &'static str, max: usize) -> Read<&'a str> {
        let offset = self.offset();
        let bytes = self.bytes(field, max)?;
        core::str::from_utf8(bytes).map_err(|_| self.fail(field, offset, Fault::BadText))
    }

    /// How many items follow, each of which takes at least `item_len_min` bytes.
    pub(super) fn count(&mut self, field: &'static str, item_len_min: usize) -> Read<usize> {
        let offset = self.offset();
        let count = usize::from(self.u16(field)?);
        let need = count.saturating_mul(item_len_min);
        if need > self.rest.len() {
            return Err(self.fail(field, offset, Fault::Truncated { need, have: self.rest.len() }));
        }
        Ok(count)
    }

    /// The list of extensions, with which every body ends.
    #[inline]
    pub(super) fn finish(mut self, known: &[u16]) -> Read<Extensions<'a>> {
        const FIELD: &str = "extensions";
        let bytes = self.bytes(FIELD, usize::MAX)?;
        if !self.rest.is_empty() {
            return Err(self.fail(FIELD, self.offset(), Fault::Trailing { have: self.rest.len() }));
        }
        let start = self.offset() - bytes.len();
        Extensions::parse(bytes, known).map_err(|(at, fault)| self.fail(FIELD, start + at, fault))
    }
}
