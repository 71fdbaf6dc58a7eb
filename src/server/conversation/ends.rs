//! Why a conversation ends, and what it must not wait for too long.

use crate::server::peer::Misbehaved;
use enq_protocol::vocabulary::Status;

/// Why a conversation ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ends {
    /// The peer closed the connection, or the network did.
    Gone,
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
