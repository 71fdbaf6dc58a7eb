//! Views: what somebody who looks is shown. Each is a copy at one moment; none of them is a handle on anything.
//!
//! Ages are given in milliseconds as of the look, because the clocks of two machines do not agree on a date.

use super::{
    Fence, Flags, Handle, LockId, LockMode, LockspaceId, Owner, Policy, ResourceName, Seq, SessionId, Stamp,
    ValueBlock,
};
use alloc::{boxed::Box, string::String, vec::Vec};

/// The three places a lock can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Queue {
    /// The granted queue.
    Granted = 0,
    /// The conversion queue: the lock keeps its granted mode while it waits for another.
    Conversion = 1,
    /// The waiting queue: the lock holds nothing yet.
    Waiting = 2,
}

/// One lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockView {
    /// Its id.
    pub lock: LockId,
    /// Whose it is; none for an orphan.
    pub session: Option<SessionId>,
    /// The session's own number for it.
    pub handle: Handle,
    /// The node of the waits-for graph it belongs to.
    pub owner: Owner,
    /// The lockspace of its resource.
    pub lockspace: LockspaceId,
    /// The name of its resource, root first.
    pub path: Vec<ResourceName>,
    /// Where it is.
    pub queue: Queue,
    /// The mode it holds; none while it waits for its first.
    pub granted: Option<LockMode>,
    /// The mode it waits for; none while it is granted.
    pub requested: Option<LockMode>,
    /// The number of its last grant, 0 before the first.
    pub seq: Seq,
    /// The fence of its last grant.
    pub fence: Fence,
    /// When it entered the queue it is in, in the order of its shard.
    pub stamp: Stamp,
    /// How long it has been in this queue, in this mode.
    pub age_ms: u64,
    /// How long it is still willing to wait.
    pub timeout_ms: Option<u64>,
    /// Why nothing moves, whoever asks for it: of a granted lock without session, what is left of its lock-delay (rule
    /// E4; an orphan has none); of a lock that waits, what is left of the server's wait after its restart (rule G10).
    pub pause_ms: Option<u64>,
    /// The parent lock.
    pub parent: Option<LockId>,
    /// How many sublocks it has.
    pub sublocks: u32,
    /// The flags it was asked with that still mean something.
    pub flags: Flags,
    /// Its deadlock priority; the lowest on a cycle is refused.
    pub priority: u8,
    /// Why it was asked for, in the asker's words.
    pub reason: Box<[u8]>,
}

/// One resource with its three queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceView {
    /// Its lockspace.
    pub lockspace: LockspaceId,
    /// Its name, root first.
    pub path: Vec<ResourceName>,
    /// Its value block.
    pub value: ValueBlock,
    /// Its locks: granted by id, then converting and waiting in their order.
    pub locks: Vec<LockView>,
    /// How many locks it has; more than `locks` holds if the view was cut short.
    pub lock_count: u32,
    /// How many subresources it has.
    pub subresources: u32,
}

/// Why one lock waits for another (rule D2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum EdgeWhy {
    /// The blocker's granted mode is incompatible with the mode that is waited for: a hard edge.
    Held = 0,
    /// The blocker is ahead in the same queue, or converts while the waiting lock is new: a soft edge.
    Ahead = 1,
}

/// One lock that waits for another, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The lock at the other end.
    pub lock: LockView,
    /// Why.
    pub why: EdgeWhy,
}

/// One wait of a deadlock, with both locks as they were when it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitView {
    /// The request that waited.
    pub waiting: LockView,
    /// What it waited for.
    pub blocker: LockView,
    /// Why.
    pub why: EdgeWhy,
}

/// The record of a deadlock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadlockView {
    /// Its number, from 1.
    pub number: u64,
    /// How long ago it was found.
    pub age_ms: u64,
    /// Is it a ring? Then the blocker of each wait belongs to the party that waits in the next one.
    pub is_ring: bool,
    /// How many waits it had; more than `waits` holds if the view was cut short.
    pub wait_count: u32,
    /// Its waits.
    pub waits: Vec<WaitView>,
    /// The sessions of these locks, as they were then.
    pub sessions: Vec<SessionView>,
    /// The lock whose request was refused; none if nobody may be.
    pub refused: Option<LockId>,
}

/// What a search for deadlocks has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// How many locks were looked at: all those on resources where somebody waits.
    pub locks: u64,
    /// How many deadlocks were found and acted upon.
    pub found: u32,
    /// The numbers of their records, the lowest first; of more than 256 the highest.
    pub records: Vec<u64>,
}

/// One lock in a picture of who waits for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingView {
    /// The lock.
    pub lock: LockView,
    /// Its place among those that wait or convert there, from 1: first the conversion queue, then the waiting queue. 0
    /// while it is granted.
    pub position: u32,
    /// How many wait or convert there.
    pub queued: u32,
}

/// One wait in a picture of who waits for whom, by the ids of its locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitLine {
    /// The request that waits.
    pub lock: LockId,
    /// What it waits for.
    pub blocker: LockId,
    /// Why.
    pub why: EdgeWhy,
    /// The number, from 1 and of this picture only, of the deadlock that it belongs to; 0 if it belongs to none.
    pub deadlock: u32,
}

/// From which requests a picture of the waits starts: those that wait or convert and are all that is said here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitsFrom {
    /// Only in this lockspace.
    pub lockspace: Option<LockspaceId>,
    /// Only this lock.
    pub lock: Option<LockId>,
    /// Only those of this session.
    pub session: Option<SessionId>,
}

/// Who waits for whom: some requests, what is in their way, what the parties that are in their way wait for themselves,
/// and so on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaitsView {
    /// The locks at the ends of the waits, each once; and requests for which nobody is in the way.
    pub locks: Vec<StandingView>,
    /// Whose they are.
    pub sessions: Vec<SessionView>,
    /// The waits. Of those that are merely ahead in a queue only the nearest one: it waits for the ones ahead of it.
    pub waits: Vec<WaitLine>,
    /// Is that all? Not if it was cut short, or if something moved while it was looked at.
    pub is_complete: bool,
}

/// What is imagined to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhatIf {
    /// This lock is released, with its sublocks.
    Released(LockId),
    /// This session dies.
    Ended(SessionId),
}

/// A grant that would follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeseenGrant {
    /// The lock, as it waits now.
    pub lock: LockView,
    /// The mode it would be granted.
    pub mode: LockMode,
    /// How long after the end: 0 unless there is a lock-delay (rule E4).
    pub after_ms: u64,
}

/// What would follow from an end, if nobody did anything else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForeseenView {
    /// The grants, in their order; on different trees of resources the order is no more than likely.
    pub grants: Vec<ForeseenGrant>,
    /// How many there are; more than `grants` holds if the view was cut short.
    pub total: u32,
    /// Whose they are.
    pub sessions: Vec<SessionView>,
    /// How many locks were looked at: all on the resources that are concerned.
    pub looked_at: u32,
    /// Was everything looked at that is concerned? Not if there are more than 10,000 locks, if something moved
    /// meanwhile, or if a path that would be granted here goes on elsewhere.
    pub is_complete: bool,
}

/// Which locks a listing shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockFilter {
    /// Only this lockspace.
    pub lockspace: Option<LockspaceId>,
    /// Only trees whose root name starts with these bytes.
    pub prefix: Box<[u8]>,
    /// Only the tree with exactly this root name.
    pub root: Option<ResourceName>,
    /// Only this queue.
    pub queue: Option<Queue>,
    /// Only locks of this session.
    pub session: Option<SessionId>,
    /// Only orphans.
    pub orphans: bool,
    /// Only locks that have been in their queue at least this long.
    pub older_than_ms: u64,
}

/// A part of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockPage {
    /// What was found in this part.
    pub locks: Vec<LockView>,
    /// Where to go on; none at the end.
    pub next: Option<u64>,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// Its id.
    pub session: SessionId,
    /// What it calls itself.
    pub name: String,
    /// What it is for, in its own words.
    pub purpose: String,
    /// The host it says it runs on.
    pub host: String,
    /// The process it says it is.
    pub pid: u32,
    /// Where its connection comes from; empty while it has none.
    pub peer: String,
    /// Its lease.
    pub ttl_ms: u32,
    /// What is left of its lease.
    pub lease_left_ms: u64,
    /// How long it has been open.
    pub age_ms: u64,
    /// How many locks it has, granted or not.
    pub locks: u32,
    /// How many of them wait or convert.
    pub waiting: u32,
    /// Does it end with its connection?
    pub bound: bool,
}

/// One lockspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockspaceView {
    /// Its number on the wire.
    pub lockspace: LockspaceId,
    /// Its name.
    pub name: ResourceName,
    /// Counts the changes of its policy.
    pub version: u64,
    /// Its policy.
    pub policy: Policy,
    /// How many locks are in it.
    pub locks: u64,
    /// How many resources are in it.
    pub resources: u64,
}

/// A counter or a gauge that has no place in [`Statistics`]: by the name of its metric, labels included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// The name, as `enq_limit_reached_total{limit="connections_max"}`.
    pub name: String,
    /// The value.
    pub value: u64,
}

/// The counters of MONITOR LOCK, and what VMS could not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// New requests.
    pub enq_new: u64,
    /// Conversions asked for.
    pub enq_converted: u64,
    /// Locks released.
    pub deq: u64,
    /// Blocking notices sent.
    pub blocking_ast: u64,
    /// Requests that had to wait.
    pub enq_forced_to_wait: u64,
    /// NOQUEUE requests that failed.
    pub enq_not_queued: u64,
    /// Searches for a deadlock.
    pub deadlock_search: u64,
    /// Deadlocks found, conversion deadlocks included.
    pub deadlock_find: u64,
    /// Requests that timed out.
    pub timeouts: u64,
    /// Locks now.
    pub locks: u64,
    /// Resources now.
    pub resources: u64,
    /// Locks in a conversion queue now.
    pub converting: u64,
    /// Locks in a waiting queue now.
    pub waiting: u64,
    /// Sessions now.
    pub sessions: u64,
    /// Locks now whose sessions died and whose lock-delay goes on (rule E4).
    pub delayed: u64,
    /// What is left of the server's wait after its restart, in milliseconds; 0 if there is none (rule G10).
    pub recovering_ms: u64,
}
