//! What must be true between two steps, in sentences. Tests ask after every step; releases never do.
//!
//! Each check recomputes from the locks themselves what the shard keeps as a summary.

use super::compat::fit;
use super::end::Ending;
use super::lock::{At, Lock, LockSlot, Mark, ResourceSlot, SessionSlot, Which};
use super::path::Named;
use super::resource::Resource;
use super::shard::Shard;
use enq_protocol::vocabulary::{Flags, LockMode};

impl Shard {
    /// Says what is wrong, if anything is.
    ///
    /// # Errors
    /// The sentence that does not hold, with the place.
    pub fn check(&self) -> Result<(), String> {
        ensure(self.work.is_empty() && self.entered.is_empty(), || "a step leaves nothing to do".into())?;
        for (slot, resource) in self.resources.iter() {
            let name = self.path_of(slot);
            self.check_summaries(slot, resource).map_err(|wrong| format!("{name:?}: {wrong}"))?;
            self.check_queues(slot, resource).map_err(|wrong| format!("{name:?}: {wrong}"))?;
            self.check_holders(resource).map_err(|wrong| format!("{name:?}: {wrong}"))?;
        }
        for (slot, lock) in self.locks.iter() {
            let sublocks = self.locks.iter().filter(|(_, other)| other.parent == Some(slot)).count();
            ensure(sublocks == lock.sublocks as usize, || format!("{slot:?} counts its sublocks"))?;
            let is_orphan = |other: &Lock| other.session.is_none() && !other.marks.has(Mark::Delayed);
            let below = self.locks.iter().filter(|(_, other)| other.parent == Some(slot) && is_orphan(other));
            ensure(below.count() == lock.orphans as usize, || format!("{slot:?} counts its orphans"))?;
            ensure(lock.marks.has(Mark::Deadline) == self.deadlines.of(slot).is_some(), || {
                format!("{slot:?} knows whether it has a deadline")
            })?;
            ensure(
                !lock.marks.has(Mark::Deadline)
                    || lock.at.wanted().is_some()
                    || lock.marks.has(Mark::Delayed),
                || format!("{slot:?} has a deadline only while it waits or is delayed"),
            )?;
            self.check_delay(slot, lock)?;
            ensure(!lock.marks.has(Mark::Value) || lock.at.wanted().is_some(), || {
                format!("{slot:?} keeps a value only while it waits")
            })?;
        }
        self.check_orphans()?;
        self.check_marks()?;
        self.check_paths()?;
        self.check_counts()?;
        ensure(self.beside == self.beside_counted(), || "what lies beside the slabs is counted".into())?;
        self.check_sessions()
    }

    /// O1: what is listed has no session, and a lock with a session has its parent lock there.
    fn check_orphans(&self) -> Result<(), String> {
        let mut found = 0;
        for (lockspace, levels, locks) in self.orphans.lists() {
            let before = found;
            for (depth, level) in levels.iter().enumerate() {
                for lock in level.iter(&self.locks, Which::Session) {
                    let lock = &self.locks[lock];
                    let resource = &self.resources[lock.resource];
                    let in_place = resource.lockspace == lockspace && usize::from(resource.depth) == depth;
                    ensure(in_place, || "orphans are listed by lockspace and depth".into())?;
                    let rests = lock.session.is_none() && matches!(lock.at, At::Granted { .. });
                    ensure(rests, || "an orphan has no session and is granted".into())?;
                    found += 1;
                }
            }
            ensure(found - before == locks as usize && locks > 0, || "orphans are counted".into())?;
        }
        ensure(found == self.orphans.len(), || "every orphan that has a key is listed once".into())?;
        let with_session = self.locks.iter().filter(|(_, lock)| lock.session.is_some());
        let mut parents = with_session.filter_map(|(_, lock)| Some((lock.session, lock.parent?)));
        ensure(parents.all(|(session, parent)| self.locks[parent].session == session), || {
            "a lock and its parent lock have one session".into()
        })
    }

    /// What a mark says is in the table that it is about, and nothing else is: images are written without either one or
    /// the other.
    fn check_marks(&self) -> Result<(), String> {
        let marked = |mark: Mark| self.locks.iter().filter(move |(_, lock)| lock.marks.has(mark));
        for (mark, table) in [(Mark::Reason, &self.reasons), (Mark::Value, &self.values)] {
            let found = marked(mark).filter_map(|(slot, _)| table.get(&slot)).count();
            let is_exact = found == table.len() && found == marked(mark).count();
            ensure(is_exact, || format!("{mark:?} is said of whoever has one"))?;
        }
        let deadlines = &self.deadlines;
        let is_one = |(entry, slot): (_, &LockSlot)| deadlines.of.get(slot) == Some(entry);
        ensure(deadlines.order.iter().all(is_one) && deadlines.of.len() == deadlines.order.len(), || {
            "deadlines are found by lock and in order".into()
        })?;
        let sealed = |slot: SessionSlot| {
            let is_its =
                |ending: &&Ending| matches!(ending, Ending::Whole { session, .. } if *session == slot);
            self.endings.iter().filter(is_its).count()
        };
        let mut attendances = self.attendances.iter();
        ensure(attendances.all(|(slot, attendance)| sealed(slot) == usize::from(attendance.sealed)), || {
            "who is sealed has an end under way".into()
        })?;
        let queued = self.resources.iter().filter(|(_, resource)| resource.queued() > 0).count();
        ensure(queued == self.contended.len(), || "no other queues are listed".into())
    }

    /// P5, P6: the tables of paths say what follows from the paths and the locks.
    fn check_paths(&self) -> Result<(), String> {
        let (mut handles, mut waits, mut pins) = (0, 0, 0);
        let by_handle = self.locks.iter().filter(|(_, lock)| lock.marks.has(Mark::ByHandle));
        for (slot, lock) in by_handle {
            let named = lock.session.and_then(|session| self.paths.lock_at(session, lock.handle));
            ensure(named == Some(slot), || format!("a handle leads to {slot:?}"))?;
            handles += 1;
        }
        for (slot, path) in self.paths.waiting.iter() {
            let session = self.sessions.get(&path.session).copied();
            for (at, handle) in path.handles.iter().enumerate() {
                if path.levels.get(at).is_some_and(|level| level.made) {
                    continue;
                }
                let named = session.and_then(|session| self.paths.by_handle.get(&(session, *handle)));
                let is_named = matches!(named, Some(Named::Path(path)) if *path == slot);
                ensure(is_named, || format!("handle {handle} leads to a path"))?;
                handles += 1;
            }
            let (last, above) = path.levels.split_last().ok_or("a path that waits has a lock")?;
            let waits_for = self.paths.waits_for.get(&last.lock) == Some(&slot);
            ensure(waits_for && self.locks[last.lock].marks.has(Mark::Path), || "a path waits".into())?;
            waits += 1;
            for level in above {
                let of_lock = self.paths.pins.get(&level.lock);
                let is_pinned =
                    of_lock.is_some_and(|pins| pins.iter().filter(|pin| **pin == slot).count() == 1);
                ensure(is_pinned && self.locks[level.lock].marks.has(Mark::Pinned), || {
                    "a path pins what it stands on".into()
                })?;
                pins += 1;
            }
        }
        let marked = |mark: Mark| self.locks.iter().filter(move |(_, lock)| lock.marks.has(mark));
        let pinned = marked(Mark::Pinned).filter_map(|(slot, _)| self.paths.pins.get(&slot));
        let is_exact = self.paths.by_handle.len() == handles
            && (self.paths.waits_for.len(), marked(Mark::Path).count()) == (waits, waits)
            && self.paths.pins.len() == marked(Mark::Pinned).count()
            && pinned.map(Vec::len).sum::<usize>() == pins;
        ensure(is_exact, || "no other paths are told of".into())
    }

    /// What is counted of all locks together.
    fn check_counts(&self) -> Result<(), String> {
        let count =
            |is: &dyn Fn(&Lock) -> bool| self.locks.iter().filter(|(_, lock)| is(lock)).count() as u64;
        let counted = [
            count(&|lock| matches!(lock.at, At::Converting { .. })),
            count(&|lock| matches!(lock.at, At::Waiting { .. })),
            count(&|lock| lock.marks.has(Mark::Delayed)),
        ];
        let said = [self.counts.converting, self.counts.waiting, self.counts.delayed];
        ensure(said == counted, || format!("{said:?} are counted where there are {counted:?}"))?;
        for (number, space) in (0..).zip(&self.spaces) {
            let Some(space) = space else { continue };
            let is_in = |resource: &Resource| resource.lockspace.0 == number;
            let locks = count(&|lock| is_in(&self.resources[lock.resource]));
            let resources = self.resources.iter().filter(|(_, resource)| is_in(resource)).count() as u64;
            let is_counted = (space.locks, space.resources) == (locks, resources);
            ensure(is_counted, || format!("what is in lockspace {number} is counted"))?;
        }
        Ok(())
    }

    fn check_summaries(&self, slot: ResourceSlot, resource: &Resource) -> Result<(), String> {
        let locks: Vec<_> = self.locks.iter().filter(|(_, lock)| lock.resource == slot).collect();
        ensure(!resource.is_unused(), || "a resource has a lock or a subresource".into())?;
        ensure(resource.locks() as usize == locks.len(), || "all locks are in a queue".into())?;
        for mode in LockMode::ALL {
            let holding = locks.iter().filter(|(_, lock)| lock.at.held() == Some(mode)).count();
            ensure(resource.holding(mode) as usize == holding, || format!("holders of {mode} are counted"))?;
            let wanting = locks.iter().any(|(_, lock)| lock.at.wanted() == Some(mode));
            ensure(resource.wanted().contains(mode) == wanting, || format!("who wants {mode} is counted"))?;
        }
        let noorder = |slot: &(LockSlot, _)| {
            let lock = &self.locks[slot.0];
            lock.at.wanted().is_some() && lock.asks(Flags::NOORDER)
        };
        let disorderly = locks.iter().map(|(slot, _)| (*slot, ())).filter(noorder).count();
        ensure(resource.disorderly() as usize == disorderly, || "NOORDER is counted".into())?;
        let is_dead =
            |lock: &Lock| lock.marks.has(Mark::Delayed) && lock.at.held().is_some_and(LockMode::is_fenced);
        let dead = locks.iter().filter(|(_, lock)| is_dead(lock)).count();
        ensure(resource.delayed as usize == dead, || "fences that nobody joins are counted".into())?;
        let listed = resource.contended_at().and_then(|at| self.contended.get(at as usize));
        ensure(listed == (resource.queued() > 0).then_some(&slot), || "queues are listed".into())?;
        let found = self.resource_at(resource.lockspace, &self.path_of(slot));
        ensure(found == Some(slot), || "it is found by its name".into())
    }

    /// The invariants (ii), (iii), (iv): nobody waits who could be granted.
    fn check_queues(&self, _: ResourceSlot, resource: &Resource) -> Result<(), String> {
        let could = |slot: LockSlot| {
            let lock = &self.locks[slot];
            let wanted = lock.at.wanted()?;
            // G10: or everybody waits.
            if self.is_sealed(slot) || self.is_recovering() {
                return None;
            }
            fit(resource, lock.at.held(), wanted, lock.request)
        };
        let head_could = |head: Option<LockSlot>| head.and_then(could).is_some();
        ensure(!head_could(resource.conversion().head), || {
            "the head of the conversion queue clashes".into()
        })?;
        ensure(!resource.conversion().is_empty() || !head_could(resource.waiting().head), || {
            "the head of the waiting queue clashes while nobody converts".into()
        })?;
        let converting = resource.conversion().iter(&self.locks, Which::Queue);
        let mut queued = converting.chain(resource.waiting().iter(&self.locks, Which::Queue));
        ensure(!queued.any(|slot| self.locks[slot].asks(Flags::NOORDER) && could(slot).is_some()), || {
            "nobody with NOORDER waits who does not clash".into()
        })
    }

    /// The invariants (i), (v) and F2.
    fn check_holders(&self, resource: &Resource) -> Result<(), String> {
        let granted = resource.granted.iter(&self.locks, Which::Queue);
        let holders: Vec<_> = granted.chain(resource.conversion().iter(&self.locks, Which::Queue)).collect();
        for (at, one) in holders.iter().enumerate() {
            for other in &holders[at + 1..] {
                let held = |slot: &LockSlot| self.locks[*slot].at.held().unwrap_or(LockMode::Nl);
                ensure(held(one).is_compatible(held(other)), || "what is held is compatible".into())?;
            }
            let lock = &self.locks[*one];
            let fenced = lock.at.held().is_some_and(LockMode::is_fenced);
            ensure(!fenced || lock.marks.has(Mark::Delayed) || lock.fence == resource.fence, || {
                "fenced holders share a fence".into()
            })?;
            if let At::Granted { granted } = lock.at
                && lock.lasting.contains(Flags::BLKAST)
                && lock.session.is_some()
                && !self.is_sealed(*one)
            {
                let blocked = granted.conflicts().intersection(resource.wanted());
                ensure(blocked.iter().all(|mode| lock.told.covers(mode)), || {
                    format!("{one:?} has been told what it blocks")
                })?;
            }
        }
        Ok(())
    }

    /// E4: a delayed lock is granted, has no session, and will go; and G10.
    fn check_delay(&self, slot: LockSlot, lock: &Lock) -> Result<(), String> {
        ensure(!self.is_recovering() || lock.at.held().is_none(), || {
            format!("{slot:?} holds nothing while everybody waits")
        })?;
        let is_whole = matches!(lock.at, At::Granted { .. })
            && lock.session.is_none()
            && !lock.has(Flags::PERSISTENT)
            && (lock.marks.has(Mark::Deadline) || lock.sublocks > 0);
        ensure(!lock.marks.has(Mark::Delayed) || is_whole, || {
            format!("{slot:?} is delayed, without session, and ends")
        })
    }

    fn check_sessions(&self) -> Result<(), String> {
        for (slot, attendance) in self.attendances.iter() {
            let mut found = 0;
            for (depth, level) in attendance.levels.iter().enumerate() {
                for lock in level.iter(&self.locks, Which::Session) {
                    let lock = &self.locks[lock];
                    let in_place = lock.session == Some(slot)
                        && usize::from(self.resources[lock.resource].depth) == depth;
                    ensure(in_place, || "a session's locks are listed by depth".into())?;
                    found += 1;
                }
            }
            ensure(found == attendance.locks, || "a session's locks are counted".into())?;
            let total = self.locks.iter().filter(|(_, lock)| lock.session == Some(slot)).count();
            ensure(total == attendance.locks as usize, || "a session's locks are all listed".into())?;
        }
        Ok(())
    }
}

fn ensure(holds: bool, sentence: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(sentence()) }
}
