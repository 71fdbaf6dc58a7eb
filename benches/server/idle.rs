//! The quiet load: many connections with a session each, of which nothing is heard but that they are still there.
//!
//! Each says so every third of its lease, all evenly spread. What is counted is the server's processor time from the
//! first of these messages to the last answer, not what it costs to connect: timers that run for nobody's message are in
//! it.

use super::{Target, cpu_seconds, driver::*};
use bytes::BytesMut;
use std::{os::unix::process::CommandExt as _, process::Command, time::Duration};
use tokio::net::TcpStream;

/// What is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Quiet {
    pub(crate) connections: usize,
    pub(crate) ttl: Duration,
    /// How often each connection says that it is there, in one round.
    pub(crate) times: u32,
}

/// Files that a process has open besides its connections.
const OTHER_FILES: usize = 100;

/// Set in a process that may open as many files as it has connections, as may the servers that it starts.
const MANY_FILES: &str = "ENQ_BENCH_MANY_FILES";

/// Starts this program again with room for so many connections, unless that was done.
pub(crate) fn with_room_for(connections: usize) {
    if std::env::var_os(MANY_FILES).is_some() {
        return;
    }
    let itself = std::env::current_exe().expect("a program knows where it is");
    let line = format!("ulimit -n {} || exit; exec \"$0\" \"$@\"", connections + OTHER_FILES);
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]).arg(itself).args(std::env::args_os().skip(1)).env(MANY_FILES, "1");
    panic!("there is no shell: {}", shell.exec());
}

/// Takes turns with the targets; prints medians.
pub(crate) fn compare(targets: &[Target], quiet: Quiet, rounds: usize) {
    let mut samples = vec![Vec::new(); targets.len()];
    for _ in 0..rounds {
        for (target, samples) in targets.iter().zip(&mut samples) {
            samples.push(measure(target, quiet));
        }
    }
    let medians: Vec<f64> = samples
        .iter_mut()
        .map(|samples| {
            samples.sort_by(f64::total_cmp);
            samples[samples.len() / 2]
        })
        .collect();
    let Quiet { connections, ttl, times } = quiet;
    println!("{connections} connections, a lease of {ttl:?}, {times} messages each a round, {rounds} rounds");
    for ((target, median), samples) in targets.iter().zip(&medians).zip(&samples) {
        println!(
            "{:<6} {median:>8.2} us of the server's processor a message ({:.2} to {:.2}), {:>5.2} x floor",
            target.name,
            samples[0],
            samples[samples.len() - 1],
            median / medians[0],
        );
    }
}

/// Connects, is quiet, and leaves; microseconds of the server a message.
fn measure(target: &Target, quiet: Quiet) -> f64 {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let cpu = || target.pid.map_or(f64::NAN, cpu_seconds);
    let spent = runtime.block_on(async {
        let mut lines = Vec::with_capacity(quiet.connections);
        for _ in 0..quiet.connections {
            lines.push(Line::open(target, quiet.ttl).await);
        }
        let (before, start) = (cpu(), now());
        let every = quiet.ttl / 3;
        let mut tasks = Vec::with_capacity(lines.len());
        for (at, mut line) in lines.into_iter().enumerate() {
            let first = start + every.mul_f64(at as f64 / quiet.connections as f64);
            tasks.push(tokio::spawn(async move {
                for turn in 0..quiet.times {
                    tokio::time::sleep_until((first + every * turn).into()).await;
                    line.renew().await;
                }
                line
            }));
        }
        let mut open = Vec::with_capacity(tasks.len());
        for task in tasks {
            open.push(task.await.expect("a connection's task ends by itself"));
        }
        // The connections are closed after this.
        cpu() - before
    });
    spent * 1e6 / (quiet.connections as f64 * f64::from(quiet.times))
}

/// One connection.
struct Line {
    stream: TcpStream,
    driver: Box<dyn Driver>,
    input: BytesMut,
    out: BytesMut,
}

impl Line {
    async fn open(target: &Target, ttl: Duration) -> Line {
        let stream = TcpStream::connect(&target.address).await.expect("the server is there");
        stream.set_nodelay(true).expect("a socket takes options");
        let driver = (target.driver)();
        let mut line = Line { stream, driver, input: BytesMut::new(), out: BytesMut::new() };
        let expected = line.driver.begin(ttl, &mut line.out);
        line.exchange(expected).await;
        line
    }

    async fn renew(&mut self) {
        self.driver.renew(&mut self.out);
        self.exchange(1).await;
    }

    async fn exchange(&mut self, expected: usize) {
        let Line { stream, driver, input, out } = self;
        exchange(stream, &mut **driver, input, out, expected).await;
    }
}
