//! A great many sessions, many of which go silent at the same moment: how long are the others kept waiting?
//!
//! `cargo bench --bench leases -- [--sessions N] [--silent N] [--ttl SECONDS]`. The house, the table and the leases are the
//! server's own, in this process and without sockets; each session has a lock. Time is simulated, and the work is real: one
//! thread reads the renewals that have come, then lets a round of time pass if one is due, and the moment goes on by
//! what the processor took for it. So a renewal that comes while a round lasts waits for the end of it, as it would with
//! a server that has one core and nothing else to do. How much a renewal costs on a socket is another bench's question
//! (`--bench server -- --idle`). Nothing here is a test, and no figure is a limit.

use bytes::BytesMut;
use enq::{
    engine::{Instant, Limits},
    log::Volatile,
    server::{
        Clock, House, HouseRules, Passing, Patience, ROUND,
        conversation::{Conversation, Ends},
    },
    table::{SessionCell, Setting, Table},
};
use enq_protocol::{
    vocabulary::{Flags, Handle, LockMode, LockspaceId, Owner},
    wire::{Enq, Hello, Look, OpenSession, PROTOCOL_VERSION, Request},
};
use std::{net::SocketAddr, sync::Arc};

const SECOND: u64 = 1_000_000_000;

/// What is asked for.
struct Asked {
    sessions: u64,
    silent: u64,
    ttl_ms: u32,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)).map_or(default, |text| text.parse().expect("a number"))
    };
    let ttl = option("--ttl", 15);
    let asked = Asked {
        sessions: option("--sessions", 1_000_000),
        silent: option("--silent", 100_000),
        ttl_ms: u32::try_from(ttl * 1_000).expect("a lease is short"),
    };
    assert!(asked.silent < asked.sessions, "somebody has to stay");
    let house = Arc::new(house(asked.ttl_ms));
    let mut world = World::open(house, &asked);
    world.until_the_silent_are_gone(&asked);
    world.report(&asked);
    world.stall();
}

fn house(ttl_ms: u32) -> House {
    let setting = Setting {
        epoch: 1,
        limits: Limits::default(),
        window_requests: 1_024,
        window_bytes: 256 * 1024,
        route_key: [7; 16],
        hash_seed: 7,
        recovering_until: None,
    };
    let rules = HouseRules {
        patience: Patience::default(),
        ttl_ms_min: ttl_ms,
        ttl_ms_max: ttl_ms,
        unsafe_settings: Vec::new(),
        draw: Box::new(|| Some([7; 16])),
    };
    House::new(Volatile::new(Table::new(&setting)), rules)
}

/// One session that is heard of.
struct Heard {
    cell: Arc<SessionCell>,
    /// When its next renewal comes.
    due: u64,
}

/// The house, and those who are heard of, in the order of their renewals.
struct World {
    house: Arc<House>,
    heard: Vec<Heard>,
    clock: Clock,
    /// The moment it is.
    now: u64,
    passing: Passing,
    seen: Seen,
}

/// What there was to see.
#[derive(Default)]
struct Seen {
    renewals: u64,
    /// The longest that a renewal has waited to be read.
    waited: u64,
    rounds: u64,
    /// The longest round, and the longest time between the beginnings of two readings.
    round: u64,
    reading: u64,
    /// When the last of the silent was gone, after the end of their leases.
    gone: u64,
}

impl World {
    /// Everybody comes in, says something once, and is heard of again after a third of the lease: the silent all at
    /// once, the others evenly spread.
    fn open(house: Arc<House>, asked: &Asked) -> World {
        let third = u64::from(asked.ttl_ms) * SECOND / 1_000 / 3;
        for number in 0..asked.silent {
            open_one(&house, Instant(SECOND), number, asked.ttl_ms);
        }
        let others = asked.sessions - asked.silent;
        let heard = (0..others).map(|at| {
            let moment = SECOND + third * at / others;
            let cell = open_one(&house, Instant(moment), asked.silent + at, asked.ttl_ms);
            Heard { cell, due: moment + third }
        });
        let heard = heard.collect();
        let now = SECOND + third;
        World {
            house,
            heard,
            clock: Clock::start(Instant::START),
            now,
            passing: Passing::new(Instant(now)),
            seen: Seen::default(),
        }
    }

    /// Does something, which takes as long as it takes.
    fn spend(&mut self, work: impl FnOnce(&mut World)) -> u64 {
        let before = self.clock.now().0;
        work(self);
        let took = self.clock.now().0 - before;
        self.now += took;
        took
    }

    fn sessions(&self) -> u64 {
        self.house.log().table().session_count()
    }

    /// Renewals and rounds, in turns, for as long as there is a session or lock of the silent, and a whole lease after it.
    fn until_the_silent_are_gone(&mut self, asked: &Asked) {
        let ttl = u64::from(asked.ttl_ms) * SECOND / 1_000;
        let others = asked.sessions - asked.silent;
        let (mut next, mut next_round) = (0, self.now);
        let mut until = u64::MAX;
        while self.now < until {
            let earliest = self.heard[next].due.min(next_round);
            self.now = self.now.max(earliest);
            let read = self.spend(|world| next = world.read(next, ttl / 3));
            let mut round = 0;
            if self.now >= next_round {
                round = self.spend(|world| world.passing.round(&world.house, Instant(world.now)));
                self.seen.rounds += 1;
                next_round = self.now + u64::try_from(ROUND.as_nanos()).expect("a round is short");
            }
            self.seen.round = self.seen.round.max(round);
            self.seen.reading = self.seen.reading.max(read + round);
            if round > 0 && until == u64::MAX && self.sessions() <= others && self.locks() <= others {
                self.seen.gone = self.now.saturating_sub(SECOND + ttl);
                until = self.now + ttl;
            }
        }
        assert_eq!(
            (self.sessions(), self.locks()),
            (others, others),
            "nobody who was heard of has lost anything"
        );
    }

    /// Reads every renewal that has come; where the next one is.
    fn read(&mut self, mut next: usize, third: u64) -> usize {
        while let Some(heard) = self.heard.get_mut(next).filter(|heard| heard.due <= self.now) {
            heard.cell.renew(Instant(self.now));
            self.seen.waited = self.seen.waited.max(self.now - heard.due);
            self.seen.renewals += 1;
            heard.due += third;
            next = (next + 1) % self.heard.len();
        }
        next
    }

    fn locks(&self) -> u64 {
        self.house.log().table().statistics().locks
    }

    fn report(&self, asked: &Asked) {
        let ms = |nanoseconds: u64| nanoseconds as f64 / 1e6;
        let Asked { sessions, silent, ttl_ms } = asked;
        let Seen { renewals, waited, rounds, round, reading, gone } = self.seen;
        println!(
            "{sessions} sessions with a lease of {ttl_ms} ms and a lock each; {silent} go silent at once"
        );
        println!("{renewals} renewals, {rounds} rounds");
        println!("longest round:                    {:>10.3} ms", ms(round));
        println!("longest between two readings:     {:>10.3} ms", ms(reading));
        println!(
            "longest that a renewal waited:    {:>10.3} ms, {:.5} of a lease",
            ms(waited),
            ms(waited) / f64::from(*ttl_ms)
        );
        println!("the last of the silent was gone:  {:>10.3} ms after its lease", ms(gone));
    }

    /// The round after a second in which the server did not run, which gives the time back to everybody.
    fn stall(&mut self) {
        self.now += SECOND;
        let took = self.spend(|world| world.passing.round(&world.house, Instant(world.now)));
        println!("the round after a stall of 1 s:   {:>10.3} ms", took as f64 / 1e6);
    }
}

/// A session with a lock, whose connection goes away.
fn open_one(house: &Arc<House>, now: Instant, number: u64, ttl_ms: u32) -> Arc<SessionCell> {
    let mut conversation = Conversation::new(Arc::clone(house), SocketAddr::from(([127, 0, 0, 1], 1)));
    first_words(number, ttl_ms, conversation.listen().0);
    conversation.turn(now, true).expect("the words are right");
    conversation.write(|bytes| Ok(bytes.len())).expect("somebody reads");
    let cell = Arc::clone(conversation.session().expect("it was opened"));
    conversation.leave(now, &Ends::Gone);
    cell
}

fn first_words(number: u64, ttl_ms: u32, out: &mut BytesMut) {
    let hello = Hello {
        version_min: PROTOCOL_VERSION,
        version_max: PROTOCOL_VERSION,
        features: 0,
        method: 0,
        credentials: Box::default(),
        agent: "bench".into(),
    };
    let open = OpenSession {
        name: "bench".into(),
        purpose: String::new(),
        node: String::new(),
        node_id: 0,
        host: String::new(),
        pid: 0,
        process_start: 0,
        ttl_ms,
        orphan_key: Box::default(),
        log: 0,
        bind_connection: false,
    };
    let name = format!("bench/resource/{number:08}");
    let enq = Enq {
        handle: Handle::new(1).expect("handles start at 1"),
        lockspace: LockspaceId(0),
        parent: None,
        name: name.as_bytes(),
        mode: LockMode::Ex,
        flags: Flags::NONE,
        owner: Owner::default(),
        timeout_ms: None,
        priority: 0,
        reason: &[],
    };
    hello.encode(out).expect("it fits");
    Look::Open(open).encode(1, 0, out).expect("it fits");
    Request::Enq(enq).encode(1, 0, out).expect("it fits");
}
