//! Broken frames: cut short, changed in one byte, or long beyond reason. They are errors, never panics.

use super::{
    said::{Said, frame},
    samples,
};
use bytes::BytesMut;
use enq_protocol::vocabulary::{
    Edge, EdgeWhy, Flags, Handle, LockFilter, LockMode, LockPage, LockView, LockspaceId, LockspaceView,
    Owner, ResourceName, SessionId, SessionView, Status,
};
use enq_protocol::wire::{
    Deq, EncodeError, EnqPath, FRAME_LEN_MAX, Fatal, FromClient, HEADER_LEN, Header, Kind, Look, Request,
    Seen, cut, lock_view_len,
};

/// The bytes with their own length in front.
fn with_length(mut bytes: Vec<u8>) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).unwrap();
    bytes[..4].copy_from_slice(&len.to_le_bytes());
    bytes
}

#[test]
fn a_frame_cut_short_is_not_there_and_a_body_cut_short_is_refused() {
    for (name, said) in samples::all() {
        let bytes = said.bytes().unwrap();
        for len in 0..bytes.len() {
            assert_eq!(cut(&bytes[..len], FRAME_LEN_MAX), Ok(None), "{name} at {len}");
        }
        for len in HEADER_LEN..bytes.len() {
            let short = with_length(bytes[..len].to_vec());
            assert!(Said::read(&frame(&short)).is_err(), "{name} at {len}");
        }
    }
}

#[test]
fn a_byte_changed_is_refused_or_read_as_something_that_can_be_said() {
    let mut read = 0_u32;
    for (name, said) in samples::all() {
        let good = said.bytes().unwrap();
        for at in 4..good.len() {
            for change in 1..=255_u8 {
                let mut bytes = good.clone();
                bytes[at] ^= change;
                let Ok(said) = Said::read(&frame(&bytes)) else { continue };
                read += 1;
                if change.is_power_of_two() {
                    let again = said.bytes().unwrap();
                    assert_eq!(Said::read(&frame(&again)), Ok(said), "{name} at {at} by {change}");
                }
            }
        }
    }
    assert!(read > 10_000, "many numbers may be anything, but only {read} were");
}

#[test]
fn every_message_refuses_what_it_does_not_know() {
    for (name, said) in samples::all() {
        let bytes = said.bytes().unwrap();
        let Some((rest, [0, 0])) = bytes.split_last_chunk::<2>() else { continue };
        let ending = |end: &[u8]| with_length([rest, end].concat());
        assert!(Said::read(&frame(&ending(&[4, 0, 7, 0, 0, 0]))).is_ok(), "{name} skips an extension");
        assert!(
            Said::read(&frame(&ending(&[4, 0, 7, 0x80, 0, 0]))).is_err(),
            "{name} refuses a critical one"
        );
        assert!(Said::read(&frame(&ending(&[0, 0, 0]))).is_err(), "{name} refuses what is behind");
        for at in 5..8 {
            let mut bytes = bytes.clone();
            bytes[at] = 1;
            assert!(Said::read(&frame(&bytes)).is_err(), "{name} refuses reserved bits");
        }
    }
}

#[test]
fn counts_and_lengths_beyond_the_body_allocate_nothing() {
    for (name, said) in samples::all() {
        let good = said.bytes().unwrap();
        for at in HEADER_LEN..good.len() - 1 {
            let mut bytes = good.clone();
            bytes[at..at + 2].fill(0xFF);
            let _ =
                Said::read(&frame(&bytes)).inspect(|said| assert!(said.bytes().is_some(), "{name} at {at}"));
        }
    }
}

#[test]
fn unknown_flags_of_a_request_are_refused_whatever_they_are() {
    for (name, said) in samples::all() {
        let Said::Request { number, ack, request: Request::Deq(deq) } = said else { continue };
        for bit in 0..32 {
            let flags = Flags(1 << bit);
            let request = Request::Deq(Deq { flags, ..deq });
            let bytes = Said::Request { number, ack, request: request.clone() }.bytes().unwrap();
            let frame = frame(&bytes);
            let known = Flags::TABLE.iter().any(|row| row.0 == flags);
            let expected = if known { request } else { Request::Refused(Status::BadParam) };
            let found = FromClient::decode(&frame.header, frame.body);
            assert_eq!(found, Ok(FromClient::Request(expected)), "{name} with bit {bit}");
        }
    }
}

#[test]
fn what_does_not_fit_leaves_the_buffer_as_it_was() {
    let mut out = BytesMut::from(&b"before"[..]);
    let (_, said) = samples::all().into_iter().find(|(name, _)| *name == "seen-lock").unwrap();
    let Said::Seen { seen: Seen::Lock(lock), .. } = said else { unreachable!("the sample is a lock") };
    let locks = vec![*lock; 600];
    let page = Seen::Page(LockPage { locks, next: None });
    let error = page.encode(1, 0, &mut out).unwrap_err();
    assert!(matches!(error, EncodeError::TooLong { message: Kind::SEEN_PAGE, len } if len > FRAME_LEN_MAX));

    let text = "x".repeat(70_000);
    assert!(Fatal { status: Status::Protocol, detail: [0; 2], text }.encode(&mut out).is_err());
    assert_eq!(Request::Refused(Status::BadName).encode(1, 0, &mut out), Err(EncodeError::NotSent));
    assert_eq!(&out[..], b"before");
}

#[test]
fn a_page_can_be_filled_by_the_lengths_of_its_locks() {
    for (name, said) in samples::all() {
        let (Said::Seen { seen: Seen::Page(LockPage { locks, .. }), .. }, bytes) =
            (&said, said.bytes().unwrap())
        else {
            continue;
        };
        let locks: usize = locks.iter().map(lock_view_len).sum();
        // Tag, count, `next` and the length of the extensions.
        assert_eq!(bytes.len(), HEADER_LEN + 4 + 2 + locks + 9 + 2, "{name}");
    }
}

#[test]
fn lists_of_the_shortest_views_are_read() {
    let (_, said) = samples::all().into_iter().find(|(name, _)| *name == "seen-page").unwrap();
    let Said::Seen { seen: Seen::Page(LockPage { locks, .. }), .. } = said else { unreachable!("a page") };
    let path = vec![ResourceName::new(b"x").unwrap()];
    let lock = LockView { path, reason: Box::default(), ..locks[0].clone() };
    let edge = Edge { lock: lock.clone(), why: EdgeWhy::Held };
    let session = SessionView {
        session: SessionId(0),
        name: String::new(),
        purpose: String::new(),
        host: String::new(),
        pid: 0,
        peer: String::new(),
        ttl_ms: 0,
        lease_left_ms: 0,
        age_ms: 0,
        locks: 0,
        waiting: 0,
        bound: false,
    };
    let space = LockspaceView {
        lockspace: LockspaceId(0),
        name: ResourceName::new(b"x").unwrap(),
        version: 0,
        policy: samples::policy(),
        locks: 0,
        resources: 0,
    };
    for seen in [
        Seen::Page(LockPage { locks: vec![lock; 9], next: None }),
        Seen::Edges { edges: vec![edge; 9], total: 9, sessions: vec![] },
        Seen::Sessions { sessions: vec![session; 99], more: false },
        Seen::Spaces(vec![space; 99]),
    ] {
        let said = Said::Seen { tag: 0, ack: 0, seen };
        assert_eq!(Said::read(&frame(&said.bytes().unwrap())), Ok(said));
    }
}

#[test]
fn the_deepest_path_of_the_longest_names_fits_into_a_frame() {
    let name = [b'n'; 255];
    let handles: Vec<Handle> = (1..=128).map(|number| Handle::new(number).unwrap()).collect();
    let path = vec![&name[..]; 128];
    let mut enq = EnqPath {
        handles,
        lockspace: LockspaceId(0),
        path,
        mode: LockMode::Ex,
        flags: Flags::NONE,
        owner: Owner::default(),
        timeout_ms: None,
        priority: 0,
        reason: &name,
    };
    let said = Said::Request { number: 1, ack: 0, request: Request::EnqPath(enq.clone()) };
    assert_eq!(Said::read(&frame(&said.bytes().unwrap())), Ok(said));

    enq.handles.push(Handle::new(129).unwrap());
    enq.path.push(&name);
    let said = Said::Request { number: 1, ack: 0, request: Request::EnqPath(enq) };
    assert_eq!(Said::read(&frame(&said.bytes().unwrap())), Err(Status::TooDeep.to_string()));

    let root = Some(ResourceName::new(&name).unwrap());
    let look = Look::Page { from: None, max: 1, filter: LockFilter { root, ..LockFilter::default() } };
    let said = Said::Look { tag: 0, ack: 0, look };
    assert_eq!(Said::read(&frame(&said.bytes().unwrap())), Ok(said));
}

#[test]
fn a_client_survives_kinds_of_later_versions() {
    for kind in 0x80..=0xFF {
        let header = Header { kind: Kind(kind), flags: 0, reserved: 0, number: 3, ack: 0 };
        let found = enq_protocol::wire::FromServer::decode(&header, b"what later versions say");
        if !Kind(kind).row().is_some_and(|row| row.spoken) {
            assert_eq!(found, Ok(enq_protocol::wire::FromServer::Unknown(Kind(kind))));
        }
    }
}
