//! New locks and conversions: rules R, G1-G7, C and Q.

use super::tables::{Call, Move, block_move, legal, may_quecvt};
use super::{Lock, Model, Queue, Wish, beside, covers};
use crate::words::{Ask, Name, Place, Under, What, Which};
use enq_protocol::vocabulary::{ConversionDeadlock, Flags, LockMode, Policy, Status};
use std::collections::BTreeMap;

fn has(flags: Flags, flag: Flags) -> bool {
    flags.0 & flag.0 != 0
}

fn excluded(policy: &Policy, mode: LockMode) -> bool {
    !policy.modes.contains(mode)
}

impl Model {
    /// When a request that may wait so long must end (U7), within what its lockspace allows.
    pub(super) fn deadline(&self, timeout_ms: Option<u32>, policy: &Policy) -> Option<u64> {
        let most = (policy.wait_ms_max > 0).then_some(policy.wait_ms_max);
        let ms = match (timeout_ms, most) {
            (Some(asked), Some(most)) => Some(asked.min(most)),
            (asked, most) => asked.or(most),
        };
        ms.map(|ms| self.now + u64::from(ms) * 1_000_000)
    }

    /// R2, in its order; the lockspace's policy if nothing is wrong.
    pub(super) fn checked(&self, ask: &Ask, space: u32) -> Result<Policy, Status> {
        let policy = self.spaces.get(&space).ok_or(Status::NoSuchSpace)?;
        if !legal(ask.flags, Call::New, Some(ask.mode)) {
            return Err(Status::BadParam);
        }
        if ask.timeout_ms == Some(0) {
            return Err(Status::Limit);
        }
        if excluded(policy, ask.mode) || (policy.reason_required && ask.reason.is_empty()) {
            return Err(Status::Denied);
        }
        Ok(policy.clone())
    }

    /// T1, T3: the resource that a session names, and the parent lock.
    pub(super) fn place_named(
        &self,
        session: u64,
        under: Under,
        name: &'static str,
        known: &BTreeMap<Name, u64>,
    ) -> Result<(Place, Option<u64>), Status> {
        let which = match under {
            Under::Space(space) => return Ok(((space, vec![name]), None)),
            Under::Lock(which) => which,
        };
        let Some(index) = self.find(session, which, known) else {
            // P5: what a path has not asked for yet is as good as waiting.
            let unmade = self.unmade(session, which).is_some();
            return Err(if unmade { Status::ParentNotGranted } else { Status::NoSuchLock });
        };
        let parent = &self.locks[index];
        if parent.held.is_none() {
            return Err(Status::ParentNotGranted);
        }
        let mut at = parent.at.clone();
        at.1.push(name);
        Ok((at, Some(parent.id)))
    }

    pub(super) fn new_lock(
        &mut self,
        ask: &Ask,
        handle: u32,
        under: Under,
        name: &'static str,
        known: &BTreeMap<Name, u64>,
    ) {
        let (at, parent) = match self.place_named(ask.session, under, name, known) {
            Ok(found) => found,
            Err(status) => return self.refuse(ask.session, status),
        };
        let policy = match self.checked(ask, at.0) {
            Ok(policy) => policy,
            Err(status) => return self.refuse(ask.session, status),
        };
        if self.must_come_again(ask) {
            return;
        }
        let wish = Wish {
            mode: ask.mode,
            flags: ask.flags,
            value: None,
            deadline: self.deadline(ask.timeout_ms, &policy),
            stamp: 0,
            demoted: false,
        };
        if let Some(mode) = self.may_grant_new(&at, &wish) {
            let id = self.make(ask, handle, &at, parent, None);
            let mut grant = self.grant(id, mode, &wish);
            grant.synchronous = wish.has(Flags::SYNCSTS);
            self.say(ask.session, What::Granted { later: false, grant, levels: None });
        } else if wish.has(Flags::NOQUEUE) {
            return self.not_queued(ask.session, &at, &wish, None);
        } else if self.is_full(&at) {
            return self.refuse(ask.session, Status::ResourceExhausted);
        } else {
            let id = self.make(ask, handle, &at, parent, Some(wish));
            self.say(ask.session, What::Queued { handle, lock: id });
        }
        self.touch(&at);
    }

    /// G10: what never waits is refused while everybody does.
    pub(super) fn must_come_again(&mut self, ask: &Ask) -> bool {
        let Some(until) = self.recovering else { return false };
        let refused = has(ask.flags, Flags::NOQUEUE) || has(ask.flags, Flags::EXPEDITE);
        if refused {
            let left = until.saturating_sub(self.now).div_ceil(1_000_000).max(1);
            let waiting = u32::try_from(left).expect("a short wait");
            let refused = What::Refused { status: Status::Recovering, blocker: None, waiting };
            self.say(ask.session, refused);
        }
        refused
    }

    /// G1-G5: the mode in which a new request would be granted now.
    pub(super) fn may_grant_new(&self, at: &Place, wish: &Wish) -> Option<LockMode> {
        if self.recovering.is_some() {
            return None; // G10
        }
        if wish.has(Flags::EXPEDITE) {
            return Some(wish.mode); // G1
        }
        let alone = self.queue(at, Queue::Converting).is_empty() && self.queue(at, Queue::Waiting).is_empty();
        if !alone && !wish.has(Flags::NOORDER) {
            return None; // G2, G3, G4
        }
        wish.modes().into_iter().find(|mode| self.clash(at, *mode, None).is_none())
    }

    /// A new lock, with a wish in the waiting queue (G7), without one about to be granted.
    pub(super) fn make(
        &mut self,
        ask: &Ask,
        handle: u32,
        at: &Place,
        parent: Option<u64>,
        wish: Option<Wish>,
    ) -> u64 {
        self.attended.insert(ask.session);
        let id = self.new_id(ask.session, handle);
        let age = self.stamp();
        let front = wish.as_ref().is_some_and(|wish| wish.has(Flags::HEADQUE));
        let rank = if front { self.first_rank() } else { self.last_rank() };
        self.block(at);
        self.locks.push(Lock {
            id,
            age,
            session: Some(ask.session),
            handle,
            owner: (ask.session, ask.owner),
            at: at.clone(),
            parent,
            queue: Queue::Waiting,
            rank,
            held: None,
            wish: wish.map(|wish| Wish { stamp: age, ..wish }),
            told: Vec::new(),
            persistent: false,
            nodlckblk: false,
            blkast: false,
            seq: 0,
            fence: 0,
            sealed: false,
            priority: ask.priority,
            reason: ask.reason,
            by_handle: false,
            intent: false,
            delayed: None,
            orphan: None,
        });
        self.seal_new(id, parent);
        id
    }

    /// Q2: does nobody else fit into the queues of this resource?
    pub(super) fn is_full(&self, at: &Place) -> bool {
        self.locks.iter().filter(|lock| lock.at == *at && lock.wish.is_some()).count()
            >= self.waiting_a_resource
    }

    /// G6 and B4.
    pub(super) fn not_queued(&mut self, to: u64, at: &Place, wish: &Wish, but: Option<u64>) {
        let converting = self.queue(at, Queue::Converting);
        let waiting = self.queue(at, Queue::Waiting);
        let blocker = self
            .clash(at, wish.mode, but)
            .or_else(|| converting.first().or(waiting.first()).map(|head| head.id));
        let queued = u32::try_from(converting.len() + waiting.len()).expect("a short queue");
        self.say(to, What::Refused { status: Status::NotQueued, blocker, waiting: queued });
        if !wish.has(Flags::NOQUEUEBAST) {
            return;
        }
        let mut told: Vec<&Lock> = self.locks.iter().filter(|lock| lock.at == *at).collect();
        told.sort_by_key(|lock| lock.id);
        let mut notices = Vec::new();
        for lock in told {
            let blocks = lock.held.is_some_and(|held| !beside(held, wish.mode));
            let knows = lock.told.iter().any(|told| covers(*told, wish.mode));
            if Some(lock.id) != but && blocks && lock.blkast && !knows && !lock.sealed {
                notices.push((lock.session, lock.handle, lock.seq));
            }
        }
        for (session, handle, seq) in notices {
            if let Some(session) = session {
                self.say(session, What::Blocking { handle, seq, mode: wish.mode });
            }
        }
    }

    pub(super) fn convert(
        &mut self,
        session: u64,
        which: Which,
        (mode, flags, timeout_ms, priority): (LockMode, Flags, Option<u32>, u8),
        value: Option<&[u8]>,
        known: &BTreeMap<Name, u64>,
    ) {
        let Some(index) = self.find(session, which, known) else {
            let policy = self.unmade(session, which).map(|path| &self.spaces[&self.path_space(path)]);
            let legal =
                policy.map(|policy| conversion_is_legal(None, policy, (mode, flags, timeout_ms), value));
            return self
                .refuse(session, legal.map_or(Status::NoSuchLock, |legal| legal.expect_err("it waits")));
        };
        let lock = self.locks[index].clone();
        let policy = self.spaces[&lock.at.0].clone();
        if let Err(status) = conversion_is_legal(Some(&lock), &policy, (mode, flags, timeout_ms), value) {
            return self.refuse(session, status);
        }
        let held = lock.held.expect("it is granted");
        let fair = policy.fair && may_quecvt(held, mode);
        let wish = Wish {
            mode,
            flags: if fair { flags | Flags::QUECVT } else { flags },
            value: value.map(<[u8]>::to_vec),
            deadline: self.deadline(timeout_ms, &policy),
            stamp: 0,
            demoted: false,
        };
        if let Some(mode) = self.may_convert(&lock, &wish) {
            self.locks[index].priority = priority;
            self.convert_now(session, lock.id, mode, &wish);
        } else if has(flags, Flags::NOQUEUE) {
            self.not_queued(session, &lock.at, &wish, Some(lock.id));
        } else if self.closes_cycle(&lock, &wish, &policy) {
            if !has(flags, Flags::CONVDEADLK) || !covers(LockMode::Pr, held) && held != LockMode::Cw {
                return self.refuse(session, Status::Deadlock);
            }
            if self.is_full(&lock.at) {
                return self.refuse(session, Status::ResourceExhausted);
            }
            self.locks[index].priority = priority;
            self.demote(session, lock.id, Wish { demoted: true, ..wish });
        } else if self.is_full(&lock.at) {
            self.refuse(session, Status::ResourceExhausted);
        } else {
            self.locks[index].priority = priority;
            self.convert_later(session, lock.id, wish);
        }
    }

    fn convert_now(&mut self, session: u64, id: u64, mode: LockMode, wish: &Wish) {
        let mut grant = self.grant(id, mode, wish);
        grant.synchronous = wish.has(Flags::SYNCSTS);
        self.say(session, What::Granted { later: false, grant, levels: None });
        let at = self.lock(id).expect("just granted").at.clone();
        self.touch(&at);
    }

    fn convert_later(&mut self, session: u64, id: u64, wish: Wish) {
        let stamp = self.stamp();
        let rank = if wish.has(Flags::HEADQUE) { self.first_rank() } else { self.last_rank() };
        let lock = self.lock_mut(id);
        (lock.queue, lock.rank, lock.wish) = (Queue::Converting, rank, Some(Wish { stamp, ..wish }));
        let (handle, at) = (lock.handle, lock.at.clone());
        self.say(session, What::Queued { handle, lock: id });
        self.touch(&at);
    }

    /// C2, C3, G5: the mode in which a conversion would be granted now.
    fn may_convert(&self, lock: &Lock, wish: &Wish) -> Option<LockMode> {
        if wish.has(Flags::QUECVT) && !self.queue(&lock.at, Queue::Converting).is_empty() {
            return None;
        }
        wish.modes().into_iter().find(|mode| self.clash(&lock.at, *mode, Some(lock.id)).is_none())
    }

    /// C4.
    fn closes_cycle(&self, lock: &Lock, wish: &Wish, policy: &Policy) -> bool {
        if wish.has(Flags::NODLCKWT) || policy.conversion_deadlock == ConversionDeadlock::Timed {
            return false;
        }
        let held = lock.held.expect("it is granted");
        let ahead = !wish.has(Flags::HEADQUE) && !wish.has(Flags::NOORDER);
        self.queue(&lock.at, Queue::Converting).iter().filter(|other| !other.sealed).any(|other| {
            let wants = other.wish.as_ref().expect("it converts").mode;
            let holds = other.held.expect("it converts");
            !beside(wants, held) && (ahead || !beside(holds, wish.mode))
        })
    }

    /// C5.
    fn demote(&mut self, session: u64, id: u64, wish: Wish) {
        let lock = self.lock_mut(id);
        (lock.held, lock.fence) = (Some(LockMode::Nl), 0);
        let (handle, at) = (lock.handle, lock.at.clone());
        self.say(session, What::Demoted { handle });
        self.sweep(&at);
        let lock = self.lock(id).expect("a demotion removes nobody").clone();
        match self.may_convert(&lock, &wish) {
            Some(mode) => self.convert_now(session, id, mode, &wish),
            None => self.convert_later(session, id, wish),
        }
    }
}

/// R2 and C1 for a conversion; of no lock, for a level of a path that was not asked for yet.
fn conversion_is_legal(
    lock: Option<&Lock>,
    policy: &Policy,
    (mode, flags, timeout_ms): (LockMode, Flags, Option<u32>),
    value: Option<&[u8]>,
) -> Result<(), Status> {
    let too_long = value.is_some_and(|value| value.len() > usize::from(policy.value_len_max));
    let uncalled = value.is_some() && !has(flags, Flags::VALBLK);
    if !legal(flags, Call::Convert, Some(mode)) || too_long || uncalled {
        return Err(Status::BadParam);
    }
    if timeout_ms == Some(0) {
        return Err(Status::Limit);
    }
    let granted = lock.filter(|lock| lock.queue == Queue::Granted);
    let Some(held) = granted.and_then(|lock| lock.held) else {
        return Err(Status::NotGranted);
    };
    let must_store = has(flags, Flags::VALBLK) && block_move(Some(held), mode) == Move::Write;
    if has(flags, Flags::QUECVT) && !may_quecvt(held, mode) || must_store && value.is_none() {
        return Err(Status::BadParam);
    }
    if excluded(policy, mode) { Err(Status::Denied) } else { Ok(()) }
}
