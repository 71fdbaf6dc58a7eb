//! Path locks: a leaf and the intents on its ancestors, in one request (rules P1-P7 of `docs/locking.md`).
//!
//! A path that can be granted at once leaves nothing here. One that waits is kept until it is granted or ends: which
//! locks it has made so far, and what it will ask for further down. It never waits at two levels.

use super::enq::{Asked, Spot};
use super::grant::may_grant_new;
use super::history::Gone;
use super::image::{Bad, Image, Reader, Writer, fields};
use super::input::Ask;
use super::lock::{At, LockSlot, Mark, ResourceSlot, SessionSlot, Which};
use super::output::{Output, Said};
use super::shard::{Map, Shard, map};
use super::slab::{Slab, Slot};
use super::time::Instant;
use super::tree::Above;
use enq_protocol::vocabulary::{
    Flags, Grant, Handle, LockMode, LockspaceId, Owner, ResourceName, SessionId, Status,
};

pub(super) type PathSlot = Slot<Path>;

/// Is the session told that its path has ended?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Yes: it goes on.
    Yes,
    /// No: it has ended itself.
    No,
}

/// How much of a path that ends is undone, and who hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undo {
    /// All that it made.
    All,
    /// What an end has sealed; V4: what a writer among them leaves may be not valid.
    Sealed { told: Told, invalidate: bool },
}

/// A path request that waits.
#[derive(Clone, Debug)]
pub(super) struct Path {
    pub(super) session: SessionId,
    mode: LockMode,
    flags: Flags,
    owner: Owner,
    priority: u8,
    reason: Box<[u8]>,
    deadline: Option<Instant>,
    pub(super) lockspace: LockspaceId,
    names: Box<[ResourceName]>,
    pub(super) handles: Box<[Handle]>,
    pub(super) levels: Vec<Level>,
}

/// A level that has its lock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub(super) lock: LockSlot,
    pub(super) made: bool,
}

fields! { Path { session, mode, flags, owner, priority, reason, deadline, lockspace, names, handles, levels } }
fields! { Level { lock, made } }

/// What a handle that the session register gave away leads to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Named {
    /// A lock that a path made.
    Lock(LockSlot),
    /// A level of a path that was not asked for yet.
    Path(PathSlot),
}

/// The paths of a shard.
#[derive(Clone)]
pub(super) struct Paths {
    pub(super) waiting: Slab<Path>,
    pub(super) by_handle: Map<(SessionSlot, Handle), Named>,
    /// The path that waits for this lock.
    pub(super) waits_for: Map<LockSlot, PathSlot>,
    /// P5: the paths that wait somewhere below this lock.
    pub(super) pins: Map<LockSlot, Vec<PathSlot>>,
}

/// How far a path got.
enum Descent {
    Granted(Grant),
    Waits(LockSlot),
    Refused(Status),
}

impl Paths {
    pub(super) fn new(seed: u64) -> Paths {
        Paths {
            waiting: Slab::new(u32::MAX - 1),
            by_handle: map(seed),
            waits_for: map(seed),
            pins: map(seed),
        }
    }

    /// The lock with this handle, if a path made it.
    pub(super) fn lock_at(&self, session: SessionSlot, handle: Handle) -> Option<LockSlot> {
        match self.by_handle.get(&(session, handle))? {
            Named::Lock(slot) => Some(*slot),
            Named::Path(_) => None,
        }
    }

    pub(super) fn forget_handle(&mut self, session: SessionSlot, handle: Handle) {
        self.by_handle.remove(&(session, handle));
    }
}

impl Path {
    /// P1: what the ancestors of a leaf in this mode need.
    fn intent(mode: LockMode) -> LockMode {
        match mode {
            LockMode::Nl | LockMode::Cr | LockMode::Pr => LockMode::Cr,
            LockMode::Cw | LockMode::Pw | LockMode::Ex => LockMode::Cw,
        }
    }

    /// What it is called, root first.
    pub(super) fn names(&self) -> &[ResourceName] {
        &self.names
    }

    fn is_leaf(&self, level: usize) -> bool {
        level + 1 == self.names.len()
    }

    pub(super) fn leaf_handle(&self) -> Handle {
        *self.handles.last().expect("a path has a level")
    }

    /// P7: what is asked at a level.
    fn ask(&self, level: usize) -> Ask<'_> {
        let every_level =
            Flags::NOQUEUE | Flags::BLKAST | Flags::PERSISTENT | Flags::NODLCKWT | Flags::NODLCKBLK;
        let (mode, flags) = if self.is_leaf(level) {
            (self.mode, self.flags)
        } else {
            (Path::intent(self.mode), Flags(self.flags.0 & every_level.0))
        };
        let Path { session, owner, priority, .. } = *self;
        Ask { session, mode, flags, owner, timeout_ms: None, priority, reason: &self.reason }
    }
}

impl Shard {
    pub(super) fn enq_path(
        &mut self,
        ask: &Ask<'_>,
        handles: &[Handle],
        lockspace: LockspaceId,
        names: &[ResourceName],
        out: &mut Vec<Output>,
    ) {
        self.counts.enq_new += 1;
        if let Err(status) = self.check_path(ask, handles, lockspace, names) {
            return Self::refuse(ask.session, status, out);
        }
        // G10: what never waits is told to come again.
        if self.refuse_recovering(ask.session, ask.flags, out) {
            return;
        }
        let mut path = Path {
            session: ask.session,
            mode: ask.mode,
            flags: ask.flags,
            owner: ask.owner,
            priority: ask.priority,
            reason: ask.reason.into(),
            deadline: None,
            lockspace,
            names: names.into(),
            handles: handles.into(),
            levels: Vec::with_capacity(names.len()),
        };
        self.reuse(&mut path);
        // P4: with NOQUEUE all levels are tested first.
        if ask.flags.contains(Flags::NOQUEUE)
            && let Some((resource, mode)) = self.first_refusal(&path)
        {
            let (blocker, waiting) = self.blocker(resource, None, mode);
            self.not_queued(ask.session, blocker, waiting, out);
            if ask.flags.contains(Flags::NOQUEUEBAST) {
                self.notices_of_refusal(resource, None, mode, out);
            }
            return;
        }
        match self.descend(&mut path) {
            Descent::Granted(leaf) => {
                let levels = self.levels_of(&path);
                out.push(Output { session: ask.session, said: Said::PathGranted { leaf, levels } });
                self.free_unused_handles(&path, out);
            }
            Descent::Waits(slot) => {
                path.deadline = self.deadline_after(slot, ask.timeout_ms);
                let said = Said::Queued { handle: path.leaf_handle(), lock: self.id_of(slot) };
                out.push(Output { session: ask.session, said });
                self.keep_path(path, slot);
            }
            Descent::Refused(status) => {
                Self::refuse(ask.session, status, out);
                for level in path.levels.iter().rev().filter(|level| level.made) {
                    self.remove(level.lock, Gone::ended(status));
                }
            }
        }
    }

    /// The checks of a path request, in the order of R2.
    fn check_path(
        &self,
        ask: &Ask<'_>,
        handles: &[Handle],
        lockspace: LockspaceId,
        names: &[ResourceName],
    ) -> Result<(), Status> {
        self.check_session(ask.session)?;
        if names.len() > usize::from(self.limits.depth) + 1 {
            return Err(Status::TooDeep);
        }
        self.check_ask(ask, lockspace)?;
        if names.is_empty() || names.len() != handles.len() {
            return Err(Status::BadParam);
        }
        let policy = &self.space(lockspace).ok_or(Status::NoSuchSpace)?.policy;
        if names.len() > 1 && !policy.modes.contains(Path::intent(ask.mode)) {
            return Err(Status::Denied);
        }
        if !self.locks.has_room_for(names.len()) {
            return Err(Status::NoSpace);
        }
        Ok(())
    }

    /// P4: the first resource of the path that would refuse, and the mode it would refuse.
    fn first_refusal(&self, path: &Path) -> Option<(ResourceSlot, LockMode)> {
        let planted = self.limits.planted;
        let mut above = Above::Lockspace(path.lockspace);
        for (level, name) in path.names.iter().enumerate() {
            // What is not there yet cannot refuse, nor can anything below it.
            let resource = self.tree.find(&self.resources, above, name.as_bytes())?;
            let ask = path.ask(level);
            let reused = level < path.levels.len();
            if !reused && may_grant_new(&self.resources[resource], ask.mode, ask.flags, planted).is_none() {
                return Some((resource, ask.mode));
            }
            above = Above::Resource(resource);
        }
        None
    }

    /// P3: goes down from where the path is, until it is granted, waits or is refused.
    fn descend(&mut self, path: &mut Path) -> Descent {
        loop {
            let level = path.levels.len();
            let spot = match path.levels.last() {
                None => Spot::at_root(path.lockspace, self.sessions.get(&path.session).copied()),
                Some(above) => match self.spot_under(above.lock) {
                    Ok(spot) => spot,
                    Err(status) => return Descent::Refused(status),
                },
            };
            let name = &path.names[level];
            let resource = self.resource_named(spot.lockspace, spot.above, spot.depth, name);
            let is_leaf = path.is_leaf(level);
            match self.ask_new(&path.ask(level), path.handles[level], &spot, resource) {
                Asked::Granted(lock, grant) => {
                    self.locks[lock].marks.put(Mark::Intent, !is_leaf);
                    path.levels.push(Level { lock, made: true });
                    if is_leaf {
                        return Descent::Granted(grant);
                    }
                }
                Asked::Queued(lock) => {
                    self.locks[lock].marks.put(Mark::Intent, !is_leaf);
                    path.levels.push(Level { lock, made: true });
                    return Descent::Waits(lock);
                }
                Asked::NotQueued { .. } => {
                    self.drop_unused(resource);
                    return Descent::Refused(Status::NotQueued);
                }
                Asked::Refused(status) => {
                    self.drop_unused(resource);
                    return Descent::Refused(status);
                }
            }
        }
    }

    /// P2: the levels that this owner has already, from the root down to the deepest lock that can be stood on.
    fn reuse(&self, path: &mut Path) {
        let Some(session) = self.sessions.get(&path.session).copied() else { return };
        let mut resources = Vec::with_capacity(path.names.len());
        let mut above = Above::Lockspace(path.lockspace);
        for name in path.names.iter().take(path.names.len() - 1) {
            let Some(resource) = self.tree.find(&self.resources, above, name.as_bytes()) else { break };
            resources.push(resource);
            above = Above::Resource(resource);
        }
        let deepest = resources.into_iter().rev().find_map(|resource| self.reusable(resource, session, path));
        let up = std::iter::successors(deepest, |slot| self.locks[*slot].parent);
        path.levels.extend(up.map(|lock| Level { lock, made: false }));
        path.levels.reverse();
    }

    /// P2: the lock with the lowest id that can be stood on. Of the resource's granted queue and the session's locks at
    /// that depth, the shorter one is searched to its end.
    fn reusable(&self, resource: ResourceSlot, session: SessionSlot, path: &Path) -> Option<LockSlot> {
        let depth = usize::from(self.resources[resource].depth);
        let mut granted = self.resources[resource].granted.iter(&self.locks, Which::Queue);
        let mut own = self.attendances[session].levels.get(depth)?.iter(&self.locks, Which::Session);
        let can = |slot: &LockSlot| {
            let mut chain = std::iter::successors(Some(*slot), |slot| self.locks[*slot].parent);
            self.locks[*slot].resource == resource
                && chain.all(|slot| self.covers_intent(slot, session, path))
        };
        let by_id = |slot: &LockSlot| self.id_of(*slot);
        let (mut of_granted, mut of_own) = (None::<LockSlot>, None::<LockSlot>);
        loop {
            let Some(slot) = granted.next() else { return of_granted };
            of_granted = of_granted.into_iter().chain(Some(slot).filter(can)).min_by_key(by_id);
            let Some(slot) = own.next() else { return of_own };
            of_own = of_own.into_iter().chain(Some(slot).filter(can)).min_by_key(by_id);
        }
    }

    /// P2: a lock of this owner, granted, not sealed, whose mode covers the intent.
    fn covers_intent(&self, slot: LockSlot, session: SessionSlot, path: &Path) -> bool {
        let lock = &self.locks[slot];
        lock.session == Some(session)
            && lock.owner == path.owner
            && matches!(lock.at, At::Granted { granted } if granted.covers(Path::intent(path.mode)))
            && !self.is_sealed(slot)
    }

    /// Keeps a path that waits for this lock.
    fn keep_path(&mut self, path: Path, waits_for: LockSlot) {
        let Some(session) = self.sessions.get(&path.session).copied() else { return };
        if let Some(deadline) = path.deadline {
            self.set_deadline(waits_for, deadline);
        }
        let handles = path.handles.clone();
        let levels = path.levels.clone();
        self.beside += path.beside();
        let slot = self.paths.waiting.insert(path);
        self.locks[waits_for].marks.put(Mark::Path, true);
        self.paths.waits_for.insert(waits_for, slot);
        for level in levels.iter().filter(|level| level.lock != waits_for) {
            self.locks[level.lock].marks.put(Mark::Pinned, true);
            self.paths.pins.entry(level.lock).or_default().push(slot);
        }
        for (at, handle) in handles.iter().enumerate() {
            match levels.get(at).filter(|level| level.made) {
                Some(level) => self.name_lock(session, *handle, level.lock),
                None => _ = self.paths.by_handle.insert((session, *handle), Named::Path(slot)),
            }
        }
    }

    /// P3: is this the last lock that its path needs?
    pub(super) fn is_leaf_of_path(&self, slot: LockSlot) -> bool {
        let path = self.paths.waits_for.get(&slot).map(|path| &self.paths.waiting[*path]);
        path.is_some_and(|path| path.levels.len() == path.names.len())
    }

    /// P3: the lock that a path waited for is granted, and the path goes on.
    pub(super) fn advance_path(&mut self, granted: LockSlot, grant: Grant, out: &mut Vec<Output>) {
        let Some(slot) = self.paths.waits_for.get(&granted).copied() else { return };
        let mut path = self.take_path(slot);
        let is_leaf = path.levels.len() == path.names.len();
        match if is_leaf { Descent::Granted(grant) } else { self.descend(&mut path) } {
            Descent::Granted(mut leaf) => {
                // R3: only an answer says SYNC.
                leaf.synchronous = false;
                let levels = self.levels_of(&path);
                let session = path.session;
                out.push(Output { session, said: Said::PathGrantedLater { leaf, levels } });
                self.free_unused_handles(&path, out);
                self.name_locks(&path);
            }
            Descent::Waits(lock) => self.keep_path(path, lock),
            Descent::Refused(status) => self.undo_path(&path, status, Undo::All, out),
        }
    }
}
