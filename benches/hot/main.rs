//! The hot path, room by room, on one thread and without sockets: what a request costs before the kernel has its share.
//!
//!     cargo bench --bench hot                      nanoseconds, medians of interleaved rounds
//!     cargo bench --bench hot -- turn              only what has that in its name
//!     cargo bench --bench hot -- --counts          instructions, by callgrind; docs/performance.md has the table
//!     cargo bench --bench hot -- --once NAME N     N times and nothing else, for a profiler
//!
//! Instructions do not depend on what else the machine does. Each deed is done N times and 3 N times, and the
//! difference is divided, so that what comes before costs nothing. Nothing here is a test, and no figure is a limit.

mod codec;
mod engine;
mod table;
mod turn;

use std::{process::Command, time::Instant};

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Something that can be done any number of times.
type Deed = Box<dyn FnMut()>;

/// What is measured: its name, how often it happens in one go, and what comes before.
struct Row {
    name: &'static str,
    /// What one go is counted as.
    counts: u64,
    begin: fn() -> Deed,
}

const ROUNDS: usize = 15;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let rows: Vec<&Row> =
        [engine::ROWS, codec::ROWS, table::ROWS, turn::ROWS].into_iter().flatten().collect();
    match *arguments.as_slice() {
        ["--once", name, times] => once(&rows, name, times.parse().expect("a number")),
        ["--counts"] => count(&rows, ""),
        ["--counts", part] => count(&rows, part),
        [] => time(&rows, ""),
        ["--test"] => rows.iter().for_each(|row| (row.begin)()()),
        [part] => time(&rows, part),
        _ => panic!("see the first lines of benches/hot/main.rs"),
    }
}

fn once(rows: &[&Row], name: &str, times: u64) {
    let row = rows.iter().find(|row| row.name == name).expect("a row has this name");
    let mut deed = (row.begin)();
    (0..times).for_each(|_| deed());
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// Rows take turns; each round of a row takes some milliseconds.
fn time(rows: &[&Row], part: &str) {
    let rows: Vec<&Row> = rows.iter().copied().filter(|row| row.name.contains(part)).collect();
    let mut deeds: Vec<(Deed, u64, Vec<f64>)> = rows.iter().map(|row| warm((row.begin)())).collect();
    for _ in 0..ROUNDS {
        for (deed, times, rounds) in &mut deeds {
            let began = now();
            (0..*times).for_each(|_| deed());
            rounds.push(began.elapsed().as_secs_f64() * 1e9 / *times as f64);
        }
    }
    for (row, (_, _, mut rounds)) in rows.into_iter().zip(deeds) {
        rounds.sort_by(f64::total_cmp);
        let [first, median, last] = [rounds[1], rounds[ROUNDS / 2], rounds[ROUNDS - 2]]
            .map(|nanoseconds| nanoseconds / row.counts as f64);
        println!("{:<44}{median:>9.1} ns   ({first:.1} to {last:.1})", row.name);
    }
}

/// Does it until all memory it needs has been touched; then, how often it goes into a round.
fn warm(mut deed: Deed) -> (Deed, u64, Vec<f64>) {
    (0..5_000).for_each(|_| deed());
    let mut times = 16_u64;
    loop {
        let began = now();
        (0..times).for_each(|_| deed());
        if began.elapsed().as_millis() >= 4 {
            return (deed, times, Vec::new());
        }
        times *= 2;
    }
}

fn count(rows: &[&Row], part: &str) {
    for row in rows.iter().filter(|row| row.name.contains(part)) {
        let (few, many) = (instructions(row.name, 1_000), instructions(row.name, 3_000));
        println!("{:<44}{:>9.1} instructions", row.name, (many - few) / 2_000.0 / row.counts as f64);
    }
}

/// What callgrind counts when this program does it so many times.
fn instructions(name: &str, times: u64) -> f64 {
    let this = std::env::current_exe().expect("a program knows its file");
    let out = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(this)
        .args(["--once", name, &times.to_string()])
        .output()
        .expect("valgrind is installed");
    let told = String::from_utf8_lossy(&out.stderr);
    let line = told.lines().find_map(|line| line.split("Collected : ").nth(1));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or_else(|| panic!("callgrind says: {told}"))
}
