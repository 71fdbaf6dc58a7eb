//! What the threads of a journal do while its server serves.

use super::super::clock::{MS, SECOND, Time};
use super::super::faults::Fault;
use super::super::run::{Event, World, Wrong};
use super::{Keeping, Taking};
use crate::disk::Op;
use enq::log::journal::{Failure, SnapshotError};
use enq::log::{Act, Record};
use enq_protocol::vocabulary::Queue;
use rand::Rng as _;

/// Something that is done beside serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chore {
    /// What is being written is durable, and is applied.
    Written,
    /// A snapshot goes on.
    Snapshot,
    /// Nothing has come for a while.
    Note,
    /// Spare segments are made.
    Prepare,
}

impl World {
    pub(super) fn keeping(&self) -> &Keeping {
        self.options.keeping.as_ref().expect("there is a journal")
    }

    fn later(&mut self, takes: Time, chore: Chore) {
        self.at(self.now + takes, Event::Chore(self.upkeep.life, chore));
    }

    /// How long the disk takes for something.
    fn a_sync(&mut self) -> Time {
        let Keeping { sync: (least, most), stalls, stall, .. } = *self.keeping();
        let stands_still = !self.healed && self.random.random_ratio(stalls, 1_000);
        if stands_still {
            self.marks.sometimes("the disk stood still");
        }
        self.random.random_range(least..=if stands_still { stall } else { most })
    }

    /// Somebody may have brought something that is to be written.
    pub(crate) fn feed_the_disk(&mut self) {
        if self.upkeep.is_down || self.options.keeping.is_none() {
            return;
        }
        let batch_bytes = self.keeping().settings.batch_bytes;
        if self.server.journal_mut().begin_batch(batch_bytes) {
            let takes = self.a_sync();
            self.later(takes, Chore::Written);
            self.fall_if_due();
        }
    }

    /// Is the disk busy with what it should be busy with when the server ends?
    fn fall_if_due(&mut self) {
        if let Some((end, busy)) = self.upkeep.falls_when
            && self.server.journal().is_at(busy)
        {
            self.at(self.now, Event::Fault(Fault::Fall(end)));
        }
    }

    /// A round of the server is over: is there room for segments to come?
    pub(crate) fn look_after_room(&mut self) {
        if self.upkeep.is_down || self.options.keeping.is_none() {
            return;
        }
        let journal = self.server.journal_mut();
        if journal.writer.room().is_short && !journal.is_preparing {
            journal.is_preparing = true;
            let is_lacking = journal.queue.waiting().is_short_of_room;
            let takes = if is_lacking && !self.healed { SECOND } else { MS };
            self.later(takes, Chore::Prepare);
        }
    }

    pub(crate) fn do_chore(&mut self, life: u64, chore: Chore) -> Result<(), Wrong> {
        if life != self.upkeep.life || self.upkeep.is_down {
            return Ok(());
        }
        let done = match chore {
            Chore::Written => return self.written(),
            Chore::Snapshot => self.snapshot_on(),
            Chore::Note => self.note(),
            Chore::Prepare => self.prepare(),
        };
        done.or_else(|failure| self.disk_fails(&failure.to_string()))
    }

    /// The batch is on disk: each of its records is applied, and looked at.
    fn written(&mut self) -> Result<(), Wrong> {
        let journal = self.server.journal_mut();
        if let Err(failure) = journal.write() {
            return self.disk_fails(&failure.to_string());
        }
        let body = journal.writing.take().expect("a batch was written");
        let records: Vec<(u64, &[u8])> = body.batch().records().collect();
        for (position, record) in records {
            self.apply(position, record)?;
        }
        if let Some(why) = self.server.journal().why_stopped() {
            return self.disk_fails(&why);
        }
        self.after_batch();
        self.look()
    }

    /// Applies one record, and has the judges look.
    pub(super) fn apply(&mut self, position: u64, record: &[u8]) -> Result<(), Wrong> {
        let mut room = enq::log::Room::default();
        let Record { now: moment, act } =
            Record::read(record, &mut room).map_err(|error| error.to_string())?;
        self.tell(format_args!("journal: {position}, {act:?}"));
        let taken_in = self.server.clock.when(moment.0);
        if !self.upkeep.is_down {
            self.upkeep.slowest = self.upkeep.slowest.max(self.now.saturating_sub(taken_in));
        }
        self.upkeep.moment = self.upkeep.moment.max(moment);
        if let Act::Request { session, acked, .. } = &act {
            self.upkeep.acked.insert(*session, *acked);
        }
        let before = self.bench.last().clone();
        self.server.journal_mut().apply(position, record);
        self.look()?;
        if let Act::Refuse(refusal) = act {
            let is_void = self.soundness.came_through(&before, self.bench.last(), &refusal)?;
            if is_void {
                self.marks.sometimes("a logged refusal was void");
            }
        }
        if self.upkeep.awaits_grant {
            let after = self.bench.last();
            let mut granted = after.places.iter().flat_map(|seen| seen.queue(Queue::Granted));
            let is_new = |lock: &enq_protocol::vocabulary::LockView| {
                before.places.iter().all(|seen| seen.lock(lock.lock).is_none())
            };
            if granted.any(is_new) {
                self.upkeep.awaits_grant = false;
                self.marks.sometimes("a full disk refused, and later a lock was granted");
            }
        }
        Ok(())
    }

    /// What a batch makes due.
    fn after_batch(&mut self) {
        let every = self.keeping().snapshot_every;
        let journal = self.server.journal_mut();
        let is_due = journal.since_snapshot >= every && matches!(journal.taking, Taking::Nothing);
        if is_due {
            journal.since_snapshot = 0;
            journal.taking = Taking::Due(journal.applied, journal.applier.image());
        }
        let is_idle = journal.queue.is_empty();
        if is_due {
            let takes = self.a_sync();
            self.later(takes, Chore::Snapshot);
        }
        if is_idle {
            self.later(50 * MS, Chore::Note);
        }
    }

    fn snapshot_on(&mut self) -> Result<(), Failure> {
        let journal = self.server.journal_mut();
        let before = journal.disk.ops();
        let result = journal.snapshot_on();
        let ops = (before..journal.disk.ops()).filter_map(|at| journal.disk.op(at));
        let is_recycled = |op: &Op| matches!(op, Op::Rename(from, to) if from.ends_with(".segment") && to.ends_with(".spare"));
        if ops.into_iter().any(|op| is_recycled(&op)) {
            self.marks.sometimes("a segment was recycled");
        }
        match result {
            Ok(true) => {
                let takes = self.a_sync();
                self.later(takes, Chore::Snapshot);
                self.fall_if_due();
                Ok(())
            }
            Ok(false) => {
                self.marks.sometimes("a snapshot was taken");
                Ok(())
            }
            Err(SnapshotError::Failed(failure)) => Err(failure),
            Err(SnapshotError::NoRoom { .. }) => {
                self.marks.sometimes("a snapshot found no room");
                Ok(())
            }
            Err(error @ (SnapshotError::TooEarly { .. } | SnapshotError::Busy)) => panic!("{error}"),
        }
    }

    fn note(&mut self) -> Result<(), Failure> {
        let journal = self.server.journal_mut();
        if journal.writing.is_some() || !journal.queue.is_empty() || journal.is_noted {
            return Ok(());
        }
        journal.is_noted = true;
        journal.writer.note()
    }

    fn prepare(&mut self) -> Result<(), Failure> {
        let journal = self.server.journal_mut();
        journal.is_preparing = false;
        let room = journal.writer.prepare()?;
        let mut waiting = journal.queue.waiting();
        let was_short = std::mem::replace(&mut waiting.is_short_of_room, room.is_short);
        let has_refused = waiting.refused > 0;
        drop(waiting);
        if room.is_short && !was_short {
            self.marks.sometimes("a full disk was noticed");
        }
        self.upkeep.awaits_grant |= was_short && !room.is_short && has_refused;
        Ok(())
    }
}
