//! Mistakes that journals have made are planted, one at a time, and the checks that must find them are seen to fail.
//!
//! `docs/testing.md` has the catalogue, which is compared with the one here.

use crate::{crash, damage, faults, history};
use enq::log::journal::{Mistake, Planted};
use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Crashes,
    Damage,
    Faults,
    Histories,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Check::Crashes => "crashes",
            Check::Damage => "damage",
            Check::Faults => "faults",
            Check::Histories => "histories",
        })
    }
}

/// Histories that a mistake may take to be found.
const HISTORIES_MAX: u64 = 300;

impl Check {
    /// What it says of this mistake; nothing if it does not see it.
    fn finds(self, mistake: Mistake) -> Option<String> {
        let planted = Planted::new(mistake);
        let look = || match self {
            Check::Crashes => crash::first_wrong(planted).err(),
            Check::Damage => damage::first_wrong(planted).err(),
            Check::Faults => faults::first_wrong(planted).err(),
            Check::Histories => (1..=HISTORIES_MAX).find_map(|seed| history::play(seed, planted).err()),
        };
        catch_unwind(AssertUnwindSafe(look)).unwrap_or_else(|_| Some("a panic".into()))
    }
}

/// The mistakes, each with the checks that must find it.
fn exhibits() -> Vec<(Mistake, &'static [Check])> {
    use Check::{Crashes, Damage, Faults, Histories};
    vec![
        (Mistake::DirectoryIsNotSynced, &[Crashes, Histories]),
        (Mistake::AcknowledgedBeforeSync, &[Crashes, Histories]),
        (Mistake::DurableIsNotNoted, &[Damage]),
        (Mistake::RecycledTooEarly, &[Crashes]),
        (Mistake::OneSnapshot, &[Damage]),
        (Mistake::NamedBeforeSynced, &[Crashes]),
        (Mistake::StaleBatchesAreRight, &[Crashes, Histories]),
        (Mistake::SyncIsTriedAgain, &[Faults]),
        (Mistake::CutAtAnyDamage, &[Damage]),
        (Mistake::TailIsNotRewritten, &[Faults]),
        (Mistake::OneSlot, &[Damage]),
        (Mistake::HeadForgetsSegments, &[Damage]),
        (Mistake::EpochIsNotRaised, &[Crashes, Histories]),
        (Mistake::KnownRecordsComeAgain, &[Crashes, Histories]),
    ]
}

/// Every exhibit that this check must find, and does not.
fn missed(check: Check) -> Vec<String> {
    let mut missed = Vec::new();
    for (mistake, _) in exhibits().into_iter().filter(|(_, checks)| checks.contains(&check)) {
        match check.finds(mistake) {
            Some(found) => println!("{mistake:?}, by {check}: {found}"),
            None => missed.push(format!("{mistake:?}")),
        }
    }
    missed
}

#[test]
fn planted_mistakes_are_found_by_crashes() {
    assert_eq!(missed(Check::Crashes), Vec::<String>::new());
}

#[test]
fn planted_mistakes_are_found_by_damage() {
    assert_eq!(missed(Check::Damage), Vec::<String>::new());
}

#[test]
fn planted_mistakes_are_found_by_faults() {
    assert_eq!(missed(Check::Faults), Vec::<String>::new());
}

#[test]
fn planted_mistakes_are_found_by_histories() {
    assert_eq!(missed(Check::Histories), Vec::<String>::new());
}

#[test]
fn every_mistake_is_an_exhibit() {
    let exhibits = exhibits();
    let missing =
        Mistake::ALL.iter().filter(|mistake| exhibits.iter().all(|(exhibit, _)| exhibit != *mistake));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&Mistake>::new());
}

/// The rows of the catalogue: mistake and checks.
fn catalogue() -> Vec<(String, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/testing.md");
    let text = std::fs::read_to_string(path).expect("the document is readable");
    let section = text.split("\n## Mistakes in the journal").nth(1).expect("the document has the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 4, "mistake, what it does, who made it, found by: {row}");
        (cells[0].trim_matches('`').into(), cells[3].into())
    })
    .collect()
}

#[test]
fn the_catalogue_is_that_of_the_document() {
    let exhibits = exhibits().into_iter().map(|(mistake, checks)| {
        let checks: Vec<String> = checks.iter().map(Check::to_string).collect();
        (format!("{mistake:?}"), checks.join(", "))
    });
    assert_eq!(exhibits.collect::<Vec<_>>(), catalogue());
}
