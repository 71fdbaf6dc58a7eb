//! Records as bytes and back (`docs/journal.md`, "Records").
//!
//! What is written is what is applied, here and after a restart: nobody applies a record that he has not read from its
//! bytes. A record that cannot be read is of another version, for damaged bytes do not come this far. Numbers and words
//! are written as they are in a state image.

use super::{Act, Record};
use crate::{
    engine::{
        Ask, Input, LockRef, Under,
        image::{Bad, Image, Reader, Writer, fields},
        session::Call,
    },
    table::{Refusal, Request, Terms},
};
use enq_protocol::vocabulary::{Handle, LockId, ResourceName, SessionId};

/// A record that this version does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record is not one that this enqd writes; start the version that wrote it")]
pub struct BadRecord;

/// Room for the names and handles of one record.
#[derive(Debug, Default)]
pub struct Room {
    path: Vec<ResourceName>,
    handles: Vec<Handle>,
}

fields! { Request { number, digest, len } }
fields! { Refusal { lock, stamp, record, converts } }
fields! { Terms { epoch, route_key, window_requests, window_bytes, limits } }

impl Record<'_> {
    /// Appends it to these bytes.
    pub fn write(&self, behind: &mut Vec<u8>) {
        let mut writer = Writer::behind(std::mem::take(behind));
        let to = &mut writer;
        to.byte(self.act.tag());
        self.now.write(to);
        match &self.act {
            Act::Start(terms) => terms.write(to),
            Act::Open(about) => about.write(to),
            Act::Request { session, request, acked, call } => {
                session.write(to);
                request.write(to);
                acked.write(to);
                put_call(call, to);
            }
            Act::Kill(session) => session.write(to),
            Act::Pass => {}
            Act::Refuse(refusal) => refusal.write(to),
            Act::ForceRelease { lock, version, by, reason } => {
                lock.write(to);
                version.write(to);
                by.write(to);
                to.counted(reason.as_bytes());
            }
            Act::SetPriority { lock, priority } => {
                lock.write(to);
                priority.write(to);
            }
        }
        *behind = writer.into_bytes();
    }
}

impl Act<'_> {
    /// Its number in a record.
    fn tag(&self) -> u8 {
        match self {
            Act::Start(_) => 1,
            Act::Open(_) => 2,
            Act::Request { .. } => 3,
            Act::Kill(_) => 4,
            Act::Pass => 5,
            Act::Refuse(_) => 6,
            Act::ForceRelease { .. } => 7,
            Act::SetPriority { .. } => 8,
        }
    }
}

impl<'a> Record<'a> {
    /// The record that these bytes are.
    ///
    /// # Errors
    /// They are none of this version.
    pub fn read(bytes: &'a [u8], room: &'a mut Room) -> Result<Record<'a>, BadRecord> {
        read(&mut Reader::new(bytes), room).map_err(|_| BadRecord)
    }
}

fn read<'a>(from: &mut Reader<'a>, room: &'a mut Room) -> Result<Record<'a>, Bad> {
    let tag = from.byte()?;
    let now = Image::read(from)?;
    let act = match tag {
        1 => Act::Start(Image::read(from)?),
        2 => Act::Open(Image::read(from)?),
        3 => {
            let (session, request, acked) = (Image::read(from)?, Image::read(from)?, Image::read(from)?);
            Act::Request { session, request, acked, call: call(session, from, room)? }
        }
        4 => Act::Kill(Image::read(from)?),
        5 => Act::Pass,
        6 => Act::Refuse(Image::read(from)?),
        7 => {
            let (lock, version, by) = (Image::read(from)?, Image::read(from)?, Image::read(from)?);
            let reason = std::str::from_utf8(from.counted()?);
            Act::ForceRelease {
                lock,
                version,
                by,
                reason: reason.map_err(|_| from.wrong("bytes that are no text"))?,
            }
        }
        8 => Act::SetPriority { lock: LockId::read(from)?, priority: Image::read(from)? },
        _ => return Err(from.wrong("no record")),
    };
    from.end()?;
    Ok(Record { now, act })
}

fn put_call(call: &Call<'_>, to: &mut Writer) {
    match call {
        Call::Lock(input) => put_input(input, to),
        Call::ReleaseAll { flags } => {
            to.byte(16);
            flags.write(to);
        }
        Call::Purge { lockspace, root, orphan_key } => {
            to.byte(17);
            lockspace.write(to);
            root.write(to);
            to.counted(orphan_key);
        }
        Call::CreateSpace { name, policy, exclusive } => {
            to.byte(18);
            name.write(to);
            policy.write(to);
            exclusive.write(to);
        }
        Call::SetSpace { lockspace, version, policy } => {
            to.byte(19);
            lockspace.write(to);
            version.write(to);
            policy.write(to);
        }
        Call::RemoveSpace { lockspace, force } => {
            to.byte(20);
            lockspace.write(to);
            force.write(to);
        }
        Call::Close => to.byte(21),
        Call::Refused(status) => {
            to.byte(22);
            status.write(to);
        }
    }
}

/// The inputs that a session's requests are.
fn put_input(input: &Input<'_>, to: &mut Writer) {
    match input {
        Input::Enq { ask, handle, under, name } => {
            to.byte(0);
            put_ask(ask, to);
            handle.write(to);
            put_under(*under, to);
            name.write(to);
        }
        Input::EnqPath { ask, handles, lockspace, path } => {
            to.byte(1);
            put_ask(ask, to);
            lockspace.write(to);
            handles.len().write(to);
            handles.iter().for_each(|handle| handle.write(to));
            path.len().write(to);
            path.iter().for_each(|name| name.write(to));
        }
        Input::Convert { session: _, lock, mode, flags, timeout_ms, priority, value } => {
            to.byte(2);
            put_lock(*lock, to);
            mode.write(to);
            flags.write(to);
            timeout_ms.write(to);
            priority.write(to);
            put_value(*value, to);
        }
        Input::Deq { session: _, lock, flags, value } => {
            to.byte(3);
            put_lock(*lock, to);
            flags.write(to);
            put_value(*value, to);
        }
        Input::Cancel { session: _, lock, flags } => {
            to.byte(4);
            put_lock(*lock, to);
            flags.write(to);
        }
        // The orphan key is the session's own.
        Input::SealSublocks { session: _, lock, flags, orphan_key: _ } => {
            to.byte(5);
            put_lock(*lock, to);
            flags.write(to);
        }
        Input::Adopt { ask, handle, under, name, orphan_key } => {
            to.byte(6);
            put_ask(ask, to);
            handle.write(to);
            put_under(*under, to);
            name.write(to);
            to.counted(orphan_key);
        }
        Input::SealSession { .. }
        | Input::Purge { .. }
        | Input::Continue
        | Input::Tick
        | Input::SetPolicy { .. }
        | Input::ForceRelease { .. }
        | Input::EndRequest { .. }
        | Input::RefuseDeadlock { .. }
        | Input::SetPriority { .. }
        | Input::RaiseEpoch { .. } => unreachable!("no request of a session is {input:?}"),
    }
}

fn call<'a>(session: SessionId, from: &mut Reader<'a>, room: &'a mut Room) -> Result<Call<'a>, Bad> {
    Ok(match from.byte()? {
        tag @ 0..16 => Call::Lock(input(tag, session, from, room)?),
        16 => Call::ReleaseAll { flags: Image::read(from)? },
        17 => {
            let (lockspace, root) = (Image::read(from)?, Image::read(from)?);
            Call::Purge { lockspace, root, orphan_key: from.counted()? }
        }
        18 => Call::CreateSpace {
            name: Image::read(from)?,
            policy: Image::read(from)?,
            exclusive: Image::read(from)?,
        },
        19 => Call::SetSpace {
            lockspace: Image::read(from)?,
            version: Image::read(from)?,
            policy: Image::read(from)?,
        },
        20 => Call::RemoveSpace { lockspace: Image::read(from)?, force: Image::read(from)? },
        21 => Call::Close,
        22 => Call::Refused(Image::read(from)?),
        _ => return Err(from.wrong("no call")),
    })
}

fn input<'a>(
    tag: u8,
    session: SessionId,
    from: &mut Reader<'a>,
    room: &'a mut Room,
) -> Result<Input<'a>, Bad> {
    Ok(match tag {
        0 => {
            let (ask, handle, under) = (ask(session, from)?, Image::read(from)?, under(from)?);
            Input::Enq { ask, handle, under, name: only(Image::read(from)?, room) }
        }
        1 => {
            let (ask, lockspace) = (ask(session, from)?, Image::read(from)?);
            (room.handles, room.path) = (Image::read(from)?, Image::read(from)?);
            Input::EnqPath { ask, handles: &room.handles, lockspace, path: &room.path }
        }
        2 => Input::Convert {
            session,
            lock: lock(from)?,
            mode: Image::read(from)?,
            flags: Image::read(from)?,
            timeout_ms: Image::read(from)?,
            priority: Image::read(from)?,
            value: value(from)?,
        },
        3 => Input::Deq { session, lock: lock(from)?, flags: Image::read(from)?, value: value(from)? },
        4 => Input::Cancel { session, lock: lock(from)?, flags: Image::read(from)? },
        5 => Input::SealSublocks { session, lock: lock(from)?, flags: Image::read(from)?, orphan_key: &[] },
        6 => {
            let (ask, handle, under) = (ask(session, from)?, Image::read(from)?, under(from)?);
            let name = only(Image::read(from)?, room);
            Input::Adopt { ask, handle, under, name, orphan_key: from.counted()? }
        }
        _ => return Err(from.wrong("no input")),
    })
}

/// The one name of a record, in the room for it.
fn only(name: ResourceName, room: &mut Room) -> &ResourceName {
    room.path.clear();
    room.path.push(name);
    room.path.last().expect("it was put there")
}

fn put_ask(ask: &Ask<'_>, to: &mut Writer) {
    let Ask { session: _, mode, flags, owner, timeout_ms, priority, reason } = ask;
    mode.write(to);
    flags.write(to);
    owner.write(to);
    timeout_ms.write(to);
    priority.write(to);
    to.counted(reason);
}

fn ask<'a>(session: SessionId, from: &mut Reader<'a>) -> Result<Ask<'a>, Bad> {
    Ok(Ask {
        session,
        mode: Image::read(from)?,
        flags: Image::read(from)?,
        owner: Image::read(from)?,
        timeout_ms: Image::read(from)?,
        priority: Image::read(from)?,
        reason: from.counted()?,
    })
}

fn put_under(under: Under, to: &mut Writer) {
    match under {
        Under::Lockspace(lockspace) => {
            to.byte(0);
            lockspace.write(to);
        }
        Under::Parent(lock) => {
            to.byte(1);
            put_lock(lock, to);
        }
    }
}

fn under(from: &mut Reader<'_>) -> Result<Under, Bad> {
    match from.byte()? {
        0 => Ok(Under::Lockspace(Image::read(from)?)),
        1 => Ok(Under::Parent(lock(from)?)),
        _ => Err(from.wrong("neither root nor sublock")),
    }
}

/// A lock as the client names it: which one that is, the register knows when its turn comes.
fn put_lock(lock: LockRef, to: &mut Writer) {
    match lock {
        LockRef::Handle(handle) => handle.write(to),
        LockRef::Id(_) => unreachable!("a request names its locks by handles"),
    }
}

fn lock(from: &mut Reader<'_>) -> Result<LockRef, Bad> {
    Image::read(from).map(LockRef::Handle)
}

fn put_value(value: Option<&[u8]>, to: &mut Writer) {
    value.is_some().write(to);
    if let Some(value) = value {
        to.counted(value);
    }
}

fn value<'a>(from: &mut Reader<'a>) -> Result<Option<&'a [u8]>, Bad> {
    if bool::read(from)? { from.counted().map(Some) } else { Ok(None) }
}

#[cfg(test)]
mod tests;
