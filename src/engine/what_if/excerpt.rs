//! The resources concerned, copied whole, and the fresh shard that is filled with them.

use super::super::{
    limits::Limits,
    lock::{At, Lock, LockSlot, Mark, ResourceSlot, SessionSlot, Which},
    shard::{Map, Shard, map},
    time::Instant,
    tree::Above,
};
use super::Ends;
use enq_protocol::vocabulary::{
    Fence, Flags, LockId, LockspaceId, ModeSet, Place as Moment, Policy, ResourceName, SessionId, Stamp,
    WhatIf,
};

/// A lock as it was copied.
#[derive(Clone, Debug)]
struct Copy {
    slot: LockSlot,
    id: LockId,
    lock: Lock,
    /// A path waits for it that has further to go.
    goes_on: bool,
}

/// A resource as it was copied.
#[derive(Clone, Debug)]
struct Place {
    name: ResourceName,
    lockspace: LockspaceId,
    /// Among those that were copied before.
    parent: Option<usize>,
    depth: u8,
    noticed: ModeSet,
    fence: Fence,
    delayed: u32,
    /// All its locks: granted, converting, waiting.
    locks: Vec<Copy>,
}

/// What was copied of a shard.
#[derive(Clone, Debug)]
pub struct Excerpt {
    number: u8,
    limits: Limits,
    epoch: u32,
    now: Instant,
    recovering: Option<Instant>,
    policies: Vec<(LockspaceId, Policy)>,
    places: Vec<Place>,
    at: Map<ResourceSlot, usize>,
    sessions: Map<SessionSlot, SessionId>,
    /// The locks that end, in the order of their session: the first levels first, and there the oldest first.
    own: Vec<LockSlot>,
    what: WhatIf,
    locks: usize,
    /// How many locks there may be.
    room: usize,
    /// What is looked at next.
    next: Option<Next>,
    /// The last step of the shard: after another one its slots are not what they were.
    moment: Moment,
    /// Is everything here that is concerned?
    pub(super) is_whole: bool,
}

/// Where the copying goes on.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// A lock without session that is released.
    Orphan(LockSlot),
    /// This lock of its session, or the locks of the level below it; only what stands on the other one, if there is one.
    Of { session: SessionSlot, depth: usize, lock: Option<LockSlot>, root: Option<LockSlot> },
}

/// The fresh shard.
pub(super) struct Stage {
    pub(super) shard: Shard,
    pub(super) ends: Ends,
    /// What its locks are in the real one, by slot.
    pub(super) seats: Vec<Seat>,
}

/// What a lock of the fresh shard is in the real one.
pub(super) struct Seat {
    pub(super) lock: LockId,
    pub(super) stamp: Stamp,
    pub(super) goes_on: bool,
}

impl Shard {
    /// Begins to copy the resources on which something would end, whole, as far as there is room for their locks. None
    /// if nothing of it is in this shard.
    #[must_use]
    pub fn begin_excerpt(&self, what: WhatIf, room: usize) -> Option<Excerpt> {
        Some(Excerpt {
            number: self.number(),
            limits: self.limits,
            epoch: self.epoch,
            now: self.now,
            recovering: self.recovering,
            policies: Vec::new(),
            places: Vec::new(),
            at: map(0),
            sessions: map(0),
            own: Vec::new(),
            what,
            locks: 0,
            room,
            next: Some(self.first_of(what)?),
            moment: self.place(),
            // An end that is under way changes the queues as it goes on.
            is_whole: !self.has_ending(),
        })
    }

    fn first_of(&self, what: WhatIf) -> Option<Next> {
        let (session, root) = match what {
            WhatIf::Ended(session) => (*self.sessions.get(&session)?, None),
            WhatIf::Released(lock) => {
                let slot = self.slot_of(lock)?;
                match self.locks[slot].session {
                    Some(session) => (session, Some(slot)),
                    None => return Some(Next::Orphan(slot)),
                }
            }
        };
        let lock = self.attendances[session].levels.first().and_then(|level| level.head);
        Some(Next::Of { session, depth: 0, lock, root })
    }

    /// Goes on with it, looking at no more than so many locks, unless one resource has more: those that would end, and
    /// those on their resources. False when that was all, or when the shard has made a step since it was begun, and the
    /// rest is left out.
    #[must_use]
    pub fn go_on_with(&self, excerpt: &mut Excerpt, at_most: usize) -> bool {
        if excerpt.moment != self.place() {
            excerpt.is_whole &= excerpt.next.take().is_none();
        }
        let mut looked_at = 0;
        while let Some(next) = excerpt.next {
            let ends = match next {
                Next::Orphan(slot) => Some(slot),
                Next::Of { lock, root, .. } => {
                    lock.filter(|slot| root.is_none_or(|root| *slot == root || self.is_below(*slot, root)))
                }
            };
            let place = ends.map(|slot| self.locks[slot].resource);
            let locks =
                place.filter(|place| !excerpt.has(*place)).map_or(0, |place| self.resources[place].locks());
            let locks = locks as usize;
            if looked_at > 0 && looked_at + 1 + locks > at_most {
                break;
            }
            excerpt.next = self.after(next);
            looked_at += 1;
            excerpt.own.extend(ends);
            if let Some(place) = place.filter(|place| !excerpt.has(*place)) {
                let at = self.copy_place(place, excerpt);
                looked_at += self.copy_locks(place, at, excerpt);
            }
        }
        self.look_at(looked_at);
        excerpt.next.is_some()
    }

    fn after(&self, next: Next) -> Option<Next> {
        let Next::Of { session, depth, lock, root } = next else { return None };
        if let Some(lock) = lock.and_then(|slot| self.locks[slot].after(Which::Session)) {
            return Some(Next::Of { session, depth, lock: Some(lock), root });
        }
        let depth = depth + 1;
        let level = self.attendances[session].levels.get(depth)?;
        Some(Next::Of { session, depth, lock: level.head, root })
    }

    /// The place of a resource, without its locks, below those of the ones above it.
    fn copy_place(&self, resource: ResourceSlot, into: &mut Excerpt) -> usize {
        let up = std::iter::successors(Some(resource), |slot| self.resources[*slot].parent);
        let missing: Vec<ResourceSlot> = up.take_while(|slot| into.place_of(*slot).is_none()).collect();
        for slot in missing.into_iter().rev() {
            let resource = &self.resources[slot];
            let lockspace = resource.lockspace;
            if !into.policies.iter().any(|(known, _)| *known == lockspace) {
                let policy = self.space(lockspace).map(|space| space.policy.clone());
                into.policies.push((lockspace, policy.unwrap_or_default()));
            }
            into.at.insert(slot, into.places.len());
            let parent = resource.parent.and_then(|parent| into.place_of(parent));
            into.places.push(Place {
                name: resource.name.clone(),
                lockspace,
                parent,
                depth: resource.depth,
                noticed: resource.noticed(),
                fence: resource.fence,
                delayed: resource.delayed,
                locks: Vec::new(),
            });
        }
        into.place_of(resource).expect("its place is known or was just made")
    }

    /// Copies the locks of a resource, unless there is no room. Says how many.
    fn copy_locks(&self, resource: ResourceSlot, at: usize, into: &mut Excerpt) -> usize {
        let queues = &self.resources[resource];
        let len = queues.locks() as usize;
        if into.locks + len > into.room {
            into.is_whole = false;
            return 0;
        }
        into.locks += len;
        let all = [queues.granted, queues.conversion(), queues.waiting()].into_iter();
        for slot in all.flat_map(|queue| queue.iter(&self.locks, Which::Queue)) {
            let lock = &self.locks[slot];
            if let Some(session) = lock.session {
                into.sessions.insert(session, self.attendances[session].session);
            }
            let goes_on = lock.marks.has(Mark::Path) && !self.is_leaf_of_path(slot);
            let copy = Copy { slot, id: self.id_of(slot), lock: lock.clone(), goes_on };
            into.places[at].locks.push(copy);
        }
        len
    }
}

impl Excerpt {
    /// How many locks were copied.
    #[must_use]
    pub fn len(&self) -> usize {
        self.locks
    }

    /// Was none copied?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.locks == 0
    }

    /// Are the locks of this resource copied?
    fn has(&self, resource: ResourceSlot) -> bool {
        self.place_of(resource).is_some_and(|at| !self.places[at].locks.is_empty())
    }

    fn place_of(&self, resource: ResourceSlot) -> Option<usize> {
        self.at.get(&resource).copied()
    }

    /// The fresh shard, filled: every lock in its queue, in its place, and those that end in the order of their session.
    pub(super) fn stage(self) -> Stage {
        let mut shard = Shard::new(self.number, Limits { history: 0, ..self.limits }, self.epoch, 0);
        (shard.now, shard.recovering) = (self.now, self.recovering);
        let mut none = Vec::new();
        for (lockspace, policy) in &self.policies {
            let input = super::Input::SetPolicy { lockspace: *lockspace, policy: Some(policy) };
            shard.step(self.now, input, &mut none);
        }
        let mut resources: Vec<ResourceSlot> = Vec::new();
        let mut all: Map<LockSlot, (usize, &Copy)> = map(0);
        for (at, place) in self.places.iter().enumerate() {
            let parent = place.parent.map(|parent| resources[parent]);
            let above = parent.map_or(Above::Lockspace(place.lockspace), Above::Resource);
            let slot = shard.resource_named(place.lockspace, above, place.depth, &place.name);
            let resource = &mut shard.resources[slot];
            (resource.fence, resource.delayed) = (place.fence, place.delayed);
            resource.notice(place.noticed);
            shard.beside += resource.beside_of_crowd();
            resources.push(slot);
            all.extend(place.locks.iter().map(|copy| (copy.slot, (at, copy))));
        }
        let mut filling = Filling { excerpt: &self, shard, resources, now_at: map(0), seats: Vec::new() };
        for copied in self.own.iter().filter_map(|slot| all.get(slot)) {
            filling.attend(*copied);
        }
        for (at, place) in self.places.iter().enumerate() {
            for copy in &place.locks {
                filling.attend((at, copy));
                let slot = filling.now_at[&copy.slot];
                filling.shard.admit(slot);
            }
        }
        let id = |slot: &LockSlot| filling.shard.id_of(filling.now_at[slot]);
        let ends = match self.what {
            WhatIf::Ended(session) => Ends::Session(session),
            WhatIf::Released(lock) => {
                let it = all.values().find(|(_, copy)| copy.id == lock).map(|(_, copy)| *copy);
                let session = it.and_then(|copy| self.sessions.get(&copy.lock.session?).copied());
                Ends::Lock(it.map_or(LockId(0), |copy| id(&copy.slot)), session)
            }
        };
        Stage { ends, seats: filling.seats, shard: filling.shard }
    }
}

/// The fresh shard while it is filled.
struct Filling<'a> {
    excerpt: &'a Excerpt,
    shard: Shard,
    resources: Vec<ResourceSlot>,
    /// Where a lock of the real shard is here.
    now_at: Map<LockSlot, LockSlot>,
    seats: Vec<Seat>,
}

impl Filling<'_> {
    fn place_now(&self, slot: LockSlot) -> Option<LockSlot> {
        self.now_at.get(&slot).copied()
    }

    /// Makes a lock, in no queue yet, unless it is there.
    fn attend(&mut self, (at, copy): (usize, &Copy)) {
        if self.place_now(copy.slot).is_some() {
            return;
        }
        let mut lock = copy.lock.clone();
        lock.marks = lock.marks.only([Mark::Intent, Mark::Demoted, Mark::Spent, Mark::Delayed]);
        lock.resource = self.resources[at];
        lock.parent = lock.parent.and_then(|parent| self.place_now(parent));
        (lock.in_queue, lock.in_session) = Default::default();
        // Its place in the queue is known: nobody is pushed to the front any more.
        if !matches!(lock.at, At::Granted { .. }) {
            lock.request = lock.request.without(Flags::HEADQUE);
        }
        let session = lock.session.take().and_then(|session| self.excerpt.sessions.get(&session).copied());
        let place = &self.excerpt.places[at];
        self.shard.counts.delayed += u64::from(copy.lock.marks.has(Mark::Delayed));
        let slot = self.shard.locks.insert(lock);
        if let Some(session) = session {
            self.shard.enlist(session, slot, place.depth);
        }
        if let Some(space) = self.shard.space_mut(place.lockspace) {
            space.locks += 1;
        }
        self.now_at.insert(copy.slot, slot);
        self.seats.push(Seat { lock: copy.id, stamp: copy.lock.stamp, goes_on: copy.goes_on });
    }
}
