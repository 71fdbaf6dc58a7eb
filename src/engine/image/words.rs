//! The words of the vocabulary, and time.

use super::super::limits::Limits;
use super::super::planted::Planted;
use super::super::time::Instant;
use super::{Bad, Image, Reader, Writer, fields, variants};
use enq_protocol::vocabulary::{
    ConversionDeadlock, Fence, Flags, Grant, Handle, LockId, LockMode, LockspaceId, LockspaceView, ModeSet,
    Owner, PathLevel, Place, Policy, ResourceName, Seq, Serial, SessionId, Stamp, Statistics, Status,
    ValueBlock, VictimRule,
};

macro_rules! wrapped {
    ($($word:ident),+) => {
        $(impl Image for $word {
            fn write(&self, to: &mut Writer) {
                self.0.write(to);
            }

            fn read(from: &mut Reader<'_>) -> Result<Self, Bad> {
                Ok($word(Image::read(from)?))
            }
        })+
    };
}

wrapped!(Fence, Flags, Instant, LockspaceId, Place, Seq, Serial, SessionId, Stamp, Status);

/// Its three parts, for together they are always ten bytes.
impl Image for LockId {
    fn write(&self, to: &mut Writer) {
        self.shard().write(to);
        self.slot().write(to);
        self.generation().write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<LockId, Bad> {
        let (shard, slot) = (u8::read(from)?, u32::read(from)?);
        from.ensure(slot <= LockId::SLOT_MAX, "a slot that no shard has")?;
        Ok(LockId::new(shard, slot, u32::read(from)?))
    }
}

impl Image for Handle {
    fn write(&self, to: &mut Writer) {
        self.number().write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Handle, Bad> {
        Handle::new(Image::read(from)?).ok_or_else(|| from.wrong("a handle that is 0"))
    }
}

impl Image for LockMode {
    fn write(&self, to: &mut Writer) {
        to.byte(*self as u8);
    }

    fn read(from: &mut Reader<'_>) -> Result<LockMode, Bad> {
        LockMode::from_number(from.byte()?).ok_or_else(|| from.wrong("a number that is no mode"))
    }
}

/// A bit for each mode.
impl Image for ModeSet {
    fn write(&self, to: &mut Writer) {
        to.byte(self.iter().fold(0, |set, mode| set | 1 << mode as u8));
    }

    fn read(from: &mut Reader<'_>) -> Result<ModeSet, Bad> {
        let set = from.byte()?;
        from.ensure(set < 1 << LockMode::ALL.len(), "a set of what is no mode")?;
        let modes = LockMode::ALL.into_iter().filter(|mode| set & 1 << *mode as u8 != 0);
        Ok(modes.fold(ModeSet::EMPTY, ModeSet::with))
    }
}

impl Image for ResourceName {
    fn write(&self, to: &mut Writer) {
        to.counted(self.as_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Result<ResourceName, Bad> {
        ResourceName::new(from.counted()?).map_err(|_| from.wrong("bytes that are no name"))
    }
}

fields! { Owner { scope, token } }
fields! { ValueBlock { bytes, seq, valid } }
fields! { PathLevel { handle, lock, mode, made } }
fields! { Grant { handle, lock, mode, seq, fence, synchronous, alternate, demoted, stored, value } }
fields! { LockspaceView { lockspace, name, version, policy, locks, resources } }
fields! {
    Policy {
        value_len_max, fair, conversion_deadlock, deadlock_wait_ms, wait_ms_max, modes, reason_required, lock_delay_ms,
        deadlock_victim
    }
}
variants! { ConversionDeadlock { 0 => Immediate, 1 => Timed } }
variants! { VictimRule { 0 => Youngest, 1 => FewestLocks, 2 => ReportOnly } }

// What a shard counts. Gauges are derived or belong to the table.
fields! {
    Statistics {
        enq_new, enq_converted, deq, blocking_ast, enq_forced_to_wait, enq_not_queued, deadlock_search, deadlock_find,
        timeouts;
        locks: 0, resources: 0, converting: 0, waiting: 0, sessions: 0, delayed: 0, recovering_ms: 0
    }
}

// Those that decide how something comes out; the others are the process's own (`Local::bounded`).
fields! {
    Limits {
        waiting_a_resource, locks_a_session, waiting_a_session, name_len, depth, value_len;
        memory: Limits::default().memory, history: 0, planted: Planted::NONE
    }
}
