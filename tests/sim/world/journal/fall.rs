//! How a server with a journal ends: it dies, its machine loses its power, its disk fails. What is left is a disk.
//!
//! Whatever the server did last may have been half done: the disk is cut after any of its operations. Of what was not synced
//! a loss of power leaves any part, and the end of a process everything.

use super::super::clock::MS;
use super::super::run::{Event, World, Wrong};
use super::super::server::ConnectionId;
use super::{Journal, Taking};
use crate::disk::{Fault, Model, Op, Plan};
use rand::{Rng as _, rngs::StdRng, seq::IndexedRandom as _};

/// A batch of so many bytes is likely to reach into a second sector, and sectors are written whole or not at all.
const LONG: usize = 250;

/// What is left of a server.
pub(crate) struct Fallen {
    pub(super) disk: Model,
    /// How often a start was cut short since.
    pub(super) starts_cut: u32,
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The process dies; what it has written is seen by the next one.
    Death,
    /// The machine does; what it has not synced may be lost.
    Outage,
}

/// What the disk is to be busy with when the server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Busy {
    /// Whatever it is.
    Anything,
    /// It writes a batch.
    Write,
    /// It writes one that a loss of power can tear.
    LongWrite,
    /// It writes a snapshot.
    Snapshot,
}

impl Journal {
    /// Is it busy with that?
    pub(super) fn is_at(&self, busy: Busy) -> bool {
        match busy {
            Busy::Anything => true,
            Busy::Write => self.writing.is_some(),
            Busy::LongWrite => self.writing.as_ref().is_some_and(|body| body.length() > LONG),
            Busy::Snapshot => matches!(self.taking, Taking::Writing(..)),
        }
    }

    /// The last thing it does: how many operations of the disk happened, and what that means.
    fn last_act(&mut self, end: End, busy: Busy, random: &mut StdRng) -> (usize, Option<&'static str>) {
        let before = self.disk.ops();
        let is_taking = matches!(self.taking, Taking::Writing(..));
        let act = match busy {
            Busy::Write | Busy::LongWrite => 0,
            Busy::Snapshot => 1,
            Busy::Anything => random.random_range(0..4),
        };
        let mark = match act {
            0 if self.writing.is_some() => {
                _ = self.write();
                let after = self.disk.ops();
                // What tears a batch is a loss of power before it is synced.
                let tears = end == End::Outage && after > before && random.random_bool(0.8);
                let at = if tears { after - 1 } else { random.random_range(before..=after) };
                let is_written = at > before && matches!(self.disk.op(at - 1), Some(Op::Write(..)));
                return match self.disk.op(at) {
                    _ if at == after => (at, Some("a crash between sync and apply")),
                    Some(Op::Sync(_)) if is_written => (at, Some("a crash between write and sync")),
                    _ => (at, Some("a crash in a write")),
                };
            }
            0 | 1 => {
                _ = self.snapshot_on();
                is_taking.then_some("a crash in the middle of a snapshot")
            }
            2 => {
                _ = self.writer.prepare();
                None
            }
            _ => {
                _ = self.writer.note();
                None
            }
        };
        (random.random_range(before..=self.disk.ops()), mark)
    }
}

/// What such an end leaves of a disk that has come so far.
pub(super) fn left(disk: &Model, at: usize, end: End, random: &mut StdRng) -> Model {
    match end {
        End::Death => disk.cut(at),
        End::Outage => Model::new(disk.crashes(at).drawn(random)),
    }
}

impl World {
    /// The server ends, in the middle of whatever it does.
    pub(crate) fn fall(&mut self, end: End) {
        if self.upkeep.is_down {
            return;
        }
        // Most of the time nothing is being written; most crashes should find something.
        let busy = match self.upkeep.falls_when.take() {
            Some((_, busy)) => busy,
            None => *[Busy::Anything, Busy::Write, Busy::LongWrite, Busy::Snapshot]
                .choose(&mut self.random)
                .expect("not empty"),
        };
        if !self.server.journal().is_at(busy) {
            self.upkeep.falls_when = Some((end, busy));
            return;
        }
        let (at, mark) = self.server.journal_mut().last_act(end, busy, &mut self.random);
        let journal = self.server.journal();
        let disk = left(&journal.disk, at, end, &mut self.random);
        self.tell(format_args!("the server ends, {end:?}, {}", mark.unwrap_or("at rest")));
        self.marks.sometimes(match end {
            End::Death => "a process with a journal died",
            End::Outage => "a machine with a journal lost its power",
        });
        mark.into_iter().for_each(|mark| self.marks.sometimes(mark));
        self.go_down(disk, end);
    }

    /// The disk has failed: nothing more is said, and the process ends.
    pub(super) fn disk_fails(&mut self, failure: &str) -> Result<(), Wrong> {
        if !self.upkeep.has_error && !self.upkeep.is_full {
            return Err(format!("the disk did not fail: {failure}"));
        }
        self.tell(format_args!("the disk fails: {failure}"));
        self.marks.sometimes(if self.upkeep.is_full {
            "a full disk ended a server"
        } else {
            "a disk failed"
        });
        let disk = &self.server.journal_mut().disk;
        let disk = disk.cut(disk.ops());
        self.go_down(disk, End::Death);
        Ok(())
    }

    fn go_down(&mut self, disk: Model, end: End) {
        self.note_metrics();
        self.upkeep.is_down = true;
        self.upkeep.lost_power |= end == End::Outage;
        self.upkeep.has_error = false;
        disk.set_plan(Plan { at: None, full_from: self.upkeep.is_full.then_some(0) });
        self.upkeep.fallen = Some(Fallen { disk, starts_cut: 0 });
        self.server_stopped_until = self.server_stopped_until.min(self.now);
        self.forget_to_serve();
        self.drop_connections(end == End::Death);
        let gone = if self.healed { 20 * MS } else { self.keeping().gone };
        let after = self.now + self.random.random_range(MS..=gone);
        self.at(after, Event::Start);
    }

    /// Nobody serves these connections any more; their clients learn it, at once or by waiting in vain.
    pub(crate) fn drop_connections(&mut self, all_learn: bool) {
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in ids {
            let loses = self.random.random_bool(0.5);
            let learns = all_learn || self.random.random_bool(0.5);
            if let Some(connection) = self.connections.get_mut(&id).filter(|known| known.served) {
                connection.served = false;
                if learns {
                    let at = connection.to_client.reset(self.now, loses);
                    self.at(at, Event::ToClient(id));
                }
            }
        }
    }

    /// Nobody is there to connect to.
    pub(crate) fn refuse_connection(&mut self, id: ConnectionId) {
        let connection = self.connections.get_mut(&id).expect("it was just made");
        let at = connection.to_client.reset(self.now + MS / 10, false);
        self.at(at, Event::ToClient(id));
    }

    /// One of the next calls of the disk fails.
    pub(crate) fn spoil_a_call(&mut self) {
        let soon = self.random.random_range(1..=12);
        let fault = if self.random.random_ratio(1, 6) { Fault::Short } else { Fault::Eio };
        self.upkeep.has_error |= fault == Fault::Eio;
        let full_from = self.upkeep.is_full.then_some(0);
        let disk = self.disk();
        disk.set_plan(Plan { at: Some((disk.calls() + soon, fault)), full_from });
        self.tell(format_args!("a call of the disk will go wrong: {fault:?}"));
    }

    /// There is no room on the disk, or there is room again.
    pub(crate) fn fill_disk(&mut self, is_full: bool) {
        self.upkeep.is_full = is_full;
        self.tell(format_args!("the disk is full: {is_full}"));
        self.disk().set_plan(Plan { at: None, full_from: is_full.then_some(0) });
    }

    /// Nothing goes wrong with the disk any more.
    pub(crate) fn heal_the_disk(&mut self) {
        if self.options.keeping.is_none() {
            return;
        }
        self.fill_disk(false);
        self.upkeep.has_error = false;
        self.at(self.now + MS, Event::Start);
    }

    /// The disk of the server, or what is left of it.
    pub(super) fn disk(&self) -> Model {
        match &self.upkeep.fallen {
            Some(fallen) => fallen.disk.clone(),
            None => self.server.journal().disk.clone(),
        }
    }
}
