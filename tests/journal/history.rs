//! Random histories of appending, notes, snapshots, restarts and crashes, against a list.
//!
//! `ENQ_JOURNAL_HISTORIES` says how many; a seed that fails is printed.

use crate::{disk::Model, run::Run};
use enq::log::journal::Planted;
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};

/// One history: after each crash the same book goes on, on what the crash has left.
pub(crate) fn play(seed: u64, planted: Planted) -> Result<u64, String> {
    let mut dice = SmallRng::seed_from_u64(seed);
    let mut run = Run::new(Model::default(), planted);
    let mut crashes = 0;
    run.reseed(seed);
    run.start().map_err(|wrong| format!("seed {seed}: first start: {wrong}"))?;
    for step in 0..60 {
        let result = match dice.random_range(0..20) {
            0 => run.start().map_err(|wrong| format!("a start in order: {wrong}")),
            1 | 2 => {
                // Somewhere in what has happened lately.
                let ops = run.disk.ops();
                let at = ops - dice.random_range(0..ops.min(12));
                let before = run.disk.crashes(at);
                let states = before.states(4);
                let state = states.choose(&mut dice).expect("nothing survives, at least").clone();
                crashes += 1;
                run.crash(Model::new(state), before.told).map_err(|wrong| format!("a crash: {wrong}"))
            }
            3 => run.note().map_err(|failure| failure.to_string()),
            _ => run.turn(dice.random_range(0..70)).map_err(|failure| failure.to_string()),
        };
        result.map_err(|wrong| format!("seed {seed}, step {step}: {wrong}"))?;
    }
    Ok(crashes)
}

#[test]
fn random_histories_keep_what_was_promised() {
    let histories =
        std::env::var("ENQ_JOURNAL_HISTORIES").map_or(150, |text| text.parse().expect("a number"));
    let mut crashes = 0;
    for seed in 1..=histories {
        crashes += play(seed, Planted::NONE).unwrap_or_else(|wrong| panic!("{wrong}"));
    }
    println!("{histories} histories, {crashes} crashes");
    assert!(crashes >= histories, "they crash often enough");
}
