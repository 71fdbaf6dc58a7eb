//! The client's half of a session: its numbered requests, the answers they wait for, the window, the lease.
//!
//! Requests are numbered from 1 without gaps and encoded once. What the window of the server does not admit waits in a
//! backlog, in order. What was sent is kept as bytes until the server has acknowledged it, together with the moment it
//! was sent, from which the lease counts. On another connection the bytes that were not executed are said again.

use super::{Mistake, Outcome, Planted, Told, locks::Locks};
use crate::client::{
    clock::Moment,
    error::{LossCause, NotGranted},
    lease::Lease,
};
use bytes::{Bytes, BytesMut};
use enq_protocol::{
    vocabulary::{Flags, Handle, Status},
    wire::{self, Answer, Cancel, Event, FRAME_LEN_MAX, HEADER_LEN, Opened, Reply, Request, Welcome},
};
use std::{collections::VecDeque, mem, time::Duration};

/// An acknowledgement that rides on no request is sent alone after so many events, or so long.
const UNACKNOWLEDGED_MAX: u64 = 64;
const ACKNOWLEDGE_AFTER: Duration = Duration::from_millis(100);

/// Where a frame's header has its acknowledgement.
const ACK_PLACE: std::ops::Range<usize> = HEADER_LEN - 8..HEADER_LEN;

/// What an unanswered request was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About<L> {
    /// The first grant of this lock.
    Ask(Handle),
    /// A conversion of this lock.
    Convert(Handle),
    /// A release of this lock.
    Release(Handle),
    /// A cancel of what this lock waits for.
    Cancel(Handle),
    /// Lockspaces, purges, and the end of the session.
    Other(L),
}

struct Asked<L> {
    number: u64,
    len: usize,
    about: About<L>,
}

/// What one write took along of the numbered requests.
struct Sent {
    first: u64,
    last: u64,
    at: Moment,
    /// Kept for another connection, which says them again.
    bytes: Bytes,
}

/// See the front page.
pub(super) struct Stream<L> {
    pub(super) planted: Planted,
    pub(super) opened: Opened,
    pub(super) lease: Lease,
    pub(super) locks: Locks<L>,
    /// It ends with its connection.
    pub(super) bound: bool,
    /// The lease ran out, and who held locks until then was told.
    lapsed: bool,
    /// The last request of an earlier process, whose answers concern nobody any more; 0 if there was none.
    past: u64,
    /// What an earlier process received is not known: any number may be the first that is heard.
    first: bool,
    /// The last request that had been executed when the session last went on, and how many answers were kept until then.
    executed: u64,
    pub(super) kept_answers: u64,
    next_number: u64,
    asked: VecDeque<Asked<L>>,
    outgoing: BytesMut,
    /// The last number in `outgoing`, and the last that was sent.
    admitted: u64,
    sent_last: u64,
    backlog: VecDeque<usize>,
    backlog_bytes: BytesMut,
    window: (usize, usize),
    in_flight: (usize, usize),
    sent: VecDeque<Sent>,
    /// The last request that the server is known to have executed.
    confirmed: u64,
    received: u64,
    acknowledged: u64,
    acknowledge_at: Option<Moment>,
}

impl<L: Clone> Stream<L> {
    pub(super) fn new(opened: Opened, welcome: &Welcome, sent: Moment, bound: bool) -> Stream<L> {
        Stream {
            planted: Planted::default(),
            lease: Lease::new(Duration::from_millis(opened.ttl_ms.into()), sent),
            opened,
            locks: Locks::new(welcome.locks_max),
            bound,
            lapsed: false,
            past: 0,
            first: false,
            executed: 0,
            kept_answers: 0,
            next_number: 1,
            asked: VecDeque::new(),
            outgoing: BytesMut::new(),
            admitted: 0,
            sent_last: 0,
            backlog: VecDeque::new(),
            backlog_bytes: BytesMut::new(),
            window: window(welcome),
            in_flight: (0, 0),
            sent: VecDeque::new(),
            confirmed: 0,
            received: 0,
            acknowledged: 0,
            acknowledge_at: None,
        }
    }

    /// A session of an earlier process, of whose requests this one was the last.
    pub(super) fn inherit(opened: Opened, welcome: &Welcome, sent: Moment, executed: u64) -> Stream<L> {
        Stream {
            past: executed,
            first: true,
            executed,
            next_number: executed.saturating_add(1),
            admitted: executed,
            sent_last: executed,
            confirmed: executed,
            ..Stream::new(opened, welcome, sent, false)
        }
    }

    /// What the next frame acknowledges.
    pub(super) fn acknowledgement(&mut self) -> u64 {
        self.acknowledged = self.received;
        self.acknowledge_at = None;
        self.received
    }

    /// Numbers and encodes a request.
    pub(super) fn ask(&mut self, request: &Request<'_>, about: About<L>) -> Result<(), Status> {
        let admit = self.backlog.is_empty() && self.in_flight.0 < self.window.0;
        let ack = self.acknowledgement();
        let into = if admit { &mut self.outgoing } else { &mut self.backlog_bytes };
        let before = into.len();
        request.encode(self.next_number, ack, into).map_err(|_| Status::FrameTooLarge)?;
        let len = into.len() - before;
        let number = self.next_number;
        self.next_number += 1;
        self.asked.push_back(Asked { number, len, about });
        if admit && self.fits(len) {
            self.admit(number, len);
        } else if admit {
            let frame = self.outgoing.split_off(before);
            self.backlog_bytes.extend_from_slice(&frame);
            self.backlog.push_back(len);
        } else {
            self.backlog.push_back(len);
        }
        Ok(())
    }

    /// One request always fits, whatever its length.
    fn fits(&self, len: usize) -> bool {
        self.in_flight.0 == 0 || self.in_flight.0 < self.window.0 && self.in_flight.1 + len <= self.window.1
    }

    fn admit(&mut self, number: u64, len: usize) {
        self.admitted = number;
        self.in_flight.0 += 1;
        self.in_flight.1 += len;
    }

    /// Moves what the window admits out of the backlog.
    fn admit_backlog(&mut self) {
        while let Some(len) = self.backlog.front().copied().filter(|len| self.fits(*len)) {
            self.backlog.pop_front();
            let mut frame = self.backlog_bytes.split_to(len);
            // The server counts a request as in flight until its answer is acknowledged, so what waited for room has to
            // bring the acknowledgement that made it.
            let ack = self.acknowledgement();
            if let Some(place) = frame.get_mut(ACK_PLACE) {
                place.copy_from_slice(&ack.to_le_bytes());
            }
            self.outgoing.extend_from_slice(&frame);
            self.admit(self.admitted + 1, len);
        }
    }

    /// Is there something to send?
    pub(super) fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Everything that may be sent now; it counts as sent at `now`.
    pub(super) fn take(&mut self, now: Moment) -> Bytes {
        let bytes = self.outgoing.split().freeze();
        if !bytes.is_empty() {
            let (first, last) = (self.sent_last + 1, self.admitted);
            self.sent.push_back(Sent { first, last, at: now, bytes: bytes.clone() });
            self.sent_last = last;
        }
        bytes
    }

    /// The server has received everything up to this number.
    pub(super) fn acknowledge(&mut self, number: u64) -> Result<(), LossCause> {
        if number > self.sent_last {
            return Err(misbehaved(format!("it acknowledges request {number} of {}", self.sent_last)));
        }
        self.confirmed = self.confirmed.max(number);
        while let Some(sent) = self.sent.front().filter(|sent| sent.first <= number) {
            self.lease.confirm(sent.at);
            if sent.last > number {
                break;
            }
            self.sent.pop_front();
        }
        Ok(())
    }

    /// What goes on with the session, on another connection, has been executed up to here: everything after it is said
    /// again, as it was, in so far as the window admits it.
    pub(super) fn resume(&mut self, executed: u64, welcome: &Welcome) -> Result<(), LossCause> {
        if executed > self.sent_last || executed < self.confirmed {
            let known = format!("{} to {}", self.confirmed, self.sent_last);
            return Err(misbehaved(format!("it executed {executed} requests, which cannot be: {known}")));
        }
        let mut again = BytesMut::new();
        for sent in mem::take(&mut self.sent) {
            let mut bytes = sent.bytes.as_ref();
            while let Ok(Some(frame)) = wire::cut(bytes, FRAME_LEN_MAX) {
                let (this, rest) = bytes.split_at(frame.len);
                if frame.header.number > executed {
                    again.extend_from_slice(this);
                }
                if frame.header.number <= executed && self.planted.is(Mistake::RetriesWithANewNumber) {
                    self.retry(this, frame.header.number);
                }
                bytes = rest;
            }
        }
        again.extend_from_slice(&self.outgoing.split());
        again.extend_from_slice(&self.backlog_bytes.split());
        let first = self.asked.partition_point(|asked| asked.number <= executed);
        self.in_flight = (first, self.asked.range(..first).map(|asked| asked.len).sum());
        self.backlog = self.asked.range(first..).map(|asked| asked.len).collect();
        self.backlog_bytes = again;
        (self.admitted, self.sent_last, self.confirmed, self.executed) =
            (executed, executed, executed, executed);
        self.window = window(welcome);
        self.admit_backlog();
        if self.planted.is(Mistake::AsksOnlyOnce) {
            self.outgoing.clear();
        }
        Ok(())
    }

    /// Planted: what was executed and not answered is asked once more, as something else.
    fn retry(&mut self, frame: &[u8], number: u64) {
        let Some(asked) = self.asked.iter().find(|asked| asked.number == number) else { return };
        let (len, about, number) = (asked.len, asked.about.clone(), self.next_number);
        let mut frame = frame.to_vec();
        if let Some(place) = frame.get_mut(ACK_PLACE.start - 8..ACK_PLACE.start) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        self.next_number += 1;
        self.asked.push_back(Asked { number, len, about });
        self.backlog_bytes.extend_from_slice(&frame);
    }

    /// How many requests have no answer yet.
    pub(super) fn unanswered(&self) -> usize {
        self.asked.len()
    }

    /// Is an answer due to something that was sent?
    pub(super) fn is_due(&self) -> bool {
        self.asked.front().is_some_and(|asked| asked.number <= self.sent_last)
    }

    /// Once the lease has run out, those who held locks until then hold them no more, for good: they are told, and the
    /// locks are released for the case that the session goes on.
    pub(super) fn lapse(&mut self, now: Moment, told: &mut Vec<Told<L>>) {
        let over = now >= self.lease.deadline();
        if over && !self.lapsed {
            for handle in self.locks.lapse(told) {
                self.release_quietly(handle);
            }
        }
        self.lapsed = over;
    }

    /// A numbered frame: false if it was heard before.
    fn receive(&mut self, now: Moment, number: u64) -> Result<bool, LossCause> {
        if number <= self.received {
            return Ok(false);
        }
        if number != self.received + 1 && !mem::take(&mut self.first) {
            return Err(misbehaved(format!("after number {} it says {number}", self.received)));
        }
        self.first = false;
        self.received = number;
        if self.planted.is(Mistake::LeaseFromTheAnswer) {
            self.lease.confirm(now);
        }
        self.acknowledge_at.get_or_insert(now.plus(ACKNOWLEDGE_AFTER));
        Ok(true)
    }

    /// A frame of a later version, numbered or not.
    pub(super) fn heard(&mut self, now: Moment, number: u64) -> Result<(), LossCause> {
        if number == 0 { Ok(()) } else { self.receive(now, number).map(|_| ()) }
    }

    /// When an acknowledgement has to be sent alone.
    pub(super) fn acknowledge_at(&self) -> Option<Moment> {
        self.acknowledge_at
    }

    /// Must an acknowledgement be sent alone, now?
    pub(super) fn must_acknowledge(&self, now: Moment) -> bool {
        self.received - self.acknowledged >= UNACKNOWLEDGED_MAX
            || self.acknowledge_at.is_some_and(|at| at <= now)
    }

    pub(super) fn answer(
        &mut self,
        now: Moment,
        number: u64,
        answer: Answer,
        told: &mut Vec<Told<L>>,
    ) -> Result<(), LossCause> {
        if !self.receive(now, number)? || answer.request <= self.past {
            return Ok(());
        }
        self.kept_answers += u64::from(answer.request <= self.executed);
        let Some(asked) = self.asked.front() else {
            return Err(misbehaved(format!("it answers request {}, which is not open", answer.request)));
        };
        if asked.number != answer.request || asked.number > self.sent_last {
            return Err(misbehaved(format!("it answers request {} before {}", answer.request, asked.number)));
        }
        self.acknowledge(answer.request)?;
        let Some(asked) = self.asked.pop_front() else { return Ok(()) };
        self.in_flight.0 -= 1;
        self.in_flight.1 -= asked.len;
        self.meet(asked.about, answer.reply, told);
        self.send_releases_due();
        self.admit_backlog();
        Ok(())
    }

    /// An answer meets its request.
    fn meet(&mut self, about: About<L>, reply: Reply, told: &mut Vec<Told<L>>) {
        let refusal = match &reply {
            Reply::Refused { status, blocker, detail } => {
                Some(NotGranted::from_status(*status, *blocker, *detail))
            }
            _ => None,
        };
        match (about, reply) {
            (About::Ask(_) | About::Convert(_), Reply::Granted(grant)) => {
                self.locks.granted(grant, true, told)
            }
            (About::Ask(_), Reply::PathGranted { leaf, levels }) => {
                self.locks.path_granted(leaf, levels, true, told);
            }
            (About::Ask(handle) | About::Convert(handle), Reply::Queued { .. }) => self.locks.queued(handle),
            (About::Ask(handle) | About::Convert(handle), _) => {
                let why = refusal.unwrap_or(NotGranted::Refused(Status::Protocol));
                self.locks.ended(handle, why, None, true, told);
            }
            (About::Release(handle), _) => self.locks.released(handle, refusal, told),
            (About::Cancel(handle), _) => self.locks.cancelled(handle),
            (About::Other(to), reply) => {
                let outcome = match (refusal, reply) {
                    (Some(why), _) => Outcome::Ended { why, holds: None, gone: false },
                    (None, Reply::Space(space)) => Outcome::Space(Box::new(space)),
                    (None, Reply::Purged { released }) => Outcome::Purged(released),
                    (None, Reply::Done { status }) => Outcome::Done(status),
                    (None, _) => Outcome::Done(Status::Done),
                };
                told.push(Told::Outcome(to, outcome));
            }
        }
    }

    pub(super) fn event(
        &mut self,
        now: Moment,
        number: u64,
        event: Event,
        told: &mut Vec<Told<L>>,
    ) -> Result<(), LossCause> {
        let notice = matches!(event, Event::Blocking { .. });
        if notice != (number == 0) {
            return Err(misbehaved("a notice has no number, any other event has one".into()));
        }
        if !notice && !self.receive(now, number)? {
            return Ok(());
        }
        match event {
            Event::Granted(grant) => self.locks.granted(grant, false, told),
            Event::PathGranted { leaf, levels } => self.locks.path_granted(leaf, levels, false, told),
            Event::Ended { handle, status, holds, record } => {
                let why = match NotGranted::from_status(status, None, 0) {
                    NotGranted::Deadlock { .. } => NotGranted::Deadlock { record },
                    why => why,
                };
                self.locks.ended(handle, why, holds, false, told);
            }
            Event::Demoted { handle } => self.locks.demoted(handle, told),
            Event::Revoked { handle, by, reason, .. } => self.locks.revoked(handle, by, reason, told),
            Event::Blocking { handle, seq, mode } => self.locks.blocking(handle, seq, mode, told),
        }
        self.send_releases_due();
        Ok(())
    }

    /// Says the releases that nobody awaits.
    fn send_releases_due(&mut self) {
        for handle in self.locks.take_releases_due() {
            self.release_quietly(handle);
        }
    }

    /// Is something left that nobody answers for, because something stands on it?
    pub(super) fn is_adrift(&self) -> bool {
        self.locks.is_adrift()
    }

    /// Says the releases of that again.
    pub(super) fn release_adrift(&mut self) {
        self.locks.try_adrift();
        self.send_releases_due();
    }

    /// Nobody answers for this lock any more: it is released.
    pub(super) fn abandon(&mut self, handle: Handle) {
        for handle in self.locks.abandon(handle) {
            self.release_quietly(handle);
        }
    }

    /// Says a release that `locks` has noted. A conversion is withdrawn first: the release is refused while sublocks stand
    /// on the lock, and then it would be granted what nobody wants.
    pub(super) fn release_quietly(&mut self, handle: Handle) {
        if self.locks.is_converting(handle) && self.locks.cancels(handle) {
            let cancel = Cancel { handle, flags: Flags::NONE };
            let sent = self.ask(&Request::Cancel(cancel), About::Cancel(handle));
            debug_assert!(sent.is_ok(), "a cancel fits into a frame");
        }
        // A release without a value always fits into a frame.
        let sent = self.ask(&Request::Deq(super::plain_release(handle)), About::Release(handle));
        debug_assert!(sent.is_ok(), "a release without a value fits into a frame");
    }

    /// Everybody who waits for an answer is told that none will come.
    pub(super) fn lose(&mut self, lost: &Outcome, told: &mut Vec<Told<L>>) {
        for asked in mem::take(&mut self.asked) {
            if let About::Other(to) = asked.about {
                told.push(Told::Outcome(to, lost.clone()));
            }
        }
        self.locks.lose(lost, told);
        self.outgoing.clear();
        self.backlog.clear();
        self.backlog_bytes.clear();
    }
}

/// Requests in flight, and their bytes.
fn window(welcome: &Welcome) -> (usize, usize) {
    let len = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    (len(welcome.window_requests).max(1), len(welcome.window_bytes))
}

pub(super) fn misbehaved(what: String) -> LossCause {
    LossCause::PeerMisbehaved(what)
}
