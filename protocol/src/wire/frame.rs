//! The frame: a header of 24 bytes and a body. Here are its kinds, its limits, and the knife that cuts it.
//!
//! The length is judged as soon as its four bytes are there and nothing is kept for it. Kinds are numbers, not an
//! enum: one that this version does not know survives, prints as a number, and its range still says how it travels.

use core::fmt;

use super::{DecodeError, Fault};

/// Length 4, kind 1, flags 1, reserved 2, number 8, acknowledgement 8.
pub const HEADER_LEN: usize = 24;

/// The longest frame, header included: the longest path request fits, and a peer's buffer stays small.
pub const FRAME_LEN_MAX: usize = 64 * 1024;

/// The longest frame while the peer is a stranger: a HELLO with generous credentials.
pub const FRAME_LEN_MAX_BEFORE_SESSION: usize = 4 * 1024;

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(pub u8);

/// How a kind travels; its range says so, known or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// About the connection: no tag, no number.
    Connection,
    /// Outside the streams, number 0, a tag first in the body. Client to server.
    Look,
    /// Numbered, client to server.
    Request,
    /// The answer to a look, number 0, its tag first in the body.
    Seen,
    /// Numbered: the answer to a request, whose number and place come first in the body.
    Answer,
    /// Unasked, place first in the body; numbered, but for BLOCKING.
    Event,
}

/// One line of the table of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindRow {
    /// The number on the wire.
    pub number: u8,
    /// Its word.
    pub name: &'static str,
    /// False for a number that is set aside and answers UNSUPPORTED today.
    pub spoken: bool,
}

macro_rules! kinds {
    ($($constant:ident $number:literal $spoken:literal $sentence:literal)+) => {
        impl Kind {
            $(#[doc = $sentence] pub const $constant: Kind = Kind($number);)+

            /// The whole table, by number.
            pub const TABLE: &'static [KindRow] = &[$(
                KindRow { number: $number, name: stringify!($constant), spoken: $spoken },
            )+];
        }
    };
}

#[rustfmt::skip]
kinds! {
    // client to server: the connection
    HELLO              0x01 true  "The first frame of a connection."
    AUTH               0x02 false "Set aside: the answer to a CHALLENGE."
    ACK                0x04 true  "Nothing but the header's acknowledgement; it is not answered, and it renews the lease."

    // client to server: looks, and what else travels like them
    PING               0x10 true  "Are you there?"
    RENEW              0x11 true  "Keep my session alive."
    OPEN               0x12 true  "Begin a session on this connection."
    SHOW_LOCK          0x13 true  "One lock."
    SHOW_RESOURCE      0x14 true  "One resource with its queues."
    SHOW_BLOCKERS      0x15 true  "What this lock waits for."
    SHOW_BLOCKED       0x16 true  "What waits for this lock."
    SHOW_PAGE          0x17 true  "A part of a listing of locks."
    SHOW_SESSION       0x18 true  "One session."
    SHOW_SESSIONS      0x19 true  "A part of the list of sessions."
    SHOW_SPACES        0x1A true  "All lockspaces."
    OPEN_SPACE         0x1B true  "The lockspace with this name."
    SHOW_STATISTICS    0x1C true  "The counters."
    CHECK_TOKEN        0x1D true  "Is the grant with this seq live?"
    SHOW_DEADLOCKS     0x1E true  "Records of deadlocks that were found."
    WATCH              0x1F false "Set aside: tell me what happens to a resource or prefix."
    EXPIRE_SESSION     0x20 true  "End a session as if its lease had run out."
    FORCE_RELEASE      0x21 true  "Take a granted lock away from its holder."
    SET_PRIORITY       0x22 true  "Set the deadlock priority of a lock."
    REFUSE_REQUEST     0x23 false "Set aside: refuse a request that waits."
    SCAN               0x24 true  "Search for deadlocks now."
    RESUME             0x25 true  "Go on with a session on this connection."
    SHOW_WAITS         0x26 true  "Who waits for whom, all the way."
    WHAT_IF            0x27 true  "What would be granted if this ended?"
    SHOW_HISTORY       0x28 true  "What happened to a resource, or to a session's locks."

    // client to server: numbered requests
    ENQ                0x40 true  "Ask for a new lock."
    ENQ_PATH           0x41 true  "Ask for a leaf and the intents above it."
    CONVERT            0x42 true  "Change a mode."
    DEQ                0x43 true  "Release one lock."
    DEQ_ALL            0x44 true  "Release a subtree or everything."
    CANCEL             0x45 true  "Withdraw what waits."
    CREATE_SPACE       0x46 true  "Make a lockspace."
    SET_SPACE          0x47 true  "Change a lockspace's policy."
    REMOVE_SPACE       0x48 true  "Remove a lockspace."
    CLOSE              0x49 true  "End the session in order."
    ADOPT              0x4A true  "Take over an orphan."
    PURGE              0x4B true  "Release orphans."
    LOCK_ALL           0x4C false "Set aside: several resources, all or none."

    // server to client: the connection
    WELCOME            0x81 true  "The answer to HELLO."
    CHALLENGE          0x82 false "Set aside: prove who you are."
    ACKED              0x84 true  "Nothing but the header's acknowledgement."

    // server to client: what was seen
    SEEN_DONE          0x90 true  "Yes, or done."
    SEEN_RENEWED       0x91 true  "The lease runs anew."
    SEEN_OPENED        0x92 true  "The session that began."
    SEEN_LOCK          0x93 true  "One lock."
    SEEN_RESOURCE      0x94 true  "One resource."
    SEEN_EDGES         0x95 true  "What waits for what."
    SEEN_PAGE          0x96 true  "A part of a listing of locks."
    SEEN_SESSIONS      0x97 true  "Sessions."
    SEEN_SPACES        0x98 true  "Lockspaces."
    SEEN_STATISTICS    0x99 true  "The counters."
    SEEN_TOKEN         0x9A true  "The grant is live, or not."
    SEEN_RESUMED       0x9B true  "The session goes on here."
    SEEN_DEADLOCKS     0x9C true  "Deadlocks that were found."
    SEEN_SCANNED       0x9D true  "What a search has found."
    SEEN_WAITS         0x9E true  "Who waits for whom."
    SEEN_REFUSED       0x9F true  "No."
    SEEN_FORESEEN      0xA0 true  "What would be granted."
    SEEN_HISTORY       0xA1 true  "What happened."

    // server to client: numbered answers
    GRANTED            0xC0 true  "The lock is granted; no completion follows."
    PATH_GRANTED       0xC1 true  "The path is granted; no completion follows."
    QUEUED             0xC2 true  "The request waits; its completion is an event."
    DONE               0xC3 true  "The call did what it says."
    REFUSED            0xC4 true  "The call did nothing."
    SPACE              0xC5 true  "The answer to a lockspace request."
    PURGED             0xC6 true  "So many orphans are gone."

    // server to client: events
    GRANTED_LATER      0xD0 true  "A request that was queued is granted."
    PATH_GRANTED_LATER 0xD1 true  "A path that was queued is granted."
    ENDED              0xD2 true  "A request that was queued ended without a grant."
    DEMOTED            0xD3 true  "A converting lock's granted mode dropped to NL."
    REVOKED            0xD4 true  "A granted lock was taken away."
    BLOCKING           0xD5 true  "Somebody wants a mode that this lock blocks. Number 0."
    HOLD_LIMIT         0xD6 false "Set aside: a lock has been held as long as the policy allows."
    JEOPARDY           0xD7 false "Set aside: the server has not heard from the client for long."
    WATCHED            0xD8 false "Set aside: something happened to what is watched."
    WATCH_LOST         0xD9 false "Set aside: too much happened to what is watched."

    // server to client: the last frame
    ERROR              0xFF true  "Why the connection ends."
}

impl Kind {
    /// No message: what is wrong is the frame itself.
    pub const NONE: Kind = Kind(0);

    /// Its line in the table, if this version knows it.
    #[must_use]
    pub fn row(self) -> Option<&'static KindRow> {
        Self::TABLE.binary_search_by_key(&self.0, |row| row.number).ok().and_then(|at| Self::TABLE.get(at))
    }

    /// How it travels, by the range of its number.
    #[must_use]
    pub const fn family(self) -> Family {
        match self.0 {
            0x10..=0x3F => Family::Look,
            0x40..=0x7F => Family::Request,
            0x90..=0xBF => Family::Seen,
            0xC0..=0xCF => Family::Answer,
            0xD0..=0xEF => Family::Event,
            _ => Family::Connection,
        }
    }

    /// Is it the client who says this? The numbers below 0x80 are the client's.
    #[must_use]
    pub const fn is_from_client(self) -> bool {
        self.0 < 0x80
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row() {
            Some(row) => f.pad(row.name),
            None if *self == Kind::NONE => f.pad("frame"),
            None => write!(f, "KIND-{:#04x}", self.0),
        }
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What stands before each body, but for the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub kind: Kind,
    /// 0; other bits are refused.
    pub flags: u8,
    /// 0; other bits are refused.
    pub reserved: u16,
    /// Its number in its sender's stream; 0 outside.
    pub number: u64,
    /// The last number received of the other direction, with all before it.
    pub ack: u64,
}

impl Header {
    pub(super) const fn new(kind: Kind, number: u64, ack: u64) -> Header {
        Header { kind, flags: 0, reserved: 0, number, ack }
    }

    /// The header's bytes, with this length.
    pub(super) fn to_bytes(self, len: u32) -> [u8; HEADER_LEN] {
        let [l0, l1, l2, l3] = len.to_le_bytes();
        let [r0, r1] = self.reserved.to_le_bytes();
        let [n0, n1, n2, n3, n4, n5, n6, n7] = self.number.to_le_bytes();
        let [a0, a1, a2, a3, a4, a5, a6, a7] = self.ack.to_le_bytes();
        let kind = self.kind.0;
        #[rustfmt::skip]
        let bytes = [
            l0, l1, l2, l3, kind, self.flags, r0, r1,
            n0, n1, n2, n3, n4, n5, n6, n7,
            a0, a1, a2, a3, a4, a5, a6, a7,
        ];
        bytes
    }

    fn from_bytes(bytes: [u8; HEADER_LEN]) -> Header {
        #[rustfmt::skip]
        let [
            _, _, _, _, kind, flags, r0, r1,
            n0, n1, n2, n3, n4, n5, n6, n7,
            a0, a1, a2, a3, a4, a5, a6, a7,
        ] = bytes;
        Header {
            kind: Kind(kind),
            flags,
            reserved: u16::from_le_bytes([r0, r1]),
            number: u64::from_le_bytes([n0, n1, n2, n3, n4, n5, n6, n7]),
            ack: u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]),
        }
    }
}

/// One whole frame, cut from the front of what was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its header, not judged yet.
    pub header: Header,
    /// Its body.
    pub body: &'a [u8],
    /// How many bytes it took, header included.
    pub len: usize,
}

/// Cuts one frame from the front of `bytes`; none if it is not all there yet. Allocates nothing.
///
/// # Errors
/// A length below the header's or above `len_max`, as soon as its four bytes are there. The connection is lost: where
/// the next frame begins cannot be known.
#[inline]
pub fn cut(bytes: &[u8], len_max: usize) -> Result<Option<Frame<'_>>, DecodeError> {
    let Some((length, _)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*length);
    let len = usize::try_from(length).unwrap_or(usize::MAX);
    let fault = match len {
        _ if len < HEADER_LEN => Some(Fault::FrameTooSmall { len: length }),
        _ if len > len_max => Some(Fault::FrameTooLarge { len: length, max: len_max }),
        _ => None,
    };
    if let Some(fault) = fault {
        return Err(DecodeError { message: Kind::NONE, field: "length", offset: 0, fault });
    }
    let Some((header, body)) = bytes.get(..len).and_then(<[u8]>::split_first_chunk::<HEADER_LEN>) else {
        return Ok(None);
    };
    Ok(Some(Frame { header: Header::from_bytes(*header), body, len }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::Status;
    use alloc::string::ToString;

    #[test]
    fn a_length_is_judged_on_its_four_bytes() {
        assert_eq!(cut(&[0, 0, 0], FRAME_LEN_MAX), Ok(None));
        for len in [0, 1, 23] {
            let error = cut(&u32::to_le_bytes(len), FRAME_LEN_MAX).unwrap_err();
            assert_eq!(error.status(), Status::Protocol, "{error}");
        }
        for len in [65_537, 1 << 31, u32::MAX] {
            let error = cut(&len.to_le_bytes(), FRAME_LEN_MAX).unwrap_err();
            assert_eq!(error.status(), Status::FrameTooLarge, "{error}");
        }
        for len in [24, 65_536] {
            assert_eq!(cut(&u32::to_le_bytes(len), FRAME_LEN_MAX), Ok(None));
        }
        assert!(cut(b"GET / HTTP/1.1\r\n", FRAME_LEN_MAX).is_err());
    }

    #[test]
    fn two_frames_are_cut_one_by_one() {
        let first = Header { kind: Kind(0x7E), flags: 1, reserved: 0x203, number: 4 << 40, ack: 5 << 50 };
        let mut bytes = first.to_bytes(26).to_vec();
        bytes.extend([0xAA, 0xBB]);
        bytes.extend(Header::new(Kind::ACK, 0, 9).to_bytes(24));
        let frame = cut(&bytes, FRAME_LEN_MAX).unwrap().unwrap();
        assert_eq!((frame.header, frame.body, frame.len), (first, &[0xAA, 0xBB][..], 26));
        let frame = cut(&bytes[26..], FRAME_LEN_MAX).unwrap().unwrap();
        assert_eq!((frame.header.kind, frame.header.ack, frame.body), (Kind::ACK, 9, &[][..]));
        for len in 0..26 {
            assert_eq!(cut(&bytes[..len], FRAME_LEN_MAX), Ok(None));
        }
    }

    #[test]
    fn kinds_are_sorted_and_unknown_ones_print_as_numbers() {
        assert!(Kind::TABLE.windows(2).all(|pair| pair[0].number < pair[1].number));
        assert_eq!((Kind::ENQ.to_string(), Kind(0x7E).to_string()), ("ENQ".into(), "KIND-0x7e".into()));
        assert_eq!((Kind(0x7E).family(), Kind(0xCE).family()), (Family::Request, Family::Answer));
        assert!(Kind::TABLE.iter().all(|row| Kind(row.number).is_from_client() == (row.number < 0x80)));
    }
}
