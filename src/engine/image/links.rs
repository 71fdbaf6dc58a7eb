//! The image of what ties a shard together: trees, queues, the lists of sessions and orphans, paths, deadlines, ends.
//!
//! Lists are written as slots behind one another; links, counts, marks and indexes are made anew of them. Each slot that is
//! read is asked whether it is live and may stand there, so that whatever is taken can be walked through: parents are
//! shallower than what is below them, and nothing stands in two lists of one sort.

use super::super::deadline::Deadlines;
use super::super::end::Ending;
use super::super::lock::{List, LockSlot, Mark, ResourceSlot, SessionSlot, Which};
use super::super::path::{Named, PathSlot};
use super::super::shard::Shard;
use super::{Bad, Image, Reader, Writer};
use enq_protocol::vocabulary::{LockMode, ModeSet, Queue};

/// Levels a tree can have: depths are bytes.
const LEVELS_MAX: usize = 256;

impl Shard {
    /// A list as its slots, each one higher, and a 0.
    fn write_list(&self, list: List, which: Which, to: &mut Writer) {
        for slot in list.iter(&self.locks, which) {
            Self::write_listed(slot, to);
        }
        to.byte(0);
    }

    /// The locks with a mark, by slot; so many have it. Where nobody has it, nobody is looked at.
    fn marked(&self, mark: Mark, count: usize) -> impl Iterator<Item = LockSlot> {
        let all = self.locks.iter().filter(move |(_, lock)| lock.marks.has(mark));
        all.map(|(slot, _)| slot).take(count)
    }

    fn write_listed(slot: LockSlot, to: &mut Writer) {
        to.number(u64::from(slot.index()) + 1);
    }

    /// Every resource has its place in a tree, and is the only one there with its name.
    pub(super) fn place_resources(&mut self, from: &Reader<'_>) -> Result<(), Bad> {
        let all: Vec<ResourceSlot> = self.resources.iter().map(|(slot, _)| slot).collect();
        self.tree.reserve(all.len());
        for slot in all {
            let resource = &self.resources[slot];
            let (lockspace, depth) = (resource.lockspace, resource.depth);
            let parent = resource.parent;
            if let Some(parent) = parent {
                let above = self.resources.live_at(parent.index()).map(|parent| &mut self.resources[parent]);
                let above = above.ok_or_else(|| from.wrong("a resource below none"))?;
                let fits = above.lockspace == lockspace && above.depth.checked_add(1) == Some(depth);
                from.ensure(fits, "a resource that is not below its parent")?;
                above.subresources += 1;
            }
            from.ensure(parent.is_some() == (depth > 0), "a resource that is not as deep as it says")?;
            from.ensure(self.tree.insert_new(&self.resources, slot), "two resources with one name")?;
            if let Some(space) = self.space_mut(lockspace) {
                space.resources += 1;
            }
        }
        Ok(())
    }

    /// Every lock is on a resource, and the parent of a sublock on the resource above.
    pub(super) fn place_locks(&mut self, from: &Reader<'_>) -> Result<(), Bad> {
        for (_, lock) in self.locks.iter() {
            let resource = self.resources.live_at(lock.resource.index());
            let resource = resource.ok_or_else(|| from.wrong("a lock on no resource"))?;
            let parent = match lock.parent {
                None => None,
                Some(parent) => {
                    let parent = self.locks.live_at(parent.index());
                    Some(self.locks[parent.ok_or_else(|| from.wrong("a sublock of no lock"))?].resource)
                }
            };
            let above = self.resources[resource].parent;
            from.ensure(parent == above, "a lock whose parent is not on the resource above")?;
        }
        Ok(())
    }

    /// Of each resource the granted queue and, if anybody waits, or did when it was last swept, the other two queues and
    /// which modes the notices were about.
    pub(super) fn write_queues(&self, to: &mut Writer) {
        for (_, resource) in self.resources.iter() {
            self.write_list(resource.granted, Which::Queue, to);
            resource.is_contended().write(to);
            if resource.is_contended() {
                self.write_list(resource.conversion(), Which::Queue, to);
                self.write_list(resource.waiting(), Which::Queue, to);
                resource.noticed().write(to);
            }
        }
    }

    /// Every lock stands in the queue that it says, once.
    pub(super) fn read_queues(&mut self, from: &mut Reader<'_>) -> Result<(), Bad> {
        let all: Vec<ResourceSlot> = self.resources.iter().map(|(slot, _)| slot).collect();
        let mut found = 0;
        for slot in all {
            found += self.read_queue(slot, Queue::Granted, from)?;
            if bool::read(from)? {
                found += self.read_queue(slot, Queue::Conversion, from)?;
                found += self.read_queue(slot, Queue::Waiting, from)?;
                let noticed = ModeSet::read(from)?;
                self.resources[slot].notice(noticed);
                from.ensure(self.resources[slot].is_contended(), "queues where nobody waits")?;
            }
        }
        from.ensure(found == self.locks.len(), "a lock in no queue")
    }

    fn read_queue(&mut self, slot: ResourceSlot, queue: Queue, from: &mut Reader<'_>) -> Result<u32, Bad> {
        let mut found = 0;
        while let Some(lock) = from.listed_in(&self.locks)? {
            let there = &self.locks[lock];
            let is_its = there.resource == slot && there.at.queue() == queue;
            from.ensure(is_its, "a lock in a queue that is not its own")?;
            let resource = &mut self.resources[slot];
            let list = match queue {
                Queue::Granted => resource.granted,
                Queue::Conversion => resource.conversion(),
                Queue::Waiting => resource.waiting(),
            };
            from.ensure(!list.has(&self.locks, Which::Queue, lock), "a lock twice in its queue")?;
            resource.readmit(&mut self.locks, lock);
            found += 1;
        }
        Ok(found)
    }

    /// The resources where somebody waits, in the order in which searches look at them.
    pub(super) fn read_contended(&mut self, from: &mut Reader<'_>) -> Result<(), Bad> {
        for at in 0..from.count()? {
            let slot = from.slot_in(&self.resources)?;
            let resource = &mut self.resources[slot];
            let is_new = resource.queued() > 0 && resource.contended_at().is_none();
            from.ensure(is_new, "a resource that is listed for nothing, or twice")?;
            resource.list_contended(u32::try_from(at).ok());
            self.contended.push(slot);
        }
        let queued = self.resources.iter().filter(|(_, resource)| resource.queued() > 0).count();
        from.ensure(queued == self.contended.len(), "a resource that is not listed although somebody waits")
    }

    /// The locks of each session by depth.
    pub(super) fn write_sessions(&self, to: &mut Writer) {
        for (_, attendance) in self.attendances.iter() {
            self.write_levels(&attendance.levels, to);
        }
    }

    fn write_levels(&self, levels: &[List], to: &mut Writer) {
        levels.len().write(to);
        for level in levels {
            self.write_list(*level, Which::Session, to);
        }
    }

    pub(super) fn read_sessions(&mut self, from: &mut Reader<'_>) -> Result<(), Bad> {
        let all: Vec<SessionSlot> = self.attendances.iter().map(|(slot, _)| slot).collect();
        for slot in all {
            let before = self.sessions.insert(self.attendances[slot].session, slot);
            from.ensure(before.is_none(), "a session that is there twice")?;
            let levels = from.count()?;
            from.ensure(levels <= LEVELS_MAX, "a session with more levels than trees have")?;
            self.attendances[slot].levels.resize(levels, List::default());
            for depth in 0..levels {
                while let Some(lock) = from.listed_in(&self.locks)? {
                    let its_depth = self.resources[self.locks[lock].resource].depth;
                    from.ensure(usize::from(its_depth) == depth, "a lock that is listed at another depth")?;
                    let before = self.locks[lock].session.replace(slot);
                    from.ensure(before.is_none(), "a lock that two sessions have, or one twice")?;
                    let attendance = &mut self.attendances[slot];
                    attendance.levels[depth].push_back(&mut self.locks, Which::Session, lock);
                    attendance.locks += 1;
                }
            }
        }
        Ok(())
    }

    /// The orphans of each group by depth.
    pub(super) fn write_orphans(&self, to: &mut Writer) {
        for (_, group) in self.orphans.groups.iter() {
            self.write_levels(&group.levels, to);
        }
    }

    pub(super) fn read_orphans(&mut self, from: &mut Reader<'_>) -> Result<(), Bad> {
        let orphans = &mut self.orphans;
        let all: Vec<_> = orphans.groups.iter().map(|(slot, _)| slot).collect();
        for slot in all {
            let group = &mut orphans.groups[slot];
            let found_by = (group.lockspace, group.orphan_key.clone());
            let before = orphans.by_orphan_key.insert(found_by, slot);
            from.ensure(before.is_none(), "two groups of orphans with one orphan key")?;
            let levels = from.count()?;
            from.ensure(levels <= LEVELS_MAX, "a group of orphans with more levels than trees have")?;
            group.levels.resize(levels, List::default());
            for depth in 0..levels {
                while let Some(lock) = from.listed_in(&self.locks)? {
                    let resource = &self.resources[self.locks[lock].resource];
                    let is_its = self.locks[lock].session.is_none()
                        && resource.lockspace == group.lockspace
                        && usize::from(resource.depth) == depth;
                    from.ensure(is_its, "an orphan that is listed in another place")?;
                    let before = orphans.group_of.insert(lock, slot);
                    from.ensure(before.is_none(), "an orphan that is listed twice")?;
                    group.levels[depth].push_back(&mut self.locks, Which::Session, lock);
                    group.locks += 1;
                }
            }
            from.ensure(group.locks > 0, "a group of no orphans")?;
        }
        Ok(())
    }

    /// What handles lead to locks and paths, and which path waits for which lock.
    pub(super) fn read_paths(&mut self, from: &Reader<'_>) -> Result<(), Bad> {
        for (slot, lock) in self.locks.iter().filter(|(_, lock)| lock.marks.has(Mark::ByHandle)) {
            let session = lock.session.ok_or_else(|| from.wrong("a handle of no session"))?;
            let before = self.paths.by_handle.insert((session, lock.handle), Named::Lock(slot));
            from.ensure(before.is_none(), "a handle that leads to two locks")?;
        }
        for (slot, path) in self.paths.waiting.iter() {
            let session = self.sessions.get(&path.session).copied();
            let session = session.ok_or_else(|| from.wrong("a path of no session"))?;
            let levels = path.names().len();
            let fits = path.handles.len() == levels && (1..=levels).contains(&path.levels.len());
            from.ensure(fits, "a path that has not as many levels as it says")?;
            for level in &path.levels {
                let lock = self.locks.live_at(level.lock.index());
                from.ensure(lock.is_some(), "a path that stands on no lock")?;
            }
            for (at, handle) in path.handles.iter().enumerate() {
                if path.levels.get(at).is_none_or(|level| !level.made) {
                    let before = self.paths.by_handle.insert((session, *handle), Named::Path(slot));
                    from.ensure(before.is_none(), "a handle that leads to two things")?;
                }
            }
            if let Some(last) = path.levels.last() {
                let before = self.paths.waits_for.insert(last.lock, slot);
                from.ensure(before.is_none(), "a lock for which two paths wait")?;
                self.locks[last.lock].marks.put(Mark::Path, true);
            }
        }
        Ok(())
    }

    /// Which paths stand on a lock, in the order in which they would be ended.
    pub(super) fn write_pins(&self, to: &mut Writer) {
        for slot in self.marked(Mark::Pinned, self.paths.pins.len()) {
            Self::write_listed(slot, to);
            self.paths.pins.get(&slot).expect("a lock that is pinned has pins").write(to);
        }
        to.byte(0);
    }

    pub(super) fn read_pins(&mut self, from: &mut Reader<'_>) -> Result<(), Bad> {
        let stands_on = |shard: &Shard, path: PathSlot, lock: LockSlot| {
            let above = shard.paths.waiting[path].levels.split_last().map_or(&[][..], |(_, above)| above);
            above.iter().any(|level| level.lock == lock)
        };
        let (mut last, mut found) = (None, 0);
        while let Some(lock) = from.listed_in(&self.locks)? {
            from.ensure(last.replace(lock.index()) < Some(lock.index()), "pins out of order")?;
            let mut pins: Vec<PathSlot> = Vec::new();
            for _ in 0..from.count()? {
                let path = from.slot_in(&self.paths.waiting)?;
                from.ensure(
                    stands_on(self, path, lock),
                    "a path that does not stand on a lock that it pins",
                )?;
                pins.push(path);
            }
            let mut each: Vec<u32> = pins.iter().map(|path| path.index()).collect();
            each.sort_unstable();
            each.dedup();
            from.ensure(
                each.len() == pins.len() && !pins.is_empty(),
                "a lock pinned twice by one, or by none",
            )?;
            found += pins.len();
            self.locks[lock].marks.put(Mark::Pinned, true);
            self.paths.pins.insert(lock, pins);
        }
        let needed: usize = self.paths.waiting.iter().map(|(_, path)| path.levels.len() - 1).sum();
        from.ensure(found == needed, "a path that does not pin what it stands on")
    }

    /// In the order in which they fire.
    pub(super) fn write_deadlines(deadlines: &Deadlines, to: &mut Writer) {
        let Deadlines { order, of: _ } = deadlines;
        order.len().write(to);
        for ((moment, stamp), slot) in order {
            moment.write(to);
            stamp.write(to);
            slot.write(to);
        }
    }

    pub(super) fn read_deadlines(&mut self, from: &mut Reader<'_>) -> Result<(), Bad> {
        let mut last = None;
        for _ in 0..from.count()? {
            let entry = (Image::read(from)?, Image::read(from)?);
            from.ensure(last.replace(entry) < Some(entry), "deadlines out of order")?;
            let slot = from.slot_in(&self.locks)?;
            let had_one = self.locks[slot].marks.put(Mark::Deadline, true);
            from.ensure(!had_one, "a lock with two deadlines")?;
            self.deadlines.order.insert(entry, slot);
            self.deadlines.of.insert(slot, entry);
        }
        Ok(())
    }

    /// The reasons of locks and the values of queued conversions, by slot.
    pub(super) fn write_beside(&self, to: &mut Writer) {
        for (mark, table) in [(Mark::Reason, &self.reasons), (Mark::Value, &self.values)] {
            for slot in self.marked(mark, table.len()) {
                Self::write_listed(slot, to);
                to.counted(table.get(&slot).expect("what a mark says is there"));
            }
            to.byte(0);
        }
    }

    pub(super) fn read_beside(&mut self, from: &mut Reader<'_>) -> Result<(), Bad> {
        for (mark, table) in [(Mark::Reason, &mut self.reasons), (Mark::Value, &mut self.values)] {
            let mut last = None;
            while let Some(slot) = from.listed_in(&self.locks)? {
                from.ensure(
                    last.replace(slot.index()) < Some(slot.index()),
                    "reasons or values out of order",
                )?;
                self.locks[slot].marks.put(mark, true);
                table.insert(slot, Image::read(from)?);
            }
        }
        Ok(())
    }

    /// The ends that are under way.
    pub(super) fn read_endings(&mut self, from: &mut Reader<'_>) -> Result<(), Bad> {
        for _ in 0..from.count()? {
            let ending = Ending::read(from)?;
            match ending {
                Ending::Whole { session, end: _ } => {
                    let session = self.attendances.live_at(session.index());
                    let session = session.ok_or_else(|| from.wrong("the end of no session"))?;
                    let was_sealed = std::mem::replace(&mut self.attendances[session].sealed, true);
                    from.ensure(!was_sealed, "a session that ends twice")?;
                }
                Ending::Under { root, session, invalidate: _, level, next } => {
                    let is_its = |slot: LockSlot| {
                        let slot = self.locks.live_at(slot.index());
                        slot.is_some_and(|slot| self.locks[slot].session == Some(session))
                    };
                    from.ensure(is_its(root), "the end of sublocks of no lock of its session")?;
                    let levels = self.attendances[session].levels.len();
                    from.ensure(level < levels, "an end at a level that there is not")?;
                    let depth = |slot: LockSlot| usize::from(self.resources[self.locks[slot].resource].depth);
                    let goes_on = next.is_none_or(|next| is_its(next) && depth(next) == level);
                    from.ensure(goes_on, "an end that goes on where it is not")?;
                }
            }
            self.endings.push_back(ending);
        }
        Ok(())
    }

    /// What locks are counted as, once all is known of them.
    pub(super) fn count_locks(&mut self) {
        let all: Vec<LockSlot> = self.locks.iter().map(|(slot, _)| slot).collect();
        for slot in all {
            let lock = &self.locks[slot];
            let (resource, held, queue) = (lock.resource, lock.at.held(), lock.at.queue());
            let is_delayed = lock.marks.has(Mark::Delayed);
            let is_orphan = lock.session.is_none() && !is_delayed;
            if let Some(parent) = lock.parent {
                self.locks[parent].sublocks += 1;
                self.locks[parent].orphans += u32::from(is_orphan);
            }
            let lockspace = self.resources[resource].lockspace;
            if let Some(space) = self.space_mut(lockspace) {
                space.locks += 1;
            }
            if is_delayed {
                self.resources[resource].delayed += u32::from(held.is_some_and(LockMode::is_fenced));
                self.counts.delayed += 1;
            }
            self.counts.converting += u64::from(queue == Queue::Conversion);
            self.counts.waiting += u64::from(queue == Queue::Waiting);
        }
    }
}
