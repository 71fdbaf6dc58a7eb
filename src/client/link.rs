//! One connection as its users share it: the pure peer behind a mutex, and what can be read without it.
//!
//! Whoever asks for something locks the peer, lets it encode the request, and wakes the driver; many who do so at once
//! share one write. Outcomes are left in mailboxes while the mutex is held, so that a ticket whose outcome has not been
//! seen is never one that the peer has forgotten. The mutex is never held across an await or while a guard is dropped.

use super::{
    clock::{self, Moment},
    error::{LockLost, LossCause},
    lease::LockState,
    mailbox::Mailbox,
    peer::{Outcome, Peer, Told},
};
use bytes::{Bytes, BytesMut};
use enq_protocol::vocabulary::Status;
use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// How much has been written and read on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Calls of `write`.
    pub writes: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Calls of `read`.
    pub reads: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Lock requests, conversions, releases, cancels and looks that were asked for.
    pub calls: u64,
}

#[derive(Default)]
struct Counters {
    writes: AtomicU64,
    bytes_out: AtomicU64,
    reads: AtomicU64,
    bytes_in: AtomicU64,
    calls: AtomicU64,
}

/// See the front page.
pub(super) struct Link {
    /// Whom it is a connection to, as it was named.
    pub(super) server: String,
    peer: Mutex<Peer<Arc<Mailbox>>>,
    wake: Notify,
    /// Nobody uses the connection any more.
    closing: AtomicBool,
    /// The session ends with its connection.
    bound: AtomicBool,
    /// The lease, as moments: read by every guard without the mutex.
    jeopardy: AtomicU64,
    deadline: AtomicU64,
    state: watch::Sender<LockState>,
    stop: Mutex<CancellationToken>,
    counters: Counters,
}

impl Link {
    pub(super) fn new(server: &str, peer: Peer<Arc<Mailbox>>) -> Arc<Link> {
        Arc::new(Link {
            server: server.into(),
            peer: Mutex::new(peer),
            wake: Notify::new(),
            closing: AtomicBool::new(false),
            bound: AtomicBool::new(false),
            jeopardy: AtomicU64::new(0),
            deadline: AtomicU64::new(0),
            state: watch::Sender::new(LockState::Lost),
            stop: Mutex::new(CancellationToken::new()),
            counters: Counters::default(),
        })
    }

    /// Asks the peer for something and wakes the driver if there is something to send.
    pub(super) fn ask<T>(&self, ask: impl FnOnce(&mut Peer<Arc<Mailbox>>) -> T) -> T {
        let (answer, wake) = {
            let mut peer = self.peer.lock();
            (ask(&mut peer), peer.has_outgoing())
        };
        self.counters.calls.fetch_add(1, Ordering::Relaxed);
        if wake {
            self.wake.notify_one();
        }
        answer
    }

    /// Reads something off the peer.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Peer<Arc<Mailbox>>) -> T) -> T {
        read(&self.peer.lock())
    }

    /// Why nothing can be asked any more.
    pub(super) fn loss(&self) -> LossCause {
        self.read(|peer| peer.lost().cloned()).unwrap_or(LossCause::Expired)
    }

    /// What the session's locks are worth at this moment.
    pub(super) fn state_now(&self) -> LockState {
        let now = clock::now();
        if now >= self.deadline() {
            LockState::Lost
        } else if now.0 >= self.jeopardy.load(Ordering::Acquire) {
            LockState::Jeopardy
        } else {
            LockState::Safe
        }
    }

    pub(super) fn deadline(&self) -> Moment {
        Moment(self.deadline.load(Ordering::Acquire))
    }

    pub(super) fn watch(&self) -> watch::Receiver<LockState> {
        self.state.subscribe()
    }

    /// Cancelled shortly before the lease ends, or as soon as the session is known to be lost.
    pub(super) fn stop(&self) -> CancellationToken {
        self.stop.lock().clone()
    }

    pub(super) fn lock_loss(&self) -> LockLost {
        match self.read(|peer| peer.lost().cloned()) {
            Some(cause) => LockLost::Session(cause),
            None if self.state_now() == LockState::Lost => LockLost::Session(LossCause::Expired),
            None => LockLost::LeaseEnding,
        }
    }

    pub(super) fn traffic(&self) -> Traffic {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            writes: of(&self.counters.writes),
            bytes_out: of(&self.counters.bytes_out),
            reads: of(&self.counters.reads),
            bytes_in: of(&self.counters.bytes_in),
            calls: of(&self.counters.calls),
        }
    }

    /// Says CLOSE. From before it is sent, nothing is held.
    pub(super) fn close(&self, closed: Arc<Mailbox>) -> Result<(), Status> {
        {
            let mut peer = self.peer.lock();
            peer.close(closed)?;
            self.note_lease(&peer);
        }
        self.show(LockState::Lost, true);
        self.wake.notify_one();
        Ok(())
    }

    pub(super) fn bind(&self) {
        self.bound.store(true, Ordering::Relaxed);
    }

    /// Nobody uses the connection any more: the driver says good-bye and ends.
    pub(super) fn leave(&self) {
        self.closing.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    // What follows is the driver's.

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// What may be written now.
    pub(super) fn take(&self, now: Moment) -> Bytes {
        self.peer.lock().take(now)
    }

    pub(super) fn wrote(&self, len: usize) {
        self.counters.writes.fetch_add(1, Ordering::Relaxed);
        self.counters.bytes_out.fetch_add(u64::try_from(len).unwrap_or(0), Ordering::Relaxed);
    }

    /// What was read, all whole frames of it.
    pub(super) fn received(&self, len: usize, bytes: &mut BytesMut) -> Result<(), LossCause> {
        self.counters.reads.fetch_add(1, Ordering::Relaxed);
        self.counters.bytes_in.fetch_add(u64::try_from(len).unwrap_or(0), Ordering::Relaxed);
        let mut told = Vec::new();
        let mut peer = self.peer.lock();
        let heard = peer.receive(clock::now(), bytes, &mut told);
        self.note_lease(&peer);
        deliver(told);
        heard
    }

    /// Says what has to be said because time has passed, and tells guards what their locks are worth. Returns when that
    /// is to be done again, or that the lease has run out.
    pub(super) fn turn(&self, now: Moment) -> Result<Option<Moment>, LossCause> {
        let mut peer = self.peer.lock();
        peer.tick(now);
        self.note_lease(&peer);
        let Some(lease) = peer.lease().copied().filter(|_| peer.lost().is_none()) else {
            let next = peer.next_tick();
            drop(peer);
            self.show(LockState::Lost, true);
            return Ok(next);
        };
        let moments = [lease.jeopardy(), lease.warning(), lease.deadline()];
        let next = moments.into_iter().filter(|at| *at > now).chain(peer.next_tick()).min();
        let state = lease.state(now);
        let warned = now >= lease.warning();
        drop(peer);
        self.show(state, warned);
        if state == LockState::Lost { Err(LossCause::Expired) } else { Ok(next) }
    }

    /// Tells guards what their locks are worth while nothing is heard any more; when to do so again.
    pub(super) fn turn_alone(&self, now: Moment) -> Option<Moment> {
        let (lease, held) = self.read(|peer| (peer.lease().copied(), self.deadline() > now));
        let Some(lease) = lease.filter(|_| held) else {
            self.show(LockState::Lost, true);
            return None;
        };
        self.show(lease.state(now), now >= lease.warning());
        [lease.jeopardy(), lease.warning(), lease.deadline()].into_iter().filter(|at| *at > now).min()
    }

    /// Nothing will be heard any more. Those who wait are told; what is held stays so until the lease ends, unless the
    /// session is known to have ended.
    pub(super) fn lose(&self, cause: LossCause) {
        let keeps = matches!(cause, LossCause::Disconnected(_) | LossCause::PeerMisbehaved(_));
        if !keeps || self.bound.load(Ordering::Relaxed) {
            self.jeopardy.store(0, Ordering::Release);
            self.deadline.store(0, Ordering::Release);
        }
        let mut told = Vec::new();
        let mut peer = self.peer.lock();
        peer.lose(cause, &mut told);
        deliver(told);
    }

    /// Without a lease nothing is held.
    fn note_lease(&self, peer: &Peer<Arc<Mailbox>>) {
        let (jeopardy, deadline) =
            peer.lease().map_or((0, 0), |lease| (lease.jeopardy().0, lease.deadline().0));
        self.jeopardy.store(jeopardy, Ordering::Release);
        self.deadline.store(deadline, Ordering::Release);
    }

    fn show(&self, state: LockState, warned: bool) {
        self.state.send_if_modified(|shown| std::mem::replace(shown, state) != state);
        let mut stop = self.stop.lock();
        if warned {
            stop.cancel();
        } else if stop.is_cancelled() {
            // The server was heard in time after all; locks granted from here on have a token of their own.
            *stop = CancellationToken::new();
        }
    }
}

fn deliver(told: Vec<Told<Arc<Mailbox>>>) {
    for told in told {
        match told {
            Told::Outcome(mailbox, outcome) => mailbox.deliver(outcome),
            Told::Happened(mailbox, happening) => mailbox.happen(happening),
        }
    }
}

/// What a look or an administrative act was answered with.
pub(super) fn lost_outcome(link: &Link, status: Status) -> Outcome {
    match status {
        Status::SessionLost => Outcome::Lost(link.loss()),
        status => Outcome::Ended {
            why: super::error::NotGranted::from_status(status, None, 0),
            holds: None,
            gone: status == Status::NoSuchLock,
        },
    }
}
