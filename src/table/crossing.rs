//! What crosses shards: the ends of sessions, the release of all that one has, and purges (rules T6, E1-E3, O4).
//!
//! An end seals everything first, shard by shard, and then removes at most 256 locks at a time, with the mutex released
//! in between. Other sessions' ends in the same shard are gone on with on the way; what nobody finishes, the visits do.

use super::{
    AnswerAs, Asker, Request, Scratch, SessionCell, Table,
    execute::{done, refuse},
};
use crate::engine::{
    End, Input, Instant, Said,
    session::{Ended, Register, Started, Told},
};
use enq_protocol::vocabulary::{LockId, LockspaceId, Place, ResourceName, Status};

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
        cell.publish(register);
        self.past.note(now, cell, false);
        if let Some(cell) = self.forget(cell, scratch) {
            self.keep_closed(now, cell, register);
        }
    }

    /// Ends a session that has died: its lease ran out, its connection broke, or somebody ended it. Its locks are sealed
    /// when this returns, and mostly gone.
    pub fn kill(&self, now: Instant, (cell, register): (&SessionCell, &mut Register), scratch: &mut Scratch) {
        if register.ended().is_some() {
            return;
        }
        let touched: Vec<u8> = register.touched().collect();
        register.end(Ended::Died);
        let session = cell.id;
        for number in &touched {
            self.with_shard(*number, scratch, |table, shard, scratch| {
                let orphan_key = &*cell.about.orphan_key;
                let seal = Input::SealSession { session, end: End::Died, orphan_key };
                table.step(shard, now, seal, None, scratch);
            });
        }
        self.past.note(now, cell, true);
        self.forget(cell, scratch);
        for number in touched {
            for _ in 0..STEPS_AT_ONCE {
                if !self.continue_end(now, number, None, scratch).0 {
                    break;
                }
            }
        }
    }

    /// Releases the orphans with a key, shard by shard and a few at a time (O4); of one root they are all in one.
    pub(super) fn purge(
        &self,
        now: Instant,
        (cell, register): (&SessionCell, &mut Register),
        request: Request,
        (lockspace, root, orphan_key): (LockspaceId, Option<&ResourceName>, &[u8]),
        scratch: &mut Scratch,
    ) {
        if !self.has_space(lockspace) {
            return refuse((cell, register), request, Status::NoSuchSpace);
        }
        let only = root.map(|root| self.shard_of(lockspace, root));
        let (mut all, mut last) = (0, Place::NOWHERE);
        for number in (0..=u8::MAX).filter(|number| only.is_none_or(|only| only == *number)) {
            let mut from: Option<LockId> = None;
            loop {
                let input = Input::Purge { lockspace, root, orphan_key, from };
                let (said, place) = self.with_shard(number, scratch, |table, shard, scratch| {
                    (table.step(shard, now, input, None, scratch), shard.place())
                });
                let Some(Said::Purged { released, next }) = said else {
                    unreachable!("a purge is answered with what it did, not {said:?}")
                };
                if released > 0 {
                    (all, last) = (all + released, place);
                }
                match next {
                    Some(next) => from = Some(next),
                    None => break,
                }
            }
        }
        let said = Said::Purged { released: all, next: None };
        asker((cell, register), request).answer(last, Told::Answer { request: request.number, said });
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
                let orphan_key = &*cell.about.orphan_key;
                let seal = Input::SealSession { session: cell.id, end, orphan_key };
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
