//! Leases: a session lives as long as it is heard of, and so much longer.
//!
//! A frame that comes costs a timestamp. The heap holds one moment a session, at which its lease *might* have ended; it
//! is looked at then, and put back if the session was heard of since. A lease ends late, never early. A server that was
//! not running for more than a quarter of a lease gives that time back before it ends one.

use super::{House, Shared};
use crate::{
    engine::Instant,
    table::{Scratch, SessionCell},
};
use enq_protocol::vocabulary::SessionId;
use parking_lot::Mutex;
use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};
use tokio_util::sync::CancellationToken;

/// How often deadlines and leases are looked at.
pub const ROUND: Duration = Duration::from_millis(10);

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
    let mut passing = Passing::new(shared.clock.now());
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(rounds.tick()).await.is_some() {
        passing.round(&shared.house, shared.clock.now());
    }
}

/// Time as it passes for a house, in rounds: pure, for whoever has a clock.
#[derive(Debug)]
pub struct Passing {
    last: Instant,
    scratch: Scratch,
}

impl Passing {
    /// It begins to pass now.
    #[must_use]
    pub fn new(now: Instant) -> Passing {
        Passing { last: now, scratch: Scratch::default() }
    }

    /// A round: deadlines fire, ends go on, and leases end, unless there was no round for so long that nobody could be
    /// heard.
    pub fn round(&mut self, house: &House, now: Instant) {
        let away = now.0.saturating_sub(self.last.0);
        self.last = now;
        house.log.pass_time(now, &mut self.scratch);
        house.say_trouble();
        if away > STALL_NS_MIN {
            // Everybody's socket is read once before anybody's lease is looked at.
            give_back(house, away);
        } else {
            end_leases(house, now, &mut self.scratch);
        }
    }
}

/// The server was not running for so long: the sessions could not be heard.
fn give_back(house: &House, away: u64) {
    tracing::warn!(milliseconds = away / 1_000_000, "the server did not run; leases are extended");
    for cell in house.log.table().all_sessions() {
        let quarter = u64::from(cell.about.ttl_ms) * 1_000_000 / 4;
        if away > quarter {
            cell.extend(away);
        }
    }
}

/// Ends the sessions that were not heard of for a whole lease.
fn end_leases(house: &House, now: Instant, scratch: &mut Scratch) {
    let mut ended = 0;
    while ended < ENDS_A_ROUND {
        let Some(session) = house.leases.next(now) else { return };
        let Some(cell) = house.log.table().session(session) else { continue };
        let mut register = cell.in_half.lock();
        // Whoever served the session until now may have heard of it.
        if cell.lease_end() > now {
            drop(register);
            house.leases.watch(&cell);
            continue;
        }
        let locks = register.locks();
        house.log.kill(now, (&cell, &mut register), scratch);
        ended += 1;
        tracing::info!(session = %cell.id, name = cell.about.name, locks, "session ended: its lease ran out");
    }
}
