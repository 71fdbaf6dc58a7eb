//! Looks: read with their tag, written with it.

use bytes::BytesMut;

use super::super::{
    Administer, DecodeError, EncodeError, Extension, Family, Fault, Header, Kind, Look, ORPHAN_KEY_LEN_MAX,
    OpenSession, Resume,
};
use super::{
    reader::{Read, Reader},
    writer::Writer,
};
use crate::vocabulary::{LockFilter, LockId, LockspaceId, NAME_LEN_MAX, Seq, SessionId, WaitsFrom, WhatIf};

/// The longest text that describes a session, in bytes.
pub(super) const TEXT_LEN_MAX: usize = 255;

/// The most locks a page may be asked for.
const LOCKS_A_PAGE: u32 = 2_000;

/// The most records of deadlocks that may be asked for at once.
const DEADLOCKS_A_PART: u32 = 256;

/// The most entries of a history that may be asked for at once.
const HISTORY_A_PART: u32 = 500;

/// The most waits that may be asked for at once.
const WAITS_A_PICTURE: u32 = 10_000;

/// The most sessions a page may be asked for.
const SESSIONS_A_PAGE: u32 = 200;

impl Look {
    /// Reads a look and its tag.
    ///
    /// # Errors
    /// The first field that is wrong. See [`DecodeError::outcome`] for what becomes of the connection.
    pub fn decode(header: &Header, body: &[u8]) -> Result<(u32, Look), DecodeError> {
        let message = header.kind;
        if message.family() != Family::Look {
            return Err(DecodeError { message, field: "kind", offset: 4, fault: Fault::WrongSide });
        }
        let mut r = Reader::new(header, body, false)?;
        let tag = r.u32("tag")?;
        let look = match message {
            Kind::PING => Look::Ping,
            Kind::RENEW => Look::Renew,
            Kind::OPEN => Look::Open(open(&mut r)?),
            Kind::RESUME => Look::Resume(Resume {
                session: SessionId(r.u64("session")?),
                secret: r.array("secret")?,
                received: r.u64("received")?,
            }),
            Kind::SHOW_LOCK => Look::Lock(LockId(r.u64("lock")?)),
            Kind::SHOW_RESOURCE => {
                Look::Resource { lockspace: LockspaceId(r.u32("lockspace")?), path: r.path()? }
            }
            Kind::SHOW_BLOCKERS => Look::Blockers(LockId(r.u64("lock")?)),
            Kind::SHOW_BLOCKED => Look::Blocked(LockId(r.u64("lock")?)),
            Kind::SHOW_PAGE => Look::Page {
                from: r.option("from", Reader::u64)?,
                max: max(&mut r, LOCKS_A_PAGE)?,
                filter: filter(&mut r)?,
            },
            Kind::SHOW_SESSION => Look::Session(SessionId(r.u64("session")?)),
            Kind::SHOW_SESSIONS => Look::Sessions {
                after: r.option("after", Reader::u64)?.map(SessionId),
                max: max(&mut r, SESSIONS_A_PAGE)?,
            },
            Kind::SHOW_SPACES => Look::Spaces,
            Kind::OPEN_SPACE => Look::OpenSpace(r.resource_name("name")?),
            Kind::SHOW_STATISTICS => Look::Statistics,
            Kind::CHECK_TOKEN => Look::CheckToken {
                lockspace: LockspaceId(r.u32("lockspace")?),
                path: r.path()?,
                seq: Seq(r.u64("seq")?),
            },
            Kind::SHOW_DEADLOCKS => Look::Deadlocks {
                before: r.option("before", Reader::u64)?,
                max: max(&mut r, DEADLOCKS_A_PART)?,
            },
            Kind::SHOW_WAITS => Look::Waits { from: waits_from(&mut r)?, max: max(&mut r, WAITS_A_PICTURE)? },
            Kind::WHAT_IF => Look::WhatIf(what_if(&mut r)?),
            Kind::SHOW_HISTORY => Look::History {
                of: r.history_of()?,
                before: r.history_cursor("before")?,
                max: max(&mut r, HISTORY_A_PART)?,
            },
            Kind::SCAN => Look::Administer(Administer::Scan),
            Kind::EXPIRE_SESSION => Look::Administer(Administer::ExpireSession {
                session: SessionId(r.u64("session")?),
                reason: r.text("reason", Extension::REASON_LEN_MAX)?.into(),
            }),
            Kind::FORCE_RELEASE => Look::Administer(Administer::ForceRelease {
                lock: LockId(r.u64("lock")?),
                version: r.u64("version")?,
                reason: r.text("reason", Extension::REASON_LEN_MAX)?.into(),
            }),
            Kind::SET_PRIORITY => Look::Administer(Administer::SetPriority {
                lock: LockId(r.u64("lock")?),
                priority: r.u8("priority")?,
            }),
            _ => return Err(DecodeError { message, field: "kind", offset: 4, fault: Fault::UnknownKind }),
        };
        r.finish(&[]).map(|_| (tag, look))
    }

    /// Appends the look as one frame.
    ///
    /// # Errors
    /// [`EncodeError`] if it does not fit into a frame.
    pub fn encode(&self, tag: u32, ack: u64, out: &mut BytesMut) -> Result<(), EncodeError> {
        let mut w = Writer::new(self.kind(), 0, ack, 64, out);
        w.u32(tag);
        match self {
            Look::Ping
            | Look::Renew
            | Look::Spaces
            | Look::Statistics
            | Look::Administer(Administer::Scan) => {}
            Look::Open(session) => write_open(&mut w, session),
            Look::Resume(Resume { session, secret, received }) => {
                w.u64(session.0);
                w.raw(secret);
                w.u64(*received);
            }
            Look::Lock(lock) | Look::Blockers(lock) | Look::Blocked(lock) => w.u64(lock.0),
            Look::Resource { lockspace, path } => {
                w.u32(lockspace.0);
                w.path(path);
            }
            Look::Page { from, max, filter } => {
                w.option(*from, Writer::u64);
                w.u32(*max);
                write_filter(&mut w, filter);
            }
            Look::Session(session) => w.u64(session.0),
            Look::Sessions { after, max } => {
                w.option(after.map(|after| after.0), Writer::u64);
                w.u32(*max);
            }
            Look::Deadlocks { before, max } => {
                w.option(*before, Writer::u64);
                w.u32(*max);
            }
            Look::Waits { from: WaitsFrom { lockspace, lock, session }, max } => {
                w.option(lockspace.map(|lockspace| lockspace.0), Writer::u32);
                w.option(lock.map(|lock| lock.0), Writer::u64);
                w.option(session.map(|session| session.0), Writer::u64);
                w.u32(*max);
            }
            Look::WhatIf(what_if) => write_what_if(&mut w, *what_if),
            Look::History { of, before, max } => {
                w.history_of(of);
                w.history_cursor(*before);
                w.u32(*max);
            }
            Look::OpenSpace(name) => w.bytes(name.as_bytes()),
            Look::CheckToken { lockspace, path, seq } => {
                w.u32(lockspace.0);
                w.path(path);
                w.u64(seq.0);
            }
            Look::Administer(Administer::ExpireSession { session, reason }) => {
                w.u64(session.0);
                w.text(reason);
            }
            Look::Administer(Administer::ForceRelease { lock, version, reason }) => {
                w.u64(lock.0);
                w.u64(*version);
                w.text(reason);
            }
            Look::Administer(Administer::SetPriority { lock, priority }) => {
                w.u64(lock.0);
                w.u8(*priority);
            }
        }
        w.finish()
    }

    /// The kind of its frame.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Look::Ping => Kind::PING,
            Look::Renew => Kind::RENEW,
            Look::Open(_) => Kind::OPEN,
            Look::Resume(_) => Kind::RESUME,
            Look::Lock(_) => Kind::SHOW_LOCK,
            Look::Resource { .. } => Kind::SHOW_RESOURCE,
            Look::Blockers(_) => Kind::SHOW_BLOCKERS,
            Look::Blocked(_) => Kind::SHOW_BLOCKED,
            Look::Page { .. } => Kind::SHOW_PAGE,
            Look::Session(_) => Kind::SHOW_SESSION,
            Look::Sessions { .. } => Kind::SHOW_SESSIONS,
            Look::Spaces => Kind::SHOW_SPACES,
            Look::OpenSpace(_) => Kind::OPEN_SPACE,
            Look::Statistics => Kind::SHOW_STATISTICS,
            Look::CheckToken { .. } => Kind::CHECK_TOKEN,
            Look::Deadlocks { .. } => Kind::SHOW_DEADLOCKS,
            Look::Waits { .. } => Kind::SHOW_WAITS,
            Look::WhatIf(_) => Kind::WHAT_IF,
            Look::History { .. } => Kind::SHOW_HISTORY,
            Look::Administer(Administer::Scan) => Kind::SCAN,
            Look::Administer(Administer::ExpireSession { .. }) => Kind::EXPIRE_SESSION,
            Look::Administer(Administer::ForceRelease { .. }) => Kind::FORCE_RELEASE,
            Look::Administer(Administer::SetPriority { .. }) => Kind::SET_PRIORITY,
        }
    }
}

/// How many are asked for, at most.
fn max(r: &mut Reader<'_>, max: u32) -> Read<u32> {
    let offset = r.offset();
    match r.u32("max")? {
        asked if (1..=max).contains(&asked) => Ok(asked),
        asked => Err(r.fail("max", offset, Fault::Limit { value: u64::from(asked) })),
    }
}

fn waits_from(r: &mut Reader<'_>) -> Read<WaitsFrom> {
    Ok(WaitsFrom {
        lockspace: r.option("lockspace", Reader::u32)?.map(LockspaceId),
        lock: r.option("lock", Reader::u64)?.map(LockId),
        session: r.option("session", Reader::u64)?.map(SessionId),
    })
}

fn what_if(r: &mut Reader<'_>) -> Read<WhatIf> {
    let offset = r.offset();
    let what = r.u8("what")?;
    let id = r.u64("id")?;
    match what {
        0 => Ok(WhatIf::Released(LockId(id))),
        1 => Ok(WhatIf::Ended(SessionId(id))),
        number => Err(r.fail("what", offset, Fault::BadChoice { number })),
    }
}

fn write_what_if(w: &mut Writer<'_>, what_if: WhatIf) {
    let (what, id) = match what_if {
        WhatIf::Released(lock) => (0, lock.0),
        WhatIf::Ended(session) => (1, session.0),
    };
    w.u8(what);
    w.u64(id);
}

fn open(r: &mut Reader<'_>) -> Read<OpenSession> {
    Ok(OpenSession {
        name: r.text("name", TEXT_LEN_MAX)?.into(),
        purpose: r.text("purpose", TEXT_LEN_MAX)?.into(),
        node: r.text("node", TEXT_LEN_MAX)?.into(),
        node_id: r.u32("node_id")?,
        host: r.text("host", TEXT_LEN_MAX)?.into(),
        pid: r.u32("pid")?,
        process_start: r.u64("process_start")?,
        ttl_ms: r.u32("ttl_ms")?,
        orphan_key: r.bytes("orphan_key", ORPHAN_KEY_LEN_MAX)?.into(),
        log: r.u8("log")?,
        bind_connection: r.bool("bind_connection")?,
    })
}

fn write_open(w: &mut Writer<'_>, session: &OpenSession) {
    w.text(&session.name);
    w.text(&session.purpose);
    w.text(&session.node);
    w.u32(session.node_id);
    w.text(&session.host);
    w.u32(session.pid);
    w.u64(session.process_start);
    w.u32(session.ttl_ms);
    w.bytes(&session.orphan_key);
    w.u8(session.log);
    w.bool(session.bind_connection);
}

fn filter(r: &mut Reader<'_>) -> Read<LockFilter> {
    Ok(LockFilter {
        lockspace: r.option("lockspace", Reader::u32)?.map(LockspaceId),
        prefix: r.bytes("prefix", NAME_LEN_MAX)?.into(),
        root: r.option("root", Reader::resource_name)?,
        queue: r.option("queue", Reader::queue)?,
        session: r.option("session", Reader::u64)?.map(SessionId),
        orphans: r.bool("orphans")?,
        older_than_ms: r.u64("older_than_ms")?,
    })
}

fn write_filter(w: &mut Writer<'_>, filter: &LockFilter) {
    w.option(filter.lockspace.map(|lockspace| lockspace.0), Writer::u32);
    w.bytes(&filter.prefix);
    w.option(filter.root.as_ref(), |w, root| w.bytes(root.as_bytes()));
    w.option(filter.queue, |w, queue| w.u8(queue as u8));
    w.option(filter.session.map(|session| session.0), Writer::u64);
    w.bool(filter.orphans);
    w.u64(filter.older_than_ms);
}
