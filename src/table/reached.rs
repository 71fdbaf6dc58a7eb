//! How often a limit of the table was reached, by the name of its setting.

use crate::engine::Said;
use enq_protocol::vocabulary::Status;
use std::sync::atomic::{AtomicU64, Ordering};

/// A counter for each limit.
#[derive(Debug, Default)]
pub struct Reached {
    pub(super) locks_a_session: AtomicU64,
    pub(super) waiting_a_session: AtomicU64,
    pub(super) waiting_a_resource: AtomicU64,
    pub(super) name: AtomicU64,
    pub(super) depth: AtomicU64,
    pub(super) value: AtomicU64,
    pub(super) memory: AtomicU64,
}

impl Reached {
    /// Every counter with the name of its setting.
    #[must_use]
    pub fn all(&self) -> [(&'static str, u64); 7] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("locks_a_session_max", read(&self.locks_a_session)),
            ("waiting_a_session_max", read(&self.waiting_a_session)),
            ("waiting_a_resource_max", read(&self.waiting_a_resource)),
            ("name_max", read(&self.name)),
            ("depth_max", read(&self.depth)),
            ("value_max", read(&self.value)),
            ("memory_max", read(&self.memory)),
        ]
    }

    /// Something was refused for want of memory.
    pub fn refused_for_memory(&self) {
        count(&self.memory);
    }

    /// A request was refused with this before any shard saw it.
    pub(super) fn refused(&self, status: Status) {
        match status {
            Status::Quota => count(&self.locks_a_session),
            Status::BadName => count(&self.name),
            _ => {}
        }
    }

    /// A shard said this.
    pub(super) fn said(&self, said: &Said) {
        match said {
            Said::Refused { status: Status::ResourceExhausted, .. }
            | Said::Ended { status: Status::ResourceExhausted, .. } => count(&self.waiting_a_resource),
            Said::Refused { status: Status::TooDeep, .. } => count(&self.depth),
            _ => {}
        }
    }
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
