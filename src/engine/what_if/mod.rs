//! What if: which locks would be granted if a session died or a lock were released.
//!
//! Nothing is reasoned about here. The resources concerned are copied, each whole and all as they stood at one moment,
//! into an [`Excerpt`]; a fresh shard is filled with them, queue by queue in their order; then that shard is told of the
//! end by the same inputs as the real one would be, and says whom it grants.
//!
//! The real shard is only read, a part at a time; what it has begun to do between two parts ends the copying. What is
//! left out: resources that were not copied by then or for which there is no room, and where a path goes on that would be
//! granted here. All that is said.

mod excerpt;
#[cfg(test)]
mod tests;

pub use excerpt::Excerpt;

use super::input::{End, Input, LockRef};
use super::output::{Output, Said};
use super::shard::Shard;
use super::time::Instant;
use enq_protocol::vocabulary::{Flags, LockId, LockMode, SessionId, Stamp};

/// Locks that are copied at most, for one question.
pub const PLAYED_MAX: usize = 10_000;

/// A grant that would follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foregrant {
    /// Which lock.
    pub lock: LockId,
    /// Its entry into the queue in which it waits now.
    pub stamp: Stamp,
    /// The mode it would get.
    pub mode: LockMode,
    /// How long after the end.
    pub after_ms: u64,
}

/// What would follow in one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foreseen {
    /// The grants, in their order.
    pub grants: Vec<Foregrant>,
    /// Was everything played that is concerned?
    pub is_complete: bool,
}

/// What ends, as the fresh shard knows it.
#[derive(Clone, Copy, Debug)]
enum Ends {
    Session(SessionId),
    /// Of this session; none for an orphan.
    Lock(LockId, Option<SessionId>),
}

/// The fresh shard, and what it has said so far.
struct Play {
    shard: Shard,
    began: Instant,
    out: Vec<Output>,
    /// What it granted, by its own ids.
    granted: Vec<(LockId, LockMode, u64)>,
}

impl Excerpt {
    /// Plays the end.
    #[must_use]
    pub fn play(self) -> Foreseen {
        let mut is_complete = self.is_whole;
        let stage = self.stage();
        let began = stage.shard.now;
        let mut play = Play { shard: stage.shard, began, out: Vec::new(), granted: Vec::new() };
        is_complete &= play.end(stage.ends);
        // E4: what a lock-delay keeps goes when its moment comes.
        while let Some(moment) = play.shard.next_deadline().filter(|_| !play.shard.is_recovering()) {
            play.step(moment, Input::Tick);
        }
        let mut grants = Vec::new();
        for (lock, mode, after_ms) in play.granted {
            let Some(seat) = stage.seats.get(lock.slot() as usize) else { continue };
            // P3: a path that is granted at one level asks for the next.
            is_complete &= !seat.goes_on;
            grants.push(Foregrant { lock: seat.lock, stamp: seat.stamp, mode, after_ms });
        }
        Foreseen { grants, is_complete }
    }
}

impl Play {
    fn step(&mut self, now: Instant, input: Input<'_>) {
        self.shard.step(now, input, &mut self.out);
        let after_ms = now.ms_since(self.began);
        for Output { said, .. } in self.out.drain(..) {
            if let Said::GrantedLater(grant) = said {
                self.granted.push((grant.lock, grant.mode, after_ms));
            }
        }
    }

    fn finish(&mut self) {
        while self.shard.has_ending() {
            self.step(self.began, Input::Continue);
        }
    }

    /// Could it end?
    fn end(&mut self, ends: Ends) -> bool {
        match ends {
            Ends::Session(session) => {
                self.step(self.began, Input::SealSession { session, end: End::Died, orphan_key: &[] });
                self.finish();
                true
            }
            Ends::Lock(lock, Some(session)) => {
                let (flags, id) = (Flags::NONE, LockRef::Id(lock));
                self.step(self.began, Input::SealSublocks { session, lock: id, flags, orphan_key: &[] });
                self.finish();
                self.step(self.began, Input::Deq { session, lock: id, flags, value: None });
                self.shard.slot_of(lock).is_none()
            }
            Ends::Lock(lock, None) => {
                let version = self.shard.slot_of(lock).map_or(0, |slot| self.shard.locks[slot].seq.0);
                let by = SessionId(0);
                self.step(self.began, Input::ForceRelease { lock, version, by, reason: "" });
                self.shard.slot_of(lock).is_none()
            }
        }
    }
}
