//! The in-half: which request is next, which handles stand for what, what was sent and not yet acknowledged.
//!
//! Requests are numbered from 1 without gaps, admitted at the door and executed in order: at once, or when their log has
//! made them durable. A number that was admitted before is dropped, for its answer is in the other stream, or will be. A
//! gap, the last number with other content, or an acknowledgement of what was never sent is the word of a peer that has
//! lost its mind: the session ends.

mod image;
mod replay;

use super::{
    super::{LockRef, Mistake, Planted, Said},
    handles::Handles,
    outgoing::{Entry, NOTICES_WEIGHT_MAX, Outgoing},
};
use enq_protocol::vocabulary::{Handle, Status};
use std::{collections::VecDeque, mem};

/// What a session may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Locks, in any queue; also the greatest handle.
    pub locks: u32,
    /// Locks that wait or convert.
    pub waiting: u32,
    /// Requests whose answers are not acknowledged.
    pub window_requests: u32,
    /// The bytes of such requests.
    pub window_bytes: u32,
    /// The mistake that a test has planted.
    pub planted: Planted,
}

/// What the number of a request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbered {
    /// It is the next one: execute it.
    Next,
    /// It was executed before: drop it.
    Again,
}

/// What a request makes if it is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started<'a> {
    /// No lock.
    Nothing,
    /// One lock.
    Lock(Handle),
    /// A path; the handles are in use already.
    Path(&'a [Handle]),
}

/// The in-half of a session's register.
#[derive(Debug)]
pub struct Register {
    bounds: Bounds,
    last: u64,
    last_digest: u64,
    /// The last number that was let in, with its digest; what is between this and `last` is under way.
    admitted: u64,
    admitted_digest: u64,
    under_way_bytes: u32,
    handles: Handles,
    touched: [u64; 4],
    waiting_at_most: u32,
    answers: u64,
    in_flight: u32,
    in_flight_bytes: u32,
    to_send: VecDeque<Entry>,
    to_send_weight: usize,
    retained: VecDeque<Entry>,
    retained_weight: usize,
    sent: u64,
    acked: u64,
    /// Handles from this number on are still to be looked at for notices that were missed.
    hears_from: Option<u32>,
    /// How often another connection went on with the session.
    attachment: u64,
    ended: Option<Ended>,
    /// Its end is under way: nothing more is let in.
    condemned: bool,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// In order.
    Closed,
    /// It died.
    Died,
}

impl Register {
    /// A session that has done nothing yet.
    #[must_use]
    pub fn new(bounds: Bounds) -> Register {
        Register {
            bounds,
            last: 0,
            last_digest: 0,
            admitted: 0,
            admitted_digest: 0,
            under_way_bytes: 0,
            handles: Handles::default(),
            touched: [0; 4],
            waiting_at_most: 0,
            answers: 0,
            in_flight: 0,
            in_flight_bytes: 0,
            to_send: VecDeque::new(),
            to_send_weight: 0,
            retained: VecDeque::new(),
            retained_weight: 0,
            sent: 0,
            acked: 0,
            hears_from: None,
            attachment: 0,
            ended: None,
            condemned: false,
        }
    }

    /// Is a request with this number to be executed? If so it is under way from now on, until [`Register::begin`].
    ///
    /// # Errors
    /// MISORDERED after a gap, FALSE_RETRY for the last number with another digest: both end the session.
    pub fn admit(&mut self, number: u64, digest: u64, len: u32) -> Result<Numbered, Status> {
        if number == self.admitted + 1 {
            self.admitted = number;
            self.admitted_digest = digest;
            self.under_way_bytes = self.under_way_bytes.saturating_add(len);
            Ok(Numbered::Next)
        } else if number > self.admitted {
            Err(Status::Misordered)
        } else if number == self.admitted && digest != self.admitted_digest {
            Err(Status::FalseRetry)
        } else if self.bounds.planted.is(Mistake::RepeatsAreExecuted) {
            Ok(Numbered::Next)
        } else {
            Ok(Numbered::Again)
        }
    }

    /// The number of the last request that was let in.
    #[must_use]
    pub fn admitted(&self) -> u64 {
        self.admitted
    }

    /// The last request that was let in, if it was not executed yet.
    #[must_use]
    pub fn under_way(&self) -> Option<u64> {
        (self.admitted > self.last).then_some(self.admitted)
    }

    /// This request is executed now. It was let in here, or before a restart.
    pub fn begin(&mut self, number: u64, digest: u64, len: u32) {
        self.under_way_bytes = self.under_way_bytes.saturating_sub(len);
        (self.last, self.last_digest) = (number, digest);
        if self.admitted <= number {
            (self.admitted, self.admitted_digest) = (number, digest);
        }
    }

    /// The number of the last request that was executed.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Is there room in the window for so many more requests of so many bytes together?
    #[must_use]
    pub fn has_room(&self, requests: u32, bytes: usize) -> bool {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let under_way = u32::try_from(self.admitted.saturating_sub(self.last)).unwrap_or(u32::MAX);
        let in_flight = self.in_flight.saturating_add(under_way);
        let in_flight_bytes = self.in_flight_bytes.saturating_add(self.under_way_bytes);
        in_flight.saturating_add(requests) <= self.bounds.window_requests
            && in_flight_bytes.saturating_add(bytes) <= self.bounds.window_bytes
    }

    /// Everything up to this number has arrived. An older word than the last one is ignored.
    ///
    /// # Errors
    /// ACK_RANGE if that number was never sent: it ends the session.
    pub fn acknowledge(&mut self, number: u64) -> Result<(), Status> {
        if number > self.sent {
            return Err(Status::AckRange);
        }
        self.trim(number);
        Ok(())
    }

    /// Everything up to this number had arrived.
    fn trim(&mut self, number: u64) {
        if number <= self.acked {
            return;
        }
        self.acked = number;
        self.sent = self.sent.max(number);
        let number = number + u64::from(self.bounds.planted.is(Mistake::AcknowledgementTakesTooMuch));
        // What a connection before this one was sent may be acknowledged before it is sent again.
        for (entries, weight) in
            [(&mut self.retained, &mut self.retained_weight), (&mut self.to_send, &mut self.to_send_weight)]
        {
            let mut arrived = 0;
            for entry in entries.iter().take_while(|entry| (1..=number).contains(&entry.number)) {
                arrived += 1;
                *weight -= entry.weight();
                // A request whose answer has arrived is not in flight any more.
                if entry.request().is_some() {
                    self.in_flight -= 1;
                    self.in_flight_bytes -= entry.request_len;
                }
            }
            // Whoever asks one thing at a time acknowledges one answer, and a range costs more than that.
            match arrived {
                0 => {}
                1 => _ = entries.pop_front(),
                _ => _ = entries.drain(..arrived),
            }
        }
    }

    /// The last output of which it is known that it arrived.
    #[must_use]
    pub fn acked(&self) -> u64 {
        self.acked
    }

    /// Another connection goes on with the session. It has received everything up to this number; all after that is to be
    /// sent again, as it was. Notices are not, they are to be derived anew. Says up to which request all answers have
    /// been received.
    ///
    /// # Errors
    /// ACK_RANGE if that number was never sent: it ends the session.
    pub fn attach(&mut self, received: u64, outgoing: &mut Outgoing) -> Result<u64, Status> {
        outgoing.set_heard(false);
        self.take_over(outgoing);
        self.acknowledge(received)?;
        self.attachment += 1;
        let mut all = mem::take(&mut self.retained);
        self.retained_weight = 0;
        all.extend(self.to_send.drain(..).filter(|entry| entry.number != 0));
        self.to_send = all;
        self.to_send_weight = self.to_send.iter().map(Entry::weight).sum();
        Ok(self.to_send.iter().find_map(Entry::request).map_or(self.last, |request| request - 1))
    }

    /// The greatest number that was ever sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// How often another connection went on with the session: the word of an earlier one does not count any more.
    #[must_use]
    pub fn attachment(&self) -> u64 {
        self.attachment
    }

    /// Outputs that were sent before and are to be sent again.
    #[must_use]
    pub fn to_send_again(&self) -> u64 {
        let again = self.to_send.iter().take_while(|entry| (1..=self.sent).contains(&entry.number));
        again.count() as u64
    }

    /// Outputs with a number that are sent and not acknowledged, or not sent.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.retained.len() + self.to_send.len()
    }

    /// About how many bytes those take to say.
    #[must_use]
    pub fn unacknowledged_weight(&self) -> usize {
        self.to_send_weight + self.retained_weight
    }

    /// May locks be made with these handles?
    ///
    /// # Errors
    /// BADPARAM for a handle that is above the bound, in use or named twice; QUOTA for too many locks. Both may be
    /// cured by [`Register::free`] of what others ended.
    #[inline]
    pub fn may_start(&self, handles: &[Handle]) -> Result<(), Status> {
        // Q1: first, for when all handles are in use there is none left to ask with.
        let wanted = u32::try_from(handles.len()).unwrap_or(u32::MAX);
        if self.bounds.locks != 0 && wanted > self.bounds.locks.saturating_sub(self.handles.in_use()) {
            return Err(Status::Quota);
        }
        for (at, handle) in handles.iter().enumerate() {
            let twice = handles.iter().take(at).any(|earlier| earlier == handle);
            if twice || !self.bounds.may_name(*handle) || !self.handles.is_free(*handle) {
                return Err(Status::BadParam);
            }
        }
        Ok(())
    }

    /// May one more request wait? `waiting` is asked for how many do, if that is not known to be few.
    pub fn may_wait(&mut self, waiting: impl FnOnce() -> u32) -> bool {
        if self.waiting_at_most >= self.bounds.waiting {
            self.waiting_at_most = waiting();
        }
        self.waiting_at_most < self.bounds.waiting
    }

    /// The shard and the lock that a handle means.
    #[must_use]
    pub fn meaning(&self, handle: Handle) -> Option<(u8, LockRef)> {
        self.handles.meaning(handle)
    }

    /// A path is about to be asked for in this shard: its handles are in use.
    pub fn start_path(&mut self, handles: &[Handle], shard: u8) {
        for handle in handles {
            self.handles.start_path(*handle, shard);
        }
    }

    /// This shard is about to hear of the session.
    pub fn touch(&mut self, shard: u8) {
        self.touched[usize::from(shard / 64)] |= 1 << (shard % 64);
    }

    /// The shards that have heard of the session, in ascending order. They remember it until it ends.
    pub fn touched(&self) -> impl Iterator<Item = u8> + use<> {
        let touched = self.touched;
        (0..=u8::MAX).filter(move |shard| touched[usize::from(shard / 64)] & 1 << (shard % 64) != 0)
    }

    /// What the session's own step said: handles come into use and become free.
    #[inline]
    pub fn note(&mut self, started: Started<'_>, said: &Said) {
        match (said, started) {
            (Said::Granted(grant), Started::Lock(handle)) => self.handles.start(handle, grant.lock),
            (Said::Queued { lock, .. }, Started::Lock(handle)) => self.handles.start(handle, *lock),
            (Said::PathGranted { levels, .. }, _) => {
                for level in levels.iter().filter(|level| level.made) {
                    self.handles.start(level.handle, level.lock);
                }
            }
            (Said::Refused { .. }, Started::Path(handles)) => self.free(handles),
            _ => {}
        }
        if matches!(said, Said::Queued { .. }) {
            self.waiting_at_most += 1;
        }
        if let Some(handle) = said.frees() {
            self.handles.end(handle);
        }
    }

    /// These handles stand for nothing any more.
    pub fn free(&mut self, handles: &[Handle]) {
        for handle in handles {
            self.handles.end(*handle);
        }
    }

    /// How many handles are in use, as far as the in-half knows.
    #[must_use]
    pub fn locks(&self) -> u32 {
        self.handles.in_use()
    }

    /// A request of this length has an answer that will be kept until it is acknowledged.
    #[inline]
    pub fn fly(&mut self, request_len: u32) {
        self.answers += 1;
        self.in_flight += 1;
        self.in_flight_bytes += request_len;
    }

    /// How many answers there have been.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.answers
    }

    /// Notices are to be derived anew, for all locks.
    pub fn hear_again(&mut self) {
        self.hears_from = Some(0);
    }

    /// Are there locks whose notices are still to be derived anew?
    #[must_use]
    pub fn has_to_hear(&self) -> bool {
        self.hears_from.is_some()
    }

    /// The next locks whose notices are to be derived anew, at most `max`, with their shards.
    pub fn next_to_hear(&mut self, max: usize) -> Vec<(u8, LockRef)> {
        let Some(from) = self.hears_from.take() else { return Vec::new() };
        if self.bounds.planted.is(Mistake::NoticesAreLostAtResume) {
            return Vec::new();
        }
        let mut locks = Vec::new();
        for (handle, shard, lock) in self.handles.from(from) {
            if locks.len() == max {
                self.hears_from = Some(handle.number());
                break;
            }
            locks.push((shard, lock));
        }
        locks
    }

    /// Takes over what the out-half holds, in order. Who is so slow that there is much to send already hears no notices
    /// before all that is sent.
    pub fn take_over(&mut self, outgoing: &mut Outgoing) {
        if self.to_send_weight > NOTICES_WEIGHT_MAX {
            outgoing.set_heard(false);
        }
        self.to_send_weight += outgoing.unsent_weight();
        outgoing.take_unsent(&mut self.to_send);
    }

    /// Is anything taken over and not sent?
    #[must_use]
    pub fn has_to_send(&self) -> bool {
        !self.to_send.is_empty()
    }

    /// About how many bytes that takes to say.
    #[must_use]
    pub fn to_send_weight(&self) -> usize {
        self.to_send_weight
    }

    /// Sends what was taken over, until `encode` has had enough and says false; it hears whether an entry is the last.
    /// What was sent with a number is kept.
    pub fn send(&mut self, mut encode: impl FnMut(&Entry, bool) -> bool) {
        while let Some(entry) = self.to_send.pop_front() {
            let weight = entry.weight();
            self.to_send_weight -= weight;
            let more = encode(&entry, self.to_send.is_empty());
            if entry.number != 0 {
                self.sent = self.sent.max(entry.number);
                self.retained_weight += weight;
                self.retained.push_back(entry);
            }
            if !more {
                break;
            }
        }
    }

    /// The bytes it has allocated, about.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> usize {
        let entries = self.to_send.capacity() + self.retained.capacity();
        self.handles.bytes() + entries * size_of::<Entry>() + self.to_send_weight + self.retained_weight
    }

    /// The session has ended: nothing more is executed for it.
    pub fn end(&mut self, ended: Ended) {
        self.ended = Some(ended);
        self.handles = Handles::default();
    }

    /// Its end is in the log: nothing more is let in, and nobody goes on with it.
    pub fn condemn(&mut self) {
        self.condemned = true;
    }

    /// Has it ended, or is its end under way?
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.is_some() || self.condemned
    }

    /// Has it died, or is that under way?
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.condemned || self.ended == Some(Ended::Died)
    }

    /// How it has, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.ended
    }
}

impl Bounds {
    /// May a lock be called that? With no bound on locks, handles still stay below the slots of a shard.
    fn may_name(&self, handle: Handle) -> bool {
        const HANDLE_MAX: u32 = enq_protocol::vocabulary::LockId::SLOT_MAX;
        handle.number() <= if self.locks == 0 { HANDLE_MAX } else { self.locks }
    }
}

#[cfg(test)]
mod tests;
