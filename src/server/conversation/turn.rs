//! A turn: every whole frame that was received, executed for the session in their order.

use super::{Conversation, Ends};
use crate::{
    engine::{
        Instant,
        session::{Ended, Numbered, Register},
    },
    server::{
        look,
        metrics::Limit,
        outbox,
        peer::{Meaning, Misbehaved, Phase, may_be_parked},
        translate,
    },
    table::{Executed, Request, SessionCell},
};
use bytes::{Buf as _, BytesMut};
use enq_protocol::{
    vocabulary::Status,
    wire::{self, Frame, Kind, Look, Request as Asked},
};
use std::{
    mem,
    sync::{Arc, atomic::Ordering},
};

/// How a turn goes on after a frame.
pub(super) enum Next {
    /// With the next frame.
    Frame,
    /// With the next frame, for another session or none.
    Session,
    /// Not now: the frame stays where it is until the peer has read something.
    Pause,
}

impl Conversation {
    /// Handles the whole frames in the buffer, and takes up what there is to say. `received` says whether bytes have
    /// come since the last turn: they renew the lease.
    ///
    /// # Errors
    /// Why the conversation ends.
    pub fn turn(&mut self, now: Instant, received: bool) -> Result<(), Ends> {
        self.paused = false;
        self.looked = false;
        self.learn(now);
        let mut read = mem::take(&mut self.read);
        let result = self.frames(&mut read, now, received);
        self.read = read;
        for (tag, session, reason) in mem::take(&mut self.to_expire) {
            self.encode_before_look();
            let asked = look::expire(&self.house, now, session, &reason, &mut self.scratch);
            if let Some(seen) = self.promised(tag, asked, now) {
                self.answer_look(tag, &seen, self.told);
            }
        }
        result
    }

    /// Handles the frames in `read` and cuts them off.
    fn frames(&mut self, read: &mut BytesMut, now: Instant, received: bool) -> Result<(), Ends> {
        let mut at = 0;
        loop {
            let session = self.session.clone();
            let Some(cell) = &session else {
                let next = self.frames_until(read, &mut at, now, None);
                read.advance(mem::take(&mut at));
                match next? {
                    Next::Session => continue,
                    Next::Frame | Next::Pause => return Ok(()),
                }
            };
            let mut register = cell.in_half.lock();
            if self.is_superseded(&register) {
                return Err(Misbehaved::told(Status::Superseded).into());
            }
            self.say_resumed(cell, &register);
            if register.ended() == Some(Ended::Closed) {
                // Its CLOSE has come through.
                self.encode_from(cell, &mut register);
                self.part(cell);
                continue;
            }
            if register.has_ended() {
                return Err(Misbehaved::told(Status::SessionLost).into());
            }
            if received {
                cell.renew(now);
            }
            self.awaits_executed = self.awaits_executed.and(register.under_way());
            let next = self.frames_until(read, &mut at, now, Some((cell, &mut register)));
            read.advance(mem::take(&mut at));
            let next = next.and_then(|next| self.unpark(now, cell, &mut register).map(|()| next));
            self.encode_from(cell, &mut register);
            if let Err(misbehaved) = &next {
                self.judge(now, cell, &mut register, misbehaved);
            }
            let next = next?;
            if register.has_ended() {
                self.part(cell);
            }
            match next {
                Next::Session => {}
                Next::Frame | Next::Pause => return Ok(()),
            }
        }
    }

    /// The session was closed in order: the conversation goes on without one.
    fn part(&mut self, cell: &SessionCell) {
        tracing::info!(session = %cell.id, name = cell.about.name, "session closed");
        self.session = None;
        self.phase = Phase::Parted;
        self.told = 0;
        self.awaits_executed = None;
    }

    /// Handles frames from `at` on, until there is none, or the session changes, or the peer must read first, or the log
    /// must come to what was asked.
    fn frames_until(
        &mut self,
        read: &[u8],
        at: &mut usize,
        now: Instant,
        mut session: Option<(&Arc<SessionCell>, &mut Register)>,
    ) -> Result<Next, Misbehaved> {
        while !self.is_awaiting()
            && let Some(frame) = self.phase.cut(read.get(*at..).unwrap_or_default(), self.house.bounds)?
        {
            let bytes = read.get(*at..*at + frame.len).unwrap_or_default();
            let session = session.as_mut().map(|(cell, register)| (*cell, &mut **register));
            match self.frame(frame, bytes, now, session)? {
                Next::Pause => return Ok(Next::Pause),
                Next::Frame => *at += frame.len,
                Next::Session => {
                    *at += frame.len;
                    return Ok(Next::Session);
                }
            }
        }
        Ok(Next::Frame)
    }

    /// Handles one frame.
    fn frame(
        &mut self,
        frame: Frame<'_>,
        bytes: &[u8],
        now: Instant,
        session: Option<(&Arc<SessionCell>, &mut Register)>,
    ) -> Result<Next, Misbehaved> {
        let meaning = self.phase.read(frame)?;
        self.prove(&meaning)?;
        let Some((cell, register)) = session else {
            return match meaning {
                Meaning::Hello => {
                    self.greet();
                    Ok(Next::Frame)
                }
                Meaning::Look { tag, look } => match look.as_deref() {
                    Ok(Look::Resume(asked)) => self.resume(tag, asked, now),
                    _ => Ok(self.look(tag, look, now, None)),
                },
                Meaning::Ack => Ok(Next::Frame),
                // A closed session was resumed: what was executed is dropped when it is repeated.
                Meaning::Request { .. } if frame.header.number <= self.parted_through => Ok(Next::Frame),
                Meaning::Request { .. } => Err(Misbehaved::told(Status::SessionLost)),
            };
        };
        register.acknowledge(frame.header.ack).map_err(Misbehaved::told)?;
        match meaning {
            Meaning::Hello => Err(Misbehaved::told(Status::State)),
            Meaning::Ack => Ok(Next::Frame),
            Meaning::Look { tag, look } => Ok(self.look(tag, look, now, Some((cell, register)))),
            Meaning::Request { digest, request } => {
                if may_be_parked(frame.header.kind) && self.must_park(cell, register) {
                    return self.park(bytes, register);
                }
                if self.parked_requests > 0 {
                    self.unpark_all(now, cell, register)?;
                }
                let number = (frame.header.number, digest);
                self.request(now, (cell, register), number, frame.len, request)
            }
        }
    }

    /// Whoever came to a kept place shows what for: he resumes or looks. A session is opened elsewhere.
    fn prove(&mut self, meaning: &Meaning<'_>) -> Result<(), Misbehaved> {
        let (Some(_), Meaning::Look { look: Ok(look), .. }) = (self.kept, meaning) else { return Ok(()) };
        match **look {
            Look::Open(_) => {
                self.house.metrics.reach(Limit::KeptPlaces);
                Err(Misbehaved::told(Status::Unavailable))
            }
            Look::Renew => Ok(()),
            _ => {
                self.kept = Some(true);
                Ok(())
            }
        }
    }

    /// Executes one numbered request, if it is the next.
    fn request(
        &mut self,
        now: Instant,
        (cell, register): (&Arc<SessionCell>, &mut Register),
        (number, digest): (u64, u64),
        len: usize,
        asked: Asked<'_>,
    ) -> Result<Next, Misbehaved> {
        if number == register.admitted() + 1 && !register.has_room(1, len) {
            self.overrun(register, 1);
            return Err(Misbehaved::told(Status::Flow));
        }
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        match register.admit(number, digest, len).map_err(Misbehaved::told)? {
            Numbered::Again => return Ok(Next::Frame),
            Numbered::Next => {}
        }
        let is_last = matches!(asked, Asked::Close);
        let call = translate::call(asked, cell.id, &mut self.room);
        let request = Request { number, digest, len };
        match self.house.log.execute(now, (cell, register), request, call, &mut self.scratch) {
            Executed::GoesOn => Ok(Next::Frame),
            Executed::Closed => Ok(Next::Session),
            Executed::UnderWay => {
                self.awaits_executed = (is_last || self.house.log.is_crowded()).then_some(number);
                Ok(Next::Frame)
            }
        }
    }

    /// Must a request that may wait wait?
    fn must_park(&self, cell: &SessionCell, register: &Register) -> bool {
        self.parked_requests > 0 || self.is_unread(cell, register)
    }

    /// Is more unread than there should be? A peer that takes what is written has not had the time to read it.
    fn is_unread(&self, cell: &SessionCell, register: &Register) -> bool {
        let here = self.out.len() + register.to_send_weight();
        self.blocked && here + cell.out_half.lock().outgoing.unsent_weight() > self.house.bounds.soft
    }

    /// Puts a request aside until the peer has read, inside its window.
    fn park(&mut self, bytes: &[u8], register: &Register) -> Result<Next, Misbehaved> {
        if !register.has_room(self.parked_requests + 1, self.parked.len() + bytes.len()) {
            self.overrun(register, self.parked_requests + 1);
            return Err(Misbehaved::told(Status::Flow));
        }
        self.parked.extend_from_slice(bytes);
        self.house.metrics.parked.fetch_add(1, Ordering::Relaxed);
        self.house.metrics.reach(Limit::OutboxSoft);
        self.parked_requests += 1;
        Ok(Next::Frame)
    }

    /// The window is overrun: by requests, or by their bytes.
    fn overrun(&self, register: &Register, requests: u32) {
        let by_bytes = register.has_room(requests, 0);
        self.house.metrics.reach(if by_bytes { Limit::WindowBytes } else { Limit::WindowRequests });
    }

    /// Executes what was put aside, if the peer has read enough since.
    fn unpark(
        &mut self,
        now: Instant,
        cell: &Arc<SessionCell>,
        register: &mut Register,
    ) -> Result<(), Misbehaved> {
        if self.parked_requests == 0 || self.is_unread(cell, register) {
            return Ok(());
        }
        self.unpark_all(now, cell, register)
    }

    fn unpark_all(
        &mut self,
        now: Instant,
        cell: &Arc<SessionCell>,
        register: &mut Register,
    ) -> Result<(), Misbehaved> {
        let parked = mem::take(&mut self.parked);
        self.parked_requests = 0;
        let mut rest = &parked[..];
        while let Some(frame) = self.phase.cut(rest, self.house.bounds)? {
            rest = rest.get(frame.len..).unwrap_or_default();
            if let Meaning::Request { digest, request } = self.phase.read(frame)? {
                let number = (frame.header.number, digest);
                self.request(now, (cell, register), number, frame.len, request)?;
            }
        }
        Ok(())
    }

    /// The peer speaks this protocol.
    fn greet(&mut self) {
        self.phase = Phase::Greeted;
        let welcome = self.house.welcome();
        assert!(welcome.encode(&mut self.out).is_ok(), "a welcome fits into a frame");
    }

    /// Encodes what the session is to be told, as far as there is room.
    pub(super) fn encode(&mut self) {
        self.more_to_send = false;
        let Some(cell) = self.session.clone() else { return };
        let mut register = cell.in_half.lock();
        if !self.is_superseded(&register) {
            self.encode_from(&cell, &mut register);
        }
    }

    /// Encodes all that is to be said before the answer to a look.
    pub(super) fn encode_before_look(&mut self) {
        let Some(cell) = self.session.clone() else { return };
        let mut register = cell.in_half.lock();
        if !self.is_superseded(&register) {
            self.encode_all(&cell, &mut register);
        }
    }

    /// Takes over what the session is to be told and encodes it as far as there is room.
    pub(super) fn encode_from(&mut self, cell: &SessionCell, register: &mut Register) {
        // Of a session that has ended, and when the server stops, everything is said while it is at hand.
        let at_once = register.has_ended() || self.house.stops();
        if self.encode_up_to(if at_once { usize::MAX } else { outbox::ENCODED }, cell, register) {
            return;
        }
        // Requests without answers are acknowledged by what is said next, or by nothing else.
        if !self.more_to_send && register.last() > self.told {
            self.told = register.last();
            let acked = wire::acknowledge(Kind::ACKED, self.told, &mut self.out);
            assert!(acked.is_ok(), "an acknowledgement fits into a frame");
        }
    }

    /// Encodes all that the session is to be told; whatever is said next may acknowledge all that was executed.
    pub(super) fn encode_all(&mut self, cell: &SessionCell, register: &mut Register) {
        self.encode_up_to(usize::MAX, cell, register);
        self.told = register.last();
    }

    /// Encodes what the session is to be told, while less than `room` is encoded. Says whether anything was said.
    ///
    /// A frame acknowledges the requests that were executed and whose answers are in it or before it: the last frame
    /// all of them, an earlier one those up to the request that it answers.
    fn encode_up_to(&mut self, room: usize, cell: &SessionCell, register: &mut Register) -> bool {
        let is_heard = take_over(cell, register);
        if self.resuming.is_some() {
            // Nothing is said before it is said that the session goes on.
            self.told = register.last();
            return false;
        }
        let before = self.out.len();
        // Notices that were missed are derived anew when all else is said.
        let mut must_hear = (!is_heard || register.has_to_hear()) && !register.has_ended();
        if must_hear && before < room && !register.has_to_send() {
            self.house.log.table().hear_again(cell, register);
            must_hear = register.has_to_hear();
            take_over(cell, register);
        }
        if before < room {
            let (out, told, metrics) = (&mut self.out, &mut self.told, &self.house.metrics);
            let (executed, sent) = (register.last(), register.sent());
            register.send(|entry, is_last| {
                *told = if is_last { executed } else { entry.request().unwrap_or(*told) };
                outbox::encode(entry, *told, out);
                if let Some(status) = outbox::refusal(entry).filter(|_| entry.number > sent) {
                    metrics.count_refused(status);
                }
                out.len() < room
            });
        }
        self.more_to_send = register.has_to_send() || must_hear;
        self.out.len() > before
    }

    /// A peer whose numbers make no sense has lost its mind: its session ends.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        cell: &SessionCell,
        register: &mut Register,
        misbehaved: &Misbehaved,
    ) {
        if matches!(misbehaved.status(), Status::Misordered | Status::FalseRetry | Status::AckRange) {
            let locks = register.locks();
            self.house.log.kill(now, (cell, register), &mut self.scratch);
            let why = misbehaved.status();
            tracing::info!(session = %cell.id, name = cell.about.name, locks, %why, "session ended");
        }
    }
}

/// Moves what others' steps said to the session to what is to be sent. Says whether the session hears notices.
fn take_over(cell: &SessionCell, register: &mut Register) -> bool {
    let mut half = cell.out_half.lock();
    if half.outgoing.has_unsent() {
        register.take_over(&mut half.outgoing);
    }
    half.outgoing.is_heard()
}
