//! Rooms for locks, resources and the like: chunked, so that growing moves nothing, and with a generation a slot, so
//! that a number of yesterday is refused and not mistaken.
//!
//! Free slots are used again first in, first out, which keeps generations low and the order of a history exact. A slot
//! at its last generation is retired. Nothing here knows what it stores.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::ops::{Index, IndexMut};

const CHUNK_BITS: u32 = 6;
const CHUNK_LEN: usize = 1 << CHUNK_BITS;

/// A place in a [`Slab`] of `T`. An `Option` of it takes no more room than itself.
pub(super) struct Slot<T> {
    number: NonZeroU32,
    of: PhantomData<fn() -> T>,
}

impl<T> Slot<T> {
    fn at(index: u32) -> Slot<T> {
        Slot { number: NonZeroU32::MIN.saturating_add(index), of: PhantomData }
    }

    /// Its number from 0, as it stands in a lock id.
    pub(super) fn index(self) -> u32 {
        self.number.get() - 1
    }
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Slot<T> {}

impl<T> PartialEq for Slot<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<T> Eq for Slot<T> {}

impl<T> std::hash::Hash for Slot<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

impl<T> std::fmt::Debug for Slot<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "slot {}", self.index())
    }
}

#[derive(Clone)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

/// All of its slots are there from the beginning, so that a place in it needs no look at how many there are.
type Chunk<T> = Box<[Entry<T>; CHUNK_LEN]>;

fn chunk<T>() -> Chunk<T> {
    let slots: Box<[Entry<T>]> = (0..CHUNK_LEN).map(|_| Entry { generation: 1, value: None }).collect();
    slots.try_into().unwrap_or_else(|_| unreachable!("as many slots were made as a chunk has"))
}

/// A growing set of `T`s, each named by its slot.
#[derive(Clone)]
pub(super) struct Slab<T> {
    chunks: Vec<Chunk<T>>,
    free: VecDeque<u32>,
    slots: u32,
    slots_max: u32,
    live: u32,
}

impl<T> Slab<T> {
    /// An empty one that never has more than so many slots.
    pub(super) fn new(slots_max: u32) -> Slab<T> {
        Slab { chunks: Vec::new(), free: VecDeque::new(), slots: 0, slots_max, live: 0 }
    }

    /// How many are in it.
    pub(super) fn len(&self) -> u32 {
        self.live
    }

    /// How many slots there ever were; slots from here on are empty.
    pub(super) fn slots(&self) -> u32 {
        self.slots
    }

    /// Is there room for so many more?
    pub(super) fn has_room_for(&self, more: usize) -> bool {
        let unused = u64::from(self.slots_max - self.slots) + self.free.len() as u64;
        unused >= more as u64
    }

    /// The bytes it has allocated, with room to note every slot as free: giving something up takes no memory.
    pub(super) fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK_LEN * size_of::<Entry<T>>()
            + self.chunks.capacity() * size_of::<Chunk<T>>()
            + self.slots as usize * size_of::<u32>()
    }

    /// The bytes it would allocate for so many more values; none if they find free slots.
    pub(super) fn growth(&self, more: usize) -> usize {
        let unused = self.chunks.len() * CHUNK_LEN - self.slots as usize + self.free.len();
        let chunk = CHUNK_LEN * (size_of::<Entry<T>>() + size_of::<u32>());
        more.saturating_sub(unused).div_ceil(CHUNK_LEN) * chunk
    }

    /// Puts a value into the oldest free slot. There must be room.
    pub(super) fn insert(&mut self, value: T) -> Slot<T> {
        self.live += 1;
        if let Some(index) = self.free.pop_front() {
            self.entry_mut(index).value = Some(value);
            return Slot::at(index);
        }
        assert!(self.slots < self.slots_max, "the caller has asked for room");
        let index = self.slots;
        self.slots += 1;
        if (index as usize).is_multiple_of(CHUNK_LEN) {
            self.chunks.push(chunk());
        }
        self.entry_mut(index).value = Some(value);
        Slot::at(index)
    }

    /// Takes the value out; its slot gets a new generation and is free, or retired after the last one.
    pub(super) fn take(&mut self, slot: Slot<T>) -> T {
        let entry = self.entry_mut(slot.index());
        let value = entry.value.take().expect("a slot that is named is live");
        if let Some(next) = entry.generation.checked_add(1) {
            entry.generation = next;
            self.free.push_back(slot.index());
        }
        self.live -= 1;
        value
    }

    /// Which life of the slot this is.
    pub(super) fn generation(&self, slot: Slot<T>) -> u32 {
        self.entry(slot.index()).map_or(0, |entry| entry.generation)
    }

    /// The slot with this index, if it is live and in this generation.
    pub(super) fn find(&self, index: u32, generation: u32) -> Option<Slot<T>> {
        let entry = self.entry(index)?;
        (entry.generation == generation && entry.value.is_some()).then(|| Slot::at(index))
    }

    /// The slot with this index, if it is live.
    pub(super) fn live_at(&self, index: u32) -> Option<Slot<T>> {
        self.entry(index)?.value.is_some().then(|| Slot::at(index))
    }

    /// All live slots, by index.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot<T>, &T)> {
        (0..self.slots).filter_map(|index| Some((Slot::at(index), self.entry(index)?.value.as_ref()?)))
    }

    fn entry(&self, index: u32) -> Option<&Entry<T>> {
        Some(&self.chunks.get((index >> CHUNK_BITS) as usize)?[index as usize % CHUNK_LEN])
    }

    fn entry_mut(&mut self, index: u32) -> &mut Entry<T> {
        &mut self.chunks[(index >> CHUNK_BITS) as usize][index as usize % CHUNK_LEN]
    }
}

impl<T> Index<Slot<T>> for Slab<T> {
    type Output = T;

    fn index(&self, slot: Slot<T>) -> &T {
        let entry = &self.chunks[(slot.index() >> CHUNK_BITS) as usize][slot.index() as usize % CHUNK_LEN];
        entry.value.as_ref().expect("a slot that is named is live")
    }
}

impl<T> IndexMut<Slot<T>> for Slab<T> {
    fn index_mut(&mut self, slot: Slot<T>) -> &mut T {
        self.entry_mut(slot.index()).value.as_mut().expect("a slot that is named is live")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_used_again_oldest_first_and_old_generations_are_refused() {
        let mut slab = Slab::new(u32::MAX);
        let a = slab.insert('a');
        let b = slab.insert('b');
        let old = slab.generation(a);
        slab.take(a);
        slab.take(b);
        assert_eq!(slab.find(a.index(), old), None);
        let c = slab.insert('c');
        assert_eq!(c.index(), a.index());
        assert!(slab.generation(c) > old);
        assert_eq!(slab.iter().map(|(_, v)| *v).collect::<String>(), "c");
    }

    #[test]
    fn a_slot_at_its_last_generation_is_retired() {
        let mut slab = Slab::new(2);
        let slot = slab.insert(());
        slab.entry_mut(slot.index()).generation = u32::MAX;
        slab.take(slot);
        assert!(slab.has_room_for(1) && !slab.has_room_for(2));
        assert_eq!(slab.insert(()).index(), 1);
    }
}
