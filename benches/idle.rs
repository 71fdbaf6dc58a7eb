//! The quiet load: many connections with a session each, of which nothing is heard but that they are still there.
//!
//! `cargo bench --bench idle -- [--connections 10000] [--ttl SECONDS] [--times T] [--rounds N]`. Each says so every third of its
//! lease, all evenly spread, T times a round; the floor, which sends back the same messages, and enqd take turns. What is
//! counted is the server's processor time from the first of these messages to the last answer, not what it costs to connect:
//! timers that run for nobody's message are in it. `enq bench` measures everything else.

use bytes::BytesMut;
use enq::load::{
    Kind, Server, Spread, Work, Workload, floor, processor_spent,
    words::{Echo, Enq, Heard, Root, Words},
};
use std::{
    os::unix::process::CommandExt as _,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// What is asked for.
#[derive(Clone, Copy)]
struct Quiet {
    connections: usize,
    ttl: Duration,
    /// How often each connection says that it is there, in one round.
    times: u32,
}

/// Files that a process has open besides its connections.
const OTHER_FILES: usize = 100;

/// Set in a process that may open as many files as it has connections, as may the servers that it starts.
const MANY_FILES: &str = "ENQ_BENCH_MANY_FILES";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    if arguments.iter().any(|argument| argument == "--echo") {
        return floor::serve().expect("the floor serves");
    }
    let number = |name: &str, default: u32| option(name).map_or(default, |n| n.parse().expect("a number"));
    let connections = usize::try_from(number("--connections", 10_000)).expect("it fits");
    with_room_for(connections);
    let ttl = Duration::from_secs(number("--ttl", 15).into());
    let quiet = Quiet { connections, ttl, times: number("--times", 2) };
    let itself = std::env::current_exe().expect("a program knows where it is");
    let mut echo = Command::new(itself);
    echo.arg("--echo");
    let floor = Server::floor(echo).expect("the floor starts");
    let enqd = Server::start_enqd(Path::new(env!("CARGO_BIN_EXE_enqd")), None).expect("enqd starts");
    compare(&[floor, enqd], quiet, number("--rounds", 7));
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// Starts this program again with room for so many connections, unless that was done.
fn with_room_for(connections: usize) {
    if std::env::var_os(MANY_FILES).is_some() {
        return;
    }
    let itself = std::env::current_exe().expect("a program knows where it is");
    let line = format!("ulimit -n {} || exit; exec \"$0\" \"$@\"", connections + OTHER_FILES);
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]).arg(itself).args(std::env::args_os().skip(1)).env(MANY_FILES, "1");
    panic!("there is no shell: {}", shell.exec());
}

/// Takes turns with the servers; prints medians.
fn compare(servers: &[Server], quiet: Quiet, rounds: u32) {
    let mut samples = vec![Vec::new(); servers.len()];
    for _ in 0..rounds {
        for (server, samples) in servers.iter().zip(&mut samples) {
            samples.push(measure(server, quiet));
        }
    }
    let Quiet { connections, ttl, times } = quiet;
    println!("{connections} connections, a lease of {ttl:?}, {times} messages each a round, {rounds} rounds");
    let spreads =
        samples.into_iter().map(|samples| Spread::of(samples.into_iter()).expect("there are rounds"));
    let spreads: Vec<Spread> = spreads.collect();
    for (server, spread) in servers.iter().zip(&spreads) {
        println!(
            "{:<6} {:>8.2} us of the server's processor a message ({:.2} to {:.2}), {:>5.2} x floor",
            server.name,
            spread.median,
            spread.least,
            spread.most,
            spread.median / spreads[0].median,
        );
    }
}

/// Connects, is quiet, and leaves; microseconds of the server a message.
fn measure(server: &Server, quiet: Quiet) -> f64 {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let cpu = || server.pid.and_then(processor_spent).expect("its processor time is known");
    let spent = runtime.block_on(async {
        let mut lines = Vec::with_capacity(quiet.connections);
        for _ in 0..quiet.connections {
            lines.push(Line::open(server, quiet.ttl).await);
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
    spent.as_secs_f64() * 1e6 / (quiet.connections as f64 * f64::from(quiet.times))
}

/// One connection.
struct Line {
    stream: TcpStream,
    words: Box<dyn Words>,
    input: BytesMut,
    out: BytesMut,
}

impl Line {
    async fn open(server: &Server, ttl: Duration) -> Line {
        let stream = TcpStream::connect(&server.address).await.expect("the server is there");
        stream.set_nodelay(true).expect("a socket takes options");
        let enq = Enq::new(Root::of_run(0), &Workload::plain(Work::Pair)).with_ttl(ttl);
        let words: Box<dyn Words> = match server.kind {
            Kind::Floor => Box::new(Echo::of(enq)),
            _ => Box::new(enq),
        };
        let mut line = Line { stream, words, input: BytesMut::new(), out: BytesMut::new() };
        let answers = line.words.greet(&mut line.out).expect("it can be said");
        line.exchange(answers).await;
        line
    }

    async fn renew(&mut self) {
        self.words.renew(&mut self.out).expect("it can be said");
        self.exchange(1).await;
    }

    /// Writes what there is, and reads so many answers.
    async fn exchange(&mut self, answers: usize) {
        self.stream.write_all(&self.out).await.expect("the server reads");
        self.out.clear();
        let mut heard: Vec<Heard> = Vec::new();
        while heard.len() < answers {
            let read = self.stream.read_buf(&mut self.input).await.expect("the server answers");
            assert!(read > 0, "the server hung up");
            self.words.hear(&mut self.input, &mut heard).expect("the server speaks the protocol");
        }
    }
}
