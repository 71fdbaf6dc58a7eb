//! Whole worlds: the real engine, table, leases and conversations of the server, the real peers of the client library, and
//! everything between them simulated: time, clocks, connections, processes that stop, die and come back.
//!
//! One seed is one world. First everything may go wrong, and nothing may be wrong: the judges look on. Then everything is
//! healed, and whoever waits must be served, whoever holds must know it, and at the end the table is empty.
//!
//!     cargo test --test sim world                                 the worlds of the gate
//!     ENQ_SIM_SEEDS=20000 cargo test --release --test sim world   more of them
//!     ENQ_SIM_FIRST=5427 ENQ_SIM_SEEDS=100 cargo test --test sim world   those from there on
//!     ENQ_SIM_SEED=8127 cargo test --test sim world -- --nocapture    one, with its story
//!
//! Reading order: `options` (what is drawn), `clock`, `link`, `server`, `client`, `actor`, `register`, `run` and `drive` (the
//! events), `search`, `orphans`, `faults`, `journal`, `heal`, `judges`, `marks`.

mod actor;
pub(crate) mod bounds;
mod client;
mod clock;
pub(crate) mod dialogues;
mod drive;
mod faults;
mod heal;
mod journal;
mod judges;
mod link;
mod marks;
mod options;
mod orphans;
mod register;
mod run;
mod search;
mod server;
mod story;

use crate::museum::Plant;
use marks::Marks;
use run::World;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How a world ended.
pub(crate) struct Ended {
    pub(crate) marks: Marks,
    pub(crate) hash: u64,
    pub(crate) story: String,
    pub(crate) wrong: Option<String>,
}

/// Plays the world of a seed.
pub(crate) fn play(seed: u64, plant: Plant, keep: bool) -> Ended {
    let mut world = World::new(seed, plant, keep);
    let result = crate::history::quietly(|| catch_unwind(AssertUnwindSafe(|| world.live())));
    let wrong = match result {
        Ok(result) => result.err(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| String::from(*text)));
            Some(format!("a panic: {}", text.unwrap_or_default()))
        }
    };
    let (hash, story) = (world.story.hash(), world.story.text().to_owned());
    Ended { marks: world.marks.clone(), hash, story, wrong }
}

/// What to do to see it again.
fn report(seed: u64, wrong: &str) -> String {
    format!("world {seed}: {wrong}\nreplay: ENQ_SIM_SEED={seed} cargo test --test sim world -- --nocapture")
}

/// Plays the worlds of these seeds on two threads: what was reached, and the first that went wrong.
pub(crate) fn play_all(first: u64, count: u64, plant: Plant) -> (Marks, Option<String>) {
    let (next, stop) = (AtomicU64::new(first), AtomicBool::new(false));
    let part = || {
        let (mut marks, mut wrong) = (Marks::default(), None);
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                break;
            }
            let ended = play(seed, plant, false);
            marks.add(&ended.marks);
            if let Some(what) = ended.wrong {
                stop.store(true, Ordering::Relaxed);
                wrong = Some(report(seed, &what));
            }
        }
        (marks, wrong)
    };
    std::thread::scope(|threads| {
        let other = threads.spawn(part);
        let (mut marks, wrong) = part();
        let (more, another) = other.join().expect("what goes wrong in a world is returned");
        marks.add(&more);
        (marks, wrong.or(another))
    })
}

/// The first of these worlds that goes wrong, if one does.
pub(crate) fn first_wrong(first: u64, count: u64, plant: Plant) -> Option<String> {
    (first..first + count)
        .find_map(|seed| play(seed, plant, false).wrong.map(|wrong| format!("world {seed}: {wrong}")))
}

#[test]
fn worlds_are_safe_while_everything_fails_and_live_when_healed() {
    let plant = crate::museum::plant();
    if let Ok(seed) = std::env::var("ENQ_SIM_SEED") {
        let ended = play(seed.parse().expect("the variable holds a number"), plant, true);
        println!("{}", ended.story);
        println!("{}\nhash {:016x}", ended.marks.print(), ended.hash);
        if let Some(wrong) = ended.wrong {
            panic!("{wrong}");
        }
        return;
    }
    let count = crate::number("ENQ_SIM_SEEDS", 500);
    let (marks, wrong) = play_all(crate::number("ENQ_SIM_FIRST", 1), count, plant);
    println!("{count} worlds\n{}", marks.print());
    if let Some(wrong) = wrong {
        panic!("{wrong}");
    }
    if count >= 500 {
        assert_eq!(marks.missing(count), Vec::<String>::new(), "never seen, so the run shows little");
    }
}

#[test]
fn one_seed_is_one_world() {
    for seed in 1..=8 {
        let (one, other) = (play(seed, Plant::Nothing, false), play(seed, Plant::Nothing, false));
        assert_eq!(one.hash, other.hash, "seed {seed} is two worlds");
        assert!(one.marks.of("acts") > 0, "seed {seed}: nothing happens");
    }
}
