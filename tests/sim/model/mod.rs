//! The rules of `docs/locking.md` once more, slow and obvious: one list of locks, looked through from end to end.
//!
//! Written from the document and from nothing else; it imports nothing of the engine. Only the ids of locks are
//! taken from what the engine gave, because the rules order some things by them.
//!
//! `mod` has the state, the looking up and the grant; `sweep` rules G8 and B; `request` new locks and conversions;
//! `leave` releases, cancels and timeouts; `path` rules P; `end` ends and administrators; `orphan` rules O; `look` views and
//! invariants; `tables` the tables.

mod end;
mod leave;
mod look;
mod orphan;
mod path;
mod request;
mod sweep;
mod tables;

use crate::words::{Block, Command, Event, Grant, Name, Place, What, Which};
use enq_protocol::vocabulary::{Flags, LockMode, Policy, Status};
use std::collections::{BTreeMap, BTreeSet};
use tables::{Move, block_move, fenced, writes_block};
pub(crate) use tables::{beside, covers};

/// The queue a lock is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Queue {
    Granted,
    Converting,
    Waiting,
}

/// What a lock that waits or converts asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) mode: LockMode,
    pub(crate) flags: Flags,
    value: Option<Vec<u8>>,
    deadline: Option<u64>,
    stamp: u64,
    demoted: bool,
}

impl Wish {
    pub(crate) fn has(&self, flag: Flags) -> bool {
        self.flags.0 & flag.0 != 0
    }

    /// The modes that will do, in the order in which they are tried (G5).
    fn modes(&self) -> Vec<LockMode> {
        let mut modes = vec![self.mode];
        if self.has(Flags::ALTPR) {
            modes.push(LockMode::Pr);
        }
        if self.has(Flags::ALTCW) {
            modes.push(LockMode::Cw);
        }
        modes
    }
}

/// One lock.
#[derive(Clone, Debug)]
pub(crate) struct Lock {
    pub(crate) id: u64,
    age: u64,
    pub(crate) session: Option<u64>,
    pub(crate) handle: u32,
    pub(crate) owner: (u64, u64),
    pub(crate) at: Place,
    pub(crate) parent: Option<u64>,
    pub(crate) queue: Queue,
    /// Its place in that queue.
    rank: i64,
    pub(crate) held: Option<LockMode>,
    pub(crate) wish: Option<Wish>,
    told: Vec<LockMode>,
    persistent: bool,
    nodlckblk: bool,
    blkast: bool,
    pub(crate) seq: u64,
    pub(crate) fence: u64,
    pub(crate) sealed: bool,
    priority: u8,
    reason: &'static str,
    /// A path request made it and has not yet told its id: it can be named by handle only.
    by_handle: bool,
    intent: bool,
    /// E4: its session has died; the moment at which it goes, none when that is over and only sublocks keep it.
    pub(crate) delayed: Option<Option<u64>>,
    /// O1: of an orphan, when it became one and its orphan key.
    pub(crate) orphan: Option<(u64, &'static str)>,
}

/// A path request that waits.
#[derive(Clone, Debug)]
struct PathRequest {
    ask: crate::words::Ask,
    handles: Vec<u32>,
    space: u32,
    path: Vec<&'static str>,
    deadline: Option<u64>,
    /// What it has so far: lock, handle, made by it?
    levels: Vec<(u64, u32, bool)>,
    /// The lock it waits for.
    waits: Option<u64>,
}

/// The end of many locks that is under way.
#[derive(Clone, Debug)]
struct Ending {
    locks: Vec<u64>,
    session: u64,
    kind: end::Kind,
}

impl Ending {
    fn is_sublocks(&self) -> bool {
        matches!(self.kind, end::Kind::Sublocks { .. })
    }
}

/// The model of one shard.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    now: u64,
    epoch: u64,
    grants: u64,
    stamps: u64,
    ranks: i64,
    unnamed: u64,
    waiting_a_resource: usize,
    /// G10: until then nothing is granted.
    recovering: Option<u64>,
    spaces: BTreeMap<u32, Policy>,
    /// Sessions that ever had a lock here: the others have nothing to end.
    attended: BTreeSet<u64>,
    pub(crate) locks: Vec<Lock>,
    blocks: Vec<(Place, Block)>,
    paths: Vec<PathRequest>,
    endings: Vec<Ending>,
    /// Resources that this step has still to sweep, in the order in which they were touched.
    touched: Vec<Place>,
    /// Path requests whose lock a sweep granted, and that go on downwards after it.
    going_on: Vec<(u64, Grant)>,
    out: Vec<Event>,
    /// The ids that the engine has for the locks of live sessions, to be given to new locks.
    ids: BTreeMap<Name, u64>,
}

impl Model {
    pub(crate) fn new(epoch: u32, waiting_a_resource: u32, recovering_ms: u32) -> Model {
        Model {
            now: 0,
            epoch: u64::from(epoch),
            grants: 0,
            stamps: 0,
            ranks: 0,
            unnamed: u64::MAX,
            waiting_a_resource: usize::try_from(waiting_a_resource).expect("a small number"),
            recovering: (recovering_ms > 0).then_some(u64::from(recovering_ms) * 1_000_000),
            spaces: BTreeMap::from([(0, Policy::default())]),
            attended: BTreeSet::new(),
            locks: Vec::new(),
            blocks: Vec::new(),
            paths: Vec::new(),
            endings: Vec::new(),
            touched: Vec::new(),
            going_on: Vec::new(),
            out: Vec::new(),
            ids: BTreeMap::new(),
        }
    }

    /// One input. `ids` are those the engine has after the same step, `known` resolves what the command refers to.
    pub(crate) fn step(
        &mut self,
        now: u64,
        command: &Command,
        known: &BTreeMap<Name, u64>,
        ids: &BTreeMap<Name, u64>,
    ) -> Vec<Event> {
        self.now = self.now.max(now);
        self.ids.clone_from(ids);
        match command {
            Command::New { ask, handle, under, name } => self.new_lock(ask, *handle, *under, name, known),
            Command::Path { ask, handles, space, path } => self.new_path(ask, handles, *space, path),
            Command::Convert { session, lock, mode, flags, timeout_ms, priority, value } => {
                let wish = (*mode, *flags, *timeout_ms, *priority);
                self.convert(*session, *lock, wish, value.as_deref(), known);
            }
            Command::Release { session, lock, flags, value } => {
                self.release(*session, *lock, *flags, value.as_deref(), known);
            }
            Command::Cancel { session, lock, flags } => self.cancel(*session, *lock, *flags, known),
            Command::ReleaseSublocks { session, lock, flags } => {
                self.release_sublocks(*session, *lock, *flags, known);
            }
            Command::EndSession { session, end } => self.end_session(*session, *end),
            Command::Adopt { ask, handle, under, name, orphan_key } => {
                self.adopt(ask, *handle, (*under, name), orphan_key, known);
            }
            Command::Purge { space, root, orphan_key, from } => {
                self.purge(*space, *root, orphan_key, *from, known);
            }
            Command::Continue => self.go_on(),
            Command::Tick => self.tick(),
            Command::SetPolicy { space, policy: Some(policy) } => {
                self.spaces.insert(*space, policy.clone());
            }
            Command::SetPolicy { space, policy: None } => {
                self.spaces.remove(space);
            }
            Command::ForceRelease { lock, stale, by } => self.force_release(*lock, *stale, *by, known),
            Command::EndRequest { lock } => self.end_request(*lock, known),
            Command::SetPriority { lock, priority } => self.set_priority(*lock, *priority, known),
            Command::RaiseEpoch { epoch } => self.epoch = self.epoch.max(u64::from(*epoch)),
        }
        self.sweep_touched();
        std::mem::take(&mut self.out)
    }

    fn say(&mut self, to: u64, what: What) {
        self.out.push(Event { to, what });
    }

    fn refuse(&mut self, to: u64, status: Status) {
        self.say(to, What::Refused { status, blocker: None, waiting: 0 });
    }

    /// A lock of this session that may be named in a request (U6, E1).
    fn find(&self, session: u64, which: Which, known: &BTreeMap<Name, u64>) -> Option<usize> {
        self.locks.iter().position(|lock| {
            let named = if which.by_handle {
                lock.by_handle && lock.handle == which.name.1
            } else {
                known.get(&which.name) == Some(&lock.id)
            };
            named && lock.session == Some(session) && !lock.sealed
        })
    }

    fn by_id(&self, id: Option<u64>) -> Option<usize> {
        self.locks.iter().position(|lock| Some(lock.id) == id)
    }

    pub(crate) fn lock(&self, id: u64) -> Option<&Lock> {
        self.locks.iter().find(|lock| lock.id == id)
    }

    fn lock_mut(&mut self, id: u64) -> &mut Lock {
        self.locks.iter_mut().find(|lock| lock.id == id).expect("the caller has just seen it")
    }

    /// A queue of a resource, in its order.
    pub(crate) fn queue(&self, at: &Place, queue: Queue) -> Vec<&Lock> {
        let mut locks: Vec<&Lock> =
            self.locks.iter().filter(|lock| lock.at == *at && lock.queue == queue).collect();
        locks.sort_by_key(|lock| lock.rank);
        locks
    }

    /// clash(L, m): the first other lock that holds a mode incompatible with `mode`, granted queue first.
    pub(crate) fn clash(&self, at: &Place, mode: LockMode, but: Option<u64>) -> Option<u64> {
        let mut holders = self.queue(at, Queue::Granted);
        holders.extend(self.queue(at, Queue::Converting));
        let clashes =
            |lock: &&&Lock| Some(lock.id) != but && lock.held.is_some_and(|held| !beside(held, mode));
        holders.iter().find(clashes).map(|lock| lock.id)
    }

    fn sublocks(&self, id: u64) -> usize {
        self.locks.iter().filter(|lock| lock.parent == Some(id)).count()
    }

    fn last_rank(&mut self) -> i64 {
        self.ranks += 1;
        self.ranks
    }

    fn first_rank(&mut self) -> i64 {
        self.ranks += 1;
        -self.ranks
    }

    fn stamp(&mut self) -> u64 {
        self.stamps += 1;
        self.stamps
    }

    /// A change that may let somebody through: where nobody waits or converts nothing follows from it.
    fn touch(&mut self, at: &Place) {
        let somebody = self.locks.iter().any(|lock| lock.at == *at && lock.wish.is_some());
        if somebody && !self.touched.contains(at) {
            self.touched.push(at.clone());
        }
    }

    fn block(&mut self, at: &Place) -> &mut Block {
        let found = self.blocks.iter().position(|(place, _)| place == at);
        let index = found.unwrap_or_else(|| {
            self.blocks.push((at.clone(), Block { bytes: Vec::new(), seq: 0, valid: true }));
            self.blocks.len() - 1
        });
        &mut self.blocks[index].1
    }

    /// V3: a block is replaced.
    fn store(&mut self, at: &Place, bytes: &[u8]) {
        let block = self.block(at);
        *block = Block { bytes: bytes.to_vec(), seq: block.seq + 1, valid: true };
    }

    /// V4: a block becomes not valid.
    fn invalidate(&mut self, at: &Place) {
        self.block(at).valid = false;
    }

    /// The id the engine gave to a lock that is made in this step; one of our own if the step unmakes it again.
    fn new_id(&mut self, session: u64, handle: u32) -> u64 {
        self.ids.get(&(session, handle)).copied().unwrap_or_else(|| {
            self.unnamed -= 1;
            self.unnamed
        })
    }

    /// G9: the lock holds the mode; what the answer or the completion says about it.
    fn grant(&mut self, id: u64, mode: LockMode, wish: &Wish) -> Grant {
        let lock = self.lock(id).expect("granted locks exist").clone();
        // O3: an adoption is to its session what a new lock is.
        let before = lock.held.filter(|_| lock.session.is_some());
        let action = block_move(before, mode);
        let mut said = Grant {
            handle: lock.handle,
            lock: id,
            mode,
            seq: 0,
            fence: 0,
            synchronous: false,
            alternate: mode != wish.mode,
            demoted: wish.demoted,
            stored: false,
            value: None,
        };
        if wish.has(Flags::VALBLK) {
            match (action, &wish.value) {
                (Move::Read, _) => said.value = Some(self.block(&lock.at).clone()),
                (Move::Write, Some(bytes)) => {
                    self.store(&lock.at, bytes);
                    said.stored = true;
                }
                (Move::Write, None) | (Move::Nothing, _) => {}
            }
        }
        let wrote = lock.held.is_some_and(writes_block);
        if wish.has(Flags::IVVALBLK) && wrote && action == Move::Write {
            self.invalidate(&lock.at);
        }
        self.grants += 1;
        said.seq = self.epoch << 40 | self.grants;
        said.fence = self.fence(&lock.at, id, mode, said.seq);
        let rank = if lock.queue == Queue::Granted { lock.rank } else { self.last_rank() };
        let lock = self.lock_mut(id);
        (lock.queue, lock.rank, lock.held, lock.wish) = (Queue::Granted, rank, Some(mode), None);
        (lock.seq, lock.fence) = (said.seq, said.fence);
        lock.told.clear();
        lock.persistent |= wish.has(Flags::PERSISTENT);
        lock.nodlckblk = wish.has(Flags::NODLCKBLK);
        lock.blkast = wish.has(Flags::BLKAST);
        said
    }

    /// F2: the fence of the living others that hold one of the four modes, otherwise the grant's own seq.
    fn fence(&self, at: &Place, id: u64, mode: LockMode, seq: u64) -> u64 {
        let lives = |lock: &Lock| lock.delayed.is_none();
        let others =
            |lock: &&Lock| lock.at == *at && lock.id != id && lock.held.is_some_and(fenced) && lives(lock);
        match self.locks.iter().find(others) {
            _ if !fenced(mode) => 0,
            Some(other) => other.fence,
            None => seq,
        }
    }
}
