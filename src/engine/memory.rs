//! What a shard takes of the memory, and what a new lock would add.
//!
//! Slabs and tables count with what they have allocated, not with what is in them: a free slot is memory that the next
//! lock takes without asking for more. What lies beside them (long names, value blocks, reasons, paths that wait) is
//! counted in where it comes and out where it goes.
//!
//! Nothing here refuses anything: whoever would not have the shard grow asks before he steps it.

use super::lock::{Mark, ResourceSlot};
use super::path::Path;
use super::resource::Resource;
use super::shard::{Attendance, Map, Shard};
use enq_protocol::vocabulary::{ResourceName, ValueBlock};

/// What the allocator adds to a small block, and up to what it rounds: about.
const GRAIN: usize = 16;

/// Names up to this length lie in the resource itself.
const INLINE_NAME_LEN: usize = 30;

/// A deadline in its tree, and its share of the tree's nodes.
const DEADLINE: usize = 64;

/// What a block of this length takes.
pub(super) fn block(len: usize) -> usize {
    if len == 0 { 0 } else { len.next_multiple_of(GRAIN) }
}

fn name(name: &ResourceName) -> usize {
    let len = name.as_bytes().len();
    if len <= INLINE_NAME_LEN { 0 } else { block(len) }
}

/// What a hash table of this length and allocation allocates for so many more entries of this size: when it is full it
/// moves into a room twice as large. Traces of removed entries may have it do so earlier; that is left to the reserve.
pub(super) fn doubling((len, allocated): (usize, usize), entry: usize, more: usize) -> usize {
    /// Each place has a byte besides, and the table a few more of them.
    const TRAILER: usize = 16;
    let places = allocated.saturating_sub(TRAILER) / (entry + 1);
    if len + more <= places * 7 / 8 { 0 } else { 2 * allocated + 8 * entry * more }
}

/// To which capacity a table of this length is to shrink, if it is worth the work: where a crowd has gone.
pub(super) fn smaller(len: usize, capacity: usize) -> Option<usize> {
    const WORTH: usize = 1_024;
    (capacity > WORTH && len < capacity / 8).then_some(capacity / 4)
}

/// Takes an entry out of a table, which gives room back when it is nearly empty.
pub(super) fn take<K: Eq + std::hash::Hash, V>(map: &mut Map<K, V>, of: &K) -> Option<V> {
    let value = map.remove(of);
    if let Some(capacity) = smaller(map.len(), map.capacity()) {
        map.shrink_to(capacity);
    }
    value
}

fn of_map<K: Eq + std::hash::Hash, V>(map: &Map<K, V>, more: usize) -> usize {
    doubling((map.len(), map.allocation_size()), size_of::<(K, V)>(), more)
}

impl Resource {
    /// What lies beside it as soon as somebody has waited.
    pub(super) fn beside_of_crowd(&self) -> usize {
        if self.has_crowd() { block(Resource::CROWD_LEN) } else { 0 }
    }

    /// What lies beside it.
    pub(super) fn beside(&self) -> usize {
        name(&self.name)
            + self.beside_of_crowd()
            + self.value.as_ref().map_or(0, |value| block(size_of::<ValueBlock>()) + block(value.bytes.len()))
    }
}

impl Path {
    /// What it takes while it waits, but for its place in its slab.
    pub(super) fn beside(&self) -> usize {
        /// Its entries in the four tables, the lists of who pins what included.
        const LEVEL: usize = 64;
        let names: usize = self.names().iter().map(|one| size_of::<ResourceName>() + name(one)).sum();
        names + self.handles.len() * LEVEL
    }
}

impl Attendance {
    /// What lies beside it.
    pub(super) fn beside(&self) -> usize {
        block(self.levels.capacity() * size_of::<super::lock::List>())
    }
}

impl Shard {
    /// The bytes that this shard has allocated, about. Costs a few additions.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Shard>()
            + self.locks.bytes()
            + self.resources.bytes()
            + self.attendances.bytes()
            + self.paths.waiting.bytes()
            + self.orphans.bytes()
            + self.tree.bytes()
            + self.sessions.allocation_size()
            + self.reasons.allocation_size()
            + self.values.allocation_size()
            + self.deadlines.bytes(DEADLINE)
            + self.history.bytes()
            + self.beside
    }

    /// The bytes that new locks on resources of these names would have this shard allocate at most; none if there is
    /// room for all of them.
    #[must_use]
    pub fn growth(&self, names: &[ResourceName], reason: &[u8]) -> usize {
        let new = names.len();
        self.locks.growth(new)
            + self.resources.growth(new)
            + self.attendances.growth(1)
            + self.tree.growth(new)
            + of_map(&self.sessions, 1)
            + if reason.is_empty() { 0 } else { of_map(&self.reasons, new) }
            + names.iter().map(name).sum::<usize>()
            + new * block(reason.len())
    }

    /// What lies beside slabs and tables, counted anew.
    pub(super) fn beside_counted(&self) -> usize {
        let of_locks = |(slot, lock): (_, &super::lock::Lock)| {
            let reason = lock.marks.has(Mark::Reason).then(|| self.reasons.get(&slot)).flatten();
            let value = lock.marks.has(Mark::Value).then(|| self.values.get(&slot)).flatten();
            reason.map_or(0, |reason| block(reason.len())) + value.map_or(0, |value| block(value.len()))
        };
        self.resources.iter().map(|(_, resource)| resource.beside()).sum::<usize>()
            + self.attendances.iter().map(|(_, attendance)| attendance.beside()).sum::<usize>()
            + self.paths.waiting.iter().map(|(_, path)| path.beside()).sum::<usize>()
            + self.locks.iter().map(of_locks).sum::<usize>()
    }

    /// Does something with a resource that may change what lies beside it.
    pub(super) fn with_value<T>(
        &mut self,
        resource: ResourceSlot,
        change: impl FnOnce(&mut ValueBlock) -> T,
    ) -> T {
        let resource = &mut self.resources[resource];
        let before = resource.beside();
        let result = change(resource.value.get_or_insert_default());
        self.beside = self.beside + resource.beside() - before;
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Ask, Input, Instant, Limits, LockRef, Said, Under};
    use enq_protocol::vocabulary::{Flags, Handle, LockMode, LockspaceId, Owner, SessionId};

    fn enq(shard: &mut Shard, number: u32, text: &[u8]) -> Said {
        let name = ResourceName::new(text).unwrap();
        let ask = Ask {
            session: SessionId(1),
            mode: LockMode::Ex,
            flags: Flags::NONE,
            owner: Owner::default(),
            timeout_ms: None,
            priority: 0,
            reason: b"because it must be",
        };
        let under = Under::Lockspace(LockspaceId(0));
        let mut out = Vec::new();
        let handle = Handle::new(number).unwrap();
        shard.step(Instant(1), Input::Enq { ask, handle, under, name: &name }, &mut out);
        out.remove(0).said
    }

    #[test]
    fn what_is_allocated_is_what_was_foretold_at_most() {
        let mut shard = Shard::new(0, Limits::default(), 1, 7);
        let mut locks = Vec::new();
        for number in 1..2_000 {
            let text = format!("{number:0100}");
            let name = [ResourceName::new(text.as_bytes()).unwrap()];
            let (before, growth) = (shard.bytes(), shard.growth(&name, b"because it must be"));
            let Said::Granted(grant) = enq(&mut shard, number, text.as_bytes()) else { panic!("granted") };
            locks.push(grant.lock);
            let grown = shard.bytes() - before;
            // The lists of a session's levels and of slabs' chunks are not foretold.
            assert!(grown <= growth + 1_024, "{number}: {grown} > {growth}");
        }
        assert_eq!(shard.check(), Ok(()));
        let full = shard.bytes();
        for lock in locks {
            let (flags, value) = (Flags::NONE, None);
            let input = Input::Deq { session: SessionId(1), lock: LockRef::Id(lock), flags, value };
            shard.step(Instant(2), input, &mut Vec::new());
        }
        assert!(shard.bytes() < full / 6, "{} of {full} bytes are left when a crowd has gone", shard.bytes());
        let short = [ResourceName::new(b"short").unwrap()];
        assert_eq!(shard.growth(&short, b""), 0, "a free slot needs no memory");
        assert_eq!(shard.check(), Ok(()));
    }
}
