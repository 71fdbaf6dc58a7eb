//! Malformed and hostile input: each row as the first frame, in the middle of a burst, and some split at every byte.
//!
//! Before WELCOME a connection ends, silently (S) or with one ERROR (C). Afterwards a message is refused and the
//! connection lives on (E), or it ends with one ERROR and its session lives on (C), or the session ends too (K). In
//! all cases what came before is answered, and nothing is changed by what was wrong.

use crate::speaker::{
    Speaker, convert, deq, encoded, granted, hello, looked, refused, root, server, session, soon, sublock,
};
use bytes::BytesMut;
use enq::server::Server;
use enq_protocol::{
    vocabulary::{
        Flags,
        LockMode::{Ex, Nl},
        SessionId, Status,
    },
    wire::{FRAME_LEN_MAX, FromServer, Hello, Look, Request, Resume, Seen},
};

const NONE: Flags = Flags::NONE;

/// What must come of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// S: the connection ends without a word.
    Silence,
    /// C: it ends with this word; the session lives on.
    Closed(Status),
    /// E: the message is refused, the connection lives on.
    Refused(Status),
    /// K: it ends with this word, and the session with it.
    Killed(Status),
}

use Fate::{Closed, Killed, Refused, Silence};

/// A frame of this kind, number and body.
fn frame(kind: u8, number: u64, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(24 + body.len()).unwrap();
    let mut bytes = len.to_le_bytes().to_vec();
    bytes.extend([kind, 0, 0, 0]);
    bytes.extend(number.to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}

/// These bytes with others in the place `at`.
fn with(mut bytes: Vec<u8>, at: usize, new: &[u8]) -> Vec<u8> {
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

/// An ENQ with a field of its body replaced.
fn enq_with(number: u64, at: usize, new: &[u8]) -> Vec<u8> {
    with(encoded(&root(50, "hostile", Ex, NONE), number, 0), 24 + at, new)
}

/// These bytes with more at their end, inside the frame.
fn longer(mut bytes: Vec<u8>, more: &[u8]) -> Vec<u8> {
    bytes.extend(more);
    let len = u32::try_from(bytes.len()).unwrap();
    with(bytes, 0, &len.to_le_bytes())
}

/// An ENQ with this list of extensions.
fn enq_extended(number: u64, extensions: &[u8]) -> Vec<u8> {
    let mut bytes = encoded(&root(50, "hostile", Ex, NONE), number, 0);
    bytes.truncate(bytes.len() - 2);
    let len = u16::try_from(extensions.len()).unwrap();
    longer(bytes, &[&len.to_le_bytes()[..], extensions].concat())
}

/// A RESUME of a session that never was.
fn resume() -> Vec<u8> {
    looked(&Look::Resume(Resume { session: SessionId(9), secret: [7; 16], received: 0 }), 1)
}

/// A HELLO with this list of extensions.
fn hello_extended(extensions: &[u8]) -> Vec<u8> {
    let mut bytes = hello();
    bytes.truncate(bytes.len() - 2);
    let len = u16::try_from(extensions.len()).unwrap();
    longer(bytes, &[&len.to_le_bytes()[..], extensions].concat())
}

/// An ENQ_PATH of so many levels, as request 2.
fn path_of(levels: u32) -> Vec<u8> {
    let path = enq_protocol::wire::EnqPath {
        handles: (100..100 + levels).map(crate::speaker::handle).collect(),
        lockspace: enq_protocol::vocabulary::LockspaceId(0),
        path: vec![b"n"; usize::try_from(levels).unwrap()],
        mode: Ex,
        flags: NONE,
        owner: enq_protocol::vocabulary::Owner::default(),
        timeout_ms: None,
        priority: 0,
        reason: b"",
    };
    encoded(&Request::EnqPath(path), 2, 0)
}

/// A HELLO with credentials and no method.
fn with_credentials(credentials: &[u8]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    let (credentials, agent) = (credentials.into(), String::new());
    let hello = Hello { version_min: 1, version_max: 1, features: 0, method: 0, credentials, agent };
    hello.encode(&mut bytes).unwrap();
    bytes.to_vec()
}

/// How a ClientHello begins.
const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

/// The same handshake, a record for each of its bytes.
fn one_byte_records(hello: &[u8]) -> Vec<u8> {
    hello[5..].iter().flat_map(|byte| [0x16, 3, 1, 0, 1, *byte]).collect()
}

/// Records full of certificates, so many bytes in all.
fn certificates(len: usize) -> Vec<u8> {
    let record = [&[0x16, 3, 3, 0x40, 0, 11, 0, 0xFF, 0xFF][..], &[0x30; 0x3FFC]].concat();
    record.into_iter().cycle().take(len).collect()
}

const FIRST_FRAMES: usize = 30;

/// Rows as the first frame of a connection.
fn first_frames() -> [(&'static str, Vec<u8>, Fate); FIRST_FRAMES] {
    let hello = hello();
    let reserved = with(hello.clone(), 6, &[1, 0]);
    let flags = with(hello.clone(), 5, &[0x80]);
    let ping = looked(&Look::Ping, 1);
    [
        ("wrong magic", with(hello.clone(), 24, b"ENQ\x02"), Silence),
        ("HTTP on the wrong port", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), Silence),
        ("TLS on the wrong port", CLIENT_HELLO.to_vec(), Silence),
        ("TLS in records of one byte", one_byte_records(CLIENT_HELLO), Silence),
        ("TLS with a giant chain of certificates", certificates(60_000), Silence),
        (
            "TLS that ends behind its first record",
            [CLIENT_HELLO, &[0x15, 3, 3, 0, 2, 1, 0]].concat(),
            Silence,
        ),
        ("versions 2 to 9", with(with(hello.clone(), 28, &[2, 0]), 30, &[9, 0]), Closed(Status::Version)),
        ("version 0", with(hello.clone(), 28, &[0, 0]), Closed(Status::Limit)),
        ("credentials for nothing", with_credentials(b"let me in"), Closed(Status::Limit)),
        ("a length of 4,097", with(hello.clone(), 0, &4_097_u32.to_le_bytes()), Silence),
        ("a length of 2^31", (1_u32 << 31).to_le_bytes().to_vec(), Silence),
        ("a length of 2^32-1", u32::MAX.to_le_bytes().to_vec(), Silence),
        ("a length of 0", vec![0; 30], Silence),
        ("a length below the header", with(hello.clone(), 0, &23_u32.to_le_bytes()), Silence),
        ("an unknown kind", frame(0x7E, 0, &[0; 6]), Closed(Status::Unsupported)),
        ("a kind set aside", frame(0x02, 0, &[0; 6]), Closed(Status::Unsupported)),
        ("reserved bits", reserved, Closed(Status::BadParam)),
        ("header flags", flags, Closed(Status::BadParam)),
        ("a look before HELLO", ping, Closed(Status::State)),
        ("RESUME before HELLO", resume(), Closed(Status::State)),
        ("a lock before HELLO", encoded(&root(1, "a", Ex, NONE), 1, 0), Closed(Status::State)),
        ("a kind of the server", frame(0x81, 0, &[0; 6]), Closed(Status::State)),
        ("trailing bytes", longer(hello.clone(), &[7]), Closed(Status::Malformed)),
        ("an unknown critical extension", hello_extended(&[0x77, 0x80, 0, 0]), Closed(Status::Unsupported)),
        ("extensions past the end", hello_extended(&[1, 0, 9, 0]), Closed(Status::Malformed)),
        ("an extension twice", hello_extended(&[2, 0, 0, 0, 2, 0, 0, 0]), Closed(Status::Malformed)),
        ("900 extensions", hello_extended(&many_extensions(900)), Closed(Status::Malformed)),
        ("a release before HELLO", encoded(&deq(1, NONE), 1, 0), Closed(Status::State)),
        ("a method nobody knows", with(hello.clone(), 40, &[9]), Closed(Status::Unsupported)),
        ("a text past the end", with(hello.clone(), hello.len() - 8, &[0xFF, 0]), Closed(Status::Malformed)),
    ]
}

/// Checks that a connection that says `bytes` ends as it must.
async fn expect_end(server: &Server, name: &str, pieces: &[&[u8]], fate: Fate) {
    let mut speaker = Speaker::connect(server).await;
    for piece in pieces {
        // It may have ended before all of a long row was said.
        speaker.write_if_open(piece).await;
        tokio::task::yield_now().await;
    }
    let end = speaker.end_status().await;
    let expected = match fate {
        Silence => None,
        Closed(status) | Refused(status) | Killed(status) => Some(status),
    };
    assert_eq!(end, expected, "{name}");
}

#[tokio::test]
async fn strangers_are_sent_away() {
    let server = server().await;
    for (name, bytes, fate) in first_frames() {
        expect_end(&server, name, &[&bytes], fate).await;
        // What comes behind it changes nothing.
        let burst = [&bytes[..], &hello(), &hello()].concat();
        expect_end(&server, name, &[&burst], fate).await;
    }
    let mut friend = Speaker::opened(&server).await;
    granted(friend.enq(1, "a", Ex, NONE).await);
}

#[tokio::test]
async fn it_does_not_matter_where_the_bytes_are_split() {
    let server = server().await;
    for (name, bytes, fate) in first_frames() {
        // A row that is decided by its length is over before its last byte; the rest finds nobody.
        for at in 1..bytes.len().min(64) {
            let (one, two) = bytes.split_at(at);
            let mut speaker = Speaker::connect(&server).await;
            speaker.write(one).await;
            tokio::task::yield_now().await;
            speaker.write_if_open(two).await;
            let end = speaker.end_status().await;
            match fate {
                Silence => assert_eq!(end, None, "{name} split at {at}"),
                Closed(status) | Refused(status) | Killed(status) => {
                    assert_eq!(end, Some(status), "{name} split at {at}");
                }
            }
        }
    }
}

/// So many extensions that nobody has to know, all different.
fn many_extensions(number: u16) -> Vec<u8> {
    (0..number).flat_map(|number| [(0x0100 + number).to_le_bytes(), [0, 0]].concat()).collect()
}

/// Rows on a connection with a session, as its request 2.
fn messages() -> Vec<(&'static str, Vec<u8>, Fate)> {
    let enq = encoded(&root(50, "hostile", Ex, NONE), 2, 0);
    let too_long = u32::try_from(FRAME_LEN_MAX).unwrap() + 1;
    let flag_and_mode = |flags: u32, mode: u8| {
        let bytes = enq_with(2, 13, &flags.to_le_bytes());
        with(bytes, 24 + 12, &[mode])
    };
    vec![
        ("wrong magic", with(hello(), 24, b"ENQ\x02"), Closed(Status::Protocol)),
        ("TLS", CLIENT_HELLO.to_vec(), Closed(Status::FrameTooLarge)),
        ("TLS in records of one byte", one_byte_records(CLIENT_HELLO), Closed(Status::FrameTooLarge)),
        ("a giant chain of certificates", certificates(60_000), Closed(Status::FrameTooLarge)),
        ("a second HELLO", hello(), Closed(Status::State)),
        ("a second OPEN", looked(&Look::Open(session(15_000, false)), 1), Closed(Status::State)),
        ("RESUME with a session", resume(), Closed(Status::State)),
        ("a length of 65,537", with(enq.clone(), 0, &too_long.to_le_bytes()), Closed(Status::FrameTooLarge)),
        ("a length of 2^31", (1_u32 << 31).to_le_bytes().to_vec(), Closed(Status::FrameTooLarge)),
        ("a length of 2^32-1", u32::MAX.to_le_bytes().to_vec(), Closed(Status::FrameTooLarge)),
        ("a length below the header", with(enq.clone(), 0, &23_u32.to_le_bytes()), Closed(Status::Protocol)),
        ("10,000 extensions", enq_extended(2, &many_extensions(10_000)), Refused(Status::Malformed)),
        ("a path of 129 levels", path_of(129), Refused(Status::TooDeep)),
        ("a path with a name of 256 bytes", long_path(), Refused(Status::BadName)),
        ("a length of 0", vec![0; 24], Closed(Status::Protocol)),
        ("an unknown request", frame(0x7E, 2, &[0; 6]), Refused(Status::Unsupported)),
        ("a request set aside", frame(0x4C, 2, &[0; 6]), Refused(Status::Unsupported)),
        ("an unknown kind", frame(0x0E, 0, &[0; 6]), Closed(Status::Unsupported)),
        ("a kind of the server", frame(0xC0, 2, &[0; 6]), Closed(Status::State)),
        ("an unknown critical extension", enq_extended(2, &[0x77, 0x80, 0, 0]), Refused(Status::Unsupported)),
        ("reserved bits", with(enq.clone(), 6, &[1]), Refused(Status::BadParam)),
        ("header flags", with(enq.clone(), 5, &[1]), Refused(Status::BadParam)),
        ("request 0", with(enq.clone(), 8, &[0; 8]), Closed(Status::Protocol)),
        ("no name", enq_with(2, 31, &[0, 0]), Refused(Status::BadName)),
        ("a name of 256 bytes", encoded_name(256), Refused(Status::BadName)),
        ("a name past the end", enq_with(2, 31, &[0xFF, 0]), Refused(Status::BadName)),
        ("mode 6", enq_with(2, 12, &[6]), Refused(Status::BadParam)),
        ("mode 255", enq_with(2, 12, &[255]), Refused(Status::BadParam)),
        ("an unknown flag", flag_and_mode(1 << 30, 5), Refused(Status::BadParam)),
        ("EXPEDITE with EX", flag_and_mode(Flags::EXPEDITE.0, 5), Refused(Status::BadParam)),
        ("NOQUEUEBAST alone", flag_and_mode(Flags::NOQUEUEBAST.0, 5), Refused(Status::BadParam)),
        ("handle 0", enq_with(2, 0, &[0; 4]), Refused(Status::BadParam)),
        ("a handle over the quota", enq_with(2, 0, &100_001_u32.to_le_bytes()), Refused(Status::BadParam)),
        ("a handle in use", enq_with(2, 0, &1_u32.to_le_bytes()), Refused(Status::BadParam)),
        ("an unknown parent", encoded(&sublock(50, 77, "x", Ex), 2, 0), Refused(Status::NoSuchLock)),
        ("an unknown handle", encoded(&convert(77, Ex, NONE), 2, 0), Refused(Status::NoSuchLock)),
        ("handle 0 released", with(encoded(&deq(77, NONE), 2, 0), 24, &[0; 4]), Refused(Status::NoSuchLock)),
        ("an unknown lockspace", enq_with(2, 4, &[9, 9, 9, 9]), Refused(Status::NoSuchSpace)),
        ("a time of 0 ms", enq_with(2, 26, &[0; 4]), Refused(Status::Limit)),
        ("a value that is not allowed", value_on_deq(false), Refused(Status::BadParam)),
        ("a value that is too long", value_on_deq(true), Refused(Status::BadParam)),
        ("a gap", encoded(&root(50, "hostile", Ex, NONE), 3, 0), Killed(Status::Misordered)),
        (
            "the last number again, otherwise",
            encoded(&root(51, "hostile", Ex, NONE), 1, 0),
            Killed(Status::FalseRetry),
        ),
        (
            "an acknowledgement ahead",
            encoded(&root(50, "hostile", Ex, NONE), 2, 1_000),
            Killed(Status::AckRange),
        ),
        ("extensions past the end", enq_extended(2, &[1, 0, 9, 0]), Refused(Status::Malformed)),
        ("an extension twice", enq_extended(2, &[2, 0, 0, 0, 2, 0, 0, 0]), Refused(Status::Malformed)),
        ("too many extensions", enq_extended(2, &many_extensions(17)), Refused(Status::Malformed)),
        ("trailing bytes", longer(enq, &[1, 2, 3]), Refused(Status::Malformed)),
    ]
}

/// A path whose first name is 256 bytes long.
fn long_path() -> Vec<u8> {
    let mut path = path_of(1);
    let name = [&256_u16.to_le_bytes()[..], &[b'n'; 256]].concat();
    let at = path.len() - 2 - 3;
    path.splice(at..at + 3, name);
    let len = u32::try_from(path.len()).unwrap();
    with(path, 0, &len.to_le_bytes())
}

/// An ENQ with a name of so many bytes.
fn encoded_name(len: usize) -> Vec<u8> {
    let name = "n".repeat(len);
    encoded(&root(50, &name, Ex, NONE), 2, 0)
}

/// A release with a value that it may not carry, or with VALBLK and one that is too long.
fn value_on_deq(long: bool) -> Vec<u8> {
    let value = [7; 65];
    let (flags, value) = if long { (Flags::VALBLK, &value[..]) } else { (NONE, &value[..1]) };
    let deq = enq_protocol::wire::Deq { handle: crate::speaker::handle(1), flags, value: Some(value) };
    encoded(&Request::Deq(deq), 2, 0)
}

/// Says a row between two good requests, in these pieces, and checks what comes of all three.
async fn expect_in_burst(server: &Server, name: &str, row: &[u8], fate: Fate, split: Option<usize>) {
    let before = server.table().session_count();
    let (mut speaker, id) = Speaker::opened_as(server, session(15_000, false)).await;
    let first = encoded(&root(1, "before", Nl, NONE), 1, 0);
    let last = encoded(&root(2, "after", Nl, NONE), 3, 0);
    let burst = [&first[..], row, &last].concat();
    match split {
        None => speaker.write(&burst).await,
        Some(at) => {
            let (one, two) = burst.split_at(first.len() + at);
            speaker.write(one).await;
            tokio::task::yield_now().await;
            speaker.write_if_open(two).await;
        }
    }
    granted(speaker.answer().await);
    let lives = match fate {
        Refused(status) => {
            assert_eq!(refused(speaker.answer().await), status, "{name} {split:?}");
            granted(speaker.answer().await);
            let Seen::Sessions { sessions, .. } = speaker.look(Look::Session(id)).await else {
                panic!("{name}")
            };
            assert_eq!(sessions[0].locks, 2, "nothing was made: {name}");
            true
        }
        Closed(status) => {
            assert_eq!(speaker.end_status().await, Some(status), "{name} {split:?}");
            true
        }
        Killed(status) => {
            assert_eq!(speaker.end_status().await, Some(status), "{name} {split:?}");
            false
        }
        Silence => panic!("nobody with a session is sent away without a word"),
    };
    let after = server.table().session_count();
    assert_eq!(after, before + u64::from(lives), "{name}: does the session live on?");
}

#[tokio::test]
async fn a_bad_message_in_a_burst_harms_nothing_but_itself() {
    let server = server().await;
    for (name, row, fate) in messages() {
        expect_in_burst(&server, name, &row, fate, None).await;
    }
    assert_eq!(server.table().check(), Ok(()));
    assert!(server.metrics().closed(Status::FrameTooLarge) >= 2, "what is closed is counted");
}

#[tokio::test]
async fn a_bad_message_may_come_in_pieces() {
    let server = server().await;
    for (name, row, fate) in messages() {
        for at in 1..row.len().min(100) {
            expect_in_burst(&server, name, &row, fate, Some(at)).await;
        }
    }
}

#[tokio::test]
async fn a_frame_that_is_cut_by_the_end_of_its_connection_is_discarded() {
    let server = server().await;
    let enq = encoded(&root(1, "cut", Ex, NONE), 1, 0);
    for at in 1..enq.len() {
        let (mut speaker, _) = Speaker::opened_as(&server, session(15_000, false)).await;
        speaker.write(&enq[..at]).await;
        drop(speaker);
    }
    // A session that was opened later has been served when this is answered; the cut ones then have nothing.
    let mut friend = Speaker::opened(&server).await;
    granted(friend.enq(1, "cut", Ex, Flags::NOQUEUE).await);
    assert_eq!(server.statistics().locks, 1);
    assert_eq!(server.table().session_count(), u64::try_from(enq.len()).unwrap(), "their sessions live on");
}

#[tokio::test]
async fn a_stranger_may_go_after_every_byte() {
    let server = server().await;
    let hello = hello();
    for at in 0..hello.len() {
        for reset in [false, true] {
            let mut speaker = Speaker::connect(&server).await;
            speaker.write(&hello[..at]).await;
            speaker.leave(reset);
        }
    }
    soon("the connections to be gone", async {
        while server.metrics().open.load(std::sync::atomic::Ordering::Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(server.metrics().reached(enq::server::Limit::Strangers), 0);
}

#[tokio::test]
async fn leases_outside_their_limits_are_refused_by_their_tag() {
    let server = server().await;
    let mut speaker = Speaker::greeted(&server).await;
    for ttl_ms in [0, 1, 999, 60_001, u32::MAX] {
        let seen = speaker.look(Look::Open(session(ttl_ms, false))).await;
        assert_eq!(seen, Seen::Refused(Status::Limit), "{ttl_ms} ms");
    }
    assert_eq!(server.table().session_count(), 0);
    assert_eq!(server.metrics().reached(enq::server::Limit::ShortestLease), 3);
}

#[tokio::test]
async fn a_waiting_lock_is_not_converted_and_nobodys_handle_is_like_anothers() {
    let server = server().await;
    let mut holder = Speaker::opened(&server).await;
    granted(holder.enq(2, "held", Ex, NONE).await);
    let mut speaker = Speaker::opened(&server).await;
    speaker.send(&root(1, "held", Ex, NONE)).await;
    assert!(matches!(speaker.answer().await, enq_protocol::wire::Reply::Queued { .. }));
    assert_eq!(refused(speaker.ask(&convert(1, Nl, NONE)).await), Status::NotGranted);
    // A handle that is free here, in use elsewhere, or none at all: the same answer.
    let mut answers = Vec::new();
    for number in [77, 2, 99_999] {
        answers.push(format!("{:?}", speaker.ask(&deq(number, NONE)).await));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
}

#[tokio::test]
async fn looks_are_refused_by_their_tag() {
    let server = server().await;
    let mut speaker = Speaker::greeted(&server).await;
    let rows = [
        (frame(0x3F, 0, &[1, 0, 0, 0, 0, 0]), Status::Unsupported),
        (frame(0x1F, 0, &[2, 0, 0, 0, 0, 0]), Status::Unsupported),
        (frame(0x10, 9, &[3, 0, 0, 0, 0, 0]), Status::BadParam),
        (frame(0x10, 0, &[4, 0, 0, 0]), Status::Malformed),
        (frame(0x13, 0, &[5, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0]), Status::NoSuchLock),
    ];
    for (tag, (bytes, status)) in (1..).zip(rows) {
        speaker.write(&bytes).await;
        assert_eq!(speaker.next().await, FromServer::Seen { tag, seen: Seen::Refused(status) });
    }
    speaker.write(&encoded(&root(1, "a", Ex, NONE), 1, 0)).await;
    assert_eq!(speaker.end_status().await, Some(Status::State), "a lock needs a session");
}
