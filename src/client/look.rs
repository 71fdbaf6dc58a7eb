//! Looking and administering: questions outside the session's stream, freely repeated, and acts on others' locks.
//!
//! What is seen is a copy of one moment. Acts name what they act on by id *and* version, so that a stale look harms
//! nobody. Lockspaces are made, changed and removed by a session, in the order of its requests.

use super::{
    error::LookError,
    link::lost_outcome,
    mailbox::Mailbox,
    peer::Outcome,
    session::{Client, Session, look_error},
};
use enq_protocol::{
    vocabulary::{
        Counter, DeadlockView, Edge, ForeseenView, LockFilter, LockId, LockView, LockspaceId, LockspaceView,
        Policy, ResourceName, ResourceView, Scanned, Seq, SessionId, SessionView, Statistics, Status,
        WaitsFrom, WaitsView, WhatIf,
    },
    wire::{Administer, Look, Seen, Space},
};
use std::collections::VecDeque;

/// How many locks a page has at most.
pub const PAGE_MAX: u32 = 2_000;

/// How many records of deadlocks are asked for at once.
const DEADLOCKS_MAX: u32 = 256;

/// How many sessions are asked for at once.
const SESSIONS_MAX: u32 = 200;

/// A lock or a resource with what waits or is in the way, and who all these are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edges {
    /// The locks at the other ends, and why.
    pub edges: Vec<Edge>,
    /// How many there are; more than `edges` holds if the answer was cut short.
    pub total: u32,
    /// Whose they are.
    pub sessions: Vec<SessionView>,
}

/// The answer to another question.
fn other<T>(_: Seen) -> Result<T, LookError> {
    Err(LookError::Refused(Status::Protocol))
}

impl Client {
    /// Asks the server whether it is there.
    ///
    /// # Errors
    /// [`LookError`].
    pub async fn ping(&self) -> Result<(), LookError> {
        self.done(Look::Ping).await
    }

    async fn done(&self, look: Look) -> Result<(), LookError> {
        match self.see(look).await? {
            Seen::Done => Ok(()),
            seen => other(seen),
        }
    }

    /// One lock.
    ///
    /// # Errors
    /// [`LookError`], with NOSUCHLOCK if it has gone.
    pub async fn show_lock(&self, lock: LockId) -> Result<LockView, LookError> {
        match self.see(Look::Lock(lock)).await? {
            Seen::Lock(view) => Ok(*view),
            seen => other(seen),
        }
    }

    /// One resource with its queues, and the sessions that have locks there. None if there is no such resource, which
    /// is to say that nobody has a lock on it.
    ///
    /// # Errors
    /// [`LookError`].
    pub async fn show_resource(
        &self,
        lockspace: LockspaceId,
        path: &[ResourceName],
    ) -> Result<Option<(ResourceView, Vec<SessionView>)>, LookError> {
        match self.see(Look::Resource { lockspace, path: path.to_vec() }).await {
            Ok(Seen::Resource { resource, sessions }) => Ok(Some((*resource, sessions))),
            Ok(seen) => other(seen),
            Err(LookError::Refused(Status::NoSuchLock)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What this lock waits for.
    ///
    /// # Errors
    /// [`LookError`], with NOSUCHLOCK if it has gone.
    pub async fn blockers(&self, lock: LockId) -> Result<Edges, LookError> {
        self.edges(Look::Blockers(lock)).await
    }

    /// What waits for this lock.
    ///
    /// # Errors
    /// [`LookError`], with NOSUCHLOCK if it has gone.
    pub async fn blocked(&self, lock: LockId) -> Result<Edges, LookError> {
        self.edges(Look::Blocked(lock)).await
    }

    async fn edges(&self, look: Look) -> Result<Edges, LookError> {
        match self.see(look).await? {
            Seen::Edges { edges, total, sessions } => Ok(Edges { edges, total, sessions }),
            seen => other(seen),
        }
    }

    /// The locks that this filter lets through, page by page: each lock that is there throughout exactly once.
    pub fn locks(&self, filter: LockFilter) -> Locks<'_> {
        Locks { client: self, filter, from: None, over: false, page: VecDeque::new() }
    }

    /// One session.
    ///
    /// # Errors
    /// [`LookError`], with NOSUCHSESSION if it has ended.
    pub async fn show_session(&self, session: SessionId) -> Result<SessionView, LookError> {
        match self.see(Look::Session(session)).await? {
            Seen::Sessions { sessions, .. } => {
                sessions.into_iter().next().ok_or(LookError::Refused(Status::NoSuchSession))
            }
            seen => other(seen),
        }
    }

    /// All sessions, by id.
    ///
    /// # Errors
    /// [`LookError`].
    pub async fn sessions(&self) -> Result<Vec<SessionView>, LookError> {
        let mut all: Vec<SessionView> = Vec::new();
        loop {
            let after = all.last().map(|view| view.session);
            match self.see(Look::Sessions { after, max: SESSIONS_MAX }).await? {
                Seen::Sessions { sessions, more } => {
                    let more = more && !sessions.is_empty();
                    all.extend(sessions);
                    if !more {
                        return Ok(all);
                    }
                }
                seen => return other(seen),
            }
        }
    }

    /// All lockspaces.
    ///
    /// # Errors
    /// [`LookError`].
    pub async fn spaces(&self) -> Result<Vec<LockspaceView>, LookError> {
        match self.see(Look::Spaces).await? {
            Seen::Spaces(spaces) => Ok(spaces),
            seen => other(seen),
        }
    }

    /// The lockspace with this name.
    ///
    /// # Errors
    /// [`LookError`], with NOSUCHSPACE if there is none.
    pub async fn show_space(&self, name: impl AsRef<[u8]>) -> Result<LockspaceView, LookError> {
        match self.see(Look::OpenSpace(ResourceName::new(name.as_ref())?)).await? {
            Seen::Spaces(spaces) => spaces.into_iter().next().ok_or(LookError::Refused(Status::NoSuchSpace)),
            seen => other(seen),
        }
    }

    /// The counters that every server has.
    ///
    /// # Errors
    /// [`LookError`].
    pub async fn statistics(&self) -> Result<Statistics, LookError> {
        Ok(self.counters().await?.0)
    }

    /// The counters that every server has, and what this one counts besides: connections, limits, memory.
    ///
    /// # Errors
    /// [`LookError`].
    pub async fn counters(&self) -> Result<(Statistics, Vec<Counter>), LookError> {
        match self.see(Look::Statistics).await? {
            Seen::Statistics { statistics, counters } => Ok((statistics, counters)),
            seen => other(seen),
        }
    }

    /// The deadlocks that the server has a record of, the latest first.
    ///
    /// # Errors
    /// [`LookError`].
    pub async fn deadlocks(&self) -> Result<Vec<DeadlockView>, LookError> {
        let mut all: Vec<DeadlockView> = Vec::new();
        loop {
            let before = all.last().map(|view| view.number);
            let (deadlocks, more) = self.deadlocks_before(before, DEADLOCKS_MAX).await?;
            let more = more && !deadlocks.is_empty();
            all.extend(deadlocks);
            if !more {
                return Ok(all);
            }
        }
    }

    /// The record of one deadlock, by the number that [`NotGranted::Deadlock`](super::NotGranted::Deadlock) has. None if
    /// the server has no such record, or no longer.
    ///
    /// # Errors
    /// [`LookError`].
    pub async fn deadlock(&self, number: u64) -> Result<Option<DeadlockView>, LookError> {
        let (deadlocks, _) = self.deadlocks_before(number.checked_add(1), 1).await?;
        Ok(deadlocks.into_iter().find(|view| view.number == number))
    }

    async fn deadlocks_before(
        &self,
        before: Option<u64>,
        max: u32,
    ) -> Result<(Vec<DeadlockView>, bool), LookError> {
        match self.see(Look::Deadlocks { before, max }).await? {
            Seen::Deadlocks { deadlocks, more } => Ok((deadlocks, more)),
            seen => other(seen),
        }
    }

    /// Who waits for whom, from these requests on: what is in their way, what those parties wait for, and so on. At most
    /// 10,000 waits; the server may show fewer, and says so.
    ///
    /// # Errors
    /// [`LookError`], with NOSUCHLOCK or NOSUCHSESSION if there is none to begin with.
    pub async fn waits(&self, from: WaitsFrom, max: u32) -> Result<WaitsView, LookError> {
        match self.see(Look::Waits { from, max }).await? {
            Seen::Waits(view) => Ok(view),
            seen => other(seen),
        }
    }

    /// Which locks would be granted if this ended and nobody did anything else, in their order.
    ///
    /// # Errors
    /// [`LookError`], with NOSUCHLOCK or NOSUCHSESSION if there is none.
    pub async fn what_if(&self, what: WhatIf) -> Result<ForeseenView, LookError> {
        match self.see(Look::WhatIf(what)).await? {
            Seen::Foreseen(view) => Ok(view),
            seen => other(seen),
        }
    }

    /// Searches for deadlocks now, although nobody has waited long. One request of each is refused, as always.
    ///
    /// # Errors
    /// [`LookError`].
    pub async fn scan(&self) -> Result<Scanned, LookError> {
        match self.see(Look::Administer(Administer::Scan)).await? {
            Seen::Scanned(scanned) => Ok(scanned),
            seen => other(seen),
        }
    }

    /// Is the grant with this seq live? For resources that would rather ask than keep a gate.
    ///
    /// # Errors
    /// [`LookError`].
    pub async fn check_token(
        &self,
        lockspace: LockspaceId,
        path: &[ResourceName],
        seq: Seq,
    ) -> Result<bool, LookError> {
        match self.see(Look::CheckToken { lockspace, path: path.to_vec(), seq }).await? {
            Seen::Token { live } => Ok(live),
            seen => other(seen),
        }
    }

    /// Ends a session as if its lease had run out.
    ///
    /// # Errors
    /// [`LookError`], with NOSUCHSESSION if it has ended.
    pub async fn expire_session(
        &self,
        session: SessionId,
        reason: impl Into<String>,
    ) -> Result<(), LookError> {
        self.done(Look::Administer(Administer::ExpireSession { session, reason: reason.into() })).await
    }

    /// Takes a granted lock away from its holder, who is told. `version` is the seq of its last grant, as it was seen.
    ///
    /// # Errors
    /// [`LookError`], with CHANGED if the lock has been granted anew, NOSUCHLOCK if it has gone.
    pub async fn force_release(
        &self,
        lock: LockId,
        version: Seq,
        reason: impl Into<String>,
    ) -> Result<(), LookError> {
        let act = Administer::ForceRelease { lock, version: version.0, reason: reason.into() };
        self.done(Look::Administer(act)).await
    }

    /// Sets the deadlock priority of a lock.
    ///
    /// # Errors
    /// [`LookError`], with NOSUCHLOCK if it has gone.
    pub async fn set_priority(&self, lock: LockId, priority: u8) -> Result<(), LookError> {
        self.done(Look::Administer(Administer::SetPriority { lock, priority })).await
    }
}

/// A listing of locks, page by page.
#[must_use = "nothing is asked until `next` or `page` is awaited"]
pub struct Locks<'a> {
    client: &'a Client,
    filter: LockFilter,
    from: Option<u64>,
    over: bool,
    page: VecDeque<LockView>,
}

impl Locks<'_> {
    /// The next page, which may be empty although more follow; none at the end.
    ///
    /// # Errors
    /// [`LookError`].
    pub async fn page(&mut self) -> Result<Option<Vec<LockView>>, LookError> {
        if !self.page.is_empty() {
            return Ok(Some(self.page.drain(..).collect()));
        }
        if self.over {
            return Ok(None);
        }
        match self
            .client
            .see(Look::Page { from: self.from, max: PAGE_MAX, filter: self.filter.clone() })
            .await?
        {
            Seen::Page(page) => {
                self.over = page.next.is_none();
                self.from = page.next;
                Ok(Some(page.locks))
            }
            seen => other(seen),
        }
    }

    /// The next lock; none at the end.
    ///
    /// # Errors
    /// [`LookError`].
    pub async fn next(&mut self) -> Result<Option<LockView>, LookError> {
        while self.page.is_empty() {
            match self.page().await? {
                Some(page) => self.page = page.into(),
                None => return Ok(None),
            }
        }
        Ok(self.page.pop_front())
    }

    /// All that is left, but at most so many; true if there may be more.
    ///
    /// # Errors
    /// [`LookError`].
    pub async fn collect(mut self, max: usize) -> Result<(Vec<LockView>, bool), LookError> {
        let mut all = Vec::new();
        while let Some(page) = self.page().await? {
            all.extend(page);
            if all.len() > max {
                all.truncate(max);
                return Ok((all, true));
            }
        }
        Ok((all, false))
    }
}

impl Session {
    async fn change_space(&self, space: Space) -> Result<(LockspaceView, bool), LookError> {
        let mailbox = Mailbox::new();
        let outcome = match self.link().ask(|peer| peer.space(space, mailbox.clone())) {
            Ok(()) => mailbox.outcome().await,
            Err(status) => lost_outcome(self.link(), status),
        };
        match outcome {
            Outcome::Space(reply) => Ok((reply.space, reply.changed)),
            other => Err(look_error(other)),
        }
    }

    /// Makes a lockspace, or finds it if it exists with this policy. True if it was made.
    ///
    /// # Errors
    /// [`LookError`], with SPACEEXISTS if it exists with another policy, or at all if it was to be `exclusive`.
    pub async fn create_space(
        &self,
        name: impl AsRef<[u8]>,
        policy: Policy,
        exclusive: bool,
    ) -> Result<(LockspaceView, bool), LookError> {
        let name = ResourceName::new(name.as_ref())?;
        self.change_space(Space::Create { name, policy, exclusive }).await
    }

    /// Changes a lockspace's policy; `version` is that of the view it was seen in.
    ///
    /// # Errors
    /// [`LookError`], with CHANGED if somebody else was faster.
    pub async fn set_space(
        &self,
        lockspace: LockspaceId,
        version: u64,
        policy: Policy,
    ) -> Result<(LockspaceView, bool), LookError> {
        self.change_space(Space::Set { lockspace, version, policy }).await
    }

    /// Removes a lockspace, with what is in it if `force`.
    ///
    /// # Errors
    /// [`LookError`], with SPACEINUSE while it has locks.
    pub async fn remove_space(
        &self,
        lockspace: LockspaceId,
        force: bool,
    ) -> Result<(LockspaceView, bool), LookError> {
        self.change_space(Space::Remove { lockspace, force }).await
    }
}
