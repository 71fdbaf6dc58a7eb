//! What can be wrong with bytes, and with words that are to become bytes.
//!
//! An error names the message, the field and the offset in the frame. It also knows what is said about it and whether
//! the connection lives on, so that there is one place that turns bytes into refusals: this file.

use super::Kind;
use crate::vocabulary::Status;
use core::fmt;

/// Why some bytes are not the message they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Which message; [`Kind::NONE`] if it is the frame itself.
    pub message: Kind,
    /// Which field of it.
    pub field: &'static str,
    /// Where the field begins, counted from the first byte of the frame.
    pub offset: usize,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The frame's length is above the maximum.
    FrameTooLarge {
        /// What it says.
        len: u32,
        /// The most it may say.
        max: usize,
    },
    /// The frame's length is below that of a header.
    FrameTooSmall {
        /// What it says.
        len: u32,
    },
    /// A HELLO does not begin with the magic.
    BadMagic,
    /// The kind may not be said by this side.
    WrongSide,
    /// The kind is not known, or set aside.
    UnknownKind,
    /// A numbered message with number 0.
    NoNumber,
    /// The body ends before the field does.
    Truncated {
        /// The bytes the field needs.
        need: usize,
        /// The bytes there are.
        have: usize,
    },
    /// Bytes are left behind the last field.
    Trailing {
        /// How many.
        have: usize,
    },
    /// A name without bytes, with too many, or with more than the body has.
    BadName {
        /// What its length says.
        len: usize,
    },
    /// A path without names.
    EmptyPath,
    /// A path with more components than a tree has levels.
    TooDeep {
        /// How many.
        levels: usize,
    },
    /// A value block that is longer than the body.
    BadValue {
        /// What its length says.
        len: usize,
    },
    /// No mode has this number.
    BadMode {
        /// The number.
        number: u8,
    },
    /// Flags that do not exist.
    UnknownFlags {
        /// Their bits.
        bits: u32,
    },
    /// Handle 0 where a lock is to be made.
    NoHandle,
    /// Handle 0 where a lock is named.
    NoSuchHandle,
    /// Reserved bits or fields that are not zero.
    Reserved {
        /// What they are.
        value: u64,
    },
    /// A choice that does not exist.
    BadChoice {
        /// Its number.
        number: u8,
    },
    /// A number outside its limits.
    Limit {
        /// The number.
        value: u64,
    },
    /// Text or bytes longer than allowed.
    TooLong {
        /// Their length.
        len: usize,
        /// The most they may have.
        max: usize,
    },
    /// Text that is not UTF-8.
    BadText,
    /// More extensions than a message may have.
    ManyExtensions,
    /// An extension that comes twice.
    DuplicateExtension {
        /// Its number.
        number: u16,
    },
    /// A critical extension that is not known here.
    UnknownExtension {
        /// Its number.
        number: u16,
    },
}

/// What becomes of a connection that brought an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The message is refused, its number is taken, the connection lives on. Class E of the document.
    Refuse,
    /// One ERROR frame, then the connection is closed; the session lives on its lease. Class C.
    Close,
}

impl DecodeError {
    /// What is said about it.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self.fault {
            Fault::FrameTooLarge { .. } => Status::FrameTooLarge,
            Fault::FrameTooSmall { .. } => Status::Protocol,
            Fault::BadMagic => Status::Protocol,
            Fault::WrongSide => Status::State,
            Fault::UnknownKind => Status::Unsupported,
            Fault::NoNumber => Status::Protocol,
            Fault::Truncated { .. } => Status::Malformed,
            Fault::Trailing { .. } => Status::Malformed,
            Fault::BadName { .. } => Status::BadName,
            Fault::EmptyPath => Status::BadName,
            Fault::TooDeep { .. } => Status::TooDeep,
            Fault::BadValue { .. } => Status::BadParam,
            Fault::BadMode { .. } => Status::BadParam,
            Fault::UnknownFlags { .. } => Status::BadParam,
            Fault::NoHandle => Status::BadParam,
            Fault::NoSuchHandle => Status::NoSuchLock,
            Fault::Reserved { .. } => Status::BadParam,
            Fault::BadChoice { .. } => Status::BadParam,
            Fault::Limit { .. } => Status::Limit,
            Fault::TooLong { .. } => Status::Limit,
            Fault::BadText => Status::BadParam,
            Fault::ManyExtensions => Status::Malformed,
            Fault::DuplicateExtension { .. } => Status::Malformed,
            Fault::UnknownExtension { .. } => Status::Unsupported,
        }
    }

    /// Does the connection live on? Only what has a number or a tag can be refused by it.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        use super::Family::{Look, Request};
        let ends = match self.fault {
            Fault::FrameTooLarge { .. } | Fault::FrameTooSmall { .. } => true,
            Fault::BadMagic | Fault::WrongSide | Fault::NoNumber => true,
            Fault::Truncated { .. } => self.field == "tag",
            _ => false,
        };
        if ends || !matches!(self.message.family(), Look | Request) {
            Outcome::Close
        } else {
            Outcome::Refuse
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} at byte {}: ", self.message, self.field, self.offset)?;
        match self.fault {
            Fault::FrameTooLarge { len, max } => write!(f, "{len} bytes are more than {max}"),
            Fault::FrameTooSmall { len } => write!(f, "{len} bytes are less than a header"),
            Fault::BadMagic => write!(f, "these bytes are not this protocol"),
            Fault::WrongSide => write!(f, "only the other side says this"),
            Fault::UnknownKind => write!(f, "this kind is not known here"),
            Fault::NoNumber => write!(f, "a numbered message has a number of 1 or more"),
            Fault::Truncated { need, have } => write!(f, "needs {need} bytes, has {have}"),
            Fault::Trailing { have } => write!(f, "{have} bytes too many"),
            Fault::BadName { len } => {
                write!(f, "a name has 1 to 255 bytes, all of them here; this says {len}")
            }
            Fault::EmptyPath => write!(f, "a path has at least one name"),
            Fault::TooDeep { levels } => write!(f, "{levels} levels are more than 128"),
            Fault::BadValue { len } => write!(f, "the value's {len} bytes are not all here"),
            Fault::BadMode { number } => write!(f, "there is no mode {number}"),
            Fault::UnknownFlags { bits } => write!(f, "there are no flags {bits:#x}"),
            Fault::NoHandle => write!(f, "a new lock needs a handle of 1 or more"),
            Fault::NoSuchHandle => write!(f, "no lock has handle 0"),
            Fault::Reserved { value } => write!(f, "must be 0, is {value:#x}"),
            Fault::BadChoice { number } => write!(f, "there is no choice {number}"),
            Fault::Limit { value } => write!(f, "{value} is outside the limits"),
            Fault::TooLong { len, max } => write!(f, "{len} bytes are more than {max}"),
            Fault::BadText => write!(f, "the text is not UTF-8"),
            Fault::ManyExtensions => write!(f, "more extensions than a message may have"),
            Fault::DuplicateExtension { number } => write!(f, "extension {number} comes twice"),
            Fault::UnknownExtension { number } => write!(f, "critical extension {number} is not known here"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// Why some words cannot be sent. The buffer is left as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// The frame would be longer than [`super::FRAME_LEN_MAX`], or a field longer than its length can say.
    TooLong {
        /// Which message.
        message: Kind,
        /// How long the frame would be, as far as it was written.
        len: usize,
    },
    /// [`super::Request::Refused`] is what was read, never what is sent.
    NotSent,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncodeError::TooLong { message, len } => {
                write!(f, "{message}: {len} bytes do not fit into a frame")
            }
            EncodeError::NotSent => write!(f, "a refused request is not sent"),
        }
    }
}

impl core::error::Error for EncodeError {}
