//! A slab in the state image: what is in it, and which slot and generation whatever comes next will get.

use super::super::image::{Bad, Image, Reader, Writer};
use super::{CHUNK_LEN, Note, Slab, Slot, chunk};

/// Only its number: whoever reads one asks whether it is live.
impl<T> Image for Slot<T> {
    fn write(&self, to: &mut Writer) {
        self.index().write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Slot<T>, Bad> {
        let index = u32::read(from)?;
        from.ensure(index < u32::MAX, "a slot behind the last")?;
        Ok(Slot::at(index))
    }
}

impl<T: Image> Slab<T> {
    /// Each chunk with its slots, then those that are open and those that were given back, in their order.
    pub(in super::super) fn put_image(&self, to: &mut Writer) {
        let Slab { chunks, notes, open, gone, chunks_max: _, there: _, empty: _, live: _, free: _ } = self;
        chunks.len().write(to);
        for (chunk, note) in chunks.iter().zip(notes) {
            let Note { free, live: _, generation: _ } = note;
            chunk.is_some().write(to);
            let Some(chunk) = chunk else { continue };
            to.fixed(&free.to_le_bytes());
            let live =
                chunk.iter().rev().fold(0_u64, |live, entry| live << 1 | u64::from(entry.value.is_some()));
            to.fixed(&live.to_le_bytes());
            for entry in chunk.iter() {
                entry.generation.write(to);
                if let Some(value) = &entry.value {
                    value.write(to);
                }
            }
        }
        // One that was given back is passed over when its turn comes, so it is no state that it is listed.
        let is_open = |number: &&u32| notes[**number as usize].free != 0;
        open.iter().filter(is_open).count().write(to);
        open.iter().filter(is_open).for_each(|number| number.write(to));
        gone.len().write(to);
        for number in gone {
            number.write(to);
            notes[*number as usize].generation.write(to);
        }
    }

    /// The same, with as many slots as it may have.
    pub(in super::super) fn from_image(from: &mut Reader<'_>, slots_max: u32) -> Result<Slab<T>, Bad> {
        let mut slab = Slab::new(slots_max);
        let chunks = from.count()?;
        from.ensure(chunks <= slab.chunks_max as usize, "more slots than there may be")?;
        for _ in 0..chunks {
            slab.read_chunk(from)?;
        }
        slab.read_open(from)?;
        slab.read_gone(from)?;
        Ok(slab)
    }

    fn read_chunk(&mut self, from: &mut Reader<'_>) -> Result<(), Bad> {
        if !bool::read(from)? {
            self.chunks.push(None);
            self.notes.push(Note { free: 0, live: 0, generation: u32::MAX });
            return Ok(());
        }
        let (free, live) = (u64::from_le_bytes(from.fixed()?), u64::from_le_bytes(from.fixed()?));
        from.ensure(free & live == 0, "a slot that is both free and live")?;
        from.ensure(from.left() >= CHUNK_LEN, "the end too early")?;
        let mut chunk = chunk(1);
        for (at, entry) in chunk.iter_mut().enumerate() {
            entry.generation = u32::read(from)?;
            from.ensure(entry.generation > 0, "a generation before the first")?;
            let is_live = live >> at & 1 == 1;
            let is_retired = !is_live && free >> at & 1 == 0;
            from.ensure(!is_retired || entry.generation == u32::MAX, "a slot that is retired too early")?;
            entry.value = is_live.then(|| T::read(from)).transpose()?;
        }
        self.chunks.push(Some(chunk));
        self.notes.push(Note { free, live: live.count_ones(), generation: 1 });
        self.there += 1;
        self.empty += u32::from(live == 0);
        self.live += live.count_ones();
        self.free += free.count_ones();
        Ok(())
    }

    /// Those with free slots, each once.
    fn read_open(&mut self, from: &mut Reader<'_>) -> Result<(), Bad> {
        let mut closed: Vec<bool> = self.notes.iter().map(|note| note.free == 0).collect();
        for _ in 0..from.count()? {
            let number = u32::read(from)?;
            let is_closed =
                closed.get_mut(number as usize).is_none_or(|closed| std::mem::replace(closed, true));
            from.ensure(!is_closed, "a chunk that is not open, or listed twice")?;
            self.open.push_back(number);
        }
        from.ensure(closed.into_iter().all(|closed| closed), "an open chunk that is not listed")
    }

    /// Those that were given back, each once; of the others that are not there, all slots are retired.
    fn read_gone(&mut self, from: &mut Reader<'_>) -> Result<(), Bad> {
        for _ in 0..from.count()? {
            let (number, generation) = (u32::read(from)?, u32::read(from)?);
            let is_there = self.chunks.get(number as usize).is_none_or(Option::is_some);
            from.ensure(!is_there && (1..u32::MAX).contains(&generation), "a chunk that was not given back")?;
            let note = &mut self.notes[number as usize];
            from.ensure(note.generation == u32::MAX, "a chunk that was given back twice")?;
            note.generation = generation;
            self.gone.push_back(number);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(slab: &Slab<u32>) -> Vec<u8> {
        let mut to = Writer::default();
        slab.put_image(&mut to);
        to.into_bytes()
    }

    fn taken(bytes: &[u8]) -> Result<Slab<u32>, Bad> {
        let mut from = Reader::new(bytes);
        let slab = Slab::from_image(&mut from, 1 << 20)?;
        from.end()?;
        Ok(slab)
    }

    /// Comes and goes by a fixed rule, and says which slots and generations it got.
    fn use_it(slab: &mut Slab<u32>, live: &mut Vec<Slot<u32>>, steps: u32) -> Vec<(u32, u32)> {
        let mut got = Vec::new();
        for step in 0..steps {
            let grows = (step / 900).is_multiple_of(2);
            if live.is_empty() || (grows && step % 7 != 0) || (!grows && step % 7 == 0) {
                let slot = slab.insert(step);
                got.push((slot.index(), slab.generation(slot)));
                live.push(slot);
            } else {
                let at = (step as usize).wrapping_mul(2_654_435_761) % live.len();
                slab.take(live.swap_remove(at));
            }
        }
        got
    }

    #[test]
    fn what_comes_later_gets_the_same_slots_and_generations() {
        for steps in [0, 1, 64, 500, 1_000, 1_900, 2_600, 3_500] {
            let (mut slab, mut live) = (Slab::new(1 << 20), Vec::new());
            use_it(&mut slab, &mut live, steps);
            let bytes = image(&slab);
            let mut again = taken(&bytes).unwrap();
            assert_eq!(image(&again), bytes);
            assert_eq!(
                (again.there, again.empty, again.live, again.free),
                (slab.there, slab.empty, slab.live, slab.free)
            );
            let mut live_again = live.clone();
            assert_eq!(use_it(&mut slab, &mut live, 4_000), use_it(&mut again, &mut live_again, 4_000));
            assert_eq!(image(&again), image(&slab));
        }
    }

    #[test]
    fn retired_slots_and_chunks_stay_retired() {
        let mut slab = Slab::new(1 << 20);
        let all: Vec<_> = (0..640).map(|number| slab.insert(number)).collect();
        slab.entry_mut(all[3]).generation = u32::MAX;
        slab.entry_mut(all[70]).generation = u32::MAX;
        slab.take(all[3]);
        // Four chunks go, and the one with the last generation goes for good.
        all[64..].iter().for_each(|slot| _ = slab.take(*slot));
        let (bytes, mut live) = (image(&slab), Vec::new());
        let mut again = taken(&bytes).unwrap();
        assert_eq!(image(&again), bytes);
        assert!(slab.gone.len() > 4 && slab.gone.iter().all(|number| *number != 1));
        let mut live_again = live.clone();
        assert_eq!(use_it(&mut slab, &mut live, 2_000), use_it(&mut again, &mut live_again, 2_000));
    }

    #[test]
    fn what_is_no_slab_is_refused() {
        let (mut slab, mut live) = (Slab::new(1 << 20), Vec::new());
        use_it(&mut slab, &mut live, 1_900);
        let bytes = image(&slab);
        for len in 0..bytes.len() {
            assert!(taken(&bytes[..len]).is_err(), "{len} bytes of {}", bytes.len());
        }
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xFF] {
                let mut bytes = bytes.clone();
                bytes[at] ^= flip;
                // Whatever is taken can be used, and is what was read.
                if let Ok(mut slab) = taken(&bytes) {
                    assert_eq!(image(&slab), bytes);
                    let mut live = slab.iter().map(|(slot, _)| slot).collect();
                    use_it(&mut slab, &mut live, 100);
                }
            }
        }
    }
}
