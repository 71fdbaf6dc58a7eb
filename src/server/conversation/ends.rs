//! Why a conversation ends, and what it must not wait for too long.

use crate::server::peer::Misbehaved;
use enq_protocol::vocabulary::Status;
use std::io;

/// Why a conversation ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ends {
    /// The peer closed the connection, or its system did.
    Gone,
    /// The network does not get through to the peer, which may know nothing of it.
    OutOfReach,
    /// What the peer said.
    Misbehaved(Misbehaved),
    /// The server stops.
    Stops,
    /// There were too many strangers.
    Evicted,
}

impl From<Misbehaved> for Ends {
    fn from(misbehaved: Misbehaved) -> Ends {
        Ends::Misbehaved(misbehaved)
    }
}

impl Ends {
    /// What an error of the connection says about the peer.
    #[must_use]
    pub fn by(error: &io::Error) -> Ends {
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Ends::Gone,
            // That what it was sent is not confirmed for too long, in the first place.
            _ => Ends::OutOfReach,
        }
    }
}

/// What must not take too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// The first bytes.
    FirstFrame,
    /// The rest of the first frame.
    Handshake,
    /// The rest of a frame.
    RestOfFrame,
    /// That the peer reads.
    Reader,
    /// That the peer reads, and soon.
    Overrun,
}

/// The peer did not read what it was sent.
pub(super) fn too_slow() -> Ends {
    Ends::Misbehaved(Misbehaved::told(Status::TooSlow))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_peer_itself_says_that_it_is_gone() {
        let by = |kind: io::ErrorKind| Ends::by(&kind.into());
        for kind in [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe] {
            assert_eq!(by(kind), Ends::Gone, "{kind}");
        }
        for kind in
            [io::ErrorKind::TimedOut, io::ErrorKind::HostUnreachable, io::ErrorKind::NetworkUnreachable]
        {
            assert_eq!(by(kind), Ends::OutOfReach, "{kind}");
        }
    }
}
