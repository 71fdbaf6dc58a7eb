//! Orphans: persistent locks whose session has ended. Adopting one, which is a builder that is awaited, and purging them.
//!
//! Both go by the orphan key that the session said which left them ([`SessionBuilder::orphan_key`]). A tree is adopted
//! from its root downwards, each sublock from the lock above it.
//!
//! [`SessionBuilder::orphan_key`]: super::SessionBuilder::orphan_key

use super::{
    error::{LookError, NotGranted},
    link::lost_outcome,
    lock::{Hold, Lock},
    mailbox::Mailbox,
    peer::Outcome,
    request::{first_grant, unsent},
    session::{Lockspace, Session, look_error},
};
use enq_protocol::{
    vocabulary::{Flags, LockMode, LockspaceId, NameError, ResourceName},
    wire::{Adopt, Purge},
};
use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
};

/// An orphan that is to become a lock of this session: one in EX, unless told otherwise. Await it.
///
/// It is answered at once: with the lock, which has a new seq and fence, or refused NOSUCHORPHAN, also where the orphan
/// key is another, or WRONGMODE where orphans with that key hold other modes.
#[must_use = "nothing is asked until this is awaited"]
#[derive(Clone)]
pub struct Adoption {
    session: Session,
    lockspace: LockspaceId,
    parent: Option<Arc<Hold>>,
    name: Result<ResourceName, NameError>,
    orphan_key: Box<[u8]>,
    mode: LockMode,
    flags: Flags,
    owner: Option<u64>,
    priority: u8,
    reason: Box<[u8]>,
}

impl Adoption {
    fn new(
        session: &Session,
        lockspace: LockspaceId,
        parent: Option<Arc<Hold>>,
        (name, orphan_key): (&[u8], &[u8]),
    ) -> Adoption {
        Adoption {
            session: session.clone(),
            lockspace,
            parent,
            name: ResourceName::new(name),
            orphan_key: orphan_key.into(),
            mode: LockMode::Ex,
            flags: Flags::NONE,
            owner: None,
            priority: 0,
            reason: Box::default(),
        }
    }

    /// The mode that the orphan holds; EX unless told otherwise.
    pub fn mode(mut self, mode: LockMode) -> Self {
        self.mode = mode;
        self
    }

    /// Tell the holder when the lock blocks somebody: see [`Lock::blocking`].
    pub fn notices(mut self, notices: bool) -> Self {
        self.flags = self.flags.without(Flags::BLKAST) | Flags::BLKAST.when(notices);
        self
    }

    /// Read the value block with the grant: see [`Lock::value`].
    pub fn read_value(mut self) -> Self {
        self.flags |= Flags::VALBLK;
        self
    }

    /// On whose behalf within the session.
    pub fn owner(mut self, token: u64) -> Self {
        self.owner = Some(token);
        self
    }

    /// The deadlock priority of later conversions; 0 unless told otherwise.
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// Why, for those who look: at most 256 bytes.
    pub fn reason(mut self, reason: impl AsRef<[u8]>) -> Self {
        self.reason = reason.as_ref().into();
        self
    }

    async fn ask(self) -> Result<Lock, NotGranted> {
        let Adoption { session, lockspace, parent, name, orphan_key, mode, flags, owner, priority, reason } =
            self;
        let name = name?;
        let mailbox = Mailbox::new();
        let parent_handle = parent.as_ref().map(|parent| parent.ticket.handle);
        let sent = session.link().ask(|peer| {
            peer.adopt(mailbox.clone(), |handle| Adopt {
                handle,
                lockspace,
                parent: parent_handle,
                name: name.as_bytes(),
                mode,
                flags,
                owner: session.whose(owner),
                priority,
                orphan_key: &orphan_key,
                reason: &reason,
            })
        });
        let ticket = sent.map_err(|status| unsent(&session, status))?;
        let hold = Hold::new(&session, ticket, mailbox, parent);
        let outcome = hold.mailbox.outcome().await;
        first_grant(hold, outcome)
    }
}

impl IntoFuture for Adoption {
    type Output = Result<Lock, NotGranted>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.ask())
    }
}

impl Session {
    /// Adopts an orphan of the root resource with this name, in the lockspace `default`.
    pub fn adopt(&self, name: impl AsRef<[u8]>, orphan_key: impl AsRef<[u8]>) -> Adoption {
        Adoption::new(self, LockspaceId::default(), None, (name.as_ref(), orphan_key.as_ref()))
    }

    /// Releases all orphans with this orphan key in the lockspace `default`, or those of them in the tree of this root.
    /// Returns how many there were. What one held in PW or EX leaves its value block not valid.
    ///
    /// # Errors
    /// [`LookError`], if the session is lost before the answer.
    pub async fn purge(&self, orphan_key: impl AsRef<[u8]>, root: Option<&[u8]>) -> Result<u64, LookError> {
        self.purge_in(LockspaceId::default(), orphan_key.as_ref(), root).await
    }

    async fn purge_in(
        &self,
        lockspace: LockspaceId,
        orphan_key: &[u8],
        root: Option<&[u8]>,
    ) -> Result<u64, LookError> {
        let root = root.map(ResourceName::new).transpose()?;
        let root = root.as_ref().map(ResourceName::as_bytes);
        let mailbox = Mailbox::new();
        let purge = Purge { lockspace, root, orphan_key };
        let outcome = match self.link().ask(|peer| peer.purge(purge, mailbox.clone())) {
            Ok(()) => mailbox.outcome().await,
            Err(status) => lost_outcome(self.link(), status),
        };
        match outcome {
            Outcome::Purged(released) => Ok(released),
            other => Err(look_error(other)),
        }
    }
}

impl Lockspace {
    /// Adopts an orphan of the root resource with this name.
    pub fn adopt(&self, name: impl AsRef<[u8]>, orphan_key: impl AsRef<[u8]>) -> Adoption {
        let lockspace = self.view().lockspace;
        Adoption::new(self.session(), lockspace, None, (name.as_ref(), orphan_key.as_ref()))
    }

    /// As [`Session::purge`], in this lockspace.
    ///
    /// # Errors
    /// As [`Session::purge`], and NOSUCHSPACE if it has been removed.
    pub async fn purge(&self, orphan_key: impl AsRef<[u8]>, root: Option<&[u8]>) -> Result<u64, LookError> {
        self.session().purge_in(self.view().lockspace, orphan_key.as_ref(), root).await
    }
}

impl Lock {
    /// Adopts an orphan that is a sublock of this lock, which was adopted before.
    pub fn adopt(&self, name: impl AsRef<[u8]>, orphan_key: impl AsRef<[u8]>) -> Adoption {
        let (session, parent) = (&self.hold.session, Some(self.hold.clone()));
        Adoption::new(session, LockspaceId::default(), parent, (name.as_ref(), orphan_key.as_ref()))
    }
}
