//! Every crash of a recorded run: the start succeeds, finds all that was promised and nothing that was not written, finds it
//! again the next time, and may crash itself.

use crate::{
    book::{Book, Wrong},
    disk::{
        Model, State, Told,
        crashes::{Crashes, number_of},
    },
    run::{Ended, Run},
};
use enq::log::journal::Planted;
use std::collections::HashSet;

/// How much was looked at.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    states: HashSet<u64>,
    starts: u64,
    nested: HashSet<u64>,
}

/// A start that was crashed once has one try less; the last one is not crashed.
const DEPTH: u32 = 1;

impl Counts {
    /// Looks at one state; the start from it is crashed in turn now and then.
    fn look(
        &mut self,
        book: &Book,
        state: &State,
        told: Told,
        planted: Planted,
        depth: u32,
    ) -> Result<(), String> {
        let is_new = if depth == 0 { &mut self.states } else { &mut self.nested }.insert(number_of(state));
        if !is_new {
            return Ok(());
        }
        let say = |wrong: Wrong| format!("{wrong}; files: {:?}", state.keys().collect::<Vec<_>>());
        let found = book.start(state, told, planted).map_err(say)?;
        self.starts += 1;
        let report = found.report();
        if !report.damaged_snapshots.is_empty() || report.has_damaged_slot {
            return Err(format!("a crash has left damage: {report:?}"));
        }
        // It has started: from here on what was found is promised, even if nothing survives but what was synced.
        let promised = Told { durable: found.last, epoch: found.started.epoch };
        let mut crashes = found.disk.crashes(found.disk.ops());
        let again = book.start(&crashes.least(), promised, planted).map_err(say)?;
        if again.last != found.last {
            return Err(format!("{} the first time, {} the second", found.last, again.last));
        }
        // The start itself is crashed, for each tenth state.
        if depth < DEPTH && self.states.len().is_multiple_of(10) {
            crashes = found.disk.crashes(0);
            while crashes.step() {
                for state in crashes.states(1) {
                    self.look(book, &state, told, planted, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    /// Looks at every crash from this operation on.
    pub(crate) fn look_at_all(&mut self, run: &Run, from: usize, mixtures: u64) -> Result<(), String> {
        let mut crashes: Crashes = run.disk.crashes(from);
        let mut op = from;
        while crashes.step() {
            op += 1;
            for state in crashes.states(mixtures) {
                self.look(&run.book, &state, crashes.told, run.planted, 0)
                    .map_err(|wrong| format!("crash after operation {op}: {wrong}"))?;
            }
        }
        Ok(())
    }
}

/// What is wrong after some crash.
pub(crate) fn first_wrong(planted: Planted) -> Result<Counts, String> {
    let mut counts = Counts::default();
    for seed in 1..=4 {
        let mut run = Run::new(Model::default(), planted);
        run.reseed(seed);
        match run.play() {
            Ended::Whole => {}
            Ended::NotStarted(wrong) => return Err(format!("a start in order: {wrong}")),
            Ended::Failed(failure) => return Err(format!("without a fault: {failure}")),
        }
        counts.look_at_all(&run, 0, 8)?;
    }
    Ok(counts)
}

#[test]
fn no_crash_loses_what_was_promised() {
    let counts = first_wrong(Planted::NONE).unwrap_or_else(|wrong| panic!("{wrong}"));
    println!(
        "{} crash states, {} starts, {} states after a start that crashed",
        counts.states.len(),
        counts.starts,
        counts.nested.len()
    );
    assert!(counts.states.len() >= 3_000, "{} states", counts.states.len());
    assert!(counts.nested.len() >= 3_000, "{} nested states", counts.nested.len());
}
