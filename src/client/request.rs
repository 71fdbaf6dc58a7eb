//! Asking: for a lock, for a path, for another mode. Each is a builder that is awaited.
//!
//! Nothing is sent before the first poll. Dropping the future of a request that waits takes it out of its queue; if its
//! grant is already on the way, it is released as soon as it arrives. The server keeps the time a request may wait.

use super::{
    error::{NotGranted, Refused},
    link::lost_outcome,
    lock::{Hold, Lock},
    mailbox::Mailbox,
    peer::{Outcome, Ticket},
    session::Session,
};
use enq_protocol::{
    vocabulary::{Flags, Grant, Handle, LockMode, LockspaceId, NameError, PathLevel, ResourceName, Status},
    wire::{Convert, Enq, EnqPath},
};
use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// How long a request may wait in its queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wait {
    /// As long as it takes, or as the lockspace's policy allows.
    #[default]
    Forever,
    /// At most so long; zero is `No`.
    UpTo(Duration),
    /// Not at all: granted at once, or refused.
    No,
}

impl Wait {
    /// The flag and the number of milliseconds that say so.
    fn to_wire(self) -> (Flags, Option<u32>) {
        match self {
            Wait::Forever => (Flags::NONE, None),
            Wait::UpTo(Duration::ZERO) | Wait::No => (Flags::NOQUEUE, None),
            Wait::UpTo(time) => {
                (Flags::NONE, Some(u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1)))
            }
        }
    }
}

/// What all three kinds of asking can be told.
#[derive(Clone, Debug)]
struct Terms {
    mode: LockMode,
    wait: Wait,
    flags: Flags,
    owner: Option<u64>,
    priority: u8,
    reason: Box<[u8]>,
    cancel: Option<CancellationToken>,
    asked: Option<Arc<OnceLock<Handle>>>,
}

impl Terms {
    fn new(mode: LockMode) -> Terms {
        Terms {
            mode,
            wait: Wait::Forever,
            flags: Flags::NONE,
            owner: None,
            priority: 0,
            reason: Box::default(),
            cancel: None,
            asked: None,
        }
    }

    /// The request has its handle.
    fn note(&self, ticket: Ticket) {
        if let Some(asked) = &self.asked {
            // A request that is asked again keeps the first one.
            let _ = asked.set(ticket.handle);
        }
    }
}

/// The methods that the builders share.
macro_rules! terms {
    () => {
        /// How long it may wait; for ever unless told otherwise.
        pub fn wait(mut self, wait: Wait) -> Self {
            self.terms.wait = wait;
            self
        }

        /// Tell the holder when the lock blocks somebody: see [`Lock::blocking`].
        pub fn notices(mut self, notices: bool) -> Self {
            self.terms.flags = self.terms.flags.without(Flags::BLKAST) | Flags::BLKAST.when(notices);
            self
        }

        /// Read the value block with the grant: see [`Lock::value`].
        pub fn read_value(mut self) -> Self {
            self.terms.flags |= Flags::VALBLK;
            self
        }

        /// Let the lock outlive its session, as an orphan that blocks until it is adopted, purged, or released by force.
        /// It stays so, whatever later conversions say.
        pub fn persistent(mut self) -> Self {
            self.terms.flags |= Flags::PERSISTENT;
            self
        }

        /// The deadlock priority: of the requests of a deadlock the one with the lowest is refused, never one with
        /// [`NEVER_REFUSED`](enq_protocol::vocabulary::NEVER_REFUSED). 0 unless told otherwise, for each request anew.
        pub fn priority(mut self, priority: u8) -> Self {
            self.terms.priority = priority;
            self
        }

        /// Further flags, beside those that the other methods set.
        pub fn flags(mut self, flags: Flags) -> Self {
            self.terms.flags |= flags;
            self
        }

        /// Withdraw the request when this token is cancelled. It then ends [`NotGranted::Cancelled`], or granted if the
        /// grant was faster.
        pub fn cancel_on(mut self, token: CancellationToken) -> Self {
            self.terms.cancel = Some(token);
            self
        }
    };
}

/// A lock that is asked for. EX and for as long as it takes, unless told otherwise. Await it.
#[must_use = "nothing is asked until this is awaited"]
#[derive(Clone)]
pub struct LockRequest {
    session: Session,
    lockspace: LockspaceId,
    parent: Option<Arc<Hold>>,
    name: Result<ResourceName, NameError>,
    terms: Terms,
}

impl LockRequest {
    pub(super) fn root(session: &Session, lockspace: LockspaceId, name: &[u8]) -> LockRequest {
        let name = ResourceName::new(name);
        LockRequest {
            session: session.clone(),
            lockspace,
            parent: None,
            name,
            terms: Terms::new(LockMode::Ex),
        }
    }

    pub(super) fn sublock(parent: &Arc<Hold>, name: &[u8]) -> LockRequest {
        LockRequest {
            session: parent.session.clone(),
            lockspace: LockspaceId::default(),
            parent: Some(parent.clone()),
            name: ResourceName::new(name),
            terms: Terms::new(LockMode::Ex),
        }
    }

    /// The mode; EX unless told otherwise.
    pub fn mode(mut self, mode: LockMode) -> Self {
        self.terms.mode = mode;
        self
    }

    /// Why, for those who look: at most 256 bytes.
    pub fn reason(mut self, reason: impl AsRef<[u8]>) -> Self {
        self.terms.reason = reason.as_ref().into();
        self
    }

    /// Leaves the lock's handle there as soon as it is asked for: by it a request that waits is known in views.
    pub fn tell_handle(mut self, asked: Arc<OnceLock<Handle>>) -> Self {
        self.terms.asked = Some(asked);
        self
    }

    /// On whose behalf within the session, for the deadlock search: see [`Session::owner`].
    pub fn owner(mut self, token: u64) -> Self {
        self.terms.owner = Some(token);
        self
    }

    terms!();

    async fn ask(self) -> Result<Lock, NotGranted> {
        let LockRequest { session, lockspace, parent, name, terms } = self;
        let name = name?;
        let (wait, timeout_ms) = terms.wait.to_wire();
        let mailbox = Mailbox::new();
        let parent_handle = parent.as_ref().map(|parent| parent.ticket.handle);
        let sent = session.link().ask(|peer| {
            peer.enq(mailbox.clone(), |handle| Enq {
                handle,
                lockspace,
                parent: parent_handle,
                name: name.as_bytes(),
                mode: terms.mode,
                flags: terms.flags | wait,
                owner: session.whose(terms.owner),
                timeout_ms,
                priority: terms.priority,
                reason: &terms.reason,
            })
        });
        let ticket = sent.map_err(|status| unsent(&session, status))?;
        terms.note(ticket);
        let hold = Hold::new(&session, ticket, mailbox, parent);
        let outcome = outcome(&hold, terms.cancel.as_ref()).await;
        first_grant(hold, outcome)
    }
}

impl IntoFuture for LockRequest {
    type Output = Result<Lock, NotGranted>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.ask())
    }
}

/// A leaf that is asked for together with the intents on its ancestors, in one round trip. Await it.
///
/// The guard is the leaf's; the levels above are kept as long as it, or another path of this session, needs them.
#[must_use = "nothing is asked until this is awaited"]
#[derive(Clone)]
pub struct PathRequest {
    session: Session,
    lockspace: LockspaceId,
    path: Result<Vec<ResourceName>, NameError>,
    terms: Terms,
}

impl PathRequest {
    pub(super) fn new<N: AsRef<[u8]>>(
        session: &Session,
        lockspace: LockspaceId,
        path: impl IntoIterator<Item = N>,
    ) -> PathRequest {
        let path: Result<Vec<ResourceName>, NameError> =
            path.into_iter().map(|name| ResourceName::new(name.as_ref())).collect();
        let path = path.and_then(|path| if path.is_empty() { Err(NameError::Empty) } else { Ok(path) });
        PathRequest { session: session.clone(), lockspace, path, terms: Terms::new(LockMode::Ex) }
    }

    /// The leaf's mode; EX unless told otherwise.
    pub fn mode(mut self, mode: LockMode) -> Self {
        self.terms.mode = mode;
        self
    }

    /// Why, for those who look: at most 256 bytes.
    pub fn reason(mut self, reason: impl AsRef<[u8]>) -> Self {
        self.terms.reason = reason.as_ref().into();
        self
    }

    /// Leaves the lock's handle there as soon as it is asked for: by it a request that waits is known in views.
    pub fn tell_handle(mut self, asked: Arc<OnceLock<Handle>>) -> Self {
        self.terms.asked = Some(asked);
        self
    }

    /// On whose behalf within the session, for the deadlock search: see [`Session::owner`]. Only levels of the same owner
    /// are shared.
    pub fn owner(mut self, token: u64) -> Self {
        self.terms.owner = Some(token);
        self
    }

    terms!();

    async fn ask(self) -> Result<Lock, NotGranted> {
        let PathRequest { session, lockspace, path, terms } = self;
        let path = path?;
        let (wait, timeout_ms) = terms.wait.to_wire();
        let mailboxes = Mailbox::for_path(path.len());
        let Some(leaf) = mailboxes.last().cloned() else { return Err(NameError::Empty.into()) };
        let sent = session.link().ask(|peer| {
            peer.enq_path(mailboxes, |handles| EnqPath {
                handles,
                lockspace,
                path: path.iter().map(ResourceName::as_bytes).collect(),
                mode: terms.mode,
                flags: terms.flags | wait,
                owner: session.whose(terms.owner),
                timeout_ms,
                priority: terms.priority,
                reason: &terms.reason,
            })
        });
        let ticket = sent.map_err(|status| unsent(&session, status))?;
        terms.note(ticket);
        let hold = Hold::new(&session, ticket, leaf, None);
        let outcome = outcome(&hold, terms.cancel.as_ref()).await;
        first_grant(hold, outcome)
    }
}

impl IntoFuture for PathRequest {
    type Output = Result<Lock, NotGranted>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.ask())
    }
}

/// Another mode that is asked for. Await it.
#[must_use = "nothing is asked until this is awaited; dropped, it releases the lock"]
pub struct Conversion {
    lock: Lock,
    terms: Terms,
    value: Option<Box<[u8]>>,
}

impl Conversion {
    pub(super) fn new(lock: Lock, mode: LockMode) -> Conversion {
        Conversion { lock, terms: Terms::new(mode), value: None }
    }

    /// Store this value when the conversion is granted, if it leaves PW or EX; otherwise read the block.
    pub fn store(mut self, value: impl AsRef<[u8]>) -> Self {
        self.terms.flags |= Flags::VALBLK;
        self.value = Some(value.as_ref().into());
        self
    }

    /// Queue behind the conversions that wait (QUECVT).
    pub fn queue_behind(self) -> Self {
        self.flags(Flags::QUECVT)
    }

    terms!();

    async fn ask(self) -> Result<Lock, Refused> {
        let Conversion { mut lock, terms, value } = self;
        let (wait, timeout_ms) = terms.wait.to_wire();
        let ticket = lock.hold.ticket;
        let convert = Convert {
            handle: ticket.handle,
            mode: terms.mode,
            flags: terms.flags | wait,
            timeout_ms,
            priority: terms.priority,
            value: value.as_deref(),
        };
        let link = lock.hold.session.link();
        let outcome = match link.ask(|peer| peer.convert(ticket, convert)) {
            Ok(()) => outcome(&lock.hold, terms.cancel.as_ref()).await,
            Err(status) => lock.hold.refusal(status),
        };
        match grant_of(outcome) {
            Ok((grant, _, waited)) => {
                lock.grant = grant;
                lock.waited = waited;
                Ok(lock)
            }
            Err(ended) => {
                if ended.gone {
                    lock.hold.note_gone();
                }
                if let Some(mode) = ended.holds.filter(|mode| *mode != lock.grant.mode) {
                    // C5: it was demoted on the way, and the fence of what it held has gone with that.
                    lock.grant.mode = mode;
                    lock.grant.fence = enq_protocol::vocabulary::Fence::UNFENCED;
                }
                Err(Refused { lock, why: ended.why })
            }
        }
    }
}

impl IntoFuture for Conversion {
    type Output = Result<Lock, Refused>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.ask())
    }
}

/// Why nothing was sent.
pub(super) fn unsent(session: &Session, status: Status) -> NotGranted {
    match lost_outcome(session.link(), status) {
        Outcome::Lost(cause) => NotGranted::SessionLost(cause),
        _ => NotGranted::from_status(status, None, 0),
    }
}

/// The outcome of the call under way; a token can withdraw it on the way.
async fn outcome(hold: &Hold, cancel: Option<&CancellationToken>) -> Outcome {
    if let Some(token) = cancel {
        tokio::select! {
            biased;
            outcome = hold.mailbox.outcome() => return outcome,
            () = token.cancelled() => cancel_now(hold, hold.ticket),
        }
    }
    hold.mailbox.outcome().await
}

fn cancel_now(hold: &Hold, ticket: Ticket) {
    hold.session.link().ask(|peer| peer.cancel(ticket));
}

/// How a request ended that was not granted.
struct Ended {
    why: NotGranted,
    holds: Option<LockMode>,
    gone: bool,
}

fn grant_of(outcome: Outcome) -> Result<(Grant, Vec<PathLevel>, bool), Ended> {
    match outcome {
        Outcome::Granted { grant, levels, waited } => Ok((grant, levels, waited)),
        Outcome::Ended { why, holds, gone } => Err(Ended { why, holds, gone }),
        Outcome::Lost(cause) => Err(Ended { why: NotGranted::SessionLost(cause), holds: None, gone: true }),
        Outcome::Done(status) => Err(Ended { why: NotGranted::Refused(status), holds: None, gone: false }),
        Outcome::Space(_) | Outcome::Purged(_) | Outcome::Seen(_) => {
            Err(Ended { why: NotGranted::Refused(Status::Protocol), holds: None, gone: false })
        }
    }
}

pub(super) fn first_grant(hold: Arc<Hold>, outcome: Outcome) -> Result<Lock, NotGranted> {
    match grant_of(outcome) {
        Ok((grant, levels, waited)) => {
            let hold = if levels.len() > 1 { hold.take_over(&levels) } else { hold };
            Ok(Lock { hold, grant, levels, waited })
        }
        Err(ended) => {
            if ended.gone {
                hold.note_gone();
            }
            Err(ended.why)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_to_wait_is_rounded_to_what_the_wire_can_say() {
        assert_eq!(Wait::Forever.to_wire(), (Flags::NONE, None));
        assert_eq!(Wait::No.to_wire(), (Flags::NOQUEUE, None));
        assert_eq!(Wait::UpTo(Duration::ZERO).to_wire(), (Flags::NOQUEUE, None));
        assert_eq!(Wait::UpTo(Duration::from_micros(1)).to_wire(), (Flags::NONE, Some(1)));
        assert_eq!(Wait::UpTo(Duration::MAX).to_wire(), (Flags::NONE, Some(u32::MAX)));
    }
}
