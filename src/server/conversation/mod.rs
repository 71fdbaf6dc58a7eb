//! One conversation: bytes in, turns, bytes out, why it ends, and what it must not wait for too long.
//!
//! A turn handles every whole frame that was received and ends in one write. It holds the in-half of its session and
//! never waits for anything.
//!
//! Pure: no socket, no clock, no task. The moment comes with every call; whoever has the bytes moves them. The server
//! does so with sockets (`connection`), the simulation without. One round of either is:
//!
//! 1. wait until bytes come into [`Conversation::listen`]'s buffer, or [`ToSay`] is ready, or there is room to write
//!    again, or what [`Conversation::waits_for`] names takes too long ([`Conversation::too_long`] ends it);
//! 2. [`Conversation::turn`], then [`Conversation::write`]; an error of either ends it;
//! 3. while [`Conversation::is_paused`] and not [`Conversation::is_blocked`], another turn at once, without reading. Nothing
//!    is read either while [`Conversation::is_awaiting`]: what was asked is on its way through the log.
//!
//! At the end, [`Conversation::leave`], and then [`Conversation::last_words`] if the peer may still hear them.

mod ends;
mod looks;
mod resume;
mod turn;

pub use ends::{Ends, WaitsFor};

use super::{
    Bounds, House, Limit,
    peer::{Misbehaved, Phase},
    translate,
};
use crate::{
    engine::{Instant, Mistake, Planted},
    log::Promise,
    table::{Scratch, SessionCell},
};
use bytes::{Buf as _, BytesMut};
use enq_protocol::{
    vocabulary::{SessionId, Status},
    wire::Fatal,
};
use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    task::Waker,
    time::Duration,
};

/// Room a read finds at least.
const READ_LEN: usize = 4 * 1024;

/// Room for bytes that an idle connection keeps, of each sort.
const ROOM_KEPT: usize = 128 * 1024;

/// One conversation; see the front page.
pub struct Conversation {
    house: Arc<House>,
    address: SocketAddr,
    phase: Phase,
    session: Option<Arc<SessionCell>>,
    /// What was received and not handled.
    read: BytesMut,
    /// What is encoded and not written.
    out: BytesMut,
    /// Whole requests that wait until the peer reads.
    parked: BytesMut,
    parked_requests: u32,
    scratch: Scratch,
    room: translate::Room,
    /// Sessions that this peer's looks end, when no in-half is held: tag, session, reason.
    to_expire: Vec<(u32, SessionId, String)>,
    /// The turn stopped before a look, because too much is unread.
    paused: bool,
    /// There was a look at the table in the last turn.
    looked: bool,
    /// The turn stopped until everything is executed that its session asked: up to this request.
    awaits_executed: Option<u64>,
    /// What becomes of what was asked under these tags; the turn stopped until it is known.
    awaited: VecDeque<(u32, Promise)>,
    /// The last write did not take everything.
    blocked: bool,
    /// It took something.
    progressed: bool,
    /// About how many bytes the peer had not read then.
    unread: usize,
    /// More is to be encoded.
    more_to_send: bool,
    /// The last request of which the peer was told that it was executed, after all answers up to it.
    told: u64,
    /// Which attachment of its session it is.
    attachment: u64,
    /// It goes on with a session and has not said so: the tag of RESUME, and the last request whose answer has been received.
    resuming: Option<(u32, u64)>,
    /// Requests up to this one are those of a closed session that was resumed here: repeated, they are dropped.
    parted_through: u64,
    /// It came to a place that is kept for who resumes or looks; `Some(true)` when it has done so.
    kept: Option<bool>,
}

/// What a conversation waits for besides bytes: something to say to its session, or that it has ended.
#[derive(Debug)]
pub struct ToSay<'a> {
    session: Option<&'a SessionCell>,
    attachment: u64,
    /// What else it waits for: a promise, and that a request is executed.
    promise: Option<&'a Promise>,
    awaits_executed: Option<u64>,
    /// The last request of which the peer was told that it was executed.
    told: u64,
    /// What the peer has not read, while it does not read.
    unread: Option<usize>,
    bounds: Bounds,
}

impl Conversation {
    /// A conversation with whoever connected from this address and has not said anything.
    #[must_use]
    pub fn new(house: Arc<House>, address: SocketAddr) -> Conversation {
        Conversation {
            house,
            address,
            phase: Phase::Stranger,
            session: None,
            read: BytesMut::new(),
            out: BytesMut::new(),
            parked: BytesMut::new(),
            parked_requests: 0,
            scratch: Scratch::default(),
            room: translate::Room::default(),
            to_expire: Vec::new(),
            paused: false,
            looked: false,
            awaits_executed: None,
            awaited: VecDeque::new(),
            blocked: false,
            progressed: false,
            unread: 0,
            more_to_send: false,
            told: 0,
            attachment: 0,
            resuming: None,
            parted_through: 0,
            kept: None,
        }
    }

    /// It has come to a place that is kept: it must resume or look before its time for a handshake is over, and may not
    /// open a session.
    pub fn keep_for_resume(&mut self) {
        self.kept = Some(false);
    }

    /// Has it shown what it came for? Until then it is a stranger.
    #[must_use]
    pub fn is_guest(&self) -> bool {
        self.phase != Phase::Stranger && self.kept != Some(false)
    }

    /// The bytes that its buffers have allocated.
    #[must_use]
    pub fn buffers(&self) -> usize {
        self.read.capacity() + self.out.capacity() + self.parked.capacity()
    }

    /// The house it takes place in.
    #[must_use]
    pub fn house(&self) -> &Arc<House> {
        &self.house
    }

    /// How far it has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The session it has, if it has one.
    #[must_use]
    pub fn session(&self) -> Option<&Arc<SessionCell>> {
        self.session.as_ref()
    }

    /// Where received bytes are appended, with some room; and what else it waits for.
    pub fn listen(&mut self) -> (&mut BytesMut, ToSay<'_>) {
        self.make_room();
        self.read.reserve(self.announced());
        let unread = self.blocked.then_some(self.unread);
        let to_say = ToSay {
            session: self.session.as_deref(),
            attachment: self.attachment,
            promise: self.awaited.front().map(|(_, promise)| promise),
            awaits_executed: self.awaits_executed,
            told: self.told,
            unread,
            bounds: self.house.bounds,
        };
        (&mut self.read, to_say)
    }

    /// Room for the next read: some, but for a long frame that has begun no more than it needs in all, and not before
    /// half of that has come.
    fn make_room(&mut self) {
        let len = self.read.len();
        let frame = match self.read.first_chunk() {
            Some(bytes) => usize::try_from(u32::from_le_bytes(*bytes)).unwrap_or(usize::MAX),
            None => 0,
        };
        if frame <= READ_LEN || frame <= len {
            self.read.reserve(READ_LEN);
        } else if self.read.capacity() == len {
            let mut longer = BytesMut::with_capacity(frame.min(2 * len.max(READ_LEN)));
            longer.extend_from_slice(&self.read);
            self.read = longer;
        }
    }

    /// Does it wait for its peer to read, with frames received that it has not looked at? Nothing is read then.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Did the last turn look at the table?
    #[must_use]
    pub fn has_looked(&self) -> bool {
        self.looked
    }

    /// Does it wait for the log? Nothing is read and nothing that was received is handled then.
    #[must_use]
    pub fn is_awaiting(&self) -> bool {
        self.awaits_executed.is_some() || !self.awaited.is_empty()
    }

    /// Did the last write not take everything?
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Did it take something, at least?
    #[must_use]
    pub fn has_progressed(&self) -> bool {
        self.progressed
    }

    /// Writes what there is to write, as long as it is taken: `write` says how many bytes were, or `WouldBlock`.
    ///
    /// # Errors
    /// The peer is gone, or has left too much unread.
    pub fn write(&mut self, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> Result<(), Ends> {
        self.blocked = false;
        self.progressed = false;
        loop {
            if self.out.is_empty() {
                if !self.more_to_send {
                    return Ok(());
                }
                self.encode();
                if self.out.is_empty() {
                    continue;
                }
            }
            match write(&self.out) {
                Ok(written) => {
                    self.progressed = true;
                    self.out.advance(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    self.unread = self.count_unread();
                    self.house.metrics.note_unread(self.unread);
                    let is_too_much = self.unread > self.house.bounds.last();
                    let keeps = self.planted().is(Mistake::OutputIsUnbounded);
                    return if is_too_much && !keeps { Err(ends::too_slow()) } else { Ok(()) };
                }
                Err(error) => return Err(Ends::by(&error)),
            }
        }
    }

    /// What a rare long frame needed is not kept.
    pub fn give_back_room(&mut self) {
        for buffer in [&mut self.read, &mut self.out, &mut self.parked] {
            if buffer.is_empty() && buffer.capacity() > ROOM_KEPT {
                *buffer = BytesMut::new();
            }
        }
    }

    /// What it must not wait for too long, if anything.
    #[must_use]
    pub fn waits_for(&self) -> Option<WaitsFor> {
        match self.phase {
            _ if self.blocked && self.planted().is(Mistake::OutputIsUnbounded) => None,
            _ if self.blocked && self.unread > self.house.bounds.hard => Some(WaitsFor::Overrun),
            _ if self.blocked => Some(WaitsFor::Reader),
            Phase::Stranger if self.read.is_empty() => Some(WaitsFor::FirstFrame),
            Phase::Stranger => Some(WaitsFor::Handshake),
            _ if !self.is_guest() => Some(WaitsFor::Handshake),
            _ if self.is_awaiting() => None,
            Phase::Greeted | Phase::Attached | Phase::Parted if self.read.is_empty() || self.paused => None,
            Phase::Greeted | Phase::Attached | Phase::Parted => Some(WaitsFor::RestOfFrame),
        }
    }

    /// How long it waits for that.
    #[must_use]
    pub fn patience(&self, waits_for: WaitsFor) -> Duration {
        let patience = &self.house.rules.patience;
        match waits_for {
            WaitsFor::FirstFrame => patience.first_frame,
            WaitsFor::Handshake => patience.handshake,
            WaitsFor::Overrun => patience.overrun,
            WaitsFor::RestOfFrame => patience.frame,
            WaitsFor::Reader => {
                let ttl_ms = self.session.as_ref().map_or(0, |cell| cell.about.ttl_ms);
                patience.write.max(Duration::from_millis(ttl_ms.into()))
            }
        }
    }

    /// Why it ends when that took too long.
    #[must_use]
    pub fn too_long(&self, waits_for: WaitsFor) -> Ends {
        self.house.metrics.reach(match waits_for {
            WaitsFor::FirstFrame => Limit::FirstFrameTimeout,
            WaitsFor::Handshake => Limit::HandshakeTimeout,
            WaitsFor::RestOfFrame => Limit::FrameTimeout,
            WaitsFor::Reader => Limit::WriteTimeout,
            WaitsFor::Overrun => Limit::OutboxHard,
        });
        match (waits_for, self.phase) {
            (WaitsFor::Reader | WaitsFor::Overrun, _) => ends::too_slow(),
            (_, Phase::Stranger) => Ends::Misbehaved(Misbehaved::Silently(Status::Timeout)),
            (_, Phase::Greeted | Phase::Attached | Phase::Parted) => {
                Ends::Misbehaved(Misbehaved::told(Status::Timeout))
            }
        }
    }

    /// It has ended. So does a session that is bound to it, if the client has ended it. A client that was cut off, or is out
    /// of reach, may not know and go on believing in its locks for as long as its lease (X3), so that session waits for
    /// the end of its lease, like any other.
    pub fn leave(&mut self, now: Instant, ends: &Ends) {
        let house = Arc::clone(&self.house);
        let metrics = &house.metrics;
        match ends {
            Ends::Gone => _ = metrics.closed_by_peer.fetch_add(1, Ordering::Relaxed),
            Ends::OutOfReach => metrics.count_closed(Status::Timeout),
            Ends::Evicted => {
                metrics.evicted.fetch_add(1, Ordering::Relaxed);
                metrics.reach(Limit::Strangers);
            }
            Ends::Stops => {
                // What was granted is said. Sessions are left as they are: a lock of a session that ended now would be
                // granted to another, whose client has as little time.
                metrics.count_closed(Status::Shutdown);
                self.encode();
                return;
            }
            Ends::Misbehaved(misbehaved) => {
                metrics.count_closed(misbehaved.status());
                if misbehaved.status() == Status::FrameTooLarge {
                    let first = self.phase == Phase::Stranger;
                    metrics.reach(if first { Limit::FirstFrame } else { Limit::Frame });
                }
                if metrics.may_log(now) {
                    tracing::info!(address = %self.address, why = ?misbehaved, "connection closed");
                }
            }
        }
        tracing::debug!(address = %self.address, ?ends, "connection ended");
        let Some(cell) = self.session.take() else { return };
        if cell.about.bound && *ends == Ends::Gone {
            let mut register = cell.in_half.lock();
            let locks = register.locks();
            if !register.has_ended() {
                house.log.kill(now, (&cell, &mut register), &mut self.scratch);
                tracing::info!(session = %cell.id, name = cell.about.name, locks,
                    "session ended with its connection");
            }
        } else {
            cell.detach(self.attachment);
        }
    }

    /// What is still to be said after [`Conversation::leave`], if anything is: the rest of what is encoded and these
    /// words.
    #[must_use]
    pub fn last_words(&self, ends: Ends) -> Option<(&[u8], Fatal)> {
        let fatal = match ends {
            Ends::Misbehaved(Misbehaved::Told(fatal)) if fatal.status != Status::TooSlow => fatal,
            Ends::Stops => {
                Fatal { status: Status::Shutdown, detail: [0; 2], text: Status::Shutdown.sentence().into() }
            }
            Ends::Gone | Ends::OutOfReach | Ends::Evicted | Ends::Misbehaved(_) => return None,
        };
        Some((&self.out, fatal))
    }

    /// About how many bytes are here for it, received, parked or encoded, and how much room is kept for them.
    #[must_use]
    pub fn room(&self) -> usize {
        self.read.capacity() + self.parked.capacity() + self.out.capacity()
    }

    fn planted(&self) -> Planted {
        self.house.log.table().bounds().planted
    }

    /// Planted: what the header says that comes. The length of a frame that has not come is nobody's business.
    fn announced(&self) -> usize {
        match self.read.first_chunk() {
            Some(len) if self.planted().is(Mistake::RoomForAnAnnouncement) => {
                usize::try_from(u32::from_le_bytes(*len)).unwrap_or(usize::MAX)
            }
            _ => 0,
        }
    }

    /// About how many bytes the peer has not read.
    fn count_unread(&self) -> usize {
        let Some(cell) = &self.session else { return self.out.len() };
        self.out.len() + cell.in_half.lock().to_send_weight() + cell.out_half.lock().outgoing.unsent_weight()
    }
}

impl ToSay<'_> {
    /// Is there something to say, or has the session ended, or gone elsewhere, or has come what it awaits? If not, `waker` is
    /// woken when there might be. While the peer does not read, something to say is only what passes a bound of the unread.
    #[must_use]
    pub fn is_ready(&self, waker: &Waker) -> bool {
        if self.promise.is_some_and(|promise| promise.is_kept(waker)) {
            return true;
        }
        let Some(cell) = self.session else { return false };
        let mut half = cell.out_half.lock();
        let outgoing = &half.outgoing;
        let ready = match self.unread {
            None => outgoing.has_unsent() || half.executed > self.told,
            Some(unread) if unread <= self.bounds.hard => {
                outgoing.unsent_weight() + unread > self.bounds.hard
            }
            Some(unread) => outgoing.unsent_weight() + unread > self.bounds.last(),
        };
        // Who does not read may go on to speak.
        let goes_on = self.awaits_executed.is_some_and(|number| half.executed >= number);
        if ready || goes_on || half.ended || half.attachment != self.attachment {
            return true;
        }
        match &mut half.waker {
            Some(sleeper) => sleeper.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        false
    }
}
