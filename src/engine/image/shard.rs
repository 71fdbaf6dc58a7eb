//! The image of a shard: its numbers, its slabs, and in which order what is in them stands where (`links`).

use super::super::deadline::Deadlines;
use super::super::end::Ending;
use super::super::history::Recorder;
use super::super::input::End;
use super::super::limits::Limits;
use super::super::orphan::{Group, Orphans};
use super::super::path::Paths;
use super::super::planted::Planted;
use super::super::shard::{Attendance, Shard, Space, map};
use super::super::slab::Slab;
use super::super::time::Instant;
use super::super::tree::Tree;
use super::{Bad, Image, Reader, Writer, fields, variants};
use enq_protocol::vocabulary::{LockId, Seq};
use std::{cell::Cell, collections::VecDeque};

/// What the process that reads an image brings along: none of it is state.
#[derive(Clone, Copy, Debug)]
pub struct Local {
    /// The seed of the hash tables.
    pub hash_seed: u64,
    /// Memory for all that is kept, in bytes.
    pub memory: usize,
    /// Entries that a shard's flight recorder keeps; 0 for none.
    pub history: usize,
    /// The mistake that a test has planted.
    pub planted: Planted,
}

impl Local {
    /// These limits, with what this process may have.
    #[must_use]
    pub fn bounded(&self, limits: Limits) -> Limits {
        Limits { memory: self.memory, history: self.history, planted: self.planted, ..limits }
    }
}

// Where its locks are follows from its lists, and that it is sealed from its end.
fields! { Attendance { session, orphan_key; sealed: false, levels: Vec::new(), locks: 0 } }
fields! { Group { lockspace, orphan_key; levels: Vec::new(), locks: 0 } }
fields! { Space { policy; locks: 0, resources: 0 } }
variants! { End { 0 => ReleasedAll { invalidate }, 1 => Closed, 2 => Died } }
variants! {
    Ending {
        0 => Whole { session, end },
        1 => Under { root, session, invalidate, level, next },
    }
}

impl Shard {
    /// Writes all of it that later steps can depend on.
    pub fn put_image(&self, to: &mut Writer) {
        let Shard {
            number,
            limits,
            serial,
            now,
            epoch,
            grants,
            stamps,
            locks,
            resources,
            tree: _,
            attendances,
            sessions: _,
            spaces,
            deadlines,
            reasons: _,
            values: _,
            paths,
            orphans,
            endings,
            work,
            recovering,
            contended,
            search_due,
            entered,
            counts,
            history: _,
            beside: _,
            looked_at: _,
        } = self;
        assert!(work.is_empty() && entered.is_empty(), "a step leaves nothing to do");
        number.write(to);
        limits.write(to);
        serial.write(to);
        now.write(to);
        epoch.write(to);
        grants.write(to);
        stamps.write(to);
        recovering.write(to);
        search_due.write(to);
        counts.write(to);
        spaces.write(to);
        resources.put_image(to);
        locks.put_image(to);
        self.write_queues(to);
        contended.write(to);
        attendances.put_image(to);
        self.write_sessions(to);
        orphans.groups.put_image(to);
        self.write_orphans(to);
        paths.waiting.put_image(to);
        self.write_pins(to);
        Self::write_deadlines(deadlines, to);
        self.write_beside(to);
        endings.write(to);
    }

    /// How many locks there are to write.
    #[must_use]
    pub fn lock_count(&self) -> usize {
        self.locks.len() as usize
    }

    /// The last moment that it has seen.
    #[must_use]
    pub fn last_moment(&self) -> Instant {
        self.now
    }

    /// The shard with this image, which goes on as the one that was written.
    ///
    /// # Errors
    /// The bytes are not the image of a shard.
    pub fn from_image(from: &mut Reader<'_>, local: &Local) -> Result<Shard, Bad> {
        let seed = local.hash_seed;
        let mut shard = Shard {
            number: Image::read(from)?,
            limits: local.bounded(Image::read(from)?),
            serial: Image::read(from)?,
            now: Image::read(from)?,
            epoch: Image::read(from)?,
            grants: Image::read(from)?,
            stamps: Image::read(from)?,
            recovering: Image::read(from)?,
            search_due: Image::read(from)?,
            counts: Image::read(from)?,
            spaces: Image::read(from)?,
            resources: Slab::from_image(from, u32::MAX - 1)?,
            locks: Slab::from_image(from, LockId::SLOT_MAX)?,
            tree: Tree::new(seed),
            attendances: Slab::new(u32::MAX - 1),
            sessions: map(seed),
            deadlines: Deadlines::new(seed),
            reasons: map(seed),
            values: map(seed),
            paths: Paths::new(seed),
            orphans: Orphans::new(seed),
            endings: VecDeque::new(),
            work: VecDeque::new(),
            contended: Vec::new(),
            entered: Vec::new(),
            history: Recorder::new(local.history),
            beside: 0,
            looked_at: Cell::new(0),
        };
        from.ensure(shard.grants <= Seq::COUNTER_MAX, "an epoch that is more than used up")?;
        shard.place_resources(from)?;
        shard.place_locks(from)?;
        shard.read_queues(from)?;
        shard.read_contended(from)?;
        shard.attendances = Slab::from_image(from, u32::MAX - 1)?;
        shard.read_sessions(from)?;
        shard.orphans.groups = Slab::from_image(from, u32::MAX - 1)?;
        shard.read_orphans(from)?;
        shard.paths.waiting = Slab::from_image(from, u32::MAX - 1)?;
        shard.read_paths(from)?;
        shard.read_pins(from)?;
        shard.read_deadlines(from)?;
        shard.read_beside(from)?;
        shard.read_endings(from)?;
        shard.count_locks();
        shard.beside = shard.beside_counted();
        Ok(shard)
    }
}
