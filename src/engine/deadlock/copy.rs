//! The queues of resources as they were copied, and what waits for what in the copy (rule D2).

use super::super::{
    deadlock::{Party, Rule, Seat},
    lock::{List, LockSlot, ResourceSlot, Which},
    planted::{Mistake, Planted},
    shard::Shard,
    time::Instant,
};
use enq_protocol::vocabulary::{EdgeWhy, Flags, LockId, LockspaceId};
use std::ops::Range;

/// One resource of a copy: the places of its locks among the seats, queue behind queue.
#[derive(Clone, Debug)]
pub(super) struct Queues {
    pub(super) granted: Range<usize>,
    pub(super) conversion: Range<usize>,
    pub(super) waiting: Range<usize>,
}

impl Queues {
    /// Those that wait, in the order of rule D2: whoever is earlier is ahead.
    pub(super) fn queued(&self) -> Range<usize> {
        self.conversion.start..self.waiting.end
    }

    /// Those that hold a mode.
    pub(super) fn holding(&self) -> Range<usize> {
        self.granted.start..self.conversion.end
    }
}

/// Queues of resources, each copied whole at one moment.
#[derive(Clone, Debug, Default)]
pub struct Copied {
    pub(super) seats: Vec<Seat>,
    pub(super) resources: Vec<Queues>,
    /// The resource of each seat.
    pub(super) of: Vec<u32>,
    /// The mistake that a test has planted.
    planted: Planted,
}

impl Copied {
    /// Nothing yet, and a mistake for those who look.
    #[cfg(feature = "planted")]
    #[must_use]
    pub fn planted(planted: Planted) -> Copied {
        Copied { planted, ..Copied::default() }
    }

    /// Adds a resource: its three queues, each in its order.
    pub fn add(
        &mut self,
        granted: impl IntoIterator<Item = Seat>,
        conversion: impl IntoIterator<Item = Seat>,
        waiting: impl IntoIterator<Item = Seat>,
    ) {
        let number = u32::try_from(self.resources.len()).unwrap_or(u32::MAX);
        let from = self.seats.len();
        self.seats.extend(granted);
        let converting = self.seats.len();
        self.seats.extend(conversion);
        let waiting_from = self.seats.len();
        self.seats.extend(waiting);
        let to = self.seats.len();
        self.of.resize(to, number);
        self.resources.push(Queues {
            granted: from..converting,
            conversion: converting..waiting_from,
            waiting: waiting_from..to,
        });
    }

    /// How many locks were copied.
    #[must_use]
    pub fn locks(&self) -> usize {
        self.seats.len()
    }

    /// D6: when a search may find something new among those that wait now; nothing if nobody waits.
    #[must_use]
    pub fn next_search(&self, now: Instant, rule_of: impl Fn(LockspaceId) -> Rule) -> Option<Instant> {
        let queued = self.resources.iter().flat_map(Queues::queued);
        let due = queued.filter_map(|seat| {
            let seat = &self.seats[seat];
            let wait_ms = Some(rule_of(seat.lockspace).wait_ms).filter(|wait_ms| *wait_ms > 0)?;
            let first = seat.since.after_ms(wait_ms);
            // Who has waited that long is looked at again: a grant to another may close a ring, too.
            Some(if first > now { first } else { now.after_ms(wait_ms) })
        });
        due.min()
    }

    /// Where a lock stands.
    #[must_use]
    pub fn find(&self, lock: LockId) -> Option<usize> {
        self.seats.iter().position(|seat| seat.lock == lock)
    }

    /// A lock by its place.
    #[must_use]
    pub fn seat(&self, at: usize) -> &Seat {
        &self.seats[at]
    }

    pub(super) fn is_planted(&self, mistake: Mistake) -> bool {
        self.planted.is(mistake)
    }

    pub(super) fn queues_of(&self, seat: usize) -> &Queues {
        &self.resources[self.of[seat] as usize]
    }

    /// D3: does this lock count as one that its owner waits for?
    pub(super) fn waits(&self, seat: usize) -> bool {
        let seat = &self.seats[seat];
        seat.wanted.is_some() && seat.party.is_some() && !seat.flags.contains(Flags::NODLCKWT)
    }

    /// Does the other lock, of the same resource, stand in the way of what this one wants, and how?
    pub(super) fn stands_in_the_way(&self, waiting: usize, other: usize) -> Option<EdgeWhy> {
        let (lock, blocker) = (&self.seats[waiting], &self.seats[other]);
        let wanted = lock.wanted?;
        if waiting == other || blocker.flags.contains(Flags::NODLCKBLK) {
            return None;
        }
        if blocker.held.is_some_and(|held| !held.is_compatible(wanted)) {
            return Some(EdgeWhy::Held);
        }
        let is_ahead = self.queues_of(waiting).queued().contains(&other)
            && other < waiting
            && !self.is_planted(Mistake::QueueOrderIsNoEdge);
        (is_ahead && !lock.flags.contains(Flags::NOORDER)).then_some(EdgeWhy::Ahead)
    }

    /// D2: does the one lock wait for the other, and why?
    #[must_use]
    pub fn waits_for(&self, waiting: usize, other: usize) -> Option<EdgeWhy> {
        let why = self.stands_in_the_way(waiting, other).filter(|_| self.waits(waiting))?;
        let is_own = self.seats[waiting].party == self.seats[other].party;
        (why == EdgeWhy::Held || !is_own).then_some(why)
    }
}

impl Shard {
    /// D6: when a search may concern a request that was queued since this was last asked.
    pub fn take_search_due(&mut self) -> Option<Instant> {
        self.search_due.take()
    }

    /// D6: somebody was queued on this resource.
    pub(in super::super) fn note_queued(&mut self, slot: ResourceSlot) {
        let space = self.space(self.resources[slot].lockspace);
        let wait_ms = space.map_or(0, |space| space.policy.deadlock_wait_ms);
        if wait_ms > 0 {
            let due = self.now.after_ms(wait_ms);
            self.search_due = Some(self.search_due.map_or(due, |earlier| earlier.min(due)));
        }
    }

    /// How many resources have locks that wait or convert: where [`Shard::copy_queues`] begins.
    #[must_use]
    pub fn contended(&self) -> usize {
        self.contended.len()
    }

    /// Copies the queues of the resources before `from` in the list of those that have any, the last first, whole
    /// resources, as many as have no more than `at_most` locks together, but one at least. Says where to go on.
    ///
    /// From the end: a resource that leaves the list is replaced by the last one, which was copied before, so that none
    /// is missed that has a queue throughout. One may be copied twice; that adds nothing that is not confirmed.
    #[must_use]
    pub fn copy_queues(&self, from: usize, at_most: usize, into: &mut Copied) -> usize {
        let before = into.seats.len();
        let mut next = from.min(self.contended.len());
        while next > 0 {
            let slot = self.contended[next - 1];
            let copied = into.seats.len() - before;
            if copied > 0 && copied + self.resources[slot].locks() as usize > at_most {
                break;
            }
            next -= 1;
            self.copy_resource(slot, into);
        }
        next
    }

    /// Enters a resource into the list of those that have a queue, or takes it out.
    pub(in super::super) fn note_contended(&mut self, slot: ResourceSlot) {
        let resource = &mut self.resources[slot];
        match (resource.queued() > 0, resource.contended_at()) {
            (true, None) => {
                resource.list_contended(u32::try_from(self.contended.len()).ok());
                self.contended.push(slot);
            }
            (false, Some(at)) => {
                resource.list_contended(None);
                self.contended.swap_remove(at as usize);
                if let Some(moved) = self.contended.get(at as usize) {
                    self.resources[*moved].list_contended(Some(at));
                }
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// Copies one resource, whole.
    pub(in super::super) fn copy_resource(&self, slot: ResourceSlot, into: &mut Copied) {
        let resource = &self.resources[slot];
        self.look_at(resource.locks() as usize);
        into.planted = self.limits.planted;
        let seats = |queue: List| queue.iter(&self.locks, Which::Queue).map(|slot| self.seat(slot));
        into.add(seats(resource.granted), seats(resource.conversion()), seats(resource.waiting()));
    }

    /// A lock as the search sees it.
    pub(super) fn seat(&self, slot: LockSlot) -> Seat {
        let lock = &self.locks[slot];
        let has = |flag: Flags| match flag {
            Flags::NODLCKBLK => lock.has(flag),
            _ => lock.at.wanted().is_some() && lock.asks(flag),
        };
        let flags = [Flags::NODLCKWT, Flags::NODLCKBLK, Flags::NOORDER].into_iter().filter(|flag| has(*flag));
        Seat {
            lock: self.id_of(slot),
            party: lock
                .session
                .map(|session| Party { session: self.attendances[session].session, owner: lock.owner }),
            is_ending: self.is_sealed(slot),
            lockspace: self.resources[lock.resource].lockspace,
            held: lock.at.held(),
            wanted: lock.at.wanted(),
            stamp: lock.stamp,
            seq: lock.seq,
            since: lock.since,
            priority: lock.priority,
            flags: flags.fold(Flags::NONE, |all, flag| all | flag),
        }
    }
}
