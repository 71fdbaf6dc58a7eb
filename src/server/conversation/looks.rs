//! Looks of a peer, and what it asks for outside its session's stream: answered by their tags.
//!
//! What only looks is answered at once. What changes something goes through the log, and is answered when that has come to
//! it; until then the conversation handles nothing else.

use super::{Conversation, turn::Next};
use crate::{
    engine::{Instant, session::Register},
    log::{Outcome, Promise},
    server::{
        look::{self, Looker},
        peer::Phase,
    },
    table::SessionCell,
};
use enq_protocol::{
    vocabulary::{SessionId, Status},
    wire::{Administer, Look, Seen},
};
use std::sync::Arc;

impl Conversation {
    /// Answers a look by its tag.
    pub(super) fn look(
        &mut self,
        tag: u32,
        look: Result<Box<Look>, Status>,
        now: Instant,
        session: Option<(&Arc<SessionCell>, &mut Register)>,
    ) -> Next {
        let renews = matches!(look.as_deref(), Ok(Look::Renew));
        if (self.out.len() > self.house.bounds.soft || self.parked_requests > 0) && !renews {
            self.paused = true;
            return Next::Pause;
        }
        let under_way = session.as_ref().and_then(|(_, register)| register.under_way());
        if !renews && under_way.is_some() {
            self.awaits_executed = under_way;
            return Next::Pause;
        }
        let session = session.map(|(cell, register)| {
            // What was asked before is answered before, so that the answer of a look proves it.
            self.encode_all(cell, register);
            cell
        });
        let house = Arc::clone(&self.house);
        let mut next = Next::Frame;
        let seen = match look.map(|look| *look) {
            Err(status) => Seen::Refused(status),
            Ok(Look::Administer(Administer::ExpireSession { session, reason })) => {
                self.to_expire.push((tag, session, reason));
                return Next::Frame;
            }
            Ok(Look::Open(asked)) => {
                let asked = look::open(&house, now, asked, self.address.to_string());
                match self.promised(tag, asked, now) {
                    Some(seen @ Seen::Opened(_)) => {
                        next = Next::Session;
                        seen
                    }
                    Some(seen) => seen,
                    None => return Next::Frame,
                }
            }
            Ok(Look::Administer(what)) if !matches!(what, Administer::Scan) => {
                let by = session.map_or(SessionId(0), |cell| cell.id);
                let asked = look::administer(&house, now, by, &what, &mut self.scratch);
                match self.promised(tag, asked, now) {
                    Some(seen) => seen,
                    None => return Next::Frame,
                }
            }
            Ok(look) => {
                self.looked |= !matches!(look, Look::Renew | Look::Ping);
                let session = session.map(|cell| &**cell);
                Looker { house: &house, now, session }.look(look)
            }
        };
        self.answer_look(tag, &seen, self.told);
        next
    }

    pub(super) fn answer_look(&mut self, tag: u32, seen: &Seen, ack: u64) {
        if let Seen::Refused(status) = seen {
            self.house.metrics.count_refused(*status);
        }
        // What does not fit into a frame is refused; everything that is shown in parts is cut to fit before.
        if seen.encode(tag, ack, &mut self.out).is_err() {
            let refused = Seen::Refused(Status::ResourceExhausted);
            assert!(refused.encode(tag, ack, &mut self.out).is_ok(), "a refusal fits into a frame");
        }
    }

    /// What became of what was asked, as far as it is known by now.
    pub(super) fn learn(&mut self, now: Instant) {
        while let Some((tag, promise)) = self.awaited.front()
            && let Some(outcome) = promise.take()
        {
            let tag = *tag;
            self.awaited.pop_front();
            self.encode_before_look();
            let seen = self.brought(outcome, now);
            self.answer_look(tag, &seen, self.told);
        }
    }

    /// The answer to what was asked under this tag, unless it is not known yet.
    pub(super) fn promised(
        &mut self,
        tag: u32,
        asked: Result<Promise, Status>,
        now: Instant,
    ) -> Option<Seen> {
        let promise = match asked {
            Ok(promise) => promise,
            Err(status) => return Some(Seen::Refused(status)),
        };
        let outcome = promise.take();
        if outcome.is_none() {
            self.awaited.push_back((tag, promise));
        }
        outcome.map(|outcome| self.brought(outcome, now))
    }

    /// What an outcome means for this conversation, and how it is answered.
    fn brought(&mut self, outcome: Outcome, now: Instant) -> Seen {
        match outcome {
            Outcome::Opened(cell) => {
                let opened = look::opened(&self.house, now, &cell);
                self.session = Some(cell);
                self.phase = Phase::Attached;
                self.attachment = 0;
                self.told = 0;
                Seen::Opened(opened)
            }
            Outcome::Answered(Status::Done) => Seen::Done,
            Outcome::Answered(status) => Seen::Refused(status),
        }
    }
}
