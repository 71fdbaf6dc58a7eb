//! One turn of one server: so many connections drive it for so long, and what that was is counted.
//!
//! All connections are there, and hold what they work on, before the clock and the processor times are read; both are read
//! again when the last answer has come, and only then are the connections closed. The next turn finds nothing of this one.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use super::{
    error::LoadError,
    line::{Line, Orders, Pace},
    processor,
    server::Server,
    tally::{Order, Tally},
    words::{Root, TTL},
    workload::{Names, Workload},
    zipf::{Chance, Draw},
};
use crate::client::{Moment, now};

/// How much longer than it should a turn may take, before the server is taken for dead.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connections and requests in flight on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Connections.
    pub connections: u32,
    /// Requests in flight a connection.
    pub depth: u32,
}

/// Connections at most: those of one address that a machine has ports for.
const CONNECTIONS_MAX: u32 = 25_000;
/// Requests in flight a connection at most; a server may allow fewer.
const DEPTH_MAX: u32 = 1_024;

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Point, String> {
        let wrong = || {
            format!("a point is connections x depth, such as 16x4, up to {CONNECTIONS_MAX} and {DEPTH_MAX}")
        };
        let (connections, depth) = text.split_once('x').ok_or_else(wrong)?;
        let number = |text: &str, most| {
            text.parse().ok().filter(|number| (1..=most).contains(number)).ok_or_else(wrong)
        };
        Ok(Point { connections: number(connections, CONNECTIONS_MAX)?, depth: number(depth, DEPTH_MAX)? })
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}x{}", self.connections, self.depth))
    }
}

/// What one turn is.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// Connections and depth.
    pub point: Point,
    /// What is asked.
    pub workload: &'a Workload,
    /// Pairs a second; none for as many as there can be.
    pub rate: Option<f64>,
    /// For how long.
    pub time: Duration,
    /// Threads of the generator.
    pub threads: u32,
    /// What all names begin with.
    pub root: Root,
    /// Where chance starts: the same for all servers that take turns.
    pub seed: u64,
}

/// What one turn was.
#[derive(Debug)]
pub struct Turn {
    /// Pairs that were done.
    pub pairs: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// What the server's process has spent on it, if its process is known.
    pub processor: Option<Duration>,
    /// What this process has spent on it.
    pub generator: Option<Duration>,
    /// How long each grant took, in nanoseconds: at a rate from when it should have been asked for.
    pub latencies: Histogram<u64>,
    /// The order of the hand-offs, if it was one and the server tells.
    pub order: Option<Order>,
}

/// Two words of a thread to the one that conducts.
enum Report {
    Ready,
    Done(Box<Tally>),
}

impl Turn {
    /// Drives a server.
    ///
    /// # Errors
    /// The first that anything goes wrong.
    pub fn drive(server: &Server, plan: &Plan<'_>) -> Result<Turn, LoadError> {
        let silence = plan.rate.map_or(0.0, |rate| f64::from(plan.point.connections) / rate);
        if silence > TTL.as_secs_f64() / 2.0 {
            let why = "too few pairs for so many connections: their leases would end in between";
            return Err(LoadError::Impossible(String::from(why)));
        }
        server.before(plan.root, plan.workload)?;
        let turn = thread::scope(|scope| {
            let (report, reports) = mpsc::channel();
            let mut conducted = Vec::new();
            for at in 0..plan.threads.min(plan.point.connections) {
                let (go, goes) = mpsc::channel();
                let report = report.clone();
                scope.spawn(move || {
                    if let Err(error) = play(server, plan, at, &report, &goes) {
                        // The one that conducts may have left because of another error.
                        let _ = report.send(Err(error));
                    }
                });
                conducted.push(go);
            }
            drop(report);
            conduct(server, &conducted, &reports)
        });
        server.after(plan.root, plan.workload)?;
        turn
    }

    /// Pairs a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.pairs as f64 / self.elapsed.as_secs_f64()
    }

    /// Microseconds of the server a pair.
    #[must_use]
    pub fn processor_us(&self) -> Option<f64> {
        self.processor.map(|spent| spent.as_secs_f64() * 1e6 / self.pairs as f64)
    }

    /// How much of one core the generator has taken.
    #[must_use]
    pub fn generator_load(&self) -> Option<f64> {
        self.generator.map(|spent| spent.as_secs_f64() / self.elapsed.as_secs_f64())
    }

    /// A percentile of the latencies, in microseconds; of 1 the longest.
    #[must_use]
    pub fn latency_us(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1_000.0
    }
}

/// Waits until all threads are ready, starts them at one moment, and reads the clocks before and after.
fn conduct(
    server: &Server,
    threads: &[mpsc::Sender<Moment>],
    reports: &mpsc::Receiver<Result<Report, LoadError>>,
) -> Result<Turn, LoadError> {
    let next = || match reports.recv() {
        Ok(report) => report,
        Err(_) => Err(LoadError::Impossible(String::from("a thread of the generator has gone"))),
    };
    for _ in threads {
        next()?;
    }
    let spent = || (server.pid.and_then(processor::spent), processor::spent(std::process::id()));
    let (server_before, own_before) = spent();
    let start = now();
    // A thread that has gone has said why.
    let go = || {
        for thread in threads {
            let _ = thread.send(start);
        }
    };
    go();
    let mut tally = Tally::new();
    for _ in threads {
        if let Report::Done(part) = next()? {
            tally.join(*part);
        }
    }
    let (server_after, own_after) = spent();
    go();
    let difference = |after: Option<Duration>, before: Option<Duration>| Some(after?.saturating_sub(before?));
    if tally.pairs == 0 {
        return Err(LoadError::Impossible(format!("not one pair of {} ended in a turn", server.name)));
    }
    Ok(Turn {
        pairs: tally.pairs,
        elapsed: tally.last.since(start),
        processor: difference(server_after, server_before),
        generator: difference(own_after, own_before),
        latencies: tally.latencies,
        order: (!tally.handed.is_empty()).then(|| Order::of(tally.handed)),
    })
}

/// One thread: its part of the connections, on a runtime of its own.
fn play(
    server: &Server,
    plan: &Plan<'_>,
    at: u32,
    report: &mpsc::Sender<Result<Report, LoadError>>,
    goes: &mpsc::Receiver<Moment>,
) -> Result<(), LoadError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(LoadError::system("a runtime"))?;
    let Plan { point, .. } = *plan;
    let mut orders: Vec<Orders> = (at..point.connections)
        .step_by(step(plan.threads))
        .map(|connection| first_orders(plan, connection))
        .collect();
    let mut lines = runtime.block_on(in_time(server, Duration::ZERO, open(server, plan, at, &mut orders)))?;
    let _ = report.send(Ok(Report::Ready));
    // Whoever conducts has left when there is no word from him: another thread has failed.
    let Ok(start) = goes.recv() else { return Ok(()) };
    for (orders, connection) in orders.iter_mut().zip((at..).step_by(step(plan.threads))) {
        orders.until = start.plus(plan.time);
        orders.pace = pace(plan, connection, start);
    }
    let tally = Arc::new(Mutex::new(Tally::new()));
    let (run, counted) = (run(lines, orders, &tally), Arc::clone(&tally));
    lines = runtime.block_on(in_time(server, plan.time, run))?;
    let counted = std::mem::replace(&mut *counted.lock(), Tally::new());
    let _ = report.send(Ok(Report::Done(Box::new(counted))));
    if goes.recv().is_ok() {
        runtime.block_on(in_time(server, Duration::ZERO, close(lines)))?;
    }
    Ok(())
}

fn step(threads: u32) -> usize {
    usize::try_from(threads).unwrap_or(1).max(1)
}

/// Everything ends, or the server is said to be silent.
async fn in_time<T>(
    server: &Server,
    time: Duration,
    what: impl Future<Output = Result<T, LoadError>>,
) -> Result<T, LoadError> {
    let after = time + PATIENCE;
    let silent = |_| LoadError::Silent { server: server.name.into(), after };
    tokio::time::timeout(after, what).await.map_err(silent)?
}

/// What a connection does, but for its time.
fn first_orders(plan: &Plan<'_>, connection: u32) -> Orders {
    let Plan { workload, point, seed, .. } = plan;
    let weights = workload.modes.weights();
    let name_draw = match workload.names {
        Names::Own => None,
        Names::Shared { count, exponent } => Some(Draw::zipf(count, exponent)),
    };
    Orders {
        pace: Pace::Full,
        until: Moment::default(),
        modes: weights.iter().map(|(mode, _)| *mode).collect(),
        mode_draw: (weights.len() > 1)
            .then(|| Draw::weighted(weights.iter().map(|(_, weight)| f64::from(*weight)))),
        name_draw,
        first_name: connection * point.depth,
        is_handoff: workload.is_handoff(),
        chance: Chance::from_seed(seed.wrapping_mul(1 << 32).wrapping_add(u64::from(connection))),
    }
}

/// The connections take turns: at a rate, their moments are spread evenly.
fn pace(plan: &Plan<'_>, connection: u32, start: Moment) -> Pace {
    let Some(rate) = plan.rate else { return Pace::Full };
    let every = f64::from(plan.point.connections) / rate;
    let first = every * f64::from(connection) / f64::from(plan.point.connections);
    Pace::At { first: start.plus(Duration::from_secs_f64(first)), every: every * 1e9 }
}

async fn open(
    server: &Server,
    plan: &Plan<'_>,
    at: u32,
    orders: &mut [Orders],
) -> Result<Vec<Line>, LoadError> {
    let Plan { point, workload, .. } = *plan;
    let mut lines = Vec::new();
    for (orders, connection) in orders.iter_mut().zip((at..).step_by(step(plan.threads))) {
        let words = server.words(plan.root, workload, connection);
        let mut line = Line::open(server.name, &server.address, words, point.depth).await?;
        let flying = point.depth * workload.frames_a_step();
        if let Some(window) = line.window().filter(|window| *window < flying) {
            let why = format!("{flying} requests in flight a connection; the server allows {window}");
            return Err(LoadError::Impossible(why));
        }
        line.prepare(orders).await?;
        lines.push(line);
    }
    Ok(lines)
}

async fn run(
    lines: Vec<Line>,
    orders: Vec<Orders>,
    tally: &Arc<Mutex<Tally>>,
) -> Result<Vec<Line>, LoadError> {
    let mut tasks = tokio::task::JoinSet::new();
    for (mut line, orders) in lines.into_iter().zip(orders) {
        let tally = Arc::clone(tally);
        tasks.spawn(async move { line.run(orders, &tally).await.map(|()| line) });
    }
    let mut lines = Vec::with_capacity(tasks.len());
    while let Some(line) = tasks.join_next().await {
        let gone = |_| LoadError::Impossible(String::from("a connection's task has gone"));
        lines.push(line.map_err(gone)??);
    }
    Ok(lines)
}

async fn close(lines: Vec<Line>) -> Result<(), LoadError> {
    for line in lines {
        line.close().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_two_numbers() {
        assert_eq!("16x4".parse(), Ok(Point { connections: 16, depth: 4 }));
        assert_eq!("16x4".parse::<Point>().map(|point| point.to_string()), Ok("16x4".into()));
        for text in ["", "16", "x", "0x1", "1x0", "1x1025", "99999x1", "1x1x1", "1 x 1"] {
            assert!(text.parse::<Point>().is_err(), "{text}");
        }
    }
}
