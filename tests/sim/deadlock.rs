//! The deadlock search against the oracle (`oracle`), which knows no graph.
//!
//! States of queues are drawn at random, several requests a party included. `ENQ_SIM_QUEUES` chooses how many.

use crate::model::beside;
use crate::number;
use crate::oracle::{Entry, Resource, Who, World};
use enq::engine::{
    Instant, Planted,
    deadlock::{Copied, Cycle, Due, NEVER_REFUSED, Party, Rule, Seat, Wait, search},
};
use enq_protocol::vocabulary::{EdgeWhy, Flags, LockId, LockMode, LockspaceId, Owner, Seq, SessionId, Stamp};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng, seq::IndexedRandom as _};
use std::collections::BTreeSet;

fn copied(world: &World, planted: Planted) -> Copied {
    let mut copied = Copied::planted(planted);
    for resource in &world.resources {
        let seats = |queue: &[Entry]| queue.iter().map(seat).collect::<Vec<_>>();
        copied.add(seats(&resource.granted), seats(&resource.conversion), seats(&resource.waiting));
    }
    copied
}

fn look(world: &World, planted: Planted) -> Vec<Cycle> {
    search(Due::At(Instant(2_000_000_000)), &copied(world, planted), |_| Rule::default(), |_| 0)
}

fn seat(entry: &Entry) -> Seat {
    let flag = |is: bool, flag: Flags| if is { flag } else { Flags::NONE };
    let party = entry.party.expect("everybody here is somebody");
    let (session, token) = (SessionId(u64::from(party / 2) + 1), u64::from(party % 2));
    Seat {
        lock: LockId(entry.id),
        party: Some(Party { session, owner: Owner { scope: 0, token } }),
        is_ending: false,
        lockspace: LockspaceId(0),
        held: entry.held,
        wanted: entry.wanted,
        stamp: Stamp(entry.since),
        seq: Seq(entry.held.map_or(0, |_| entry.id + 1)),
        since: Instant(entry.since),
        priority: entry.priority,
        flags: flag(entry.runs_on && entry.wanted.is_some(), Flags::NODLCKWT)
            | flag(entry.gives_way, Flags::NODLCKBLK)
            | flag(entry.jumps && entry.wanted.is_some(), Flags::NOORDER),
    }
}

fn number_of(party: Party) -> Who {
    Who::try_from((party.session.0 - 1) * 2 + party.owner.token).expect("a small party")
}

/// A world in which nothing can be granted.
fn draw(random: &mut SmallRng, with_flags: bool) -> World {
    let parties = random.random_range(2..=7);
    let mut world = World::default();
    let mut next = 0;
    let mut entry = |random: &mut SmallRng| {
        next += 1;
        let rare = |random: &mut SmallRng| with_flags && random.random_ratio(1, 12);
        Entry {
            id: next,
            party: Some(random.random_range(0..parties)),
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
fn check_sound(world: &World, cycles: &[Cycle], stuck: &BTreeSet<Who>) {
    for cycle in cycles {
        // Each stands by itself, whatever becomes of the others.
        if let Some(victim) = cycle.victim.map(|victim| cycle.waits[victim].waiting.lock.0) {
            assert!(
                world.waits_for_itself(victim, true),
                "{victim} is on no deadlock: {cycle:#?}\n{world:#?}"
            );
        }
        for (at, wait) in cycle.waits.iter().enumerate() {
            let next = &cycle.waits[(at + 1) % cycle.waits.len()];
            assert!(!cycle.is_ring || wait.blocker.party == next.waiting.party, "a ring closes: {cycle:#?}");
            let edge = world.edge(wait.waiting.lock.0, wait.blocker.lock.0);
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
fn check(world: &World, planted: Planted) -> usize {
    let mut evolved = world.clone();
    let stuck = evolved.run();
    let cycles = look(world, planted);
    check_sound(world, &cycles, &stuck);
    // NOORDER can make a deadlock of what was none yet: so completeness is asked where nobody can run any more.
    let late = look(&evolved, planted);
    check_sound(&evolved, &late, &stuck);
    assert_eq!(late.is_empty(), stuck.is_empty(), "missed: {stuck:?} in\n{evolved:#?}");
    break_all(evolved, late, planted);
    cycles.len()
}

/// The victims of a search break all it found. There is another search only after a conversion was refused, and what that
/// one finds is a deadlock by then, whether or not anything of the first one was carried out.
fn break_all(mut world: World, mut late: Vec<Cycle>, planted: Planted) {
    while late.iter().any(|cycle| cycle.victim.is_some()) {
        let victims: Vec<Seat> =
            late.iter().filter_map(|cycle| Some(cycle.waits[cycle.victim?].waiting)).collect();
        for victim in &victims {
            world.resources.iter_mut().for_each(|resource| resource.refuse(victim.lock.0));
        }
        late = look(&world, planted);
        let is_last = victims.iter().all(|victim| victim.held.is_none());
        let stays = |cycle: &Cycle| cycle.victim.is_none();
        assert!(
            !is_last || late.iter().all(stays),
            "the victims of one search break all it found: {victims:?}"
        );
        check_sound(&world, &late, &world.clone().run());
    }
    // D4: what is left is of those that are never refused.
    let may_go = |entry: &&Entry| {
        entry.wanted.is_some() && entry.party.is_some() && !entry.runs_on && entry.priority != NEVER_REFUSED
    };
    let left = world.all().filter(may_go).find(|entry| world.waits_for_itself(entry.id, false));
    assert!(left.is_none(), "{left:?} is on a ring, and nobody is refused: {world:#?}");
}

fn state(seed: u64) -> World {
    draw(&mut SmallRng::seed_from_u64(seed), seed.is_multiple_of(2))
}

/// Looks at the first states with a mistake in the search; a panic says that it was seen.
pub(crate) fn look_through(count: u64, planted: Planted) {
    for seed in 1..=count {
        check(&state(seed), planted);
    }
}

#[test]
fn the_search_finds_what_is_stuck_and_nothing_else() {
    let count = number("ENQ_SIM_QUEUES", 40_000);
    let first = number("ENQ_SIM_SEED", 1);
    let (mut with, mut cycles) = (0, 0);
    let planted = crate::museum::of_environment();
    for seed in first..first + count {
        let world = state(seed);
        let found = std::panic::catch_unwind(|| check(&world, planted));
        let found = found.unwrap_or_else(|_| panic!("ENQ_SIM_SEED={seed} ENQ_SIM_QUEUES=1 shows it again"));
        with += usize::from(found > 0);
        cycles += found;
    }
    println!("{count} states, {with} with deadlocks, {cycles} cycles");
    assert!(count < 1_000 || with > 50, "too few states have a deadlock to show anything");
}
