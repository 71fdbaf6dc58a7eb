//! How the next server begins: what it must find, and what it goes on with.
//!
//! Everything that was applied is found, for it was durable; of the batch that was under way all or nothing; and behind that
//! nothing but starts that were cut short. What is found of that batch is applied to the table of the last server as well,
//! before the judges, although nobody was told of it; so the two tables can be compared.

use super::super::clock::{MS, Time};
use super::super::run::{Event, World, Wrong};
use super::super::server::{Make, Server};
use super::fall::{End, Fallen, left};
use super::twin::{self, Beginning};
use super::{Journal, Keeping, Queue, Taking};
use crate::disk::{Model, Plan};
use enq::engine::{Instant, Local};
use enq::log::journal::{OpenError, Recovery, Tail};
use enq::log::{Act, Record, RecoverError, Recovered, Room, Served, recover};
use enq::table::Terms;
use enq_protocol::vocabulary::SessionId;
use rand::Rng as _;
use std::sync::{Arc, Mutex, PoisonError};

/// The number that journals of worlds begin under.
const ID: u64 = 0x7761_6C6C_7368_6176;

/// Between two starts.
const NEXT_TRY: Time = 200 * MS;

pub(super) fn terms(make: &Make, epoch: u32) -> Terms {
    Terms {
        epoch,
        route_key: *b"a world's shards",
        window_requests: make.window.0,
        window_bytes: make.window.1,
        limits: make.limits,
    }
}

pub(super) fn local(make: &Make, life: u64) -> Local {
    let hash_seed = make.seed.wrapping_add(life.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    Local {
        hash_seed,
        memory: make.limits.memory,
        history: make.limits.history,
        planted: make.limits.planted,
    }
}

/// A journal that has become a table, and where it is told why nothing more is applied.
type Ready = (Recovered, Arc<Mutex<Option<String>>>);

/// Makes the table of a disk, and of that a log.
fn recover_from(disk: &Model, make: &Make, keeping: &Keeping, life: u64) -> Result<Ready, RecoverError> {
    let stopped: Arc<Mutex<Option<String>>> = Arc::default();
    let told = Arc::clone(&stopped);
    let served = Served {
        terms: terms(make, 0),
        local: local(make, life),
        snapshot_every: usize::MAX,
        stopped: Box::new(move |why| {
            told.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| why.into());
        }),
    };
    recover(Arc::new(disk.clone()), keeping.settings.clone(), ID, served)
        .map(|recovered| (recovered, stopped))
}

/// What serves, and how it is kept.
pub(crate) fn begin(
    disk: &Model,
    (recovered, stopped): Ready,
    keeping: &Keeping,
) -> (enq::log::Journaled, Journal) {
    let queue = Arc::new(Queue::new(recovered.writer.next(), keeping.crowded));
    let log = recovered.log(Arc::clone(&queue) as Arc<dyn enq::log::Pipe>);
    let Recovered { applier, writer, epoch, .. } = recovered;
    let applied = writer.next() - 1;
    let journal = Journal {
        disk: disk.clone(),
        queue,
        applier,
        writer,
        writing: None,
        taking: Taking::Nothing,
        applied,
        since_snapshot: 0,
        is_noted: false,
        is_preparing: false,
        epoch,
        stopped,
    };
    (log, journal)
}

/// The very first server with a journal.
pub(crate) fn first(make: &Make, keeping: &Keeping) -> (enq::log::Journaled, Journal) {
    let disk = Model::default();
    let recovered = recover_from(&disk, make, keeping, 0);
    begin(&disk, recovered.unwrap_or_else(|error| panic!("an empty disk: {error}")), keeping)
}

/// The server after another one of which that is left.
pub(super) fn next(
    disk: &Model,
    make: &Make,
    keeping: &Keeping,
    (clock, time): (super::super::clock::Clock, Time),
) -> Result<Server, Wrong> {
    let recovered = recover_from(disk, make, keeping, 1).map_err(|error| error.to_string())?;
    let now = recovered.0.now;
    let (log, journal) = begin(disk, recovered, keeping);
    Ok(Server::with(make, Box::new(log), Some(journal), clock.showing(time, now.0), now))
}

/// What is behind what was applied.
struct Behind {
    /// Is it the batch that was under way?
    has_batch: bool,
    /// Starts that were cut short, and what they said.
    beginnings: Vec<Beginning>,
}

impl World {
    /// A server begins, if none serves.
    pub(crate) fn start(&mut self) -> Result<(), Wrong> {
        let Some(Fallen { disk, starts_cut }) = self.upkeep.fallen.take() else { return Ok(()) };
        let disk = self.rot(disk);
        let behind = match self.look_behind(&disk) {
            Ok(behind) => behind,
            Err(RecoverError::Open(OpenError::Aborted { .. }))
                if starts_cut > 0 || self.upkeep.lost_power =>
            {
                // Somebody has looked, and has it tried once more. The note of what is being applied is not synced: after a
                // loss of power it may be one of before, and count for an end that was none.
                self.marks.sometimes("a start was refused after two ends at one place");
                disk.take_away("attempts");
                return self.start_again(disk, starts_cut);
            }
            Err(error) => return Err(format!("the journal is not opened: {error}")),
        };
        let behind = behind?;
        let before = disk.ops();
        self.upkeep.life += 1;
        let keeping = self.keeping().clone();
        let recovered = recover_from(&disk, &self.make, &keeping, self.upkeep.life);
        let is_cut = !self.healed && self.random.random_ratio(keeping.start_crashes, 100);
        let recovered = match recovered {
            Err(error) => {
                if !self.upkeep.has_error && !self.upkeep.is_full {
                    return Err(format!("the start failed: {error}"));
                }
                self.tell(format_args!("the start failed: {error}"));
                self.marks.sometimes("a start failed");
                self.upkeep.has_error = false;
                let disk = disk.cut(disk.ops());
                return self.start_again(disk, starts_cut + 1);
            }
            Ok(_) if is_cut => {
                let at = self.random.random_range(before..=disk.ops());
                let end = if self.random.random_bool(0.5) { End::Death } else { End::Outage };
                self.tell(format_args!("the start is cut short, {end:?}"));
                self.marks.sometimes("a crash in a recovery");
                let disk = left(&disk, at, end, &mut self.random);
                return self.start_again(disk, starts_cut + 1);
            }
            Ok(recovered) => recovered,
        };
        self.go_on(&disk, recovered, behind)
    }

    fn start_again(&mut self, disk: Model, starts_cut: u32) -> Result<(), Wrong> {
        disk.set_plan(Plan { at: None, full_from: self.upkeep.is_full.then_some(0) });
        self.upkeep.fallen = Some(Fallen { disk, starts_cut });
        self.at(self.now + NEXT_TRY, Event::Start);
        Ok(())
    }

    /// Now and then the newer of two snapshots has been damaged meanwhile.
    fn rot(&mut self, disk: Model) -> Model {
        let mut state = disk.view();
        let snapshots: Vec<String> =
            state.keys().filter(|name| name.ends_with(".snapshot")).cloned().collect();
        let [_, .., newest] = &snapshots[..] else { return disk };
        if !self.random.random_ratio(self.keeping().rot, 100) {
            return disk;
        }
        self.tell(format_args!("{newest} is damaged"));
        let bytes = state.get_mut(newest).expect("it is there");
        let at = self.random.random_range(0..bytes.len());
        bytes[at] ^= 1 << self.random.random_range(0..8);
        let disk = Model::new(state);
        disk.set_plan(Plan { at: None, full_from: self.upkeep.is_full.then_some(0) });
        disk
    }

    /// What a start will find, read from a copy of the disk.
    fn look_behind(&mut self, disk: &Model) -> Result<Result<Behind, Wrong>, RecoverError> {
        let copy = Model::new(disk.view());
        let mut recovery = Recovery::open(Arc::new(copy), self.keeping().settings.clone(), ID)?;
        let applied = self.server.journal().applied;
        let (mut last, mut records) = (0, Vec::new());
        if let Some(snapshot) = recovery.snapshot()? {
            last = snapshot.position();
        }
        while let Some(batch) = recovery.batch()? {
            last = batch.next() - 1;
            let new = batch.records().filter(|(position, _)| *position > applied);
            records.extend(new.map(|(_, record)| record.to_vec()));
        }
        if last < applied {
            return Ok(Err(format!("durability: position {applied} was applied, and {last} is the last")));
        }
        let under_way = self.server.journal().writing.as_ref().map(|body| {
            let records = body.batch().records();
            records.map(|(_, record)| record.to_vec()).collect::<Vec<_>>()
        });
        let has_batch = under_way.as_ref().is_some_and(|batch| records.starts_with(batch));
        let starts = &records[if has_batch { under_way.map_or(0, |batch| batch.len()) } else { 0 }..];
        let mut beginnings = Vec::new();
        for record in starts {
            let mut room = Room::default();
            match Record::read(record, &mut room) {
                Ok(Record { now, act: Act::Start(terms) }) => beginnings.push(Beginning { now, terms }),
                other => return Ok(Err(format!("what nobody has written is in the journal: {other:?}"))),
            }
        }
        Ok(Ok(Behind { has_batch, beginnings }))
    }

    /// The next server serves.
    fn go_on(&mut self, disk: &Model, recovered: Ready, behind: Behind) -> Result<(), Wrong> {
        let Recovered { epoch, now, report, .. } = &recovered.0;
        let (epoch, now, report) = (*epoch, *now, report.clone());
        let before = self.server.journal().epoch;
        if epoch <= before {
            return Err(format!("epoch {epoch} after {before}"));
        }
        if now < self.upkeep.moment {
            return Err(format!("time goes on from {now:?}, and was {:?} before", self.upkeep.moment));
        }
        if behind.has_batch {
            let body = self.server.journal_mut().writing.take().expect("it was under way");
            for (position, record) in body.batch().records() {
                self.apply(position, record)?;
            }
            self.marks.sometimes("a batch that nobody was told of was found");
        }
        self.note_report(&report);
        let mut beginnings = behind.beginnings;
        let make = self.make;
        beginnings.push(Beginning { now, terms: terms(&make, epoch) });
        let keeping = self.keeping().clone();
        let (log, journal) = begin(disk, recovered, &keeping);
        let clock = self.server.clock.showing(self.now, now.0);
        let server = Server::with(&self.make, Box::new(log), Some(journal), clock, now);
        let is_exact = !self.options.taste.notices;
        twin::compare(&self.server, &server, &beginnings, (&make, is_exact), self.streams.sessions())?;
        self.judge_acknowledgements(&server)?;
        self.tell(format_args!("a server goes on, epoch {epoch}, {report:?}"));
        self.server = server;
        self.upkeep.is_down = false;
        self.streams.life = self.upkeep.life;
        self.upkeep.began = self.now;
        self.upkeep.went_on = self.server.table().all_sessions().iter().map(|cell| cell.id).collect();
        self.soundness.restart();
        self.completeness.restart(self.now);
        let queued =
            |seen: &super::super::judges::Seen| seen.locks.iter().any(|lock| lock.requested.is_some());
        if self.bench.last().places.iter().any(queued) {
            self.marks.sometimes("a queue survived");
        }
        if !self.bench.last().orphans.is_empty() {
            self.marks.sometimes("an orphan survived");
        }
        self.look()
    }

    /// A session that goes on after a restart has a whole lease from there.
    pub(crate) fn judge_whole_lease(&self, session: SessionId) -> Result<(), Wrong> {
        let (since, lease) = (self.now - self.upkeep.began, u64::from(self.options.ttl_ms) * MS);
        if self.upkeep.went_on.contains(&session) && since < lease / 100 * 98 {
            return Err(format!("lease: {session} ended {} ms after a restart", since / MS));
        }
        Ok(())
    }

    /// What had arrived when a request was let in stands in the log with it.
    fn judge_acknowledgements(&self, server: &Server) -> Result<(), Wrong> {
        for cell in server.table().all_sessions() {
            let (acked, logged) = (cell.in_half.lock().acked(), self.upkeep.acked.get(&cell.id).copied());
            if logged.is_some_and(|logged| acked < logged) {
                return Err(format!(
                    "recovery: {} had acknowledged {logged:?}, and {acked} is known",
                    cell.id
                ));
            }
        }
        Ok(())
    }

    fn note_report(&mut self, report: &enq::log::journal::Report) {
        for (mark, is) in [
            ("a torn tail was cut", matches!(report.tail, Tail::Torn { .. })),
            ("an older snapshot was used", !report.damaged_snapshots.is_empty()),
            ("a start used a snapshot", report.snapshot > 0),
            ("a slot of the head was torn", report.has_damaged_slot),
        ] {
            if is {
                self.marks.sometimes(mark);
            }
        }
    }

    /// At the end the journal is read once more: it has what the server has.
    pub(crate) fn judge_the_journal(&mut self) -> Result<(), Wrong> {
        let Some(keeping) = self.options.keeping.clone() else { return Ok(()) };
        let disk = Model::new(self.server.journal().disk.view());
        let again = next(&disk, &self.make, &keeping, (self.server.clock, self.now))
            .map_err(|error| format!("the journal is not opened at the end: {error}"))?;
        let now = Instant(again.clock.shows(self.now));
        let beginnings = [Beginning { now, terms: terms(&self.make, again.journal().epoch) }];
        let is_exact = !self.options.taste.notices;
        twin::compare(&self.server, &again, &beginnings, (&self.make, is_exact), self.streams.sessions())?;
        self.marks.sometimes("a journal was read again at the end");
        Ok(())
    }
}
