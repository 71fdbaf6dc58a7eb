//! What one step of the engine costs, alone and on one thread: the figures of `docs/performance.md` about the engine.
//!
//! `cargo bench --bench engine`. A pair is two steps. Nothing here is a test, and no figure is a limit.

use divan::{Bencher, black_box};
use enq::engine::{Ask, Input, Instant, Limits, LockRef, Output, Said, Shard, Under};
use enq_protocol::vocabulary::{
    Flags, Handle, LockId, LockMode, LockspaceId, Owner, ResourceName, SessionId,
};

fn main() {
    divan::main();
}

const SESSION: SessionId = SessionId(1);
const NOW: Instant = Instant(1);

fn handle(number: u32) -> Handle {
    Handle::new(number).expect("handles start at 1")
}

fn name(number: u64) -> ResourceName {
    ResourceName::new(format!("bench/resource/{number:08}").as_bytes()).expect("24 bytes are a name")
}

/// One shard and the list its outputs go to.
struct World {
    shard: Shard,
    out: Vec<Output>,
}

impl World {
    fn new() -> World {
        World { shard: Shard::new(0, Limits::default(), 1, 7), out: Vec::with_capacity(64) }
    }

    fn step(&mut self, input: Input<'_>) {
        self.out.clear();
        self.shard.step(NOW, input, &mut self.out);
        black_box(&self.out);
    }

    fn enq(&mut self, name: &ResourceName, number: u32, mode: LockMode) -> Option<LockId> {
        let ask = Ask {
            session: SESSION,
            mode,
            flags: Flags::NONE,
            owner: Owner::default(),
            timeout_ms: None,
            priority: 0,
            reason: &[],
        };
        let under = Under::Lockspace(LockspaceId(0));
        self.step(Input::Enq { ask, handle: handle(number), under, name });
        match &self.out.first()?.said {
            Said::Granted(grant) => Some(grant.lock),
            _ => None,
        }
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
fn pairs(bencher: Bencher<'_, '_>, mut world: World) {
    let names: Vec<_> = (0..1024).map(name).collect();
    let mut next = 0;
    bencher.bench_local(|| {
        next = (next + 1) % names.len();
        if let Some(lock) = world.enq(&names[next], 1, LockMode::Ex) {
            world.deq(lock);
        }
    });
}

/// A new EX lock in a shard that holds nothing, and its release.
#[divan::bench]
fn enq_and_deq_of_a_fresh_name(bencher: Bencher<'_, '_>) {
    pairs(bencher, World::new());
}

/// The same in a shard that holds 10,000 other locks.
#[divan::bench]
fn enq_and_deq_beside_ten_thousand(bencher: Bencher<'_, '_>) {
    let mut world = World::new();
    for number in 0..10_000 {
        world.enq(&name(u64::from(number) + 5_000), number + 2, LockMode::Pr);
    }
    pairs(bencher, world);
}

/// NL to PR and back on a lock that stays.
#[divan::bench]
fn convert_pair(bencher: Bencher<'_, '_>) {
    let mut world = World::new();
    let lock = world.enq(&name(1), 1, LockMode::Nl).expect("nobody is in the way");
    bencher.bench_local(|| {
        world.convert(lock, LockMode::Pr);
        world.convert(lock, LockMode::Nl);
    });
}
