//! A disk that fails at every call: nothing that was promised is lost, and after a failure nothing is promised any more.

use crate::{
    book::settings,
    disk::{Fault, Model, Plan, Told},
    run::{Ended, Run},
};
use enq::log::journal::Planted;

/// A run in which one call goes wrong, and what comes after it: the process starts again on the same machine, goes on for a
/// while, and then the power fails.
fn disturb(plan: Plan, planted: Planted) -> Result<Vec<&'static str>, String> {
    let disk = Model::with(Default::default(), plan);
    let mut run = Run::new(disk.clone(), planted);
    let ended = run.play();
    let failed = disk.failed();
    disk.set_plan(Plan::default());
    let from = disk.ops();
    match (&ended, plan.at) {
        (Ended::Failed(_), _) if run.takes_more() => return Err("goes on after a failure".into()),
        (Ended::Failed(_) | Ended::NotStarted(_), Some((_, Fault::Short))) => {
            return Err(format!("half a {failed:?} was taken for a failure: {ended:?}"));
        }
        (Ended::Failed(_) | Ended::NotStarted(_), Some((_, Fault::Interrupted)))
            if matches!(failed.first(), Some(&"read" | &"write")) =>
        {
            return Err(format!("an interruption was taken for a failure: {ended:?}"));
        }
        // A snapshot that is not finished is removed when the process ends, and nobody hears how that came out.
        (Ended::Whole, Some((_, Fault::Eio))) if !matches!(failed.first(), None | Some(&"remove")) => {
            return Err(format!("an error of {failed:?} was overlooked"));
        }
        (Ended::Whole | Ended::Failed(_) | Ended::NotStarted(_), _) => {}
    }
    let told = run.told;
    // The power fails at once.
    let crashes = disk.crashes(from);
    run.book
        .start(&crashes.least(), told, planted)
        .map_err(|wrong| format!("after a loss of power, {wrong}"))?;
    // Or only the process ended.
    run.start().map_err(|wrong| format!("on the same machine, {wrong}"))?;
    for turn in 0..4 {
        run.turn(turn).map_err(|failure| format!("after a new start, {failure}"))?;
    }
    let crashes = disk.crashes(disk.ops());
    let state = crashes.least();
    run.book
        .start(&state, run.told, planted)
        .map_err(|wrong| format!("after a loss of power later, {wrong}"))?;
    Ok(failed)
}

/// What is wrong after some call went wrong, and how many calls there are.
pub(crate) fn first_wrong(planted: Planted) -> Result<usize, String> {
    let calls = calls(planted)?;
    for fault in [Fault::Eio, Fault::NoRoom, Fault::Interrupted, Fault::Short] {
        for call in 1..=calls {
            disturb(Plan { at: Some((call, fault)), full_from: None }, planted)
                .map_err(|wrong| format!("{fault:?} at call {call}: {wrong}"))?;
        }
    }
    Ok(calls)
}

fn calls(planted: Planted) -> Result<usize, String> {
    let mut run = Run::new(Model::default(), planted);
    match run.play() {
        Ended::Whole => Ok(run.disk.calls()),
        ended => Err(format!("without a fault: {ended:?}")),
    }
}

#[test]
fn no_failing_call_loses_what_was_promised() {
    let calls = first_wrong(Planted::NONE).unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("{calls} calls, each failing in four ways");
}

#[test]
fn a_disk_that_fills_up_is_told_of_before_the_reserve_is_gone() {
    let calls = calls(Planted::NONE).unwrap();
    for full_from in (1..calls).step_by(7) {
        let disk = Model::default();
        let mut run = Run::new(disk.clone(), Planted::NONE);
        disk.set_plan(Plan { at: None, full_from: Some(full_from) });
        if run.start().is_err() {
            continue;
        }
        let mut written_when_short = 0;
        let mut turn = 0;
        // Snapshots find no room, so no segment is recycled, and the reserve goes down to nothing.
        let failure = loop {
            let before = run.book.last();
            match run.turn(turn * 6) {
                Err(failure) => break failure,
                Ok(()) if run.is_short() => written_when_short += run.book.last() - before,
                Ok(()) => {}
            }
            turn += 1;
            assert!(turn < 2_000, "full from call {full_from}, and never told");
        };
        let reserve = settings(Planted::NONE).segment_bytes - 512 - 2400;
        assert!(
            written_when_short > 0,
            "call {full_from}: {reserve} bytes are kept after it is short: {failure}"
        );
        disk.set_plan(Plan::default());
        let told = Told { ..run.told };
        let state = disk.crashes(disk.ops()).least();
        run.book
            .start(&state, told, Planted::NONE)
            .unwrap_or_else(|wrong| panic!("call {full_from}: {wrong}"));
    }
}
