//! The head: the epoch of the last start, the newest segment that may have records, and what is known to be durable.
//!
//! Two slots, each a plate in a sector of its own, 4 KiB apart. Each change writes both, one after the other, with a sync
//! between them, and the one that is not trusted first. So a crash leaves the old head or the new one, and a slot that is
//! damaged later has a twin. The head is replaced by nothing: if both slots are damaged, nobody guesses.

use super::{
    contents::Access,
    disk::{File, read_up_to, write_all},
    error::{Damage, OpenError},
    layout::{BadPlate, Kind, Name, PLATE_BYTES, plate, read_plate},
    planted::{Mistake, Planted},
};
use std::io;

const SLOTS: [u64; 2] = [0, 4096];

/// What the head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Head {
    /// Drawn when the directory was made; part of every checksum in it.
    pub(super) id: u64,
    /// The number of the last start, 0 before the first.
    pub(super) epoch: u32,
    /// The newest segment, 0 before there is one.
    pub(super) segment: u64,
    /// Everything up to this position is durable; more may be.
    pub(super) durable: u64,
}

/// A head as it was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct FoundHead {
    pub(super) head: Head,
    /// The slot it was found in.
    trusted: usize,
    /// Is the other one damaged?
    pub(super) has_damage: bool,
}

impl Head {
    fn bytes(self) -> [u8; PLATE_BYTES] {
        plate(Kind::Head, [self.id, u64::from(self.epoch), self.segment, self.durable, 0, 0])
    }

    fn read(bytes: &[u8]) -> Result<Head, BadPlate> {
        let [id, epoch, segment, durable, ..] = read_plate(Kind::Head, bytes)?;
        Ok(Head { id, epoch: u32::try_from(epoch).map_err(|_| BadPlate::Damaged)?, segment, durable })
    }

    /// Reads both slots. The newer one counts: what it says was not used unless it is durable.
    pub(super) fn find(access: &Access<'_>) -> Result<FoundHead, OpenError> {
        let name = Name::Head.text();
        let unusable = |error| OpenError::unusable(access.disk, &name, error);
        let file = access.disk.open(&name).map_err(unusable)?;
        let mut slots = [Err(BadPlate::Damaged); 2];
        for (slot, offset) in slots.iter_mut().zip(SLOTS) {
            let mut bytes = [0; PLATE_BYTES];
            read_up_to(&*file, &mut bytes, offset).map_err(unusable)?;
            *slot = Head::read(&bytes);
        }
        let found = |head, trusted, has_damage| Ok(FoundHead { head, trusted, has_damage });
        match slots {
            [Err(BadPlate::Version(version)), _] | [_, Err(BadPlate::Version(version))] => {
                Err(OpenError::Version { file: access.disk.path(&name), version })
            }
            [Ok(first), Ok(second)] if first.id != second.id => {
                let why = "its two slots belong to different journals";
                Err(Damage { file: access.disk.path(&name), offset: None, position: None, why, proof: None }
                    .into())
            }
            [Ok(first), Ok(second)] if first >= second => found(first, 0, false),
            [_, Ok(second)] => found(second, 1, slots[0].is_err()),
            [Ok(first), Err(BadPlate::Damaged)] => found(first, 0, true),
            [Err(BadPlate::Damaged), Err(BadPlate::Damaged)] => {
                let why = "neither of its two slots is intact";
                Err(Damage { file: access.disk.path(&name), offset: None, position: None, why, proof: None }
                    .into())
            }
        }
    }
}

/// The head of a journal that is in use.
pub(super) struct HeadFile {
    file: Box<dyn File>,
    head: Head,
    trusted: usize,
    planted: Planted,
}

impl HeadFile {
    /// A file that becomes the head when it gets its name.
    pub(super) fn new(file: Box<dyn File>, head: Head, planted: Planted) -> HeadFile {
        HeadFile { file, head, trusted: 0, planted }
    }

    /// The file in which this was found.
    pub(super) fn found(file: Box<dyn File>, found: FoundHead, planted: Planted) -> HeadFile {
        HeadFile { file, head: found.head, trusted: found.trusted, planted }
    }

    pub(super) fn head(&self) -> Head {
        self.head
    }

    /// Both slots, before the file has its name.
    pub(super) fn write_first(&self) -> io::Result<()> {
        for offset in SLOTS {
            write_all(&*self.file, &self.head.bytes(), offset)?;
        }
        self.file.sync()
    }

    /// Both slots say this, and are synced, when it returns.
    pub(super) fn write(&mut self, head: Head) -> io::Result<()> {
        for slot in [1 - self.trusted, self.trusted] {
            write_all(&*self.file, &head.bytes(), SLOTS[slot])?;
            self.file.sync()?;
            if self.planted.is(Mistake::OneSlot) {
                self.trusted = slot;
                break;
            }
        }
        self.head = head;
        Ok(())
    }
}
