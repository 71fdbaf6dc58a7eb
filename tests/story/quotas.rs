//! The quotas of sessions, kept by the session registers of the engine.
//!
//! A story that says nothing of quotas has none.

use enq::engine::session::{Bounds, Register, Started};
use enq::engine::{Output, Planted, Said};
use enq_protocol::vocabulary::{Handle, SessionId, Status};
use std::collections::BTreeMap;

/// The registers of the sessions that have asked for something, if there is a quota.
#[derive(Default)]
pub(crate) struct Quotas {
    bounds: Option<Bounds>,
    registers: BTreeMap<SessionId, Register>,
}

impl Quotas {
    /// From now on a session has at most so many locks.
    pub(crate) fn set(&mut self, locks: u32) {
        let bounds = Bounds {
            locks,
            waiting: 1_000,
            window_requests: 1_000,
            window_bytes: 100_000,
            planted: Planted::NONE,
        };
        self.bounds = Some(bounds);
    }

    /// May the session make a lock with this handle?
    pub(crate) fn may_start(&mut self, session: SessionId, handles: &[Handle]) -> Result<(), Status> {
        let Some(bounds) = self.bounds else {
            return Ok(());
        };
        self.registers.entry(session).or_insert_with(|| Register::new(bounds)).may_start(handles)
    }

    /// Handles come into use and become free.
    pub(crate) fn note(&mut self, output: &Output) {
        let Some(register) = self.registers.get_mut(&output.session) else {
            return;
        };
        let started = match &output.said {
            Said::Granted(grant) if register.meaning(grant.handle).is_none() => Started::Lock(grant.handle),
            Said::Queued { handle, .. } if register.meaning(*handle).is_none() => Started::Lock(*handle),
            _ => Started::Nothing,
        };
        register.note(started, &output.said);
    }
}
