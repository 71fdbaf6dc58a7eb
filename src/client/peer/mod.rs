//! The pure half of the client's conversation: what is asked becomes bytes, what is heard becomes outcomes.
//!
//! A [`Peer`] owns everything a connection must remember: the greeting, the looks under way, and once a session is open
//! its numbers, handles, locks and lease. It reads no clock, opens no socket and wakes nobody; whoever drives it brings
//! bytes and moments and carries away bytes and [`Told`]s. Each call is made with an `L`, which comes back with what is
//! told about it: the driver of a real connection uses a mailbox there, a simulation whatever it likes.
//!
//! A session outlives its connections: `resume.rs` has what happens between two of them. What is asked meanwhile is
//! numbered and kept like anything else, and said when the session goes on.

mod locks;
mod looks;
mod orphans;
mod planted;
mod resume;
mod stream;
mod ticks;

pub use locks::Ticket;
pub use planted::{Mistake, Planted};

use super::{
    clock::Moment,
    error::{LossCause, NotGranted},
    lease::{Lease, LockState},
};
use bytes::{Buf, Bytes, BytesMut};
use enq_protocol::{
    vocabulary::{Flags, Grant, Handle, LockMode, PathLevel, SessionId, Status, VALUE_LEN_MAX},
    wire::{
        self, Cancel, Convert, Deq, Enq, EnqPath, FRAME_LEN_MAX, FromServer, Hello, Look, OpenSession,
        Opened, PROTOCOL_VERSION, Request, Seen, Space, SpaceReply, Welcome,
    },
};
use looks::Looks;
use resume::Line;
use stream::{About, Stream, misbehaved};

/// What is told to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told<L> {
    /// The call that was made with this has ended. Once a call.
    Outcome(L, Outcome),
    /// Something happened to the lock that was asked for with this.
    Happened(L, Happening),
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A lock, a path or a conversion is granted.
    Granted {
        /// The grant; for a path, the leaf's.
        grant: Grant,
        /// For a path, all levels, root first.
        levels: Vec<PathLevel>,
        /// Did it have to wait?
        waited: bool,
    },
    /// It was refused, or ended without a grant.
    Ended {
        /// Why.
        why: NotGranted,
        /// What the lock holds now, if the server said so.
        holds: Option<LockMode>,
        /// Is the lock gone?
        gone: bool,
    },
    /// DONE or RELEASED.
    Done(Status),
    /// A lockspace was made, changed or removed.
    Space(Box<SpaceReply>),
    /// So many orphans are gone.
    Purged(u64),
    /// A look.
    Seen(Box<Seen>),
    /// There will be no answer.
    Lost(LossCause),
}

/// What happens to a lock unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// Somebody wants this mode, and the lock is in the way.
    Blocking(LockMode),
    /// The granted mode dropped to NL; the conversion goes on.
    Demoted,
    /// An administrator took the lock away.
    Revoked {
        /// The administrator's session.
        by: SessionId,
        /// Why, in their words.
        reason: String,
    },
    /// The lease ran out before the server was heard: the lock counts as lost for good, and is released if the session
    /// goes on.
    Lapsed,
}

/// See the front page.
pub struct Peer<L> {
    hello: Bytes,
    welcome: Option<Welcome>,
    line: Line,
    session: Option<Stream<L>>,
    looks: Looks<L>,
    /// The frames outside the session's stream.
    aside: BytesMut,
    renewing: bool,
    /// Since when there has been something adrift, or was asked for its release.
    adrift_since: Option<Moment>,
    /// CLOSE has been said: the server may release everything at any moment.
    closing: bool,
    /// When something was sent last that will be answered.
    spoke: Moment,
    /// Since when an answer is due and nothing at all was heard.
    unheard: Option<Moment>,
    /// WELCOME was heard on this connection.
    greeted: bool,
    /// RESUMEs that were sent on connections given up since: each may still arrive, and supersede a newer one.
    strays: u32,
    lost: Option<LossCause>,
    planted: Planted,
}

impl<L: Clone> Peer<L> {
    /// A conversation that begins: the HELLO is the first thing to be taken.
    #[must_use]
    pub fn new(agent: &str) -> Peer<L> {
        let hello = Hello {
            version_min: PROTOCOL_VERSION,
            version_max: PROTOCOL_VERSION,
            features: 0,
            method: 0,
            credentials: Box::default(),
            agent: agent.into(),
        };
        let mut aside = BytesMut::new();
        // An agent name that does not fit is cut at its length by nobody but our own caller, who passes a constant.
        let fits = hello.encode(&mut aside);
        debug_assert!(fits.is_ok(), "the greeting fits into a frame");
        Peer {
            hello: aside.clone().freeze(),
            welcome: None,
            line: Line::Up,
            session: None,
            looks: Looks::new(),
            aside,
            renewing: false,
            adrift_since: None,
            closing: false,
            spoke: Moment::default(),
            unheard: None,
            greeted: false,
            strays: 0,
            lost: None,
            planted: Planted::default(),
        }
    }

    /// What the server said it is, once it has.
    #[must_use]
    pub fn welcome(&self) -> Option<&Welcome> {
        self.welcome.as_ref()
    }

    /// The session, once it is open.
    #[must_use]
    pub fn opened(&self) -> Option<&Opened> {
        self.session.as_ref().map(|stream| &stream.opened)
    }

    /// The session's lease; none before it opens, nor once it is being closed.
    #[must_use]
    pub fn lease(&self) -> Option<&Lease> {
        self.session.as_ref().filter(|_| !self.closing).map(|stream| &stream.lease)
    }

    /// What the session's locks are worth.
    #[must_use]
    pub fn state(&self, now: Moment) -> LockState {
        match (&self.lost, self.lease()) {
            (None, Some(lease)) => lease.state(now),
            _ => LockState::Lost,
        }
    }

    /// Why nothing will be heard any more, if so.
    #[must_use]
    pub fn lost(&self) -> Option<&LossCause> {
        self.lost.as_ref()
    }

    /// How many handles are in use.
    #[must_use]
    pub fn lock_count(&self) -> usize {
        self.session.as_ref().map_or(0, |stream| stream.locks.count())
    }

    /// Begins a session on this connection.
    ///
    /// # Errors
    /// [`Status::FrameTooLarge`] if its texts do not fit into a frame, [`Status::SessionLost`] after a loss.
    pub fn open(&mut self, session: OpenSession, to: L) -> Result<(), Status> {
        self.say(&Look::Open(session), Some(to))
    }

    /// Looks, or administers.
    ///
    /// # Errors
    /// [`Status::FrameTooLarge`] if it does not fit into a frame, [`Status::SessionLost`] after a loss.
    pub fn look(&mut self, look: &Look, to: L) -> Result<(), Status> {
        self.say(look, Some(to))
    }

    fn say(&mut self, look: &Look, to: Option<L>) -> Result<(), Status> {
        if self.lost.is_some() {
            return Err(Status::SessionLost);
        }
        let ack = self.session.as_mut().map_or(0, Stream::acknowledgement);
        let tag = self.looks.begin(look, ack, to)?;
        // Between two connections it waits, and is said when the session goes on.
        if self.line == Line::Up {
            self.looks.say(tag, &mut self.aside);
        }
        Ok(())
    }

    /// The session's stream, while there is one.
    fn stream(&mut self) -> Result<&mut Stream<L>, Status> {
        match (&self.lost, &mut self.session) {
            (None, Some(stream)) if !self.closing => Ok(stream),
            _ => Err(Status::SessionLost),
        }
    }

    /// Asks for a lock; `ask` is given the handle.
    ///
    /// # Errors
    /// [`Status::Quota`] if all handles are in use, [`Status::SessionLost`] without a session.
    pub fn enq<'a>(&mut self, to: L, ask: impl FnOnce(Handle) -> Enq<'a>) -> Result<Ticket, Status> {
        let stream = self.stream()?;
        let ticket = stream.locks.begin(to).ok_or(Status::Quota)?;
        let asked = stream.ask(&Request::Enq(ask(ticket.handle)), About::Ask(ticket.handle));
        asked.inspect_err(|_| stream.locks.forget(ticket.handle))?;
        Ok(ticket)
    }

    /// Asks for a path, with one `L` for each level, root first; `ask` is given the handles. The ticket is the leaf's.
    ///
    /// # Errors
    /// As [`Peer::enq`], and [`Status::FrameTooLarge`].
    pub fn enq_path<'a>(
        &mut self,
        to: Vec<L>,
        ask: impl FnOnce(Vec<Handle>) -> EnqPath<'a>,
    ) -> Result<Ticket, Status> {
        let stream = self.stream()?;
        let (leaf, handles) = stream.locks.begin_path(to).ok_or(Status::Quota)?;
        let asked = stream.ask(&Request::EnqPath(ask(handles.clone())), About::Ask(leaf.handle));
        asked.inspect_err(|_| handles.into_iter().for_each(|handle| stream.locks.forget(handle)))?;
        Ok(leaf)
    }

    /// Converts a lock. Its outcome goes to whom the lock was asked for with.
    ///
    /// # Errors
    /// [`Status::NoSuchLock`] if it has gone, [`Status::SessionLost`] without a session, [`Status::BadParam`] for a
    /// value that is too long.
    pub fn convert(&mut self, ticket: Ticket, convert: Convert<'_>) -> Result<(), Status> {
        let stream = self.stream()?;
        check_value(convert.value)?;
        if !stream.locks.is_live(ticket) || !stream.locks.converts(ticket.handle) {
            return Err(Status::NoSuchLock);
        }
        stream.ask(&Request::Convert(convert), About::Convert(ticket.handle))
    }

    /// Withdraws what this lock waits for, if it waits. Its own call ends CANCELLED, or with a grant that crossed.
    pub fn cancel(&mut self, ticket: Ticket) {
        let Ok(stream) = self.stream() else { return };
        if stream.locks.is_live(ticket) && stream.locks.cancels(ticket.handle) {
            let cancel = Cancel { handle: ticket.handle, flags: Flags::NONE };
            let sent = stream.ask(&Request::Cancel(cancel), About::Cancel(ticket.handle));
            debug_assert!(sent.is_ok(), "a cancel fits into a frame");
        }
    }

    /// Releases a lock; the outcome goes to whom it was asked for with.
    ///
    /// # Errors
    /// As [`Peer::convert`].
    pub fn release(&mut self, ticket: Ticket, deq: Deq<'_>) -> Result<(), Status> {
        let stream = self.stream()?;
        check_value(deq.value)?;
        if !stream.locks.is_live(ticket) || !stream.locks.releases(ticket.handle) {
            return Err(Status::NoSuchLock);
        }
        stream.ask(&Request::Deq(deq), About::Release(ticket.handle))
    }

    /// Nobody answers for this lock any more, waiting or granted: it is released, and nobody is told. What a path made
    /// above it and nobody took over is released with it.
    pub fn abandon(&mut self, ticket: Ticket) {
        let Ok(stream) = self.stream() else { return };
        if stream.locks.is_live(ticket) {
            stream.abandon(ticket.handle);
        }
    }

    /// Somebody answers for the levels above the leaf of a granted path now: those it made and those it found held.
    /// Returns them, root first, each with what it was asked for with.
    pub fn take_over(&mut self, leaf: Ticket, levels: &[PathLevel]) -> Vec<(Ticket, L)> {
        match self.stream() {
            Ok(stream) if stream.locks.is_live(leaf) => stream.locks.take_over(leaf.handle, levels),
            _ => Vec::new(),
        }
    }

    /// Makes, changes or removes a lockspace.
    ///
    /// # Errors
    /// [`Status::SessionLost`] without a session.
    pub fn space(&mut self, space: Space, to: L) -> Result<(), Status> {
        self.stream()?.ask(&Request::Space(space), About::Other(to))
    }

    /// Ends the session in order. Nothing is held from here on, and nothing can be asked.
    ///
    /// # Errors
    /// [`Status::SessionLost`] without a session, or if it is being closed.
    pub fn close(&mut self, to: L) -> Result<(), Status> {
        self.stream()?.ask(&Request::Close, About::Other(to))?;
        self.closing = true;
        Ok(())
    }

    /// Is there something to send?
    #[must_use]
    pub fn has_outgoing(&self) -> bool {
        !self.aside.is_empty()
            || self.line == Line::Up && self.session.as_ref().is_some_and(Stream::has_outgoing)
    }

    /// Everything that may be sent now, to be written at once; it counts as sent at `now`.
    pub fn take(&mut self, now: Moment) -> Bytes {
        let numbered = match &mut self.session {
            Some(stream) if self.line == Line::Up => stream.take(now),
            _ => Bytes::new(),
        };
        let looked = self.looks.sent(now);
        // A bare acknowledgement is never answered, so it does not put off a renewal.
        if !numbered.is_empty() || looked {
            self.spoke = now;
            self.unheard.get_or_insert(now);
        }
        match (numbered.is_empty(), self.aside.is_empty()) {
            (false, true) => numbered,
            (true, _) => self.aside.split().freeze(),
            (false, false) => {
                // Looks overtake requests: a renewal must not wait behind a long queue of them.
                self.aside.extend_from_slice(&numbered);
                self.aside.split().freeze()
            }
        }
    }

    /// Cuts whole frames from what was received and says what they mean; the rest stays for the next time.
    ///
    /// # Errors
    /// Why the conversation is over. The caller then says so with [`Peer::lose`].
    pub fn receive(
        &mut self,
        now: Moment,
        bytes: &mut BytesMut,
        told: &mut Vec<Told<L>>,
    ) -> Result<(), LossCause> {
        // What is heard after the deadline comes too late for those who held locks until then.
        self.lapse(now, told);
        loop {
            let len = match wire::cut(bytes, FRAME_LEN_MAX).map_err(|error| misbehaved(error.to_string()))? {
                None => {
                    self.unheard = self.unheard.filter(|_| self.is_due());
                    self.note_adrift(now);
                    return Ok(());
                }
                Some(frame) => {
                    let heard = FromServer::decode(&frame.header, frame.body);
                    let heard = heard.map_err(|error| misbehaved(error.to_string()))?;
                    self.hear(now, frame.header.number, frame.header.ack, heard, told)?;
                    self.unheard = Some(now);
                    frame.len
                }
            };
            bytes.advance(len);
        }
    }

    fn hear(
        &mut self,
        now: Moment,
        number: u64,
        ack: u64,
        heard: FromServer,
        told: &mut Vec<Told<L>>,
    ) -> Result<(), LossCause> {
        if let Some(stream) = &mut self.session {
            stream.acknowledge(ack)?;
        }
        match (heard, &mut self.session) {
            (FromServer::Welcome(welcome), _) => {
                self.welcome = Some(welcome);
                self.greeted = true;
            }
            (FromServer::Seen { tag, seen }, _) => self.seen(now, tag, seen, told)?,
            (FromServer::Answer(answer), Some(stream)) => stream.answer(now, number, answer, told)?,
            (FromServer::Event { event, .. }, Some(stream)) => stream.event(now, number, event, told)?,
            (FromServer::Answer(_) | FromServer::Event { .. }, None) => {
                return Err(misbehaved("it speaks of a session that is not open".into()));
            }
            (FromServer::Acked | FromServer::Unknown(_), None) | (FromServer::Acked, Some(_)) => {}
            // What a later version says is acknowledged like anything else.
            (FromServer::Unknown(_), Some(stream)) => stream.heard(now, number)?,
            (FromServer::Fatal(fatal), _) => return Err(LossCause::Ended(fatal.status)),
        }
        Ok(())
    }

    fn seen(&mut self, now: Moment, tag: u32, seen: Seen, told: &mut Vec<Told<L>>) -> Result<(), LossCause> {
        if self.line == (Line::Resuming { tag }) {
            return self.resumed(now, tag, seen, told);
        }
        let Some(looking) = self.looks.end(tag) else { return Ok(()) };
        if let Some(sent) = looking.sent {
            // A refused renewal renewed nothing.
            if let (Some(stream), false) = (&mut self.session, matches!(seen, Seen::Refused(_))) {
                stream.lease.confirm(sent);
            }
            self.begin(&seen, looking.begins, sent);
        }
        match looking.to {
            Some(to) => told.push(Told::Outcome(to, Outcome::Seen(Box::new(seen)))),
            None => self.renewing = false,
        }
        Ok(())
    }

    /// The conversation is over: everybody who waits is told.
    pub fn lose(&mut self, cause: LossCause, told: &mut Vec<Told<L>>) {
        let lost = Outcome::Lost(cause.clone());
        told.extend(self.looks.lose().map(|to| Told::Outcome(to, lost.clone())));
        if let Some(stream) = &mut self.session {
            stream.lose(&lost, told);
        }
        self.aside.clear();
        self.lost.get_or_insert(cause);
    }
}

/// A longer value fits nowhere, and must not be numbered before that is known.
fn check_value(value: Option<&[u8]>) -> Result<(), Status> {
    if value.is_some_and(|value| value.len() > VALUE_LEN_MAX) { Err(Status::BadParam) } else { Ok(()) }
}

/// A release with no value and no flags.
pub(super) fn plain_release(handle: Handle) -> Deq<'static> {
    Deq { handle, flags: Flags::NONE, value: None }
}

#[cfg(test)]
mod tests;
