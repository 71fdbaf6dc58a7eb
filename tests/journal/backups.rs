//! Backups, and journals that are made of them: told on a disk that is crashed and damaged at every place.

use crate::{
    book::{ID, record, settings},
    disk::{Fault, Model, Plan, State},
};
use enq::log::journal::{
    Backup, Contents, Directory, Disk, OpenError, Planted, Reading, Recovery, Seen, SegmentEnd, make,
};
use rand::{SeedableRng, rngs::SmallRng};
use std::{fs, sync::Arc};

const OF: Backup = Backup { id: ID, position: 4_711, epoch: 70_000, made_ms: 1_764_439_200_123 };

/// More than a piece.
fn content() -> Vec<u8> {
    (0..150_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn read(disk: &dyn Disk) -> Result<(Backup, Vec<u8>), OpenError> {
    let (backup, mut pieces) = Backup::open(disk, "backup")?;
    let mut read = Vec::new();
    while let Some(piece) = pieces.piece()? {
        read.extend_from_slice(piece);
    }
    Ok((backup, read))
}

#[test]
fn a_backup_is_read_as_it_was_written_and_any_bad_byte_is_seen() {
    let disk = Model::default();
    let bytes = OF.write(&disk, (".backup.new", "backup"), &content()).unwrap();
    assert_eq!(read(&disk).unwrap(), (OF, content()));
    let state = disk.view();
    assert_eq!(state.keys().collect::<Vec<_>>(), ["backup"], "nothing else is left");
    let whole = &state["backup"];
    assert_eq!(bytes, whole.len() as u64);
    for at in (0..whole.len()).step_by(997).chain(0..80).chain(whole.len() - 30..whole.len()) {
        let mut flipped = whole.clone();
        flipped[at] ^= 4;
        let disk = Model::new(State::from([("backup".to_owned(), flipped)]));
        let error = read(&disk).unwrap_err();
        assert!(matches!(error, OpenError::Damaged(_) | OpenError::NoBackup { .. }), "byte {at}: {error}");
    }
    // The last bytes are zeros: whoever took what is not there for zeros would not miss them.
    for missing in [1, 5, 24, 25] {
        let cut = whole[..whole.len() - missing].to_vec();
        let cut = Model::new(State::from([("backup".to_owned(), cut)]));
        assert!(matches!(read(&cut), Err(OpenError::Damaged(_))), "{missing} bytes are missing");
    }
}

#[test]
fn a_crash_leaves_the_backup_of_before_or_the_new_one() {
    let disk = Model::default();
    OF.write(&disk, (".1.new", "backup"), b"before").unwrap();
    let from = disk.ops();
    OF.write(&disk, (".2.new", "backup"), &content()).unwrap();
    let mut crashes = disk.crashes(from);
    let mut seen = [0; 2];
    while crashes.step() {
        for state in crashes.states(3) {
            let found = read(&Model::new(state)).unwrap().1;
            assert!(found == b"before" || found == content(), "{} bytes", found.len());
            seen[usize::from(found != b"before")] += 1;
        }
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}

#[test]
fn whatever_fails_the_backup_of_before_is_still_there() {
    let before = {
        let disk = Model::default();
        OF.write(&disk, (".1.new", "backup"), b"before").unwrap();
        disk.view()
    };
    for fault in [Fault::Eio, Fault::NoRoom] {
        for call in 1..100 {
            let disk = Model::with(before.clone(), Plan { at: Some((call, fault)), full_from: None });
            let written = OF.write(&disk, (".2.new", "backup"), b"after");
            let found = read(&Model::new(disk.view())).unwrap().1;
            match written {
                Ok(_) => {
                    assert_eq!(found, b"after");
                    if disk.failed().is_empty() {
                        break;
                    }
                }
                Err(_) => assert!(found == b"before" || disk.failed() == ["sync names"], "call {call}"),
            }
        }
    }
}

#[test]
fn a_journal_that_is_made_goes_on_behind_the_backup() {
    let disk = Model::default();
    make(&disk, 99, OF, &content()).unwrap();
    assert_eq!(
        disk.view().keys().collect::<Vec<_>>(),
        ["00000000000000004711.snapshot", "head"],
        "nothing else is there"
    );
    let mut dice = SmallRng::seed_from_u64(5);
    let mut records = Vec::new();
    for start in 1..=3 {
        let mut recovery = Recovery::open(Arc::new(disk.clone()), settings(Planted::NONE), ID)
            .unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(recovery.epoch() + 1, OF.epoch + start);
        let mut pieces = recovery.snapshot().unwrap().unwrap();
        let mut read = Vec::new();
        while let Some(piece) = pieces.piece().unwrap() {
            read.extend_from_slice(piece);
        }
        assert_eq!((pieces.position(), read), (OF.position, content()));
        let mut found = Vec::new();
        while let Some(batch) = recovery.batch().unwrap() {
            found.extend(batch.records().map(|(_, record)| record.to_vec()));
        }
        assert_eq!(found, records);
        let mut started = recovery.start().unwrap();
        assert_eq!(started.epoch, OF.epoch + start);
        for _ in 0..8 {
            let mut body = started.writer.body();
            records.push(record(&mut dice));
            body.push(records.last().unwrap());
            started.writer.write(&mut body).unwrap();
        }
        assert_eq!(started.writer.next(), OF.position + 1 + records.len() as u64);
    }
}

/// Whatever a crash leaves is the whole journal, or is refused, or has nothing in it: it is never an empty journal in a
/// directory that was about to have a full one.
#[test]
fn a_journal_that_is_being_made_is_never_taken_for_an_empty_one() {
    let disk = Model::default();
    make(&disk, 99, OF, &content()).unwrap();
    let mut crashes = disk.crashes(0);
    let (mut whole, mut refused, mut untouched) = (0, 0, 0);
    while crashes.step() {
        for state in crashes.states(3) {
            let names: Vec<&String> = state.keys().collect();
            if names.is_empty() {
                untouched += 1;
                continue;
            }
            match Recovery::open(Arc::new(Model::new(state.clone())), settings(Planted::NONE), ID) {
                Ok(recovery) => {
                    let started = recovery.start().unwrap();
                    assert_eq!(
                        (started.epoch, started.report.last),
                        (OF.epoch + 1, OF.position),
                        "{names:?}"
                    );
                    whole += 1;
                }
                Err(OpenError::Damaged(_)) => refused += 1,
                Err(error) => panic!("{names:?}: {error}"),
            }
        }
    }
    assert!(whole > 0 && refused > 0 && untouched > 0, "{whole} {refused} {untouched}");
}

#[test]
fn a_journal_is_made_in_an_empty_directory_only_and_misses_what_it_began_with() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Directory::open(directory.path()).unwrap();
    fs::write(directory.path().join("notes"), "x").unwrap();
    let error = make(&open(), 99, OF, b"state").unwrap_err().to_string();
    assert!(error.contains(" has something in it: notes; "), "{error}");
    fs::remove_file(directory.path().join("notes")).unwrap();
    fs::create_dir(directory.path().join("lost+found")).unwrap();
    make(&open(), 99, OF, b"state").unwrap();
    assert!(matches!(make(&open(), 99, OF, b"state"), Err(OpenError::NotEmpty { .. })));
    let begin = || Recovery::open(Arc::new(open()), settings(Planted::NONE), ID);
    fs::remove_file(directory.path().join("00000000000000004711.snapshot")).unwrap();
    let error = begin().err().unwrap().to_string();
    assert!(
        error.contains("00000000000000004711.snapshot is damaged: it is missing")
            && error.contains("the head says that its records were durable"),
        "{error}"
    );
}

#[test]
fn whoever_looks_changes_nothing_and_keeps_nobody_out() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(Directory::open(directory.path()).unwrap());
    let look = || Reading::look(Arc::new(Directory::open_to_read(directory.path()).unwrap()));
    assert!(matches!(look(), Err(OpenError::NoJournal { .. })));
    let mut started = Recovery::open(disk, settings(Planted::NONE), ID).unwrap().start().unwrap();
    let state = || -> Vec<(String, Vec<u8>)> {
        let names = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut all: Vec<_> =
            names.map(|path| (path.display().to_string(), fs::read(&path).unwrap())).collect();
        all.sort();
        all
    };
    for written in 1..=5 {
        let mut body = started.writer.body();
        body.push(b"record");
        started.writer.write(&mut body).unwrap();
        let before = state();
        let mut reading = look().unwrap();
        while reading.batch().unwrap().is_some() {}
        assert_eq!((reading.report().last, reading.epoch()), (written, 1));
        assert_eq!(state(), before);
    }
}

#[test]
fn a_survey_goes_on_behind_what_is_damaged_and_says_where_that_is() {
    let disk = Model::default();
    let mut started =
        Recovery::open(Arc::new(disk.clone()), settings(Planted::NONE), ID).unwrap().start().unwrap();
    for _ in 0..12 {
        let mut body = started.writer.body();
        body.push(&[7; 500]);
        started.writer.write(&mut body).unwrap();
    }
    started.writer.note().unwrap();
    let state = disk.view();
    let survey = Contents::look(&Model::new(state.clone())).unwrap().survey().unwrap();
    assert!(survey.entries.iter().all(|entry| entry.wrong.is_none() && !entry.is_torn), "{survey:?}");
    assert_eq!((survey.epoch, survey.durable), (Some(1), 12));
    let positions: Vec<_> = survey.entries.iter().filter_map(|entry| entry.positions).collect();
    assert_eq!(positions, [(1, 6), (7, 12)]);
    let mut damaged = state;
    damaged.get_mut("00000000000000000001.segment").unwrap()[512 + 2 * 552 + 100] ^= 1;
    let disk = Model::new(damaged);
    let contents = Contents::look(&disk).unwrap();
    let survey = contents.survey().unwrap();
    let wrong: Vec<_> = survey.entries.iter().filter_map(|entry| entry.wrong.as_deref()).collect();
    assert_eq!(
        wrong,
        [
            "damaged at offset 1616, position 3: the records of a batch are not intact, and there is an intact batch at \
          offset 2168, written later"
        ]
    );
    let mut read = Vec::new();
    let mut ends = Vec::new();
    contents
        .read_all((2, 9), &mut |seen| match seen {
            Seen::Segment { .. } => {}
            Seen::Batch { batch, .. } => read.push(batch.first()),
            Seen::End { end, .. } => ends.push(end != SegmentEnd::Whole),
        })
        .unwrap();
    assert_eq!((read, ends), (vec![1, 2, 7, 8, 9, 10, 11, 12], vec![true, false]));
}
