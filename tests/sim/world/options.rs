//! What a world is like: drawn from its seed, so that each campaign has calm worlds and cruel ones, and some that are
//! cruel in one way only.

use super::clock::{MS, SECOND, Time};
use super::journal::Keeping;
use super::link::Manners;
use super::orphans::Ties;
use crate::museum::Plant;
use enq_protocol::vocabulary::{ConversionDeadlock, LockMode, Policy};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

/// What goes wrong in a world, and how often: a number is events in a hundred seconds, for each machine or connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Misfortune {
    /// Connections break.
    pub(crate) cuts: u32,
    /// Streams stand still.
    pub(crate) stalls: u32,
    /// Nothing gets through between a client and the server, on any connection, in one direction or both.
    pub(crate) partitions: u32,
    /// Clients are stopped, and go on.
    pub(crate) client_pauses: u32,
    /// The server is.
    pub(crate) server_pauses: u32,
    /// The server ends, and another one begins.
    pub(crate) restarts: u32,
    /// Clients vanish for good, and others come.
    pub(crate) deaths: u32,
    /// Messages to the guarded resource come very late.
    pub(crate) late_deeds: bool,
    /// An administrator ends sessions.
    pub(crate) expulsions: u32,
}

/// What applications like to do.
#[derive(Clone, Debug)]
pub(crate) struct Taste {
    pub(crate) modes: Vec<LockMode>,
    /// Time between two acts of a client.
    pub(crate) act_each: (Time, Time),
    pub(crate) locks_max: usize,
    pub(crate) timeouts: bool,
    pub(crate) values: bool,
    pub(crate) paths: bool,
    pub(crate) cancels: bool,
    pub(crate) notices: bool,
    pub(crate) bursts: bool,
    /// Whoever waits for a lock keeps what he has, and asks for little else: deadlocks last.
    pub(crate) stubborn: bool,
    /// Tasks of a client that ask for locks of their own; 0 if the session is the owner of all.
    pub(crate) owners: u64,
    /// Requests that run on while they wait, and locks that are given up when somebody wants them.
    pub(crate) hints: bool,
    pub(crate) priorities: bool,
}

/// Everything that is drawn once.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) clients: usize,
    pub(crate) resources: usize,
    pub(crate) ttl_ms: u32,
    pub(crate) safety: Time,
    pub(crate) manners: Manners,
    pub(crate) reconnect_after: (Time, Time),
    pub(crate) ppm_max: i64,
    pub(crate) window: (u32, u32),
    /// What may be unread before requests are parked, and before a connection ends.
    pub(crate) unread: Option<(usize, usize)>,
    pub(crate) locks_a_session: u32,
    pub(crate) waiting_a_session: u32,
    pub(crate) waiting_a_resource: u32,
    /// The lock-delay of the lockspace.
    pub(crate) lock_delay_ms: u32,
    /// Its deadlock wait; 0 if only an operator looks for deadlocks.
    pub(crate) deadlock_wait_ms: u32,
    pub(crate) conversion_deadlock: ConversionDeadlock,
    /// How long one step of a search takes at most.
    pub(crate) search_step: Time,
    /// Does an operator look for deadlocks now and then?
    pub(crate) operator: bool,
    pub(crate) misfortune: Misfortune,
    pub(crate) taste: Taste,
    /// How the server keeps its journal, if it has one.
    pub(crate) keeping: Option<Keeping>,
    pub(crate) ties: Ties,
}

/// One of these, or a hundred times none.
fn perhaps(random: &mut StdRng, some: u32) -> u32 {
    if random.random_bool(0.5) { random.random_range(1..=some) } else { 0 }
}

fn misfortune(random: &mut StdRng) -> Misfortune {
    if random.random_ratio(1, 12) {
        return Misfortune::default();
    }
    Misfortune {
        cuts: perhaps(random, 120),
        stalls: perhaps(random, 30),
        partitions: perhaps(random, 25),
        client_pauses: perhaps(random, 15),
        server_pauses: perhaps(random, 10),
        restarts: if random.random_ratio(1, 3) { perhaps(random, 8) } else { 0 },
        deaths: perhaps(random, 6),
        late_deeds: random.random_bool(0.5),
        expulsions: if random.random_ratio(1, 3) { perhaps(random, 5) } else { 0 },
    }
}

fn taste(random: &mut StdRng) -> Taste {
    let modes = match random.random_range(0..5) {
        0 => vec![LockMode::Ex],
        1 => vec![LockMode::Pr, LockMode::Ex, LockMode::Nl],
        2 => vec![LockMode::Cr, LockMode::Cw, LockMode::Pr, LockMode::Pw, LockMode::Ex],
        _ => LockMode::ALL.to_vec(),
    };
    let slowest = *[20 * MS, 100 * MS, 400 * MS].choose(random).expect("not empty");
    Taste {
        modes,
        act_each: (MS, slowest),
        locks_max: random.random_range(1..=6),
        timeouts: random.random_bool(0.5),
        values: random.random_bool(0.6),
        paths: random.random_bool(0.4),
        cancels: random.random_bool(0.6),
        notices: random.random_bool(0.6),
        bursts: random.random_bool(0.3),
        stubborn: random.random_bool(0.5),
        owners: if random.random_ratio(1, 3) { random.random_range(1..=2) } else { 0 },
        hints: random.random_ratio(1, 4),
        priorities: random.random_ratio(1, 3),
    }
}

impl Options {
    pub(crate) fn new(random: &mut StdRng) -> Options {
        let slowest = *[MS, 10 * MS, 60 * MS].choose(random).expect("not empty");
        let tiny = random.random_ratio(1, 3);
        let manners = Manners {
            latency: (MS / 10, slowest),
            room: if tiny { random.random_range(60..2_000) } else { 200_000 },
            piece: if random.random_bool(0.4) { random.random_range(1..100) } else { 4_096 },
        };
        let window = match random.random_range(0..4) {
            0 => (random.random_range(1..6), 256 * 1024),
            1 => (1_024, random.random_range(300..2_000)),
            _ => (1_024, 256 * 1024),
        };
        Options {
            clients: random.random_range(2..=5),
            resources: random.random_range(1..=4),
            ttl_ms: *[1_000, 1_500, 3_000].choose(random).expect("not empty"),
            safety: random.random_range(4..=14) * SECOND,
            manners,
            reconnect_after: (MS, *[20 * MS, 300 * MS].choose(random).expect("not empty")),
            ppm_max: if random.random_bool(0.7) { 10_000 } else { 0 },
            window,
            unread: None,
            locks_a_session: if random.random_ratio(1, 4) { random.random_range(2..8) } else { 100_000 },
            waiting_a_session: if random.random_ratio(1, 4) { random.random_range(1..4) } else { 10_000 },
            waiting_a_resource: if random.random_ratio(1, 4) { random.random_range(1..4) } else { 10_000 },
            lock_delay_ms: if random.random_ratio(1, 5) { random.random_range(100..2_000) } else { 0 },
            deadlock_wait_ms: *[0, 10, 50, 300, 300, 1_000, 1_000, 2_000].choose(random).expect("not empty"),
            conversion_deadlock: match random.random_ratio(1, 4) {
                true => ConversionDeadlock::Timed,
                false => ConversionDeadlock::Immediate,
            },
            search_step: *[0, MS / 10, 3 * MS, 30 * MS].choose(random).expect("not empty"),
            operator: random.random_ratio(1, 4),
            misfortune: misfortune(random),
            taste: taste(random),
            keeping: None,
            ties: Ties::default(),
        }
    }

    /// What is drawn by numbers of its own, so that worlds without it are as they were before there was any.
    pub(crate) fn draw_apart(&mut self, seed: u64, plant: Plant) {
        self.keeping = Keeping::draw(seed, plant.journal());
        self.ties = Ties::draw(seed);
        let mut random = StdRng::seed_from_u64(seed ^ 0x756E_7265_6164_5F5F);
        if random.random_ratio(1, 6) {
            // Little fits into a stream, and what does not is soon too much.
            self.manners.room = random.random_range(60..300);
            let soft = random.random_range(20..200);
            let hard = soft + *[300, 2_000, 1 << 20].choose(&mut random).expect("not empty");
            self.unread = Some((soft, hard));
        }
    }

    /// The policy of the lockspace.
    pub(crate) fn policy(&self) -> Policy {
        Policy {
            lock_delay_ms: self.lock_delay_ms,
            deadlock_wait_ms: self.deadlock_wait_ms,
            conversion_deadlock: self.conversion_deadlock,
            ..Policy::default()
        }
    }
}
