//! What a client's frames mean at the moment they come: bytes and a phase in, meanings out.
//!
//! Pure: no socket, no session, no clock. It knows what may be said when, and what becomes of who says something else
//! (the table of malformed and hostile input in `docs/sessions.md`).

use super::Bounds;
use enq_protocol::{
    vocabulary::Status,
    wire::{DecodeError, Fatal, Fault, Frame, FromClient, Hello, Kind, Look, PROTOCOL_VERSION, Request, cut},
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// How far a connection has come.
///
/// ```text
/// Stranger --HELLO--> Greeted --OPEN, RESUME--> Attached --CLOSE--> Parted --OPEN, RESUME--> Attached
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing was said yet.
    Stranger,
    /// It speaks this protocol, and may look.
    Greeted,
    /// It has a session.
    Attached,
    /// Its session was closed. It may still look, or open or resume another.
    Parted,
}

/// What a frame says.
#[derive(Debug)]
pub enum Meaning<'a> {
    /// Good day.
    Hello,
    /// Nothing but the header's acknowledgement.
    Ack,
    /// A look; what is wrong with it is said under its tag.
    Look {
        /// What the answer echoes.
        tag: u32,
        /// What is asked.
        look: Result<Box<Look>, Status>,
    },
    /// A numbered request of the session, or of the one that was closed.
    Request {
        /// Tells it from another one with its number.
        digest: u64,
        /// What is asked.
        request: Request<'a>,
    },
}

/// Why a connection ends because of what its peer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misbehaved {
    /// Nothing is said to somebody who does not speak this protocol at all.
    Silently(Status),
    /// It is told why.
    Told(Fatal),
}

impl Misbehaved {
    /// Told with the status's own sentence.
    #[must_use]
    pub fn told(status: Status) -> Misbehaved {
        Misbehaved::Told(Fatal { status, detail: [0; 2], text: status.sentence().into() })
    }

    /// What is counted.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Misbehaved::Silently(status) => *status,
            Misbehaved::Told(fatal) => fatal.status,
        }
    }
}

impl Phase {
    /// Cuts the next frame from what was received; none if it is not all there.
    ///
    /// # Errors
    /// A length that no frame may have.
    #[inline]
    pub fn cut(self, bytes: &[u8], bounds: Bounds) -> Result<Option<Frame<'_>>, Misbehaved> {
        match self {
            Phase::Stranger => {
                cut(bytes, bounds.first_frame).map_err(|error| Misbehaved::Silently(error.status()))
            }
            Phase::Greeted | Phase::Attached | Phase::Parted => cut(bytes, bounds.frame).map_err(told),
        }
    }

    /// What a frame means now.
    ///
    /// # Errors
    /// What ends the connection.
    #[inline]
    pub fn read(self, frame: Frame<'_>) -> Result<Meaning<'_>, Misbehaved> {
        if self == Phase::Stranger {
            return first(frame);
        }
        match FromClient::decode(&frame.header, frame.body).map_err(told)? {
            FromClient::Hello(_) => Err(Misbehaved::told(Status::State)),
            FromClient::Ack => Ok(Meaning::Ack),
            // One session a connection at a time.
            FromClient::Look { look: Ok(look), .. }
                if self == Phase::Attached && matches!(*look, Look::Open(_) | Look::Resume(_)) =>
            {
                Err(Misbehaved::told(Status::State))
            }
            FromClient::Look { tag, look } => {
                Ok(Meaning::Look { tag, look: look.map_err(|error| error.status()) })
            }
            FromClient::Request(request) => match self {
                Phase::Attached | Phase::Parted => Ok(Meaning::Request { digest: digest(&frame), request }),
                Phase::Greeted | Phase::Stranger => Err(Misbehaved::told(Status::State)),
            },
        }
    }
}

/// The first frame must be a HELLO that this server understands.
fn first(frame: Frame<'_>) -> Result<Meaning<'_>, Misbehaved> {
    let kind = frame.header.kind;
    if kind != Kind::HELLO {
        let spoken = kind.row().is_some_and(|row| row.spoken);
        let known = spoken || !kind.is_from_client();
        return Err(Misbehaved::told(if known { Status::State } else { Status::Unsupported }));
    }
    let hello = Hello::decode(&frame.header, frame.body).map_err(|error| match error.fault {
        Fault::BadMagic => Misbehaved::Silently(error.status()),
        _ => told(error),
    })?;
    // Version 0 never was, and who proves nothing has nothing to prove it with.
    if hello.version_min == 0 || (hello.method == 0 && !hello.credentials.is_empty()) {
        return Err(Misbehaved::told(Status::Limit));
    }
    if !(hello.version_min..=hello.version_max).contains(&PROTOCOL_VERSION) {
        let version = u32::from(PROTOCOL_VERSION);
        let text = format!("this server speaks version {version}");
        return Err(Misbehaved::Told(Fatal { status: Status::Version, detail: [version; 2], text }));
    }
    if hello.method != 0 {
        return Err(Misbehaved::told(Status::Unsupported));
    }
    Ok(Meaning::Hello)
}

fn told(error: DecodeError) -> Misbehaved {
    Misbehaved::Told(Fatal { status: error.status(), detail: [0; 2], text: error.to_string() })
}

/// What tells a request from another one that took its number: its kind and its body.
#[inline]
fn digest(frame: &Frame<'_>) -> u64 {
    xxh3_64_with_seed(frame.body, u64::from(frame.header.kind.0))
}

/// May this wait while the peer does not read what it is sent? What makes the table smaller may not.
#[must_use]
pub fn may_be_parked(kind: Kind) -> bool {
    !matches!(kind, Kind::DEQ | Kind::DEQ_ALL | Kind::CANCEL | Kind::CLOSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_the_table_smaller_never_waits_for_a_reader() {
        for kind in [Kind::DEQ, Kind::DEQ_ALL, Kind::CANCEL, Kind::CLOSE] {
            assert!(!may_be_parked(kind), "{kind}");
        }
        for kind in [Kind::ENQ, Kind::ENQ_PATH, Kind::CONVERT, Kind::ADOPT, Kind::PURGE] {
            assert!(may_be_parked(kind), "{kind}");
        }
    }
}
