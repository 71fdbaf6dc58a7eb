//! What was seen: the answers to looks, read with their tag, written with it.

use bytes::BytesMut;

use super::super::{DecodeError, EncodeError, Family, Fault, Header, Kind, Opened, Resumed, Seen};
use super::{reader::Reader, writer::Writer};
use crate::vocabulary::{LockPage, Scanned, SessionId, Status};
use alloc::boxed::Box;

impl Seen {
    /// Reads the answer to a look, and its tag.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn decode(header: &Header, body: &[u8]) -> Result<(u32, Seen), DecodeError> {
        let message = header.kind;
        if message.family() != Family::Seen {
            return Err(DecodeError { message, field: "kind", offset: 4, fault: Fault::WrongSide });
        }
        let mut r = Reader::new(header, body, false)?;
        let tag = r.u32("tag")?;
        let seen = match message {
            Kind::SEEN_DONE => Seen::Done,
            Kind::SEEN_RENEWED => Seen::Renewed(r.u32("ttl_ms")?),
            Kind::SEEN_OPENED => Seen::Opened(Opened {
                session: SessionId(r.u64("session")?),
                secret: r.array("secret")?,
                ttl_ms: r.u32("ttl_ms")?,
            }),
            Kind::SEEN_RESUMED => {
                Seen::Resumed(Resumed { executed: r.u64("executed")?, ttl_ms: r.u32("ttl_ms")? })
            }
            Kind::SEEN_LOCK => Seen::Lock(Box::new(r.lock_view()?)),
            Kind::SEEN_RESOURCE => {
                Seen::Resource { resource: Box::new(r.resource_view()?), sessions: r.session_views()? }
            }
            Kind::SEEN_EDGES => {
                Seen::Edges { edges: r.edges()?, total: r.u32("total")?, sessions: r.session_views()? }
            }
            Kind::SEEN_PAGE => {
                Seen::Page(LockPage { locks: r.lock_views()?, next: r.option("next", Reader::u64)? })
            }
            Kind::SEEN_SESSIONS => Seen::Sessions { sessions: r.session_views()?, more: r.bool("more")? },
            Kind::SEEN_SPACES => Seen::Spaces(r.lockspace_views()?),
            Kind::SEEN_STATISTICS => {
                Seen::Statistics { statistics: r.statistics()?, counters: r.counters()? }
            }
            Kind::SEEN_TOKEN => Seen::Token { live: r.bool("live")? },
            Kind::SEEN_DEADLOCKS => Seen::Deadlocks { deadlocks: r.deadlock_views()?, more: r.bool("more")? },
            Kind::SEEN_SCANNED => Seen::Scanned(Scanned {
                locks: r.u64("locks")?,
                found: r.u32("found")?,
                records: r.list("records", 8, |r| r.u64("records"))?,
            }),
            Kind::SEEN_WAITS => Seen::Waits(r.waits_view()?),
            Kind::SEEN_FORESEEN => Seen::Foreseen(r.foreseen_view()?),
            Kind::SEEN_HISTORY => Seen::History(r.history_part()?),
            Kind::SEEN_REFUSED => Seen::Refused(Status(r.u16("status")?)),
            _ => return Err(DecodeError { message, field: "kind", offset: 4, fault: Fault::UnknownKind }),
        };
        r.finish(&[]).map(|_| (tag, seen))
    }

    /// Appends the answer to a look as one frame.
    ///
    /// # Errors
    /// [`EncodeError`] if it does not fit into a frame: show less.
    pub fn encode(&self, tag: u32, ack: u64, out: &mut BytesMut) -> Result<(), EncodeError> {
        let mut w = Writer::new(self.kind(), 0, ack, 64, out);
        w.u32(tag);
        match self {
            Seen::Done => {}
            Seen::Renewed(ttl_ms) => w.u32(*ttl_ms),
            Seen::Opened(Opened { session, secret, ttl_ms }) => {
                w.u64(session.0);
                w.raw(secret);
                w.u32(*ttl_ms);
            }
            Seen::Resumed(Resumed { executed, ttl_ms }) => {
                w.u64(*executed);
                w.u32(*ttl_ms);
            }
            Seen::Lock(lock) => w.lock_view(lock),
            Seen::Resource { resource, sessions } => {
                w.resource_view(resource);
                w.session_views(sessions);
            }
            Seen::Edges { edges, total, sessions } => {
                w.edges(edges);
                w.u32(*total);
                w.session_views(sessions);
            }
            Seen::Page(LockPage { locks, next }) => {
                w.lock_views(locks);
                w.option(*next, Writer::u64);
            }
            Seen::Sessions { sessions, more } => {
                w.session_views(sessions);
                w.bool(*more);
            }
            Seen::Spaces(spaces) => w.lockspace_views(spaces),
            Seen::Statistics { statistics, counters } => {
                w.statistics(statistics);
                w.counters(counters);
            }
            Seen::Token { live } => w.bool(*live),
            Seen::Deadlocks { deadlocks, more } => {
                w.deadlock_views(deadlocks);
                w.bool(*more);
            }
            Seen::Scanned(Scanned { locks, found, records }) => {
                w.u64(*locks);
                w.u32(*found);
                w.list(records.iter(), |w, number| w.u64(*number));
            }
            Seen::Waits(view) => w.waits_view(view),
            Seen::Foreseen(view) => w.foreseen_view(view),
            Seen::History(part) => w.history_part(part),
            Seen::Refused(status) => w.u16(status.0),
        }
        w.finish()
    }

    /// The kind of its frame.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Seen::Done => Kind::SEEN_DONE,
            Seen::Renewed(_) => Kind::SEEN_RENEWED,
            Seen::Opened(_) => Kind::SEEN_OPENED,
            Seen::Resumed(_) => Kind::SEEN_RESUMED,
            Seen::Lock(_) => Kind::SEEN_LOCK,
            Seen::Resource { .. } => Kind::SEEN_RESOURCE,
            Seen::Edges { .. } => Kind::SEEN_EDGES,
            Seen::Page(_) => Kind::SEEN_PAGE,
            Seen::Sessions { .. } => Kind::SEEN_SESSIONS,
            Seen::Spaces(_) => Kind::SEEN_SPACES,
            Seen::Statistics { .. } => Kind::SEEN_STATISTICS,
            Seen::Token { .. } => Kind::SEEN_TOKEN,
            Seen::Deadlocks { .. } => Kind::SEEN_DEADLOCKS,
            Seen::Scanned(_) => Kind::SEEN_SCANNED,
            Seen::Waits(_) => Kind::SEEN_WAITS,
            Seen::Foreseen(_) => Kind::SEEN_FORESEEN,
            Seen::History(_) => Kind::SEEN_HISTORY,
            Seen::Refused(_) => Kind::SEEN_REFUSED,
        }
    }
}
