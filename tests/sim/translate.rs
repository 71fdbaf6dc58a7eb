//! Between the words of the tests and the types of the engine.

use crate::words::{
    Ask, Block, Command, End, Event, Grant, Level, Name, Seen, SeenResource, Under, What, Which, orphan_key,
};
use enq::engine::{self, Input, Instant, LockRef, Output, Said, Shard};
use enq_protocol::vocabulary::{
    self, Edge, EdgeWhy, Handle, LockId, LockView, LockspaceId, Owner, Queue, ResourceName, ResourceView,
    SessionId, ValueBlock,
};
use std::collections::BTreeMap;

/// An id that no lock has.
const NOBODY: LockId = LockId::new(3, LockId::SLOT_MAX, u32::MAX);

fn handle(number: u32) -> Handle {
    Handle::new(number).expect("handles of histories begin at 1")
}

fn name(text: &str) -> ResourceName {
    ResourceName::new(text.as_bytes()).expect("names of histories are short")
}

pub(crate) fn path(names: &[&str]) -> Vec<ResourceName> {
    names.iter().map(|part| name(part)).collect()
}

pub(crate) fn space(number: u32) -> LockspaceId {
    LockspaceId(number)
}

fn ask(ask: &Ask) -> engine::Ask<'_> {
    engine::Ask {
        session: SessionId(ask.session),
        mode: ask.mode,
        flags: ask.flags,
        owner: Owner { scope: 0, token: ask.owner },
        timeout_ms: ask.timeout_ms,
        priority: ask.priority,
        reason: ask.reason.as_bytes(),
    }
}

fn end(end: End) -> engine::End {
    match end {
        End::ReleasedAll { invalidate } => engine::End::ReleasedAll { invalidate },
        End::Closed => engine::End::Closed,
        End::Died => engine::End::Died,
    }
}

/// What an input borrows.
pub(crate) struct Owned {
    names: Vec<ResourceName>,
    handles: Vec<Handle>,
    lock: Option<LockRef>,
    id: LockId,
    version: u64,
    from: Option<LockId>,
}

impl Owned {
    pub(crate) fn new(command: &Command, known: &BTreeMap<Name, u64>, shard: &Shard, now: Instant) -> Owned {
        let id = |which: Which| known.get(&which.name).map_or(NOBODY, |id| LockId(*id));
        let lock = |which: Which| {
            if which.by_handle { LockRef::Handle(handle(which.name.1)) } else { LockRef::Id(id(which)) }
        };
        let mut owned =
            Owned { names: Vec::new(), handles: Vec::new(), lock: None, id: NOBODY, version: 0, from: None };
        match command {
            Command::New { under, name: resource, .. } => {
                owned.names = vec![name(resource)];
                if let Under::Lock(which) = under {
                    owned.lock = Some(lock(*which));
                }
            }
            Command::Adopt { under, name: resource, .. } => {
                owned.names = vec![name(resource)];
                if let Under::Lock(which) = under {
                    owned.lock = Some(lock(*which));
                }
            }
            Command::Purge { root, from, .. } => {
                owned.names = root.iter().map(|root| name(root)).collect();
                owned.from = from.map(id);
            }
            Command::Path { handles, path: names, .. } => {
                owned.names = path(names);
                owned.handles = handles.iter().map(|number| handle(*number)).collect();
            }
            Command::Convert { lock: which, .. }
            | Command::Release { lock: which, .. }
            | Command::Cancel { lock: which, .. }
            | Command::ReleaseSublocks { lock: which, .. } => owned.lock = Some(lock(*which)),
            Command::ForceRelease { lock: which, stale, .. } => {
                owned.id = id(*which);
                let seq = shard.show_lock(now, owned.id).map_or(0, |view| view.seq.0);
                owned.version = seq + u64::from(*stale);
            }
            Command::EndRequest { lock: which } | Command::SetPriority { lock: which, .. } => {
                owned.id = id(*which);
            }
            _ => {}
        }
        owned
    }

    fn lock(&self) -> LockRef {
        self.lock.unwrap_or(LockRef::Id(NOBODY))
    }

    fn under(&self, under: Under) -> engine::Under {
        match under {
            Under::Space(number) => engine::Under::Lockspace(space(number)),
            Under::Lock(_) => engine::Under::Parent(self.lock()),
        }
    }

    /// The command as the engine wants it.
    pub(crate) fn input<'a>(&'a self, command: &'a Command) -> Input<'a> {
        match command {
            Command::New { ask: said, handle: number, under, .. } => Input::Enq {
                ask: ask(said),
                handle: handle(*number),
                under: self.under(*under),
                name: self.names.first().expect("a new lock has a name"),
            },
            Command::Path { ask: said, space: number, .. } => Input::EnqPath {
                ask: ask(said),
                handles: &self.handles,
                lockspace: space(*number),
                path: &self.names,
            },
            Command::Convert { session, mode, flags, timeout_ms, priority, value, .. } => Input::Convert {
                session: SessionId(*session),
                lock: self.lock(),
                mode: *mode,
                flags: *flags,
                timeout_ms: *timeout_ms,
                priority: *priority,
                value: value.as_deref(),
            },
            Command::Release { session, flags, value, .. } => Input::Deq {
                session: SessionId(*session),
                lock: self.lock(),
                flags: *flags,
                value: value.as_deref(),
            },
            Command::Cancel { session, flags, .. } => {
                Input::Cancel { session: SessionId(*session), lock: self.lock(), flags: *flags }
            }
            Command::ReleaseSublocks { session, flags, .. } => {
                let (session, lock) = (SessionId(*session), self.lock());
                let orphan_key = orphan_key(session.0).as_bytes();
                Input::SealSublocks { session, lock, flags: *flags, orphan_key }
            }
            Command::EndSession { session, end: why } => {
                let orphan_key = orphan_key(*session).as_bytes();
                Input::SealSession { session: SessionId(*session), end: end(*why), orphan_key }
            }
            Command::Adopt { ask: said, handle: number, under, orphan_key, .. } => Input::Adopt {
                ask: ask(said),
                handle: handle(*number),
                under: self.under(*under),
                name: self.names.first().expect("an orphan has a name"),
                orphan_key: orphan_key.as_bytes(),
            },
            Command::Purge { space: number, orphan_key, .. } => Input::Purge {
                lockspace: space(*number),
                root: self.names.first(),
                orphan_key: orphan_key.as_bytes(),
                from: self.from,
            },
            Command::Continue => Input::Continue,
            Command::Tick => Input::Tick,
            Command::SetPolicy { space: number, policy } => {
                Input::SetPolicy { lockspace: space(*number), policy: policy.as_ref() }
            }
            Command::ForceRelease { by, .. } => Input::ForceRelease {
                lock: self.id,
                version: self.version,
                by: SessionId(*by),
                reason: "why",
            },
            Command::EndRequest { .. } => Input::EndRequest { lock: self.id },
            Command::SetPriority { priority, .. } => {
                Input::SetPriority { lock: self.id, priority: *priority }
            }
            Command::RaiseEpoch { epoch } => Input::RaiseEpoch { epoch: *epoch },
        }
    }
}

fn block(value: &ValueBlock) -> Block {
    Block { bytes: value.bytes.to_vec(), seq: value.seq, valid: value.valid }
}

fn grant(grant: &vocabulary::Grant) -> Grant {
    Grant {
        handle: grant.handle.number(),
        lock: grant.lock.0,
        mode: grant.mode,
        seq: grant.seq.0,
        fence: grant.fence.0,
        synchronous: grant.synchronous,
        alternate: grant.alternate,
        demoted: grant.demoted,
        stored: grant.stored,
        value: grant.value.as_deref().map(block),
    }
}

fn levels(levels: &[vocabulary::PathLevel]) -> Option<Vec<Level>> {
    let read = |level: &vocabulary::PathLevel| Level {
        handle: level.handle.number(),
        lock: level.lock.0,
        mode: level.mode,
        made: level.made,
    };
    Some(levels.iter().map(read).collect())
}

/// An output of the engine as an event.
pub(crate) fn event(output: &Output) -> Event {
    let what = match &output.said {
        Said::Granted(said) => What::Granted { later: false, grant: grant(said), levels: None },
        Said::GrantedLater(said) => What::Granted { later: true, grant: grant(said), levels: None },
        Said::PathGranted { leaf, levels: all } => {
            What::Granted { later: false, grant: grant(leaf), levels: levels(all) }
        }
        Said::PathGrantedLater { leaf, levels: all } => {
            What::Granted { later: true, grant: grant(leaf), levels: levels(all) }
        }
        Said::Queued { handle, lock } => What::Queued { handle: handle.number(), lock: lock.0 },
        Said::Done(status) => What::Done(*status),
        Said::Released { handle, frees } => What::Released { handle: handle.number(), frees: *frees },
        Said::Refused { status, blocker, waiting } => {
            What::Refused { status: *status, blocker: blocker.map(|lock| lock.0), waiting: *waiting }
        }
        Said::Ended { handle, status, holds, record } => {
            What::Ended { handle: handle.number(), status: *status, holds: *holds, record: *record }
        }
        Said::Purged { released, next } => {
            What::Purged { released: *released, next: next.map(|lock| lock.0) }
        }
        Said::Gone { handle } => What::Gone { handle: handle.number() },
        Said::Demoted { handle } => What::Demoted { handle: handle.number() },
        Said::Revoked { handle, by, reason } => {
            What::Revoked { handle: handle.number(), by: by.0, reason: reason.to_string() }
        }
        Said::Blocking { handle, seq, mode } => {
            What::Blocking { handle: handle.number(), seq: seq.0, mode: *mode }
        }
    };
    Event { to: output.session.0, what }
}

fn seen(view: &LockView) -> Seen {
    Seen {
        lock: view.lock.0,
        session: view.session.map(|session| session.0),
        handle: view.handle.number(),
        owner: view.owner.token,
        queue: match view.queue {
            Queue::Granted => "granted",
            Queue::Conversion => "converting",
            Queue::Waiting => "waiting",
        },
        held: view.granted,
        wanted: view.requested,
        seq: view.seq.0,
        fence: view.fence.0,
        parent: view.parent.map(|parent| parent.0),
        sublocks: view.sublocks,
        priority: view.priority,
        reason: view.reason.to_vec(),
        timeout_ms: view.timeout_ms,
        pause_ms: view.pause_ms,
    }
}

/// A view of the engine as what a look shows.
pub(crate) fn resource(view: &ResourceView) -> SeenResource {
    SeenResource {
        value: block(&view.value),
        subresources: view.subresources,
        locks: view.locks.iter().map(seen).collect(),
    }
}

/// Edges as ids; `true` for *held*.
pub(crate) fn edges(edges: &[Edge]) -> Vec<(u64, bool)> {
    edges.iter().map(|edge| (edge.lock.lock.0, edge.why == EdgeWhy::Held)).collect()
}
