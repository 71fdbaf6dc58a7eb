//! What can go wrong, each with whose fault it is: nobody's (the answer is no), the network's, or the caller's.

use super::Lock;
use enq_protocol::vocabulary::{LockId, NameError, SessionId, Status};
use std::fmt;

/// Why a lock, or a conversion, was not granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotGranted {
    /// It was not to wait, and could not be granted at once.
    #[error("not granted at once: {waiting} wait for it{}", by(.blocker))]
    NotQueued {
        /// The lock that is in the way: who holds it, `show_lock` tells.
        blocker: Option<LockId>,
        /// How many locks wait or convert there.
        waiting: u32,
    },
    /// The time it was willing to wait has passed.
    #[error("not granted within the time it was willing to wait")]
    TimedOut,
    /// It was withdrawn by a cancel.
    #[error("the request was cancelled")]
    Cancelled,
    /// The lock was released while it waited.
    #[error("the lock was released while it waited")]
    Aborted,
    /// An administrator ended it.
    #[error("an administrator ended it")]
    Forced,
    /// It was refused to break a deadlock.
    #[error("refused to break deadlock {record}")]
    Deadlock {
        /// The number of the record that tells the whole cycle; 0 for a conversion deadlock found at once.
        record: u64,
    },
    /// The session has ended, and its locks with it.
    #[error("the session is lost: {0}")]
    SessionLost(LossCause),
    /// An access rule or the lockspace's policy forbids it.
    #[error("an access rule or the lockspace's policy forbids it")]
    Denied,
    /// A quota or the server's room is used up; QUOTA, RESOURCE_EXHAUSTED or NOSPACE.
    #[error("{0}: {sentence}", sentence = .0.sentence())]
    Exhausted(Status),
    /// The server was started anew and waits for the leases of before to end.
    #[error("the server was restarted: {left_ms} ms left until the leases of before have ended")]
    Recovering {
        /// How long that will take.
        left_ms: u32,
    },
    /// The server cannot answer now; NOT_LEADER, UNAVAILABLE or SHUTDOWN.
    #[error("{0}: {sentence}", sentence = .0.sentence())]
    Unavailable(Status),
    /// What was asked cannot be asked: the caller's fault.
    #[error("{0}: {sentence}", sentence = .0.sentence())]
    Refused(Status),
    /// The name is no name: the caller's fault.
    #[error(transparent)]
    Name(#[from] NameError),
}

fn by(blocker: &Option<LockId>) -> String {
    blocker.map_or(String::new(), |lock| format!(", behind lock {lock}"))
}

impl NotGranted {
    /// The status behind it: its row has the exit code and the sentence.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            NotGranted::NotQueued { .. } => Status::NotQueued,
            NotGranted::TimedOut => Status::Timeout,
            NotGranted::Cancelled => Status::Cancelled,
            NotGranted::Aborted => Status::Aborted,
            NotGranted::Forced => Status::Forced,
            NotGranted::Deadlock { .. } => Status::Deadlock,
            NotGranted::SessionLost(_) => Status::SessionLost,
            NotGranted::Denied => Status::Denied,
            NotGranted::Recovering { .. } => Status::Recovering,
            NotGranted::Exhausted(status) | NotGranted::Unavailable(status) | NotGranted::Refused(status) => {
                *status
            }
            NotGranted::Name(_) => Status::BadName,
        }
    }

    /// The refusal with this status.
    pub(super) fn from_status(status: Status, blocker: Option<LockId>, detail: u32) -> NotGranted {
        match status {
            Status::NotQueued => NotGranted::NotQueued { blocker, waiting: detail },
            Status::Timeout => NotGranted::TimedOut,
            Status::Cancelled => NotGranted::Cancelled,
            Status::Aborted => NotGranted::Aborted,
            Status::Forced => NotGranted::Forced,
            Status::Deadlock => NotGranted::Deadlock { record: 0 },
            Status::SessionLost => NotGranted::SessionLost(LossCause::Ended(Status::SessionLost)),
            Status::Denied => NotGranted::Denied,
            Status::Quota | Status::NoSpace | Status::ResourceExhausted => NotGranted::Exhausted(status),
            Status::Recovering => NotGranted::Recovering { left_ms: detail },
            Status::NotLeader | Status::Unavailable | Status::Shutdown => NotGranted::Unavailable(status),
            other => NotGranted::Refused(other),
        }
    }
}

/// A conversion or a release that was refused. The lock is still there, as it was, unless its state says `Lost`.
#[derive(thiserror::Error)]
#[error("{why}")]
pub struct Refused {
    /// The lock, as it was before the call.
    pub lock: Lock,
    /// Why.
    #[source]
    pub why: NotGranted,
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused").field("lock", &self.lock.id()).field("why", &self.why).finish()
    }
}

/// Why a session, or a connection, is no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LossCause {
    /// Its own side closed it.
    #[error("it was closed")]
    Closed,
    /// The connection broke.
    #[error("the connection to the server broke ({0})")]
    Disconnected(String),
    /// The lease ran out before the server answered.
    #[error("the lease ran out before the server answered")]
    Expired,
    /// The server ended it.
    #[error("the server ended it: {0}, {sentence}", sentence = .0.sentence())]
    Ended(Status),
    /// The server said what it must not say.
    #[error("the server broke the protocol: {0}")]
    PeerMisbehaved(String),
}

/// A lock is not held any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockLost {
    /// Because its session is lost.
    #[error("the lock is lost with its session: {0}")]
    Session(LossCause),
    /// Because an administrator took it away.
    #[error("session {by} took the lock away: {reason}")]
    Revoked {
        /// Who.
        by: SessionId,
        /// Why, in their words.
        reason: String,
    },
    /// Because the lease ends in a moment, and work has to stop before.
    #[error("the lease is about to end and the server does not answer")]
    LeaseEnding,
}

/// Why there is no connection, or no session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No server was named.
    #[error("no server is named")]
    NoServer,
    /// None of the servers could be reached; the last one's reason.
    #[error("cannot reach {server}: {source}")]
    Unreachable {
        /// The server that was tried last.
        server: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// There is a server, but it does not speak with us.
    #[error("{server} refuses: {status}, {}", .status.sentence())]
    Refused {
        /// The server.
        server: String,
        /// What it said.
        status: Status,
    },
    /// What answers is no server of this protocol.
    #[error("{server} does not speak this protocol: {what}")]
    PeerMisbehaved {
        /// The server.
        server: String,
        /// What was wrong.
        what: String,
    },
}

/// Why a look, or an administrative act, has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookError {
    /// The server says no.
    #[error("{0}: {sentence}", sentence = .0.sentence())]
    Refused(Status),
    /// The connection is gone.
    #[error("no answer: {0}")]
    Lost(LossCause),
    /// The question is longer than a frame.
    #[error("the question is too long")]
    TooLong,
    /// The name is no name.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl LookError {
    /// The status behind it: its row has the exit code and the sentence.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            LookError::Refused(status) => *status,
            LookError::Lost(_) => Status::Unavailable,
            LookError::TooLong => Status::FrameTooLarge,
            LookError::Name(_) => Status::BadName,
        }
    }
}
