//! Appends one frame to a buffer; the length is written last. What does not fit leaves the buffer as it was.
//!
//! Fields come together at the writer itself, and go into the buffer in one piece: an ordinary frame with its last field.

use bytes::{BufMut as _, BytesMut};

use super::super::{EncodeError, FRAME_LEN_MAX, HEADER_LEN, Header, Kind};

/// As long as an ordinary frame.
const TOGETHER: usize = 128;

/// A frame in the making.
pub(super) struct Writer<'a> {
    out: &'a mut BytesMut,
    /// Where the frame begins in the buffer.
    start: usize,
    header: Header,
    /// How long the frame will likely be.
    likely: usize,
    /// What is not in the buffer yet, and how much that is; first of all the room of the header.
    together: [u8; TOGETHER],
    filled: usize,
    /// Has every length and count fitted so far?
    fits: bool,
}

impl<'a> Writer<'a> {
    /// Begins a frame that will likely be `HEADER_LEN + body` bytes long.
    pub(super) fn new(kind: Kind, number: u64, ack: u64, body: usize, out: &'a mut BytesMut) -> Writer<'a> {
        Writer {
            start: out.len(),
            out,
            header: Header::new(kind, number, ack),
            likely: HEADER_LEN + body,
            together: [0; TOGETHER],
            filled: HEADER_LEN,
            fits: true,
        }
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.raw(&[value]);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.raw(&value.to_le_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.raw(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.raw(&value.to_le_bytes());
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    /// Bytes as they are.
    #[inline]
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        match self.together.get_mut(self.filled..).and_then(|rest| rest.get_mut(..bytes.len())) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.filled += bytes.len();
            }
            None => self.pass_on(bytes),
        }
    }

    /// Into the buffer with what has come together, and with these bytes.
    #[cold]
    fn pass_on(&mut self, bytes: &[u8]) {
        if self.out.len() == self.start {
            self.out.reserve(self.likely.max(self.filled + bytes.len()));
        }
        self.out.put_slice(self.together.get(..self.filled).unwrap_or_default());
        self.filled = 0;
        self.out.put_slice(bytes);
    }

    /// Is it there, and if so, it.
    pub(super) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.bool(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    /// A length of 16 bits and the bytes.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        if self.fits {
            self.raw(bytes);
        }
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// A count or length of 16 bits.
    pub(super) fn count(&mut self, count: usize) {
        match u16::try_from(count) {
            Ok(count) => self.u16(count),
            Err(_) => self.fits = false,
        }
    }

    /// A count and each item; stops as soon as the frame is too long.
    pub(super) fn list<T>(
        &mut self,
        items: impl ExactSizeIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.count(items.len());
        for item in items {
            if !self.fits || self.len() > FRAME_LEN_MAX {
                return;
            }
            write(self, item);
        }
    }

    fn len(&self) -> usize {
        self.out.len() - self.start + self.filled
    }

    /// Ends the frame with no extensions.
    #[inline]
    pub(super) fn finish(&mut self) -> Result<(), EncodeError> {
        self.u16(0);
        self.end()
    }

    /// Ends the frame with one extension, unless it says nothing.
    pub(super) fn finish_with(&mut self, number: u16, bytes: &[u8]) -> Result<(), EncodeError> {
        if bytes.is_empty() {
            return self.finish();
        }
        self.count(bytes.len().saturating_add(4));
        self.u16(number);
        self.bytes(bytes);
        self.end()
    }

    #[inline]
    fn end(&mut self) -> Result<(), EncodeError> {
        let len = self.len();
        let (true, true, Ok(length)) = (self.fits, len <= FRAME_LEN_MAX, u32::try_from(len)) else {
            self.out.truncate(self.start);
            return Err(EncodeError::TooLong { message: self.header.kind, len });
        };
        self.out.put_slice(self.together.get(..self.filled).unwrap_or_default());
        if let Some(place) = self.out.get_mut(self.start..).and_then(<[u8]>::first_chunk_mut::<HEADER_LEN>) {
            *place = self.header.to_bytes(length);
        }
        Ok(())
    }
}
