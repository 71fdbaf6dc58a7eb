//! One shard of the engine.

use super::{Deed, Row};
use enq::engine::{Ask, Input, Instant, Limits, LockRef, Output, Said, Shard, Under};
use enq_protocol::vocabulary::{
    Flags, Handle, LockId, LockMode, LockspaceId, Owner, ResourceName, SessionId,
};
use std::hint::black_box;

pub(crate) const ROWS: &[Row] = &[
    Row { name: "engine: a new lock and its release", counts: 1, begin: || pairs(World::new(0), 0) },
    Row { name: "engine: the same, recorded", counts: 1, begin: || pairs(World::new(1_024), 0) },
    Row { name: "engine: the same beside 10,000", counts: 1, begin: || pairs(World::new(0), 10_000) },
    Row { name: "engine: the same beside 300,000", counts: 1, begin: || pairs(World::new(0), 300_000) },
    Row { name: "engine: NL to PR and back", counts: 1, begin: conversions },
    Row { name: "engine: EX from one to the next", counts: 1, begin: hand_off },
    Row { name: "engine: a path of four and its release", counts: 1, begin: path },
    Row { name: "engine: four of a tree and their release", counts: 1, begin: tree },
];

const SESSION: SessionId = SessionId(1);
const NOW: Instant = Instant(1);

fn handle(number: u32) -> Handle {
    Handle::new(number).expect("handles start at 1")
}

fn name(number: u64) -> ResourceName {
    ResourceName::new(format!("bench/resource/{number:08}").as_bytes()).expect("24 bytes are a name")
}

fn ask(mode: LockMode) -> Ask<'static> {
    Ask {
        session: SESSION,
        mode,
        flags: Flags::NONE,
        owner: Owner::default(),
        timeout_ms: None,
        priority: 0,
        reason: &[],
    }
}

/// One shard and the list its outputs go to.
struct World {
    shard: Shard,
    out: Vec<Output>,
}

impl World {
    fn new(history: usize) -> World {
        let limits = Limits { history, ..Limits::default() };
        World { shard: Shard::new(0, limits, 1, 7), out: Vec::with_capacity(64) }
    }

    fn step(&mut self, input: Input<'_>) {
        self.out.clear();
        self.shard.step(NOW, input, &mut self.out);
        black_box(&self.out);
    }

    fn enq(&mut self, name: &ResourceName, number: u32, mode: LockMode, under: Under) -> LockId {
        self.step(Input::Enq { ask: ask(mode), handle: handle(number), under, name });
        match &self.out.first().expect("a step has an answer").said {
            Said::Granted(grant) => grant.lock,
            Said::Queued { lock, .. } => *lock,
            said => panic!("{said:?}"),
        }
    }

    fn root(&mut self, name: &ResourceName, number: u32, mode: LockMode) -> LockId {
        self.enq(name, number, mode, Under::Lockspace(LockspaceId(0)))
    }

    fn convert(&mut self, lock: LockId, mode: LockMode) {
        self.step(Input::Convert {
            session: SESSION,
            lock: LockRef::Id(lock),
            mode,
            flags: Flags::NONE,
            timeout_ms: None,
            priority: 0,
            value: None,
        });
    }

    fn deq(&mut self, lock: LockId) {
        self.step(Input::Deq { session: SESSION, lock: LockRef::Id(lock), flags: Flags::NONE, value: None });
    }
}

/// Takes and releases one lock after the other, on names that nobody else holds.
fn pairs(mut world: World, others: u32) -> Deed {
    for number in 0..others {
        world.root(&name(u64::from(number) + 5_000), number + 2, LockMode::Pr);
    }
    let names: Vec<_> = (0..1_024).map(name).collect();
    let mut next = 0;
    Box::new(move || {
        next = (next + 1) % names.len();
        let lock = world.root(&names[next], 1, LockMode::Ex);
        world.deq(lock);
    })
}

fn conversions() -> Deed {
    let mut world = World::new(0);
    let lock = world.root(&name(1), 1, LockMode::Nl);
    Box::new(move || {
        world.convert(lock, LockMode::Pr);
        world.convert(lock, LockMode::Nl);
    })
}

/// One more waits, then the first one goes.
fn hand_off() -> Deed {
    let mut world = World::new(0);
    let name = name(1);
    let mut holds = world.root(&name, 1, LockMode::Ex);
    let mut number = 1;
    Box::new(move || {
        number = 3 - number;
        let waits = world.root(&name, number, LockMode::Ex);
        world.deq(std::mem::replace(&mut holds, waits));
    })
}

fn levels() -> Vec<ResourceName> {
    (0..4).map(name).collect()
}

fn path() -> Deed {
    let mut world = World::new(0);
    let (path, handles) = (levels(), [1, 2, 3, 4].map(handle));
    Box::new(move || {
        let lockspace = LockspaceId(0);
        world.step(Input::EnqPath { ask: ask(LockMode::Ex), handles: &handles, lockspace, path: &path });
        let leaf = match &world.out.first().expect("a step has an answer").said {
            Said::PathGranted { leaf, .. } => leaf.lock,
            said => panic!("{said:?}"),
        };
        world.deq(leaf);
    })
}

fn tree() -> Deed {
    let mut world = World::new(0);
    let names = levels();
    Box::new(move || {
        let mut locks = vec![world.root(&names[0], 1, LockMode::Cw)];
        for (number, name) in (2..).zip(&names[1..]) {
            let parent = *locks.last().expect("there is a root");
            let mode = if number == 4 { LockMode::Ex } else { LockMode::Cw };
            locks.push(world.enq(name, number, mode, Under::Parent(LockRef::Id(parent))));
        }
        locks.into_iter().rev().for_each(|lock| world.deq(lock));
    })
}
