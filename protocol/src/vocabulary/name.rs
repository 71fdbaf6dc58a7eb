//! The name of a resource: 1 to 255 opaque bytes.
//!
//! Case, trailing blanks and every byte count; nothing here assumes text. Short names live inside the value, so that
//! a resource needs no second allocation. The printable form escapes what a terminal or a path could misread.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::fmt;

/// The longest name, in bytes. VMS allowed 31, the Linux kernel's lock manager 64.
pub const NAME_LEN_MAX: usize = 255;

/// Names up to this length live inside the value; the whole value is 32 bytes.
const INLINE_LEN_MAX: usize = 30;

/// Why some bytes are no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// No byte at all.
    Empty,
    /// More than [`NAME_LEN_MAX`] bytes.
    TooLong(usize),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => write!(f, "a resource name has at least one byte"),
            NameError::TooLong(len) => {
                write!(f, "a resource name has at most {NAME_LEN_MAX} bytes, not {len}")
            }
        }
    }
}

impl core::error::Error for NameError {}

/// One component of a resource's path; see the front page.
#[derive(Clone)]
pub struct ResourceName(Repr);

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE_LEN_MAX] },
    Heap(Box<[u8]>),
}

impl ResourceName {
    /// Checks the length; any bytes will do.
    ///
    /// # Errors
    /// [`NameError`] if there is no byte or more than 255.
    pub fn new(name: &[u8]) -> Result<ResourceName, NameError> {
        match name.len() {
            0 => Err(NameError::Empty),
            len if len > NAME_LEN_MAX => Err(NameError::TooLong(len)),
            len if len > INLINE_LEN_MAX => Ok(ResourceName(Repr::Heap(name.into()))),
            len => {
                let mut bytes = [0; INLINE_LEN_MAX];
                if let Some(place) = bytes.get_mut(..len) {
                    place.copy_from_slice(name);
                }
                Ok(ResourceName(Repr::Inline { len: len.to_le_bytes()[0], bytes }))
            }
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Repr::Heap(bytes) => bytes,
        }
    }

    /// Reads the printable form back: `\xNN`, `\\` and `\/` are escapes, all else stands for itself.
    ///
    /// # Errors
    /// [`NameError`] as [`ResourceName::new`].
    pub fn from_printable(text: &str) -> Result<ResourceName, NameError> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let [first, tail @ ..] = rest {
            match (first, tail) {
                (b'\\', [b'x', high, low, after @ ..])
                    if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
                {
                    let digit = |d: u8| (d as char).to_digit(16).unwrap_or(0).to_le_bytes()[0];
                    bytes.push(digit(*high) << 4 | digit(*low));
                    rest = after;
                }
                (b'\\', [escaped @ (b'\\' | b'/'), after @ ..]) => {
                    bytes.push(*escaped);
                    rest = after;
                }
                _ => {
                    bytes.push(*first);
                    rest = tail;
                }
            }
        }
        ResourceName::new(&bytes)
    }

    /// Splits the printable form of a path at every `/` that is not escaped, root first.
    ///
    /// # Errors
    /// [`NameError`] of the first bad component.
    pub fn path_from_printable(text: &str) -> Result<Vec<ResourceName>, NameError> {
        let mut components = Vec::new();
        let mut start = 0;
        let mut escaped = false;
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'/' => {
                    components.push(Self::from_printable(text.get(start..at).unwrap_or_default())?);
                    start = at + 1;
                }
                _ => {}
            }
        }
        components.push(Self::from_printable(text.get(start..).unwrap_or_default())?);
        Ok(components)
    }

    /// The printable form of a path, root first, `/` between the components.
    #[must_use]
    pub fn path_to_printable(path: &[ResourceName]) -> String {
        let mut text = String::new();
        for (at, name) in path.iter().enumerate() {
            if at > 0 {
                text.push('/');
            }
            escape(name.as_bytes(), &['\\', '/'], &mut text);
        }
        text
    }
}

/// Appends printable text as it is, with a backslash before these characters; every other byte as `\xNN`.
fn escape(bytes: &[u8], special: &[char], text: &mut String) {
    use core::fmt::Write as _;
    // Writing to a string cannot fail.
    let byte = |text: &mut String, byte: u8| _ = write!(text, "\\x{byte:02x}");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() {
                c.encode_utf8(&mut [0; 4]).bytes().for_each(|control| byte(text, control));
                continue;
            }
            if special.contains(&c) {
                text.push('\\');
            }
            text.push(c);
        }
        chunk.invalid().iter().for_each(|invalid| byte(text, *invalid));
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        escape(self.as_bytes(), &['\\'], &mut text);
        f.pad(&text)
    }
}

impl fmt::Debug for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl PartialEq for ResourceName {
    fn eq(&self, other: &ResourceName) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for ResourceName {}

impl PartialOrd for ResourceName {
    fn partial_cmp(&self, other: &ResourceName) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ResourceName {
    fn cmp(&self, other: &ResourceName) -> core::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl core::hash::Hash for ResourceName {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn every_byte_counts_and_lengths_are_kept() {
        assert_eq!(ResourceName::new(b""), Err(NameError::Empty));
        assert_eq!(ResourceName::new(&[0; 256]), Err(NameError::TooLong(256)));
        for len in [1, 29, 30, 31, 255] {
            let bytes = alloc::vec![7; len];
            assert_eq!(ResourceName::new(&bytes).unwrap().as_bytes(), &bytes[..]);
        }
        assert_ne!(ResourceName::new(b"a").unwrap(), ResourceName::new(b"a ").unwrap());
        assert_ne!(ResourceName::new(b"a").unwrap(), ResourceName::new(b"A").unwrap());
        assert!(core::mem::size_of::<ResourceName>() <= 32);
    }

    #[test]
    fn the_printable_form_comes_back() {
        for bytes in [&b"plain"[..], b"a/b", b"back\\slash", b"\x00\xff\n", "gr\u{fc}n".as_bytes(), b"\\x41"]
        {
            let name = ResourceName::new(bytes).unwrap();
            assert_eq!(ResourceName::from_printable(&name.to_string()).unwrap(), name, "{name}");
            let path = [name.clone(), name];
            let text = ResourceName::path_to_printable(&path);
            assert_eq!(ResourceName::path_from_printable(&text).unwrap(), path, "{text}");
        }
    }
}
