//! Every bound of the engine, with the reason for its number.

use super::planted::Planted;

/// The deepest sublock level; the root is level 0. Every ENQ of a sublock knows its depth, real trees are three or
/// four deep, and VMS allowed 127.
pub const DEPTH_MAX: u8 = 127;

/// Locks that one `Continue` removes, and deadlines that one `Tick` fires: what a shard's mutex is held for stays
/// below a tenth of a millisecond.
pub const REMOVALS_A_STEP: usize = 256;

/// Locks that a look or a step through a session's locks looks at while it has a shard to itself. More only where one
/// resource has more, which is looked at whole.
pub const LOOKED_AT_A_STEP: usize = 2_000;

/// Places that one step of a listing looks at: so few that who wants the shard meanwhile has not gone to sleep when it is
/// free again. To be woken on another core costs him more than all of the listing.
pub const LISTED_A_STEP: usize = 16;

/// Locks of a resource, or edges of a lock, that a view shows; the rest is counted.
pub const SHOWN_MAX: usize = 1_000;

/// The bounds an operator may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests that may wait or convert on one resource: a queue that long is a mistake, and a search must end.
    pub waiting_a_resource: u32,
    /// Locks a session may have, in any queue; 0 for any number.
    pub locks_a_session: u32,
    /// Requests of a session that may wait or convert: the room for their completions is reserved.
    pub waiting_a_session: u32,
    /// Memory for all that is kept, in bytes. Not the engine's business: whoever steps it asks [`super::Shard::growth`].
    pub memory: usize,
    /// Entries that a shard's flight recorder keeps; 0 for none.
    pub history: usize,
    /// The mistake that a test has planted.
    pub planted: Planted,
    /// The longest name of a resource; nobody can move it above 255.
    pub name_len: usize,
    /// The deepest level of a tree (T5); nobody can move it deeper than [`DEPTH_MAX`].
    pub depth: u8,
    /// The longest value block that the policy of a lockspace may allow.
    pub value_len: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            waiting_a_resource: 10_000,
            locks_a_session: 100_000,
            waiting_a_session: 10_000,
            memory: usize::MAX,
            history: 0,
            planted: Planted::NONE,
            name_len: enq_protocol::vocabulary::NAME_LEN_MAX,
            depth: DEPTH_MAX,
            value_len: enq_protocol::vocabulary::VALUE_LEN_MAX,
        }
    }
}
