//! Looking: requests outside the streams, each with a tag that its answer echoes. Freely repeated, never kept.

use crate::vocabulary::{
    Counter, DeadlockView, Edge, ForeseenView, HistoryCursor, HistoryOf, HistoryPart, LockFilter, LockId,
    LockPage, LockView, LockspaceId, LockspaceView, ResourceName, ResourceView, Scanned, Seq, SessionId,
    SessionView, Statistics, Status, WaitsFrom, WaitsView, WhatIf,
};
use alloc::{boxed::Box, vec::Vec};

use super::{Administer, OpenSession, Opened, Resume, Resumed};

/// What is asked, beside the tag. Opening a session and administration travel the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// Are you there?
    Ping,
    /// Keep my session alive. Renewed by any other frame too.
    Renew,
    /// Begin a session on this connection.
    Open(OpenSession),
    /// Go on with a session on this connection.
    Resume(Resume),
    /// One lock.
    Lock(LockId),
    /// One resource with its queues.
    Resource {
        /// The lockspace.
        lockspace: LockspaceId,
        /// Its path, root first.
        path: Vec<ResourceName>,
    },
    /// What this lock waits for.
    Blockers(LockId),
    /// What waits for this lock.
    Blocked(LockId),
    /// A part of a listing; `from` is the `next` of the part before.
    Page {
        /// Where to go on.
        from: Option<u64>,
        /// Locks a page, at most 2,000.
        max: u32,
        /// Which locks.
        filter: LockFilter,
    },
    /// One session.
    Session(SessionId),
    /// A part of the list of sessions, by id, from the one after `after`.
    Sessions {
        /// Where to go on.
        after: Option<SessionId>,
        /// Sessions a part, at most 200.
        max: u32,
    },
    /// All lockspaces.
    Spaces,
    /// The lockspace with this name: its number is what ENQ takes.
    OpenSpace(ResourceName),
    /// The counters.
    Statistics,
    /// Is the grant with this seq live?
    CheckToken {
        /// The lockspace.
        lockspace: LockspaceId,
        /// The resource's path, root first.
        path: Vec<ResourceName>,
        /// The seq of the grant.
        seq: Seq,
    },
    /// A part of the records of deadlocks, the latest first.
    Deadlocks {
        /// Only those with a lower number.
        before: Option<u64>,
        /// Records a part, at most 256.
        max: u32,
    },
    /// Who waits for whom, all the way.
    Waits {
        /// Where it starts.
        from: WaitsFrom,
        /// Waits at most, up to 10,000.
        max: u32,
    },
    /// What would be granted if this ended.
    WhatIf(WhatIf),
    /// A part of what the flight recorder has kept of a resource or a session, the newest first.
    History {
        /// Of which.
        of: HistoryOf,
        /// Where to go on: the `next` of the part before.
        before: Option<HistoryCursor>,
        /// Entries a part, at most 500.
        max: u32,
    },
    /// Administration.
    Administer(Administer),
}

/// What is answered, beside the tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Yes: PING, and administration that was carried out.
    Done,
    /// The lease runs anew, for so many milliseconds.
    Renewed(u32),
    /// The session that began.
    Opened(Opened),
    /// The session goes on here. What it has not received follows.
    Resumed(Resumed),
    /// One lock.
    Lock(Box<LockView>),
    /// One resource, with those sessions that hold or wait.
    Resource {
        /// The resource.
        resource: Box<ResourceView>,
        /// Who they are.
        sessions: Vec<SessionView>,
    },
    /// What waits for what.
    Edges {
        /// The other ends.
        edges: Vec<Edge>,
        /// How many there are; more than `edges` holds if the answer was cut short.
        total: u32,
        /// Who they are.
        sessions: Vec<SessionView>,
    },
    /// A part of a listing.
    Page(LockPage),
    /// Sessions.
    Sessions {
        /// What was found in this part, by id.
        sessions: Vec<SessionView>,
        /// Are there more?
        more: bool,
    },
    /// Lockspaces.
    Spaces(Vec<LockspaceView>),
    /// The counters.
    Statistics {
        /// Those that every server has.
        statistics: Statistics,
        /// What this one counts besides.
        counters: Vec<Counter>,
    },
    /// The token's grant is live, or not.
    Token {
        /// Is it?
        live: bool,
    },
    /// Records of deadlocks.
    Deadlocks {
        /// What was found in this part, the latest first.
        deadlocks: Vec<DeadlockView>,
        /// Are there more?
        more: bool,
    },
    /// What a search for deadlocks has found.
    Scanned(Scanned),
    /// Who waits for whom.
    Waits(WaitsView),
    /// What would be granted.
    Foreseen(ForeseenView),
    /// What the flight recorder has kept.
    History(HistoryPart),
    /// No.
    Refused(Status),
}
