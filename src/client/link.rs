//! One session or connection as its users share it: the pure peer behind a mutex, and what can be read without it.
//!
//! Whoever asks for something locks the peer, lets it encode the request, and wakes the driver; many who do so at once
//! share one write. Outcomes are left in mailboxes while the mutex is held, so that a ticket whose outcome has not been
//! seen is never one that the peer has forgotten. The mutex is never held across an await or while a guard is dropped.

use super::{
    backoff::Persistence,
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
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
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
    /// How often the session went on, on another connection.
    pub resumes: u64,
    /// Answers that the server had kept and told again then.
    pub kept_answers: u64,
}

#[derive(Default)]
struct Counters {
    writes: AtomicU64,
    bytes_out: AtomicU64,
    reads: AtomicU64,
    bytes_in: AtomicU64,
    calls: AtomicU64,
    resumes: AtomicU64,
}

/// See the front page.
pub(super) struct Link {
    /// The servers that may be tried, as they were named, and which of them it is at.
    pub(super) servers: Arc<[String]>,
    at: AtomicUsize,
    pub(super) persistence: Persistence,
    peer: Mutex<Peer<Arc<Mailbox>>>,
    wake: Notify,
    /// Nobody uses the connection any more.
    left: CancellationToken,
    /// Nothing will be heard any more.
    over: CancellationToken,
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
    pub(super) fn new(
        servers: Arc<[String]>,
        at: usize,
        persistence: Persistence,
        peer: Peer<Arc<Mailbox>>,
    ) -> Arc<Link> {
        Arc::new(Link {
            servers,
            at: AtomicUsize::new(at),
            persistence,
            peer: Mutex::new(peer),
            wake: Notify::new(),
            left: CancellationToken::new(),
            over: CancellationToken::new(),
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
            resumes: of(&self.counters.resumes),
            kept_answers: self.read(Peer::kept_answers),
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
        self.left.cancel();
    }

    /// The server it is or was last connected to, as it was named.
    pub(super) fn server(&self) -> &str {
        self.servers.get(self.at()).map_or("", String::as_str)
    }

    /// Returns when nothing will be heard any more.
    pub(super) async fn over(&self) {
        self.over.cancelled().await;
    }

    // What follows is the driver's.

    /// Returns when nobody uses the connection any more.
    pub(super) async fn left(&self) {
        self.left.cancelled().await;
    }

    /// Which of the servers it is or was last connected to.
    pub(super) fn at(&self) -> usize {
        self.at.load(Ordering::Relaxed)
    }

    /// The connection is gone, for this reason, which is returned if no other connection helps.
    pub(super) fn disconnected(&self, why: LossCause) -> Result<(), LossCause> {
        self.peer.lock().disconnected(why)
    }

    /// The first words on another connection.
    pub(super) fn reconnect(&self, now: Moment) -> Bytes {
        let mut peer = self.peer.lock();
        peer.reconnect();
        peer.take(now)
    }

    /// The session goes on at this server.
    pub(super) fn resumed(&self, at: usize) {
        self.at.store(at, Ordering::Relaxed);
        self.counters.resumes.fetch_add(1, Ordering::Relaxed);
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

    pub(super) fn read_bytes(&self, len: usize) {
        self.counters.reads.fetch_add(1, Ordering::Relaxed);
        self.counters.bytes_in.fetch_add(u64::try_from(len).unwrap_or(0), Ordering::Relaxed);
    }

    /// What was read, all whole frames of it.
    pub(super) fn received(&self, bytes: &mut BytesMut) -> Result<(), LossCause> {
        let mut told = Vec::new();
        let mut peer = self.peer.lock();
        let heard = peer.receive(clock::now(), bytes, &mut told);
        self.note_lease(&peer);
        deliver(told);
        heard
    }

    /// Says what has to be said because time has passed, and tells guards what their locks are worth.
    ///
    /// A session that can go on elsewhere is given up some time after its lease has run out, any other one then.
    pub(super) fn turn(&self, now: Moment) -> Result<Turn, LossCause> {
        let mut told = Vec::new();
        let mut peer = self.peer.lock();
        peer.tick(now, &mut told);
        self.note_lease(&peer);
        deliver(told);
        let lease = peer.lease().copied().filter(|_| peer.lost().is_none());
        let end = peer.lease_end().map(|end| match peer.opened().filter(|_| peer.is_resumable()) {
            Some(opened) => end.plus(self.persistence.after_lease(opened.ttl_ms)),
            None => end,
        });
        let (tick, silent_at) = (peer.next_tick(), peer.silent_at());
        drop(peer);
        let state = lease.map_or(LockState::Lost, |lease| lease.state(now));
        self.show(state, lease.is_none_or(|lease| now >= lease.warning()));
        if end.is_some_and(|end| now >= end) {
            return Err(LossCause::Expired);
        }
        let of_lease = lease.map(|lease| [lease.jeopardy(), lease.warning(), lease.deadline()]);
        let later = of_lease.into_iter().flatten().chain(end).chain(silent_at).filter(|at| *at > now);
        Ok(Turn { next: later.chain(tick).min(), silent: silent_at.is_some_and(|at| at <= now) })
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
        drop(peer);
        self.over.cancel();
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

/// What a turn found out.
pub(super) struct Turn {
    /// When there is something to do again.
    pub(super) next: Option<Moment>,
    /// An answer has been due for too long: the connection counts as gone.
    pub(super) silent: bool,
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
