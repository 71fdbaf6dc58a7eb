//! Told one by one, most of them on a real disk: who is refused, and in which words; many who append; notes of attempts.

use crate::{
    book::{Book, ID, record, settings},
    disk::{Fault, Model, Plan},
};
use enq::{
    client::now,
    log::journal::{
        AppendError, Audience, Batch, Contents, Directory, Disk, Failure, Journal, OpenError, Planted,
        Recovery, Settings, SnapshotError, Started,
    },
};
use rand::{SeedableRng, rngs::SmallRng};
use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;

fn recovery(path: &Path) -> Result<Recovery, OpenError> {
    let disk = Directory::open(path).expect("the directory can be opened");
    Recovery::open(Arc::new(disk), settings(Planted::NONE), ID)
}

fn start(path: &Path) -> Started {
    recovery(path).and_then(Recovery::start).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(path: &Path) -> String {
    match recovery(path) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error.to_string().replace(&path.display().to_string(), "DIR"),
    }
}

/// A journal with some records, and the book of them.
fn journal() -> (TempDir, Book) {
    let directory = tempfile::tempdir().unwrap();
    let mut started = start(directory.path());
    let (mut book, mut dice) = (Book::default(), SmallRng::seed_from_u64(1));
    for _ in 0..10 {
        let mut body = started.writer.body();
        book.records.push(record(&mut dice));
        body.push(book.records.last().unwrap());
        started.writer.write(&mut body).unwrap();
    }
    (directory, book)
}

#[test]
fn a_second_server_is_refused_and_the_next_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let first = start(directory.path());
    assert_eq!(first.epoch, 1);
    assert_eq!(refused(directory.path()), "another server uses DIR/; give this one a directory of its own");
    drop(first);
    assert_eq!(start(directory.path()).epoch, 2);
}

#[test]
fn a_directory_with_other_things_in_it_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("notes"), "x").unwrap();
    assert_eq!(
        refused(directory.path()),
        "DIR/ is not a journal of enqd: it has notes; choose another directory, or an empty one"
    );
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing was made in it");
    fs::remove_file(directory.path().join("notes")).unwrap();
    fs::create_dir(directory.path().join("lost+found")).unwrap();
    start(directory.path());
}

#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let to_read = Arc::new(Directory::open_to_read(directory.path()).unwrap());
    let error = Recovery::open(to_read, settings(Planted::NONE), ID).err().unwrap().to_string();
    assert!(
        error.starts_with("cannot use ")
            && error.ends_with(
                "head: read-only filesystem or storage medium; enqd has to be allowed to read and write there"
            ),
        "{error}"
    );
    assert!(Directory::open(&directory.path().join("a/b")).is_err(), "only the last name is made");
    fs::write(directory.path().join("file"), "").unwrap();
    assert!(Directory::open(&directory.path().join("file")).is_err());
}

/// Changes the version on the plate at the beginning of a file, as another enqd would have written it.
fn of_the_future(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[8] = 9;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..64]);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

#[test]
fn another_version_and_another_journal_are_refused_by_name() {
    for file in ["head", "00000000000000000001.segment"] {
        let (directory, _) = journal();
        of_the_future(&directory.path().join(file));
        assert_eq!(
            refused(directory.path()),
            format!(
                "DIR/{file} has format version 9, which this enqd does not know; start it with the one that wrote it"
            )
        );
    }
    let (directory, _) = journal();
    let other = tempfile::tempdir().unwrap();
    let disk = Arc::new(Directory::open(other.path()).unwrap());
    drop(Recovery::open(disk, settings(Planted::NONE), 4711).unwrap().start().unwrap());
    let segment = "00000000000000000001.segment";
    fs::copy(other.path().join(segment), directory.path().join(segment)).unwrap();
    assert_eq!(
        refused(directory.path()),
        format!("DIR/{segment} belongs to another journal; take it out of the directory")
    );
}

#[test]
fn damage_is_told_with_file_offset_and_position_and_what_to_do() {
    let (directory, _) = journal();
    let segment = directory.path().join("00000000000000000001.segment");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[512 + 48] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let mut recovery = recovery(directory.path()).unwrap();
    let error =
        recovery.batch().err().unwrap().to_string().replace(&directory.path().display().to_string(), "DIR");
    assert!(
        error.starts_with(
            "DIR/00000000000000000001.segment is damaged at offset 512, position 1: the records of a batch are not \
             intact, and an intact batch at offset "
        ) && error.contains(" was durable; nothing has been changed: restore the directory from a copy, or a backup"),
        "{error}"
    );
    drop(recovery);
    assert_eq!(fs::read(&segment).unwrap(), bytes, "nothing has been changed");
}

#[test]
fn two_ends_at_one_position_are_enough() {
    let (directory, _) = journal();
    for _ in 0..2 {
        let mut recovery = recovery(directory.path()).unwrap();
        while let Some((first, last)) =
            recovery.batch().unwrap().map(|batch| (batch.first(), batch.next() - 1))
        {
            recovery.attempts().applying(first, last).unwrap();
            if first == 4 {
                break; // Here the process ends.
            }
            recovery.attempts().applied(last).unwrap();
        }
    }
    assert_eq!(
        refused(directory.path()),
        "the server ended abnormally 2 times while it applied positions 4 to 4; it will not try again by itself: report \
         it with a copy of the directory, and remove DIR/attempts to try once more"
    );
    fs::remove_file(directory.path().join("attempts")).unwrap();
    start(directory.path());
}

#[test]
fn an_end_that_is_got_over_is_forgotten() {
    let (directory, _) = journal();
    for round in 0..6 {
        let mut recovery = recovery(directory.path()).unwrap();
        assert_eq!(recovery.attempts().suspects(), (round % 2 == 1).then_some((4, 4)), "round {round}");
        while let Some((first, last)) =
            recovery.batch().unwrap().map(|batch| (batch.first(), batch.next() - 1))
        {
            recovery.attempts().applying(first, last).unwrap();
            if first == 4 && round % 2 == 0 {
                break;
            }
            recovery.attempts().applied(last).unwrap();
        }
    }
}

#[derive(Default)]
struct Heard {
    records: Vec<Vec<u8>>,
    batches: usize,
    failures: usize,
}

#[derive(Clone, Default)]
struct Ear(Arc<Mutex<Heard>>);

impl Audience for Ear {
    fn durable(&mut self, batch: Batch<'_>) {
        let mut heard = self.0.lock().unwrap();
        heard.batches += 1;
        for (position, record) in batch.records() {
            assert_eq!(position, heard.records.len() as u64 + 1, "in order, without gaps");
            heard.records.push(record.into());
        }
    }

    fn failed(&mut self, _: &Failure) {
        self.0.lock().unwrap().failures += 1;
    }
}

#[test]
fn many_append_and_all_are_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(Directory::open(directory.path()).unwrap());
    let settings =
        Settings { segment_bytes: 64 << 10, idle: Duration::from_millis(1), ..settings(Planted::NONE) };
    let started = Recovery::open(disk, settings.clone(), ID).unwrap().start().unwrap();
    let ear = Ear::default();
    drop(started.attempts); // It has the directory, too.
    let journal = Journal::start(started.writer, ear.clone()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let journal = &journal;
            scope.spawn(move || {
                for number in 0..100_u64 {
                    let position = journal.append(&(thread * 1_000 + number).to_le_bytes()).unwrap();
                    journal.wait(position).unwrap();
                    assert!(journal.durable() >= position);
                }
            });
        }
    });
    assert!(matches!(journal.append(&[0; 5_000]), Err(AppendError::TooLong { bytes: 5_000, .. })));
    journal.close().unwrap();
    assert!(matches!(journal.append(b"late"), Err(AppendError::Closed)));
    drop(journal);
    let heard = ear.0.lock().unwrap();
    assert_eq!((heard.records.len(), heard.failures), (800, 0));
    println!("800 records in {} batches", heard.batches);
    let disk = Arc::new(Directory::open(directory.path()).unwrap());
    let mut recovery = Recovery::open(disk, settings, ID).unwrap();
    let mut found = Vec::new();
    while let Some(batch) = recovery.batch().unwrap() {
        found.extend(batch.records().map(|(_, record)| record.to_vec()));
    }
    assert_eq!(found, heard.records);
}

/// Records come while snapshots are taken, segments recycled and spares made, each in a thread of its own.
#[test]
fn snapshots_are_taken_while_others_append() {
    let directory = tempfile::tempdir().unwrap();
    let open = || -> Recovery {
        let disk = Arc::new(Directory::open(directory.path()).unwrap());
        Recovery::open(disk, settings(Planted::NONE), ID).unwrap()
    };
    let started = open().start().unwrap();
    drop(started.attempts);
    let journal = Journal::start(started.writer, Ear::default()).unwrap();
    std::thread::scope(|scope| {
        let append = |thread: u8| {
            let journal = &journal;
            move || {
                for _ in 0..100 {
                    let position = journal.append(&[thread; 300]).unwrap();
                    journal.wait(position).unwrap();
                }
            }
        };
        let writers = [1, 2, 3].map(|thread| scope.spawn(append(thread)));
        while !writers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            let mut snapshot = journal.snapshot(journal.durable()).unwrap();
            snapshot.add(&snapshot.position().to_le_bytes()).unwrap();
            snapshot.finish().unwrap();
            journal.prepare().unwrap();
        }
    });
    journal.close().unwrap();
    drop(journal);
    let mut recovery = open();
    let mut next = 1;
    if let Some(mut reader) = recovery.snapshot().unwrap() {
        next = reader.position() + 1;
        assert_eq!(reader.piece().unwrap(), Some(&(next - 1).to_le_bytes()[..]));
    }
    while let Some(batch) = recovery.batch().unwrap() {
        assert_eq!(batch.first(), next);
        next = batch.next();
    }
    assert_eq!(next, 301);
    assert!(fs::read_dir(directory.path()).unwrap().count() < 20, "what nobody needs is given up");
}

#[test]
fn nobody_is_told_anything_after_a_failure() {
    let disk = Model::default();
    let started =
        Recovery::open(Arc::new(disk.clone()), settings(Planted::NONE), ID).unwrap().start().unwrap();
    // The write of the third batch, or of a mark before it: from there on nothing works.
    disk.set_plan(Plan { at: Some((disk.calls() + 9, Fault::Eio)), full_from: None });
    let ear = Ear::default();
    let journal = Journal::start(started.writer, ear.clone()).unwrap();
    let mut told = 0;
    let failure = loop {
        match journal.append(b"record").and_then(|position| journal.wait(position).map(|()| position)) {
            Ok(position) => told = position,
            Err(error) => break error,
        }
    };
    assert!(matches!(failure, AppendError::Failed(_)), "{failure}");
    assert!(matches!(journal.append(b"record"), Err(AppendError::Failed(_) | AppendError::Closed)));
    let failure = journal.close().unwrap_err();
    assert_eq!(failure.durable, told);
    let heard = ear.0.lock().unwrap();
    assert_eq!((heard.records.len() as u64, heard.failures), (told, 1));
}

/// A server stood there and answered nothing: a snapshot had met a broken disk while no record came, and who tells of a failure
/// waited for the next one, which was not taken.
#[test]
fn a_failure_of_a_snapshot_is_told_although_nobody_writes() {
    let disk = Model::default();
    let started =
        Recovery::open(Arc::new(disk.clone()), settings(Planted::NONE), ID).unwrap().start().unwrap();
    let ear = Ear::default();
    let journal = Journal::start(started.writer, ear.clone()).unwrap();
    let position = journal.append(b"record").unwrap();
    journal.wait(position).unwrap();
    // There is nothing more to note: the head knows of it, in both slots.
    until("the head knows", || {
        let head = &disk.view()["head"];
        [40, 4096 + 40].iter().all(|at| head[*at..*at + 8] == position.to_le_bytes())
    });
    let mut snapshot = journal.snapshot(position).unwrap();
    snapshot.add(b"state").unwrap();
    disk.set_plan(Plan { at: Some((disk.calls() + 1, Fault::Eio)), full_from: None });
    assert!(matches!(snapshot.finish(), Err(SnapshotError::Failed(_))));
    until("it is told", || ear.0.lock().unwrap().failures == 1);
    assert!(journal.close().is_err());
}

/// Looks again and again until it is so.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = now();
    while !is_so() {
        assert!(now().since(began) < Duration::from_secs(20), "never: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn the_queue_has_an_end() {
    let disk = Model::default();
    let settings = Settings { queue_bytes: 100, ..settings(Planted::NONE) };
    let started = Recovery::open(Arc::new(disk), settings, ID).unwrap().start().unwrap();
    let journal = Journal::start(started.writer, Ear::default()).unwrap();
    assert!(matches!(journal.append(&[0; 97]), Err(AppendError::QueueFull)));
    assert_eq!(journal.append(&[0; 96]).unwrap(), 1);
}

#[test]
fn a_snapshot_of_many_pieces_is_read_back_and_any_bad_byte_is_seen() {
    let (directory, book) = journal();
    let started = start(directory.path());
    let last = book.last();
    assert!(matches!(started.writer.snapshot(last + 1), Err(SnapshotError::TooEarly { .. })));
    let mut snapshot = started.writer.snapshot(last).unwrap();
    assert!(matches!(started.writer.snapshot(last), Err(SnapshotError::Busy)));
    let content: Vec<u8> = (0..200_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    content.chunks(33_333).for_each(|part| snapshot.add(part).unwrap());
    snapshot.finish().unwrap();
    let abandoned = started.writer.snapshot(last).unwrap();
    drop(abandoned);
    drop(started);
    let path = directory.path().join(format!("{last:020}.snapshot"));
    let read = || -> Result<Vec<u8>, OpenError> {
        let disk = Directory::open_to_read(directory.path()).unwrap();
        let contents = Contents::look(&disk)?;
        assert_eq!(contents.snapshots().collect::<Vec<_>>(), [last]);
        let mut reader = contents.snapshot(last)?;
        let mut read = Vec::new();
        while let Some(piece) = reader.piece()? {
            read.extend_from_slice(piece);
        }
        Ok(read)
    };
    assert_eq!(read().unwrap(), content);
    let bytes = fs::read(&path).unwrap();
    for at in (0..bytes.len()).step_by(997).chain(bytes.len() - 30..bytes.len()) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 4;
        fs::write(&path, flipped).unwrap();
        assert!(matches!(read(), Err(OpenError::Damaged(_))), "byte {at}");
    }
    fs::write(&path, [&*bytes, b"x"].concat()).unwrap();
    assert!(read().is_err(), "something behind the end");
}
