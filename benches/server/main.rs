//! Uncontended pairs over loopback: enqd against a do-nothing echo and against Redis, interleaved in one run.
//!
//! `cargo bench --bench server -- [--redis 127.0.0.1:6379] [--rounds N] [--seconds S] [--only 64x64]`. A pair is: take one lock, get
//! the answer, release it, get the answer. With a depth of d, d requests travel in one write and d answers are read
//! before the next d. The servers are processes of their own; their processor time is read from `/proc`. Only ratios
//! of one run mean anything: the lines are medians of interleaved rounds.
//!
//! `--idle N [--ttl SECONDS] [--times T]` measures N connections instead that only renew their leases, T times a round.

mod driver;
mod floor;
mod idle;

use driver::{Driver, Enq, Floor, Redis};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const SHAPES: [(usize, usize); 6] = [(1, 1), (16, 1), (16, 16), (64, 1), (64, 16), (64, 64)];

/// What is measured: a server and how to talk to it.
struct Target {
    name: &'static str,
    address: String,
    pid: Option<u32>,
    child: Option<Child>,
    driver: fn() -> Box<dyn Driver>,
}

/// One measurement.
#[derive(Clone, Copy)]
struct Sample {
    pairs_a_second: f64,
    cpu_us_a_pair: f64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    if arguments.iter().any(|argument| argument == "--echo") {
        return floor::serve();
    }
    let idle = option("--idle").map(|text| text.parse().expect("a number of connections"));
    if let Some(connections) = idle {
        idle::with_room_for(connections);
    }
    let rounds = option("--rounds").and_then(|text| text.parse().ok()).unwrap_or(7);
    let seconds = option("--seconds").and_then(|text| text.parse().ok()).unwrap_or(1.0);
    let mut targets = vec![floor(), enqd()];
    if let Some(address) = option("--redis") {
        let pid = option("--redis-pid").and_then(|text| text.parse().ok());
        let driver = || Box::new(Redis) as Box<dyn Driver>;
        targets.push(Target { name: "redis", address: address.clone(), pid, child: None, driver });
    }
    if let Some(connections) = idle {
        let ttl =
            option("--ttl").map_or(driver::TTL, |text| Duration::from_secs(text.parse().expect("seconds")));
        let times = option("--times").map_or(2, |text| text.parse().expect("a number"));
        idle::compare(&targets, idle::Quiet { connections, ttl, times }, rounds);
    } else {
        pairs(&targets, option("--only"), rounds, Duration::from_secs_f64(seconds));
    }
    for target in &mut targets {
        if let Some(child) = &mut target.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Uncontended pairs, shape by shape.
fn pairs(targets: &[Target], only: Option<&String>, rounds: usize, time: Duration) {
    println!("{:>5} x {:<5} {:<6} {:>12} {:>14}", "conns", "depth", "server", "pairs/s", "cpu us/pair");
    let shapes = SHAPES.into_iter().filter(|(c, d)| only.is_none_or(|only| *only == format!("{c}x{d}")));
    for (connections, depth) in shapes {
        let mut samples = vec![Vec::new(); targets.len()];
        for _ in 0..rounds {
            for (target, samples) in targets.iter().zip(&mut samples) {
                samples.push(measure(target, connections, depth, time));
            }
        }
        let floor = median(&samples[0]);
        for (target, samples) in targets.iter().zip(&samples) {
            let Sample { pairs_a_second, cpu_us_a_pair } = median(samples);
            println!(
                "{connections:>5} x {depth:<5} {:<6} {pairs_a_second:>12.0} {cpu_us_a_pair:>14.2}   \
                 throughput {:>5.2} x floor, cpu {:>5.2} x floor ({:+.2} us)",
                target.name,
                pairs_a_second / floor.pairs_a_second,
                cpu_us_a_pair / floor.cpu_us_a_pair,
                cpu_us_a_pair - floor.cpu_us_a_pair,
            );
        }
    }
}

fn floor() -> Target {
    let itself = std::env::current_exe().expect("a program knows where it is");
    let driver = || Box::new(Floor::default()) as Box<dyn Driver>;
    start("floor", Command::new(itself).arg("--echo"), driver)
}

fn enqd() -> Target {
    let state = std::env::temp_dir().join(format!("enq-bench-{}", std::process::id()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_enqd"));
    command.args(["--listen", "127.0.0.1:0", "--state-dir"]).arg(state);
    start("enqd", &mut command, || Box::new(Enq::default()) as Box<dyn Driver>)
}

/// Starts a server that says `listening on ADDR` first.
fn start(name: &'static str, command: &mut Command, driver: fn() -> Box<dyn Driver>) -> Target {
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the server program starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("it was asked for");
    BufReader::new(stdout).read_line(&mut line).expect("the server says where it listens");
    let address = line.trim().strip_prefix("listening on ").expect("its first line says so").to_owned();
    Target { name, address, pid: Some(child.id()), child: Some(child), driver }
}

fn measure(target: &Target, connections: usize, depth: usize, time: Duration) -> Sample {
    let before = target.pid.map_or(0.0, cpu_seconds);
    let (pairs, elapsed) = driver::load(&target.address, target.driver, connections, depth, time);
    let cpu = target.pid.map_or(f64::NAN, |pid| cpu_seconds(pid) - before);
    Sample { pairs_a_second: pairs as f64 / elapsed.as_secs_f64(), cpu_us_a_pair: cpu * 1e6 / pairs as f64 }
}

/// User and system time of a process so far, in seconds.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).ok();
    let whole_process = stat.and_then(|_| {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        let nanoseconds = tasks.filter_map(|task| {
            let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Some(nanoseconds.sum::<u64>() as f64 / 1e9)
    });
    whole_process.unwrap_or(f64::NAN)
}

fn median(samples: &[Sample]) -> Sample {
    let middle = |value: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Sample {
        pairs_a_second: middle(|sample| sample.pairs_a_second),
        cpu_us_a_pair: middle(|sample| sample.cpu_us_a_pair),
    }
}
