//! Every sort of record as bytes: written and read, cut off, changed.

use super::*;
use crate::{
    engine::{Instant, Limits},
    table::About,
};
use enq_protocol::vocabulary::{Flags, LockMode, LockspaceId, Owner, Policy, Stamp, Status};

const SESSION: SessionId = SessionId(0x0100_0000_0007);

fn name(text: &str) -> ResourceName {
    ResourceName::new(text.as_bytes()).unwrap()
}

fn handle(number: u32) -> Handle {
    Handle::new(number).unwrap()
}

fn ask() -> Ask<'static> {
    Ask {
        session: SESSION,
        mode: LockMode::Pw,
        flags: Flags::VALBLK | Flags::NOQUEUE,
        owner: Owner { scope: 0, token: u64::MAX },
        timeout_ms: Some(0),
        priority: 200,
        reason: b"why",
    }
}

fn about() -> About {
    About {
        name: "billing".into(),
        purpose: "nightly".into(),
        host: "h\u{f6}st".into(),
        pid: u32::MAX,
        peer: "[::1]:1".into(),
        ttl_ms: 15_000,
        bound: true,
        secret: [7; 16],
        orphan_key: b"key".as_slice().into(),
    }
}

fn terms() -> Terms {
    let limits =
        Limits { waiting_a_resource: 1, locks_a_session: 0, name_len: 255, depth: 3, ..Limits::default() };
    Terms { epoch: 9, route_key: [3; 16], window_requests: 1_024, window_bytes: 1 << 18, limits }
}

/// Hands one record of each sort to `look`.
fn with_all(look: &mut dyn FnMut(Record<'_>)) {
    let (root, path) = (name("root"), [name("root"), name(&"n".repeat(255))]);
    let (handles, policy) = ([handle(1), handle(0x00FF_FFFF)], Policy { fair: true, ..Policy::default() });
    let (session, lock, flags) = (SESSION, LockRef::Handle(handle(5)), Flags::NONE);
    let (space, under) = (LockspaceId(2), Under::Parent(LockRef::Handle(handle(300))));
    let inputs = [
        Input::Enq { ask: ask(), handle: handle(1), under: Under::Lockspace(space), name: &root },
        Input::Enq { ask: Ask { timeout_ms: None, ..ask() }, handle: handle(2), under, name: &root },
        Input::EnqPath { ask: ask(), handles: &handles, lockspace: space, path: &path },
        Input::EnqPath { ask: ask(), handles: &[], lockspace: space, path: &path[..1] },
        Input::Convert {
            session,
            lock,
            mode: LockMode::Nl,
            flags,
            timeout_ms: Some(u32::MAX),
            priority: 0,
            value: Some(&[]),
        },
        Input::Deq { session, lock, flags: Flags::NOACK, value: Some(&[9; 64]) },
        Input::Deq { session, lock, flags, value: None },
        Input::Cancel { session, lock, flags },
        Input::SealSublocks { session, lock, flags, orphan_key: &[] },
        Input::Adopt { ask: ask(), handle: handle(1), under, name: &root, orphan_key: b"orphan" },
    ];
    let calls = inputs.into_iter().map(Call::Lock).chain([
        Call::ReleaseAll { flags: Flags::IVVALBLK },
        Call::Purge { lockspace: space, root: Some(root.clone()), orphan_key: b"k" },
        Call::Purge { lockspace: space, root: None, orphan_key: b"" },
        Call::CreateSpace { name: root.clone(), policy: policy.clone(), exclusive: true },
        Call::SetSpace { lockspace: space, version: 4, policy },
        Call::RemoveSpace { lockspace: space, force: true },
        Call::Close,
        Call::Refused(Status::BadName),
    ]);
    let mut request = Request { number: 1, digest: 0x0123_4567_89AB_CDEF, len: 40 };
    for call in calls {
        request.number += 1;
        let act = Act::Request { session: SESSION, request, acked: request.number - 1, call };
        look(Record { now: Instant(u64::MAX), act });
    }
    let (lock, by) = (LockId::new(255, 7, 9), SESSION);
    let refusal = Refusal { lock, stamp: Stamp(8), record: 3, converts: true };
    for act in [
        Act::Start(terms()),
        Act::Open(about()),
        Act::Kill(SESSION),
        Act::Pass,
        Act::Refuse(refusal),
        Act::ForceRelease { lock, version: 12, by, reason: "stuck" },
        Act::SetPriority { lock, priority: 255 },
    ] {
        look(Record { now: Instant(1), act });
    }
}

#[test]
fn what_is_written_is_read() {
    let mut sorts = 0;
    with_all(&mut |record| {
        let (mut bytes, mut room) = (Vec::new(), Room::default());
        record.write(&mut bytes);
        assert_eq!(Record::read(&bytes, &mut room), Ok(record));
        sorts += 1;
    });
    assert_eq!(sorts, 25);
}

#[test]
fn what_is_cut_off_or_goes_on_is_no_record() {
    with_all(&mut |record| {
        let mut bytes = Vec::new();
        record.write(&mut bytes);
        for end in 0..bytes.len() {
            assert_eq!(
                Record::read(&bytes[..end], &mut Room::default()),
                Err(BadRecord),
                "{record:?} to {end}"
            );
        }
        bytes.push(0);
        assert_eq!(Record::read(&bytes, &mut Room::default()), Err(BadRecord), "{record:?} and a byte");
    });
}

/// Nothing panics, and nothing asks for memory that a length promises.
#[test]
fn any_bytes_are_a_record_or_none() {
    with_all(&mut |record| {
        let mut bytes = Vec::new();
        record.write(&mut bytes);
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7F, 0x80, 0xFF] {
                let mut changed = bytes.clone();
                changed[at] = value;
                let _ = Record::read(&changed, &mut Room::default());
            }
        }
    });
}
