//! Views: copies of what is there, for those who look (rules D2, Q4 of `docs/locking.md`). Nothing here changes
//! anything.

use super::deadlock::Copied;
use super::limits::{LISTED_A_STEP, SHOWN_MAX};
use super::lock::{At, Lock, LockSlot, Mark, Marks, ResourceSlot, Which};
use super::shard::Shard;
use super::time::Instant;
use enq_protocol::vocabulary::{
    Edge, EdgeWhy, Flags, LockFilter, LockId, LockView, LockspaceId, ResourceName, ResourceView, Seq,
    Statistics,
};

impl Shard {
    /// So many locks were looked at since this was last asked.
    #[must_use]
    pub fn take_looked_at(&self) -> usize {
        self.looked_at.take()
    }

    pub(super) fn look_at(&self, locks: usize) {
        self.looked_at.set(self.looked_at.get() + locks);
    }

    /// One lock.
    #[must_use]
    pub fn show_lock(&self, now: Instant, lock: LockId) -> Option<LockView> {
        self.slot_of(lock).map(|slot| self.view(now, slot))
    }

    /// One resource with its queues; the first [`SHOWN_MAX`] locks of it are shown, all are counted.
    #[must_use]
    pub fn show_resource(
        &self,
        now: Instant,
        lockspace: LockspaceId,
        path: &[ResourceName],
    ) -> Option<ResourceView> {
        let slot = self.resource_at(lockspace, path)?;
        let resource = &self.resources[slot];
        let mut granted: Vec<_> = resource.granted.iter(&self.locks, Which::Queue).take(SHOWN_MAX).collect();
        granted.sort_by_key(|slot| self.id_of(*slot));
        let converting = resource.conversion().iter(&self.locks, Which::Queue);
        let waiting = resource.waiting().iter(&self.locks, Which::Queue);
        let all = granted.into_iter().chain(converting).chain(waiting);
        self.look_at(SHOWN_MAX.min(resource.locks() as usize));
        Some(ResourceView {
            lockspace,
            path: path.to_vec(),
            value: resource.value.as_deref().cloned().unwrap_or_default(),
            locks: all.take(SHOWN_MAX).map(|slot| self.view(now, slot)).collect(),
            lock_count: resource.locks(),
            subresources: resource.subresources,
        })
    }

    /// The locks that wait or convert on a resource, from the tails of their queues: whoever ends them in this order
    /// lets none of them be granted.
    #[must_use]
    pub fn queued_from_tail(&self, lockspace: LockspaceId, path: &[ResourceName]) -> Vec<LockId> {
        let Some(slot) = self.resource_at(lockspace, path) else { return Vec::new() };
        let resource = &self.resources[slot];
        let converting = resource.conversion().iter(&self.locks, Which::Queue);
        let queued = converting.chain(resource.waiting().iter(&self.locks, Which::Queue));
        let mut queued: Vec<LockId> = queued.map(|slot| self.id_of(slot)).collect();
        self.look_at(queued.len());
        queued.reverse();
        queued
    }

    /// What this lock waits for, and how many there are of them.
    #[must_use]
    pub fn blocked_by(&self, now: Instant, lock: LockId) -> Option<(Vec<Edge>, u32)> {
        self.edges(now, lock, Copied::waits_for)
    }

    /// What waits for this lock, and how many there are of them.
    #[must_use]
    pub fn blocking_of(&self, now: Instant, lock: LockId) -> Option<(Vec<Edge>, u32)> {
        self.edges(now, lock, |copied, own, other| copied.waits_for(other, own))
    }

    /// A part of a listing: looks at no more than so many slots, nor than [`LISTED_A_STEP`], and says where to go on.
    pub fn show_page(
        &self,
        now: Instant,
        from: u32,
        at_most: usize,
        filter: &LockFilter,
        out: &mut Vec<LockView>,
    ) -> Option<u32> {
        let at_most = u32::try_from(at_most.min(LISTED_A_STEP)).unwrap_or(u32::MAX);
        let to = self.locks.slots().min(from.saturating_add(at_most));
        self.look_at(to.saturating_sub(from) as usize);
        let shown = (from..to).filter_map(|index| self.locks.live_at(index));
        out.extend(shown.filter(|slot| self.is_wanted(now, *slot, filter)).map(|slot| self.view(now, slot)));
        (to < self.locks.slots()).then_some(to)
    }

    /// Is the grant with this seq of this resource live?
    #[must_use]
    pub fn is_live(&self, lockspace: LockspaceId, path: &[ResourceName], seq: Seq) -> bool {
        let Some(resource) = self.resource_at(lockspace, path) else { return false };
        let queues = &self.resources[resource];
        let granted = queues.granted.iter(&self.locks, Which::Queue);
        let holding = granted.chain(queues.conversion().iter(&self.locks, Which::Queue));
        let mut holding = holding.inspect(|_| self.look_at(1));
        // C5: what a demotion took away is no longer live, though its seq still stands at the lock. E4: nor is what a
        // dead session held.
        let is_live = |marks: Marks| !marks.has(Mark::Spent) && !marks.has(Mark::Delayed);
        holding.any(|slot| self.locks[slot].seq == seq && is_live(self.locks[slot].marks))
    }

    /// The counters of this shard.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics { locks: self.locks.len().into(), resources: self.resources.len().into(), ..self.counts }
    }

    /// Locks and resources of a lockspace in this shard.
    #[must_use]
    pub fn lockspace_counts(&self, lockspace: LockspaceId) -> (u64, u64) {
        self.space(lockspace).map_or((0, 0), |space| (space.locks, space.resources))
    }

    fn view(&self, now: Instant, slot: LockSlot) -> LockView {
        let lock = &self.locks[slot];
        let deadline = self.deadlines.of(slot).map(|moment| now.ms_until(moment));
        // G10: nobody holds anything then, so every lock there is waits.
        let recovery = self.recovery_left_ms(now);
        LockView {
            lock: self.id_of(slot),
            session: lock.session.map(|session| self.attendances[session].session),
            handle: lock.handle,
            owner: lock.owner,
            lockspace: self.resources[lock.resource].lockspace,
            path: self.path_of(lock.resource),
            queue: lock.at.queue(),
            granted: lock.at.held(),
            requested: lock.at.wanted(),
            seq: lock.seq,
            fence: lock.fence,
            stamp: lock.stamp,
            age_ms: now.ms_since(lock.since),
            timeout_ms: deadline.filter(|_| !lock.marks.has(Mark::Delayed)),
            pause_ms: if lock.marks.has(Mark::Delayed) { Some(deadline.unwrap_or(0)) } else { recovery },
            parent: lock.parent.map(|parent| self.id_of(parent)),
            sublocks: lock.sublocks,
            flags: lock.flags_shown(),
            priority: lock.priority,
            reason: self.reasons.get(&slot).cloned().unwrap_or_default(),
        }
    }

    fn is_wanted(&self, now: Instant, slot: LockSlot, filter: &LockFilter) -> bool {
        let lock = &self.locks[slot];
        let resource = &self.resources[lock.resource];
        let session = lock.session.map(|session| self.attendances[session].session);
        let root = || &self.resources[self.root_of(lock.resource)].name;
        filter.lockspace.is_none_or(|wanted| wanted == resource.lockspace)
            && filter.queue.is_none_or(|wanted| wanted == lock.at.queue())
            && filter.session.is_none_or(|wanted| Some(wanted) == session)
            && (!filter.orphans || (session.is_none() && !lock.marks.has(Mark::Delayed)))
            && now.ms_since(lock.since) >= filter.older_than_ms
            && (filter.prefix.is_empty() || root().as_bytes().starts_with(&filter.prefix))
            && filter.root.as_ref().is_none_or(|wanted| wanted == root())
    }

    pub(super) fn root_of(&self, resource: ResourceSlot) -> ResourceSlot {
        let mut root = resource;
        while let Some(parent) = self.resources[root].parent {
            root = parent;
        }
        root
    }

    /// D2: the other ends of a lock's waits, or of the waits for it.
    fn edges(
        &self,
        now: Instant,
        lock: LockId,
        why: impl Fn(&Copied, usize, usize) -> Option<EdgeWhy>,
    ) -> Option<(Vec<Edge>, u32)> {
        let mut copied = Copied::default();
        self.copy_resource(self.locks[self.slot_of(lock)?].resource, &mut copied);
        let own = copied.find(lock)?;
        let others = (0..copied.locks()).filter_map(|other| Some((other, why(&copied, own, other)?)));
        let mut edges = Vec::new();
        let mut total = 0;
        for (other, why) in others {
            total += 1;
            if edges.len() < SHOWN_MAX {
                let slot = self.slot_of(copied.seat(other).lock)?;
                edges.push(Edge { lock: self.view(now, slot), why });
            }
        }
        Some((edges, total))
    }
}

impl Lock {
    /// The flags that still mean something.
    fn flags_shown(&self) -> Flags {
        match self.at {
            At::Granted { .. } => self.lasting,
            At::Waiting { .. } | At::Converting { .. } => self.lasting | self.request,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::{Ask, Input, Instant, Limits, LockRef, Output, Shard, Under};
    use enq_protocol::vocabulary::{
        Flags, Handle, LockMode, LockspaceId, Owner, ResourceName, SessionId, Statistics,
    };

    /// A session and its lock on the one resource of this story.
    struct Story {
        shard: Shard,
        now_ms: u32,
    }

    impl Story {
        fn step(&mut self, input: Input<'_>) {
            let mut out: Vec<Output> = Vec::new();
            self.shard.step(Instant::START.after_ms(self.now_ms), input, &mut out);
            assert_eq!(self.shard.check(), Ok(()));
        }

        fn enq(&mut self, who: u32, mode: LockMode, flags: Flags, timeout_ms: Option<u32>) {
            let session = SessionId(who.into());
            let ask =
                Ask { session, mode, flags, owner: Owner::default(), timeout_ms, priority: 0, reason: &[] };
            let name = ResourceName::new(b"X").unwrap();
            let under = Under::Lockspace(LockspaceId(0));
            self.step(Input::Enq { ask, handle: Handle::new(who).unwrap(), under, name: &name });
        }

        fn lock(&self, who: u32) -> LockRef {
            let slot = self.shard.locks.iter().find(|(_, lock)| lock.handle.number() == who);
            LockRef::Id(self.shard.id_of(slot.expect("the lock is there").0))
        }

        fn convert(&mut self, who: u32, mode: LockMode, flags: Flags) {
            let (session, lock) = (SessionId(who.into()), self.lock(who));
            let value = None;
            self.step(Input::Convert { session, lock, mode, flags, timeout_ms: None, priority: 0, value });
        }

        fn deq(&mut self, who: u32) {
            let (session, lock) = (SessionId(who.into()), self.lock(who));
            self.step(Input::Deq { session, lock, flags: Flags::NONE, value: None });
        }
    }

    #[test]
    fn every_counter_counts_what_it_says() {
        let shard = Shard::new(0, Limits::default(), 1, 1);
        let mut story = Story { shard, now_ms: 0 };
        story.enq(1, LockMode::Pr, Flags::BLKAST, None);
        story.enq(2, LockMode::Pr, Flags::NONE, None);
        story.enq(3, LockMode::Ex, Flags::NOQUEUE, None);
        story.enq(4, LockMode::Ex, Flags::NONE, Some(10));
        story.convert(1, LockMode::Ex, Flags::NONE);
        story.convert(2, LockMode::Ex, Flags::NONE);
        story.convert(2, LockMode::Ex, Flags::CONVDEADLK);
        let midway = Statistics {
            enq_new: 4,
            enq_converted: 3,
            blocking_ast: 1,
            // Two new requests and two conversions had to wait; one of these was let through by the demotion.
            enq_forced_to_wait: 3,
            enq_not_queued: 1,
            deadlock_find: 2,
            locks: 3,
            resources: 1,
            converting: 1,
            waiting: 1,
            ..Statistics::default()
        };
        assert_eq!(story.shard.statistics(), midway);
        story.now_ms = 10;
        story.step(Input::Tick);
        story.deq(1);
        story.deq(2);
        let end =
            Statistics { timeouts: 1, deq: 2, locks: 0, resources: 0, converting: 0, waiting: 0, ..midway };
        assert_eq!(story.shard.statistics(), end);
    }

    /// C5: a conversion that is cancelled gives back NL, not what the demotion took away.
    #[test]
    fn the_seq_of_a_demoted_lock_is_never_live_again() {
        let mut story = Story { shard: Shard::new(0, Limits::default(), 1, 1), now_ms: 0 };
        story.enq(1, LockMode::Cw, Flags::NONE, None);
        story.enq(2, LockMode::Cr, Flags::NONE, None);
        let name = ResourceName::new(b"X").unwrap();
        let path = std::slice::from_ref(&name);
        let LockRef::Id(id) = story.lock(1) else { panic!("it has an id") };
        let seq = story.shard.show_lock(Instant::START, id).expect("it is there").seq;
        assert!(story.shard.is_live(LockspaceId(0), path, seq));
        story.convert(2, LockMode::Pr, Flags::NONE);
        story.convert(1, LockMode::Ex, Flags::CONVDEADLK);
        assert!(!story.shard.is_live(LockspaceId(0), path, seq), "it was demoted");
        let (session, lock) = (SessionId(1), story.lock(1));
        story.step(Input::Cancel { session, lock, flags: Flags::NONE });
        assert!(!story.shard.is_live(LockspaceId(0), path, seq), "it holds NL now");
        story.deq(2);
        story.convert(1, LockMode::Cw, Flags::NONE);
        let seq = story.shard.show_lock(Instant::START, id).expect("it is there").seq;
        assert!(story.shard.is_live(LockspaceId(0), path, seq), "a new grant is another matter");
    }

    /// A list that is too long is cut short, and says how long it is.
    #[test]
    fn what_is_cut_short_is_counted() {
        let shard = Shard::new(0, Limits::default(), 1, 1);
        let mut out = Vec::new();
        let mut story = Story { shard, now_ms: 0 };
        let name = ResourceName::new(b"X").unwrap();
        let shown = u32::try_from(super::SHOWN_MAX).unwrap();
        for who in 1..=shown + 1 {
            let (session, mode) = (SessionId(who.into()), LockMode::Cr);
            let (flags, owner) = (Flags::NONE, Owner::default());
            let ask = Ask { session, mode, flags, owner, timeout_ms: None, priority: 0, reason: &[] };
            let under = Under::Lockspace(LockspaceId(0));
            let handle = Handle::new(who).unwrap();
            story.shard.step(Instant::START, Input::Enq { ask, handle, under, name: &name }, &mut out);
        }
        story.enq(shown + 2, LockMode::Ex, Flags::NONE, None);
        let view = story.shard.show_resource(Instant::START, LockspaceId(0), &[name]).unwrap();
        assert_eq!((view.locks.len(), view.lock_count), (super::SHOWN_MAX, shown + 2));
        let LockRef::Id(waiting) = story.lock(shown + 2) else { panic!("it has an id") };
        let (edges, total) = story.shard.blocked_by(Instant::START, waiting).unwrap();
        assert_eq!((edges.len(), total), (super::SHOWN_MAX, shown + 1));
    }
}
