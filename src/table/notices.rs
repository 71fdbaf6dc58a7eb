//! Blocking notices derived anew, for a session whose connection is new or did not hear them.
//!
//! Notices are not kept, for the locks say what they would say: each lock of the session is looked at, and what it keeps
//! others from is said once. The mutex of a shard is held for a bounded number of locks.

use super::{SessionCell, Table};
use crate::engine::{Output, session::Register};

/// Locks that are looked at for one portion of notices, which is sent before the next one is made.
const LOOKED_AT_A_PORTION: usize = 2_048;

/// Locks that are looked at while a shard is held.
const LOOKED_AT_ONCE: usize = 256;

impl Table {
    /// From now on the session hears notices; those that it may have missed are said anew, a portion at a time until
    /// [`Register::has_to_hear`] says no. The caller holds its in-half.
    pub fn hear_again(&self, cell: &SessionCell, register: &mut Register) {
        {
            let mut half = cell.out_half.lock();
            if !half.outgoing.is_heard() {
                half.outgoing.set_heard(true);
                register.hear_again();
            }
        }
        let mut locks = register.next_to_hear(LOOKED_AT_A_PORTION);
        locks.sort_by_key(|(shard, _)| *shard);
        let mut out = Vec::new();
        for of_shard in locks.chunk_by(|(one, _), (other, _)| one == other) {
            for some in of_shard.chunks(LOOKED_AT_ONCE) {
                let Some((number, _)) = some.first() else { continue };
                let mut shard = self.cell(*number).shard.lock();
                for (_, lock) in some {
                    shard.notices_anew(cell.id, *lock, &mut out);
                }
                if out.is_empty() {
                    continue;
                }
                let mut half = cell.out_half.lock();
                for Output { said, .. } in out.drain(..) {
                    half.outgoing.append_event(shard.place(), said);
                }
            }
        }
        // What somebody's step said meanwhile was derived, too.
        cell.out_half.lock().outgoing.drop_repeated_notices();
    }
}
