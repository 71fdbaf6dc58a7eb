//! The lock table: 256 shards behind a mutex each, the sessions, the lockspaces.
//!
//! Whoever has a request steps the shard himself. What a step says is appended to the sessions it is for while the
//! shard's mutex is held, so that everybody is told in the order of the engine; sleepers are woken after it is released.
//!
//! Order of mutexes: a session's in-half, the lockspaces, one shard (removing a lockspace: all, ascending), a
//! session's out-half. Nobody waits for an earlier one while he holds a later one.
//!
//! Nothing here knows a socket, a frame or a clock: the time comes with every call.

mod closed;
mod crossing;
mod deadlocks;
mod execute;
mod history;
mod image;
mod listing;
mod long_waits;
mod memory;
mod notices;
mod reached;
mod route;
#[cfg(test)]
mod scene;
mod sessions;
mod spaces;
mod waits;

pub use deadlocks::{Confirmed, Deadlock, Looked, Refusal, Refused, Search, Searched};
pub use execute::{Executed, Request};
pub use listing::{Edges, ResourceSeen};
pub use long_waits::{LongWait, LongWaits, LongWaitsSeen, TOLD_A_LOOK};
pub use memory::{Memory, Pool, Share};
pub use reached::Reached;
pub use sessions::{About, OutHalf, SessionCell};

use crate::engine::{
    Input, Instant, Limits, Local, Output, Said, Shard,
    session::{Bounds, Register, Started, Told},
};
use crossbeam_utils::CachePadded;
use dashmap::DashMap;
use enq_protocol::vocabulary::{LockspaceId, Place, ResourceName, Seq, SessionId, Status};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
};

/// Shards there are, always.
pub const SHARDS: usize = 256;

/// While most of the memory is free, a shard counts what it takes once in so many steps.
const COUNTED_EVERY: u64 = 8;

/// The lock table; see the front page.
pub struct Table {
    shards: Box<[CachePadded<ShardCell>]>,
    router: route::Router,
    sessions: DashMap<SessionId, Arc<SessionCell>>,
    next_session: AtomicU64,
    closed: Mutex<closed::Closed>,
    deadlocks: deadlocks::Deadlocks,
    past: history::Past,
    spaces: Mutex<spaces::Spaces>,
    bounds: Bounds,
    limits: Limits,
    recovering_until: Option<Instant>,
    memory: Arc<Memory>,
    reached: Reached,
    waits: waits::Shared,
    /// Locks that were looked at while a shard was held for it, at most.
    longest_look: AtomicUsize,
    /// Whether there is memory for a lock is found out before it is asked for.
    is_judged_before: bool,
}

/// One shard, and when it wants to be visited although nobody asks it anything.
struct ShardCell {
    shard: Mutex<Shard>,
    /// The next deadline; 0 while an end goes on, `u64::MAX` if there is nothing to wait for.
    due: AtomicU64,
    share: Share,
}

/// What a new table is made with.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The epoch of its seqs and session ids.
    pub epoch: u32,
    /// The bounds of the engine.
    pub limits: Limits,
    /// Requests in flight a session.
    pub window_requests: u32,
    /// Bytes in flight a session.
    pub window_bytes: u32,
    /// The key that routes names to shards.
    pub route_key: [u8; 16],
    /// The seed of the hash tables inside the shards.
    pub hash_seed: u64,
    /// G10: until then nothing is granted, for locks of before may still be believed in.
    pub recovering_until: Option<Instant>,
}

/// What a log says of a start: what has to be the same wherever it is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The epoch of seqs and session ids.
    pub epoch: u32,
    /// The key that routes names to shards, the same from the first start on.
    pub route_key: [u8; 16],
    /// Requests in flight a session.
    pub window_requests: u32,
    /// Bytes in flight a session.
    pub window_bytes: u32,
    /// The bounds of the engine, but for those that are local.
    pub limits: Limits,
}

/// Room that is used again from step to step: what a shard says, and whom to wake for it.
#[derive(Debug, Default)]
pub struct Scratch {
    out: Vec<Output>,
    wake: Vec<Waker>,
}

/// On whose behalf a shard is stepped.
struct Asker<'a> {
    cell: &'a SessionCell,
    register: &'a mut Register,
    request: Request,
    started: Started<'a>,
    answer: AnswerAs,
}

/// What becomes of the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AnswerAs {
    /// It is said.
    Said,
    /// It is said unless it is RELEASED (NOACK).
    SaidUnlessReleased,
    /// Q2: it may not wait, so NOTQUEUED, or RECOVERING, is said as RESOURCE_EXHAUSTED.
    Exhausted,
}

impl Table {
    /// An empty table with the lockspace `default`.
    #[must_use]
    pub fn new(setting: &Setting) -> Table {
        let memory = Memory::new(setting.limits.memory);
        let shard = |number| {
            let shard = Shard::new(number, setting.limits, setting.epoch, setting.hash_seed);
            let share = Share::new(&memory, memory::Pool::Table);
            share.count(shard.bytes());
            let shard = match setting.recovering_until {
                Some(moment) => shard.recovering_until(moment),
                None => shard,
            };
            let due = setting.recovering_until.map_or(u64::MAX, |moment| moment.0);
            CachePadded::new(ShardCell { shard: Mutex::new(shard), due: AtomicU64::new(due), share })
        };
        Table {
            shards: (0..=u8::MAX).map(shard).collect(),
            router: route::Router::new(setting.route_key),
            sessions: DashMap::new(),
            next_session: AtomicU64::new(Seq::new(setting.epoch, 1).0),
            closed: Mutex::default(),
            deadlocks: deadlocks::Deadlocks::default(),
            past: history::Past::new(&memory, setting.limits.history > 0),
            spaces: Mutex::new(spaces::Spaces::new()),
            bounds: bounds(&setting.limits, setting.window_requests, setting.window_bytes),
            limits: setting.limits,
            recovering_until: setting.recovering_until,
            memory,
            reached: Reached::default(),
            waits: waits::Shared::default(),
            longest_look: AtomicUsize::new(0),
            is_judged_before: false,
        }
    }

    /// An empty table for a log: what it is made with stands in the log, and whether there is memory is not its business.
    #[must_use]
    pub fn of_log(terms: &Terms, local: &Local) -> Table {
        let setting = Setting {
            epoch: terms.epoch,
            limits: local.bounded(terms.limits),
            window_requests: terms.window_requests,
            window_bytes: terms.window_bytes,
            route_key: terms.route_key,
            hash_seed: local.hash_seed,
            recovering_until: None,
        };
        Table { is_judged_before: true, ..Table::new(&setting) }
    }

    /// A new start of a server that has a log: its epoch and its limits hold from here on.
    pub fn start_anew(&mut self, now: Instant, terms: &Terms, local: &Local) {
        self.limits = local.bounded(terms.limits);
        self.bounds = bounds(&self.limits, terms.window_requests, terms.window_bytes);
        self.next_session.fetch_max(Seq::new(terms.epoch, 1).0, Ordering::Relaxed);
        let mut scratch = Scratch::default();
        for number in 0..=u8::MAX {
            self.with_shard(number, &mut scratch, |table, shard, scratch| {
                shard.set_limits(table.limits);
                table.step(shard, now, Input::RaiseEpoch { epoch: terms.epoch }, None, scratch);
            });
        }
        let mut all = self.all_sessions();
        all.extend(self.closed.lock().all().map(|(_, cell, _)| Arc::clone(cell)));
        for cell in all {
            let mut register = cell.in_half.lock();
            register.go_on(self.bounds, &mut cell.out_half.lock().outgoing);
        }
    }

    /// What every session may have.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// G10: what is left of the wait after a restart, in milliseconds.
    #[must_use]
    pub fn recovering_ms(&self, now: Instant) -> u64 {
        self.recovering_until.map_or(0, |moment| now.ms_until(moment))
    }

    /// What everything takes together.
    #[must_use]
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// How often a limit was reached.
    #[must_use]
    pub fn reached(&self) -> &Reached {
        &self.reached
    }

    /// Which shard has the trees with this root.
    #[must_use]
    pub fn shard_of(&self, lockspace: LockspaceId, root: &ResourceName) -> u8 {
        self.router.shard_of(lockspace, root)
    }

    /// Is there work for [`Table::visit`] in some shard by now?
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.shards.iter().any(|cell| cell.due.load(Ordering::Relaxed) <= now.0)
    }

    /// Fires deadlines and goes on with ends, in every shard that has some due. The mutex is released between steps.
    pub fn visit(&self, now: Instant, scratch: &mut Scratch) {
        self.forget_closed_until(now);
        for number in 0..=u8::MAX {
            let cell = self.cell(number);
            while cell.due.load(Ordering::Relaxed) <= now.0 {
                self.with_shard(number, scratch, |table, shard, scratch| {
                    let input = if shard.has_ending() { Input::Continue } else { Input::Tick };
                    table.step(shard, now, input, None, scratch);
                });
            }
        }
    }

    /// The invariants of every shard, for tests.
    ///
    /// # Errors
    /// The first one that does not hold, in words.
    pub fn check(&self) -> Result<(), String> {
        self.shards.iter().try_for_each(|cell| cell.shard.lock().check())
    }

    /// The most locks that were ever looked at while a shard was held for a look.
    #[must_use]
    pub fn longest_look(&self) -> usize {
        self.longest_look.load(Ordering::Relaxed)
    }

    /// Holds one shard to look at something, and counts at how many locks.
    fn look_into<T>(&self, number: u8, look: impl FnOnce(&Shard) -> T) -> T {
        let shard = self.cell(number).shard.lock();
        let seen = look(&shard);
        let looked_at = shard.take_looked_at();
        drop(shard);
        if looked_at > self.longest_look() {
            self.longest_look.fetch_max(looked_at, Ordering::Relaxed);
        }
        seen
    }

    fn cell(&self, number: u8) -> &ShardCell {
        &self.shards[usize::from(number)]
    }

    /// Holds one shard for a few steps; then notes when it is due, lets go of it, and wakes whom the steps spoke to.
    fn with_shard<T>(
        &self,
        number: u8,
        scratch: &mut Scratch,
        steps: impl FnOnce(&Table, &mut Shard, &mut Scratch) -> T,
    ) -> T {
        let cell = self.cell(number);
        let mut shard = cell.shard.lock();
        let result = steps(self, &mut shard, scratch);
        if shard.place().serial().0.is_multiple_of(COUNTED_EVERY) || !cell.share.has_plenty() {
            cell.share.count(shard.bytes());
        }
        let due = match shard.next_deadline() {
            _ if shard.has_ending() => 0,
            Some(deadline) => deadline.0,
            None => u64::MAX,
        };
        if cell.due.load(Ordering::Relaxed) != due {
            cell.due.store(due, Ordering::Relaxed);
        }
        if let Some(due) = shard.take_search_due() {
            self.deadlocks.note(due);
        }
        drop(shard);
        if !scratch.wake.is_empty() {
            scratch.wake.drain(..).for_each(Waker::wake);
        }
        result
    }

    /// One step: what it says goes to the sessions it is for, in its order. The answer comes back if nobody's stream
    /// takes it, as for an administrator.
    fn step(
        &self,
        shard: &mut Shard,
        now: Instant,
        input: Input<'_>,
        asker: Option<&mut Asker<'_>>,
        scratch: &mut Scratch,
    ) -> Option<Said> {
        self.step_on(shard, now, &input, asker, scratch)
    }

    /// [`Table::step`] on an input that stays where it is.
    fn step_on(
        &self,
        shard: &mut Shard,
        now: Instant,
        input: &Input<'_>,
        mut asker: Option<&mut Asker<'_>>,
        scratch: &mut Scratch,
    ) -> Option<Said> {
        shard.step_on(now, input, &mut scratch.out);
        let place = shard.place();
        // Most steps say one thing, to whoever asked.
        if let (Some(asker), [Output { session, .. }]) = (&mut asker, &*scratch.out)
            && asker.cell.id == *session
            && let Some(Output { said, .. }) = scratch.out.pop()
        {
            self.reached.said(&said);
            asker.tell(&self.reached, place, said);
            return None;
        }
        let mut answer = None;
        for Output { session, said } in scratch.out.drain(..) {
            self.reached.said(&said);
            match &mut asker {
                Some(asker) if asker.cell.id == session => asker.tell(&self.reached, place, said),
                _ if said.is_answer() => answer = Some(said),
                _ => {
                    let Some(cell) = self.session(session) else { continue };
                    let mut half = cell.out_half.lock();
                    half.outgoing.append_foreign(place, said);
                    cell.shares.count_out(&half.outgoing);
                    if half.outgoing.has_unsent() {
                        scratch.wake.extend(half.waker.take());
                    }
                }
            }
        }
        answer
    }
}

/// What every session may have.
fn bounds(limits: &Limits, window_requests: u32, window_bytes: u32) -> Bounds {
    Bounds {
        locks: limits.locks_a_session,
        waiting: limits.waiting_a_session,
        window_requests,
        window_bytes,
        planted: limits.planted,
    }
}

impl Asker<'_> {
    /// Something that the session's own step said to it.
    #[inline]
    fn tell(&mut self, reached: &Reached, place: Place, mut said: Said) {
        self.register.note(self.started, &said);
        if !said.is_answer() {
            let mut half = self.cell.out_half.lock();
            half.outgoing.append_event(place, said);
            self.cell.shares.count_out(&half.outgoing);
            return;
        }
        match (self.answer, &said) {
            (AnswerAs::SaidUnlessReleased, Said::Released { .. }) => return,
            (AnswerAs::Exhausted, Said::Refused { status: Status::NotQueued | Status::Recovering, .. }) => {
                reached::count(&reached.waiting_a_session);
                said = Said::Refused { status: Status::ResourceExhausted, blocker: None, waiting: 0 };
            }
            _ => {}
        }
        self.answer(place, Told::Answer { request: self.request.number, said });
    }

    /// The answer to the session's request.
    #[inline]
    fn answer(&mut self, place: Place, told: Told) {
        self.register.fly(self.request.len);
        let mut half = self.cell.out_half.lock();
        half.outgoing.append_answer(place, self.request.len, told);
        self.cell.shares.count_out(&half.outgoing);
    }
}
