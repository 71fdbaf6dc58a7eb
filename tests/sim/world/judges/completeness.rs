//! D6: no set of parties waits for itself for longer than the deadlock wait, and until the search that is due then is over,
//! but for those who are never refused (D4).
//!
//! The judge asks the oracle about nothing but what has stood for so long: if somebody is stuck by that alone, a deadlock
//! was there all the time.

use super::super::clock::{MS, Time};
use super::{Glance, Wrong, queues};
use crate::oracle::Entry;
use enq_protocol::vocabulary::NEVER_REFUSED;

/// Between two rounds of the server, and a little.
const ROUNDS: Time = 30 * MS;

/// What was in force, and since when.
#[derive(Debug, Default)]
pub(crate) struct Completeness {
    wait_ms: Option<u32>,
    since: Time,
    /// When the server was seen last, and when it had not run for a while.
    last: Time,
    away: Time,
}

impl Completeness {
    /// Another server begins.
    pub(crate) fn restart(&mut self, now: Time) {
        self.away = now;
    }

    /// A round of the server is over, which began a search if one was due. While one runs, or a refusal is on its way, there
    /// is nothing to be said. `wait_ms` is what the lockspace says, and so long it takes until a request is seen.
    pub(crate) fn look(
        &mut self,
        glance: &Glance,
        now: Time,
        wait_ms: Option<u32>,
        searches: bool,
        slowest: Time,
    ) -> Result<(), Wrong> {
        if now - self.last > ROUNDS {
            self.away = now;
        }
        self.last = now;
        if wait_ms != self.wait_ms {
            (self.wait_ms, self.since) = (wait_ms, now);
        }
        let Some(wait_ms) = wait_ms.filter(|wait_ms| *wait_ms > 0 && !searches) else { return Ok(()) };
        // What was queued under another policy is looked for when that one says.
        let settled = self.since + 1_020 * MS + ROUNDS;
        if now < settled.max(self.away + ROUNDS) {
            return Ok(());
        }
        let at_most = u64::from(wait_ms) + (ROUNDS + slowest) / MS;
        let waits = |glance: &Glance| {
            glance
                .places
                .iter()
                .flat_map(|seen| &seen.locks)
                .any(|lock| lock.requested.is_some() && lock.age_ms >= at_most)
        };
        if !waits(glance) {
            return Ok(());
        }
        let world = queues::older(glance, at_most);
        // Whoever will be stuck once others have gone on may not be in a deadlock yet.
        let mut later = world.clone();
        later.run();
        let stays = |id: u64| later.all().any(|entry| entry.id == id && entry.wanted.is_some());
        let may_go = |entry: &&Entry| entry.priority != NEVER_REFUSED && stays(entry.id);
        match world.all().filter(may_go).find(|entry| world.waits_for_itself(entry.id, false)) {
            Some(entry) => Err(format!("D6: {entry:?} has waited for itself for {at_most} ms: {world:?}")),
            None => Ok(()),
        }
    }
}
