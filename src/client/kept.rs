//! A session that outlives its process: what to keep, and what the next process does with what the first one left.
//!
//! Whoever has a session's [`Credentials`] can go on with it, once the process that had it is gone or while it is still
//! there, which then loses it. The next process knows neither the locks nor what was asked last. So it is told what the
//! server has: the locks, with what they hold and wait for. It takes over those that it knows what to do with
//! ([`Session::take_over`]) and releases the rest ([`Session::release_rest`]); until it does either they stay. Requests
//! that the first process sent and the server has not executed are gone, as if they had never been made.

use super::{
    error::{ConnectError, LookError, LossCause, NotGranted},
    lock::{Hold, Lock},
    mailbox::Mailbox,
    session::{Client, Session, refused},
};
use enq_protocol::{
    vocabulary::{Fence, Grant, LockFilter, LockView, Queue, SessionId, Status},
    wire::{Look, Opened, Resume, Seen},
};
use std::{fmt, sync::Arc};

/// What opens a session again, after a restart of its client. Whoever has it has the session: keep it as a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    session: SessionId,
    secret: [u8; 16],
}

impl Credentials {
    /// How many bytes they are.
    pub const LEN: usize = 24;

    /// The session they are of.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// As bytes, to be kept where only the session's own programs can read.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Credentials::LEN] {
        let mut bytes = [0; Credentials::LEN];
        let (session, secret) = bytes.split_at_mut(8);
        session.copy_from_slice(&self.session.0.to_le_bytes());
        secret.copy_from_slice(&self.secret);
        bytes
    }

    /// From the bytes that were kept; none if there are more or fewer than [`Credentials::LEN`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Credentials> {
        let (session, secret) = bytes.split_first_chunk()?;
        let session = SessionId(u64::from_le_bytes(*session));
        Some(Credentials { session, secret: secret.try_into().ok()? })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("session", &self.session).finish_non_exhaustive()
    }
}

/// Goes on with a session of which this process knows nothing else.
pub(super) async fn resume_on(client: Client, credentials: &Credentials) -> Result<Session, ConnectError> {
    let Credentials { session, secret } = *credentials;
    let resumed = match client.see(Look::Resume(Resume { session, secret, received: 0 })).await {
        Ok(Seen::Resumed(resumed)) => resumed,
        Ok(_) => return Err(refused(&client, Status::Protocol)),
        // ERROR SESSION ends the connection, and says why.
        Err(LookError::Lost(LossCause::Ended(status))) => return Err(refused(&client, status)),
        Err(error) => return Err(refused(&client, error.status())),
    };
    let opened = Opened { session, secret, ttl_ms: resumed.ttl_ms };
    let taken = Taken { session: Some(Session { client, opened: Arc::new(opened), owner: None }) };
    taken.whole().await
}

/// A session that is being taken up. If that is given up half-way, nothing it holds is released.
struct Taken {
    session: Option<Session>,
}

impl Taken {
    async fn whole(mut self) -> Result<Session, ConnectError> {
        let Some(session) = &self.session else { return Err(ConnectError::NoServer) };
        let failed = |error: LookError| refused(session, error.status());
        let views = session.own_locks().await.map_err(failed)?;
        // What happened before the locks were listed has been told before this is answered, so nothing that is told
        // from here on can be taken for something about a lock that is yet to be asked for. And a session that was
        // closed in order can be resumed for a while, to hear that it was: there is nothing to go on with.
        session.show_session(session.id()).await.map_err(|error| match error {
            LookError::Refused(Status::NoSuchSession) => refused(session, Status::Session),
            error => failed(error),
        })?;
        session.link().ask(|peer| peer.find(&views, Mailbox::new));
        self.session.take().ok_or(ConnectError::NoServer)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            session.detach();
        }
    }
}

impl Session {
    /// What opens the session again, for the next process: see [`SessionBuilder::resume`](super::SessionBuilder::resume).
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        Credentials { session: self.opened.session, secret: self.opened.secret }
    }

    /// Leaves the session as it is, for the next process: its locks stay until that goes on with it, or the lease has run
    /// out. This process holds nothing any more from here on, and what it asked for a moment ago may not be sent.
    pub fn detach(self) -> Credentials {
        self.link().lose(LossCause::Closed);
        self.link().leave();
        self.credentials()
    }

    /// The locks that the session has at this moment, as the server sees them; waiting ones, too.
    ///
    /// # Errors
    /// [`LookError`].
    pub async fn own_locks(&self) -> Result<Vec<LockView>, LookError> {
        let filter = LockFilter { session: Some(self.id()), ..LockFilter::default() };
        let (mut all, mut listing) = (Vec::new(), self.locks(filter));
        while let Some(page) = listing.page().await? {
            all.extend(page);
        }
        Ok(all)
    }

    /// Answers for a granted lock that an earlier process left: the guard releases it as any other one does. `seen` is
    /// one of [`Session::own_locks`]. Take the levels of a path over, too, or leave them to [`Session::release_rest`],
    /// which releases them when nothing needs them any more.
    ///
    /// # Errors
    /// [`Status::NoSuchLock`] if this session has no such lock that was left, or it is taken over already;
    /// [`Status::NotGranted`] if it waits or converts.
    pub fn take_over(&self, seen: &LockView) -> Result<Lock, NotGranted> {
        let (Queue::Granted, Some(mode)) = (seen.queue, seen.granted) else {
            return Err(NotGranted::Refused(Status::NotGranted));
        };
        let claimed = self.link().ask(|peer| peer.claim(seen.handle));
        let (ticket, mailbox) = claimed.ok_or(NotGranted::Refused(Status::NoSuchLock))?;
        let hold = Hold::new(self, ticket, mailbox, None);
        let grant = Grant {
            handle: seen.handle,
            lock: seen.lock,
            mode,
            seq: seen.seq,
            fence: Fence(seen.fence.0),
            synchronous: false,
            alternate: false,
            demoted: false,
            stored: false,
            value: None,
        };
        Ok(Lock { hold, grant, levels: Vec::new(), waited: false })
    }

    /// Releases everything that an earlier process left and nobody took over, waiting requests included.
    pub fn release_rest(&self) {
        self.link().ask(|peer| peer.release_unclaimed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_survive_as_bytes_and_are_not_shown() {
        let kept = Credentials { session: SessionId(0x0102_0304_0506_0708), secret: *b"0123456789abcdef" };
        let bytes = kept.to_bytes();
        assert_eq!(Credentials::from_bytes(&bytes), Some(kept.clone()));
        assert_eq!(Credentials::from_bytes(&bytes[1..]), None);
        assert_eq!(Credentials::from_bytes(&[bytes.as_slice(), b"x"].concat()), None);
        let shown = format!("{kept:?}");
        assert!(!shown.contains("012345") && !shown.contains("48, 49"), "{shown}");
        assert_eq!(kept.session(), SessionId(0x0102_0304_0506_0708));
    }
}
