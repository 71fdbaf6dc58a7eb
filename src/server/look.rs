//! Looks and what travels like them: answered at once, by their tag, outside the session's stream.
//!
//! Nothing here is kept or repeated; who lost an answer asks again.

use super::{House, deadlock, metrics::Limit};
use crate::{
    engine::{Instant, deadlock::Due},
    log::{LogKind, Promise},
    table::{About, Edges, ResourceSeen, Scratch, SessionCell},
};
use enq_protocol::{
    vocabulary::{Scanned, SessionId, Statistics, Status},
    wire::{Administer, Look, OpenSession, Opened, Seen},
};
/// Numbers of records in the answer to a SCAN: no more are kept.
const RECORDS_SAID: usize = 256;

/// Who looks.
pub(super) struct Looker<'a> {
    pub(super) house: &'a House,
    pub(super) now: Instant,
    /// Its session, if it has one.
    pub(super) session: Option<&'a SessionCell>,
}

impl Looker<'_> {
    /// What is seen. OPEN and the end of a session are the connection's own business.
    pub(super) fn look(&self, look: Look) -> Seen {
        let (table, now) = (self.house.log.table(), self.now);
        match look {
            Look::Ping => Seen::Done,
            Look::Renew => match self.session {
                Some(cell) => Seen::Renewed(cell.about.ttl_ms),
                None => Seen::Refused(Status::NoSuchSession),
            },
            Look::Lock(lock) => found(table.show_lock(now, lock).map(Box::new), Seen::Lock),
            Look::Resource { lockspace, path } => {
                found(table.show_resource(now, lockspace, &path), |ResourceSeen { resource, sessions }| {
                    Seen::Resource { resource: Box::new(resource), sessions }
                })
            }
            Look::Blockers(lock) => found(table.show_blockers(now, lock), edges),
            Look::Blocked(lock) => found(table.show_blocked(now, lock), edges),
            Look::Page { from, max, filter } => Seen::Page(table.show_page(now, from, max, &filter)),
            Look::Session(session) => match table.show_session(now, session) {
                Some(view) => Seen::Sessions { sessions: vec![view], more: false },
                None => Seen::Refused(Status::NoSuchSession),
            },
            Look::Sessions { after, max } => {
                let (sessions, more) = table.show_sessions(now, after, max);
                Seen::Sessions { sessions, more }
            }
            Look::Spaces => Seen::Spaces(table.show_spaces()),
            Look::OpenSpace(name) => match table.open_space(&name) {
                Some(space) => Seen::Spaces(vec![space]),
                None => Seen::Refused(Status::NoSuchSpace),
            },
            Look::Statistics => {
                let recovering_ms = table.recovering_ms(now);
                let statistics = Statistics { recovering_ms, ..table.statistics() };
                Seen::Statistics { statistics, counters: self.house.counters() }
            }
            Look::CheckToken { lockspace, path, seq } => {
                Seen::Token { live: table.is_live(lockspace, &path, seq) }
            }
            Look::Deadlocks { before, max } => {
                let (deadlocks, more) = table.show_deadlocks(now, before, max);
                Seen::Deadlocks { deadlocks, more }
            }
            Look::Waits { from, max } => {
                table.show_waits(now, &from, max).map_or_else(Seen::Refused, Seen::Waits)
            }
            Look::WhatIf(what) => table.show_what_if(now, what).map_or_else(Seen::Refused, Seen::Foreseen),
            Look::History { of, before, max } => match table.show_history(now, &of, before, max) {
                Some(part) => Seen::History(part),
                None => Seen::Refused(Status::Unsupported),
            },
            Look::Administer(Administer::Scan) => Seen::Scanned(self.scan()),
            // Those change something, which takes another way.
            Look::Administer(_) | Look::Open(_) | Look::Resume(_) => Seen::Refused(Status::State),
        }
    }

    /// D6: a search now, for all that there is.
    fn scan(&self) -> Scanned {
        let searched = deadlock::search(self.house, self.now, Due::All);
        let by = self.session.map_or(SessionId(0), |cell| cell.id);
        let (locks, found) = (searched.locks, searched.found.len());
        tracing::info!(%by, locks, found, "a search for deadlocks was asked for");
        let shown = searched.found.iter().skip(found.saturating_sub(RECORDS_SAID));
        Scanned {
            locks: u64::try_from(locks).unwrap_or(u64::MAX),
            found: u32::try_from(found).unwrap_or(u32::MAX),
            records: shown.map(|deadlock| deadlock.number).collect(),
        }
    }
}

/// What an administrator asks for, on behalf of this session. The caller may hold its in-half, and nobody else's.
pub(super) fn administer(
    house: &House,
    now: Instant,
    by: SessionId,
    administer: &Administer,
    scratch: &mut Scratch,
) -> Result<Promise, Status> {
    match administer {
        Administer::ForceRelease { lock, version, reason } => {
            tracing::info!(%lock, %by, reason, "a lock is released by force");
            Ok(house.log.force_release(now, *lock, *version, (by, reason), scratch))
        }
        Administer::SetPriority { lock, priority } => {
            Ok(house.log.set_priority(now, *lock, *priority, scratch))
        }
        // These are nothing that one lock is asked for.
        Administer::ExpireSession { .. } | Administer::Scan => Err(Status::State),
    }
}

/// Ends a session as if its lease had run out. The caller holds no in-half.
pub(super) fn expire(
    house: &House,
    now: Instant,
    session: SessionId,
    reason: &str,
    scratch: &mut Scratch,
) -> Result<Promise, Status> {
    let cell = house.log.table().session(session).ok_or(Status::NoSuchSession)?;
    let mut register = cell.in_half.lock();
    if register.has_ended() {
        return Err(Status::NoSuchSession);
    }
    let promise = house.log.kill(now, (&cell, &mut register), scratch);
    tracing::info!(session = %cell.id, name = cell.about.name, reason, "session ended by an administrator");
    Ok(promise)
}

/// Begins a session for the peer at this address.
pub(super) fn open(house: &House, now: Instant, asked: OpenSession, peer: String) -> Result<Promise, Status> {
    if asked.log != 0 && asked.log != house.log.kind() as u8 {
        return Err(Status::WrongLog);
    }
    if !(house.rules.ttl_ms_min..=house.rules.ttl_ms_max).contains(&asked.ttl_ms) {
        let is_short = asked.ttl_ms < house.rules.ttl_ms_min;
        house.metrics.reach(if is_short { Limit::ShortestLease } else { Limit::LongestLease });
        return Err(Status::Limit);
    }
    let table = house.log.table();
    if !table.memory().has_room_for_session() {
        table.reached().refused_for_memory();
        return Err(Status::ResourceExhausted);
    }
    if !house.log.may_open() {
        return Err(Status::ResourceExhausted);
    }
    let secret = (house.rules.draw)().ok_or(Status::Unavailable)?;
    let about = About {
        name: asked.name,
        purpose: asked.purpose,
        host: asked.host,
        pid: asked.pid,
        peer,
        ttl_ms: asked.ttl_ms,
        bound: asked.bind_connection,
        secret,
        orphan_key: asked.orphan_key,
    };
    Ok(house.log.open_session(now, about))
}

/// The session that was asked for is there.
pub(super) fn opened(house: &House, now: Instant, cell: &SessionCell) -> Opened {
    cell.renew(now);
    if house.log.kind() == LogKind::Volatile {
        house.leases.watch(cell);
    }
    tracing::info!(session = %cell.id, about = ?cell.about, "session opened");
    Opened { session: cell.id, secret: cell.about.secret, ttl_ms: cell.about.ttl_ms }
}

fn found<T>(seen: Option<T>, say: impl FnOnce(T) -> Seen) -> Seen {
    seen.map_or(Seen::Refused(Status::NoSuchLock), say)
}

fn edges(Edges { edges, total, sessions }: Edges) -> Seen {
    Seen::Edges { edges, total, sessions }
}
