//! CONVERT: a granted lock asks for another mode (rules C1-C6 of `docs/locking.md`).
//!
//! A conversion that fails leaves the lock as it was, value block, flags and all.

use super::compat::Fit;
use super::grant::{From, may_convert};
use super::input::LockRef;
use super::lock::{At, Lock, LockSlot, Mark, Which};
use super::output::{Output, Said};
use super::planted::Mistake;
use super::shard::Shard;
use super::value_block::{Cell, is_writer, movement};
use enq_protocol::vocabulary::{
    ConversionDeadlock, Fence, Flags, Happened, LockMode, ModeSet, Policy, SessionId, Status,
};

/// What a conversion asks for.
pub(super) struct Asked<'a> {
    pub(super) mode: LockMode,
    pub(super) flags: Flags,
    pub(super) timeout_ms: Option<u32>,
    pub(super) priority: u8,
    pub(super) value: Option<&'a [u8]>,
}

const Y: bool = true;
#[expect(non_upper_case_globals, reason = "a table of Y and n reads like the one in the document")]
const n: bool = false;

/// C3: the conversions to which QUECVT is legal.
#[rustfmt::skip]
const QUECVT_IS_LEGAL: [[bool; 6]; 6] = [
    // wanted:  NL CR CW PR PW EX
    /* NL */  [ n, Y, Y, Y, Y, Y ],
    /* CR */  [ n, n, Y, Y, Y, Y ],
    /* CW */  [ n, n, n, Y, Y, Y ],
    /* PR */  [ n, n, Y, n, Y, Y ],
    /* PW */  [ n, n, n, n, n, Y ],
    /* EX */  [ n, n, n, n, n, n ],
];

/// R2: the flags, the value and the timeout of a conversion, whatever lock it is for.
fn check_words(asked: &Asked<'_>, policy: &Policy) -> Result<(), Status> {
    let flags = asked.flags;
    let noqueue = flags.contains(Flags::NOQUEUE);
    let value_len = asked.value.map_or(0, <[u8]>::len);
    let is_bad = !Flags::OF_CONVERT.contains(flags)
        || (flags.contains(Flags::NOQUEUEBAST) && !noqueue)
        || (flags.contains(Flags::CONVDEADLK) && noqueue)
        || flags.contains(Flags::IVVALBLK | Flags::VALBLK)
        || (asked.value.is_some() && !flags.contains(Flags::VALBLK))
        || value_len > usize::from(policy.value_len_max);
    if is_bad {
        return Err(Status::BadParam);
    }
    if asked.timeout_ms == Some(0) { Err(Status::Limit) } else { Ok(()) }
}

impl Shard {
    pub(super) fn convert(
        &mut self,
        session: SessionId,
        lock: LockRef,
        asked: &Asked<'_>,
        out: &mut Vec<Output>,
    ) {
        self.counts.enq_converted += 1;
        let (slot, held, flags) = match self.check_conversion(session, lock, asked) {
            Ok(checked) => checked,
            Err(status) => return Self::refuse(session, status, out),
        };
        let resource = self.locks[slot].resource;
        if let Some(fit) = may_convert(&self.resources[resource], held, asked.mode, flags) {
            return self.convert_in_place(session, slot, fit, flags, asked, out);
        }
        // G6: NOQUEUE comes before the deadlock test, so it is never answered DEADLOCK.
        if flags.contains(Flags::NOQUEUE) {
            let (blocker, waiting) = self.blocker(resource, Some(slot), asked.mode);
            self.not_queued(session, blocker, waiting, out);
            if flags.contains(Flags::NOQUEUEBAST) {
                self.notices_of_refusal(resource, Some(slot), asked.mode, out);
            }
            return;
        }
        let closes_a_cycle = self.closes_a_cycle(slot, held, asked.mode, flags);
        // C5: a demotion instead of a refusal, but a writer would lose what it wrote.
        let may_demote = flags.contains(Flags::CONVDEADLK) && !is_writer(Some(held));
        if closes_a_cycle && !may_demote {
            self.counts.deadlock_find += 1;
            return Self::refuse(session, Status::Deadlock, out);
        }
        // Q2: the queues have an end.
        if self.resources[resource].queued() >= self.limits.waiting_a_resource {
            return Self::refuse(session, Status::ResourceExhausted, out);
        }
        if closes_a_cycle {
            self.counts.deadlock_find += 1;
            self.demote(slot, out);
            if let Some(fit) = may_convert(&self.resources[resource], LockMode::Nl, asked.mode, flags) {
                return self.convert_in_place(session, slot, fit, flags, asked, out);
            }
        }
        self.queue_conversion(slot, flags, asked);
        let said = Said::Queued { handle: self.locks[slot].handle, lock: self.id_of(slot) };
        out.push(Output { session, said });
    }

    /// The checks of a conversion, in the order of R2. The flags come back with QUECVT where a fair lockspace adds it.
    fn check_conversion(
        &self,
        session: SessionId,
        lock: LockRef,
        asked: &Asked<'_>,
    ) -> Result<(LockSlot, LockMode, Flags), Status> {
        let slot = self.resolve(session, lock);
        let (lockspace, at) = match slot {
            Some(slot) => {
                let Lock { at, resource, .. } = self.locks[slot];
                (self.resources[resource].lockspace, Some(at))
            }
            None => {
                let path = self.path_under_way(session, lock, None).ok_or(Status::NoSuchLock)?;
                (self.paths.waiting[path].lockspace, None)
            }
        };
        let policy = &self.space(lockspace).ok_or(Status::NoSuchSpace)?.policy;
        check_words(asked, policy)?;
        let flags = asked.flags;
        // C1: only from the granted queue. P5: a level not asked for yet is not granted either.
        let (Some(slot), Some(At::Granted { granted: held })) = (slot, at) else {
            return Err(Status::NotGranted);
        };
        // C3: only certain pairs can queue behind others.
        let may_queue = QUECVT_IS_LEGAL[held as usize][asked.mode as usize];
        let misses_a_value = flags.contains(Flags::VALBLK)
            && asked.value.is_none()
            && movement(Some(held), asked.mode) == Cell::Store;
        if (flags.contains(Flags::QUECVT) && !may_queue) || misses_a_value {
            return Err(Status::BadParam);
        }
        if !policy.modes.contains(asked.mode) {
            return Err(Status::Denied);
        }
        if self.is_epoch_used_up() {
            return Err(Status::Unavailable);
        }
        Ok((slot, held, flags | Flags::QUECVT.when(policy.fair && may_queue)))
    }

    #[inline]
    fn convert_in_place(
        &mut self,
        session: SessionId,
        slot: LockSlot,
        fit: Fit,
        flags: Flags,
        asked: &Asked<'_>,
        out: &mut Vec<Output>,
    ) {
        let lock = &mut self.locks[slot];
        (lock.request, lock.priority) = (flags, asked.priority);
        let resource = lock.resource;
        let grant = self.grant(slot, From::InPlace, fit, asked.value);
        out.push(Output { session, said: Said::Granted(grant) });
        if !self.limits.planted.is(Mistake::DownConversionWakesNobody) {
            self.touch(resource);
        }
    }

    /// C6: from the granted to the conversion queue, keeping what it holds.
    fn queue_conversion(&mut self, slot: LockSlot, flags: Flags, asked: &Asked<'_>) {
        self.counts.enq_forced_to_wait += 1;
        let (resource, stamp, now) = (self.locks[slot].resource, self.next_stamp(), self.now);
        self.dismiss(slot);
        let lock = &mut self.locks[slot];
        if let At::Granted { granted } = lock.at {
            lock.at = At::Converting { granted, requested: asked.mode };
        }
        (lock.request, lock.priority, lock.stamp, lock.since) = (flags, asked.priority, stamp, now);
        self.admit(slot);
        self.keep_value(slot, asked.value);
        self.start_deadline(slot, asked.timeout_ms);
        self.forget_entry(slot);
        self.touch(resource);
    }

    /// C4: would this conversion and one that waits already wait for each other for ever?
    fn closes_a_cycle(&self, slot: LockSlot, held: LockMode, wanted: LockMode, flags: Flags) -> bool {
        let resource = &self.resources[self.locks[slot].resource];
        let policy = self.space(resource.lockspace).map(|space| space.policy.conversion_deadlock);
        if flags.contains(Flags::NODLCKWT) || policy == Some(ConversionDeadlock::Timed) {
            return false;
        }
        let goes_behind = !flags.intersects(Flags::HEADQUE | Flags::NOORDER);
        resource.conversion().iter(&self.locks, Which::Queue).any(|other| {
            let At::Converting { granted, requested } = self.locks[other].at else { return false };
            let it_waits_for_us = !requested.is_compatible(held);
            let we_wait_for_it = goes_behind || !granted.is_compatible(wanted);
            it_waits_for_us && we_wait_for_it && !self.is_sealed(other)
        })
    }

    /// C5: the held mode drops to NL, and what this frees is granted first.
    fn demote(&mut self, slot: LockSlot, out: &mut Vec<Output>) {
        let resource = self.locks[slot].resource;
        self.resources[resource].exchange(&mut self.locks[slot], LockMode::Nl);
        let lock = &mut self.locks[slot];
        lock.marks.put(Mark::Demoted, true);
        lock.marks.put(Mark::Spent, true);
        (lock.fence, lock.told) = (Fence::UNFENCED, ModeSet::EMPTY);
        let said = Said::Demoted { handle: lock.handle };
        self.record_change(slot, Happened::Demoted, Status::Done);
        self.tell(slot, said, out);
        self.sweep_grants(resource, out);
        self.touch(resource);
    }

    /// C6: a conversion that ends without a grant puts the lock back as it was; it may block again, and is told so.
    pub(super) fn revert(&mut self, slot: LockSlot) -> Option<LockMode> {
        let At::Converting { granted, .. } = self.locks[slot].at else { return None };
        let (resource, stamp, now) = (self.locks[slot].resource, self.next_stamp(), self.now);
        self.dismiss(slot);
        let forgets = self.limits.planted.is(Mistake::ConversionForgetsItsMode);
        let granted = if forgets { LockMode::Nl } else { granted };
        let lock = &mut self.locks[slot];
        lock.at = At::Granted { granted };
        lock.marks.put(Mark::Demoted, false);
        // B2: what it was told before is forgotten.
        (lock.told, lock.stamp, lock.since) = (ModeSet::EMPTY, stamp, now);
        self.admit(slot);
        self.drop_deadline(slot);
        self.take_value(slot);
        self.note_entry(resource, slot);
        self.touch(resource);
        Some(granted)
    }
}
