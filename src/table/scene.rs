//! A table for tests: its sessions, what they ask, and what the time is. Nothing here judges anything.

use super::{About, Request, Scratch, Searched, SessionCell, Setting, Table};
use crate::engine::{Ask, Input, Instant, Limits, LockRef, Under, deadlock::Due, session::Call};
use enq_protocol::vocabulary::{Flags, Handle, LockMode, LockspaceId, Owner, ResourceName};
use std::sync::Arc;

/// A table, its sessions, and what the time is.
pub(super) struct Scene {
    pub(super) table: Arc<Table>,
    pub(super) now: Instant,
    pub(super) scratch: Scratch,
}

pub(super) fn ms(ms: u32) -> Instant {
    Instant::START.after_ms(ms)
}

/// What is asked: which session and owner, its number for the lock, the resource, the priority.
#[derive(Clone, Copy)]
pub(super) struct Wish<'a> {
    pub(super) cell: &'a SessionCell,
    pub(super) owner: u32,
    pub(super) handle: u32,
    pub(super) name: &'a str,
    pub(super) priority: u8,
}

impl Scene {
    pub(super) fn new() -> Scene {
        let table = Table::new(&Setting {
            epoch: 1,
            limits: Limits::default(),
            window_requests: u32::MAX,
            window_bytes: u32::MAX,
            route_key: [0; 16],
            hash_seed: 0,
            recovering_until: None,
        });
        Scene { table: Arc::new(table), now: Instant::START, scratch: Scratch::default() }
    }

    pub(super) fn session(&self, purpose_len: usize) -> Arc<SessionCell> {
        let about = About {
            name: "s".into(),
            purpose: "p".repeat(purpose_len),
            host: String::new(),
            pid: 0,
            peer: String::new(),
            ttl_ms: 60_000,
            bound: false,
            secret: [0; 16],
            orphan_key: Box::default(),
        };
        self.table.open_session(self.now, about)
    }

    pub(super) fn execute(&mut self, cell: &SessionCell, call: Call<'_>) {
        let mut register = cell.in_half.lock();
        let request = Request { number: register.last() + 1, digest: 0, len: 1 };
        register.admit(request.number, 0, 1).expect("a test numbers its requests in order");
        self.table.execute(self.now, (cell, &mut register), request, call, &mut self.scratch);
        cell.publish(&register);
    }

    /// Looks for deadlocks, and refuses one request of each.
    pub(super) fn search_all(&mut self, due: Due) -> Searched {
        self.table.search_deadlocks(self.now, due, |refusal| {
            self.table.refuse(self.now, refusal, &mut self.scratch)
        })
    }

    /// Asks for EX.
    pub(super) fn ask(&mut self, wish: Wish<'_>) {
        self.ask_for(wish, LockMode::Ex, None);
    }

    /// Asks for a root, or for a sublock of this lock.
    pub(super) fn ask_for(&mut self, wish: Wish<'_>, mode: LockMode, parent: Option<LockRef>) {
        let ask = Ask {
            session: wish.cell.id,
            mode,
            flags: Flags::NONE,
            owner: Owner { scope: 0, token: wish.owner.into() },
            timeout_ms: None,
            priority: wish.priority,
            reason: b"",
        };
        let name = ResourceName::new(wish.name.as_bytes()).expect("names of tests are short");
        let under = parent.map_or(Under::Lockspace(LockspaceId::default()), Under::Parent);
        let handle = Handle::new(wish.handle).expect("handles of tests are not 0");
        self.execute(wish.cell, Call::Lock(Input::Enq { ask, handle, under, name: &name }));
    }
}
