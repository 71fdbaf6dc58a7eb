//! A lock that is held: the guard.
//!
//! A guard is a lock, not a right to ask for one: dropping it releases, two guards are two locks even on one resource,
//! and nothing is re-entrant. What the guard says it holds is checked against the clock each time it is asked, because
//! a program may have slept since it last asked. A sublock keeps its parent lock, a path keeps its levels.

use super::{
    clock::{self, Moment},
    error::{LockLost, NotGranted, Refused},
    lease::LockState,
    link::lost_outcome,
    mailbox::Mailbox,
    peer::{Outcome, Ticket},
    request::{Conversion, LockRequest},
    session::Session,
};
use enq_protocol::vocabulary::{
    Fence, Flags, Grant, Handle, LockId, LockMode, PathLevel, Seq, Status, ValueBlock,
};
use enq_protocol::wire::Deq;
use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Answers for one lock, waiting or granted. When nothing does any more, the lock is released.
pub(super) struct Hold {
    pub(super) session: Session,
    pub(super) ticket: Ticket,
    pub(super) mailbox: Arc<Mailbox>,
    /// The parent lock, which the server keeps as long as this one is there.
    _parent: Option<Arc<Hold>>,
    gone: AtomicBool,
}

impl Hold {
    pub(super) fn new(
        session: &Session,
        ticket: Ticket,
        mailbox: Arc<Mailbox>,
        parent: Option<Arc<Hold>>,
    ) -> Arc<Hold> {
        let hold = Arc::new(Hold {
            session: session.clone(),
            ticket,
            mailbox,
            _parent: parent,
            gone: AtomicBool::new(false),
        });
        hold.mailbox.set_hold(&hold);
        hold
    }

    /// The server said that the lock is no more.
    pub(super) fn note_gone(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    /// The lease had run out when somebody asked. From here on the lock is lost, even if its session goes on, and if it
    /// does the lock is released.
    fn lapse(&self) {
        let link = self.session.link();
        if link.read(|peer| peer.lost().is_none() && peer.lease().is_some()) {
            self.mailbox.lapse();
            link.ask(|peer| peer.abandon(self.ticket));
        }
    }

    /// What is said of a call that could not be made.
    pub(super) fn refusal(&self, status: Status) -> Outcome {
        match self.mailbox.lost() {
            Some(LockLost::Session(cause)) => Outcome::Lost(cause),
            Some(LockLost::Revoked { .. } | LockLost::LeaseEnding) | None => {
                lost_outcome(self.session.link(), status)
            }
        }
    }

    /// Takes over the levels of a granted path: the hold of the leaf, which keeps those of the levels above.
    pub(super) fn take_over(self: Arc<Hold>, levels: &[PathLevel]) -> Arc<Hold> {
        let taken = self.session.link().ask(|peer| peer.take_over(self.ticket, levels));
        let above = taken.into_iter().fold(None, |parent, (ticket, mailbox)| {
            let held = mailbox.hold().filter(|hold| hold.ticket == ticket);
            Some(held.unwrap_or_else(|| Hold::new(&self.session, ticket, mailbox, parent)))
        });
        let leaf = Hold::new(&self.session, self.ticket, self.mailbox.clone(), above);
        // The leaf is answered for by its new hold.
        self.note_gone();
        leaf
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.gone.load(Ordering::Relaxed) {
            self.session.link().ask(|peer| peer.abandon(self.ticket));
        }
    }
}

/// A lock that was granted; see the front page.
#[must_use = "a lock is released when it is dropped"]
pub struct Lock {
    pub(super) hold: Arc<Hold>,
    pub(super) grant: Grant,
    pub(super) levels: Vec<PathLevel>,
    pub(super) waited: bool,
}

impl Lock {
    /// Its id: what views and administrators call it.
    #[must_use]
    pub fn id(&self) -> LockId {
        self.grant.lock
    }

    /// The session's own number for it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.hold.ticket.handle
    }

    /// The mode that was granted, which ALTPR and ALTCW may have made another than the one asked for.
    #[must_use]
    pub fn mode(&self) -> LockMode {
        self.grant.mode
    }

    /// The number of this grant: higher than that of every earlier grant of the resource.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.grant.seq
    }

    /// What to show to the resource that the lock protects, so that it can refuse those who come too late.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.grant.fence
    }

    /// The grant, whole.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Did it have to wait, or was it granted at once?
    #[must_use]
    pub fn has_waited(&self) -> bool {
        self.waited
    }

    /// For a path, all levels, root first, the leaf last; otherwise nothing.
    #[must_use]
    pub fn levels(&self) -> &[PathLevel] {
        &self.levels
    }

    /// The session that holds it.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.hold.session
    }

    /// The value block as it was at this grant, if the request asked for it. It may be *not valid*.
    #[must_use]
    pub fn value(&self) -> Option<&ValueBlock> {
        self.grant.value.as_deref()
    }

    /// When the lease ends unless the server is heard before, on the client's side of it.
    #[must_use]
    pub fn deadline(&self) -> Moment {
        if self.hold.mailbox.lost().is_some() {
            Moment::default()
        } else {
            self.hold.session.link().deadline()
        }
    }

    /// What is left of the lease.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        self.deadline().since(clock::now())
    }

    /// What the lock is worth at this moment.
    #[must_use]
    pub fn state(&self) -> LockState {
        if self.hold.mailbox.lost().is_some() {
            return LockState::Lost;
        }
        let state = self.hold.session.link().state_now();
        if state == LockState::Lost {
            // It was said, so it stays so.
            self.hold.lapse();
        }
        state
    }

    /// Is it held at this moment? Looks at the clock each time. No promise about the next moment: what must not happen
    /// after the lease has ended needs the fence, too.
    #[must_use]
    pub fn held(&self) -> bool {
        self.state() != LockState::Lost
    }

    /// Why it is lost, if it is.
    #[must_use]
    pub fn loss(&self) -> Option<LockLost> {
        let lost = self.state() == LockState::Lost;
        let link = self.hold.session.link();
        self.hold.mailbox.lost().or_else(|| lost.then(|| link.lock_loss()))
    }

    /// Returns when the state is no more `than`, with the new one.
    pub async fn state_after(&self, than: LockState) -> LockState {
        let mut watch = self.hold.session.link().watch();
        let stop = self.hold.mailbox.stop(&self.hold.session.link().stop());
        loop {
            let state = self.state();
            if state != than {
                return state;
            }
            tokio::select! {
                changed = watch.changed() => if changed.is_err() { return LockState::Lost },
                () = stop.cancelled(), if !stop.is_cancelled() => {}
            }
        }
    }

    /// A token that is cancelled before the lease ends: a tenth of it earlier, or at once when the lock is taken away or
    /// the session is known to be lost.
    #[must_use]
    pub fn cancellation(&self) -> CancellationToken {
        let token = self.hold.mailbox.stop(&self.hold.session.link().stop());
        if !self.held() {
            token.cancel();
        }
        token
    }

    /// Runs a future as long as the lock is safely held.
    ///
    /// # Errors
    /// Why the future was dropped before its end.
    pub async fn run_until_lost<F: Future>(&self, work: F) -> Result<F::Output, LockLost> {
        let stop = self.cancellation();
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                Err(self.loss().unwrap_or_else(|| self.hold.session.link().lock_loss()))
            }
            output = work => Ok(output),
        }
    }

    /// Waits until somebody wants a mode that this lock blocks, and returns the most restrictive such mode. Each mode is
    /// told once a grant, and only if the lock was asked for with `notices(true)`.
    ///
    /// # Errors
    /// Why the lock is lost, if it is.
    pub async fn blocking(&self) -> Result<LockMode, LockLost> {
        tokio::select! {
            wanted = self.hold.mailbox.wanted() => wanted,
            cause = self.hold.session.lost() => Err(LockLost::Session(cause)),
        }
    }

    /// Asks for a lock on a subresource of this lock's, as a sublock of this one.
    pub fn sublock(&self, name: impl AsRef<[u8]>) -> LockRequest {
        LockRequest::sublock(&self.hold, name.as_ref())
    }

    /// Asks for another mode. Awaiting it gives the lock in that mode, or the old lock back with the reason. Dropping it
    /// half-way drops the lock: it is released, whatever it held.
    pub fn convert(self, mode: LockMode) -> Conversion {
        Conversion::new(self, mode)
    }

    /// Releases the lock and waits for the answer.
    ///
    /// # Errors
    /// The lock, with the reason: [`Status::HasSublocks`], or the session is lost.
    pub async fn release(self) -> Result<(), Refused> {
        self.release_as(Flags::NONE, None).await
    }

    /// Stores a value in the resource's value block and releases the lock, which must hold PW or EX to do so.
    ///
    /// # Errors
    /// As [`Lock::release`], and a value that is longer than the lockspace's blocks.
    pub async fn release_with(self, value: impl AsRef<[u8]>) -> Result<(), Refused> {
        self.release_as(Flags::VALBLK, Some(value.as_ref())).await
    }

    /// Releases the lock and marks the value block not valid, if it holds PW or EX.
    ///
    /// # Errors
    /// As [`Lock::release`].
    pub async fn release_invalidating(self) -> Result<(), Refused> {
        self.release_as(Flags::IVVALBLK, None).await
    }

    async fn release_as(self, flags: Flags, value: Option<&[u8]>) -> Result<(), Refused> {
        let (link, ticket) = (self.hold.session.link(), self.hold.ticket);
        let deq = Deq { handle: ticket.handle, flags, value };
        let outcome = match link.ask(|peer| peer.release(ticket, deq)) {
            Ok(()) => self.hold.mailbox.outcome().await,
            Err(status) => self.hold.refusal(status),
        };
        match outcome {
            Outcome::Ended { why, gone, .. } => {
                if gone {
                    self.hold.note_gone();
                }
                Err(Refused { lock: self, why })
            }
            Outcome::Lost(cause) => Err(Refused { lock: self, why: NotGranted::SessionLost(cause) }),
            Outcome::Done(_) => {
                self.hold.note_gone();
                Ok(())
            }
            Outcome::Granted { .. } | Outcome::Space(_) | Outcome::Purged(_) | Outcome::Seen(_) => {
                Err(Refused { lock: self, why: NotGranted::Refused(Status::Protocol) })
            }
        }
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("id", &self.id())
            .field("mode", &self.mode())
            .field("seq", &self.seq())
            .field("fence", &self.fence())
            .field("state", &self.state())
            .finish()
    }
}
