//! The run that is crashed, damaged and disturbed: batches of all sizes, rotations, notes in the head, snapshots while records come,
//! recycled segments, restarts.

use crate::{
    book::{Book, Wrong, record, settings},
    disk::{Model, Told},
};
use enq::log::journal::{Failure, Planted, SnapshotError, SnapshotWriter, Started};
use rand::{Rng, SeedableRng, rngs::SmallRng};

/// How a run has ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// As it should.
    Whole,
    /// A start failed.
    NotStarted(Wrong),
    /// The disk failed.
    Failed(Failure),
}

/// A journal in use, and what was put into it.
pub(crate) struct Run {
    pub(crate) disk: Model,
    pub(crate) book: Book,
    pub(crate) told: Told,
    pub(crate) planted: Planted,
    dice: SmallRng,
    journal: Option<Started>,
    /// What is being written, and whether its content is.
    snapshot: Option<(SnapshotWriter, bool)>,
}

impl Run {
    pub(crate) fn new(disk: Model, planted: Planted) -> Run {
        let (book, told, dice) = (Book::default(), Told::default(), SmallRng::seed_from_u64(7));
        Run { disk, book, told, planted, dice, journal: None, snapshot: None }
    }

    /// Other records.
    pub(crate) fn reseed(&mut self, seed: u64) {
        self.dice = SmallRng::seed_from_u64(seed);
    }

    /// The machine has crashed, and this is what is left of the disk. So much had been promised.
    pub(crate) fn crash(&mut self, disk: Model, told: Told) -> Result<(), Wrong> {
        (self.disk, self.told) = (disk, told);
        self.disk.tell(told);
        self.start_above(told.epoch)
    }

    /// The whole of it, from the first start to an end in order.
    pub(crate) fn play(&mut self) -> Ended {
        match self.play_until_killed() {
            Ended::Whole => self.note().map_or_else(Ended::Failed, |()| Ended::Whole),
            ended @ (Ended::NotStarted(_) | Ended::Failed(_)) => ended,
        }
    }

    /// The same, and a start behind it that has not done anything yet.
    pub(crate) fn play_and_start(&mut self) -> Ended {
        match self.play() {
            Ended::Whole => self.start().map_or_else(Ended::NotStarted, |()| Ended::Whole),
            ended @ (Ended::NotStarted(_) | Ended::Failed(_)) => ended,
        }
    }

    /// The same without the end: nobody says that the last batch was durable.
    pub(crate) fn play_until_killed(&mut self) -> Ended {
        for part in [20, 40, 20, 1] {
            if let Err(wrong) = self.start() {
                return Ended::NotStarted(wrong);
            }
            for batch in 0..part {
                if let Err(failure) = self.turn(batch) {
                    return Ended::Failed(failure);
                }
            }
        }
        let prepared = self.journal.as_ref().map_or(Ok(()), |journal| journal.writer.prepare().map(|_| ()));
        if let Err(failure) = prepared.and_then(|()| self.note()) {
            Ended::Failed(failure)
        } else {
            Ended::Whole
        }
    }

    /// Starts, again if it was started before: the process before has ended, and the machine has not.
    pub(crate) fn start(&mut self) -> Result<(), Wrong> {
        self.start_above(self.told.epoch)
    }

    fn start_above(&mut self, epoch: u32) -> Result<(), Wrong> {
        (self.journal, self.snapshot) = (None, None);
        let found = self.book.start_on(&self.disk, self.planted)?;
        if found.last < self.told.durable {
            return Err(Wrong::Content(format!("{} was promised, {} found", self.told.durable, found.last)));
        }
        if found.started.epoch <= epoch {
            return Err(Wrong::Content(format!("epoch {} after {epoch}", found.started.epoch)));
        }
        // What was under way when the process before ended may be there or not.
        self.book.records.truncate(usize::try_from(found.last).unwrap());
        self.told = Told { durable: found.last, epoch: found.started.epoch };
        self.disk.tell(self.told);
        self.journal = Some(found.started);
        Ok(())
    }

    /// One batch, and whatever else is due.
    pub(crate) fn turn(&mut self, turn: u64) -> Result<(), Failure> {
        self.snapshot_if_due(turn)?;
        let journal = self.journal.as_mut().expect("it was started");
        if turn % 7 == 3 {
            journal.writer.prepare()?;
        }
        let mut body = journal.writer.body();
        for _ in 0..self.dice.random_range(1..5) {
            let record = record(&mut self.dice);
            if body.length() + record.len() + 4 <= settings(self.planted).batch_bytes {
                body.push(&record);
                self.book.records.push(record);
            }
        }
        journal.writer.write(&mut body)?;
        self.told.durable = self.book.last();
        self.disk.tell(self.told);
        if turn % 5 == 4 { self.note() } else { Ok(()) }
    }

    pub(crate) fn note(&mut self) -> Result<(), Failure> {
        self.journal.as_mut().map_or(Ok(()), |journal| journal.writer.note())
    }

    /// A snapshot takes a few turns: records come while it is written. Without room there is none.
    fn snapshot_if_due(&mut self, turn: u64) -> Result<(), Failure> {
        let journal = self.journal.as_ref().expect("it was started");
        let durable = self.told.durable;
        let book = &self.book;
        let fill = |(mut snapshot, is_filled): (SnapshotWriter, bool)| {
            let content = book.snapshot(snapshot.position());
            if !is_filled {
                content.chunks(300).try_for_each(|part| snapshot.add(part))?;
            }
            Ok((snapshot, true))
        };
        let result = match (turn % 6, self.snapshot.take()) {
            (2, None) => journal.writer.snapshot(durable).map(|snapshot| Some((snapshot, false))),
            (3, Some(snapshot)) => fill(snapshot).map(Some),
            (4, Some(snapshot)) => fill(snapshot).and_then(|(snapshot, _)| snapshot.finish()).map(|()| None),
            (_, snapshot) => Ok(snapshot),
        };
        match result {
            Ok(snapshot) => {
                self.snapshot = snapshot;
                Ok(())
            }
            Err(SnapshotError::NoRoom { .. }) => Ok(()),
            Err(SnapshotError::Failed(failure)) => Err(failure),
            Err(error @ (SnapshotError::TooEarly { .. } | SnapshotError::Busy)) => panic!("{error}"),
        }
    }

    /// Is there less in reserve than there should be?
    pub(crate) fn is_short(&self) -> bool {
        self.journal.as_ref().is_some_and(|journal| journal.writer.room().is_short)
    }

    /// After a failure nothing is taken any more.
    pub(crate) fn takes_more(&mut self) -> bool {
        let Some(journal) = &mut self.journal else { return false };
        let mut body = journal.writer.body();
        body.push(b"more");
        journal.writer.write(&mut body).is_ok()
            || journal.writer.note().is_ok()
            || journal.writer.prepare().is_ok()
    }
}
