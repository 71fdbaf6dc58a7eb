//! Lockspaces: their names, numbers and policies; every shard is told of each change.
//!
//! The registry is held while the shards are told, so that two changes never cross. A number is given once and never
//! used again, so that a request with the number of a removed lockspace finds nothing.

use super::{Scratch, Table};
use crate::engine::{Input, Instant, Shard};
use enq_protocol::vocabulary::{
    LockFilter, LockspaceId, LockspaceView, ModeSet, Policy, ResourceName, SessionId, Status, VALUE_LEN_MAX,
};

/// Lockspaces there may ever have been: shards keep them in a table.
const SPACES_MAX: usize = 4_096;

/// The shortest and the longest time before a search for deadlocks, in milliseconds.
const DEADLOCK_WAIT_MS: std::ops::RangeInclusive<u32> = 10..=3_600_000;

/// The name of the lockspace that always exists.
const DEFAULT: &[u8] = b"default";

/// All lockspaces, by number.
pub(super) struct Spaces(Vec<Option<Space>>);

/// One lockspace.
struct Space {
    name: ResourceName,
    version: u64,
    policy: Policy,
}

/// A lockspace after a request about it.
pub(super) struct Changed {
    pub(super) space: Box<LockspaceView>,
    pub(super) changed: bool,
}

impl Spaces {
    /// Only the default one.
    pub(super) fn new() -> Spaces {
        let name = ResourceName::new(DEFAULT).expect("the name of the default lockspace is short");
        Spaces(vec![Some(Space { name, version: 1, policy: Policy::default() })])
    }

    fn find(&mut self, lockspace: LockspaceId) -> Result<&mut Space, Status> {
        let at = usize::try_from(lockspace.0).unwrap_or(usize::MAX);
        self.0.get_mut(at).and_then(Option::as_mut).ok_or(Status::NoSuchSpace)
    }

    fn all(&self) -> impl Iterator<Item = (LockspaceId, &Space)> {
        (0..).map(LockspaceId).zip(&self.0).filter_map(|(id, space)| Some((id, space.as_ref()?)))
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
        judge(&policy)?;
        let mut spaces = self.spaces.lock();
        if let Some((id, space)) = spaces.named(name) {
            return if exclusive || space.policy != policy {
                Err(Status::SpaceExists)
            } else {
                Ok(Changed { space: Box::new(self.view(id, space)), changed: false })
            };
        }
        if spaces.0.len() >= SPACES_MAX {
            return Err(Status::NoSpace);
        }
        let id = LockspaceId(u32::try_from(spaces.0.len()).unwrap_or(u32::MAX));
        self.tell_all(now, id, &policy, scratch);
        let space = Space { name: name.clone(), version: 1, policy };
        let view = self.view(id, &space);
        spaces.0.push(Some(space));
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
        judge(&policy)?;
        let mut spaces = self.spaces.lock();
        let space = spaces.find(lockspace)?;
        if space.version != version {
            return Err(Status::Changed);
        }
        let changed = space.policy != policy;
        if changed {
            self.tell_all(now, lockspace, &policy, scratch);
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
            self.empty_space(now, lockspace, by, scratch);
        }
        if !self.remove_if_empty(now, lockspace, scratch) {
            if by.is_some() {
                self.tell_all(now, lockspace, &space.policy, scratch);
            }
            return Err(Status::SpaceInUse);
        }
        if let Some(place) = usize::try_from(lockspace.0).ok().and_then(|at| spaces.0.get_mut(at)) {
            *place = None;
        }
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
                    let next = shard.show_page(now, from, &filter, &mut found);
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

    /// Tells every shard the policy of a lockspace.
    fn tell_all(&self, now: Instant, lockspace: LockspaceId, policy: &Policy, scratch: &mut Scratch) {
        for number in 0..=u8::MAX {
            self.with_shard(number, scratch, |table, shard, scratch| {
                let input = Input::SetPolicy { lockspace, policy: Some(policy) };
                table.step(shard, now, input, None, scratch);
            });
        }
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

/// Is every number of a policy within its limits?
fn judge(policy: &Policy) -> Result<(), Status> {
    let value_fits = usize::from(policy.value_len_max) <= VALUE_LEN_MAX;
    let wait_fits = policy.deadlock_wait_ms == 0 || DEADLOCK_WAIT_MS.contains(&policy.deadlock_wait_ms);
    if value_fits && wait_fits { Ok(()) } else { Err(Status::Limit) }
}
