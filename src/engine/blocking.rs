//! Blocking notices (rules B1-B4 of `docs/locking.md`).
//!
//! The one place that sends one. What a lock is told depends on the *set* of modes wanted on its resource, on what it
//! holds and on what it was told; so the granted queue is walked only when that set gains a mode, and otherwise only
//! the locks that have just come into the granted queue are looked at.

use super::input::LockRef;
use super::lock::{At, Lock, LockSlot, ResourceSlot, Which};
use super::output::{Output, Said};
use super::planted::Mistake;
use super::shard::Shard;
use enq_protocol::vocabulary::{Flags, LockMode, ModeSet, SessionId};

/// Modes that can conflict with something, the most covering first: telling one first makes those it covers needless.
const MOST_COVERING_FIRST: [LockMode; 5] =
    [LockMode::Ex, LockMode::Pw, LockMode::Pr, LockMode::Cw, LockMode::Cr];

impl Shard {
    /// Notes that a lock came into the granted queue. If nobody waits yet, the first who will is news to all.
    pub(super) fn note_entry(&mut self, resource: ResourceSlot, slot: LockSlot) {
        if self.resources[resource].is_contended() {
            self.entered.push(slot);
        }
    }

    /// It has left again before anything was swept.
    pub(super) fn forget_entry(&mut self, slot: LockSlot) {
        if !self.entered.is_empty() {
            self.entered.retain(|entered| *entered != slot);
        }
    }

    /// B1: the last part of every sweep.
    pub(super) fn notices(&mut self, resource: ResourceSlot, out: &mut Vec<Output>) {
        let wanted = self.resources[resource].wanted();
        let noticed = self.resources[resource].notice(wanted);
        let is_news = wanted.iter().any(|mode| !noticed.contains(mode));
        let mut entered = std::mem::take(&mut self.entered);
        if !wanted.is_empty() {
            let is_blocking = |slot: &LockSlot| self.may_be_told(*slot, resource, wanted);
            let mut blocking: Vec<LockSlot> = if is_news {
                let granted = self.resources[resource].granted;
                granted.iter(&self.locks, Which::Queue).filter(is_blocking).collect()
            } else if self.limits.planted.is(Mistake::LaterHoldersAreNotTold) {
                Vec::new()
            } else {
                entered.iter().copied().filter(is_blocking).collect()
            };
            blocking.sort_by_key(|slot| self.id_of(*slot));
            blocking.dedup();
            for slot in blocking {
                self.tell_wanted(slot, wanted, out);
            }
        }
        entered.retain(|slot| self.locks[*slot].resource != resource);
        self.entered = entered;
    }

    fn may_be_told(&self, slot: LockSlot, resource: ResourceSlot, wanted: ModeSet) -> bool {
        let lock = &self.locks[slot];
        // B3: converting and waiting locks are told nothing, nor are sealed ones (E1).
        let At::Granted { granted } = lock.at else { return false };
        lock.resource == resource
            && lock.lasting.contains(Flags::BLKAST)
            && !granted.conflicts().intersection(wanted).is_empty()
            && !self.is_sealed(slot)
    }

    fn tell_wanted(&mut self, slot: LockSlot, wanted: ModeSet, out: &mut Vec<Output>) {
        let Some(held) = self.locks[slot].at.held() else { return };
        let blocked = held.conflicts().intersection(wanted);
        for mode in MOST_COVERING_FIRST {
            let told = self.locks[slot].told;
            if blocked.contains(mode) && !told.covers(mode) {
                self.locks[slot].told = told.with(mode);
                self.notice(slot, mode, out);
            }
        }
    }

    /// B4: tells the blockers of a NOQUEUE request that failed, converting ones included, and remembers nothing.
    pub(super) fn notices_of_refusal(
        &mut self,
        resource: ResourceSlot,
        own: Option<LockSlot>,
        mode: LockMode,
        out: &mut Vec<Output>,
    ) {
        let is_blocking = |lock: &Lock| {
            lock.lasting.contains(Flags::BLKAST)
                && lock.at.held().is_some_and(|held| !held.is_compatible(mode))
                && !lock.told.covers(mode)
        };
        let queues = &self.resources[resource];
        let granted = queues.granted.iter(&self.locks, Which::Queue);
        let holding = granted.chain(queues.conversion().iter(&self.locks, Which::Queue));
        let mut blocking: Vec<LockSlot> = holding
            .filter(|slot| own != Some(*slot) && is_blocking(&self.locks[*slot]) && !self.is_sealed(*slot))
            .collect();
        blocking.sort_by_key(|slot| self.id_of(*slot));
        for slot in blocking {
            self.notice(slot, mode, out);
        }
    }

    /// The notices of a lock anew, for a holder that may not have heard them: the modes wanted on its resource that it keeps
    /// others from (B1, B3). B2: what it was told before is forgotten, for it may not have heard that either.
    pub fn notices_anew(&mut self, session: SessionId, lock: LockRef, out: &mut Vec<Output>) {
        let Some(slot) = self.resolve(session, lock) else { return };
        let Lock { at, resource, handle, seq, .. } = self.locks[slot];
        let At::Granted { granted: held } = at else { return };
        let wanted = self.resources[resource].wanted();
        let mut told = ModeSet::EMPTY;
        if self.may_be_told(slot, resource, wanted) {
            let blocked = held.conflicts().intersection(wanted);
            for mode in MOST_COVERING_FIRST {
                if blocked.contains(mode) && !told.covers(mode) {
                    told = told.with(mode);
                    out.push(Output { session, said: Said::Blocking { handle, seq, mode } });
                }
            }
        }
        self.locks[slot].told = told;
    }

    fn notice(&mut self, slot: LockSlot, mode: LockMode, out: &mut Vec<Output>) {
        self.counts.blocking_ast += 1;
        let Lock { handle, seq, .. } = self.locks[slot];
        self.tell(slot, Said::Blocking { handle, seq, mode }, out);
    }
}
