//! A great many locks, many of which wait: how fast is a deadlock broken, and what do bystanders notice of the search, or
//! of somebody who lists every lock?
//!
//! `cargo bench --bench search -- [--locks N] [--waiting N] [--cycles N] [--rounds N] [--seconds S] [--load L]`. The house, the
//! table, the conversations and the search are the server's own, in this process and without sockets. A bystander takes and
//! releases locks of its own, one after the other, at a share L of the rate it reaches when nothing holds it back (0 for that
//! rate itself); a latency is counted from the moment at which the pair should have begun. Rounds without anything, with
//! searches and cycles, and with a listing take turns, and what is told are medians of their figures. Nothing here is a test,
//! and no figure is a limit.

mod line;

use enq::{
    engine::{LISTED_A_STEP, LOOKED_AT_A_STEP, Limits, deadlock::Due},
    log::Volatile,
    server::{Clock, House, HouseRules, Pace, Patience, deadlock},
    table::{Setting, Table},
};
use enq_protocol::vocabulary::LockFilter;
use line::Line;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MS: u64 = 1_000_000;

/// Locks of one session, and requests of one that wait.
const A_SESSION: u64 = 5_000;

/// Requests that wait for one holder.
const A_QUEUE: u64 = 10;

/// Locks of a page of a listing.
const PAGE: u32 = 10_000;

/// What is asked for.
struct Asked {
    locks: u64,
    waiting: u64,
    cycles: u64,
    rounds: u64,
    time: Duration,
    load: f64,
}

/// What happens beside the bystander.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    /// A core that does something else: what that costs is the machine's, not the table's.
    Busy,
    Search,
    Listing,
    /// A listing that never rests, which no connection of the server's can do.
    Unpaced,
}

impl Beside {
    const ALL: [Beside; 5] =
        [Beside::Nothing, Beside::Busy, Beside::Search, Beside::Listing, Beside::Unpaced];
}

/// What a round shows.
#[derive(Default)]
struct Round {
    pairs_a_second: f64,
    p99: u64,
    /// From the last lock of each cycle until its victim was told.
    told: Vec<u64>,
    /// How long a search took, or a page.
    longest: u64,
    /// Pages of a listing.
    pages: u64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, default: f64| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)).map_or(default, |text| text.parse().expect("a number"))
    };
    let whole = |name: &str, default: f64| Duration::from_secs_f64(option(name, default)).as_secs();
    let asked = Asked {
        locks: whole("--locks", 1e6),
        waiting: whole("--waiting", 1e5),
        cycles: whole("--cycles", 1e3),
        rounds: whole("--rounds", 7.0),
        time: Duration::from_secs_f64(option("--seconds", 5.0)),
        load: option("--load", 0.5),
    };
    let (house, clock) = (Arc::new(house()), Clock::start(enq::engine::Instant::START));
    let crowd = fill(&house, &clock, &asked);
    let counted = house.log().table().statistics();
    println!("{} locks, of which {} wait", counted.locks, counted.waiting);
    let mut bystander = Line::open(&house, clock.now());
    let free = bystand(&mut bystander, &clock, asked.time, None);
    let interval = (asked.load > 0.0)
        .then(|| nanoseconds(Duration::from_secs_f64(1.0 / (free.pairs_a_second * asked.load))));
    println!("a bystander with nothing beside it: {:.0} pairs/s; load {}", free.pairs_a_second, asked.load);
    let mut rounds: [Vec<Round>; 5] = Default::default();
    for _ in 0..asked.rounds.max(1) {
        for (of, beside) in rounds.iter_mut().zip(Beside::ALL) {
            of.push(round(&house, &clock, &asked, (&mut bystander, interval), beside));
        }
    }
    report(&rounds);
    drop(crowd);
}

fn house() -> House {
    let setting = Setting {
        epoch: 1,
        limits: Limits {
            locks_a_session: 1_000_000,
            waiting_a_session: 1_000_000,
            waiting_a_resource: 1_000_000,
            ..Limits::default()
        },
        window_requests: 1_024,
        window_bytes: 256 * 1024,
        route_key: [7; 16],
        hash_seed: 7,
        recovering_until: None,
    };
    let rules = HouseRules {
        patience: Patience::default(),
        ttl_ms_min: 1_000,
        ttl_ms_max: u32::MAX,
        unsafe_settings: Vec::new(),
        draw: Box::new(|| Some([7; 16])),
    };
    House::new(Volatile::new(Table::new(&setting)), rules)
}

/// Locks that are held, and requests that wait for some of them; nobody of these is in a deadlock.
fn fill(house: &Arc<House>, clock: &Clock, asked: &Asked) -> Vec<Line> {
    let held = asked.locks - asked.waiting.min(asked.locks);
    let mut lines = Vec::new();
    for (count, what) in [(held, 1), (asked.waiting, A_QUEUE)] {
        for number in 0..count {
            if number % A_SESSION == 0 {
                lines.push(Line::open(house, clock.now()));
            }
            let line = lines.last_mut().expect("one was pushed");
            line.enq(clock.now(), &format!("bench/crowd/{:08}", number / what), 0);
        }
    }
    lines
}

/// A round: the bystander, and what is beside it.
fn round(
    house: &Arc<House>,
    clock: &Clock,
    asked: &Asked,
    (bystander, interval): (&mut Line, Option<u64>),
    beside: Beside,
) -> Round {
    let stop = AtomicBool::new(false);
    thread::scope(|threads| {
        let other = threads.spawn(|| match beside {
            Beside::Nothing => Round::default(),
            Beside::Busy => {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
                Round::default()
            }
            Beside::Search => search(house, clock, &stop),
            Beside::Listing => list(house, clock, &stop, true),
            Beside::Unpaced => list(house, clock, &stop, false),
        });
        let cycles = (beside == Beside::Search).then(|| threads.spawn(|| break_cycles(house, clock, asked)));
        let mut round = bystand(bystander, clock, asked.time, interval);
        if let Some(cycles) = cycles {
            round.told = cycles.join().expect("all cycles are broken");
        }
        stop.store(true, Ordering::Relaxed);
        let other = other.join().expect("it ends when it is told to");
        (round.longest, round.pages) = (other.longest, other.pages);
        round
    })
}

/// Takes and releases locks of its own.
fn bystand(line: &mut Line, clock: &Clock, time: Duration, interval: Option<u64>) -> Round {
    let begin = clock.now().0;
    let end = begin + nanoseconds(time);
    let mut latencies: Vec<u64> = Vec::new();
    loop {
        let number = latencies.len();
        let due =
            interval.map_or_else(|| clock.now().0, |interval| begin + latencies.len() as u64 * interval);
        if due >= end {
            break;
        }
        while clock.now().0 < due {
            std::hint::spin_loop();
        }
        let handle = line.enq(clock.now(), &format!("bench/bystander/{:03}", number % 1_000), 0);
        line.deq(clock.now(), handle);
        latencies.push(clock.now().0 - due);
    }
    let took = clock.now().0 - begin;
    let pairs_a_second = latencies.len() as f64 * 1e9 / took as f64;
    Round { pairs_a_second, p99: percentile(&mut latencies, 99), ..Round::default() }
}

/// As the server does it: looks every ten milliseconds whether a search is due.
fn search(house: &Arc<House>, clock: &Clock, stop: &AtomicBool) -> Round {
    let mut longest = 0;
    while !stop.load(Ordering::Relaxed) {
        let now = clock.now();
        if house.log().table().is_search_due(now) {
            deadlock::search(house, now, Due::At(now));
            longest = longest.max(clock.now().0 - now.0);
        }
        thread::park_timeout(Duration::from_millis(10));
    }
    Round { longest, ..Round::default() }
}

/// Lists all locks, again and again, at the pace at which a connection of the server does.
fn list(house: &Arc<House>, clock: &Clock, stop: &AtomicBool, is_paced: bool) -> Round {
    let (mut longest, mut from, mut pace, mut pages) = (0, None, Pace::default(), 0);
    while !stop.load(Ordering::Relaxed) {
        let now = clock.now();
        let page = house.log().table().show_page(now, from, PAGE, &LockFilter::default());
        let then = clock.now();
        longest = longest.max(then.0 - now.0);
        pages += 1;
        from = page.next;
        pace.looked(then, Duration::from_nanos(then.0 - now.0));
        if let Some(rest) = pace.rest(then).filter(|_| is_paced) {
            thread::park_timeout(rest);
        }
    }
    Round { longest, pages, ..Round::default() }
}

/// Two sessions make cycles, each of two owners, and are told who has to go.
fn break_cycles(house: &Arc<House>, clock: &Clock, asked: &Asked) -> Vec<u64> {
    let (mut left, mut right) = (Line::open(house, clock.now()), Line::open(house, clock.now()));
    let name = |side: &str, number: u64| format!("bench/cycle/{side}/{number:06}");
    for number in 0..asked.cycles {
        left.enq(clock.now(), &name("left", number), number + 1);
        right.enq(clock.now(), &name("right", number), number + 1);
    }
    let mut closed = Vec::new();
    for number in 0..asked.cycles {
        left.enq(clock.now(), &name("right", number), number + 1);
        let handle = right.enq(clock.now(), &name("left", number), number + 1);
        closed.push((handle, clock.now().0));
    }
    let mut told = Vec::new();
    let patience = clock.now().0 + 600_000 * MS;
    while told.len() < closed.len() && clock.now().0 < patience {
        let now = clock.now();
        for handle in right.deadlocks(now) {
            let at = closed.iter().find(|(known, _)| *known == handle);
            told.extend(at.map(|(_, at)| now.0 - at));
        }
        thread::park_timeout(Duration::from_millis(1));
    }
    assert_eq!(told.len(), closed.len(), "the youngest request of each cycle is refused");
    left.leave(clock.now());
    right.leave(clock.now());
    told
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).expect("a bench lasts no hundred years")
}

fn percentile(all: &mut [u64], percent: usize) -> u64 {
    all.sort_unstable();
    all.get((all.len() * percent / 100).min(all.len().saturating_sub(1))).copied().unwrap_or(0)
}

fn report(rounds: &[Vec<Round>; 5]) {
    let ms = |nanoseconds: u64| nanoseconds as f64 / 1e6;
    let median = |of: &[Round], what: &dyn Fn(&Round) -> f64| {
        let mut all: Vec<f64> = of.iter().map(what).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let [nothing, busy, search, listing, unpaced] = rounds;
    let (rate, p99) =
        (median(nothing, &|round| round.pairs_a_second), median(nothing, &|round| ms(round.p99)));
    println!("nothing beside it: {rate:>10.0} pairs/s, p99 {p99:.4} ms");
    for (name, of) in [
        ("a busy core", busy),
        ("searches", search),
        ("a listing", listing),
        ("a listing without rests", unpaced),
    ] {
        let (with, slow) = (median(of, &|round| round.pairs_a_second), median(of, &|round| ms(round.p99)));
        let longest = of.iter().map(|round| round.longest).max().unwrap_or(0);
        println!(
            "{name} beside it: {with:>10.0} pairs/s ({:.3} of it), p99 {slow:.4} ms ({:.2} times it); the longest took {:.1} ms; {:.0} pages",
            with / rate,
            slow / p99,
            ms(longest),
            median(of, &|round| round.pages as f64)
        );
    }
    let told = |percent: usize| median(search, &|round| ms(percentile(&mut round.told.clone(), percent)));
    println!(
        "from the last lock of a cycle until its victim was told: p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms; 1000 ms of it are the deadlock wait",
        told(50),
        told(99),
        told(100)
    );
    println!(
        "a search looks at {LOOKED_AT_A_STEP} locks a hold of a shard at most, a listing at {LISTED_A_STEP}"
    );
}
