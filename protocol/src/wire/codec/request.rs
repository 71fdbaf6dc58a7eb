//! Numbered requests. Reading ENQ, CONVERT, DEQ and CANCEL allocates nothing.

use bytes::BytesMut;

use super::super::{
    Adopt, Cancel, Convert, DecodeError, Deq, DeqAll, EncodeError, Enq, EnqPath, Extension, Family, Fault,
    Header, Kind, ORPHAN_KEY_LEN_MAX, Purge, Request, Space,
};
use super::{
    reader::{Read, Reader},
    writer::Writer,
};
use crate::vocabulary::{Handle, LOCK_DELAY_MS_MAX, LockspaceId, Policy, VALUE_LEN_MAX};
use alloc::vec::Vec;

impl<'a> Request<'a> {
    /// Reads a numbered request. [`super::FromClient::decode`] turns errors into [`Request::Refused`].
    ///
    /// # Errors
    /// The first field that is wrong. See [`DecodeError::outcome`] for what becomes of the connection.
    #[inline]
    pub fn decode(header: &Header, body: &'a [u8]) -> Result<Request<'a>, DecodeError> {
        let message = header.kind;
        if message.family() != Family::Request {
            return Err(DecodeError { message, field: "kind", offset: 4, fault: Fault::WrongSide });
        }
        let reader = Reader::new(header, body, true)?;
        match message {
            Kind::ENQ => enq(reader).map(Request::Enq),
            Kind::ENQ_PATH => enq_path(reader).map(Request::EnqPath),
            Kind::CONVERT => convert(reader).map(Request::Convert),
            Kind::DEQ => deq(reader).map(Request::Deq),
            Kind::DEQ_ALL => deq_all(reader).map(Request::DeqAll),
            Kind::CANCEL => cancel(reader).map(Request::Cancel),
            Kind::ADOPT => adopt(reader).map(Request::Adopt),
            Kind::PURGE => purge(reader).map(Request::Purge),
            Kind::CREATE_SPACE => create_space(reader).map(Request::Space),
            Kind::SET_SPACE => set_space(reader).map(Request::Space),
            Kind::REMOVE_SPACE => remove_space(reader).map(Request::Space),
            Kind::CLOSE => reader.finish(&[]).map(|_| Request::Close),
            _ => Err(DecodeError { message, field: "kind", offset: 4, fault: Fault::UnknownKind }),
        }
    }

    /// Appends the request as one frame.
    ///
    /// # Errors
    /// [`EncodeError`] if it does not fit into a frame, or is [`Request::Refused`].
    pub fn encode(&self, number: u64, ack: u64, out: &mut BytesMut) -> Result<(), EncodeError> {
        let kind = match self {
            Request::Enq(_) => Kind::ENQ,
            Request::EnqPath(_) => Kind::ENQ_PATH,
            Request::Convert(_) => Kind::CONVERT,
            Request::Deq(_) => Kind::DEQ,
            Request::DeqAll(_) => Kind::DEQ_ALL,
            Request::Cancel(_) => Kind::CANCEL,
            Request::Adopt(_) => Kind::ADOPT,
            Request::Purge(_) => Kind::PURGE,
            Request::Space(Space::Create { .. }) => Kind::CREATE_SPACE,
            Request::Space(Space::Set { .. }) => Kind::SET_SPACE,
            Request::Space(Space::Remove { .. }) => Kind::REMOVE_SPACE,
            Request::Close => Kind::CLOSE,
            Request::Refused(_) => return Err(EncodeError::NotSent),
        };
        let mut w = Writer::new(kind, number, ack, 96, out);
        match self {
            Request::Enq(enq) => {
                write_enq(&mut w, enq);
                return w.finish_with(Extension::REASON, enq.reason);
            }
            Request::EnqPath(enq) => {
                write_enq_path(&mut w, enq);
                return w.finish_with(Extension::REASON, enq.reason);
            }
            Request::Adopt(adopt) => {
                write_adopt(&mut w, adopt);
                return w.finish_with(Extension::REASON, adopt.reason);
            }
            Request::Purge(Purge { lockspace, root, orphan_key }) => {
                w.u32(lockspace.0);
                w.option(*root, Writer::bytes);
                w.bytes(orphan_key);
            }
            Request::Convert(convert) => write_convert(&mut w, convert),
            Request::Deq(Deq { handle, flags, value }) => {
                w.handle(*handle);
                w.u32(flags.0);
                w.option(*value, Writer::bytes);
            }
            Request::DeqAll(DeqAll { under, flags }) => {
                w.handle_or_none(*under);
                w.u32(flags.0);
            }
            Request::Cancel(Cancel { handle, flags }) => {
                w.handle(*handle);
                w.u32(flags.0);
            }
            Request::Space(space) => write_space(&mut w, space),
            Request::Close | Request::Refused(_) => {}
        }
        w.finish()
    }
}

/// The REASON extension of a request, with which its body ends.
#[inline]
fn reason(reader: Reader<'_>) -> Read<&[u8]> {
    let (message, offset) = (reader.message(), reader.offset());
    let reason = reader.finish(&[Extension::REASON])?.with_number(Extension::REASON).unwrap_or_default();
    let (len, max) = (reason.len(), Extension::REASON_LEN_MAX);
    if len > max {
        return Err(DecodeError { message, field: "reason", offset, fault: Fault::TooLong { len, max } });
    }
    Ok(reason)
}

#[inline]
fn enq(mut r: Reader<'_>) -> Read<Enq<'_>> {
    Ok(Enq {
        handle: r.handle("handle", Fault::NoHandle)?,
        lockspace: LockspaceId(r.u32("lockspace")?),
        parent: r.handle_or_none("parent")?,
        mode: r.mode("mode")?,
        flags: r.flags()?,
        owner: r.owner()?,
        timeout_ms: r.timeout()?,
        priority: r.u8("priority")?,
        name: r.name("name")?,
        reason: reason(r)?,
    })
}

fn write_enq(w: &mut Writer<'_>, enq: &Enq<'_>) {
    w.handle(enq.handle);
    w.u32(enq.lockspace.0);
    w.handle_or_none(enq.parent);
    w.mode(enq.mode);
    w.u32(enq.flags.0);
    w.owner(enq.owner);
    w.timeout(enq.timeout_ms);
    w.u8(enq.priority);
    w.bytes(enq.name);
}

fn enq_path(mut r: Reader<'_>) -> Read<EnqPath<'_>> {
    let lockspace = LockspaceId(r.u32("lockspace")?);
    let mode = r.mode("mode")?;
    let flags = r.flags()?;
    let owner = r.owner()?;
    let timeout_ms = r.timeout()?;
    let priority = r.u8("priority")?;
    let levels = r.levels("path", 6)?;
    let mut handles: Vec<Handle> = Vec::with_capacity(levels);
    let mut path = Vec::with_capacity(levels);
    for _ in 0..levels {
        handles.push(r.handle("path handle", Fault::NoHandle)?);
        path.push(r.name("path")?);
    }
    let reason = reason(r)?;
    Ok(EnqPath { handles, lockspace, path, mode, flags, owner, timeout_ms, priority, reason })
}

fn write_enq_path(w: &mut Writer<'_>, enq: &EnqPath<'_>) {
    w.u32(enq.lockspace.0);
    w.mode(enq.mode);
    w.u32(enq.flags.0);
    w.owner(enq.owner);
    w.timeout(enq.timeout_ms);
    w.u8(enq.priority);
    w.list(enq.handles.iter().zip(&enq.path), |w, (handle, name)| {
        w.handle(*handle);
        w.bytes(name);
    });
}

#[inline]
fn convert(mut r: Reader<'_>) -> Read<Convert<'_>> {
    let convert = Convert {
        handle: r.handle("handle", Fault::NoSuchHandle)?,
        mode: r.mode("mode")?,
        flags: r.flags()?,
        timeout_ms: r.timeout()?,
        priority: r.u8("priority")?,
        value: r.option("value", Reader::value)?,
    };
    r.finish(&[]).map(|_| convert)
}

fn write_convert(w: &mut Writer<'_>, convert: &Convert<'_>) {
    w.handle(convert.handle);
    w.mode(convert.mode);
    w.u32(convert.flags.0);
    w.timeout(convert.timeout_ms);
    w.u8(convert.priority);
    w.option(convert.value, Writer::bytes);
}

#[inline]
fn deq(mut r: Reader<'_>) -> Read<Deq<'_>> {
    let deq = Deq {
        handle: r.handle("handle", Fault::NoSuchHandle)?,
        flags: r.flags()?,
        value: r.option("value", Reader::value)?,
    };
    r.finish(&[]).map(|_| deq)
}

fn deq_all(mut r: Reader<'_>) -> Read<DeqAll> {
    let deq_all = DeqAll { under: r.handle_or_none("under")?, flags: r.flags()? };
    r.finish(&[]).map(|_| deq_all)
}

fn cancel(mut r: Reader<'_>) -> Read<Cancel> {
    let cancel = Cancel { handle: r.handle("handle", Fault::NoSuchHandle)?, flags: r.flags()? };
    r.finish(&[]).map(|_| cancel)
}

fn adopt(mut r: Reader<'_>) -> Read<Adopt<'_>> {
    Ok(Adopt {
        handle: r.handle("handle", Fault::NoHandle)?,
        lockspace: LockspaceId(r.u32("lockspace")?),
        parent: r.handle_or_none("parent")?,
        mode: r.mode("mode")?,
        flags: r.flags()?,
        owner: r.owner()?,
        priority: r.u8("priority")?,
        name: r.name("name")?,
        orphan_key: r.bytes("orphan_key", ORPHAN_KEY_LEN_MAX)?,
        reason: reason(r)?,
    })
}

fn write_adopt(w: &mut Writer<'_>, adopt: &Adopt<'_>) {
    w.handle(adopt.handle);
    w.u32(adopt.lockspace.0);
    w.handle_or_none(adopt.parent);
    w.mode(adopt.mode);
    w.u32(adopt.flags.0);
    w.owner(adopt.owner);
    w.u8(adopt.priority);
    w.bytes(adopt.name);
    w.bytes(adopt.orphan_key);
}

fn purge(mut r: Reader<'_>) -> Read<Purge<'_>> {
    let purge = Purge {
        lockspace: LockspaceId(r.u32("lockspace")?),
        root: r.option("root", Reader::name)?,
        orphan_key: r.bytes("orphan_key", ORPHAN_KEY_LEN_MAX)?,
    };
    r.finish(&[]).map(|_| purge)
}

/// A policy that somebody asks for: its numbers have limits.
fn asked_policy(r: &mut Reader<'_>) -> Read<Policy> {
    let offset = r.offset();
    let policy = r.policy()?;
    if usize::from(policy.value_len_max) > VALUE_LEN_MAX {
        let value = u64::from(policy.value_len_max);
        return Err(r.fail("value_len_max", offset, Fault::Limit { value }));
    }
    match policy.deadlock_wait_ms {
        0 | 10..=3_600_000 => {}
        // Two bytes and two choices before it.
        ms => return Err(r.fail("deadlock_wait_ms", offset + 4, Fault::Limit { value: u64::from(ms) })),
    }
    if policy.lock_delay_ms > LOCK_DELAY_MS_MAX {
        // Every field of a policy has one length.
        let value = u64::from(policy.lock_delay_ms);
        return Err(r.fail("lock_delay_ms", offset + 14, Fault::Limit { value }));
    }
    Ok(policy)
}

fn create_space(mut r: Reader<'_>) -> Read<Space> {
    let name = r.resource_name("name")?;
    let policy = asked_policy(&mut r)?;
    let exclusive = r.bool("exclusive")?;
    r.finish(&[]).map(|_| Space::Create { name, policy, exclusive })
}

fn set_space(mut r: Reader<'_>) -> Read<Space> {
    let lockspace = LockspaceId(r.u32("lockspace")?);
    let version = r.u64("version")?;
    let policy = asked_policy(&mut r)?;
    r.finish(&[]).map(|_| Space::Set { lockspace, version, policy })
}

fn remove_space(mut r: Reader<'_>) -> Read<Space> {
    let lockspace = LockspaceId(r.u32("lockspace")?);
    let force = r.bool("force")?;
    r.finish(&[]).map(|_| Space::Remove { lockspace, force })
}

fn write_space(w: &mut Writer<'_>, space: &Space) {
    match space {
        Space::Create { name, policy, exclusive } => {
            w.bytes(name.as_bytes());
            w.policy(policy);
            w.bool(*exclusive);
        }
        Space::Set { lockspace, version, policy } => {
            w.u32(lockspace.0);
            w.u64(*version);
            w.policy(policy);
        }
        Space::Remove { lockspace, force } => {
            w.u32(lockspace.0);
            w.bool(*force);
        }
    }
}
