//! Rooms for locks, resources and the like: chunked, so that growing moves nothing, and with a generation a slot, so
//! that a number of yesterday is refused and not mistaken.
//!
//! A chunk is sixty-four slots, of which the lowest free one is used first: whoever comes finds the lines of the cache that
//! whoever went has left. A slot at its last generation is retired, and so is a chunk all of whose slots are: one slot
//! that is used a million times a second lasts for 71 minutes, the slots of a shard for decades. When a
//! chunk is empty and there are enough others, it is given back, but for the greatest generation that any of its slots
//! had: when it is needed again, all of them go on from there. What comes where depends on nothing but what was put in
//! and taken out. Nothing here knows what it stores.

mod image;

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::ops::{Index, IndexMut};

const CHUNK_BITS: u32 = 6;
const CHUNK_LEN: usize = 1 << CHUNK_BITS;

/// Empty chunks that are kept however few others there are; beyond that, one for each sixteen that are in use.
const EMPTY_KEPT: u32 = 2;

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

/// The slots of a chunk, all there from the beginning, so that a place among them needs no look at how many there are.
type Chunk<T> = Box<[Entry<T>; CHUNK_LEN]>;

/// All of them free and in this generation.
fn chunk<T>(generation: u32) -> Chunk<T> {
    let entries: Box<[Entry<T>]> = (0..CHUNK_LEN).map(|_| Entry { generation, value: None }).collect();
    entries.try_into().unwrap_or_else(|_| unreachable!("as many as a chunk has"))
}

/// What is known of a chunk.
#[derive(Clone)]
struct Note {
    /// The free slots, a bit each.
    free: u64,
    /// How many are in use.
    live: u32,
    /// With which generation its slots go on, if it was given back.
    generation: u32,
}

impl Note {
    /// The lowest free slot. There must be one.
    fn pop(&mut self) -> u32 {
        let at = self.free.trailing_zeros() % u64::BITS;
        self.free &= !(1 << at);
        self.live += 1;
        at
    }
}

/// A growing and shrinking set of `T`s, each named by its slot.
#[derive(Clone)]
pub(super) struct Slab<T> {
    chunks: Vec<Option<Chunk<T>>>,
    notes: Vec<Note>,
    /// Chunks with free slots, each once, in the order in which they came to it; and some that were given back since.
    open: VecDeque<u32>,
    /// Chunks that were given back.
    gone: VecDeque<u32>,
    chunks_max: u32,
    /// Chunks that are there, and those of them that are empty.
    there: u32,
    empty: u32,
    /// Slots that are in use, and free ones in chunks that are there.
    live: u32,
    free: u32,
}

impl<T> Slab<T> {
    /// An empty one that never has more than so many slots, in whole chunks.
    pub(super) fn new(slots_max: u32) -> Slab<T> {
        Slab {
            chunks: Vec::new(),
            notes: Vec::new(),
            open: VecDeque::new(),
            gone: VecDeque::new(),
            chunks_max: slots_max >> CHUNK_BITS,
            there: 0,
            empty: 0,
            live: 0,
            free: 0,
        }
    }

    /// How many are in it.
    pub(super) fn len(&self) -> u32 {
        self.live
    }

    /// No slot has this index or a greater one.
    pub(super) fn slots(&self) -> u32 {
        u32::try_from(self.chunks.len() << CHUNK_BITS).unwrap_or(u32::MAX)
    }

    /// Is there room for so many more?
    pub(super) fn has_room_for(&self, more: usize) -> bool {
        let chunks = self.chunks_max as usize - self.chunks.len() + self.gone.len();
        self.free as usize + chunks * CHUNK_LEN >= more
    }

    /// The bytes it has allocated, and will to note what is free: giving something up takes no memory.
    pub(super) fn bytes(&self) -> usize {
        self.there as usize * CHUNK_LEN * size_of::<Entry<T>>() + self.chunks.capacity() * Self::NOTED
    }

    /// What a chunk takes besides its slots: its place, what is known of it, and that it is open or gone.
    const NOTED: usize = size_of::<Option<Chunk<T>>>() + size_of::<Note>() + 2 * size_of::<u32>();

    /// The bytes it would allocate for so many more values; none if they find free slots.
    pub(super) fn growth(&self, more: usize) -> usize {
        let chunks = more.saturating_sub(self.free as usize).div_ceil(CHUNK_LEN);
        let places = self.chunks.len() + chunks.saturating_sub(self.gone.len());
        // The list of chunks moves into a room twice as large when it is full.
        let list = if places > self.chunks.capacity() { places.max(4) + self.chunks.capacity() } else { 0 };
        chunks * CHUNK_LEN * size_of::<Entry<T>>() + list * Self::NOTED
    }

    /// Puts a value into a free slot. There must be room.
    #[inline]
    pub(super) fn insert(&mut self, value: T) -> Slot<T> {
        let number = self.open_chunk();
        let note = &mut self.notes[number as usize];
        self.empty -= u32::from(note.live == 0);
        let slot = Slot::at(number << CHUNK_BITS | note.pop());
        if note.free == 0 {
            self.open.pop_front();
        }
        self.live += 1;
        self.free -= 1;
        let entry = self.entry_mut(slot);
        assert!(entry.value.is_none(), "a slot that is free is empty");
        entry.value = Some(value);
        slot
    }

    /// The first open chunk.
    #[inline]
    fn open_chunk(&mut self) -> u32 {
        match self.open.front() {
            Some(number) if self.notes[*number as usize].free != 0 => *number,
            _ => self.open_another(),
        }
    }

    /// One that has a free slot, or one that was given back, or a new one.
    #[cold]
    fn open_another(&mut self) -> u32 {
        while let Some(number) = self.open.front().copied() {
            if self.notes[number as usize].free != 0 {
                return number;
            }
            self.open.pop_front();
        }
        let number = self.gone.pop_front().unwrap_or_else(|| {
            let number = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
            assert!(number < self.chunks_max, "the caller has asked for room");
            self.chunks.push(None);
            self.notes.push(Note { free: 0, live: 0, generation: 1 });
            number
        });
        let note = &mut self.notes[number as usize];
        note.free = u64::MAX;
        self.chunks[number as usize] = Some(chunk(note.generation));
        self.open.push_back(number);
        self.there += 1;
        self.empty += 1;
        self.free += u64::BITS;
        number
    }

    /// Takes the value out; its slot gets a new generation and is free, or retired after the last one.
    pub(super) fn take(&mut self, slot: Slot<T>) -> T {
        let value = self.entry_mut(slot).value.take().expect("a slot that is named is live");
        self.vacate(slot);
        value
    }

    /// Drops the value; its slot is used again like that of one that was taken.
    #[inline]
    pub(super) fn remove(&mut self, slot: Slot<T>) {
        let entry = self.entry_mut(slot);
        assert!(entry.value.is_some(), "a slot that is named is live");
        entry.value = None;
        self.vacate(slot);
    }

    #[inline]
    fn vacate(&mut self, slot: Slot<T>) {
        let entry = self.entry_mut(slot);
        let next = entry.generation.checked_add(1);
        entry.generation = next.unwrap_or(u32::MAX);
        let (number, at) = place(slot.index());
        let note = &mut self.notes[number];
        note.live -= 1;
        self.live -= 1;
        if next.is_some() {
            if note.free == 0 {
                self.open.push_back(slot.index() >> CHUNK_BITS);
            }
            note.free |= 1 << at;
            self.free += 1;
        }
        if note.live == 0 {
            self.empty += 1;
            self.give_back(slot.index() >> CHUNK_BITS);
        }
    }

    /// Gives an empty chunk back, if there are enough others for what may come, or if none of its slots can be used again.
    #[inline]
    fn give_back(&mut self, number: u32) {
        let is_retired = self.notes[number as usize].free == 0;
        if self.empty > EMPTY_KEPT + (self.there - self.empty) / 16 || is_retired {
            self.drop_chunk(number);
        }
    }

    #[cold]
    fn drop_chunk(&mut self, number: u32) {
        let Some(chunk) = self.chunks[number as usize].take() else { return };
        self.there -= 1;
        self.empty -= 1;
        let note = &mut self.notes[number as usize];
        self.free -= std::mem::take(&mut note.free).count_ones();
        let greatest = chunk.iter().map(|entry| entry.generation).max().unwrap_or(u32::MAX);
        // A chunk with a slot at its last generation retires as a whole.
        if greatest < u32::MAX {
            note.generation = greatest;
            self.gone.push_back(number);
        }
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
        (0_u32..).zip(&self.chunks).filter_map(|(number, chunk)| Some((number, chunk.as_ref()?))).flat_map(
            |(number, chunk)| {
                let live = (0..).zip(chunk.iter());
                live.filter_map(move |(at, entry)| {
                    Some((Slot::at(number << CHUNK_BITS | at), entry.value.as_ref()?))
                })
            },
        )
    }

    fn entry(&self, index: u32) -> Option<&Entry<T>> {
        let (chunk, at) = place(index);
        Some(&self.chunks.get(chunk)?.as_ref()?[at])
    }

    fn entry_mut(&mut self, slot: Slot<T>) -> &mut Entry<T> {
        let (chunk, at) = place(slot.index());
        &mut self.chunks[chunk].as_mut().expect("a slot that is named is live")[at]
    }
}

/// The chunk of a slot and its place there.
fn place(index: u32) -> (usize, usize) {
    ((index >> CHUNK_BITS) as usize, index as usize % CHUNK_LEN)
}

impl<T> Index<Slot<T>> for Slab<T> {
    type Output = T;

    fn index(&self, slot: Slot<T>) -> &T {
        let (chunk, at) = place(slot.index());
        let chunk = self.chunks[chunk].as_ref().expect("a slot that is named is live");
        chunk[at].value.as_ref().expect("a slot that is named is live")
    }
}

impl<T> IndexMut<Slot<T>> for Slab<T> {
    fn index_mut(&mut self, slot: Slot<T>) -> &mut T {
        self.entry_mut(slot).value.as_mut().expect("a slot that is named is live")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_slot_comes_first_and_old_generations_are_refused() {
        let mut slab = Slab::new(u32::MAX);
        let slots: Vec<_> = (0..64).map(|_| slab.insert('a')).collect();
        let (low, high) = (slots[7], slots[50]);
        let old = slab.generation(low);
        slab.take(high);
        slab.take(low);
        assert_eq!(slab.find(low.index(), old), None);
        let again = slab.insert('d');
        assert_eq!(again.index(), low.index());
        assert!(slab.generation(again) > old);
        assert_eq!(slab.iter().filter(|(_, value)| **value == 'd').count(), 1);
        assert_eq!(slab.insert('e').index(), high.index());
    }

    #[test]
    fn a_chunk_of_retired_slots_is_given_back() {
        let mut slab = Slab::new(128);
        for _ in 0..64 {
            let slot = slab.insert(());
            assert_eq!(slot.index() >> CHUNK_BITS, 0);
            slab.entry_mut(slot).generation = u32::MAX;
            slab.take(slot);
        }
        assert_eq!((slab.there, slab.empty, slab.free), (0, 0, 0), "its memory is given back");
        assert!(slab.has_room_for(64) && !slab.has_room_for(65), "and its slots are used no more");
        assert_eq!(slab.insert(()).index(), 64);
    }

    #[test]
    fn free_slots_are_found_from_the_lowest_on() {
        let mut slab = Slab::new(128);
        let all: Vec<_> = (0..128).map(|_| slab.insert(())).collect();
        slab.take(all[3]);
        assert_eq!(slab.insert(()).index(), 3, "a chunk that was full has a free one again");
        for at in [40, 2, 9] {
            slab.take(all[at]);
        }
        assert_eq!([(); 3].map(|()| slab.insert(()).index()), [2, 9, 40]);
        for at in [1, 50] {
            slab.take(all[at]);
        }
        assert_eq!([(); 2].map(|()| slab.insert(()).index()), [1, 50]);
        assert!(!slab.has_room_for(1));
    }

    /// 64 slots of twelve bytes a chunk, and 32 bytes to note each, where an address has eight.
    #[test]
    fn room_and_memory_are_foretold_to_the_byte() {
        let mut slab: Slab<u32> = Slab::new(6 * 64);
        assert!(slab.has_room_for(6 * 64) && !slab.has_room_for(6 * 64 + 1));
        let (one, two) = (768 + 4 * 32, 2 * 768 + 4 * 32);
        assert_eq!([0, 1, 64, 65].map(|more| slab.growth(more)), [0, one, one, two]);
        let mut slots: Vec<_> = (0..4 * 64).map(|number| slab.insert(number)).collect();
        assert_eq!((slab.bytes(), slab.slots(), slab.len()), (4 * 768 + 4 * 32, 256, 256));
        assert!(slab.has_room_for(128) && !slab.has_room_for(129));
        assert_eq!(slab.growth(1), 768 + 9 * 32, "the full list of chunks moves into a larger room");
        slots.extend((0..2 * 64).map(|number| slab.insert(number)));
        assert_eq!((slab.bytes(), slab.growth(0)), (6 * 768 + 8 * 32, 0));
        for slot in slots {
            slab.take(slot);
        }
        assert_eq!((slab.bytes(), slab.there, slab.gone.len()), (2 * 768 + 8 * 32, 2, 4));
        assert!(slab.has_room_for(6 * 64) && !slab.has_room_for(6 * 64 + 1));
        assert_eq!([128, 129, 6 * 64].map(|more| slab.growth(more)), [0, 768, 4 * 768]);
    }

    #[test]
    fn a_slot_at_its_last_generation_is_retired() {
        let mut slab = Slab::new(64);
        let slot = slab.insert(());
        slab.entry_mut(slot).generation = u32::MAX;
        slab.take(slot);
        assert!(slab.has_room_for(63) && !slab.has_room_for(64));
        assert_eq!(slab.insert(()).index(), 1);
    }

    #[test]
    fn a_chunk_is_retired_with_its_slot_when_it_is_given_back() {
        let mut slab = Slab::new(4 * 64);
        let all: Vec<_> = (0..4 * 64).map(|_| slab.insert(())).collect();
        slab.entry_mut(all[200]).generation = u32::MAX;
        all.into_iter().for_each(|slot| slab.take(slot));
        assert_eq!((slab.there, slab.gone.len()), (2, 1));
        assert!(slab.has_room_for(3 * 64) && !slab.has_room_for(3 * 64 + 1));
    }

    #[test]
    fn one_empty_chunk_is_kept_for_sixteen_in_use_besides_two() {
        for (chunks, kept) in [(17, 16), (18, 17), (19, 19), (20, 20)] {
            let mut slab = Slab::new(u32::MAX);
            let all: Vec<_> = (0..chunks * 64).map(|_| slab.insert(())).collect();
            all.into_iter().take(3 * 64).for_each(|slot| slab.take(slot));
            assert_eq!(slab.there, kept, "of {chunks} three are empty");
        }
    }

    #[test]
    fn empty_chunks_are_given_back_and_generations_go_on() {
        let mut slab = Slab::new(u32::MAX);
        let empty = slab.bytes();
        let fill = |slab: &mut Slab<u64>| (0..6_400).map(|number| slab.insert(number)).collect::<Vec<_>>();
        let all = fill(&mut slab);
        let full = slab.bytes();
        let known: Vec<(u32, u32)> = all.iter().map(|slot| (slot.index(), slab.generation(*slot))).collect();
        all.into_iter().for_each(|slot| _ = slab.take(slot));
        assert!(slab.bytes() < full / 8 && empty == 0, "{} of {full} bytes are left", slab.bytes());
        assert!(slab.has_room_for(6_400) && slab.iter().next().is_none());
        let again = fill(&mut slab);
        assert_eq!(slab.bytes(), full, "the chunks that were given back are used again");
        assert!(again.iter().all(|slot| slab.iter().any(|(live, _)| live == *slot)));
        for (index, generation) in known {
            assert!(slab.find(index, generation).is_none(), "slot {index} is another one by now");
        }
    }

    /// A full chunk whose last free slot came and went was listed as open again each time, and never taken out.
    #[test]
    fn what_comes_and_goes_leaves_no_trace() {
        let mut slab = Slab::new(u32::MAX);
        let mut last = (0..128).map(|_| slab.insert(())).last().unwrap();
        for _ in 0..1_000 {
            slab.take(last);
            last = slab.insert(());
        }
        assert!(slab.open.len() <= 2, "{} chunks are said to be open", slab.open.len());
    }

    #[test]
    fn one_that_comes_and_goes_keeps_its_chunk() {
        let mut slab = Slab::new(u32::MAX);
        for _ in 0..1_000 {
            let slot = slab.insert(());
            assert_eq!((slab.there, slab.empty), (1, 0));
            slab.take(slot);
        }
        assert_eq!((slab.there, slab.empty, slab.free), (1, 1, 64));
    }
}
