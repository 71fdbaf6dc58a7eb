//! The names of resources: finding one, making one, letting the unused ones go (rules T1, T2).
//!
//! A root is named by its lockspace and name, a subresource by its parent resource and name. The index holds slots
//! only; its order never reaches an output.

use super::lock::ResourceSlot;
use super::memory::{doubling, smaller};
use super::planted::Mistake;
use super::resource::Resource;
use super::shard::Shard;
use super::slab::Slab;
use enq_protocol::vocabulary::{LockspaceId, ResourceName};
use foldhash::fast::FixedState;
use hashbrown::{HashTable, hash_table::Entry};
use std::hash::{BuildHasher as _, Hasher as _};

/// Under what a resource is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Above {
    Lockspace(LockspaceId),
    Resource(ResourceSlot),
}

impl Resource {
    fn above(&self) -> Above {
        self.parent.map_or(Above::Lockspace(self.lockspace), Above::Resource)
    }
}

/// The index of a shard's resources.
#[derive(Clone)]
pub(super) struct Tree {
    index: HashTable<ResourceSlot>,
    hash: FixedState,
}

impl Tree {
    pub(super) fn new(seed: u64) -> Tree {
        Tree { index: HashTable::new(), hash: FixedState::with_seed(seed) }
    }

    pub(super) fn find(&self, resources: &Slab<Resource>, above: Above, name: &[u8]) -> Option<ResourceSlot> {
        let is_it = |slot: &ResourceSlot| {
            let resource = &resources[*slot];
            resource.name.as_bytes() == name && resource.above() == above
        };
        self.index.find(hash_of(&self.hash, above, name), is_it).copied()
    }

    /// The bytes it has allocated.
    pub(super) fn bytes(&self) -> usize {
        self.index.allocation_size()
    }

    /// The bytes it would allocate for so many more names.
    pub(super) fn growth(&self, more: usize) -> usize {
        let state = (self.index.len(), self.index.allocation_size());
        doubling(state, size_of::<ResourceSlot>(), more)
    }

    /// The resource with this name, or what makes its place in the index.
    fn entry(&mut self, resources: &Slab<Resource>, above: Above, name: &[u8]) -> Entry<'_, ResourceSlot> {
        let hash = &self.hash;
        let is_it = |slot: &ResourceSlot| {
            let resource = &resources[*slot];
            resource.name.as_bytes() == name && resource.above() == above
        };
        let rehash = |slot: &ResourceSlot| {
            let resource = &resources[*slot];
            hash_of(hash, resource.above(), resource.name.as_bytes())
        };
        self.index.entry(hash_of(hash, above, name), is_it, rehash)
    }

    /// Makes room for so many names.
    pub(super) fn reserve(&mut self, names: usize) {
        self.index.reserve(names, |_| unreachable!("an empty index has nothing to move"));
    }

    /// Enters a resource that is there already; false if there is another one with its name.
    pub(super) fn insert_new(&mut self, resources: &Slab<Resource>, slot: ResourceSlot) -> bool {
        let resource = &resources[slot];
        match self.entry(resources, resource.above(), resource.name.as_bytes()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(slot);
                true
            }
        }
    }

    fn remove(&mut self, resources: &Slab<Resource>, slot: ResourceSlot) {
        let resource = &resources[slot];
        let hash = hash_of(&self.hash, resource.above(), resource.name.as_bytes());
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == slot) {
            entry.remove();
        }
        if let Some(capacity) = smaller(self.index.len(), self.index.capacity()) {
            self.shrink(resources, capacity);
        }
    }

    #[cold]
    fn shrink(&mut self, resources: &Slab<Resource>, capacity: usize) {
        let hash = &self.hash;
        self.index.shrink_to(capacity, |slot| {
            let resource = &resources[*slot];
            hash_of(hash, resource.above(), resource.name.as_bytes())
        });
    }
}

fn hash_of(hash: &FixedState, above: Above, name: &[u8]) -> u64 {
    let mut hasher = hash.build_hasher();
    hasher.write_u64(match above {
        Above::Lockspace(lockspace) => u64::from(lockspace.0),
        Above::Resource(slot) => 1 << u32::BITS | u64::from(slot.index()),
    });
    hasher.write(name);
    hasher.finish()
}

impl Shard {
    /// The resource with this name, made if there is none.
    pub(super) fn resource_named(
        &mut self,
        lockspace: LockspaceId,
        above: Above,
        depth: u8,
        name: &ResourceName,
    ) -> ResourceSlot {
        let place = match self.tree.entry(&self.resources, above, name.as_bytes()) {
            Entry::Occupied(found) => return *found.get(),
            Entry::Vacant(place) => place,
        };
        let parent = match above {
            Above::Lockspace(_) => None,
            Above::Resource(parent) => Some(parent),
        };
        if let Some(parent) = parent {
            self.resources[parent].subresources += 1;
        }
        let resource = Resource::new(name.clone(), lockspace, parent, depth);
        self.beside += resource.beside();
        let slot = self.resources.insert(resource);
        place.insert(slot);
        if let Some(space) = self.space_mut(lockspace) {
            space.resources += 1;
        }
        slot
    }

    /// Lets a resource go if nothing needs it, and then those above it.
    pub(super) fn drop_unused(&mut self, resource: ResourceSlot) {
        let mut next = Some(resource);
        while let Some(slot) = next {
            let resource = &self.resources[slot];
            if !resource.is_unused() || resource.to_sweep {
                return;
            }
            let Resource { parent, lockspace, .. } = *resource;
            self.beside -= resource.beside();
            self.tree.remove(&self.resources, slot);
            if self.limits.planted.is(Mistake::CounterStartsOver) {
                self.grants = 0;
            }
            self.resources.remove(slot);
            if let Some(parent) = parent {
                self.resources[parent].subresources -= 1;
            }
            if let Some(space) = self.space_mut(lockspace) {
                space.resources -= 1;
            }
            next = parent;
        }
    }

    /// The resource with this path, root first.
    pub(super) fn resource_at(&self, lockspace: LockspaceId, path: &[ResourceName]) -> Option<ResourceSlot> {
        let mut above = Above::Lockspace(lockspace);
        let mut found = None;
        for name in path {
            let slot = self.tree.find(&self.resources, above, name.as_bytes())?;
            found = Some(slot);
            above = Above::Resource(slot);
        }
        found
    }

    /// The names of a resource and those above it, root first.
    pub(super) fn path_of(&self, resource: ResourceSlot) -> Vec<ResourceName> {
        let up = std::iter::successors(Some(resource), |slot| self.resources[*slot].parent);
        let mut path: Vec<_> = up.map(|slot| self.resources[slot].name.clone()).collect();
        path.reverse();
        path
    }
}
