//! Between two connections: the session is not its connection.
//!
//! ```text
//! Up --disconnected--> Down --reconnect--> Resuming --SEEN_RESUMED--> Up
//!                       ^                      |
//!                       +----disconnected------+
//! ```
//!
//! On the new connection HELLO and RESUME are said, and nothing else before the answer. What was executed is not said
//! again: its answers are kept by the server and come in its stream. What was not executed is said again as it was, in
//! order and inside the window, and every look that is not answered is said again under its tag. So each request has one
//! effect and one answer, whatever was lost on the way. Notices that were lost come anew from the server, and those heard
//! twice are dropped by their seq.

use super::{
    Handle, Look, LossCause, Moment, Opened, Peer, Seen, Status, Stream, Ticket, Told, looks::Begins,
    misbehaved,
};
use enq_protocol::{
    vocabulary::LockView,
    wire::{Resume, Resumed},
};
use std::time::Duration;

/// However long the lease is, nobody waits longer than this for a connection that has gone.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// How the conversation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// There is a connection.
    Up,
    /// There is none.
    Down,
    /// There is one, and RESUME was said on it under this tag.
    Resuming { tag: u32 },
}

impl<L: Clone> Peer<L> {
    /// What a session had when another process went on with it, before anything is asked; `to` makes whom each is told to.
    pub fn find(&mut self, views: &[LockView], to: impl FnMut() -> L) {
        if let Ok(stream) = self.stream() {
            stream.locks.find(views, to);
        }
    }

    /// Somebody answers for this lock of those that were found, if it is granted and nobody else does.
    pub fn claim(&mut self, handle: Handle) -> Option<(Ticket, L)> {
        self.stream().ok()?.locks.claim(handle)
    }

    /// Releases everything that was found and that nobody answers for.
    pub fn release_unclaimed(&mut self) {
        let Ok(stream) = self.stream() else { return };
        for handle in stream.locks.release_unclaimed() {
            stream.release_quietly(handle);
        }
    }

    /// Can the session go on, if its connection goes?
    #[must_use]
    pub fn is_resumable(&self) -> bool {
        self.lost.is_none() && self.session.as_ref().is_some_and(|stream| !stream.bound)
    }

    /// Is there a connection, and the session goes on there?
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.line == Line::Up
    }

    /// When the lease ends, whether or not anything is held by it.
    #[must_use]
    pub fn lease_end(&self) -> Option<Moment> {
        self.session.as_ref().map(|stream| stream.lease.deadline())
    }

    /// When the connection counts as gone because an answer is due and nothing is heard: after a third of the lease, and
    /// ten seconds at most.
    #[must_use]
    pub fn silent_at(&self) -> Option<Moment> {
        let stream = self.session.as_ref().filter(|_| self.is_up() && self.is_resumable())?;
        self.unheard.map(|since| since.plus(stream.lease.renew_after().min(SILENCE_MAX)))
    }

    /// How many requests have no answer yet.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.session.as_ref().map_or(0, Stream::unanswered)
    }

    /// How many answers the server has kept and told again after a connection was lost.
    #[must_use]
    pub fn kept_answers(&self) -> u64 {
        self.session.as_ref().map_or(0, |stream| stream.kept_answers)
    }

    /// The connection is gone, for this reason. What was received of it and not taken in has to be forgotten.
    ///
    /// # Errors
    /// The reason, if no other connection helps against it. The caller then says so with [`Peer::lose`].
    pub fn disconnected(&mut self, why: LossCause) -> Result<(), LossCause> {
        let resuming = matches!(self.line, Line::Resuming { .. });
        let helps = match &why {
            // Whatever a server says that does not welcome us, another one, or the same one later, may.
            _ if resuming && !self.greeted => true,
            LossCause::Disconnected(_) => true,
            LossCause::Ended(status) => match *status {
                Status::Shutdown | Status::Timeout | Status::TooSlow => true,
                Status::NotLeader | Status::Unavailable => true,
                // A RESUME of our own that was long under way may have done this, each one once. Otherwise somebody else
                // has the session now.
                Status::Superseded if self.strays > 0 => {
                    self.strays -= 1;
                    true
                }
                _ => false,
            },
            _ => false,
        };
        if !helps || !self.is_resumable() {
            return Err(why);
        }
        if resuming && matches!(why, LossCause::Disconnected(_)) {
            self.strays += 1;
        }
        self.line = Line::Down;
        self.aside.clear();
        self.looks.disconnected();
        self.renewing = false;
        self.unheard = None;
        Ok(())
    }

    /// There is a new connection: HELLO and RESUME are the first things to be taken for it.
    pub fn reconnect(&mut self) {
        let Some(stream) = self.session.as_mut().filter(|_| self.line == Line::Down) else { return };
        let resume = Resume {
            session: stream.opened.session,
            secret: stream.opened.secret,
            received: stream.acknowledgement(),
        };
        self.greeted = false;
        self.aside.extend_from_slice(&self.hello);
        // A connection without a session acknowledges nothing; RESUME does so by itself.
        if let Ok(tag) = self.looks.begin(&Look::Resume(resume), 0, None) {
            self.looks.say(tag, &mut self.aside);
            self.line = Line::Resuming { tag };
        }
    }

    /// RESUME is answered.
    pub(super) fn resumed(
        &mut self,
        now: Moment,
        tag: u32,
        seen: Seen,
        told: &mut Vec<Told<L>>,
    ) -> Result<(), LossCause> {
        let executed = match seen {
            Seen::Resumed(Resumed { executed, .. }) => executed,
            Seen::Refused(status) => return Err(LossCause::Ended(status)),
            _ => return Err(misbehaved("it answers RESUME with something else".into())),
        };
        let sent = self.looks.end(tag).and_then(|looking| looking.sent);
        let (Some(sent), Some(stream), Some(welcome)) = (sent, &mut self.session, &self.welcome) else {
            return Err(misbehaved("it goes on before it was asked to".into()));
        };
        if !self.closing {
            stream.lapse(now, told);
        }
        stream.resume(executed, welcome)?;
        stream.lease.confirm(sent);
        self.line = Line::Up;
        self.looks.say_all(&mut self.aside);
        Ok(())
    }

    /// Does this answer begin a session?
    pub(super) fn begin(&mut self, seen: &Seen, begins: Begins, sent: Moment) {
        let Some(welcome) = &self.welcome else { return };
        match (seen, begins) {
            (Seen::Opened(opened), Begins::New { bound }) => {
                self.session = Some(Stream::new(opened.clone(), welcome, sent, bound));
            }
            (Seen::Resumed(resumed), Begins::Past { session, secret }) => {
                let opened = Opened { session, secret, ttl_ms: resumed.ttl_ms };
                self.session = Some(Stream::inherit(opened, welcome, sent, resumed.executed));
            }
            _ => {}
        }
        if let Some(stream) = &mut self.session {
            stream.planted = self.planted;
        }
    }

    /// Tells who held locks when the lease ran out.
    pub(super) fn lapse(&mut self, now: Moment, told: &mut Vec<Told<L>>) {
        if let Some(stream) = self.session.as_mut().filter(|_| self.lost.is_none() && !self.closing) {
            stream.lapse(now, told);
        }
    }

    /// Is an answer due to something that was sent on this connection?
    pub(super) fn is_due(&self) -> bool {
        self.looks.is_due() || self.is_up() && self.session.as_ref().is_some_and(Stream::is_due)
    }
}
