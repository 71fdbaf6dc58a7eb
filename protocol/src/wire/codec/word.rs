//! Words that several messages share: modes, flags, handles, paths, grants, policies.

use super::super::Fault;
use super::{
    reader::{Read, Reader},
    writer::Writer,
};
use crate::vocabulary::{
    ConversionDeadlock, Fence, Flags, Grant, Handle, LockId, LockMode, ModeSet, Owner, PathLevel, Policy,
    Queue, ResourceName, Seq, ValueBlock, VictimRule,
};
use alloc::{boxed::Box, vec::Vec};

/// A path has a root and at most 127 levels below it (rule T5).
pub(super) const LEVELS_MAX: usize = 128;

/// No mode, where there may be none.
const NO_MODE: u8 = 0xFF;

/// For ever, where a time to wait is given.
const FOR_EVER: u32 = u32::MAX;

/// Every flag there is.
const ALL_FLAGS: Flags = {
    let mut all = 0;
    let mut at = 0;
    while at < Flags::TABLE.len() {
        all |= Flags::TABLE[at].0.0;
        at += 1;
    }
    Flags(all)
};

/// The bits of a grant's outcome.
mod outcome {
    pub(super) const SYNC: u8 = 0x01;
    pub(super) const ALTMODE: u8 = 0x02;
    pub(super) const DEMOTED: u8 = 0x04;
    pub(super) const STORED: u8 = 0x08;
    pub(super) const VALUE: u8 = 0x10;
}

impl<'a> Reader<'a> {
    pub(super) fn mode(&mut self, field: &'static str) -> Read<LockMode> {
        let offset = self.offset();
        let number = self.u8(field)?;
        LockMode::from_number(number).ok_or_else(|| self.fail(field, offset, Fault::BadMode { number }))
    }

    pub(super) fn mode_or_none(&mut self, field: &'static str) -> Read<Option<LockMode>> {
        let offset = self.offset();
        match self.u8(field)? {
            NO_MODE => Ok(None),
            number => match LockMode::from_number(number) {
                Some(mode) => Ok(Some(mode)),
                None => Err(self.fail(field, offset, Fault::BadMode { number })),
            },
        }
    }

    /// The flags of a request: unknown ones are refused.
    pub(super) fn flags(&mut self) -> Read<Flags> {
        const FIELD: &str = "flags";
        let offset = self.offset();
        let flags = Flags(self.u32(FIELD)?);
        match flags.without(ALL_FLAGS) {
            Flags::NONE => Ok(flags),
            Flags(bits) => Err(self.fail(FIELD, offset, Fault::UnknownFlags { bits })),
        }
    }

    /// A handle that `missing` complains about if it is 0.
    pub(super) fn handle(&mut self, field: &'static str, missing: Fault) -> Read<Handle> {
        let offset = self.offset();
        Handle::new(self.u32(field)?).ok_or_else(|| self.fail(field, offset, missing))
    }

    /// A handle, or none for 0.
    pub(super) fn handle_or_none(&mut self, field: &'static str) -> Read<Option<Handle>> {
        self.u32(field).map(Handle::new)
    }

    pub(super) fn owner(&mut self) -> Read<Owner> {
        let offset = self.offset();
        match self.u8("owner scope")? {
            0 => Ok(Owner { scope: 0, token: self.u64("owner token")? }),
            scope => Err(self.fail("owner scope", offset, Fault::Reserved { value: u64::from(scope) })),
        }
    }

    /// How long to wait: never 0.
    pub(super) fn timeout(&mut self) -> Read<Option<u32>> {
        const FIELD: &str = "timeout";
        let offset = self.offset();
        match self.u32(FIELD)? {
            0 => Err(self.fail(FIELD, offset, Fault::Limit { value: 0 })),
            FOR_EVER => Ok(None),
            ms => Ok(Some(ms)),
        }
    }

    pub(super) fn resource_name(&mut self, field: &'static str) -> Read<ResourceName> {
        let offset = self.offset();
        let name = self.name(field)?;
        ResourceName::new(name).map_err(|_| self.fail(field, offset, Fault::BadName { len: name.len() }))
    }

    /// How many levels a path has: at least one, at most as many as a tree.
    pub(super) fn levels(&mut self, field: &'static str, item_len_min: usize) -> Read<usize> {
        let offset = self.offset();
        match usize::from(self.u16(field)?) {
            0 => Err(self.fail(field, offset, Fault::EmptyPath)),
            levels if levels > LEVELS_MAX => Err(self.fail(field, offset, Fault::TooDeep { levels })),
            levels if levels * item_len_min > self.left() => {
                let (need, have) = (levels * item_len_min, self.left());
                Err(self.fail(field, offset, Fault::Truncated { need, have }))
            }
            levels => Ok(levels),
        }
    }

    pub(super) fn path(&mut self) -> Read<Vec<ResourceName>> {
        let levels = self.levels("path", 3)?;
        let mut path = Vec::with_capacity(levels);
        for _ in 0..levels {
            path.push(self.resource_name("path")?);
        }
        Ok(path)
    }

    pub(super) fn queue(&mut self, field: &'static str) -> Read<Queue> {
        let offset = self.offset();
        match self.u8(field)? {
            0 => Ok(Queue::Granted),
            1 => Ok(Queue::Conversion),
            2 => Ok(Queue::Waiting),
            number => Err(self.fail(field, offset, Fault::BadChoice { number })),
        }
    }

    pub(super) fn value_block(&mut self) -> Read<ValueBlock> {
        let seq = self.u64("value seq")?;
        let valid = self.bool("value valid")?;
        let bytes = self.value("value")?.into();
        Ok(ValueBlock { bytes, seq, valid })
    }

    pub(super) fn grant(&mut self) -> Read<Grant> {
        let handle = self.handle("handle", Fault::NoSuchHandle)?;
        let lock = LockId(self.u64("lock")?);
        let mode = self.mode("mode")?;
        let offset = self.offset();
        let bits = self.u8("outcome")?;
        let unknown = bits & 0xE0;
        if unknown != 0 {
            return Err(self.fail("outcome", offset, Fault::UnknownFlags { bits: u32::from(unknown) }));
        }
        let seq = Seq(self.u64("seq")?);
        let fence = Fence(self.u64("fence")?);
        let value = if bits & outcome::VALUE != 0 { Some(Box::new(self.value_block()?)) } else { None };
        Ok(Grant {
            handle,
            lock,
            mode,
            seq,
            fence,
            synchronous: bits & outcome::SYNC != 0,
            alternate: bits & outcome::ALTMODE != 0,
            demoted: bits & outcome::DEMOTED != 0,
            stored: bits & outcome::STORED != 0,
            value,
        })
    }

    pub(super) fn path_levels(&mut self) -> Read<Vec<PathLevel>> {
        let levels = self.levels("levels", 14)?;
        let mut path = Vec::with_capacity(levels);
        for _ in 0..levels {
            path.push(PathLevel {
                handle: self.handle("level handle", Fault::NoSuchHandle)?,
                lock: LockId(self.u64("level lock")?),
                mode: self.mode("level mode")?,
                made: self.bool("level made")?,
            });
        }
        Ok(path)
    }

    /// A policy, whatever its numbers are.
    pub(super) fn policy(&mut self) -> Read<Policy> {
        let value_len_max = self.u16("value_len_max")?;
        let fair = self.bool("fair")?;
        let offset = self.offset();
        let conversion_deadlock = match self.u8("conversion_deadlock")? {
            0 => ConversionDeadlock::Immediate,
            1 => ConversionDeadlock::Timed,
            number => return Err(self.fail("conversion_deadlock", offset, Fault::BadChoice { number })),
        };
        let deadlock_wait_ms = self.u32("deadlock_wait_ms")?;
        let wait_ms_max = self.u32("wait_ms_max")?;
        let offset = self.offset();
        let bits = self.u8("modes")?;
        let modes = LockMode::ALL
            .into_iter()
            .filter(|mode| bits & mode_bit(*mode) != 0)
            .fold(ModeSet::EMPTY, ModeSet::with);
        let unknown = bits & 0xC0;
        if unknown != 0 {
            return Err(self.fail("modes", offset, Fault::UnknownFlags { bits: u32::from(unknown) }));
        }
        let reason_required = self.bool("reason_required")?;
        let lock_delay_ms = self.u32("lock_delay_ms")?;
        let offset = self.offset();
        let deadlock_victim = match self.u8("deadlock_victim")? {
            0 => VictimRule::Youngest,
            1 => VictimRule::FewestLocks,
            2 => VictimRule::ReportOnly,
            number => return Err(self.fail("deadlock_victim", offset, Fault::BadChoice { number })),
        };
        Ok(Policy {
            value_len_max,
            fair,
            conversion_deadlock,
            deadlock_wait_ms,
            wait_ms_max,
            modes,
            reason_required,
            lock_delay_ms,
            deadlock_victim,
        })
    }
}

/// The bit of a mode in a set of modes.
fn mode_bit(mode: LockMode) -> u8 {
    1 << mode as u8
}

impl Writer<'_> {
    pub(super) fn mode(&mut self, mode: LockMode) {
        self.u8(mode as u8);
    }

    pub(super) fn mode_or_none(&mut self, mode: Option<LockMode>) {
        self.u8(mode.map_or(NO_MODE, |mode| mode as u8));
    }

    pub(super) fn handle(&mut self, handle: Handle) {
        self.u32(handle.number());
    }

    pub(super) fn handle_or_none(&mut self, handle: Option<Handle>) {
        self.u32(handle.map_or(0, Handle::number));
    }

    pub(super) fn owner(&mut self, owner: Owner) {
        self.u8(owner.scope);
        self.u64(owner.token);
    }

    pub(super) fn timeout(&mut self, timeout_ms: Option<u32>) {
        self.u32(timeout_ms.unwrap_or(FOR_EVER));
    }

    pub(super) fn path(&mut self, path: &[ResourceName]) {
        self.list(path.iter(), |w, name| w.bytes(name.as_bytes()));
    }

    pub(super) fn value_block(&mut self, value: &ValueBlock) {
        self.u64(value.seq);
        self.bool(value.valid);
        self.bytes(&value.bytes);
    }

    pub(super) fn grant(&mut self, grant: &Grant) {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        self.handle(grant.handle);
        self.u64(grant.lock.0);
        self.mode(grant.mode);
        self.u8(bit(grant.synchronous, outcome::SYNC)
            | bit(grant.alternate, outcome::ALTMODE)
            | bit(grant.demoted, outcome::DEMOTED)
            | bit(grant.stored, outcome::STORED)
            | bit(grant.value.is_some(), outcome::VALUE));
        self.u64(grant.seq.0);
        self.u64(grant.fence.0);
        if let Some(value) = &grant.value {
            self.value_block(value);
        }
    }

    pub(super) fn path_levels(&mut self, levels: &[PathLevel]) {
        self.list(levels.iter(), |w, level| {
            w.handle(level.handle);
            w.u64(level.lock.0);
            w.mode(level.mode);
            w.bool(level.made);
        });
    }

    pub(super) fn policy(&mut self, policy: &Policy) {
        self.u16(policy.value_len_max);
        self.bool(policy.fair);
        self.u8(match policy.conversion_deadlock {
            ConversionDeadlock::Immediate => 0,
            ConversionDeadlock::Timed => 1,
        });
        self.u32(policy.deadlock_wait_ms);
        self.u32(policy.wait_ms_max);
        self.u8(policy.modes.iter().fold(0, |bits, mode| bits | mode_bit(mode)));
        self.bool(policy.reason_required);
        self.u32(policy.lock_delay_ms);
        self.u8(match policy.deadlock_victim {
            VictimRule::Youngest => 0,
            VictimRule::FewestLocks => 1,
            VictimRule::ReportOnly => 2,
        });
    }
}
