//! One shard: the locks of all resource trees whose root falls to it, as a function of its inputs.
//!
//! [`Shard::step`] is the only way to change it. A step takes one input, leaves its outputs in order, and ends with
//! nothing left to do: every resource it touched has been swept, every path it freed has gone on.

use super::deadline::Deadlines;
use super::end::Ending;
use super::enq::Spot;
use super::history::{Gone, Recorder};
use super::input::{Ask, Input, LockRef};
use super::limits::Limits;
use super::lock::{At, List, Lock, LockSlot, Mark, ResourceSlot, SessionSlot, Which};
use super::memory::{block, take};
use super::orphan::Orphans;
use super::output::{Output, Said};
use super::path::Paths;
use super::resource::Resource;
use super::slab::Slab;
use super::time::Instant;
use super::tree::Tree;
use enq_protocol::vocabulary::{
    Grant, Handle, LockId, LockspaceId, Place, Policy, Serial, SessionId, Stamp, Statistics, Status,
};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::{cell::Cell, collections::VecDeque};

/// A hash map with a seed that is given: its order never reaches an output, and nothing here iterates over one.
pub(super) type Map<K, V> = HashMap<K, V, FixedState>;

/// An empty map with this seed.
pub(super) fn map<K, V>(seed: u64) -> Map<K, V> {
    Map::with_hasher(FixedState::with_seed(seed))
}

/// A session as a shard knows it: where its locks are, and whether they are ending.
#[derive(Clone, Debug)]
pub(super) struct Attendance {
    pub(super) session: SessionId,
    /// E1: its locks are sealed.
    pub(super) sealed: bool,
    /// O1: what its orphans are to be found by; known when its end begins.
    pub(super) orphan_key: Box<[u8]>,
    /// Its locks by depth, oldest first.
    pub(super) levels: Vec<List>,
    pub(super) locks: u32,
}

/// A lockspace as a shard knows it.
#[derive(Clone, Debug, Default)]
pub(super) struct Space {
    pub(super) policy: Policy,
    pub(super) locks: u64,
    pub(super) resources: u64,
}

/// What a step has still to do before it ends.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// Sweep a resource that changed.
    Sweep(ResourceSlot),
    /// Go on with the path that waited for this lock.
    Advance(LockSlot, Grant),
}

/// One of the 256 parts of the lock table; see the front page.
#[derive(Clone)]
pub struct Shard {
    pub(super) number: u8,
    pub(super) limits: Limits,
    pub(super) serial: Serial,
    pub(super) now: Instant,
    pub(super) epoch: u32,
    /// Grants of this epoch.
    pub(super) grants: u64,
    pub(super) stamps: u64,
    pub(super) locks: Slab<Lock>,
    pub(super) resources: Slab<Resource>,
    pub(super) tree: Tree,
    pub(super) attendances: Slab<Attendance>,
    pub(super) sessions: Map<SessionId, SessionSlot>,
    pub(super) spaces: Vec<Option<Space>>,
    pub(super) deadlines: Deadlines,
    pub(super) reasons: Map<LockSlot, Box<[u8]>>,
    pub(super) values: Map<LockSlot, Box<[u8]>>,
    pub(super) paths: Paths,
    pub(super) orphans: Orphans,
    pub(super) endings: VecDeque<Ending>,
    pub(super) work: VecDeque<Work>,
    /// G10: until then nothing is granted.
    pub(super) recovering: Option<Instant>,
    /// Resources where somebody waits or converts, for the deadlock search.
    pub(super) contended: Vec<ResourceSlot>,
    /// D6: when a search may concern a request that was queued since this was last asked.
    pub(super) search_due: Option<Instant>,
    /// Locks that came into the granted queue since their resource was last swept (B1).
    pub(super) entered: Vec<LockSlot>,
    pub(super) counts: Statistics,
    pub(super) history: Recorder,
    /// The bytes of what lies beside slabs and tables (`memory`).
    pub(super) beside: usize,
    /// Locks that were looked at without changing anything, since this was last asked.
    pub(super) looked_at: Cell<usize>,
}

impl Shard {
    /// An empty shard with this number; lockspace 0 is there with the default policy. The seed goes into hash tables
    /// only and changes no output.
    #[must_use]
    pub fn new(number: u8, limits: Limits, epoch: u32, hash_seed: u64) -> Shard {
        Shard {
            number,
            limits,
            serial: Serial::default(),
            now: Instant::START,
            epoch,
            grants: 0,
            stamps: 0,
            locks: Slab::new(LockId::SLOT_MAX),
            resources: Slab::new(u32::MAX - 1),
            tree: Tree::new(hash_seed),
            attendances: Slab::new(u32::MAX - 1),
            sessions: map(hash_seed),
            spaces: vec![Some(Space::default())],
            deadlines: Deadlines::new(hash_seed),
            reasons: map(hash_seed),
            values: map(hash_seed),
            paths: Paths::new(hash_seed),
            orphans: Orphans::new(hash_seed),
            endings: VecDeque::new(),
            work: VecDeque::new(),
            recovering: None,
            contended: Vec::new(),
            search_due: None,
            entered: Vec::new(),
            counts: Statistics::default(),
            history: Recorder::new(limits.history),
            beside: 0,
            looked_at: Cell::new(0),
        }
    }

    /// Takes one input and adds its outputs to `out`, in the order in which they are to be told. Total: every input
    /// has its answer. Time that goes back is taken as standing still.
    pub fn step(&mut self, now: Instant, input: Input<'_>, out: &mut Vec<Output>) -> Serial {
        self.step_on(now, &input, out)
    }

    /// [`Shard::step`] on an input that stays where it is.
    pub fn step_on(&mut self, now: Instant, input: &Input<'_>, out: &mut Vec<Output>) -> Serial {
        self.now = self.now.max(now);
        self.serial = Serial(self.serial.0 + 1);
        let said_before = out.len();
        match *input {
            Input::Enq { ref ask, handle, under, name } => self.enq(ask, handle, under, name, out),
            Input::EnqPath { ref ask, handles, lockspace, path } => {
                self.enq_path(ask, handles, lockspace, path, out);
            }
            Input::Convert { session, lock, mode, flags, timeout_ms, priority, value } => {
                let asked = super::convert::Asked { mode, flags, timeout_ms, priority, value };
                self.convert(session, lock, &asked, out);
            }
            Input::Deq { session, lock, flags, value } => self.deq(session, lock, flags, value, out),
            Input::Cancel { session, lock, flags } => self.cancel(session, lock, flags, out),
            Input::SealSession { session, end, orphan_key } => self.seal_session(session, end, orphan_key),
            Input::SealSublocks { session, lock, flags, orphan_key } => {
                self.seal_sublocks(session, lock, flags, orphan_key, out);
            }
            Input::Adopt { ref ask, handle, under, name, orphan_key } => {
                self.adopt(ask, handle, under, name, orphan_key, out);
            }
            Input::Purge { lockspace, root, orphan_key, from } => {
                self.purge(lockspace, root, orphan_key, from, out);
            }
            Input::Continue => self.continue_end(out),
            Input::Tick => self.tick(out),
            Input::SetPolicy { lockspace, policy } => self.set_policy(lockspace, policy),
            Input::ForceRelease { lock, version, by, reason } => {
                self.force_release(lock, version, by, reason, out);
            }
            Input::EndRequest { lock } => self.end_request(lock, out),
            Input::RefuseDeadlock { lock, stamp, record } => self.refuse_deadlock(lock, stamp, record, out),
            Input::SetPriority { lock, priority } => self.set_priority(lock, priority, out),
            Input::RaiseEpoch { epoch } => self.raise_epoch(epoch),
        }
        self.record_refusal(input, &out[said_before..]);
        self.settle(out);
        self.serial
    }

    /// From here on these bounds hold.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Which of the 256 it is.
    pub(super) fn number(&self) -> u8 {
        self.number
    }

    /// Where the last step stands in the history of all locks.
    #[must_use]
    pub fn place(&self) -> Place {
        Place::new(self.number, self.serial)
    }

    /// G8: sweeps what was touched and lets paths go on, until nothing is left.
    pub(super) fn settle(&mut self, out: &mut Vec<Output>) {
        if !self.work.is_empty() {
            self.work_off(out);
        }
    }

    #[inline(never)]
    fn work_off(&mut self, out: &mut Vec<Output>) {
        while let Some(work) = self.work.pop_front() {
            match work {
                Work::Sweep(resource) => {
                    self.resources[resource].to_sweep = false;
                    self.sweep(resource, out);
                    self.drop_unused(resource);
                }
                Work::Advance(slot, grant) => self.advance_path(slot, grant, out),
            }
        }
    }

    /// Notes that a resource changed; it is swept once, in its turn. Where nobody waits, and nobody did, there is
    /// nothing to sweep.
    pub(super) fn touch(&mut self, resource: ResourceSlot) {
        if self.resources[resource].is_contended() {
            self.touch_contended(resource);
        }
    }

    #[inline(never)]
    fn touch_contended(&mut self, resource: ResourceSlot) {
        if !std::mem::replace(&mut self.resources[resource].to_sweep, true) {
            self.work.push_back(Work::Sweep(resource));
        }
    }

    /// Says something to the session of a lock; an orphan's is said to nobody.
    pub(super) fn tell(&self, slot: LockSlot, said: Said, out: &mut Vec<Output>) {
        if let Some(session) = self.locks[slot].session {
            out.push(Output { session: self.attendances[session].session, said });
        }
    }

    /// Refuses the input of this session.
    pub(super) fn refuse(session: SessionId, status: Status, out: &mut Vec<Output>) {
        out.push(Output { session, said: Said::Refused { status, blocker: None, waiting: 0 } });
    }

    /// The id of a live lock.
    pub(super) fn id_of(&self, slot: LockSlot) -> LockId {
        LockId::new(self.number, slot.index(), self.locks.generation(slot))
    }

    /// U6: the lock that is meant, if it is this session's and not sealed.
    pub(super) fn resolve(&self, session: SessionId, lock: LockRef) -> Option<LockSlot> {
        let slot = match lock {
            LockRef::Id(id) => self.slot_of(id)?,
            LockRef::Handle(handle) => self.paths.lock_at(*self.sessions.get(&session)?, handle)?,
        };
        let owner = self.locks[slot].session?;
        (self.attendances[owner].session == session && !self.is_sealed(slot)).then_some(slot)
    }

    /// The slot of a lock id, whoever's it is.
    pub(super) fn slot_of(&self, id: LockId) -> Option<LockSlot> {
        (id.shard() == self.number).then(|| self.locks.find(id.slot(), id.generation())).flatten()
    }

    pub(super) fn next_stamp(&mut self) -> Stamp {
        self.stamps += 1;
        Stamp(self.stamps)
    }

    /// Puts a new lock in its place and into the list of its session; the lock's queue is the caller's business.
    pub(super) fn attend(&mut self, ask: &Ask<'_>, spot: &Spot, mut lock: Lock) -> LockSlot {
        let session = spot.session.unwrap_or_else(|| self.begin_attendance(ask.session));
        let list = self.level_of(session, spot.depth);
        (lock.session, lock.in_session) = (Some(session), list.end());
        let slot = self.locks.insert(lock);
        let attendance = &mut self.attendances[session];
        attendance.levels[usize::from(spot.depth)].extend(&mut self.locks, Which::Session, slot);
        attendance.locks += 1;
        if let Some(parent) = spot.parent {
            self.locks[parent].sublocks += 1;
        }
        if let Some(space) = self.space_mut(spot.lockspace) {
            space.locks += 1;
        }
        if !ask.reason.is_empty() {
            self.note_reason(slot, ask.reason);
        }
        slot
    }

    /// Puts a lock without session into the list of this one.
    pub(super) fn enlist(&mut self, whose: SessionId, slot: LockSlot, depth: u8) {
        let known = self.sessions.get(&whose).copied();
        let session = known.unwrap_or_else(|| self.begin_attendance(whose));
        self.level_of(session, depth);
        self.locks[slot].session = Some(session);
        let attendance = &mut self.attendances[session];
        attendance.levels[usize::from(depth)].push_back(&mut self.locks, Which::Session, slot);
        attendance.locks += 1;
    }

    /// The list of a session's locks of this depth, which is there from now on.
    fn level_of(&mut self, session: SessionSlot, depth: u8) -> List {
        match self.attendances[session].levels.get(usize::from(depth)) {
            Some(list) => *list,
            None => self.begin_level(session, depth),
        }
    }

    #[cold]
    fn begin_level(&mut self, session: SessionSlot, depth: u8) -> List {
        let attendance = &mut self.attendances[session];
        let before = attendance.beside();
        attendance.levels.resize(usize::from(depth) + 1, List::default());
        self.beside = self.beside + attendance.beside() - before;
        List::default()
    }

    #[cold]
    fn begin_attendance(&mut self, session: SessionId) -> SessionSlot {
        let (levels, orphan_key) = (Vec::new(), Box::default());
        let attendance = Attendance { session, sealed: false, orphan_key, levels, locks: 0 };
        let slot = self.attendances.insert(attendance);
        self.sessions.insert(session, slot);
        slot
    }

    /// Keeps why a lock is asked for, in place of what was kept before.
    pub(super) fn note_reason(&mut self, slot: LockSlot, reason: &[u8]) {
        let had_reason = self.locks[slot].marks.put(Mark::Reason, !reason.is_empty());
        let before = if reason.is_empty() {
            had_reason.then(|| take(&mut self.reasons, &slot)).flatten()
        } else {
            self.reasons.insert(slot, reason.into())
        };
        self.beside = self.beside + block(reason.len()) - before.map_or(0, |before| block(before.len()));
    }

    /// Takes a lock out of the list of its session, or of the orphans; it goes, or changes from one to the other.
    pub(super) fn unattend(&mut self, slot: LockSlot) {
        let Some(session) = self.locks[slot].session.take() else { return self.leave_orphans(slot) };
        self.step_over(slot);
        let lock = &mut self.locks[slot];
        let depth = usize::from(self.resources[lock.resource].depth);
        let (links, handle) = (std::mem::take(&mut lock.in_session), lock.handle);
        if lock.marks.take(Mark::ByHandle) {
            self.paths.forget_handle(session, handle);
        }
        let attendance = &mut self.attendances[session];
        attendance.levels[depth].join(&mut self.locks, Which::Session, links);
        attendance.locks -= 1;
    }

    /// Puts a lock into the queue that its `at` names.
    pub(super) fn admit(&mut self, slot: LockSlot) {
        let lock = &self.locks[slot];
        self.counts.converting += u64::from(matches!(lock.at, At::Converting { .. }));
        self.counts.waiting += u64::from(matches!(lock.at, At::Waiting { .. }));
        let resource = lock.resource;
        let is_queued = lock.at.wanted().is_some();
        if is_queued {
            self.note_queued(resource);
            self.record_queued(slot);
            self.beside -= self.resources[resource].beside_of_crowd();
        }
        self.resources[resource].admit(&mut self.locks, slot);
        if is_queued {
            self.beside += self.resources[resource].beside_of_crowd();
            self.note_contended(resource);
        }
    }

    /// Takes a lock out of the queue that its `at` names.
    pub(super) fn dismiss(&mut self, slot: LockSlot) {
        let Lock { at, resource, .. } = self.locks[slot];
        self.resources[resource].dismiss(&mut self.locks, slot);
        match at {
            At::Granted { .. } => return,
            At::Converting { .. } => self.counts.converting -= 1,
            At::Waiting { .. } => self.counts.waiting -= 1,
        }
        self.note_contended(resource);
    }

    /// Removes a lock from everything, for this cause. Its resource is swept later in this step.
    pub(super) fn remove(&mut self, slot: LockSlot, gone: Gone) -> Handle {
        self.record_gone(slot, gone);
        let lock = &self.locks[slot];
        if lock.marks.any([Mark::Deadline, Mark::Value, Mark::Reason, Mark::Delayed]) {
            self.remove_beside(slot);
        }
        let Lock { at, session, marks, resource, parent, handle, in_queue, .. } = self.locks[slot];
        let is_orphan = session.is_none() && !marks.has(Mark::Delayed);
        self.unattend(slot);
        match at {
            At::Granted { granted } => {
                self.resources[resource].forget_granted(&mut self.locks, in_queue, granted);
            }
            At::Converting { .. } | At::Waiting { .. } => self.dismiss(slot),
        }
        self.forget_entry(slot);
        self.locks.remove(slot);
        if let Some(parent) = parent {
            self.locks[parent].sublocks -= 1;
            self.locks[parent].orphans -= u32::from(is_orphan);
        }
        let queues = &self.resources[resource];
        let (lockspace, is_unused) = (queues.lockspace, queues.is_unused());
        if let Some(space) = self.space_mut(lockspace) {
            space.locks -= 1;
        }
        self.touch(resource);
        if is_unused {
            self.drop_unused(resource);
        }
        self.end_delay_above(parent);
        handle
    }

    /// Removes what is kept beside a lock.
    #[cold]
    fn remove_beside(&mut self, slot: LockSlot) {
        self.drop_deadline(slot);
        self.take_value(slot);
        self.forget_delay(slot);
        if self.locks[slot].marks.has(Mark::Reason) {
            self.beside -= take(&mut self.reasons, &slot).map_or(0, |reason| block(reason.len()));
        }
    }

    /// Keeps the value of a conversion that queues; only an alternate mode can still store it.
    pub(super) fn keep_value(&mut self, slot: LockSlot, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.locks[slot].marks.put(Mark::Value, true);
            self.beside += block(value.len());
            self.values.insert(slot, value.into());
        }
    }

    /// Takes the value of a queued conversion, which goes with the conversion.
    pub(super) fn take_value(&mut self, slot: LockSlot) -> Option<Box<[u8]>> {
        if !self.locks[slot].marks.take(Mark::Value) {
            return None;
        }
        let value = take(&mut self.values, &slot);
        self.beside -= value.as_ref().map_or(0, |value| block(value.len()));
        value
    }

    pub(super) fn space(&self, lockspace: LockspaceId) -> Option<&Space> {
        self.spaces.get(usize::try_from(lockspace.0).ok()?)?.as_ref()
    }

    pub(super) fn space_mut(&mut self, lockspace: LockspaceId) -> Option<&mut Space> {
        self.spaces.get_mut(usize::try_from(lockspace.0).ok()?)?.as_mut()
    }

    fn set_policy(&mut self, lockspace: LockspaceId, policy: Option<&Policy>) {
        let Ok(at) = usize::try_from(lockspace.0) else { return };
        if self.spaces.len() <= at {
            self.spaces.resize(at + 1, None);
        }
        match (policy, &mut self.spaces[at]) {
            (Some(policy), Some(space)) => space.policy = policy.clone(),
            (Some(policy), none) => *none = Some(Space { policy: policy.clone(), ..Space::default() }),
            // A lockspace that has locks stays: whoever removes one has emptied it first.
            (None, Some(space)) if space.locks > 0 => {}
            (None, space) => *space = None,
        }
    }

    fn set_priority(&mut self, lock: LockId, priority: u8, out: &mut Vec<Output>) {
        let said = match self.slot_of(lock).filter(|slot| !self.is_sealed(*slot)) {
            Some(slot) => {
                self.locks[slot].priority = priority;
                Said::Done(Status::Done)
            }
            None => Said::Refused { status: Status::NoSuchLock, blocker: None, waiting: 0 },
        };
        out.push(Output { session: SessionId(0), said });
    }
}
