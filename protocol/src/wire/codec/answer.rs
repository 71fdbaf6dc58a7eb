//! Answers and events: what a session's stream says back.

use bytes::BytesMut;

use super::super::{
    Answer, DecodeError, EncodeError, Event, Extension, Family, Fault, Header, Kind, Reply, SpaceReply,
};
use super::{reader::Reader, writer::Writer};
use crate::vocabulary::{Grant, LockId, Place, Seq, SessionId, Status};

impl Answer {
    /// Reads the answer to a numbered request.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn decode(header: &Header, body: &[u8]) -> Result<Answer, DecodeError> {
        let message = header.kind;
        if message.family() != Family::Answer {
            return Err(DecodeError { message, field: "kind", offset: 4, fault: Fault::WrongSide });
        }
        let mut r = Reader::new(header, body, true)?;
        let request = r.u64("request")?;
        let place = Place(r.u64("place")?);
        let reply = match message {
            Kind::GRANTED => Reply::Granted(r.grant()?),
            Kind::PATH_GRANTED => Reply::PathGranted { leaf: r.grant()?, levels: r.path_levels()? },
            Kind::QUEUED => Reply::Queued {
                handle: r.handle("handle", Fault::NoSuchHandle)?,
                lock: LockId(r.u64("lock")?),
            },
            Kind::DONE => Reply::Done { status: Status(r.u16("status")?) },
            Kind::REFUSED => Reply::Refused {
                status: Status(r.u16("status")?),
                blocker: r.option("blocker", Reader::u64)?.map(LockId),
                detail: r.u32("detail")?,
            },
            Kind::PURGED => Reply::Purged { released: r.u64("released")? },
            Kind::SPACE => {
                Reply::Space(SpaceReply { space: r.lockspace_view()?, changed: r.bool("changed")? })
            }
            _ => return Err(DecodeError { message, field: "kind", offset: 4, fault: Fault::UnknownKind }),
        };
        r.finish(&[]).map(|_| Answer { request, place, reply })
    }

    /// Appends the answer as one frame, with this number in the server's stream.
    ///
    /// # Errors
    /// [`EncodeError`] if it does not fit into a frame, which no answer of this version is too long for.
    pub fn encode(&self, number: u64, ack: u64, out: &mut BytesMut) -> Result<(), EncodeError> {
        let (kind, body) = match &self.reply {
            Reply::Granted(grant) => {
                return Answer::encode_granted((self.request, self.place), grant, number, ack, out);
            }
            Reply::Done { status } => {
                return Answer::encode_done((self.request, self.place), *status, number, ack, out);
            }
            Reply::PathGranted { .. } => (Kind::PATH_GRANTED, 256),
            Reply::Queued { .. } => (Kind::QUEUED, 30),
            Reply::Refused { .. } => (Kind::REFUSED, 33),
            Reply::Space(_) => (Kind::SPACE, 128),
            Reply::Purged { .. } => (Kind::PURGED, 26),
        };
        let mut w = Writer::new(kind, number, ack, body, out);
        w.u64(self.request);
        w.u64(self.place.0);
        match &self.reply {
            Reply::Granted(_) | Reply::Done { .. } => {}
            Reply::PathGranted { leaf, levels } => {
                w.grant(leaf);
                w.path_levels(levels);
            }
            Reply::Queued { handle, lock } => {
                w.handle(*handle);
                w.u64(lock.0);
            }
            Reply::Purged { released } => w.u64(*released),
            Reply::Refused { status, blocker, detail } => {
                w.u16(status.0);
                w.option(blocker.map(|blocker| blocker.0), Writer::u64);
                w.u32(*detail);
            }
            Reply::Space(SpaceReply { space, changed }) => {
                w.lockspace_view(space);
                w.bool(*changed);
            }
        }
        w.finish()
    }
}

impl Answer {
    /// Appends the answer [`Reply::Granted`] of a grant that stays where it is.
    ///
    /// # Errors
    /// As [`Answer::encode`].
    pub fn encode_granted(
        (request, place): (u64, Place),
        grant: &Grant,
        number: u64,
        ack: u64,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        let mut w = Writer::new(Kind::GRANTED, number, ack, 64, out);
        w.u64(request);
        w.u64(place.0);
        w.grant(grant);
        w.finish()
    }

    /// Appends the answer [`Reply::Done`].
    ///
    /// # Errors
    /// As [`Answer::encode`].
    pub fn encode_done(
        (request, place): (u64, Place),
        status: Status,
        number: u64,
        ack: u64,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        let mut w = Writer::new(Kind::DONE, number, ack, 20, out);
        w.u64(request);
        w.u64(place.0);
        w.u16(status.0);
        w.finish()
    }
}

impl Event {
    /// Reads an event and its place.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn decode(header: &Header, body: &[u8]) -> Result<(Place, Event), DecodeError> {
        let message = header.kind;
        if message.family() != Family::Event {
            return Err(DecodeError { message, field: "kind", offset: 4, fault: Fault::WrongSide });
        }
        let mut r = Reader::new(header, body, message != Kind::BLOCKING)?;
        let place = Place(r.u64("place")?);
        let event = match message {
            Kind::GRANTED_LATER => Event::Granted(r.grant()?),
            Kind::PATH_GRANTED_LATER => Event::PathGranted { leaf: r.grant()?, levels: r.path_levels()? },
            Kind::ENDED => Event::Ended {
                handle: r.handle("handle", Fault::NoSuchHandle)?,
                status: Status(r.u16("status")?),
                holds: r.mode_or_none("holds")?,
                record: r.u64("record")?,
            },
            Kind::DEMOTED => Event::Demoted { handle: r.handle("handle", Fault::NoSuchHandle)? },
            Kind::REVOKED => Event::Revoked {
                handle: r.handle("handle", Fault::NoSuchHandle)?,
                status: Status(r.u16("status")?),
                by: SessionId(r.u64("by")?),
                reason: r.text("reason", Extension::REASON_LEN_MAX)?.into(),
            },
            Kind::BLOCKING => Event::Blocking {
                handle: r.handle("handle", Fault::NoSuchHandle)?,
                seq: Seq(r.u64("seq")?),
                mode: r.mode("mode")?,
            },
            _ => return Err(DecodeError { message, field: "kind", offset: 4, fault: Fault::UnknownKind }),
        };
        r.finish(&[]).map(|_| (place, event))
    }

    /// Appends the event as one frame. A blocking notice has no number, whatever `number` is.
    ///
    /// # Errors
    /// [`EncodeError`] if it does not fit into a frame, which no event of this version is too long for.
    pub fn encode(&self, place: Place, number: u64, ack: u64, out: &mut BytesMut) -> Result<(), EncodeError> {
        let (kind, body) = match self {
            Event::Granted(_) => (Kind::GRANTED_LATER, 56),
            Event::PathGranted { .. } => (Kind::PATH_GRANTED_LATER, 256),
            Event::Ended { .. } => (Kind::ENDED, 25),
            Event::Demoted { .. } => (Kind::DEMOTED, 14),
            Event::Revoked { .. } => (Kind::REVOKED, 64),
            Event::Blocking { .. } => (Kind::BLOCKING, 23),
        };
        let number = if self.is_numbered() { number } else { 0 };
        let mut w = Writer::new(kind, number, ack, body, out);
        w.u64(place.0);
        match self {
            Event::Granted(grant) => w.grant(grant),
            Event::PathGranted { leaf, levels } => {
                w.grant(leaf);
                w.path_levels(levels);
            }
            Event::Ended { handle, status, holds, record } => {
                w.handle(*handle);
                w.u16(status.0);
                w.mode_or_none(*holds);
                w.u64(*record);
            }
            Event::Demoted { handle } => w.handle(*handle),
            Event::Revoked { handle, status, by, reason } => {
                w.handle(*handle);
                w.u16(status.0);
                w.u64(by.0);
                w.text(reason);
            }
            Event::Blocking { handle, seq, mode } => {
                w.handle(*handle);
                w.u64(seq.0);
                w.mode(*mode);
            }
        }
        w.finish()
    }

    /// Does it take a number of the server's stream, and is it kept until that is acknowledged?
    #[must_use]
    pub const fn is_numbered(&self) -> bool {
        !matches!(self, Event::Blocking { .. })
    }
}
