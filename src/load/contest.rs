//! Several contestants take turns, round after round, and the rounds are compared.
//!
//! A contestant is a server with a work: several servers with the same work, or one server with several works. Within a round
//! each has one turn, and each round begins with another of them, so that nobody is always driven first.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use hdrhistogram::Histogram;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{
    error::LoadError,
    figures::Spread,
    server::Server,
    tally::{Order, histogram},
    turn::{Plan, Point, Turn},
    words::Root,
    workload::Workload,
};

/// Files that a process has open besides its connections.
const OTHER_FILES: u64 = 100;

/// A server with a work.
#[derive(Clone, Copy, Debug)]
pub struct Contestant<'a> {
    /// The server.
    pub server: &'a Server,
    /// The work.
    pub workload: &'a Workload,
}

/// What they have in common.
#[derive(Clone, Debug)]
pub struct Contest<'a> {
    /// Connections and depth.
    pub point: Point,
    /// Who takes turns.
    pub contestants: Vec<Contestant<'a>>,
    /// Pairs a second; none for as many as there can be.
    pub rate: Option<f64>,
    /// The length of a turn.
    pub time: Duration,
    /// How many turns each has.
    pub rounds: u32,
    /// Threads of the generator.
    pub threads: u32,
    /// What all names begin with.
    pub root: Root,
}

impl Contest<'_> {
    /// Holds it; one standing for each contestant, in their order.
    ///
    /// # Errors
    /// The first that anything goes wrong, and that `stop` was set.
    pub fn hold(&self, stop: &AtomicBool) -> Result<Vec<Standing>, LoadError> {
        let mut standings: Vec<Standing> = self.contestants.iter().map(|_| Standing::default()).collect();
        let count = self.contestants.len();
        for round in 0..self.rounds {
            let first = usize::try_from(round).unwrap_or(0);
            for at in (0..count).map(|at| (first + at) % count) {
                if stop.load(Ordering::Relaxed) {
                    return Err(LoadError::Stopped);
                }
                let Contestant { server, workload } = self.contestants[at];
                let plan = Plan {
                    point: self.point,
                    workload,
                    rate: self.rate,
                    time: self.time,
                    threads: self.threads,
                    root: self.root,
                    seed: u64::from(round),
                };
                standings[at].turns.push(Turn::drive(server, &plan)?);
            }
        }
        Ok(standings)
    }
}

/// Lets this process, and the servers that it starts from then on, open as many files as they need for so many connections.
///
/// # Errors
/// The hard limit is below that.
pub fn allow_connections(connections: u32) -> Result<(), LoadError> {
    let count = u64::from(connections) + OTHER_FILES;
    let limits = || LoadError::system(format!("{count} open files"));
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|errno| limits()(errno.into()))?;
    if soft < count {
        setrlimit(Resource::RLIMIT_NOFILE, count.min(hard), hard).map_err(|errno| limits()(errno.into()))?;
    }
    if hard < count {
        return Err(LoadError::Impossible(format!("{count} open files; the hard limit is {hard}")));
    }
    Ok(())
}

/// The turns of one contestant.
#[derive(Debug, Default)]
pub struct Standing {
    /// One a round.
    pub turns: Vec<Turn>,
}

impl Standing {
    /// Pairs a second.
    #[must_use]
    pub fn rate(&self) -> Option<Spread> {
        Spread::of(self.turns.iter().map(Turn::rate))
    }

    /// Microseconds of the server a pair.
    #[must_use]
    pub fn processor_us(&self) -> Option<Spread> {
        Spread::of(self.turns.iter().filter_map(Turn::processor_us))
    }

    /// How much of one core the generator took.
    #[must_use]
    pub fn generator_load(&self) -> Option<Spread> {
        Spread::of(self.turns.iter().filter_map(Turn::generator_load))
    }

    /// A percentile of the latencies, in microseconds.
    #[must_use]
    pub fn latency_us(&self, quantile: f64) -> Option<Spread> {
        Spread::of(self.turns.iter().map(|turn| turn.latency_us(quantile)))
    }

    /// All pairs.
    #[must_use]
    pub fn pairs(&self) -> u64 {
        self.turns.iter().map(|turn| turn.pairs).sum()
    }

    /// All latencies, and how long it took to collect them.
    #[must_use]
    pub fn latencies(&self) -> (Histogram<u64>, Duration) {
        let mut all = histogram();
        self.turns.iter().for_each(|turn| all += &turn.latencies);
        (all, self.turns.iter().map(|turn| turn.elapsed).sum())
    }

    /// The order of all hand-offs.
    #[must_use]
    pub fn order(&self) -> Option<Order> {
        self.turns.iter().filter_map(|turn| turn.order).reduce(Order::and)
    }
}
