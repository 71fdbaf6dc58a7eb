//! What is being applied, noted in a file, so that records which end the process are found out.
//!
//! Whoever applies records says so before and after. If the process ends in between, by an assertion or a signal, the note is
//! what the next start finds; if that one ends at the same place, the start after it refuses and says where. The note is for
//! the end of a process, not of the machine: it is written and not synced, and one that is damaged is no note.

use super::{
    contents::Contents,
    disk::{Disk, File, read_up_to, write_all},
    error::OpenError,
    layout::{Kind, Name, PLATE_BYTES, plate, read_plate},
};
use std::{io, sync::Arc};

/// So many tries of the same records are made without somebody who has looked.
const TRIES_MAX: u64 = 2;

/// Records that were being applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Try {
    first: u64,
    last: u64,
    tries: u64,
}

/// The note.
pub struct Attempts {
    disk: Arc<dyn Disk>,
    file: Option<Box<dyn File>>,
    id: u64,
    /// What the processes before were at when they ended.
    before: Option<Try>,
}

impl Attempts {
    /// Reads the note, and refuses if it says that enough has been tried.
    pub(super) fn find(disk: Arc<dyn Disk>, contents: &Contents<'_>, id: u64) -> Result<Attempts, OpenError> {
        let mut attempts = Attempts { disk, file: None, id, before: None };
        if contents.has_attempts {
            attempts.before = attempts.read().map_err(|error| attempts.unusable(error))?;
        }
        match attempts.before {
            Some(Try { first, last, tries }) if tries >= TRIES_MAX => Err(OpenError::Aborted {
                first,
                last,
                tries,
                file: attempts.disk.path(&Name::Attempts.text()),
            }),
            Some(_) | None => Ok(attempts),
        }
    }

    fn read(&mut self) -> io::Result<Option<Try>> {
        let file = self.disk.open(&Name::Attempts.text())?;
        let mut bytes = [0; PLATE_BYTES];
        read_up_to(&*file, &mut bytes, 0)?;
        self.file = Some(file);
        let Ok([id, first, last, tries, ..]) = read_plate(Kind::Attempts, &bytes) else { return Ok(None) };
        Ok((id == self.id && tries > 0).then_some(Try { first, last, tries }))
    }

    /// The records that ended the process before, if any did: better applied one by one.
    #[must_use]
    pub fn suspects(&self) -> Option<(u64, u64)> {
        self.before.map(|before| (before.first, before.last))
    }

    /// These records are about to be applied.
    ///
    /// # Errors
    /// It cannot be noted.
    pub fn applying(&mut self, first: u64, last: u64) -> io::Result<()> {
        let (first, last, tries) = match self.before {
            // Those of before come later: their note stays.
            Some(before) if last < before.first => return Ok(()),
            // Whatever ends the process is among both.
            Some(before) if first <= before.last => {
                (first.max(before.first), last.min(before.last), before.tries + 1)
            }
            Some(_) | None => (first, last, 1),
        };
        self.write(Try { first, last, tries })
    }

    /// They have been applied up to this one, and the process is still there.
    ///
    /// # Errors
    /// It cannot be noted.
    pub fn applied(&mut self, last: u64) -> io::Result<()> {
        match self.before {
            Some(before) if last < before.last => Ok(()),
            Some(_) | None => {
                self.before = None;
                self.write(Try { first: 0, last: 0, tries: 0 })
            }
        }
    }

    /// All that there was has been applied, and the process is still there.
    ///
    /// # Errors
    /// It cannot be noted.
    pub fn all_applied(&mut self) -> io::Result<()> {
        self.before = None;
        self.write(Try { first: 0, last: 0, tries: 0 })
    }

    fn write(&mut self, of: Try) -> io::Result<()> {
        self.put(of).map_err(|error| {
            let path = self.disk.path(&Name::Attempts.text());
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })
    }

    fn put(&mut self, of: Try) -> io::Result<()> {
        let bytes = plate(Kind::Attempts, [self.id, of.first, of.last, of.tries, 0, 0]);
        let file = match self.file.take() {
            Some(file) => file,
            None => self.disk.create(&Name::Attempts.text())?,
        };
        write_all(&**self.file.insert(file), &bytes, 0)
    }

    fn unusable(&self, error: io::Error) -> OpenError {
        OpenError::unusable(&*self.disk, &Name::Attempts.text(), error)
    }
}
