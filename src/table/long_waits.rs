//! Requests that have waited long: found once each, with who is in their way, and again when their wait is over.
//!
//! Nothing is noted while a request waits. A shard is walked through when one of its requests may have become old enough,
//! at most 2,000 of them a hold of its mutex unless one resource has more: the requests that were queued since the walk
//! before are new to it. What a look finds is bounded, and the rest is counted.

use super::{SHARDS, Table};
use crate::engine::{Instant, LOOKED_AT_A_STEP, Queued, WaitEnd, Walk};
use enq_protocol::vocabulary::{Edge, LockView, SessionView};

/// Waits, begun or over, that one look tells of.
pub const TOLD_A_LOOK: usize = 10;

/// Waits that were told of and whose end is still to be told.
const TOLD_MAX: usize = 1_000;

/// Locks in the way of a request that are named.
const IN_THE_WAY: usize = 3;

/// What is known of long waits from look to look.
#[derive(Debug)]
pub struct LongWaits {
    after_ms: u32,
    windows: Vec<Window>,
    told: Vec<(Queued, LongWait)>,
}

/// One shard.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    /// Requests that were queued until then are known.
    until: Option<Instant>,
    /// When there may be others.
    due: Instant,
}

/// A request that has waited long.
#[derive(Clone, Debug)]
pub struct LongWait {
    /// Its lock.
    pub lock: LockView,
    /// Its session.
    pub session: Option<SessionView>,
    /// The first of the locks in its way, and whose they are.
    pub in_the_way: Vec<(Edge, Option<SessionView>)>,
    /// How many are in its way.
    pub total: u32,
}

/// What a look has found.
#[derive(Clone, Debug, Default)]
pub struct LongWaitsSeen {
    /// Requests that wait long since this look.
    pub begun: Vec<LongWait>,
    /// How many more began to.
    pub more: usize,
    /// Those told of before whose wait is over: how, and how long it took, in milliseconds; at most so long if nobody
    /// remembers.
    pub over: Vec<(LongWait, WaitEnd, u64)>,
}

impl LongWaits {
    /// Waits are long after so many milliseconds.
    #[must_use]
    pub fn new(after_ms: u32) -> LongWaits {
        LongWaits { after_ms, windows: vec![Window::default(); SHARDS], told: Vec::new() }
    }

    /// May a look find something?
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        !self.told.is_empty() || self.windows.iter().any(|window| window.due <= now)
    }
}

impl Table {
    /// Looks for waits that have become long, and for the ends of those that it told of.
    pub fn look_at_long_waits(&self, now: Instant, waits: &mut LongWaits) -> LongWaitsSeen {
        let mut seen = LongWaitsSeen { over: self.waits_over(now, waits), ..LongWaitsSeen::default() };
        let mut room = (TOLD_A_LOOK - seen.over.len()).min(TOLD_MAX.saturating_sub(waits.told.len()));
        for number in 0..=u8::MAX {
            if waits.windows[usize::from(number)].due > now {
                continue;
            }
            let walk = self.walk_shard(now, number, room, waits);
            seen.more += walk.count.saturating_sub(walk.found.len());
            for queued in walk.found {
                // It may be over by now, and then it was not so long.
                let Some(wait) = self.explain_wait(now, &queued) else { continue };
                room -= 1;
                waits.told.push((queued, wait.clone()));
                seen.begun.push(wait);
            }
        }
        seen
    }

    /// The waits of one shard that have become long.
    fn walk_shard(&self, now: Instant, number: u8, keep: usize, waits: &mut LongWaits) -> Walk {
        let after_ms = waits.after_ms;
        let window = &mut waits.windows[usize::from(number)];
        let mut walk = Walk::default();
        let Some(until) = now.0.checked_sub(Instant::START.after_ms(after_ms).0).map(Instant) else {
            window.due = Instant::START.after_ms(after_ms);
            return walk;
        };
        let mut from = usize::MAX;
        while from > 0 {
            let (part, times) = ((from, LOOKED_AT_A_STEP), (window.until, until));
            from = self.look_into(number, |shard| shard.walk_queues(part, times, keep, &mut walk));
        }
        // Whoever is queued from now on is due later than whoever was before.
        let first = walk.later.unwrap_or(now);
        *window = Window { until: Some(until), due: first.after_ms(after_ms) };
        walk
    }

    /// The waits that were told of and are over, as many as one look tells of.
    fn waits_over(&self, now: Instant, waits: &mut LongWaits) -> Vec<(LongWait, WaitEnd, u64)> {
        let mut over = Vec::new();
        waits.told.retain(|(queued, wait)| {
            if over.len() == TOLD_A_LOOK {
                return true;
            }
            let end = self.cell(queued.lock.shard()).shard.lock().end_of_wait(queued);
            let Some(end) = end else { return true };
            let until = match end {
                WaitEnd::Granted(at) | WaitEnd::Ended(at, _) => at,
                WaitEnd::Forgotten => now,
            };
            over.push((wait.clone(), end, until.ms_since(queued.since)));
            false
        });
        over
    }

    /// Who waits there and who is in the way, if it still waits.
    fn explain_wait(&self, now: Instant, queued: &Queued) -> Option<LongWait> {
        let (lock, (edges, total)) = self.look_into(queued.lock.shard(), |shard| {
            let lock = shard.show_lock(now, queued.lock).filter(|view| view.stamp == queued.stamp)?;
            Some((lock, shard.blocked_by(now, queued.lock)?))
        })?;
        let whose = |view: &LockView| view.session.and_then(|session| self.show_session(now, session));
        let in_the_way = edges.into_iter().take(IN_THE_WAY).map(|edge| {
            let session = whose(&edge.lock);
            (edge, session)
        });
        Some(LongWait { session: whose(&lock), in_the_way: in_the_way.collect(), total, lock })
    }
}
