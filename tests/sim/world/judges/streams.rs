//! Exactly once (E1): for each session and number one answer, byte-identical whenever it is said again; for each request
//! one answer; numbers without gaps on each connection; and in one stream, what happened on one shard in its order.

use super::super::server::ConnectionId;
use super::Wrong;
use enq_protocol::vocabulary::{Place, SessionId, Status};
use enq_protocol::wire::{Event, FRAME_LEN_MAX, FromServer, HEADER_LEN, Seen, cut};
use std::collections::BTreeMap;
use std::fmt;

/// What was said in one session.
#[derive(Debug, Default)]
struct Spoken {
    /// Kind and body of each number, and by which server it was said first.
    said: BTreeMap<u64, (Vec<u8>, u64)>,
    /// By which number each request was answered.
    answered: BTreeMap<u64, u64>,
    /// The last number that was said on each shard, and its serial.
    shards: BTreeMap<u64, (u64, u64)>,
}

/// One connection: its session, and the number that was said on it last.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    session: Option<SessionId>,
    last: Option<u64>,
    went_on: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Streams {
    sessions: BTreeMap<SessionId, Spoken>,
    lines: BTreeMap<ConnectionId, Line>,
    pub(crate) again: u64,
    pub(crate) said: u64,
    /// Which server it is, and what was said again by one after that which said it first.
    pub(crate) life: u64,
    pub(crate) again_later: u64,
    /// Refusals to break a deadlock that were said again.
    pub(crate) refusals_again: u64,
    /// Notices on connections that went on with a session.
    pub(crate) notices: u64,
}

impl Streams {
    /// Every session in which something was said.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = SessionId> + use<'_> {
        self.sessions.keys().copied()
    }

    /// A frame that the server wrote on a connection which has this session, if it has one.
    pub(crate) fn look(
        &mut self,
        id: ConnectionId,
        session: Option<SessionId>,
        bytes: &[u8],
        story: &mut dyn FnMut(fmt::Arguments<'_>),
    ) -> Result<(), Wrong> {
        let frame = cut(bytes, FRAME_LEN_MAX).ok().flatten().ok_or("the server wrote no frame")?;
        let read = FromServer::decode(&frame.header, frame.body)
            .map_err(|error| format!("the server wrote: {error}"))?;
        story(format_args!("server says {} {} on {id}: {read:?}", frame.header.kind, frame.header.number));
        let line = self.lines.entry(id).or_default();
        match &read {
            FromServer::Seen { seen: Seen::Opened(opened), .. } => {
                *line = Line { session: Some(opened.session), last: Some(0), went_on: false };
            }
            FromServer::Seen { seen: Seen::Resumed(_), .. } => {
                *line = Line { session, last: None, went_on: true }
            }
            FromServer::Event { event: Event::Blocking { .. }, .. } if line.went_on => self.notices += 1,
            _ => {}
        }
        let number = frame.header.number;
        if number == 0 {
            return Ok(());
        }
        let session = line.session.ok_or("a numbered frame without a session")?;
        if line.last.is_some_and(|last| last + 1 != number) {
            return Err(format!(
                "exactly once: after number {:?} session {session} hears {number}",
                line.last
            ));
        }
        line.last = Some(number);
        self.said += 1;
        let spoken = self.sessions.entry(session).or_default();
        // The header's acknowledgement may be a later one.
        let said = [&bytes[..HEADER_LEN - 8], frame.body].concat();
        if let Some((before, life)) = spoken.said.get(&number) {
            self.again += 1;
            self.again_later += u64::from(*life != self.life);
            let is_refusal = matches!(
                read,
                FromServer::Event { event: Event::Ended { status: Status::Deadlock, .. }, .. }
            );
            self.refusals_again += u64::from(is_refusal);
            let same = *before == said;
            return if same {
                Ok(())
            } else {
                Err(format!("exactly once: {session} hears another number {number}"))
            };
        }
        if spoken.said.last_key_value().is_some_and(|(last, _)| last + 1 != number) {
            return Err(format!("exactly once: number {number} of {session} comes out of turn"));
        }
        spoken.said.insert(number, (said, self.life));
        spoken.note(session, number, &read)
    }
}

impl Spoken {
    fn note(&mut self, session: SessionId, number: u64, read: &FromServer) -> Result<(), Wrong> {
        let place = match read {
            FromServer::Answer(answer) => {
                if let Some(before) = self.answered.insert(answer.request, number) {
                    return Err(format!(
                        "exactly once: request {} of {session} is answered by number {before} and by {number}",
                        answer.request
                    ));
                }
                answer.place
            }
            FromServer::Event { place, .. } => *place,
            _ => return Ok(()),
        };
        let (shard, serial) = (place.shard(), place.serial().0);
        match self.shards.insert(shard, (number, serial)) {
            Some((_, before)) if before > serial && place != Place::NOWHERE => {
                Err(format!("order: {session} hears of step {serial} of shard {shard} after step {before}"))
            }
            _ => Ok(()),
        }
    }
}
