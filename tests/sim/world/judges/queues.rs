//! What is seen of all resources, told to the oracle that knows who is stuck.

use super::Glance;
use crate::oracle::{Entry, Resource, Who, World};
use enq_protocol::vocabulary::{Flags, LockView, Owner, Queue, SessionId};
use std::collections::BTreeMap;

/// The parties that are seen, by number.
#[derive(Default)]
struct Parties(BTreeMap<(SessionId, Owner), Who>);

impl Parties {
    fn number(&mut self, lock: &LockView) -> Option<Who> {
        let next = Who::try_from(self.0.len()).expect("a world has few parties");
        Some(*self.0.entry((lock.session?, lock.owner)).or_insert(next))
    }
}

/// All queues, as they are.
pub(super) fn all(glance: &Glance) -> World {
    read(glance, |_| true)
}

/// The same without whatever has not been as it is for so long: a wait that is seen here stood all that time.
pub(super) fn older(glance: &Glance, age_ms: u64) -> World {
    read(glance, |lock| lock.age_ms >= age_ms)
}

fn read(glance: &Glance, counts: impl Fn(&LockView) -> bool) -> World {
    let mut parties = Parties::default();
    let mut world = World::default();
    for seen in &glance.places {
        let mut resource = Resource::default();
        for lock in seen.locks.iter().filter(|lock| counts(lock)) {
            let entry = Entry {
                id: lock.lock.0,
                party: parties.number(lock),
                held: lock.granted,
                wanted: lock.requested,
                runs_on: lock.requested.is_some() && lock.flags.contains(Flags::NODLCKWT),
                gives_way: lock.flags.contains(Flags::NODLCKBLK),
                jumps: lock.requested.is_some() && lock.flags.contains(Flags::NOORDER),
                priority: lock.priority,
                since: 0,
            };
            match lock.queue {
                Queue::Granted => resource.granted.push(entry),
                Queue::Conversion => resource.conversion.push(entry),
                Queue::Waiting => resource.waiting.push(entry),
            }
        }
        world.resources.push(resource);
    }
    world
}
