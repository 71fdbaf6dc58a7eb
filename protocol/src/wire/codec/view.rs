//! Views: locks, resources, sessions, lockspaces, counters.

use super::super::Fault;
use super::{
    reader::{Read, Reader},
    writer::Writer,
};
use crate::vocabulary::{
    Counter, DeadlockView, Edge, EdgeWhy, Fence, Flags, LockId, LockView, LockspaceId, LockspaceView,
    ResourceView, Seq, SessionId, SessionView, Stamp, Statistics, WaitView,
};
use alloc::vec::Vec;

/// The length of a lock view but for the names of its path, its reason, and its options.
const LOCK_VIEW_LEN_FIXED: usize = 77;

/// The shortest lock view: a path of one name of one byte.
pub(super) const LOCK_VIEW_LEN_MIN: usize = LOCK_VIEW_LEN_FIXED + 3;

/// The length of a session view without texts.
const SESSION_VIEW_LEN_MIN: usize = 49;

/// The length of a lockspace view with a name of one byte.
const LOCKSPACE_VIEW_LEN_MIN: usize = 49;

/// The shortest wait: two lock views and why.
const WAIT_LEN_MIN: usize = 2 * LOCK_VIEW_LEN_MIN + 1;

/// A deadlock without waits, sessions and a refused lock.
const DEADLOCK_LEN_MIN: usize = 26;

/// A counter without a name.
const COUNTER_LEN_MIN: usize = 10;

/// How many bytes a lock view takes in a message, so that a page can be filled up to what fits into a frame.
#[must_use]
pub fn lock_view_len(view: &LockView) -> usize {
    let path: usize = view.path.iter().map(|name| 2 + name.as_bytes().len()).sum();
    let (timeout, pause) = (view.timeout_ms.is_some(), view.pause_ms.is_some());
    let options = [view.session.is_some(), timeout, pause, view.parent.is_some()];
    let options = 8 * options.into_iter().filter(|there| *there).count();
    LOCK_VIEW_LEN_FIXED + path + options + view.reason.len()
}

impl Reader<'_> {
    /// A list of items that take at least `len_min` bytes each.
    pub(super) fn list<T>(
        &mut self,
        field: &'static str,
        len_min: usize,
        read: impl Fn(&mut Self) -> Read<T>,
    ) -> Read<Vec<T>> {
        let count = self.count(field, len_min)?;
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(read(self)?);
        }
        Ok(items)
    }

    pub(super) fn lock_view(&mut self) -> Read<LockView> {
        Ok(LockView {
            lock: LockId(self.u64("lock")?),
            session: self.option("session", Reader::u64)?.map(SessionId),
            handle: self.handle("handle", Fault::NoSuchHandle)?,
            owner: self.owner()?,
            lockspace: LockspaceId(self.u32("lockspace")?),
            path: self.path()?,
            queue: self.queue("queue")?,
            granted: self.mode_or_none("granted")?,
            requested: self.mode_or_none("requested")?,
            seq: Seq(self.u64("seq")?),
            fence: Fence(self.u64("fence")?),
            stamp: Stamp(self.u64("stamp")?),
            age_ms: self.u64("age_ms")?,
            timeout_ms: self.option("timeout_ms", Reader::u64)?,
            pause_ms: self.option("pause_ms", Reader::u64)?,
            parent: self.option("parent", Reader::u64)?.map(LockId),
            sublocks: self.u32("sublocks")?,
            flags: Flags(self.u32("flags")?),
            priority: self.u8("priority")?,
            reason: self.bytes("reason", usize::MAX)?.into(),
        })
    }

    pub(super) fn lock_views(&mut self) -> Read<Vec<LockView>> {
        self.list("locks", LOCK_VIEW_LEN_MIN, Self::lock_view)
    }

    pub(super) fn resource_view(&mut self) -> Read<ResourceView> {
        Ok(ResourceView {
            lockspace: LockspaceId(self.u32("lockspace")?),
            path: self.path()?,
            value: self.value_block()?,
            locks: self.lock_views()?,
            lock_count: self.u32("lock_count")?,
            subresources: self.u32("subresources")?,
        })
    }

    pub(super) fn edges(&mut self) -> Read<Vec<Edge>> {
        self.list("edges", LOCK_VIEW_LEN_MIN + 1, |r| Ok(Edge { lock: r.lock_view()?, why: r.why()? }))
    }

    pub(super) fn why(&mut self) -> Read<EdgeWhy> {
        let offset = self.offset();
        match self.u8("why")? {
            0 => Ok(EdgeWhy::Held),
            1 => Ok(EdgeWhy::Ahead),
            number => Err(self.fail("why", offset, Fault::BadChoice { number })),
        }
    }

    pub(super) fn deadlock_views(&mut self) -> Read<Vec<DeadlockView>> {
        self.list("deadlocks", DEADLOCK_LEN_MIN, |r| {
            Ok(DeadlockView {
                number: r.u64("number")?,
                age_ms: r.u64("age_ms")?,
                is_ring: r.bool("ring")?,
                wait_count: r.u32("wait_count")?,
                waits: r.list("waits", WAIT_LEN_MIN, |r| {
                    Ok(WaitView { waiting: r.lock_view()?, blocker: r.lock_view()?, why: r.why()? })
                })?,
                sessions: r.session_views()?,
                refused: r.option("refused", Reader::u64)?.map(LockId),
            })
        })
    }

    fn session_view(&mut self) -> Read<SessionView> {
        let any = usize::MAX;
        Ok(SessionView {
            session: SessionId(self.u64("session")?),
            name: self.text("name", any)?.into(),
            purpose: self.text("purpose", any)?.into(),
            host: self.text("host", any)?.into(),
            pid: self.u32("pid")?,
            peer: self.text("peer", any)?.into(),
            ttl_ms: self.u32("ttl_ms")?,
            lease_left_ms: self.u64("lease_left_ms")?,
            age_ms: self.u64("age_ms")?,
            locks: self.u32("locks")?,
            waiting: self.u32("waiting")?,
            bound: self.bool("bound")?,
        })
    }

    pub(super) fn session_views(&mut self) -> Read<Vec<SessionView>> {
        self.list("sessions", SESSION_VIEW_LEN_MIN, Self::session_view)
    }

    pub(super) fn lockspace_view(&mut self) -> Read<LockspaceView> {
        Ok(LockspaceView {
            lockspace: LockspaceId(self.u32("lockspace")?),
            name: self.resource_name("name")?,
            version: self.u64("version")?,
            policy: self.policy()?,
            locks: self.u64("locks")?,
            resources: self.u64("resources")?,
        })
    }

    pub(super) fn lockspace_views(&mut self) -> Read<Vec<LockspaceView>> {
        self.list("spaces", LOCKSPACE_VIEW_LEN_MIN, Self::lockspace_view)
    }

    pub(super) fn statistics(&mut self) -> Read<Statistics> {
        Ok(Statistics {
            enq_new: self.u64("enq_new")?,
            enq_converted: self.u64("enq_converted")?,
            deq: self.u64("deq")?,
            blocking_ast: self.u64("blocking_ast")?,
            enq_forced_to_wait: self.u64("enq_forced_to_wait")?,
            enq_not_queued: self.u64("enq_not_queued")?,
            deadlock_search: self.u64("deadlock_search")?,
            deadlock_find: self.u64("deadlock_find")?,
            timeouts: self.u64("timeouts")?,
            locks: self.u64("locks")?,
            resources: self.u64("resources")?,
            converting: self.u64("converting")?,
            waiting: self.u64("waiting")?,
            sessions: self.u64("sessions")?,
            delayed: self.u64("delayed")?,
            recovering_ms: self.u64("recovering_ms")?,
        })
    }

    pub(super) fn counters(&mut self) -> Read<Vec<Counter>> {
        self.list("counters", COUNTER_LEN_MIN, |r| {
            Ok(Counter { name: r.text("name", usize::MAX)?.into(), value: r.u64("value")? })
        })
    }
}

impl Writer<'_> {
    pub(super) fn lock_view(&mut self, view: &LockView) {
        self.u64(view.lock.0);
        self.option(view.session.map(|session| session.0), Writer::u64);
        self.handle(view.handle);
        self.owner(view.owner);
        self.u32(view.lockspace.0);
        self.path(&view.path);
        self.u8(view.queue as u8);
        self.mode_or_none(view.granted);
        self.mode_or_none(view.requested);
        self.u64(view.seq.0);
        self.u64(view.fence.0);
        self.u64(view.stamp.0);
        self.u64(view.age_ms);
        self.option(view.timeout_ms, Writer::u64);
        self.option(view.pause_ms, Writer::u64);
        self.option(view.parent.map(|parent| parent.0), Writer::u64);
        self.u32(view.sublocks);
        self.u32(view.flags.0);
        self.u8(view.priority);
        self.bytes(&view.reason);
    }

    pub(super) fn lock_views(&mut self, locks: &[LockView]) {
        self.list(locks.iter(), |w, lock| w.lock_view(lock));
    }

    pub(super) fn resource_view(&mut self, view: &ResourceView) {
        self.u32(view.lockspace.0);
        self.path(&view.path);
        self.value_block(&view.value);
        self.lock_views(&view.locks);
        self.u32(view.lock_count);
        self.u32(view.subresources);
    }

    pub(super) fn edges(&mut self, edges: &[Edge]) {
        self.list(edges.iter(), |w, edge| {
            w.lock_view(&edge.lock);
            w.u8(edge.why as u8);
        });
    }

    pub(super) fn deadlock_views(&mut self, deadlocks: &[DeadlockView]) {
        self.list(deadlocks.iter(), |w, view| {
            w.u64(view.number);
            w.u64(view.age_ms);
            w.bool(view.is_ring);
            w.u32(view.wait_count);
            w.list(view.waits.iter(), |w, wait| {
                w.lock_view(&wait.waiting);
                w.lock_view(&wait.blocker);
                w.u8(wait.why as u8);
            });
            w.session_views(&view.sessions);
            w.option(view.refused.map(|lock| lock.0), Writer::u64);
        });
    }

    pub(super) fn session_views(&mut self, sessions: &[SessionView]) {
        self.list(sessions.iter(), |w, view| {
            w.u64(view.session.0);
            w.text(&view.name);
            w.text(&view.purpose);
            w.text(&view.host);
            w.u32(view.pid);
            w.text(&view.peer);
            w.u32(view.ttl_ms);
            w.u64(view.lease_left_ms);
            w.u64(view.age_ms);
            w.u32(view.locks);
            w.u32(view.waiting);
            w.bool(view.bound);
        });
    }

    pub(super) fn lockspace_view(&mut self, view: &LockspaceView) {
        self.u32(view.lockspace.0);
        self.bytes(view.name.as_bytes());
        self.u64(view.version);
        self.policy(&view.policy);
        self.u64(view.locks);
        self.u64(view.resources);
    }

    pub(super) fn lockspace_views(&mut self, spaces: &[LockspaceView]) {
        self.list(spaces.iter(), |w, space| w.lockspace_view(space));
    }

    pub(super) fn statistics(&mut self, statistics: &Statistics) {
        let Statistics {
            enq_new,
            enq_converted,
            deq,
            blocking_ast,
            enq_forced_to_wait,
            enq_not_queued,
            deadlock_search,
            deadlock_find,
            timeouts,
            locks,
            resources,
            converting,
            waiting,
            sessions,
            delayed,
            recovering_ms,
        } = *statistics;
        for counter in [enq_new, enq_converted, deq, blocking_ast, enq_forced_to_wait, enq_not_queued] {
            self.u64(counter);
        }
        for counter in [deadlock_search, deadlock_find, timeouts] {
            self.u64(counter);
        }
        for gauge in [locks, resources, converting, waiting, sessions, delayed, recovering_ms] {
            self.u64(gauge);
        }
    }

    pub(super) fn counters(&mut self, counters: &[Counter]) {
        self.list(counters.iter(), |w, counter| {
            w.text(&counter.name);
            w.u64(counter.value);
        });
    }
}
