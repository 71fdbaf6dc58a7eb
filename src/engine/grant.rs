//! May this lock be granted now, and what a grant does (rules G1-G5, G8, G9 of `docs/locking.md`).
//!
//! The one place that grants from a queue. Nothing here decides about refusals, and only [`Shard::sweep`] and
//! [`Shard::grant`] change anything.

use super::compat::{Fit, fit};
use super::enq::Spot;
use super::input::Ask;
use super::lock::{At, Lock, LockSlot, Mark, ResourceSlot, Which};
use super::output::{Output, Said};
use super::planted::{Mistake, Planted};
use super::resource::Resource;
use super::shard::{Shard, Work};
use enq_protocol::vocabulary::{Flags, Grant, LockMode, ModeSet};

/// Where a lock comes from when it is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// It is granted already and keeps its place.
    InPlace,
    /// O3: it is an orphan and keeps its place, but it is new to its session.
    Orphaned,
    /// It waited or converted.
    Queue,
}

/// May a new request be granted at once?
pub(super) fn may_grant_new(
    resource: &Resource,
    mode: LockMode,
    flags: Flags,
    planted: Planted,
) -> Option<Fit> {
    // G1: a new NL with EXPEDITE is granted; nothing clashes with NL.
    if flags.contains(Flags::EXPEDITE) {
        return Some(Fit { mode, alternate: false });
    }
    // G2, G4: both other queues must be empty; G3: unless the request ignores their order.
    let in_order = resource.conversion().is_empty() && resource.waiting().is_empty();
    if !in_order && !flags.contains(Flags::NOORDER) && !planted.is(Mistake::BargesPastTheQueue) {
        return None;
    }
    fit(resource, None, mode, flags)
}

/// May a granted lock be converted in place?
pub(super) fn may_convert(resource: &Resource, held: LockMode, mode: LockMode, flags: Flags) -> Option<Fit> {
    // C3: with QUECVT a conversion does not overtake those that wait.
    if flags.contains(Flags::QUECVT) && !resource.conversion().is_empty() {
        return None;
    }
    // C2: otherwise it waits for no queue, only for what others hold.
    fit(resource, Some(held), mode, flags)
}

/// R8: what lasts of a request's flags.
fn lasting(request: Flags) -> Flags {
    Flags(request.0 & (Flags::PERSISTENT | Flags::NODLCKBLK | Flags::BLKAST).0)
}

impl Shard {
    /// May a queued lock be granted, its turn apart?
    fn may_grant_queued(&self, slot: LockSlot) -> Option<Fit> {
        let lock = &self.locks[slot];
        let mode = lock.at.wanted()?;
        // G10: after a restart nothing is granted. E1: a sealed lock keeps its place and is never granted.
        if self.is_recovering() || self.is_sealed(slot) {
            return None;
        }
        fit(&self.resources[lock.resource], lock.at.held(), mode, lock.request)
    }

    /// G8: grants what became grantable, then sends the blocking notices.
    pub(super) fn sweep(&mut self, resource: ResourceSlot, out: &mut Vec<Output>) {
        self.sweep_grants(resource, out);
        self.notices(resource, out);
    }

    /// The grants of a sweep: the conversion queue first, then the waiting queue.
    pub(super) fn sweep_grants(&mut self, resource: ResourceSlot, out: &mut Vec<Output>) {
        while let Some((slot, fit)) = self.grantable_conversion(resource) {
            self.grant_queued(slot, fit, out);
        }
        let mut next = self.resources[resource].waiting().head;
        while let Some(slot) = next {
            let lock = &self.locks[slot];
            next = lock.after(Which::Queue);
            let queues = &self.resources[resource];
            // G4: new requests wait for conversions; G7: and for those before them.
            let its_turn = queues.conversion().is_empty() && queues.waiting().head == Some(slot);
            let may = its_turn || lock.asks(Flags::NOORDER);
            match self.may_grant_queued(slot).filter(|_| may) {
                Some(fit) => self.grant_queued(slot, fit, out),
                None if queues.disorderly() == 0 => return,
                None => {}
            }
        }
    }

    /// The first lock of the conversion queue that may be granted: its head, or one that ignores the order.
    fn grantable_conversion(&self, resource: ResourceSlot) -> Option<(LockSlot, Fit)> {
        let queues = &self.resources[resource];
        let looked_at = if queues.disorderly() == 0 { 1 } else { usize::MAX };
        queues
            .conversion()
            .iter(&self.locks, Which::Queue)
            .take(looked_at)
            .filter(|slot| queues.conversion().head == Some(*slot) || self.locks[*slot].asks(Flags::NOORDER))
            .find_map(|slot| Some((slot, self.may_grant_queued(slot)?)))
    }

    /// Planted: a down-conversion keeps its numbers.
    fn keeps_its_fence(&self, held: LockMode, mode: LockMode) -> bool {
        self.limits.planted.is(Mistake::DownConversionKeepsItsFence) && held.covers(mode)
    }

    fn grant_queued(&mut self, slot: LockSlot, fit: Fit, out: &mut Vec<Output>) {
        let value = self.take_value(slot);
        let is_new = self.locks[slot].at.held().is_none();
        let grant = self.grant(slot, From::Queue, fit, value.as_deref());
        if !(is_new && self.locks[slot].marks.has(Mark::Path)) {
            self.tell(slot, Said::GrantedLater(grant), out);
        } else if self.is_leaf_of_path(slot) {
            self.advance_path(slot, grant, out);
        } else {
            // P3: nothing is said before the whole path is granted.
            self.work.push_back(Work::Advance(slot, grant));
        }
    }

    /// G9: a new lock holds the mode as soon as it is there.
    #[inline]
    pub(super) fn grant_new(
        &mut self,
        ask: &Ask<'_>,
        spot: &Spot,
        mut lock: Lock,
        fit: Fit,
    ) -> (LockSlot, Grant) {
        let Fit { mode, alternate } = fit;
        let Lock { resource, request, handle, .. } = lock;
        let seq = self.next_seq();
        let queues = &mut self.resources[resource];
        let fence = queues.next_fence(seq, None, mode);
        lock.at = At::Granted { granted: mode };
        lock.in_queue = queues.granted.end();
        lock.lasting = lasting(request);
        let moved = self.move_value((resource, request), None, mode, None);
        (lock.seq, lock.fence, lock.stamp) = (seq, fence, self.next_stamp());
        let slot = self.attend(ask, spot, lock);
        self.resources[resource].extend_granted(&mut self.locks, slot, mode);
        self.note_entry(resource, slot);
        self.record_grant(slot, None, false, None);
        // R3: only an answer says SYNC.
        let synchronous = request.contains(Flags::SYNCSTS);
        let (lock, demoted, stored, value) = (self.id_of(slot), false, moved.stored, moved.read);
        (slot, Grant { handle, lock, mode, seq, fence, synchronous, alternate, demoted, stored, value })
    }

    /// G9: the lock holds the mode from now on.
    pub(super) fn grant(&mut self, slot: LockSlot, from: From, fit: Fit, value: Option<&[u8]>) -> Grant {
        let Lock { at, since, resource, request, handle, .. } = self.locks[slot];
        let before = at.held();
        let (seq, fence) = match before {
            Some(held) if self.keeps_its_fence(held, fit.mode) => {
                (self.locks[slot].seq, self.locks[slot].fence)
            }
            _ => {
                let seq = self.next_seq();
                (seq, self.resources[resource].next_fence(seq, before, fit.mode))
            }
        };
        match from {
            From::InPlace | From::Orphaned => {
                self.resources[resource].exchange(&mut self.locks[slot], fit.mode)
            }
            From::Queue => {
                self.dismiss(slot);
                self.resources[resource].admit_granted(&mut self.locks, slot, fit.mode);
            }
        }
        // O3: whoever adopts a lock knows no more of the block than the holder of a new one.
        let read_from = before.filter(|_| from != From::Orphaned);
        let moved = self.move_value((resource, request), read_from, fit.mode, value);
        let (stamp, now) = (self.next_stamp(), self.now);
        let lock = &mut self.locks[slot];
        if lock.marks.take(Mark::Deadline) {
            self.deadlines.forget(slot);
        }
        // R8: what lasts is what this call asked; PERSISTENT stays once set.
        lock.lasting = Flags(lock.lasting.0 & Flags::PERSISTENT.0) | lasting(request);
        // B2: each grant forgets what its holder was told.
        lock.told = ModeSet::EMPTY;
        (lock.seq, lock.fence, lock.stamp, lock.since) = (seq, fence, stamp, now);
        let demoted = lock.marks.take(Mark::Demoted);
        lock.marks.put(Mark::Spent, false);
        self.note_entry(resource, slot);
        let waited_since = (from == From::Queue).then_some(since);
        self.record_grant(slot, before, from == From::Orphaned, waited_since);
        Grant {
            handle,
            lock: self.id_of(slot),
            mode: fit.mode,
            seq,
            fence,
            // R3: only an answer says SYNC.
            synchronous: from != From::Queue && request.contains(Flags::SYNCSTS),
            alternate: fit.alternate,
            demoted,
            stored: moved.stored,
            value: moved.read,
        }
    }
}
