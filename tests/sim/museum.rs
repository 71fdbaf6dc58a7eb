//! The museum of planted mistakes: each is put into the code, and the checks that must find it are seen to fail.
//!
//! A check that cannot fail proves nothing. `docs/testing.md` has the catalogue, which is compared with the one here.
//! `ENQ_PLANTED=TimedOutStays cargo test --test sim` shows what a mistake looks like in every check of this file's
//! target.

use crate::{deadlock, fence, history, scope, stories, world};
use enq::client::peer;
use enq::engine::{Mistake, Planted};
use enq::log::journal;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What is planted, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    Nothing,
    /// In the engine, the table or the server.
    Server(Mistake),
    /// In the client library.
    Client(peer::Mistake),
    /// In the storage of the journal.
    Journal(journal::Mistake),
}

impl Plant {
    fn all() -> impl Iterator<Item = Plant> {
        let server = Mistake::ALL.into_iter().map(Plant::Server);
        let client = peer::Mistake::ALL.into_iter().map(Plant::Client);
        server.chain(client).chain(journal::Mistake::ALL.into_iter().map(Plant::Journal))
    }

    /// What the server is made with.
    pub(crate) fn server(self) -> Planted {
        if let Plant::Server(mistake) = self { Planted::new(mistake) } else { Planted::NONE }
    }

    /// What each journal is made with.
    pub(crate) fn journal(self) -> journal::Planted {
        if let Plant::Journal(mistake) = self {
            journal::Planted::new(mistake)
        } else {
            journal::Planted::NONE
        }
    }

    /// What each client is made with.
    pub(crate) fn client(self) -> peer::Planted {
        if let Plant::Client(mistake) = self { peer::Planted::new(mistake) } else { peer::Planted::default() }
    }
}

impl fmt::Display for Plant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Plant::Nothing => f.write_str("nothing"),
            Plant::Server(mistake) => write!(f, "{mistake:?}"),
            Plant::Client(mistake) => write!(f, "{mistake:?}"),
            Plant::Journal(mistake) => write!(f, "{mistake:?}"),
        }
    }
}

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
    /// Whole worlds.
    Worlds,
    /// A few dialogues of one client and a server, in which what is lost is chosen.
    Dialogues,
    /// The deadlock search against the oracle.
    Oracle,
    /// What is hard on a server: crowds, silence, announcements, repetition.
    Bounds,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Check::Histories => "histories",
            Check::SmallHistories => "small histories",
            Check::Fences => "fences",
            Check::Stories => "stories",
            Check::Worlds => "worlds",
            Check::Dialogues => "dialogues",
            Check::Oracle => "oracle",
            Check::Bounds => "bounds",
        })
    }
}

impl Check {
    /// What it says of this mistake; nothing if it does not see it.
    fn finds(self, plant: Plant) -> Option<String> {
        let planted = plant.server();
        let look = || match self {
            Check::Histories => {
                let wrong = (1..=2_000).find_map(|seed| history::play(seed, 1, planted).err());
                wrong.map(|found| found.wrong)
            }
            Check::SmallHistories => scope::explore(3, planted).err(),
            Check::Fences => fence::breaks(planted, 4),
            Check::Stories => stories::first_wrong(planted),
            Check::Worlds => world::first_wrong(1_000, WORLDS_MAX, plant),
            Check::Dialogues => world::dialogues::first_wrong(plant),
            Check::Oracle => {
                deadlock::look_through(4_000, planted);
                None
            }
            Check::Bounds => world::bounds::first_wrong(planted),
        };
        match history::quietly(|| catch_unwind(AssertUnwindSafe(look))) {
            Ok(found) => found,
            Err(_) => Some("a panic".into()),
        }
    }
}

/// Worlds that a mistake may take to be found.
const WORLDS_MAX: u64 = 500;

/// The mistakes, each with the checks that must find it.
fn exhibits() -> Vec<(Plant, Vec<Check>)> {
    use Check::{Bounds, Dialogues, Fences, Histories, Oracle, SmallHistories, Stories, Worlds};
    use journal::Mistake as Storage;
    use peer::Mistake as Client;
    let server: [(Mistake, &[Check]); 28] = [
        (Mistake::GrantToTheDead, &[Histories, Stories, Worlds]),
        (Mistake::TimedOutStays, &[Histories, Stories, Worlds]),
        (Mistake::ConversionForgetsItsMode, &[Histories, Stories, Worlds]),
        (Mistake::ValueOutlivesItsWriter, &[Histories, Stories, Worlds]),
        (Mistake::DownConversionKeepsItsFence, &[Histories, Fences, Stories, Worlds]),
        (Mistake::CounterStartsOver, &[Histories, Fences, Worlds]),
        (Mistake::BargesPastTheQueue, &[Histories, SmallHistories, Stories, Worlds]),
        (Mistake::DownConversionWakesNobody, &[Histories, SmallHistories, Stories, Worlds]),
        (Mistake::CancelDeniesTheGrant, &[Histories, SmallHistories, Stories]),
        (Mistake::LaterHoldersAreNotTold, &[Histories, Stories, Worlds]),
        (Mistake::AcknowledgementTakesTooMuch, &[Worlds, Dialogues]),
        (Mistake::RepeatsAreExecuted, &[Dialogues, Bounds]),
        (Mistake::NoticesAreLostAtResume, &[Worlds, Dialogues]),
        (Mistake::SupersededGoesOn, &[Worlds, Dialogues]),
        (Mistake::LockDelayIsIgnored, &[Histories, Stories, Worlds]),
        (Mistake::RecoveryIsIgnored, &[Histories, Stories, Worlds]),
        (Mistake::AllLeasesEndInOneRound, &[Bounds]),
        (Mistake::StallIsNotGivenBack, &[Worlds, Dialogues]),
        (Mistake::OutputIsUnbounded, &[Bounds]),
        (Mistake::RoomForAnAnnouncement, &[Bounds]),
        (Mistake::QueueOrderIsNoEdge, &[Stories, Worlds, Oracle]),
        (Mistake::ConfirmationIsSkipped, &[Stories, Worlds]),
        (Mistake::AnyEntryIsTheVictim, &[Stories, Worlds]),
        (Mistake::PlannedRefusalsCount, &[Stories, Oracle]),
        (Mistake::AppliedBeforeDurable, &[Worlds, Dialogues]),
        (Mistake::AcknowledgementsAreNotApplied, &[Worlds, Dialogues]),
        (Mistake::LogTimeStartsOver, &[Worlds, Dialogues]),
        (Mistake::LeasesGoOnFromBefore, &[Worlds, Dialogues]),
    ];
    let client: [(Client, &[Check]); 3] = [
        (Client::RetriesWithANewNumber, &[Worlds, Dialogues]),
        (Client::AsksOnlyOnce, &[Worlds, Dialogues]),
        (Client::LeaseFromTheAnswer, &[Worlds, Dialogues]),
    ];
    let storage: [(Storage, &[Check]); 6] = [
        (Storage::DirectoryIsNotSynced, &[Worlds]),
        (Storage::AcknowledgedBeforeSync, &[Worlds]),
        (Storage::NamedBeforeSynced, &[Worlds]),
        (Storage::StaleBatchesAreRight, &[Worlds]),
        (Storage::EpochIsNotRaised, &[Worlds, Dialogues]),
        (Storage::KnownRecordsComeAgain, &[Worlds]),
    ];
    let storage = storage.map(|(mistake, checks)| (Plant::Journal(mistake), checks.to_vec()));
    let server = server.map(|(mistake, checks)| (Plant::Server(mistake), checks.to_vec()));
    let client = client.map(|(mistake, checks)| (Plant::Client(mistake), checks.to_vec()));
    server.into_iter().chain(client).chain(storage).collect()
}

/// What the environment asks to plant.
pub(crate) fn plant() -> Plant {
    let Ok(asked) = std::env::var("ENQ_PLANTED") else { return Plant::Nothing };
    let found = Plant::all().find(|plant| plant.to_string() == asked);
    found.unwrap_or_else(|| panic!("ENQ_PLANTED: there is no mistake {asked}"))
}

/// The same, as far as the engine is concerned.
pub(crate) fn of_environment() -> Planted {
    plant().server()
}

/// Every exhibit that this check must find, and does not.
fn missed(check: Check) -> Vec<String> {
    let mut missed = Vec::new();
    for (plant, _) in exhibits().into_iter().filter(|(_, checks)| checks.contains(&check)) {
        match check.finds(plant) {
            Some(found) => println!("{plant}, by {check}: {}", found.lines().next().unwrap_or_default()),
            None => missed.push(plant.to_string()),
        }
    }
    missed
}

#[test]
fn planted_mistakes_are_found_by_histories() {
    assert_eq!(missed(Check::Histories), Vec::<String>::new());
}

#[test]
fn planted_mistakes_are_found_by_small_histories() {
    assert_eq!(missed(Check::SmallHistories), Vec::<String>::new());
}

#[test]
fn planted_mistakes_are_found_by_fences() {
    assert_eq!(missed(Check::Fences), Vec::<String>::new());
}

#[test]
fn planted_mistakes_are_found_by_stories() {
    assert_eq!(missed(Check::Stories), Vec::<String>::new());
}

#[test]
fn planted_mistakes_are_found_by_worlds() {
    assert_eq!(missed(Check::Worlds), Vec::<String>::new());
}

#[test]
fn planted_mistakes_are_found_by_dialogues() {
    assert_eq!(missed(Check::Dialogues), Vec::<String>::new());
}

#[test]
fn planted_mistakes_are_found_by_the_oracle() {
    assert_eq!(missed(Check::Oracle), Vec::<String>::new());
}

#[test]
fn planted_mistakes_are_found_by_bounds() {
    assert_eq!(missed(Check::Bounds), Vec::<String>::new());
}

#[test]
fn every_mistake_is_an_exhibit() {
    let exhibits = exhibits();
    // Those of the journal's storage have a museum of their own, in `tests/journal`; some are shown here as well.
    let missing = Plant::all().filter(|plant| {
        !matches!(plant, Plant::Journal(_)) && exhibits.iter().all(|(exhibit, _)| exhibit != plant)
    });
    assert_eq!(missing.collect::<Vec<_>>(), []);
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
    let of_storage = |plant: &Plant| matches!(plant, Plant::Journal(_));
    let exhibits = exhibits().into_iter().filter(|(plant, _)| !of_storage(plant)).map(|(plant, checks)| {
        let checks: Vec<String> = checks.iter().map(Check::to_string).collect();
        (plant.to_string(), checks.join(", "))
    });
    assert_eq!(exhibits.collect::<Vec<_>>(), catalogue());
}
