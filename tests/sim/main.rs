//! The engine against a model of the rules: random histories, every small history, the fences, and determinism.
//!
//! The model is written from `docs/locking.md` alone. A difference is a mistake in one of the three, and the test
//! prints the shortest history it finds for it. `ENQ_SIM_HISTORIES` and `ENQ_SIM_SEED` choose how many random
//! histories are played and where they begin; `ENQ_SIM_DEPTH` and `ENQ_SIM_FENCE_EVENTS` how deep the exhaustive
//! ones go.

mod choose;
mod compare;
mod corpora;
mod deadlock;
#[path = "../disk/mod.rs"]
#[expect(dead_code, reason = "the tests of the storage build all crashes where worlds draw one")]
mod disk;
mod fence;
mod history;
mod image;
mod model;
mod museum;
mod oracle;
mod scope;
mod stories;
mod translate;
mod twin;
mod words;
mod world;

use enq::engine::Planted;
use history::Marks;
use std::sync::atomic::{AtomicBool, Ordering};

/// A number from the environment.
fn number(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().expect("the variable holds a number"),
        Err(_) => otherwise,
    }
}

/// Plays histories of these seeds on two threads; the marks of all, or the report of the first that differs.
fn play_all(first: u64, count: u64) -> Result<Marks, String> {
    let planted = museum::of_environment();
    let stop = AtomicBool::new(false);
    let part = |thread: u64| -> Result<Marks, String> {
        let mut marks = Marks::default();
        for seed in (first..first + count).filter(|seed| seed % 2 == thread) {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            match history::play(seed, 1, planted) {
                Ok((more, _)) => marks.add(&more),
                Err(mut failure) => {
                    stop.store(true, Ordering::Relaxed);
                    history::shrink(&mut failure);
                    return Err(history::report(seed, &failure));
                }
            }
        }
        Ok(marks)
    };
    std::thread::scope(|threads| {
        let other = threads.spawn(|| part(1));
        let mut marks = part(0)?;
        marks.add(&other.join().expect("differences are returned, not panicked")?);
        Ok(marks)
    })
}

#[test]
fn random_histories_end_alike_in_engine_and_model() {
    let count = number("ENQ_SIM_HISTORIES", 10_000);
    match play_all(number("ENQ_SIM_SEED", 1), count) {
        Ok(marks) => {
            println!("{count} histories, {} steps, no difference", marks.steps);
            if count >= 2_000 {
                assert!(
                    marks.missing().is_empty(),
                    "never seen, so the run shows little: {:?}",
                    marks.missing()
                );
            }
        }
        Err(report) => panic!("engine and model differ\n{report}"),
    }
}

#[test]
fn one_seed_is_one_history() {
    for seed in 1..=200 {
        let said: Vec<String> = [1, 1, 0xDEAD_BEEF]
            .into_iter()
            .map(|hash_seed| match history::play(seed, hash_seed, Planted::NONE) {
                Ok((_, said)) => said,
                Err(failure) => panic!("engine and model differ\n{}", history::report(seed, &failure)),
            })
            .collect();
        assert!(!said[0].is_empty(), "seed {seed} says nothing");
        assert!(said[0] == said[1], "seed {seed} says two things");
        assert!(said[0] == said[2], "seed {seed} says another thing with another hash seed");
    }
}
