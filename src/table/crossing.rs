//! What crosses shards: the ends of sessions, and the release of all that one has (rules T6, E1-E3).
//!
//! An end seals everything first, shard by shard, and then removes at most 256 locks at a time, with the mutex released
//! in between. Other sessions' ends in the same shard are gone on with on the way; what nobody finishes, the visits do.

use super::{AnswerAs, Asker, Request, Scratch, SessionCell, Table, execute::done};
use crate::engine::{
    End, Input, Instant,
    session::{Ended, Register, Started},
};
use enq_protocol::vocabulary::{Place, Status};

/// Steps that whoever ends a session in disorder takes himself in one shard; the visits take the rest.
const STEPS_AT_ONCE: usize = 16;

impl Table {
    /// Releases all locks of a session, which goes on.
    pub(super) fn release_all(
        &self,
        now: Instant,
        (cell, register): (&SessionCell, &mut Register),
        request: Request,
        invalidate: bool,
        scratch: &mut Scratch,
    ) {
        let end = End::ReleasedAll { invalidate };
        let place = self.end_locks(now, (cell, register), request, end, scratch);
        let ended = cell.out_half.lock().outgoing.take_ended();
        register.free(&ended);
        assert_eq!(register.locks(), 0, "a session that released everything has no handle in use");
        let mut asker = asker((cell, register), request);
        asker.answer(place, done(request, Status::Released));
    }

    /// Ends a session in order: its last request.
    pub(super) fn close(
        &self,
        now: Instant,
        (cell, register): (&SessionCell, &mut Register),
        request: Request,
        scratch: &mut Scratch,
    ) {
        let place = self.end_locks(now, (cell, register), request, End::Closed, scratch);
        asker((cell, register), request).answer(place, done(request, Status::Done));
        register.end(Ended::Closed);
        if let Some(cell) = self.forget(cell, scratch) {
            self.keep_closed(now, cell, register);
        }
    }

    /// Ends a session that has died: its lease ran out, its connection broke, or somebody ended it. Its locks are sealed
    /// when this returns, and mostly gone.
    pub fn kill(&self, now: Instant, (cell, register): (&SessionCell, &mut Register), scratch: &mut Scratch) {
        if register.has_ended() {
            return;
        }
        let touched: Vec<u8> = register.touched().collect();
        register.end(Ended::Died);
        let session = cell.id;
        for number in &touched {
            self.with_shard(*number, scratch, |table, shard, scratch| {
                let seal = Input::SealSession { session, end: End::Died };
                table.step(shard, now, seal, None, scratch);
            });
        }
        self.forget(cell, scratch);
        for number in touched {
            for _ in 0..STEPS_AT_ONCE {
                if !self.continue_end(now, number, None, scratch).0 {
                    break;
                }
            }
        }
    }

    /// Seals every lock of a session, in every shard, and removes them all. Says where the last step was.
    fn end_locks(
        &self,
        now: Instant,
        (cell, register): (&SessionCell, &mut Register),
        request: Request,
        end: End,
        scratch: &mut Scratch,
    ) -> Place {
        let touched: Vec<u8> = register.touched().collect();
        let mut asker = asker((cell, register), request);
        for number in &touched {
            self.with_shard(*number, scratch, |table, shard, scratch| {
                let seal = Input::SealSession { session: cell.id, end };
                table.step(shard, now, seal, Some(&mut asker), scratch);
            });
        }
        let mut last = Place::NOWHERE;
        for number in touched {
            last = self.finish_ends(now, number, Some(&mut asker), scratch);
        }
        last
    }

    /// Goes on with the ends of one shard until none is left. Says where the last step was.
    pub(super) fn finish_ends(
        &self,
        now: Instant,
        number: u8,
        mut asker: Option<&mut Asker<'_>>,
        scratch: &mut Scratch,
    ) -> Place {
        loop {
            let (more, place) = self.continue_end(now, number, asker.as_deref_mut(), scratch);
            if !more {
                return place;
            }
        }
    }

    /// One step of the oldest end in a shard, if there is one. Says whether there is more, and where the step was.
    fn continue_end(
        &self,
        now: Instant,
        number: u8,
        asker: Option<&mut Asker<'_>>,
        scratch: &mut Scratch,
    ) -> (bool, Place) {
        self.with_shard(number, scratch, |table, shard, scratch| {
            if shard.has_ending() {
                table.step(shard, now, Input::Continue, asker, scratch);
            }
            (shard.has_ending(), shard.place())
        })
    }
}

/// A session that asks for nothing that makes a lock.
fn asker<'a>((cell, register): (&'a SessionCell, &'a mut Register), request: Request) -> Asker<'a> {
    Asker { cell, register, request, started: Started::Nothing, answer: AnswerAs::Said }
}
