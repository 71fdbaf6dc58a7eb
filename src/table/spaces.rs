//! Lockspaces: their names, numbers and policies; every shard is told of each change.
//!
//! The registry is held while the shards are told, so that two changes never cross. The number of a removed lockspace is
//! used again as late as can be, so that a request that still bears it finds nothing.

use super::{Scratch, Table};
use crate::engine::image::{Bad, Image, Reader, Writer, fields};
use crate::engine::{Input, Instant, LISTED_A_STEP, Shard};
use enq_protocol::vocabulary::{
    LOCK_DELAY_MS_MAX, LockFilter, LockspaceId, LockspaceView, ModeSet, Policy, ResourceName, SessionId,
    Status,
};
use std::collections::{BTreeSet, VecDeque};

/// Lockspaces there may be: their list fits into a frame.
const SPACES_MAX: usize = 200;

/// Numbers that are given before one is used again: shards keep a table of so many.
const NUMBERS_MAX: usize = 4_096;

/// The shortest and the longest time before a search for deadlocks, in milliseconds.
const DEADLOCK_WAIT_MS: std::ops::RangeInclusive<u32> = 10..=3_600_000;

/// The name of the lockspace that always exists.
const DEFAULT: &[u8] = b"default";

/// All lockspaces.
pub(super) struct Spaces {
    by_number: Vec<Option<Space>>,
    /// The numbers of removed ones, the one removed first in front.
    removed: VecDeque<LockspaceId>,
}

/// One lockspace.
struct Space {
    name: ResourceName,
    version: u64,
    policy: Policy,
}

fields! { Spaces { by_number, removed } }
fields! { Space { name, version, policy } }

/// A lockspace after a request about it.
pub(super) struct Changed {
    pub(super) space: Box<LockspaceView>,
    pub(super) changed: bool,
}

impl Spaces {
    /// Only the default one.
    pub(super) fn new() -> Spaces {
        let name = ResourceName::new(DEFAULT).expect("the name of the default lockspace is short");
        let default = Space { name, version: 1, policy: Policy::default() };
        Spaces { by_number: vec![Some(default)], removed: VecDeque::new() }
    }

    /// Is the default one there, and is each number that no other one has to be given again, once?
    pub(super) fn are_whole(&self) -> bool {
        let is_free = |number: &LockspaceId| {
            let place = usize::try_from(number.0).ok().and_then(|at| self.by_number.get(at));
            place.is_some_and(Option::is_none)
        };
        let free: BTreeSet<LockspaceId> = self.removed.iter().copied().filter(is_free).collect();
        let taken = self.by_number.iter().flatten().count();
        self.by_number.first().is_some_and(Option::is_some)
            && free.len() == self.removed.len()
            && free.len() + taken == self.by_number.len()
    }

    /// The number of the next lockspace, if there may be one more.
    fn next_number(&self) -> Result<LockspaceId, Status> {
        let numbers = self.by_number.len();
        if numbers - self.removed.len() >= SPACES_MAX {
            return Err(Status::NoSpace);
        }
        match self.removed.front() {
            Some(number) if numbers >= NUMBERS_MAX => Ok(*number),
            _ => Ok(LockspaceId(u32::try_from(numbers).unwrap_or(u32::MAX))),
        }
    }

    fn insert(&mut self, number: LockspaceId, space: Space) {
        match self.place(number) {
            Some(place) => {
                *place = Some(space);
                self.removed.retain(|removed| *removed != number);
            }
            None => self.by_number.push(Some(space)),
        }
    }

    fn remove(&mut self, number: LockspaceId) {
        if let Some(place) = self.place(number) {
            *place = None;
            self.removed.push_back(number);
        }
    }

    fn place(&mut self, number: LockspaceId) -> Option<&mut Option<Space>> {
        self.by_number.get_mut(usize::try_from(number.0).unwrap_or(usize::MAX))
    }

    fn find(&mut self, lockspace: LockspaceId) -> Result<&mut Space, Status> {
        self.place(lockspace).and_then(Option::as_mut).ok_or(Status::NoSuchSpace)
    }

    fn all(&self) -> impl Iterator<Item = (LockspaceId, &Space)> {
        (0..).map(LockspaceId).zip(&self.by_number).filter_map(|(id, space)| Some((id, space.as_ref()?)))
    }

    fn named(&self, name: &ResourceName) -> Option<(LockspaceId, &Space)> {
        self.all().find(|(_, space)| space.name == *name)
    }
}

impl Table {
    /// The lockspace with this name.
    #[must_use]
    pub fn open_space(&self, name: &ResourceName) -> Option<LockspaceView> {
        let spaces = self.spaces.lock();
        spaces.named(name).map(|(id, space)| self.view(id, space))
    }

    /// Is there a lockspace with this number?
    pub(super) fn has_space(&self, lockspace: LockspaceId) -> bool {
        self.spaces.lock().find(lockspace).is_ok()
    }

    /// All lockspaces, by number.
    #[must_use]
    pub fn show_spaces(&self) -> Vec<LockspaceView> {
        let spaces = self.spaces.lock();
        spaces.all().map(|(id, space)| self.view(id, space)).collect()
    }

    /// Makes a lockspace; one that exists with this policy is as good as new, unless `exclusive`.
    pub(super) fn create_space(
        &self,
        now: Instant,
        name: &ResourceName,
        policy: Policy,
        exclusive: bool,
        scratch: &mut Scratch,
    ) -> Result<Changed, Status> {
        self.judge(&policy)?;
        let mut spaces = self.spaces.lock();
        if let Some((id, space)) = spaces.named(name) {
            return if exclusive || space.policy != policy {
                Err(Status::SpaceExists)
            } else {
                Ok(Changed { space: Box::new(self.view(id, space)), changed: false })
            };
        }
        let id = spaces.next_number()?;
        self.tell_all(now, id, &policy, scratch);
        let space = Space { name: name.clone(), version: 1, policy };
        let view = self.view(id, &space);
        spaces.insert(id, space);
        Ok(Changed { space: Box::new(view), changed: true })
    }

    /// Changes the policy of a lockspace, if its version is the one the caller saw.
    pub(super) fn set_space(
        &self,
        now: Instant,
        lockspace: LockspaceId,
        version: u64,
        policy: Policy,
        scratch: &mut Scratch,
    ) -> Result<Changed, Status> {
        self.judge(&policy)?;
        let mut spaces = self.spaces.lock();
        let space = spaces.find(lockspace)?;
        if space.version != version {
            return Err(Status::Changed);
        }
        let changed = space.policy != policy;
        if changed {
            self.tell_all(now, lockspace, &policy, scratch);
            // D6: those that wait there may be due earlier now.
            self.deadlocks.note(now);
            space.policy = policy;
            space.version += 1;
        }
        Ok(Changed { space: Box::new(self.view(lockspace, space)), changed })
    }

    /// Removes a lockspace that nobody uses; if `by` somebody's force, what is in it is taken away before.
    pub(super) fn remove_space(
        &self,
        now: Instant,
        lockspace: LockspaceId,
        by: Option<SessionId>,
        scratch: &mut Scratch,
    ) -> Result<Changed, Status> {
        let mut spaces = self.spaces.lock();
        let space = spaces.find(lockspace)?;
        if lockspace == LockspaceId::default() {
            return Err(Status::Denied);
        }
        let view = self.view(lockspace, space);
        if let Some(by) = by {
            // No mode may be asked for while it is emptied, so that it does not fill up again.
            let closed = Policy { modes: ModeSet::EMPTY, ..space.policy.clone() };
            self.tell_all(now, lockspace, &closed, scratch);
            self.end_requests(now, lockspace, scratch);
            self.empty_space(now, lockspace, by, scratch);
        }
        if !self.remove_if_empty(now, lockspace, scratch) {
            if by.is_some() {
                self.tell_all(now, lockspace, &space.policy, scratch);
            }
            return Err(Status::SpaceInUse);
        }
        spaces.remove(lockspace);
        Ok(Changed { space: Box::new(view), changed: true })
    }

    /// Removes a lockspace from every shard in one moment, if it has no lock in any. All shards are held, in ascending
    /// order, so that no request slips in between the counting and the removal.
    fn remove_if_empty(&self, now: Instant, lockspace: LockspaceId, scratch: &mut Scratch) -> bool {
        let mut shards: Vec<_> = self.shards.iter().map(|cell| cell.shard.lock()).collect();
        if shards.iter().any(|shard| shard.lockspace_counts(lockspace) != (0, 0)) {
            return false;
        }
        for shard in &mut shards {
            self.step(shard, now, Input::SetPolicy { lockspace, policy: None }, None, scratch);
        }
        true
    }

    /// Ends what waits in a lockspace, so that nothing is granted only to be taken away at once: the shallowest
    /// resources first, for a path that ends gives up what it holds above.
    fn end_requests(&self, now: Instant, lockspace: LockspaceId, scratch: &mut Scratch) {
        let filter = LockFilter { lockspace: Some(lockspace), ..LockFilter::default() };
        for number in 0..=u8::MAX {
            let mut contended = BTreeSet::new();
            let mut next = Some(0);
            while let Some(from) = next {
                let mut found = Vec::new();
                next =
                    self.cell(number).shard.lock().show_page(now, from, LISTED_A_STEP, &filter, &mut found);
                let queued = found.into_iter().filter(|view| view.requested.is_some());
                contended.extend(queued.map(|view| (view.path.len(), view.path)));
            }
            for (_, path) in contended {
                self.with_shard(number, scratch, |table, shard, scratch| {
                    for lock in shard.queued_from_tail(lockspace, &path) {
                        table.step(shard, now, Input::EndRequest { lock }, None, scratch);
                    }
                });
            }
        }
    }

    /// Takes away the granted locks of a lockspace, and what is granted thereby, until none is left.
    fn empty_space(&self, now: Instant, lockspace: LockspaceId, by: SessionId, scratch: &mut Scratch) {
        let filter = LockFilter { lockspace: Some(lockspace), ..LockFilter::default() };
        for number in 0..=u8::MAX {
            let mut from = 0;
            let mut taken = 0;
            let mut found = Vec::new();
            loop {
                found.clear();
                let next = self.with_shard(number, scratch, |table, shard, scratch| {
                    let next = shard.show_page(now, from, LISTED_A_STEP, &filter, &mut found);
                    taken += table.take_away(shard, now, &found, by, scratch);
                    next
                });
                match next {
                    Some(next) => from = next,
                    // A round that took something away may have granted something.
                    None if taken > 0 => (from, taken) = (0, 0),
                    None => break,
                }
            }
        }
    }

    /// Takes away those of these locks that hold a mode. Says how many went.
    fn take_away(
        &self,
        shard: &mut Shard,
        now: Instant,
        locks: &[enq_protocol::vocabulary::LockView],
        by: SessionId,
        scratch: &mut Scratch,
    ) -> u64 {
        let mut taken = 0;
        for view in locks.iter().filter(|view| view.granted.is_some()) {
            let reason = "its lockspace is removed";
            let input = Input::ForceRelease { lock: view.lock, version: view.seq.0, by, reason };
            self.step(shard, now, input, None, scratch);
            taken += u64::from(shard.show_lock(now, view.lock).is_none());
        }
        taken
    }

    /// What the operators decided for each lockspace.
    pub(super) fn policies(&self) -> Vec<(LockspaceId, Policy)> {
        let spaces = self.spaces.lock();
        let numbered = (0..).map(LockspaceId).zip(&spaces.by_number);
        numbered.filter_map(|(id, space)| Some((id, space.as_ref()?.policy.clone()))).collect()
    }

    /// Tells every shard the policy of a lockspace.
    fn tell_all(&self, now: Instant, lockspace: LockspaceId, policy: &Policy, scratch: &mut Scratch) {
        for number in 0..=u8::MAX {
            self.with_shard(number, scratch, |table, shard, scratch| {
                let input = Input::SetPolicy { lockspace, policy: Some(policy) };
                table.step(shard, now, input, None, scratch);
            });
        }
    }

    /// Is every number of a policy within its limits?
    fn judge(&self, policy: &Policy) -> Result<(), Status> {
        let value_fits = usize::from(policy.value_len_max) <= self.limits.value_len;
        let wait_fits = policy.deadlock_wait_ms == 0 || DEADLOCK_WAIT_MS.contains(&policy.deadlock_wait_ms);
        let delay_fits = policy.lock_delay_ms <= LOCK_DELAY_MS_MAX;
        if !value_fits {
            super::reached::count(&self.reached.value);
        }
        if value_fits && wait_fits && delay_fits { Ok(()) } else { Err(Status::Limit) }
    }

    /// What somebody who looks at a lockspace is shown.
    fn view(&self, lockspace: LockspaceId, space: &Space) -> LockspaceView {
        let counts = self.shards.iter().map(|cell| cell.shard.lock().lockspace_counts(lockspace));
        let (locks, resources) = counts.fold((0, 0), |(a, b), (locks, resources)| (a + locks, b + resources));
        LockspaceView {
            lockspace,
            name: space.name.clone(),
            version: space.version,
            policy: space.policy.clone(),
            locks,
            resources,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(name: usize) -> Space {
        let name = ResourceName::new(name.to_string().as_bytes()).unwrap();
        Space { name, version: 1, policy: Policy::default() }
    }

    #[test]
    fn a_number_is_used_again_as_late_as_can_be() {
        let mut spaces = Spaces::new();
        for expected in 1..NUMBERS_MAX {
            let number = spaces.next_number().unwrap();
            assert_eq!(usize::try_from(number.0).unwrap(), expected);
            spaces.insert(number, space(expected));
            spaces.remove(number);
        }
        for expected in [1, 2, 3] {
            let number = spaces.next_number().unwrap();
            assert_eq!(number, LockspaceId(expected), "the one that was removed first");
            spaces.insert(number, space(1));
        }
        assert_eq!(spaces.all().count(), 4);
    }

    #[test]
    fn there_are_no_more_than_fit_into_a_frame() {
        let mut spaces = Spaces::new();
        for name in 1..SPACES_MAX {
            let number = spaces.next_number().unwrap();
            spaces.insert(number, space(name));
        }
        assert_eq!(spaces.next_number(), Err(Status::NoSpace));
        spaces.remove(LockspaceId(7));
        assert!(spaces.next_number().is_ok());
    }
}
