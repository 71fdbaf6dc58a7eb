//! Requests by when they came into their queue, and how such a wait ended: for who tells of long ones.
//!
//! Nothing here changes anything, and nothing is noted while a request waits: its place in a queue says since when.

use super::lock::{LockSlot, Which};
use super::shard::Shard;
use super::time::Instant;
use enq_protocol::vocabulary::{Happened, LockId, Stamp, Status};

/// A request that waits or converts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued {
    /// Its lock.
    pub lock: LockId,
    /// Its entry into its queue.
    pub stamp: Stamp,
    /// When that was.
    pub since: Instant,
}

/// What a walk through queues has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// Requests of the time that was asked for, as many as were to be kept.
    pub found: Vec<Queued>,
    /// How many there are.
    pub count: usize,
    /// When the first of those came that came later.
    pub later: Option<Instant>,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitEnd {
    /// With a grant, at that moment.
    Granted(Instant),
    /// Without one: at that moment, with that status, DONE if its session ended.
    Ended(Instant, Status),
    /// Nobody remembers.
    Forgotten,
}

impl Shard {
    /// Walks through the resources before `from` in the list of those that have a queue, the last first, whole resources,
    /// as many as have no more than `at_most` requests together, but one at least. Notes those queued after `after` and not after `until`, and keeps some of
    /// them. Says where to go on. A resource may be met twice, none is left out (see [`Shard::copy_queues`]).
    pub fn walk_queues(
        &self,
        (from, at_most): (usize, usize),
        (after, until): (Option<Instant>, Instant),
        keep: usize,
        walk: &mut Walk,
    ) -> usize {
        let mut next = from.min(self.contended.len());
        let mut looked_at = 0;
        while next > 0 {
            let resource = &self.resources[self.contended[next - 1]];
            if looked_at > 0 && looked_at + resource.queued() as usize > at_most {
                break;
            }
            next -= 1;
            let converting = resource.conversion().iter(&self.locks, Which::Queue);
            for slot in converting.chain(resource.waiting().iter(&self.locks, Which::Queue)) {
                looked_at += 1;
                self.weigh(slot, (after, until), keep, walk);
            }
        }
        self.look_at(looked_at);
        next
    }

    fn weigh(
        &self,
        slot: LockSlot,
        (after, until): (Option<Instant>, Instant),
        keep: usize,
        walk: &mut Walk,
    ) {
        let since = self.locks[slot].since;
        if since > until {
            walk.later = Some(walk.later.map_or(since, |later| later.min(since)));
        } else if after.is_none_or(|after| since > after) {
            walk.count += 1;
            let lock = self.id_of(slot);
            if walk.found.len() < keep && walk.found.iter().all(|queued| queued.lock != lock) {
                walk.found.push(Queued { lock, stamp: self.locks[slot].stamp, since });
            }
        }
    }

    /// How this wait ended; none if it goes on.
    #[must_use]
    pub fn end_of_wait(&self, queued: &Queued) -> Option<WaitEnd> {
        let there = self.slot_of(queued.lock).map(|slot| &self.locks[slot]);
        if there.is_some_and(|lock| lock.stamp == queued.stamp && lock.at.wanted().is_some()) {
            return None;
        }
        let end = self.first_after(queued);
        Some(end.map_or(WaitEnd::Forgotten, |(at, happened, status)| match happened {
            Happened::Granted | Happened::Adopted => WaitEnd::Granted(at),
            _ => WaitEnd::Ended(at, status),
        }))
    }
}

#[cfg(test)]
mod tests;
