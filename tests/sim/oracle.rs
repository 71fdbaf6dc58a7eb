//! Who is stuck for ever: an oracle that knows no graph of parties. It lets everybody finish who waits for nothing, grants
//! what that frees, and goes on until nothing changes; who is left is stuck.
//!
//! It has its own tables of modes and rules and imports nothing of the engine.

use crate::model::beside;
use enq_protocol::vocabulary::{EdgeWhy, LockMode};
use std::collections::BTreeSet;

/// A party by number.
pub(crate) type Who = u32;

/// A lock of the oracle.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    /// Whose; none for what nobody will ever release, and nobody waits for in vain.
    pub(crate) party: Option<Who>,
    pub(crate) held: Option<LockMode>,
    pub(crate) wanted: Option<LockMode>,
    /// NODLCKWT, NODLCKBLK, NOORDER.
    pub(crate) runs_on: bool,
    pub(crate) gives_way: bool,
    pub(crate) jumps: bool,
    pub(crate) priority: u8,
    pub(crate) since: u64,
}

/// A resource of the oracle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resource {
    pub(crate) granted: Vec<Entry>,
    pub(crate) conversion: Vec<Entry>,
    pub(crate) waiting: Vec<Entry>,
}

impl Resource {
    pub(crate) fn all(&self) -> impl Iterator<Item = &Entry> {
        self.granted.iter().chain(&self.conversion).chain(&self.waiting)
    }

    fn clashes(&self, id: u64, wanted: LockMode) -> bool {
        let holding = self.granted.iter().chain(&self.conversion);
        holding
            .filter(|other| other.id != id && !other.gives_way)
            .any(|other| other.held.is_some_and(|held| !beside(held, wanted)))
    }

    /// Where the first request stands that can be granted. What gives way does not count as there.
    fn grantable(&self, queue: &[Entry], blocked: bool) -> Option<usize> {
        queue.iter().enumerate().position(|(at, entry)| {
            let wanted = entry.wanted.expect("it waits");
            let is_head = !blocked && queue.iter().take(at).all(|other| other.gives_way);
            (is_head || entry.jumps) && !self.clashes(entry.id, wanted)
        })
    }

    /// Grants one request that can be granted; false if there is none.
    fn grant_one(&mut self) -> bool {
        let blocked = !self.conversion.iter().all(|other| other.gives_way);
        let mut entry = if let Some(at) = self.grantable(&self.conversion, false) {
            self.conversion.remove(at)
        } else if let Some(at) = self.grantable(&self.waiting, blocked) {
            self.waiting.remove(at)
        } else {
            return false;
        };
        entry.held = entry.wanted.take();
        self.granted.push(entry);
        true
    }

    fn remove(&mut self, gone: impl Fn(&Entry) -> bool) {
        for queue in [&mut self.granted, &mut self.conversion, &mut self.waiting] {
            queue.retain(|entry| !gone(entry));
        }
    }

    /// Ends a request; a conversion leaves what is held.
    pub(crate) fn refuse(&mut self, id: u64) {
        self.waiting.retain(|entry| entry.id != id);
        if let Some(at) = self.conversion.iter().position(|entry| entry.id == id) {
            let mut entry = self.conversion.remove(at);
            entry.wanted = None;
            self.granted.push(entry);
        }
    }

    /// What waits, in the order of rule D2: whoever is earlier is ahead.
    fn queued(&self) -> Vec<&Entry> {
        self.conversion.iter().chain(&self.waiting).collect()
    }

    /// The rule of edges in its plainest form.
    fn edge(&self, waiting: u64, blocker: u64) -> Option<EdgeWhy> {
        let queued = self.queued();
        let at = queued.iter().position(|entry| entry.id == waiting)?;
        let (lock, other) = (queued[at], self.all().find(|entry| entry.id == blocker)?);
        let wanted = lock.wanted?;
        if waiting == blocker || other.gives_way {
            None
        } else if other.held.is_some_and(|held| !beside(held, wanted)) {
            Some(EdgeWhy::Held)
        } else {
            let is_ahead = queued.iter().take(at).any(|entry| entry.id == blocker);
            (is_ahead && !lock.jumps).then_some(EdgeWhy::Ahead)
        }
    }
}

/// Queues of resources, and nothing else.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) resources: Vec<Resource>,
}

/// What has to come to an end: a party, or a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Matter {
    Party(Who),
    Request(u64),
}

impl World {
    pub(crate) fn settle(&mut self) {
        for resource in &mut self.resources {
            while resource.grant_one() {}
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Entry> {
        self.resources.iter().flat_map(Resource::all)
    }

    fn waiting_parties(&self) -> BTreeSet<Who> {
        self.all()
            .filter(|entry| entry.wanted.is_some() && !entry.runs_on)
            .filter_map(|entry| entry.party)
            .collect()
    }

    /// Lets everybody finish who can; who is left is stuck. What belongs to nobody goes first.
    pub(crate) fn run(&mut self) -> BTreeSet<Who> {
        self.resources.iter_mut().for_each(|resource| resource.remove(|entry| entry.party.is_none()));
        loop {
            self.settle();
            let waiting = self.waiting_parties();
            let parties: BTreeSet<Who> = self.all().filter_map(|entry| entry.party).collect();
            if parties == waiting {
                return waiting;
            }
            let done = |entry: &Entry| entry.party.is_none_or(|party| !waiting.contains(&party));
            self.resources.iter_mut().for_each(|resource| resource.remove(done));
        }
    }

    /// The edge from one lock to another, if there is one.
    pub(crate) fn edge(&self, waiting: u64, blocker: u64) -> Option<EdgeWhy> {
        self.resources.iter().find_map(|resource| resource.edge(waiting, blocker))
    }

    /// Does this request, directly or by others, wait for itself? Asked of who is stuck, it says whether it is on a
    /// deadlock or only behind one. What either of two things can end counts as well, or does not.
    pub(crate) fn waits_for_itself(&self, id: u64, either: bool) -> bool {
        let start = Matter::Request(id);
        let (mut seen, mut next) = (BTreeSet::new(), self.after(start, either));
        while let Some(matter) = next.pop() {
            if matter == start {
                return true;
            }
            if seen.insert(matter) {
                next.extend(self.after(matter, either));
            }
        }
        false
    }

    /// What has to come to an end first.
    fn after(&self, matter: Matter, either: bool) -> Vec<Matter> {
        let id = match matter {
            Matter::Party(party) => {
                let its =
                    |entry: &&Entry| entry.party == Some(party) && entry.wanted.is_some() && !entry.runs_on;
                return self.all().filter(its).map(|entry| Matter::Request(entry.id)).collect();
            }
            Matter::Request(id) => id,
        };
        let here = |resource: &&Resource| resource.all().any(|entry| entry.id == id);
        let Some(resource) = self.resources.iter().find(here) else { return Vec::new() };
        let Some(lock) = resource.all().find(|entry| entry.id == id) else { return Vec::new() };
        let mut first = Vec::new();
        for other in resource.all() {
            let (Some(why), Some(wanted), Some(party)) =
                (resource.edge(id, other.id), lock.wanted, other.party)
            else {
                continue;
            };
            let is_own_place = why == EdgeWhy::Ahead && other.party == lock.party;
            match other.wanted.filter(|ahead| beside(*ahead, wanted) || is_own_place) {
                // Two that go together: the other one has only to be granted. If its party runs on meanwhile, that
                // may be done with it before.
                Some(_) if other.runs_on && !either => {}
                Some(_) => {
                    first.push(Matter::Request(other.id));
                    first.extend(other.runs_on.then_some(Matter::Party(party)));
                }
                None => first.push(Matter::Party(party)),
            }
        }
        first
    }
}
