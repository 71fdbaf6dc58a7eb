//! The value block: each store counts, what is there was stored once, and a block is not valid exactly when a writer left
//! without storing.

use super::{Glance, Wrong};
use enq_protocol::vocabulary::{Flags, LockMode, LockView};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub(crate) struct Values {
    /// What was stored, by place and number of the store, since the resource was made.
    stored: BTreeMap<(usize, u64), Vec<u8>>,
    ever: BTreeSet<Vec<u8>>,
}

impl Values {
    pub(crate) fn restart(&mut self) {
        self.stored.clear();
    }

    pub(crate) fn look(&mut self, place: usize, (earlier, now): (&Glance, &Glance)) -> Result<(), Wrong> {
        let (before, seen) = (&earlier.places[place], &now.places[place]);
        if seen.locks.is_empty() {
            // V6: the block goes with the resource.
            self.stored.retain(|(at, _), _| *at != place);
            return Ok(());
        }
        let (old, new) = (&before.value, &seen.value);
        let anew = !before.locks.iter().any(|lock| seen.lock(lock.lock).is_some());
        // A resource may stand with all its locks exchanged, or be another one of the same name.
        let kept = anew && (new.seq, &new.bytes) == (old.seq, &old.bytes);
        if anew && !kept {
            self.stored.retain(|(at, _), _| *at != place);
        } else if new.seq < old.seq {
            return Err(format!("value: the count of stores went from {} to {}", old.seq, new.seq));
        }
        if new.seq > 0 {
            match self.stored.get(&(place, new.seq)) {
                Some(bytes) if **bytes != *new.bytes => {
                    return Err(format!("value: store {} was {bytes:?} and is {:?}", new.seq, new.bytes));
                }
                Some(_) => {}
                None if !self.ever.insert(new.bytes.to_vec()) => {
                    return Err(format!("value: {:?} was stored before", new.bytes));
                }
                None => {
                    self.stored.insert((place, new.seq), new.bytes.to_vec());
                }
            }
        }
        let is_writer = |mode: Option<LockMode>| matches!(mode, Some(LockMode::Pw | LockMode::Ex));
        // E3: the block of what stays as an orphan is as it was; what is gone again may have been purged or released.
        let stays = |lock: &LockView| now.orphans.contains(&lock.lock);
        let has_gone = |lock: &LockView| now.has_lost_session(lock) && !stays(lock);
        let mut died = before.locks.iter().filter(|lock| {
            is_writer(lock.granted) && has_gone(lock) && !lock.flags.contains(Flags::PERSISTENT)
        });
        // Who was granted and died within one turn was not seen to hold anything; and a purge leaves a block not valid.
        let was_purged = |lock: &LockView| earlier.orphans.contains(&lock.lock) && !stays(lock);
        let anybody_died = before.locks.iter().any(|lock| has_gone(lock) || was_purged(lock));
        // Whoever stores after it died makes the block valid again; more than one store may have been made.
        let untouched = new.seq == old.seq && !anew;
        match died.next() {
            Some(lock) if untouched && new.valid => {
                Err(format!("value: the writer of lock {} died, and the block is valid", lock.lock))
            }
            None if untouched && old.valid && !new.valid && !anybody_died => {
                Err("value: no writer died, and the block is not valid any more".into())
            }
            _ => Ok(()),
        }
    }
}
