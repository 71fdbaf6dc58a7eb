//! ENQ: a new lock, of a root or a sublock (rules R1, R2, G6, G7, T1, T3, T5, Q2 of `docs/locking.md`).
//!
//! A request that fails leaves no trace: everything is tested before anything is made.

use super::compat::clashes;
use super::grant::may_grant_new;
use super::input::{Ask, LockRef, Under};
use super::lock::{At, Links, Lock, LockSlot, Marks, ResourceSlot, SessionSlot, Which};
use super::output::{Output, Said};
use super::shard::Shard;
use super::tree::Above;
use enq_protocol::vocabulary::{
    Fence, Flags, Grant, Handle, LockId, LockMode, LockspaceId, ModeSet, ResourceName, Seq, SessionId, Status,
};

/// Where a new lock goes: what was checked about its parent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) lockspace: LockspaceId,
    pub(super) above: Above,
    /// Who asks, if this shard knows him.
    pub(super) session: Option<SessionSlot>,
    pub(super) parent: Option<LockSlot>,
    pub(super) depth: u8,
}

/// What became of a request for a new lock.
pub(super) enum Asked {
    Granted(LockSlot, Grant),
    Queued(LockSlot),
    NotQueued { blocker: Option<LockId>, waiting: u32 },
    Refused(Status),
}

impl Spot {
    /// The place of a root.
    pub(super) fn at_root(lockspace: LockspaceId, session: Option<SessionSlot>) -> Spot {
        Spot { lockspace, above: Above::Lockspace(lockspace), session, parent: None, depth: 0 }
    }
}

impl Shard {
    pub(super) fn enq(
        &mut self,
        ask: &Ask<'_>,
        handle: Handle,
        under: Under,
        name: &ResourceName,
        out: &mut Vec<Output>,
    ) {
        self.counts.enq_new += 1;
        let spot = match self.spot(ask, under) {
            Ok(spot) => spot,
            Err(status) => return Self::refuse(ask.session, status, out),
        };
        // G10: what never waits is told to come again.
        if self.refuse_recovering(ask.session, ask.flags, out) {
            return;
        }
        let resource = self.resource_named(spot.lockspace, spot.above, spot.depth, name);
        match self.ask_new(ask, handle, &spot, resource) {
            Asked::Granted(_, grant) => out.push(Output { session: ask.session, said: Said::Granted(grant) }),
            Asked::Queued(slot) => {
                self.start_deadline(slot, ask.timeout_ms);
                let said = Said::Queued { handle, lock: self.id_of(slot) };
                out.push(Output { session: ask.session, said });
            }
            Asked::NotQueued { blocker, waiting } => {
                self.not_queued(ask.session, blocker, waiting, out);
                // B4: only with NOQUEUEBAST are the blockers told.
                if ask.flags.contains(Flags::NOQUEUEBAST) {
                    self.notices_of_refusal(resource, None, ask.mode, out);
                }
                self.drop_unused(resource);
            }
            Asked::Refused(status) => {
                Self::refuse(ask.session, status, out);
                self.drop_unused(resource);
            }
        }
    }

    /// The checks of a new request, in the order of R2; what they found out about its place.
    fn spot(&self, ask: &Ask<'_>, under: Under) -> Result<Spot, Status> {
        let spot = self.spot_named(ask.session, under)?;
        self.check_ask(ask, spot.lockspace)?;
        Ok(spot)
    }

    /// E1, T1, T3: where a session may name a resource.
    pub(super) fn spot_named(&self, session: SessionId, under: Under) -> Result<Spot, Status> {
        let slot = self.check_session(session)?;
        match under {
            Under::Lockspace(lockspace) => Ok(Spot::at_root(lockspace, slot)),
            Under::Parent(parent) => self.spot_under(self.parent(session, parent)?),
        }
    }

    /// E1: a session whose end is under way asks for nothing new.
    pub(super) fn check_session(&self, session: SessionId) -> Result<Option<SessionSlot>, Status> {
        let slot = self.sessions.get(&session).copied();
        let is_ending = slot.is_some_and(|slot| self.attendances[slot].sealed);
        if is_ending { Err(Status::Unavailable) } else { Ok(slot) }
    }

    /// T1, T3: the lock that is to be the parent.
    fn parent(&self, session: SessionId, parent: LockRef) -> Result<LockSlot, Status> {
        // T1: only one's own lock can be a parent.
        let Some(slot) = self.resolve(session, parent) else {
            let waits_for_its_path = self.path_under_way(session, parent, None).is_some();
            return Err(if waits_for_its_path { Status::ParentNotGranted } else { Status::NoSuchLock });
        };
        // T3: and only one that holds a mode; a converting one does.
        self.locks[slot].at.held().map(|_| slot).ok_or(Status::ParentNotGranted)
    }

    /// T2, T5: where the sublocks of this lock are.
    pub(super) fn spot_under(&self, parent: LockSlot) -> Result<Spot, Status> {
        let resource = self.locks[parent].resource;
        let depth = self.resources[resource].depth;
        if depth >= self.limits.depth {
            return Err(Status::TooDeep);
        }
        Ok(Spot {
            lockspace: self.resources[resource].lockspace,
            above: Above::Resource(resource),
            session: self.locks[parent].session,
            parent: Some(parent),
            depth: depth + 1,
        })
    }

    /// R2: lockspace, flags, timeout and policy of a new request.
    pub(super) fn check_ask(&self, ask: &Ask<'_>, lockspace: LockspaceId) -> Result<(), Status> {
        let policy = &self.space(lockspace).ok_or(Status::NoSuchSpace)?.policy;
        let flags = ask.flags;
        let expedite_is_legal =
            !flags.contains(Flags::EXPEDITE) || (ask.mode == LockMode::Nl && !flags.contains(Flags::NOQUEUE));
        let tells_without_failing = flags.contains(Flags::NOQUEUEBAST) && !flags.contains(Flags::NOQUEUE);
        if !Flags::OF_ENQ.contains(flags) || !expedite_is_legal || tells_without_failing {
            return Err(Status::BadParam);
        }
        // U7: a request that may wait no time at all says so with NOQUEUE.
        if ask.timeout_ms == Some(0) {
            return Err(Status::Limit);
        }
        if !policy.modes.contains(ask.mode) || (policy.reason_required && ask.reason.is_empty()) {
            return Err(Status::Denied);
        }
        if self.is_epoch_used_up() {
            return Err(Status::Unavailable);
        }
        if !self.locks.has_room_for(1) {
            return Err(Status::NoSpace);
        }
        Ok(())
    }

    /// G1-G7: makes the lock, granted or queued, or makes nothing. The answer is the caller's to give.
    pub(super) fn ask_new(
        &mut self,
        ask: &Ask<'_>,
        handle: Handle,
        spot: &Spot,
        resource: ResourceSlot,
    ) -> Asked {
        let queues = &self.resources[resource];
        let granted =
            may_grant_new(queues, ask.mode, ask.flags, self.limits.planted).filter(|_| !self.is_recovering());
        if granted.is_none() {
            // G6: NOQUEUE leaves no trace.
            if ask.flags.contains(Flags::NOQUEUE) {
                let (blocker, waiting) = self.blocker(resource, None, ask.mode);
                return Asked::NotQueued { blocker, waiting };
            }
            // Q2: nor does a request that would make the queues too long.
            if queues.queued() >= self.limits.waiting_a_resource {
                return Asked::Refused(Status::ResourceExhausted);
            }
        }
        let lock = self.new_lock(ask, handle, spot, resource);
        let asked = match granted {
            Some(fit) => {
                let (slot, grant) = self.grant_new(ask, spot, lock, fit);
                Asked::Granted(slot, grant)
            }
            None => {
                let slot = self.attend(ask, spot, lock);
                // G7: to the tail, or with HEADQUE to the front.
                self.counts.enq_forced_to_wait += 1;
                self.admit(slot);
                Asked::Queued(slot)
            }
        };
        self.touch(resource);
        asked
    }

    fn new_lock(&mut self, ask: &Ask<'_>, handle: Handle, spot: &Spot, resource: ResourceSlot) -> Lock {
        Lock {
            at: At::Waiting { requested: ask.mode },
            priority: ask.priority,
            told: ModeSet::EMPTY,
            marks: Marks::default(),
            request: ask.flags,
            lasting: Flags::NONE,
            handle,
            resource,
            session: None,
            parent: spot.parent,
            sublocks: 0,
            orphans: 0,
            in_queue: Links::default(),
            in_session: Links::default(),
            owner: ask.owner,
            stamp: self.next_stamp(),
            since: self.now,
            seq: Seq::default(),
            fence: Fence::UNFENCED,
        }
    }

    /// G6: who is in the way of this mode, and how many wait or convert.
    pub(super) fn blocker(
        &self,
        resource: ResourceSlot,
        own: Option<LockSlot>,
        mode: LockMode,
    ) -> (Option<LockId>, u32) {
        let queues = &self.resources[resource];
        let held = own.and_then(|slot| self.locks[slot].at.held());
        let first_clash = || {
            let granted = queues.granted.iter(&self.locks, Which::Queue);
            let holding = granted.chain(queues.conversion().iter(&self.locks, Which::Queue));
            holding
                .filter(|slot| own != Some(*slot))
                .find(|slot| self.locks[*slot].at.held().is_some_and(|held| !held.is_compatible(mode)))
        };
        let blocker = clashes(queues, held, mode).then(first_clash).flatten();
        let blocker = blocker.or(queues.conversion().head).or(queues.waiting().head);
        (blocker.map(|slot| self.id_of(slot)), queues.queued())
    }

    /// G6: the answer NOTQUEUED.
    pub(super) fn not_queued(
        &mut self,
        session: SessionId,
        blocker: Option<LockId>,
        waiting: u32,
        out: &mut Vec<Output>,
    ) {
        self.counts.enq_not_queued += 1;
        let status = Status::NotQueued;
        out.push(Output { session, said: Said::Refused { status, blocker, waiting } });
    }
}
