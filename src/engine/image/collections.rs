//! Numbers, truths, bytes, texts, and several of something.

use super::{Bad, Image, Reader, Writer};
use enq_protocol::vocabulary::{Handle, PathLevel, ResourceName};
use std::collections::VecDeque;

macro_rules! numbers {
    ($($number:ty),+) => {
        $(impl Image for $number {
            fn write(&self, to: &mut Writer) {
                to.number((*self).into());
            }

            fn read(from: &mut Reader<'_>) -> Result<Self, Bad> {
                <$number>::try_from(from.number()?).map_err(|_| from.wrong("a number that is too great"))
            }
        })+
    };
}

numbers!(u16, u32, u64);

impl Image for u8 {
    fn write(&self, to: &mut Writer) {
        to.byte(*self);
    }

    fn read(from: &mut Reader<'_>) -> Result<u8, Bad> {
        from.byte()
    }
}

impl Image for usize {
    fn write(&self, to: &mut Writer) {
        to.number(*self as u64);
    }

    fn read(from: &mut Reader<'_>) -> Result<usize, Bad> {
        usize::try_from(from.number()?).map_err(|_| from.wrong("a number that is too great"))
    }
}

impl Image for bool {
    fn write(&self, to: &mut Writer) {
        to.byte((*self).into());
    }

    fn read(from: &mut Reader<'_>) -> Result<bool, Bad> {
        match from.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(from.wrong("neither yes nor no")),
        }
    }
}

impl<const N: usize> Image for [u8; N] {
    fn write(&self, to: &mut Writer) {
        to.fixed(self);
    }

    fn read(from: &mut Reader<'_>) -> Result<[u8; N], Bad> {
        from.fixed()
    }
}

impl Image for Box<[u8]> {
    fn write(&self, to: &mut Writer) {
        to.counted(self);
    }

    fn read(from: &mut Reader<'_>) -> Result<Box<[u8]>, Bad> {
        Ok(from.counted()?.into())
    }
}

impl Image for String {
    fn write(&self, to: &mut Writer) {
        to.counted(self.as_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Result<String, Bad> {
        let text = str::from_utf8(from.counted()?);
        Ok(text.map_err(|_| from.wrong("bytes that are no text"))?.into())
    }
}

impl Image for Box<str> {
    fn write(&self, to: &mut Writer) {
        to.counted(self.as_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Result<Box<str>, Bad> {
        Ok(String::read(from)?.into())
    }
}

impl<T: Image> Image for Option<T> {
    fn write(&self, to: &mut Writer) {
        self.is_some().write(to);
        if let Some(value) = self {
            value.write(to);
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Option<T>, Bad> {
        bool::read(from)?.then(|| T::read(from)).transpose()
    }
}

impl<T: Image> Image for Box<T> {
    fn write(&self, to: &mut Writer) {
        (**self).write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Box<T>, Bad> {
        Ok(Box::new(T::read(from)?))
    }
}

/// Several of something behind how many there are.
fn write_all<'a, T: Image + 'a>(all: impl ExactSizeIterator<Item = &'a T>, to: &mut Writer) {
    all.len().write(to);
    for one in all {
        one.write(to);
    }
}

impl<T: Image> Image for Vec<T> {
    fn write(&self, to: &mut Writer) {
        write_all(self.iter(), to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Vec<T>, Bad> {
        let count = from.count()?;
        // Room for no more than the bytes that are left; where things take less in the image, it grows as they come.
        let mut all = Vec::with_capacity(count.min(from.left() / size_of::<T>().max(1)));
        for _ in 0..count {
            all.push(T::read(from)?);
        }
        Ok(all)
    }
}

impl<T: Image> Image for VecDeque<T> {
    fn write(&self, to: &mut Writer) {
        write_all(self.iter(), to);
    }

    fn read(from: &mut Reader<'_>) -> Result<VecDeque<T>, Bad> {
        Ok(Vec::read(from)?.into())
    }
}

macro_rules! slices {
    ($($one:ty),+) => {
        $(impl Image for Box<[$one]> {
            fn write(&self, to: &mut Writer) {
                write_all(self.iter(), to);
            }

            fn read(from: &mut Reader<'_>) -> Result<Self, Bad> {
                Ok(Vec::read(from)?.into())
            }
        })+
    };
}

// Bytes have a way of their own, so there is none for slices of whatever.
slices!(Handle, PathLevel, ResourceName);
