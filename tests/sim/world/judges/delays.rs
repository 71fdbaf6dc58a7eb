//! What a dead session leaves: nothing, or with a lock-delay what it held, which goes on blocking for that long (E4).
//!
//! A few locks are gone when the end of their session returns. What stays as an orphan is not delayed.

use super::super::clock::Time;
use super::{Glance, Rules, Wrong};
use enq_protocol::vocabulary::{Flags, LockId, LockMode};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(crate) struct Delays {
    /// Since when a lock is delayed.
    since: BTreeMap<LockId, Time>,
}

impl Delays {
    pub(crate) fn look(
        &mut self,
        place: usize,
        (earlier, now): (&Glance, &Glance),
        rules: Rules,
    ) -> Result<(), Wrong> {
        let (before, seen) = (&earlier.places[place], &now.places[place]);
        if let Some((lock, mode)) = seen.holding().find(|_| rules.recovering) {
            return Err(format!(
                "G10: lock {} holds {mode}, and leases of before may not be over",
                lock.lock
            ));
        }
        for lock in &seen.locks {
            match lock.session {
                Some(session) if now.sessions.contains_key(&session) => {}
                Some(session) => {
                    return Err(format!("Q6: lock {} is there, and session {session} is not", lock.lock));
                }
                None if now.orphans.contains(&lock.lock) => {}
                None if rules.lock_delay == 0 || lock.granted.is_none() => {
                    return Err(format!("Q6: lock {} has lost its session and is still there", lock.lock));
                }
                None => _ = self.since.entry(lock.lock).or_insert(rules.now),
            }
        }
        for lock in before.locks.iter().filter(|lock| seen.lock(lock.lock).is_none()) {
            let stayed = earlier.orphans.contains(&lock.lock) || lock.flags.contains(Flags::PERSISTENT);
            let over = !stayed && (lock.session.is_none() || now.has_lost_session(lock));
            let held = lock.granted.is_some_and(|mode| mode != LockMode::Nl);
            // P5: what a path made that still waits is undone, and a level does not show whose it is.
            let in_a_tree = lock.path.first().is_none_or(|root| root.as_bytes() == b"tree");
            if !over || !held || in_a_tree || rules.closing || rules.lock_delay == 0 {
                continue;
            }
            // One per cent for the server's clock.
            let least = (rules.lock_delay / 100 * 98).saturating_sub(rules.slowest);
            match self.since.remove(&lock.lock) {
                Some(since) if rules.now - since >= least => {}
                since => return Err(format!("E4: lock {} is gone, delayed since {since:?}", lock.lock)),
            }
        }
        Ok(())
    }
}
