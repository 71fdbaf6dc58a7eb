//! The list at the end of every body: what later versions, or some clients, add to a message.
//!
//! An entry is type (u16, the top bit says *critical*), length (u16), bytes. A critical one that the reader does not
//! know is refused, others are skipped. The list is judged whole, without allocating, before anybody looks into it.

use super::Fault;

/// The most entries a list may have.
pub const EXTENSIONS_MAX: usize = 16;

/// The top bit of a type.
const CRITICAL: u16 = 0x8000;

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Its number, without the critical bit.
    pub number: u16,
    /// Must it be understood?
    pub critical: bool,
    /// What it says.
    pub bytes: &'a [u8],
}

impl Extension<'_> {
    /// Why a lock is asked for: at most [`Extension::REASON_LEN_MAX`] bytes. On ENQ and `ENQ_PATH`.
    pub const REASON: u16 = 1;
    /// Set aside: a W3C trace context of 25 bytes.
    pub const TRACE: u16 = 2;
    /// Set aside: a range of bytes within a resource.
    pub const RANGE: u16 = 3;
    /// Set aside: several clients that count as one.
    pub const GROUP: u16 = 4;
    /// Set aside: for whom the lock is held, as node id and process.
    pub const HOLDER: u16 = 5;

    /// The longest reason, in bytes.
    pub const REASON_LEN_MAX: usize = 256;
}

/// A list that was judged; see the front page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions<'a> {
    bytes: &'a [u8],
}

impl<'a> Extensions<'a> {
    /// Judges a list, without its length. `known` are the numbers this message's reader understands.
    ///
    /// # Errors
    /// The offset in the list, and what is wrong there.
    #[inline]
    pub fn parse(bytes: &'a [u8], known: &[u16]) -> Result<Extensions<'a>, (usize, Fault)> {
        // Nearly all lists are empty.
        if bytes.is_empty() {
            return Ok(Extensions::default());
        }
        Extensions::judge(bytes, known)
    }

    fn judge(bytes: &'a [u8], known: &[u16]) -> Result<Extensions<'a>, (usize, Fault)> {
        let mut met = [None; EXTENSIONS_MAX];
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = bytes.len() - rest.len();
            let (entry, after) = split(rest).map_err(|fault| (at, fault))?;
            if met.contains(&Some(entry.number)) {
                return Err((at, Fault::DuplicateExtension { number: entry.number }));
            }
            let Some(free) = met.iter_mut().find(|free| free.is_none()) else {
                return Err((at, Fault::ManyExtensions));
            };
            *free = Some(entry.number);
            if entry.critical && !known.contains(&entry.number) {
                return Err((at, Fault::UnknownExtension { number: entry.number }));
            }
            rest = after;
        }
        Ok(Extensions { bytes })
    }

    /// What the entry with this number says.
    #[must_use]
    pub fn with_number(mut self, number: u16) -> Option<&'a [u8]> {
        self.find(|entry| entry.number == number).map(|entry| entry.bytes)
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = Extension<'a>;

    fn next(&mut self) -> Option<Extension<'a>> {
        let (entry, after) = split(self.bytes).ok()?;
        self.bytes = after;
        Some(entry)
    }
}

/// The first entry of a list, and the rest.
fn split(list: &[u8]) -> Result<(Extension<'_>, &[u8]), Fault> {
    let truncated = |need| Fault::Truncated { need, have: list.len() };
    let Some(([t0, t1, l0, l1], rest)) = list.split_first_chunk::<4>() else { return Err(truncated(4)) };
    let kind = u16::from_le_bytes([*t0, *t1]);
    let len = usize::from(u16::from_le_bytes([*l0, *l1]));
    let Some((bytes, after)) = rest.split_at_checked(len) else { return Err(truncated(4 + len)) };
    Ok((Extension { number: kind & !CRITICAL, critical: kind & CRITICAL != 0, bytes }, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn a_list_is_judged_whole() {
        let reason = [1, 0, 2, 0, b'h', b'i'];
        let list = Extensions::parse(&reason, &[]).unwrap();
        assert_eq!(
            (list.with_number(Extension::REASON), list.with_number(Extension::TRACE)),
            (Some(&b"hi"[..]), None)
        );

        let critical = [1, 0x80, 0, 0];
        assert!(Extensions::parse(&critical, &[Extension::REASON]).is_ok());
        assert_eq!(Extensions::parse(&critical, &[]), Err((0, Fault::UnknownExtension { number: 1 })));

        // The critical bit does not make another number of it.
        let twice = [1, 0, 0, 0, 1, 0x80, 0, 0];
        assert_eq!(Extensions::parse(&twice, &[1]), Err((4, Fault::DuplicateExtension { number: 1 })));

        let overrun = [9, 0, 3, 0, 1, 2];
        assert_eq!(Extensions::parse(&overrun, &[]), Err((0, Fault::Truncated { need: 7, have: 6 })));
        assert_eq!(Extensions::parse(&[9, 0, 0], &[]), Err((0, Fault::Truncated { need: 4, have: 3 })));

        let many: Vec<u8> = (10..27).flat_map(|number| [number, 0, 0, 0]).collect();
        assert_eq!(Extensions::parse(&many, &[]), Err((64, Fault::ManyExtensions)));
        assert_eq!(Extensions::parse(&many[..64], &[]).unwrap().count(), EXTENSIONS_MAX);
    }
}
