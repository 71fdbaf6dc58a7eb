//! From the words of the wire to those of the engine: the only file that knows both.
//!
//! Locks stay named by their handles here; the session's register knows which locks are meant. Names are copied into
//! room that is used again, so a request costs no allocation unless a name is long.

use crate::engine::{Ask, Input, LockRef, Under, session::Call};
use enq_protocol::{
    vocabulary::{Handle, ResourceName, SessionId, Status},
    wire::{Adopt, Cancel, Convert, Deq, DeqAll, Enq, EnqPath, Purge, Request, Space},
};

/// Room for the names and handles of one request.
#[derive(Debug, Default)]
pub struct Room {
    path: Vec<ResourceName>,
    handles: Vec<Handle>,
}

/// What a request asks of the engine, on behalf of this session.
pub fn call<'a>(request: Request<'a>, session: SessionId, room: &'a mut Room) -> Call<'a> {
    room.path.clear();
    match request {
        Request::Enq(enq) => new_lock(&enq, session, room),
        Request::EnqPath(enq) => new_path(enq, session, room),
        Request::Convert(convert) => {
            let Convert { handle, mode, flags, timeout_ms, priority, value } = convert;
            let lock = LockRef::Handle(handle);
            Call::Lock(Input::Convert { session, lock, mode, flags, timeout_ms, priority, value })
        }
        Request::Deq(Deq { handle, flags, value }) => {
            Call::Lock(Input::Deq { session, lock: LockRef::Handle(handle), flags, value })
        }
        Request::DeqAll(DeqAll { under: Some(handle), flags }) => {
            // The session's own orphan key is known where the request is executed.
            let (lock, orphan_key) = (LockRef::Handle(handle), &[][..]);
            Call::Lock(Input::SealSublocks { session, lock, flags, orphan_key })
        }
        Request::DeqAll(DeqAll { under: None, flags }) => Call::ReleaseAll { flags },
        Request::Cancel(Cancel { handle, flags }) => {
            Call::Lock(Input::Cancel { session, lock: LockRef::Handle(handle), flags })
        }
        Request::Adopt(adopt) => adoption(&adopt, session, room),
        Request::Purge(Purge { lockspace, root, orphan_key }) => {
            match root.map(ResourceName::new).transpose() {
                Ok(root) => Call::Purge { lockspace, root, orphan_key },
                Err(_) => Call::Refused(Status::BadName),
            }
        }
        Request::Space(Space::Create { name, policy, exclusive }) => {
            Call::CreateSpace { name, policy, exclusive }
        }
        Request::Space(Space::Set { lockspace, version, policy }) => {
            Call::SetSpace { lockspace, version, policy }
        }
        Request::Space(Space::Remove { lockspace, force }) => Call::RemoveSpace { lockspace, force },
        Request::Close => Call::Close,
        Request::Refused(status) => Call::Refused(status),
    }
}

fn new_lock<'a>(enq: &Enq<'a>, session: SessionId, room: &'a mut Room) -> Call<'a> {
    let Ok(name) = ResourceName::new(enq.name) else { return Call::Refused(Status::BadName) };
    room.path.push(name);
    let Some(name) = room.path.last() else { return Call::Refused(Status::BadName) };
    let ask = Ask {
        session,
        mode: enq.mode,
        flags: enq.flags,
        owner: enq.owner,
        timeout_ms: enq.timeout_ms,
        priority: enq.priority,
        reason: enq.reason,
    };
    let under = match enq.parent {
        Some(parent) => Under::Parent(LockRef::Handle(parent)),
        None => Under::Lockspace(enq.lockspace),
    };
    Call::Lock(Input::Enq { ask, handle: enq.handle, under, name })
}

fn adoption<'a>(adopt: &Adopt<'a>, session: SessionId, room: &'a mut Room) -> Call<'a> {
    let Ok(name) = ResourceName::new(adopt.name) else { return Call::Refused(Status::BadName) };
    room.path.push(name);
    let Some(name) = room.path.last() else { return Call::Refused(Status::BadName) };
    let ask = Ask {
        session,
        mode: adopt.mode,
        flags: adopt.flags,
        owner: adopt.owner,
        timeout_ms: None,
        priority: adopt.priority,
        reason: adopt.reason,
    };
    let under = match adopt.parent {
        Some(parent) => Under::Parent(LockRef::Handle(parent)),
        None => Under::Lockspace(adopt.lockspace),
    };
    Call::Lock(Input::Adopt { ask, handle: adopt.handle, under, name, orphan_key: adopt.orphan_key })
}

fn new_path<'a>(enq: EnqPath<'a>, session: SessionId, room: &'a mut Room) -> Call<'a> {
    for name in &enq.path {
        let Ok(name) = ResourceName::new(name) else { return Call::Refused(Status::BadName) };
        room.path.push(name);
    }
    room.handles = enq.handles;
    let ask = Ask {
        session,
        mode: enq.mode,
        flags: enq.flags,
        owner: enq.owner,
        timeout_ms: enq.timeout_ms,
        priority: enq.priority,
        reason: enq.reason,
    };
    Call::Lock(Input::EnqPath { ask, handles: &room.handles, lockspace: enq.lockspace, path: &room.path })
}
