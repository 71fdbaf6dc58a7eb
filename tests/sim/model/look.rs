//! Views and invariants: looking, never changing.

use super::{Lock, Model, Queue, beside};
use crate::words::{Name, Place, Seen, SeenResource};
use enq_protocol::vocabulary::Flags;

impl Model {
    /// All resources, in a fixed order.
    pub(crate) fn resources(&self) -> Vec<Place> {
        let mut places: Vec<Place> = self.blocks.iter().map(|(at, _)| at.clone()).collect();
        places.sort();
        places
    }

    /// Locks, resources, locks that convert, locks that wait, locks in lock-delay.
    pub(crate) fn counts(&self) -> (u64, u64, u64, u64, u64) {
        let count = |number: usize| u64::try_from(number).expect("few locks");
        let queued = |queue| self.locks.iter().filter(|lock| lock.queue == queue).count();
        (
            count(self.locks.len()),
            count(self.blocks.len()),
            count(queued(Queue::Converting)),
            count(queued(Queue::Waiting)),
            count(self.locks.iter().filter(|lock| lock.delayed.is_some()).count()),
        )
    }

    /// Has nobody been told the id of this lock yet?
    pub(crate) fn is_by_handle(&self, id: u64) -> bool {
        self.lock(id).is_some_and(|lock| lock.by_handle)
    }

    /// The names of levels that path requests have not asked for yet.
    pub(crate) fn unmade_names(&self) -> Vec<Name> {
        let unmade = |path: &super::PathRequest| -> Vec<Name> {
            let handles = path.handles.iter().skip(path.levels.len() + 1);
            handles.map(|handle| (path.ask.session, *handle)).collect()
        };
        self.paths.iter().flat_map(unmade).collect()
    }

    fn ms_until(&self, moment: u64) -> u64 {
        moment.saturating_sub(self.now).div_ceil(1_000_000)
    }

    fn see(&self, lock: &Lock) -> Seen {
        let left = lock.wish.as_ref().and_then(|wish| wish.deadline);
        Seen {
            lock: lock.id,
            session: lock.session,
            handle: lock.handle,
            owner: lock.owner.1,
            queue: match lock.queue {
                Queue::Granted => "granted",
                Queue::Converting => "converting",
                Queue::Waiting => "waiting",
            },
            held: lock.held,
            wanted: lock.wish.as_ref().map(|wish| wish.mode),
            seq: lock.seq,
            fence: lock.fence,
            parent: lock.parent,
            sublocks: u32::try_from(self.sublocks(lock.id)).expect("few sublocks"),
            priority: lock.priority,
            reason: lock.reason.as_bytes().to_vec(),
            timeout_ms: left.map(|deadline| self.ms_until(deadline)),
            pause_ms: match lock.delayed {
                Some(moment) => Some(moment.map_or(0, |moment| self.ms_until(moment))),
                None => self.recovering.map(|until| self.ms_until(until)),
            },
        }
    }

    /// A resource: granted locks by id, the others in their order.
    pub(crate) fn show(&self, at: &Place) -> Option<SeenResource> {
        let (_, block) = self.blocks.iter().find(|(place, _)| place == at)?;
        let mut granted = self.queue(at, Queue::Granted);
        granted.sort_by_key(|lock| lock.id);
        let mut locks: Vec<Seen> = granted.into_iter().map(|lock| self.see(lock)).collect();
        for queue in [Queue::Converting, Queue::Waiting] {
            locks.extend(self.queue(at, queue).into_iter().map(|lock| self.see(lock)));
        }
        let child =
            |place: &Place| place.0 == at.0 && place.1.len() == at.1.len() + 1 && place.1.starts_with(&at.1);
        let subresources = self.blocks.iter().filter(|(place, _)| child(place)).count();
        let subresources = u32::try_from(subresources).expect("few resources");
        Some(SeenResource { value: block.clone(), subresources, locks })
    }

    /// D2: what this lock waits for, by id; `true` for *held*, `false` for *ahead*.
    pub(crate) fn blocked_by(&self, id: u64) -> Vec<(u64, bool)> {
        let Some((lock, wish)) = self.lock(id).and_then(|lock| lock.wish.as_ref().map(|wish| (lock, wish)))
        else {
            return Vec::new();
        };
        let mut edges = Vec::new();
        for other in self.locks.iter().filter(|other| other.at == lock.at && other.id != id) {
            // R8: a lock that only waits has the properties of its request.
            let asked = other.wish.as_ref().is_some_and(|wish| wish.has(Flags::NODLCKBLK));
            let never_blocks = if other.held.is_some() { other.nodlckblk } else { asked };
            if wish.has(Flags::NODLCKWT) || never_blocks {
                continue;
            }
            let held = other.held.is_some_and(|held| !beside(held, wish.mode));
            let same_queue = other.queue == lock.queue && other.rank < lock.rank;
            let converts = other.queue == Queue::Converting && lock.queue == Queue::Waiting;
            let ahead = !wish.has(Flags::NOORDER) && other.owner != lock.owner && (same_queue || converts);
            if held || ahead {
                edges.push((other.id, held));
            }
        }
        edges.sort_unstable();
        edges
    }

    /// What must be true after every step, of all that is not sealed.
    pub(crate) fn check(&self) -> Result<(), String> {
        for at in self.resources() {
            self.check_resource(&at).map_err(|wrong| format!("{at:?}: {wrong}"))?;
        }
        Ok(())
    }

    fn check_resource(&self, at: &Place) -> Result<(), String> {
        let holders = self.locks.iter().filter(|lock| lock.at == *at && lock.held.is_some());
        for lock in holders {
            let held = lock.held.expect("a holder");
            if self.recovering.is_some() {
                return Err(format!("{:x} is granted while everybody waits", lock.id));
            }
            if self.clash(at, held, Some(lock.id)).is_some() {
                return Err(format!("{:x} holds {held} beside what it must not", lock.id));
            }
            let untold = lock.queue == Queue::Granted && !self.untold(lock, held).is_empty();
            if untold && lock.blkast && !lock.sealed && lock.session.is_some() {
                return Err(format!("{:x} was not told what it blocks", lock.id));
            }
        }
        let converting = self.queue(at, Queue::Converting);
        let waiting = self.queue(at, Queue::Waiting);
        let idle = |lock: &&&Lock| self.without_clash(lock).is_some();
        if converting.first().filter(idle).is_some() {
            return Err("the head of the conversion queue could be granted".into());
        }
        if converting.is_empty() && waiting.first().filter(idle).is_some() {
            return Err("the head of the waiting queue could be granted".into());
        }
        let unordered = |lock: &&&Lock| lock.wish.as_ref().is_some_and(|wish| wish.has(Flags::NOORDER));
        if converting.iter().chain(&waiting).filter(unordered).any(|lock| idle(&lock)) {
            return Err("a request without order could be granted".into());
        }
        Ok(())
    }
}
