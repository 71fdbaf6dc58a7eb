//! What a grant or a release does with the value block (rules V1-V5 of `docs/locking.md`).
//!
//! The one place that reads or writes one. Modes are compared by their number in the table of V1 and nowhere else.

use super::lock::{LockSlot, ResourceSlot};
use super::shard::Shard;
use enq_protocol::vocabulary::{Flags, LockMode, ValueBlock};

/// What a cell of V1 says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// `-`
    Nothing,
    /// R: the resource's block is read.
    Read,
    /// W: the caller's block is stored.
    Store,
}

use Cell::{Nothing as O, Read as R, Store as W};

#[rustfmt::skip]
const MOVEMENT: [[Cell; 6]; 7] = [
    // granted:  NL CR CW PR PW EX
    /* new */  [ R, R, R, R, R, R ],
    /* NL  */  [ R, R, R, R, R, R ],
    /* CR  */  [ O, R, R, R, R, R ],
    /* CW  */  [ O, O, R, R, R, R ],
    /* PR  */  [ O, O, O, R, R, R ],
    /* PW  */  [ W, W, W, W, W, R ],
    /* EX  */  [ W, W, W, W, W, W ],
];

/// V1: what a grant does with the block.
pub(super) fn movement(before: Option<LockMode>, granted: LockMode) -> Cell {
    MOVEMENT[before.map_or(0, |mode| mode as usize + 1)][granted as usize]
}

/// V2, V4: does a lock that holds this mode leave a mark on the block when it ends?
pub(super) fn is_writer(held: Option<LockMode>) -> bool {
    matches!(held, Some(LockMode::Pw | LockMode::Ex))
}

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Moved {
    pub(super) stored: bool,
    pub(super) read: Option<Box<ValueBlock>>,
}

impl Shard {
    /// V1 for a grant: reads or stores with VALBLK, invalidates with IVVALBLK.
    pub(super) fn move_value(
        &mut self,
        (resource, flags): (ResourceSlot, Flags),
        before: Option<LockMode>,
        granted: LockMode,
        value: Option<&[u8]>,
    ) -> Moved {
        // Most requests do not concern themselves with the block.
        if flags.intersects(Flags::VALBLK | Flags::IVVALBLK) {
            self.move_asked((resource, flags), before, granted, value)
        } else {
            Moved::default()
        }
    }

    #[inline(never)]
    fn move_asked(
        &mut self,
        (resource, flags): (ResourceSlot, Flags),
        before: Option<LockMode>,
        granted: LockMode,
        value: Option<&[u8]>,
    ) -> Moved {
        match movement(before, granted) {
            // V4: a conversion through a W cell may say that the block is not valid.
            Cell::Store if flags.contains(Flags::IVVALBLK) => self.invalidate(resource),
            Cell::Store if flags.contains(Flags::VALBLK) => {
                let stored = value.is_some();
                if let Some(value) = value {
                    self.store(resource, value);
                }
                return Moved { stored, read: None };
            }
            // V5: what is read may be not valid, and says so.
            Cell::Read if flags.contains(Flags::VALBLK) => {
                let block = self.resources[resource].value.clone().unwrap_or_default();
                return Moved { stored: false, read: Some(block) };
            }
            Cell::Store | Cell::Read | Cell::Nothing => {}
        }
        Moved::default()
    }

    /// V2, V4 for a release.
    pub(super) fn release_value(&mut self, slot: LockSlot, flags: Flags, value: Option<&[u8]>) {
        let lock = &self.locks[slot];
        if !is_writer(lock.at.held()) {
            return;
        }
        let resource = lock.resource;
        if flags.contains(Flags::IVVALBLK) {
            self.invalidate(resource);
        } else if let Some(value) = value {
            self.store(resource, value);
        }
    }

    /// V4: a writer ended without storing.
    pub(super) fn abandon_value(&mut self, slot: LockSlot) {
        self.release_value(slot, Flags::IVVALBLK, None);
    }

    /// V3: each store counts.
    fn store(&mut self, resource: ResourceSlot, value: &[u8]) {
        self.with_value(resource, |block| {
            if block.bytes.len() == value.len() {
                block.bytes.copy_from_slice(value);
            } else {
                block.bytes = value.into();
            }
            block.seq += 1;
            block.valid = true;
        });
    }

    fn invalidate(&mut self, resource: ResourceSlot) {
        self.with_value(resource, |block| block.valid = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_a_writing_mode_everything_stores_except_pw_to_ex() {
        for before in LockMode::ALL {
            for granted in LockMode::ALL {
                let expected = match (before, granted) {
                    (LockMode::Pw, LockMode::Ex) => Cell::Read,
                    (LockMode::Pw | LockMode::Ex, _) => Cell::Store,
                    _ if granted as u8 >= before as u8 => Cell::Read,
                    _ => Cell::Nothing,
                };
                assert_eq!(movement(Some(before), granted), expected, "{before} to {granted}");
            }
        }
        assert!(LockMode::ALL.into_iter().all(|granted| movement(None, granted) == Cell::Read));
    }
}
