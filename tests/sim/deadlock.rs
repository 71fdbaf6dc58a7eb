//! The deadlock search against an oracle that knows no graph: it lets every party that waits for nothing finish and
//! release what it has, grants what this frees, and goes on until nothing changes. Who is left is stuck for ever.
//!
//! States of queues are drawn at random, several requests a party included. The oracle has its own tables of modes and
//! rules and imports nothing of the engine. `ENQ_SIM_QUEUES` chooses how many states.

use crate::model::beside;
use crate::number;
use enq::engine::{
    Instant,
    deadlock::{Copied, Cycle, Due, NEVER_REFUSED, Party, Rule, Seat, Wait, search},
};
use enq_protocol::vocabulary::{EdgeWhy, Flags, LockId, LockMode, LockspaceId, Owner, Seq, SessionId, Stamp};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng, seq::IndexedRandom as _};
use std::collections::BTreeSet;

/// A lock of the oracle.
#[derive(Clone, Debug)]
struct Entry {
    id: u32,
    party: u8,
    held: Option<LockMode>,
    wanted: Option<LockMode>,
    /// NODLCKWT, NODLCKBLK, NOORDER.
    runs_on: bool,
    gives_way: bool,
    jumps: bool,
    priority: u8,
    since: u64,
}

/// A resource of the oracle.
#[derive(Clone, Debug, Default)]
struct Resource {
    granted: Vec<Entry>,
    conversion: Vec<Entry>,
    waiting: Vec<Entry>,
}

impl Resource {
    fn all(&self) -> impl Iterator<Item = &Entry> {
        self.granted.iter().chain(&self.conversion).chain(&self.waiting)
    }

    fn clashes(&self, id: u32, wanted: LockMode) -> bool {
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

    fn remove_party(&mut self, party: u8) {
        for queue in [&mut self.granted, &mut self.conversion, &mut self.waiting] {
            queue.retain(|entry| entry.party != party);
        }
    }

    /// Ends a request; a conversion leaves what is held.
    fn refuse(&mut self, id: u32) {
        self.waiting.retain(|entry| entry.id != id);
        if let Some(at) = self.conversion.iter().position(|entry| entry.id == id) {
            let mut entry = self.conversion.remove(at);
            entry.wanted = None;
            self.granted.push(entry);
        }
    }
}

#[derive(Clone, Debug, Default)]
struct World {
    resources: Vec<Resource>,
}

impl World {
    fn settle(&mut self) {
        for resource in &mut self.resources {
            while resource.grant_one() {}
        }
    }

    fn waiting_parties(&self) -> BTreeSet<u8> {
        let all = self.resources.iter().flat_map(Resource::all);
        all.filter(|entry| entry.wanted.is_some() && !entry.runs_on).map(|entry| entry.party).collect()
    }

    fn parties(&self) -> BTreeSet<u8> {
        self.resources.iter().flat_map(Resource::all).map(|entry| entry.party).collect()
    }

    /// Lets everybody finish who can; who is left is stuck.
    fn run(&mut self) -> BTreeSet<u8> {
        loop {
            self.settle();
            let waiting = self.waiting_parties();
            let done: Vec<u8> = self.parties().difference(&waiting).copied().collect();
            if done.is_empty() {
                return waiting;
            }
            for party in done {
                self.resources.iter_mut().for_each(|resource| resource.remove_party(party));
            }
        }
    }

    fn copied(&self) -> Copied {
        let mut copied = Copied::default();
        for resource in &self.resources {
            let seats = |queue: &[Entry]| queue.iter().map(seat).collect::<Vec<_>>();
            copied.add(seats(&resource.granted), seats(&resource.conversion), seats(&resource.waiting));
        }
        copied
    }

    fn search(&self) -> Vec<Cycle> {
        search(Due::At(Instant(2_000_000_000)), &self.copied(), |_| Rule::default(), |_| 0)
    }

    /// The rule of edges in its plainest form.
    fn has_edge(&self, waiting: u32, blocker: u32) -> Option<EdgeWhy> {
        let resource =
            self.resources.iter().find(|resource| resource.all().any(|entry| entry.id == waiting))?;
        let queued: Vec<&Entry> = resource.conversion.iter().chain(&resource.waiting).collect();
        let at = queued.iter().position(|entry| entry.id == waiting)?;
        let (lock, other) = (queued[at], resource.all().find(|entry| entry.id == blocker)?);
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

fn seat(entry: &Entry) -> Seat {
    let flag = |is: bool, flag: Flags| if is { flag } else { Flags::NONE };
    let (session, token) = (SessionId(u64::from(entry.party / 2) + 1), u64::from(entry.party % 2));
    Seat {
        lock: LockId::new(0, entry.id, 1),
        party: Some(Party { session, owner: Owner { scope: 0, token } }),
        is_ending: false,
        lockspace: LockspaceId(0),
        held: entry.held,
        wanted: entry.wanted,
        stamp: Stamp(entry.since),
        seq: Seq(entry.held.map_or(0, |_| u64::from(entry.id) + 1)),
        since: Instant(entry.since),
        priority: entry.priority,
        flags: flag(entry.runs_on && entry.wanted.is_some(), Flags::NODLCKWT)
            | flag(entry.gives_way, Flags::NODLCKBLK)
            | flag(entry.jumps && entry.wanted.is_some(), Flags::NOORDER),
    }
}

fn number_of(party: Party) -> u8 {
    u8::try_from((party.session.0 - 1) * 2 + party.owner.token).expect("a small party")
}

/// A world in which nothing can be granted.
fn draw(random: &mut SmallRng, with_flags: bool) -> World {
    let parties = random.random_range(2..=7_u8);
    let mut world = World::default();
    let mut next = 0;
    let mut entry = |random: &mut SmallRng| {
        next += 1;
        let rare = |random: &mut SmallRng| with_flags && random.random_ratio(1, 12);
        Entry {
            id: next,
            party: random.random_range(0..parties),
            held: None,
            wanted: None,
            runs_on: rare(random),
            gives_way: rare(random),
            jumps: rare(random),
            priority: [0, 0, 0, 1, NEVER_REFUSED][random.random_range(0..5)],
            since: random.random_range(0..1_000),
        }
    };
    let mode = |random: &mut SmallRng| *LockMode::ALL.choose(random).expect("there are six");
    for _ in 0..random.random_range(1..=5) {
        let mut resource = Resource::default();
        for _ in 0..random.random_range(0..=4) {
            let held = mode(random);
            let fits = |other: &Entry| other.held.is_some_and(|other| beside(other, held));
            if resource.granted.iter().chain(&resource.conversion).all(fits) {
                let mut entry = entry(random);
                entry.held = Some(held);
                if random.random_ratio(1, 4) {
                    entry.wanted = Some(mode(random));
                    resource.conversion.push(entry);
                } else {
                    resource.granted.push(entry);
                }
            }
        }
        for _ in 0..random.random_range(0..=4) {
            let mut entry = entry(random);
            entry.wanted = Some(mode(random));
            resource.waiting.push(entry);
        }
        world.resources.push(resource);
    }
    world.settle();
    world
}

/// Each cycle is a ring of real waits, and none of its parties can ever run.
fn check_sound(world: &World, cycles: &[Cycle], stuck: &BTreeSet<u8>) {
    for cycle in cycles {
        for (at, wait) in cycle.waits.iter().enumerate() {
            let next = &cycle.waits[(at + 1) % cycle.waits.len()];
            assert!(!cycle.is_ring || wait.blocker.party == next.waiting.party, "a ring closes: {cycle:#?}");
            let edge = world.has_edge(wait.waiting.lock.slot(), wait.blocker.lock.slot());
            assert_eq!(edge, Some(wait.why), "a wait is real: {cycle:#?}");
            let same = wait.blocker.lock == next.waiting.lock;
            let clash = |held: Option<LockMode>| {
                held.zip(wait.waiting.wanted).is_some_and(|(held, wanted)| !beside(held, wanted))
            };
            let has_to_go = wait.why == EdgeWhy::Held || clash(wait.blocker.wanted);
            assert!(!cycle.is_ring || same || has_to_go, "who only has to be granted is next: {cycle:#?}");
            let party = wait.waiting.party.map(number_of).expect("orphans do not wait");
            assert!(stuck.contains(&party), "party {party} could run: {cycle:#?}\n{world:#?}");
        }
        let counting = |wait: &&Wait| !wait.waiting.flags.contains(Flags::NODLCKWT);
        let spared = cycle.waits.iter().filter(counting).all(|wait| wait.waiting.priority == NEVER_REFUSED);
        assert_eq!(cycle.victim.is_none(), spared, "one is refused if one may be");
        let priority = |at: usize| cycle.waits[at].waiting.priority;
        if let Some(victim) = cycle.victim {
            let lowest = cycle.waits.iter().filter(counting).map(|wait| wait.waiting.priority).min();
            assert_eq!(Some(priority(victim)), lowest, "the lowest priority goes");
        }
    }
}

/// One state: what the search finds is stuck, what is stuck it finds, and its victims are enough.
fn check(world: &World) -> usize {
    let mut evolved = world.clone();
    let stuck = evolved.run();
    let cycles = world.search();
    check_sound(world, &cycles, &stuck);
    // NOORDER can make a deadlock of what was none yet: so completeness is asked where nobody can run any more.
    let late = evolved.search();
    check_sound(&evolved, &late, &stuck);
    assert_eq!(late.is_empty(), stuck.is_empty(), "missed: {stuck:?} in\n{evolved:#?}");
    let found = cycles.len();
    let mut broken = evolved;
    let victims = late.iter().filter_map(|cycle| Some(cycle.waits[cycle.victim?].waiting.lock.slot()));
    let victims: Vec<u32> = victims.collect();
    let all_broken = victims.len() == late.len();
    for victim in &victims {
        broken.resources.iter_mut().for_each(|resource| resource.refuse(*victim));
    }
    if all_broken {
        assert_eq!(broken.search(), [], "the victims of one search break all it found: {victims:?}");
    }
    found
}

#[test]
fn the_search_finds_what_is_stuck_and_nothing_else() {
    let count = number("ENQ_SIM_QUEUES", 40_000);
    let first = number("ENQ_SIM_SEED", 1);
    let (mut with, mut cycles) = (0, 0);
    for seed in first..first + count {
        let mut random = SmallRng::seed_from_u64(seed);
        let world = draw(&mut random, seed % 2 == 0);
        let found = std::panic::catch_unwind(|| check(&world));
        let found = found.unwrap_or_else(|_| panic!("ENQ_SIM_SEED={seed} ENQ_SIM_QUEUES=1 shows it again"));
        with += usize::from(found > 0);
        cycles += found;
    }
    println!("{count} states, {with} with deadlocks, {cycles} cycles");
    assert!(count < 1_000 || with > 50, "too few states have a deadlock to show anything");
}
