//! The state that a journal or a backup stands for, made in memory without a server, for who looks at it, checks it, saves it,
//! or makes a journal of it.
//!
//! It is made by what a start makes it by (`recover`, `apply`): whatever comes out here, a server would serve. The journal is
//! only read, and may be in use; it is read again if it has changed under the reader's hands.

use super::{
    RecoverError,
    apply::Machine,
    journal::{Backup, Contents, Disk, OpenError, Reading, Report, make},
    recover::{from_image, from_snapshot, image},
};
use crate::{
    engine::{Instant, Local, Planted},
    table::Table,
};
use enq_protocol::vocabulary::Seq;
use std::sync::Arc;

/// So far above the last epoch that is known begins a journal that is made of a backup: nobody knows how often the server was
/// started after it. A start every ten seconds takes a week for so many; and there is room for 127 of these steps.
pub const EPOCHS_A_RESTORE: u32 = 1 << 16;

/// See the front page.
pub struct Replayed {
    table: Table,
    now: Instant,
    of: Backup,
    report: Option<Report>,
    bytes: usize,
}

/// A state in a few numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// The position of the last record in it.
    pub position: u64,
    /// The epoch of the last start.
    pub epoch: u32,
    /// The moment it is of: for so many milliseconds servers have served from this journal.
    pub served_ms: u64,
    /// When the backup was made, in milliseconds since 1970; none of a journal.
    pub made_ms: Option<u64>,
    /// Sessions.
    pub sessions: u64,
    /// Locks in all queues.
    pub locks: u64,
    /// Of these, locks that wait or convert.
    pub queued: u64,
    /// Resources.
    pub resources: u64,
    /// Lockspaces.
    pub lockspaces: u64,
    /// The state, in bytes.
    pub bytes: usize,
}

impl Replayed {
    /// What the journal in this directory stands for.
    ///
    /// # Errors
    /// There is none, it is damaged, or it has changed meanwhile.
    pub fn of_journal(disk: Arc<dyn Disk>) -> Result<Replayed, RecoverError> {
        let path = disk.path("");
        let mut reading = Reading::look(disk)?;
        let mut machine = from_snapshot(reading.snapshot()?, local(reading.id()))?;
        while let Some(batch) = reading.batch()? {
            for (position, record) in batch.records() {
                machine.apply(record).map_err(|_| RecoverError::Record { position })?;
            }
        }
        let position = reading.report().last;
        let of = Backup { id: reading.id(), position, epoch: reading.epoch(), made_ms: 0 };
        let made = Replayed::made(machine, of)?.ok_or(RecoverError::Nothing { path })?;
        Ok(Replayed { report: Some(reading.report().clone()), ..made })
    }

    /// What a backup stands for.
    ///
    /// # Errors
    /// It is none, or damaged.
    pub fn of_backup(disk: &dyn Disk, name: &str) -> Result<Replayed, RecoverError> {
        let (of, content) = Backup::open(disk, name)?;
        let machine = from_snapshot(Some(content), local(of.id))?;
        Replayed::made(machine, of)?.ok_or_else(|| RecoverError::Nothing { path: disk.path(name) })
    }

    /// A state that is sound.
    fn made(machine: Machine, of: Backup) -> Result<Option<Replayed>, RecoverError> {
        let Machine { table: Some(table), now, .. } = machine else { return Ok(None) };
        table.check().map_err(|why| RecoverError::Unsound { position: of.position, why })?;
        let bytes = image(&table, now).len();
        Ok(Some(Replayed { table, now, of, report: None, bytes }))
    }

    /// How the journal was read; nothing of a backup.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        self.report.as_ref()
    }

    /// What is in it.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let statistics = self.table.statistics();
        let Backup { position, epoch, made_ms, .. } = self.of;
        Figures {
            position,
            epoch,
            served_ms: self.now.ms_since(Instant::START),
            made_ms: Some(made_ms).filter(|_| self.report.is_none()),
            sessions: statistics.sessions,
            locks: statistics.locks,
            queued: statistics.waiting + statistics.converting,
            resources: statistics.resources,
            lockspaces: self.table.show_spaces().len() as u64,
            bytes: self.bytes,
        }
    }

    /// Writes a backup, under another name until it is whole. Says how many bytes it has.
    ///
    /// # Errors
    /// It cannot be written, or it would be one that nobody can read.
    pub fn save(&self, disk: &dyn Disk, names: (&str, &str), made_ms: u64) -> Result<u64, RecoverError> {
        let image = image(&self.table, self.now);
        // Better no backup than one of which that is found out when it is needed.
        from_image(&image, &local(self.of.id))
            .map_err(|error| RecoverError::Image { position: self.of.position, error })?;
        Ok(Backup { made_ms, ..self.of }.write(disk, names, &image)?)
    }

    /// Makes a journal that begins with this state, in an empty directory and under this number, which should be drawn. Its
    /// epoch is above that of the state, and above that of the directory it comes after, if one is named. Says which.
    ///
    /// # Errors
    /// It cannot be made, or there are no more epochs.
    pub fn restore(&self, disk: &dyn Disk, id: u64, after: Option<u32>) -> Result<u32, RecoverError> {
        let known = self.of.epoch.max(after.unwrap_or(0));
        let epoch = known.saturating_add(EPOCHS_A_RESTORE);
        if epoch >= Seq::EPOCH_MAX {
            return Err(RecoverError::EpochsUsedUp { path: disk.path(""), epoch: known });
        }
        make(disk, id, Backup { epoch, ..self.of }, &image(&self.table, self.now))?;
        Ok(epoch)
    }
}

/// The epoch of the last start in a directory, whatever else there is of it.
///
/// # Errors
/// It has no head, or it cannot be read.
pub fn last_epoch(disk: &dyn Disk) -> Result<u32, OpenError> {
    Contents::look_at_journal(disk)?.into_epoch()
}

/// What a process has for itself that serves nobody. The number of a journal is known to nobody outside, so nobody has chosen
/// names by it.
fn local(id: u64) -> Local {
    Local { hash_seed: id, memory: usize::MAX, history: 0, planted: Planted::default() }
}
