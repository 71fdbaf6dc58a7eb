//! Leases: a session lives as long as it is heard of, and so much longer.
//!
//! A frame that comes costs a timestamp. The heap holds one moment a session, at which its lease *might* have ended; it
//! is looked at then, and put back if the session was heard of since. A lease ends late, never early. A server that was
//! not running for more than a quarter of a lease gives that time back before it ends one.

use super::Shared;
use crate::{
    engine::Instant,
    table::{Scratch, SessionCell},
};
use enq_protocol::vocabulary::SessionId;
use parking_lot::Mutex;
use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};
use tokio_util::sync::CancellationToken;

/// How often deadlines and leases are looked at.
const ROUND: Duration = Duration::from_millis(10);

/// Sessions that end in one round, so that a mass expiry does not keep everybody else waiting.
const ENDS_A_ROUND: usize = 200;

/// A stall below this is nobody's business: a quarter of the shortest lease.
const STALL_NS_MIN: u64 = 250_000_000;

/// When to look at which lease.
#[derive(Debug, Default)]
pub(super) struct Leases {
    heap: Mutex<BinaryHeap<Reverse<(Instant, SessionId)>>>,
}

impl Leases {
    /// Looks after the lease of a new session.
    pub(super) fn watch(&self, cell: &SessionCell) {
        self.heap.lock().push(Reverse((cell.lease_end(), cell.id)));
    }

    /// The next session whose lease might have ended by now.
    fn next(&self, now: Instant) -> Option<SessionId> {
        let mut heap = self.heap.lock();
        let Reverse((moment, session)) = *heap.peek()?;
        (moment <= now).then(|| {
            heap.pop();
            session
        })
    }
}

/// Lets time pass for the table and the leases, until the server stops.
pub(super) async fn pass_time(shared: &Shared, stop: &CancellationToken) {
    let mut scratch = Scratch::default();
    let mut last = shared.clock.now();
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(rounds.tick()).await.is_some() {
        let now = shared.clock.now();
        let away = now.0 - last.0;
        last = now;
        shared.log.pass_time(now, &mut scratch);
        if away > STALL_NS_MIN {
            // Everybody's socket is read once before anybody's lease is looked at.
            give_back(shared, away);
        } else {
            end_leases(shared, now, &mut scratch);
        }
    }
}

/// The server was not running for so long: the sessions could not be heard.
fn give_back(shared: &Shared, away: u64) {
    tracing::warn!(milliseconds = away / 1_000_000, "the server did not run; leases are extended");
    for cell in shared.log.table().all_sessions() {
        let quarter = u64::from(cell.about.ttl_ms) * 1_000_000 / 4;
        if away > quarter {
            cell.extend(away);
        }
    }
}

/// Ends the sessions that were not heard of for a whole lease.
fn end_leases(shared: &Shared, now: Instant, scratch: &mut Scratch) {
    let mut ended = 0;
    while ended < ENDS_A_ROUND {
        let Some(session) = shared.leases.next(now) else { return };
        let Some(cell) = shared.log.table().session(session) else { continue };
        let mut register = cell.in_half.lock();
        // Whoever served the session until now may have heard of it.
        if cell.lease_end() > now {
            drop(register);
            shared.leases.watch(&cell);
            continue;
        }
        let locks = register.locks();
        shared.log.kill(now, (&cell, &mut register), scratch);
        ended += 1;
        tracing::info!(session = %cell.id, name = cell.about.name, locks, "session ended: its lease ran out");
    }
}
