//! The sessions of the table: what they say of themselves, and the two halves of their registers.
//!
//! The in-half belongs to whoever executes for the session: the turn of its connection, or who ends it. The out-half is
//! touched by everybody, briefly, and nothing else is waited for while it is held.

use super::{Memory, Scratch, Table, memory::SessionShares};
use crate::engine::{
    Instant,
    session::{Outgoing, Register},
};
use enq_protocol::vocabulary::{SessionId, SessionView, Status};
use parking_lot::Mutex;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::Waker,
};

/// What a session is, as it was opened.
#[derive(Clone, PartialEq, Eq)]
pub struct About {
    /// What it calls itself.
    pub name: String,
    /// What it is for.
    pub purpose: String,
    /// The host it says it runs on.
    pub host: String,
    /// The process it says it is.
    pub pid: u32,
    /// Where it was opened from.
    pub peer: String,
    /// Its lease.
    pub ttl_ms: u32,
    /// Does it end with its connection?
    pub bound: bool,
    /// What opens it again.
    pub secret: [u8; 16],
    /// What its orphans are to be found by; empty if nobody is to find them.
    pub orphan_key: Box<[u8]>,
}

impl fmt::Debug for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The secret and the orphan key are shown to nobody, logs included.
        f.debug_struct("About").field("name", &self.name).field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// The out-half with who sleeps on it.
#[derive(Debug, Default)]
pub struct OutHalf {
    /// What the session is to be told.
    pub outgoing: Outgoing,
    /// Wakes the task that sends it; taken when something is appended.
    pub waker: Option<Waker>,
    /// Where its connection comes from; empty if it has none.
    pub peer: String,
    /// How often another connection went on with the session.
    pub attachment: u64,
    /// The last request that a log has executed since the session was taken in; who waits for it is woken.
    pub executed: u64,
    /// The session has ended; nothing is appended any more.
    pub ended: bool,
}

/// One session.
#[derive(Debug)]
pub struct SessionCell {
    /// Its id.
    pub id: SessionId,
    /// What it is.
    pub about: About,
    /// When it was opened.
    pub opened: Instant,
    /// The in-half of its register.
    pub in_half: Mutex<Register>,
    /// The out-half.
    pub out_half: Mutex<OutHalf>,
    /// When it was heard of last, in nanoseconds of the server's clock: its lease runs from there.
    heard_at: AtomicU64,
    /// Handles in use when the in-half was looked at last, for views.
    locks: AtomicU32,
    pub(super) shares: SessionShares,
}

impl SessionCell {
    /// One that was heard of last when it was opened.
    pub(super) fn new(
        memory: &Arc<Memory>,
        (id, opened, about): (SessionId, Instant, About),
        register: Register,
        out_half: OutHalf,
    ) -> SessionCell {
        /// The allocations of the registry and of the leases that belong to it.
        const BESIDE: usize = 256;
        let words = about.name.len() + about.purpose.len() + about.host.len() + about.peer.len();
        let shares = SessionShares::new(memory, size_of::<SessionCell>() + words + BESIDE);
        SessionCell {
            id,
            about,
            opened,
            in_half: Mutex::new(register),
            out_half: Mutex::new(out_half),
            heard_at: AtomicU64::new(opened.0),
            locks: AtomicU32::new(0),
            shares,
        }
    }

    /// Its lease runs anew from here.
    pub fn renew(&self, now: Instant) {
        self.heard_at.fetch_max(now.0, Ordering::Relaxed);
    }

    /// When it was heard of last.
    #[must_use]
    pub fn heard_at(&self) -> Instant {
        Instant(self.heard_at.load(Ordering::Relaxed))
    }

    /// When its lease ends, if it is not heard of again and the server does not stand still.
    #[must_use]
    pub fn lease_end(&self) -> Instant {
        self.heard_at().after_ms(self.about.ttl_ms)
    }

    /// A connection from there goes on with the session. Whoever had it is woken, and has it no more. Says up to which
    /// request all answers have been received.
    ///
    /// # Errors
    /// ACK_RANGE if `received` was never sent: it ends the session.
    pub fn attach(&self, register: &mut Register, received: u64, peer: String) -> Result<u64, Status> {
        let mut half = self.out_half.lock();
        let answered = register.attach(received, &mut half.outgoing)?;
        half.attachment = register.attachment();
        half.peer = peer;
        let waker = half.waker.take();
        drop(half);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(answered)
    }

    /// The connection that had the session is gone, unless another one has it by now.
    pub fn detach(&self, attachment: u64) {
        let mut half = self.out_half.lock();
        if half.attachment == attachment {
            half.outgoing.set_heard(false);
            half.peer.clear();
            half.waker = None;
        }
    }

    /// Lets views know how many locks there are, and the budget what it takes.
    pub fn publish(&self, register: &Register) {
        self.shares.count_in(register);
        self.locks.store(register.locks(), Ordering::Relaxed);
    }

    /// About how many locks it has.
    #[must_use]
    pub fn locks(&self) -> u32 {
        self.locks.load(Ordering::Relaxed).saturating_sub(self.out_half.lock().outgoing.ended_len())
    }

    /// What somebody who looks is shown.
    #[must_use]
    pub fn show(&self, now: Instant) -> SessionView {
        let (waiting, ended, peer) = {
            let half = self.out_half.lock();
            (half.outgoing.waiting(), half.outgoing.ended_len(), half.peer.clone())
        };
        SessionView {
            session: self.id,
            name: self.about.name.clone(),
            purpose: self.about.purpose.clone(),
            host: self.about.host.clone(),
            pid: self.about.pid,
            peer,
            ttl_ms: self.about.ttl_ms,
            lease_left_ms: now.ms_until(self.lease_end()),
            age_ms: now.ms_since(self.opened),
            locks: self.locks.load(Ordering::Relaxed).saturating_sub(ended),
            waiting,
            bound: self.about.bound,
        }
    }
}

impl Table {
    /// A session begins.
    pub fn open_session(&self, now: Instant, about: About) -> Arc<SessionCell> {
        let id = SessionId(self.next_session.fetch_add(1, Ordering::Relaxed));
        let mut out_half = OutHalf { peer: about.peer.clone(), ..OutHalf::default() };
        out_half.outgoing.set_heard(true);
        let register = Register::new(self.bounds);
        let cell = Arc::new(SessionCell::new(&self.memory, (id, now, about), register, out_half));
        self.sessions.insert(id, Arc::clone(&cell));
        cell
    }

    /// The session with this id.
    #[must_use]
    pub fn session(&self, id: SessionId) -> Option<Arc<SessionCell>> {
        self.sessions.get(&id).map(|entry| Arc::clone(&entry))
    }

    /// How many sessions there are.
    #[must_use]
    pub fn session_count(&self) -> u64 {
        self.sessions.len() as u64
    }

    /// Every session of this moment, by id.
    #[must_use]
    pub fn all_sessions(&self) -> Vec<Arc<SessionCell>> {
        let mut all: Vec<_> = self.sessions.iter().map(|entry| Arc::clone(&entry)).collect();
        all.sort_unstable_by_key(|cell| cell.id);
        all
    }

    /// Takes an ended session out of the registry, so that nothing more is said to it, and wakes who served it.
    pub(super) fn forget(&self, cell: &SessionCell, scratch: &mut Scratch) -> Option<Arc<SessionCell>> {
        let forgotten = self.sessions.remove(&cell.id);
        let mut half = cell.out_half.lock();
        half.ended = true;
        scratch.wake.extend(half.waker.take());
        drop(half);
        for waker in scratch.wake.drain(..) {
            waker.wake();
        }
        forgotten.map(|(_, cell)| cell)
    }
}
