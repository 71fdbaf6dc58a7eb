//! The museum of planted mistakes: each is put into the code, and the checks that must find it are seen to fail.
//!
//! A check that cannot fail proves nothing. `docs/testing.md` has the catalogue, which is compared with the one here.
//! `ENQ_PLANTED=TimedOutStays cargo test --test sim` shows what a mistake looks like in every check of this file's
//! target.

use crate::{fence, history, scope, stories};
use enq::engine::{Mistake, Planted};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// One check that a change must pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// Random histories, engine beside model.
    Histories,
    /// Every small history, engine beside model.
    SmallHistories,
    /// Seqs and fences at both gates, every history of a few grants.
    Fences,
    /// `tests/scenarios`.
    Stories,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Check::Histories => "histories",
            Check::SmallHistories => "small histories",
            Check::Fences => "fences",
            Check::Stories => "stories",
        })
    }
}

impl Check {
    /// What it says of an engine with this mistake; nothing if it does not see it.
    fn finds(self, planted: Planted) -> Option<String> {
        let look = || match self {
            Check::Histories => {
                (1..=2_000).find_map(|seed| history::play(seed, 1, planted).err()).map(|found| found.wrong)
            }
            Check::SmallHistories => scope::explore(3, planted).err(),
            Check::Fences => fence::breaks(planted, 4),
            Check::Stories => stories::first_wrong(planted),
        };
        match history::quietly(|| catch_unwind(AssertUnwindSafe(look))) {
            Ok(found) => found,
            Err(_) => Some("a panic".into()),
        }
    }
}

/// The mistakes of the engine, each with the checks that must find it.
const EXHIBITS: [(Mistake, &[Check]); 10] = {
    use Check::{Fences, Histories, SmallHistories, Stories};
    [
        (Mistake::GrantToTheDead, &[Histories, Stories]),
        (Mistake::TimedOutStays, &[Histories, Stories]),
        (Mistake::ConversionForgetsItsMode, &[Histories, Stories]),
        (Mistake::ValueOutlivesItsWriter, &[Histories, Stories]),
        (Mistake::DownConversionKeepsItsFence, &[Histories, Fences, Stories]),
        (Mistake::CounterStartsOver, &[Histories, Fences]),
        (Mistake::BargesPastTheQueue, &[Histories, SmallHistories, Stories]),
        (Mistake::DownConversionWakesNobody, &[Histories, SmallHistories, Stories]),
        (Mistake::CancelDeniesTheGrant, &[Histories, SmallHistories, Stories]),
        (Mistake::LaterHoldersAreNotTold, &[Histories, Stories]),
    ]
};

/// What the environment asks to plant.
pub(crate) fn of_environment() -> Planted {
    let Ok(asked) = std::env::var("ENQ_PLANTED") else { return Planted::NONE };
    let found = Mistake::ALL.into_iter().find(|mistake| format!("{mistake:?}") == asked);
    Planted::new(found.unwrap_or_else(|| panic!("ENQ_PLANTED: there is no mistake {asked}")))
}

/// Every exhibit that this check must find, and does not.
fn missed(check: Check) -> Vec<Mistake> {
    let mut missed = Vec::new();
    for (mistake, _) in EXHIBITS.into_iter().filter(|(_, checks)| checks.contains(&check)) {
        match check.finds(Planted::new(mistake)) {
            Some(found) => println!("{mistake:?}, by {check}: {}", found.lines().next().unwrap_or_default()),
            None => missed.push(mistake),
        }
    }
    missed
}

#[test]
fn planted_mistakes_are_found_by_histories() {
    assert_eq!(missed(Check::Histories), []);
}

#[test]
fn planted_mistakes_are_found_by_small_histories() {
    assert_eq!(missed(Check::SmallHistories), []);
}

#[test]
fn planted_mistakes_are_found_by_fences() {
    assert_eq!(missed(Check::Fences), []);
}

#[test]
fn planted_mistakes_are_found_by_stories() {
    assert_eq!(missed(Check::Stories), []);
}

/// The rows of the catalogue: mistake and checks.
fn catalogue() -> Vec<(String, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/testing.md");
    let text = std::fs::read_to_string(path).expect("the document is readable");
    let museum = text.split("\n## The museum").nth(1).expect("the document has the museum");
    let museum = museum.split("\n## ").next().unwrap_or_default();
    let rows = museum.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 4, "mistake, what it does, who made it, found by: {row}");
        (cells[0].trim_matches('`').into(), cells[3].into())
    })
    .collect()
}

#[test]
fn the_catalogue_is_that_of_the_document() {
    let exhibits = EXHIBITS.iter().map(|(mistake, checks)| {
        let checks: Vec<String> = checks.iter().map(Check::to_string).collect();
        (format!("{mistake:?}"), checks.join(", "))
    });
    assert_eq!(exhibits.collect::<Vec<_>>(), catalogue());
}

/// What harms somebody must be found in two ways.
#[test]
fn two_checks_find_each_mistake() {
    let lonely = EXHIBITS.iter().filter(|(_, checks)| checks.len() < 2);
    assert_eq!(lonely.map(|(mistake, _)| mistake).collect::<Vec<_>>(), Vec::<&Mistake>::new());
}
