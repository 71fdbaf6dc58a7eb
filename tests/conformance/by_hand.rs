//! Acts a case out on one shard, input by input, and writes its outputs as the cases do.
//!
//! The invariants of the shard are checked after every step.

use super::case::Operation;
use super::{Driver, write_grant};
use enq::engine::deadlock::{Copied, Due, Rule, search};
use enq::engine::{Ask, End, Input, Instant, Limits, LockRef, Output, Said, Shard, Under};
use enq_protocol::vocabulary::{
    ConversionDeadlock, Flags, Grant, Handle, LockId, LockspaceId, Owner, Policy, ResourceName, SessionId,
    Status,
};

/// One shard and what the case calls its sessions and locks.
pub(crate) struct ByHand {
    shard: Shard,
    sessions: Vec<String>,
    locks: Vec<Named>,
    handles: u32,
}

/// A lock the case has named.
struct Named {
    name: String,
    session: SessionId,
    handle: Handle,
    id: LockId,
}

/// An id that no lock ever had.
const NO_LOCK: LockId = LockId::new(0, LockId::SLOT_MAX, 0);

impl ByHand {
    /// An empty shard.
    pub(crate) fn new(is_timed: bool) -> ByHand {
        let mut shard = Shard::new(0, Limits::default(), 1, 7);
        if is_timed {
            let policy = Policy { conversion_deadlock: ConversionDeadlock::Timed, ..Policy::default() };
            let set = Input::SetPolicy { lockspace: LockspaceId(0), policy: Some(&policy) };
            shard.step(Instant::START, set, &mut Vec::new());
        }
        ByHand { shard, sessions: Vec::new(), locks: Vec::new(), handles: 0 }
    }

    /// The session of this name, a new one if the name is new.
    fn session(&mut self, name: &str) -> SessionId {
        let at = self.sessions.iter().position(|known| known == name).unwrap_or_else(|| {
            self.sessions.push(name.into());
            self.sessions.len() - 1
        });
        SessionId(at as u64 + 1)
    }

    /// Where the lock of this name is known; a name that was never asked for stands for a lock that never was.
    fn lock(&mut self, name: &str) -> usize {
        self.locks.iter().position(|known| known.name == name).unwrap_or_else(|| {
            let session = self.session(name);
            self.name_lock(name, session)
        })
    }

    fn name_lock(&mut self, name: &str, session: SessionId) -> usize {
        self.locks.retain(|known| known.name != name);
        self.handles += 1;
        let handle = Handle::new(self.handles).expect("it was counted up");
        self.locks.push(Named { name: name.into(), session, handle, id: NO_LOCK });
        self.locks.len() - 1
    }

    /// One step; the events are written, and ids are learned.
    fn step(&mut self, lock: Option<usize>, input: Input<'_>) -> Vec<String> {
        let mut outputs = Vec::new();
        self.shard.step(Instant::START, input, &mut outputs);
        self.shard.check().unwrap_or_else(|broken| panic!("{broken} after {input:?}"));
        outputs.iter().filter_map(|output| self.write(lock, output)).collect()
    }

    /// One search, as an operator asks for it: nothing needs to have waited.
    fn search(&mut self) -> Vec<String> {
        let mut copied = Copied::default();
        let rest = self.shard.copy_queues(self.shard.contended(), usize::MAX, &mut copied);
        assert_eq!(rest, 0, "all of it is copied");
        let cycles = search(Due::All, &copied, |_| Rule::default(), |_| 0);
        let mut events = Vec::new();
        for cycle in &cycles {
            assert!(cycle.waits.iter().all(|wait| self.shard.confirms(wait)), "nothing has moved");
            let refused = cycle.victim.map(|at| cycle.waits[at].waiting).expect("no case spares all");
            let input = Input::RefuseDeadlock { lock: refused.lock, stamp: refused.stamp, record: 1 };
            events.extend(self.step(None, input));
        }
        if cycles.is_empty() { vec!["none".into()] } else { events }
    }

    /// How the cases write an output; nothing for what they do not speak of.
    fn write(&mut self, lock: Option<usize>, output: &Output) -> Option<String> {
        if let (Some(at), Said::Granted(Grant { lock: id, .. }) | Said::Queued { lock: id, .. }) =
            (lock, &output.said)
        {
            self.locks[at].id = *id;
        }
        let asked = lock.map_or("", |at| self.locks[at].name.as_str());
        let named = |handle: &Handle| {
            let known =
                self.locks.iter().find(|known| known.handle == *handle && known.session == output.session);
            known.map_or("?", |known| known.name.as_str())
        };
        match &output.said {
            Said::Granted(grant) | Said::GrantedLater(grant) => {
                Some(write_grant(named(&grant.handle), grant))
            }
            Said::Queued { handle, .. } => Some(format!("{}?", named(handle))),
            Said::Done(Status::Done) | Said::Gone { .. } => None,
            Said::Done(status) => Some(format!("{asked}!{status}")),
            Said::Released { handle, .. } => Some(format!("{}-", named(handle))),
            Said::Refused { status, .. } => Some(format!("{asked}!{status}")),
            Said::Ended { handle, status, .. } => Some(format!("{}!{status}", named(handle))),
            Said::Demoted { handle } => Some(format!("{}>DEMOTED", named(handle))),
            Said::Blocking { handle, mode, .. } => Some(format!("{}~{mode}", named(handle))),
            said @ (Said::PathGranted { .. }
            | Said::PathGrantedLater { .. }
            | Said::Revoked { .. }
            | Said::Purged { .. }) => panic!("no case can cause {said:?}"),
        }
    }
}

impl Driver for ByHand {
    fn act(&mut self, operation: &Operation) -> Vec<String> {
        match operation {
            Operation::New { lock, mode, flags, resource, owner, parent } => {
                let session = self.session(owner);
                let under = match parent {
                    Some(parent) => {
                        let at = self.lock(parent);
                        Under::Parent(LockRef::Id(self.locks[at].id))
                    }
                    None => Under::Lockspace(LockspaceId(0)),
                };
                let at = self.name_lock(lock, session);
                let ask = Ask {
                    session,
                    mode: *mode,
                    flags: *flags,
                    owner: Owner::default(),
                    timeout_ms: None,
                    priority: 0,
                    reason: b"",
                };
                let name = ResourceName::new(resource.as_bytes()).expect("the cases have good names");
                let handle = self.locks[at].handle;
                self.step(Some(at), Input::Enq { ask, handle, under, name: &name })
            }
            Operation::Convert { lock, mode, flags, value } => {
                let at = self.lock(lock);
                let Named { session, id, .. } = self.locks[at];
                let convert = Input::Convert {
                    session,
                    lock: LockRef::Id(id),
                    mode: *mode,
                    flags: *flags,
                    timeout_ms: None,
                    priority: 0,
                    value: value.as_deref().map(str::as_bytes),
                };
                self.step(Some(at), convert)
            }
            Operation::Release { lock, flags, value } => {
                let at = self.lock(lock);
                let Named { session, id, .. } = self.locks[at];
                let value = value.as_deref().map(str::as_bytes);
                self.step(Some(at), Input::Deq { session, lock: LockRef::Id(id), flags: *flags, value })
            }
            Operation::Cancel { lock } => {
                let at = self.lock(lock);
                let Named { session, id, .. } = self.locks[at];
                self.step(Some(at), Input::Cancel { session, lock: LockRef::Id(id), flags: Flags::NONE })
            }
            Operation::Die { owner } => {
                let session = self.session(owner);
                let mut events =
                    self.step(None, Input::SealSession { session, end: End::Died, orphan_key: b"" });
                while self.shard.has_ending() {
                    events.extend(self.step(None, Input::Continue));
                }
                events
            }
            Operation::Search => self.search(),
            Operation::Priority { lock, priority } => {
                let at = self.lock(lock);
                let lock = self.locks[at].id;
                self.step(None, Input::SetPriority { lock, priority: *priority })
            }
        }
    }
}
