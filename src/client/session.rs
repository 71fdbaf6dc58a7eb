//! A session: who holds locks. And a client: a connection without one, for those who only look.
//!
//! A session is a lease, which the driver of its connection renews, and a name under which others see it. It is cheap to
//! clone; it is closed, and everything it holds released, when the last clone and the last of its locks have gone. Unless
//! it is bound to its connection it outlives it: the driver finds another one and goes on, and nothing is noticed but
//! time. What is asked meanwhile waits. A client without a session ends with its connection.

use super::{
    backoff::Persistence,
    clock, connection,
    error::{ConnectError, LookError, LossCause},
    kept::{self, Credentials},
    lease::LockState,
    link::{Link, Traffic, lost_outcome},
    mailbox::Mailbox,
    owner,
    peer::Outcome,
    request::{LockRequest, PathRequest},
};
use enq_protocol::{
    vocabulary::{LockspaceId, LockspaceView, Owner, SessionId, Status},
    wire::{Look, OpenSession, Opened, Seen, Welcome},
};
use std::{ops::Deref, sync::Arc, time::Duration};

/// The lease of a session that asks for nothing else.
pub const TTL_DEFAULT: Duration = Duration::from_secs(15);

/// How long one server may take to answer a greeting.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// A connection to a server, for looking and administration. Cheap to clone; closed when the last clone has gone.
#[derive(Clone)]
pub struct Client {
    connected: Arc<Connected>,
}

/// Leaves the connection when nobody uses it any more.
struct Connected {
    link: Arc<Link>,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.link.leave();
    }
}

impl Client {
    /// Connects to the first of these servers that answers: `host`, `host:port`, `address:port`.
    ///
    /// # Errors
    /// [`ConnectError`] of the last one, if none of them serves.
    pub async fn connect<S: AsRef<str>>(servers: &[S]) -> Result<Client, ConnectError> {
        Client::connect_within(servers, CONNECT_WITHIN).await
    }

    /// As [`Client::connect`], with another time for each server.
    ///
    /// # Errors
    /// [`ConnectError`] of the last one, if none of them serves.
    pub async fn connect_within<S: AsRef<str>>(
        servers: &[S],
        within: Duration,
    ) -> Result<Client, ConnectError> {
        let (servers, mut last) = (names(servers), ConnectError::NoServer);
        for at in 0..servers.len() {
            let persistence = Persistence { within, ..Persistence::default() };
            match Client::connect_to(&servers, at, persistence).await {
                Ok(client) => return Ok(client),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn connect_to(
        servers: &Arc<[String]>,
        at: usize,
        persistence: Persistence,
    ) -> Result<Client, ConnectError> {
        let link = connection::connect(servers, at, persistence).await?;
        Ok(Client { connected: Arc::new(Connected { link }) })
    }

    /// The server it is connected to, as it was named; between two connections, the one it was connected to last.
    #[must_use]
    pub fn address(&self) -> &str {
        self.link().server()
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        &self.connected.link
    }

    /// What the server said it is, with its limits.
    #[must_use]
    pub fn server(&self) -> Welcome {
        // A connection is only handed out after the greeting.
        self.link()
            .read(|peer| peer.welcome().cloned())
            .expect("the server has greeted before there is a client")
    }

    /// How much went over this connection so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.link().traffic()
    }

    pub(super) async fn see(&self, look: Look) -> Result<Seen, LookError> {
        let mailbox = Mailbox::new();
        let outcome = match self.link().ask(|peer| peer.look(&look, mailbox.clone())) {
            Ok(()) => mailbox.outcome().await,
            Err(status) => lost_outcome(self.link(), status),
        };
        match outcome {
            Outcome::Seen(seen) => match *seen {
                Seen::Refused(status) => Err(LookError::Refused(status)),
                seen => Ok(seen),
            },
            other => Err(look_error(other)),
        }
    }
}

fn names<S: AsRef<str>>(servers: &[S]) -> Arc<[String]> {
    servers.iter().map(|server| server.as_ref().to_string()).collect()
}

/// What an outcome that is none of a look's says about it.
pub(super) fn look_error(outcome: Outcome) -> LookError {
    match outcome {
        Outcome::Lost(cause) => LookError::Lost(cause),
        Outcome::Ended { why, .. } if why.status() == Status::FrameTooLarge => LookError::TooLong,
        Outcome::Ended { why, .. } => LookError::Refused(why.status()),
        Outcome::Granted { .. }
        | Outcome::Done(_)
        | Outcome::Space(_)
        | Outcome::Purged(_)
        | Outcome::Seen(_) => {
            LookError::Lost(LossCause::PeerMisbehaved("the answer is one to another question".into()))
        }
    }
}

/// What a session says of itself when it opens.
#[derive(Clone, Debug)]
#[must_use = "no session is opened until `connect` is awaited"]
pub struct SessionBuilder {
    open: OpenSession,
    ttl: Duration,
    persistence: Persistence,
    resume: Option<Credentials>,
}

impl SessionBuilder {
    /// The lease: how long the session's locks outlive a client that says nothing. 15 s unless told otherwise.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// What the session is for, for those who look.
    pub fn purpose(mut self, purpose: impl Into<String>) -> Self {
        self.open.purpose = purpose.into();
        self
    }

    /// The node it runs on, and its number in a cluster of the caller's, for those who look.
    pub fn node(mut self, node: impl Into<String>, number: u32) -> Self {
        self.open.node = node.into();
        self.open.node_id = number;
        self
    }

    /// End with the connection, not with the lease: what a killed process held is free at once.
    pub fn bind_connection(mut self, bind: bool) -> Self {
        self.open.bind_connection = bind;
        self
    }

    /// Under which the session's persistent locks can be found again after its end: at most 64 bytes. Whoever knows it
    /// can adopt and purge them, so it is a secret; without one nobody can.
    pub fn orphan_key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.open.orphan_key = key.as_ref().into();
        self
    }

    /// How long each server may take to answer the greeting: 5 s unless told otherwise.
    pub fn connect_within(mut self, within: Duration) -> Self {
        self.persistence.within = within;
        self
    }

    /// The pauses between attempts when the connection is lost: random, the first at most `base`, then up to twice as
    /// long each, at most `cap` and a quarter of the lease. 50 ms and 2 s unless told otherwise.
    pub fn backoff(mut self, base: Duration, cap: Duration) -> Self {
        (self.persistence.base, self.persistence.cap) = (base, cap);
        self
    }

    /// How long after its lease has run out a session without a connection is given up. The locks are lost with the
    /// lease; the server may have been late, and then the session goes on. Three leases unless told otherwise.
    pub fn give_up_after(mut self, time: Duration) -> Self {
        self.persistence.after_lease = Some(time);
        self
    }

    /// Go on with a session that exists, of an earlier process, instead of opening one: see [`Session::own_locks`]. What
    /// else the builder was told to say of the session is not said.
    pub fn resume(mut self, credentials: Credentials) -> Self {
        self.resume = Some(credentials);
        self
    }

    /// Connects to the first of these servers that answers and takes the session, and opens it there.
    ///
    /// # Errors
    /// [`ConnectError`] of the last one, if none of them does.
    pub async fn connect<S: AsRef<str>>(self, servers: &[S]) -> Result<Session, ConnectError> {
        let mut open = self.open;
        open.ttl_ms = u32::try_from(self.ttl.as_millis()).unwrap_or(u32::MAX);
        let (servers, mut last) = (names(servers), ConnectError::NoServer);
        for at in 0..servers.len() {
            let connected = Client::connect_to(&servers, at, self.persistence).await;
            let begun = match (connected, &self.resume) {
                (Ok(client), None) => open_on(client, &open).await,
                (Ok(client), Some(credentials)) => kept::resume_on(client, credentials).await,
                (Err(error), _) => Err(error),
            };
            match begun {
                Ok(session) => return Ok(session),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

async fn open_on(client: Client, open: &OpenSession) -> Result<Session, ConnectError> {
    if open.bind_connection {
        client.link().bind();
    }
    match client.see(Look::Open(open.clone())).await {
        Ok(Seen::Opened(opened)) => Ok(Session { client, opened: Arc::new(opened), owner: None }),
        Ok(_) => Err(refused(&client, Status::Protocol)),
        Err(error) => Err(refused(&client, error.status())),
    }
}

/// The server does not give the session.
pub(super) fn refused(client: &Client, status: Status) -> ConnectError {
    ConnectError::Refused { server: client.address().into(), status }
}

/// Who holds locks; see the front page. It looks and administers like a [`Client`].
#[derive(Clone)]
pub struct Session {
    pub(super) client: Client,
    pub(super) opened: Arc<Opened>,
    /// Whose its locks are; without it, the task's that asks.
    pub(super) owner: Option<u64>,
}

impl Session {
    /// A session that calls itself so, to be described further and connected.
    pub fn builder(name: impl Into<String>) -> SessionBuilder {
        let host =
            nix::unistd::gethostname().ok().and_then(|host| host.into_string().ok()).unwrap_or_default();
        SessionBuilder {
            open: OpenSession {
                name: name.into(),
                purpose: String::new(),
                node: String::new(),
                node_id: 0,
                host,
                pid: std::process::id(),
                process_start: clock::process_start(),
                ttl_ms: 0,
                orphan_key: Box::default(),
                log: 0,
                bind_connection: false,
            },
            ttl: TTL_DEFAULT,
            persistence: Persistence::default(),
            resume: None,
        }
    }

    /// The same session, for an owner of this number: a transaction, say, that several tasks work for.
    ///
    /// An owner is who waits and is waited for in the search for deadlocks, and who shares the levels of paths. Unless
    /// something else is said, here or with a request, it is the task of the runtime that awaits the request, as a
    /// number from 2^48 on, and 0 outside of any. So two tasks of one session may wait for each other's locks and go on; if one waits for the other
    /// and the other for it, that is a deadlock and one of them is refused.
    ///
    /// A lock keeps its owner, whoever converts and releases it. Where one task asks and another one keeps the lock while
    /// it waits for more, they should say that they are one owner: otherwise a deadlock that goes through them is not
    /// found.
    #[must_use]
    pub fn owner(&self, token: u64) -> Session {
        Session { owner: Some(token), ..self.clone() }
    }

    /// Whose a request is.
    pub(super) fn whose(&self, asked: Option<u64>) -> Owner {
        owner::owner(asked.or(self.owner))
    }

    /// Its id. No secret, and opens nothing.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.opened.session
    }

    /// The lease that the server gave.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        Duration::from_millis(self.opened.ttl_ms.into())
    }

    /// What its locks are worth at this moment.
    #[must_use]
    pub fn state(&self) -> LockState {
        self.link().state_now()
    }

    /// Waits until the session is lost, with everything it held. A session whose lease has run out without an answer is
    /// not lost yet, although its locks are: the server may have been late.
    pub async fn lost(&self) -> LossCause {
        self.link().over().await;
        let mut watch = self.link().watch();
        while self.state() != LockState::Lost {
            if watch.changed().await.is_err() {
                break;
            }
        }
        self.loss()
    }

    /// Why the session is lost; asked when that is known.
    pub(super) fn loss(&self) -> LossCause {
        self.link().loss()
    }

    /// How many locks the session has or asks for, as its client counts them.
    #[must_use]
    pub fn lock_count(&self) -> usize {
        self.link().read(|peer| peer.lock_count())
    }

    /// Asks for a lock on the root resource with this name, byte for byte, in the lockspace `default`.
    pub fn lock(&self, name: impl AsRef<[u8]>) -> LockRequest {
        LockRequest::root(self, LockspaceId::default(), name.as_ref())
    }

    /// Asks for a lock on the resource with this path, root first, and for the intents above it.
    pub fn lock_path<N: AsRef<[u8]>>(&self, path: impl IntoIterator<Item = N>) -> PathRequest {
        PathRequest::new(self, LockspaceId::default(), path)
    }

    /// The lockspace with this name.
    ///
    /// # Errors
    /// [`LookError`], with NOSUCHSPACE if there is none.
    pub async fn space(&self, name: impl AsRef<[u8]>) -> Result<Lockspace, LookError> {
        let view = self.client.show_space(name).await?;
        Ok(Lockspace { session: self.clone(), view })
    }

    /// Closes the session in order: everything it holds is released, value blocks stay valid.
    ///
    /// # Errors
    /// [`LookError::Lost`] if the server could not be told; its lease ends the session then.
    pub async fn close(self) -> Result<(), LookError> {
        let mailbox = Mailbox::new();
        let outcome = match self.link().close(mailbox.clone()) {
            Ok(()) => mailbox.outcome().await,
            Err(status) => lost_outcome(self.link(), status),
        };
        match outcome {
            Outcome::Done(_) => {
                self.link().lose(LossCause::Closed);
                self.link().leave();
                Ok(())
            }
            other => Err(look_error(other)),
        }
    }
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// A lockspace other than `default`, as a session uses it.
#[derive(Clone)]
pub struct Lockspace {
    session: Session,
    view: LockspaceView,
}

impl Lockspace {
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// What it was when it was looked up.
    #[must_use]
    pub fn view(&self) -> &LockspaceView {
        &self.view
    }

    /// Asks for a lock on the root resource with this name, byte for byte.
    pub fn lock(&self, name: impl AsRef<[u8]>) -> LockRequest {
        LockRequest::root(&self.session, self.view.lockspace, name.as_ref())
    }

    /// Asks for a lock on the resource with this path, root first, and for the intents above it.
    pub fn lock_path<N: AsRef<[u8]>>(&self, path: impl IntoIterator<Item = N>) -> PathRequest {
        PathRequest::new(&self.session, self.view.lockspace, path)
    }
}
