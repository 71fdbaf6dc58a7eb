//! What the flight recorder has kept: entries of what happened to locks, and who the sessions in them were.
//!
//! Each entry is a copy of what was true when it was written; the lock, the resource and the session may be gone.

use super::{Fence, LockId, LockMode, LockspaceId, ResourceName, Seq, SessionId, Status};
use alloc::{string::String, vec::Vec};

/// What happened to a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Happened {
    /// A request came into a queue: a new one, or a conversion if a mode was held.
    Queued = 0,
    /// A mode was granted, at once or after a wait: a conversion, if a mode was held.
    Granted = 1,
    /// An orphan was adopted, which is a grant.
    Adopted = 2,
    /// A request was refused at once and left nothing.
    Refused = 3,
    /// A request that waited ended without a grant.
    Ended = 4,
    /// The held mode dropped to NL, while the conversion went on.
    Demoted = 5,
    /// The lock was released by its session.
    Released = 6,
    /// The lock went with its session, which was closed in order.
    Closed = 7,
    /// The lock went with its session, which died.
    Died = 8,
    /// Its session ended and the lock stayed, as an orphan.
    Orphaned = 9,
    /// Its session died and the lock went on blocking for the lock-delay.
    Delayed = 10,
    /// The lock-delay was over and the lock went.
    DelayEnded = 11,
    /// An administrator took the lock away.
    Forced = 12,
    /// The orphan was purged.
    Purged = 13,
}

impl Happened {
    /// All of them, by number.
    pub const ALL: [Happened; 14] = [
        Happened::Queued,
        Happened::Granted,
        Happened::Adopted,
        Happened::Refused,
        Happened::Ended,
        Happened::Demoted,
        Happened::Released,
        Happened::Closed,
        Happened::Died,
        Happened::Orphaned,
        Happened::Delayed,
        Happened::DelayEnded,
        Happened::Forced,
        Happened::Purged,
    ];

    /// The one with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Happened> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// Where a part of a history ends: an entry, by its moment and its number. Its meaning is the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HistoryCursor {
    /// When it was written.
    pub at: u64,
    /// Its number among those of all shards.
    pub entry: u64,
}

/// Whose history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryOf {
    /// That of one resource: not of those below it.
    Resource {
        /// The lockspace.
        lockspace: LockspaceId,
        /// Its path, root first.
        path: Vec<ResourceName>,
    },
    /// That of one session, on all resources.
    Session(SessionId),
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryView {
    /// How long ago.
    pub age_ms: u64,
    /// What.
    pub happened: Happened,
    /// Why, of what was refused or ended; otherwise DONE.
    pub status: Status,
    /// The lock; none for a new request that was refused.
    pub lock: Option<LockId>,
    /// Whose it was; none for an orphan.
    pub session: Option<SessionId>,
    /// The lockspace of the resource.
    pub lockspace: LockspaceId,
    /// The names of the resource that were kept, the leaf last.
    pub path: Vec<ResourceName>,
    /// Names are missing in front, or the first of those that are there has lost its end.
    pub is_cut: bool,
    /// The mode it held before.
    pub held: Option<LockMode>,
    /// The mode that was asked for or granted.
    pub mode: Option<LockMode>,
    /// The seq of its grant, 0 before the first.
    pub seq: Seq,
    /// The fence of its grant.
    pub fence: Fence,
    /// How long the request had waited that was granted, or ended, by this.
    pub waited_ms: u32,
    /// NOTQUEUED: the id of the lock in the way. DEADLOCK: the number of the record. Forced: the administrator's session.
    pub detail: u64,
}

/// A session that is in a history, or whose history it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastSession {
    /// Its id.
    pub session: SessionId,
    /// What it called itself.
    pub name: String,
    /// What it was for.
    pub purpose: String,
    /// The host it said it ran on.
    pub host: String,
    /// The process it said it was.
    pub pid: u32,
    /// How long ago it was opened.
    pub age_ms: u64,
    /// How long ago it ended; none if it is still there.
    pub ended_ms: Option<u64>,
    /// Did it end in disorder: its lease ran out, its connection broke, or an administrator ended it?
    pub died: bool,
}

/// A part of a history, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryPart {
    /// The entries.
    pub entries: Vec<HistoryView>,
    /// Where to go on; none at the end.
    pub next: Option<HistoryCursor>,
    /// From how long ago on nothing was overwritten.
    pub complete_ms: u64,
    /// Is that the server's start?
    pub since_start: bool,
    /// The sessions of these entries that are still known.
    pub sessions: Vec<PastSession>,
}
