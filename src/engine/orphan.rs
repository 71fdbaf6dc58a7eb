//! Orphans: locks whose session has ended and that stay (rules O1-O4 of `docs/locking.md`).
//!
//! Those of one lockspace with one orphan key are listed together, so that an adoption and a purge look at nobody
//! else's. An orphan without an orphan key is in no list: nobody adopts or purges it. The lists name locks by slot and
//! hold nothing while there are no orphans.
//!
//! Nothing here tells anybody an orphan key.

use super::compat::Fit;
use super::enq::Spot;
use super::grant::From;
use super::history::Gone;
use super::input::{Ask, Under};
use super::limits::{LOOKED_AT_A_STEP, REMOVALS_A_STEP};
use super::lock::{List, LockSlot, Which};
use super::output::{Output, Said};
use super::shard::{Map, Shard, map};
use super::slab::{Slab, Slot};
use super::value_block::is_writer;
use enq_protocol::vocabulary::{
    Flags, Handle, LockId, LockMode, LockspaceId, ResourceName, SessionId, Status,
};

/// The orphans of one lockspace with one orphan key.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) lockspace: LockspaceId,
    pub(super) orphan_key: Box<[u8]>,
    /// By depth; of one depth in the order in which they became orphans.
    pub(super) levels: Vec<List>,
    pub(super) locks: u32,
}

/// All orphans of a shard that have an orphan key.
#[derive(Clone)]
pub(super) struct Orphans {
    pub(super) groups: Slab<Group>,
    pub(super) by_orphan_key: Map<(LockspaceId, Box<[u8]>), Slot<Group>>,
    pub(super) group_of: Map<LockSlot, Slot<Group>>,
}

impl Orphans {
    pub(super) fn new(seed: u64) -> Orphans {
        Orphans { groups: Slab::new(u32::MAX - 1), by_orphan_key: map(seed), group_of: map(seed) }
    }

    /// The bytes they have allocated.
    pub(super) fn bytes(&self) -> usize {
        self.groups.bytes() + self.by_orphan_key.allocation_size() + self.group_of.allocation_size()
    }

    fn find(&self, lockspace: LockspaceId, orphan_key: &[u8]) -> Option<Slot<Group>> {
        self.by_orphan_key.get(&(lockspace, orphan_key.into())).copied()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.group_of.len()
    }

    /// Every group with its lists, for the invariants.
    pub(super) fn lists(&self) -> impl Iterator<Item = (LockspaceId, &[List], u32)> {
        self.groups.iter().map(|(_, group)| (group.lockspace, &*group.levels, group.locks))
    }
}

/// What a search among orphans has found so far.
#[derive(Default)]
struct Found {
    /// The one with the lowest id that holds the mode asked for.
    fitting: Option<(LockId, LockSlot)>,
    /// Is there one in whatever mode?
    any: bool,
}

impl Found {
    fn into_result(self) -> Result<LockSlot, Status> {
        match self.fitting {
            Some((_, slot)) => Ok(slot),
            // O2: whoever does not know the orphan key learns nothing from either word.
            None if self.any => Err(Status::WrongMode),
            None => Err(Status::NoSuchOrphan),
        }
    }
}

impl Shard {
    /// O1: the lock has no session any more and is listed under this orphan key.
    pub(super) fn enter_orphans(&mut self, slot: LockSlot, orphan_key: &[u8]) {
        if orphan_key.is_empty() {
            return;
        }
        let resource = &self.resources[self.locks[slot].resource];
        let (lockspace, depth) = (resource.lockspace, usize::from(resource.depth));
        let orphans = &mut self.orphans;
        let group = orphans.find(lockspace, orphan_key).unwrap_or_else(|| {
            let levels = Vec::new();
            let group =
                orphans.groups.insert(Group { lockspace, orphan_key: orphan_key.into(), levels, locks: 0 });
            orphans.by_orphan_key.insert((lockspace, orphan_key.into()), group);
            group
        });
        orphans.group_of.insert(slot, group);
        let group = &mut orphans.groups[group];
        if group.levels.len() <= depth {
            group.levels.resize(depth + 1, List::default());
        }
        group.levels[depth].push_back(&mut self.locks, Which::Session, slot);
        group.locks += 1;
    }

    /// An orphan goes, or is adopted.
    pub(super) fn leave_orphans(&mut self, slot: LockSlot) {
        let Some(at) = self.orphans.group_of.remove(&slot) else { return };
        let depth = usize::from(self.resources[self.locks[slot].resource].depth);
        let group = &mut self.orphans.groups[at];
        group.levels[depth].remove(&mut self.locks, Which::Session, slot);
        group.locks -= 1;
        if group.locks == 0 {
            let group = self.orphans.groups.take(at);
            self.orphans.by_orphan_key.remove(&(group.lockspace, group.orphan_key));
        }
    }

    /// O2, O3: an orphan becomes a lock of this session.
    pub(super) fn adopt(
        &mut self,
        ask: &Ask<'_>,
        handle: Handle,
        under: Under,
        name: &ResourceName,
        orphan_key: &[u8],
        out: &mut Vec<Output>,
    ) {
        let spot = self.spot_of_adoption(ask, under);
        let found =
            spot.and_then(|spot| Ok((self.orphan_at(&spot, name, orphan_key, ask.mode)?, spot.depth)));
        let (slot, depth) = match found {
            Ok(found) => found,
            Err(status) => return Self::refuse(ask.session, status, out),
        };
        if let Some(parent) = self.locks[slot].parent {
            self.locks[parent].orphans -= 1;
        }
        self.unattend(slot);
        self.enlist(ask.session, slot, depth);
        self.note_reason(slot, ask.reason);
        let lock = &mut self.locks[slot];
        (lock.handle, lock.owner, lock.priority, lock.request) = (handle, ask.owner, ask.priority, ask.flags);
        let resource = lock.resource;
        // O3: it is a grant, in place.
        let fit = Fit { mode: ask.mode, alternate: false };
        let grant = self.grant(slot, From::Orphaned, fit, None);
        out.push(Output { session: ask.session, said: Said::Granted(grant) });
        self.touch(resource);
    }

    /// R2: the checks of an adoption, in their order.
    fn spot_of_adoption(&self, ask: &Ask<'_>, under: Under) -> Result<Spot, Status> {
        let spot = self.spot_named(ask.session, under)?;
        let policy = &self.space(spot.lockspace).ok_or(Status::NoSuchSpace)?.policy;
        if !Flags::OF_ADOPT.contains(ask.flags) {
            return Err(Status::BadParam);
        }
        if policy.reason_required && ask.reason.is_empty() {
            return Err(Status::Denied);
        }
        if self.is_epoch_used_up() {
            return Err(Status::Unavailable);
        }
        Ok(spot)
    }

    /// O2: the orphan that is meant. Of the resource's granted queue and the listed orphans of that depth the shorter one
    /// is searched to its end.
    fn orphan_at(
        &self,
        spot: &Spot,
        name: &ResourceName,
        orphan_key: &[u8],
        mode: LockMode,
    ) -> Result<LockSlot, Status> {
        let resource = self.tree.find(&self.resources, spot.above, name.as_bytes());
        let group = self.orphans.find(spot.lockspace, orphan_key);
        let (Some(resource), Some(group)) = (resource, group) else { return Err(Status::NoSuchOrphan) };
        let level = self.orphans.groups[group].levels.get(usize::from(spot.depth)).copied();
        let mut granted = self.resources[resource].granted.iter(&self.locks, Which::Queue);
        let mut listed = level.unwrap_or_default().iter(&self.locks, Which::Session);
        let look = |found: &mut Found, slot: LockSlot| {
            let lock = &self.locks[slot];
            let is_meant = lock.resource == resource
                && lock.parent == spot.parent
                && self.orphans.group_of.get(&slot) == Some(&group);
            if !is_meant {
                return;
            }
            found.any = true;
            let id = self.id_of(slot);
            if lock.at.held() == Some(mode) && found.fitting.is_none_or(|(lowest, _)| id < lowest) {
                found.fitting = Some((id, slot));
            }
        };
        let (mut of_granted, mut of_listed) = (Found::default(), Found::default());
        loop {
            let Some(slot) = granted.next() else { return of_granted.into_result() };
            look(&mut of_granted, slot);
            let Some(slot) = listed.next() else { return of_listed.into_result() };
            look(&mut of_listed, slot);
        }
    }

    /// O4: releases the next orphans with this orphan key; says how many went and where to go on. If the one to go on
    /// with has gone meanwhile, it begins anew, which misses none.
    pub(super) fn purge(
        &mut self,
        lockspace: LockspaceId,
        root: Option<&ResourceName>,
        orphan_key: &[u8],
        from: Option<LockId>,
        out: &mut Vec<Output>,
    ) {
        let group = self.orphans.find(lockspace, orphan_key);
        let is_one = |slot: &LockSlot| self.orphans.group_of.get(slot).copied() == group;
        let mut next = group.and_then(|group| {
            let from = from.and_then(|id| self.slot_of(id)).filter(is_one);
            from.or_else(|| self.orphans.groups[group].levels.iter().rev().find_map(|level| level.head))
        });
        let mut released = 0;
        for _ in 0..LOOKED_AT_A_STEP {
            let (Some(slot), Some(group)) = (next, group) else { break };
            next = self.orphan_after(group, slot);
            let lock = &self.locks[slot];
            let is_there = root.is_none_or(|root| self.resources[self.root_of(lock.resource)].name == *root);
            // T4: what another's orphan, or a delayed lock, stands on stays.
            if !is_there || lock.sublocks > 0 {
                continue;
            }
            self.counts.deq += 1;
            // V4: nobody else will ever say what a writer has left there.
            if is_writer(lock.at.held()) {
                self.abandon_value(slot);
            }
            self.remove(slot, Gone::PURGED);
            released += 1;
            if released == REMOVALS_A_STEP as u64 {
                break;
            }
        }
        let next = next.map(|slot| self.id_of(slot));
        out.push(Output { session: SessionId(0), said: Said::Purged { released, next } });
    }

    /// The orphan after this one in its group: deepest first.
    fn orphan_after(&self, group: Slot<Group>, slot: LockSlot) -> Option<LockSlot> {
        let depth = usize::from(self.resources[self.locks[slot].resource].depth);
        let shallower =
            || self.orphans.groups[group].levels[..depth].iter().rev().find_map(|level| level.head);
        self.locks[slot].after(Which::Session).or_else(shallower)
    }
}
