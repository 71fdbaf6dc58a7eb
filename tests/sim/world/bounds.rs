//! What a server must bear: a crowd whose leases end at once, a peer that does not read, a header that announces more than
//! comes, a peer that says everything twice. No client of the library does any of that.

use super::clock::{Clock, MS};
use super::judges::streams::Streams;
use super::options::Options;
use super::server::{Make, Server, limits};
use bytes::BytesMut;
use enq::client::Moment;
use enq::client::peer::Peer;
use enq::engine::{Instant, Planted};
use enq_protocol::vocabulary::{Flags, Handle, LockMode, LockspaceId, Owner};
use enq_protocol::wire::{Deq, Enq, FRAME_LEN_MAX, Look, OpenSession, Request, Resume};
use rand::{SeedableRng as _, rngs::StdRng};

/// Sessions of a crowd, and how many of them may end in one round.
const CROWD: u64 = 700;
const ENDS_A_ROUND_MAX: u64 = 256;

/// What a server may keep of what a peer does not read.
const UNREAD_MAX: usize = 17 * 1024 * 1024;

pub(super) fn server(planted: Planted) -> Server {
    Server::new(&make(planted), Clock::new(0, 0), Instant(0))
}

/// A house with room for crowds.
pub(super) fn make(planted: Planted) -> Make {
    let options = Options::new(&mut StdRng::seed_from_u64(1));
    let limits = enq::engine::Limits { waiting_a_session: 10_000, ..limits(&options, planted) };
    let limits = enq::engine::Limits { waiting_a_resource: 10_000, locks_a_session: 100_000, ..limits };
    Make { limits, window: (1_024, 256 * 1024), ..Make::of(&options, planted, 1) }
}

pub(super) fn open(peer: &mut Peer<u8>, ttl_ms: u32) {
    let open = OpenSession {
        name: "one of a crowd".into(),
        purpose: String::new(),
        node: String::new(),
        node_id: 0,
        host: String::new(),
        pid: 1,
        process_start: 0,
        ttl_ms,
        orphan_key: Box::default(),
        log: 0,
        bind_connection: false,
    };
    peer.open(open, 0).expect("a name fits into a frame");
}

/// The first bound that does not hold.
pub(crate) fn first_wrong(planted: Planted) -> Option<String> {
    crowd(planted)
        .or_else(|| silence(planted))
        .or_else(|| announcement(planted))
        .or_else(|| repetition(planted))
}

/// Many leases end at one moment; each round ends some of them, so that nobody else waits long.
fn crowd(planted: Planted) -> Option<String> {
    let mut server = server(planted);
    for id in 0..CROWD {
        server.accept(id);
        let mut peer = Peer::new("a crowd");
        open(&mut peer, 1_000);
        let words = peer.take(Moment(1));
        server.serve(id, Instant(1), &words, |bytes| bytes.len());
    }
    let mut before = server.table().session_count();
    assert_eq!(before, CROWD, "everybody is there");
    for round in 0..200 {
        server.round(Instant(10 * MS * round));
        let left = server.table().session_count();
        if before - left > ENDS_A_ROUND_MAX {
            return Some(format!("{} sessions end in one round", before - left));
        }
        before = left;
    }
    (before > 0).then(|| format!("{before} sessions do not end"))
}

/// A peer that asks and asks and reads nothing: its connection ends before too much is kept for it.
fn silence(planted: Planted) -> Option<String> {
    let mut server = server(planted);
    server.accept(1);
    let mut peer = Peer::new("silence");
    open(&mut peer, 60_000);
    let mut heard = BytesMut::new();
    let words = peer.take(Moment(1));
    server.serve(1, Instant(1), &words, |bytes| {
        heard.extend_from_slice(bytes);
        bytes.len()
    });
    peer.receive(Moment(2), &mut heard, &mut Vec::new()).expect("a server speaks well");
    for at in 0..4_000 {
        // Looks are outside the window: nothing but what is unread holds them back.
        peer.look(&Look::Statistics, 0).ok()?;
        if at < 900 {
            let _ = peer.enq(0, plain);
        }
    }
    let words = peer.take(Moment(3));
    let mut timer = None;
    for part in words.chunks(4_096) {
        if server.reads(1) {
            let served = server.serve(1, Instant(4), part, |_| 0);
            timer = served.timer.or(timer);
            if served.ends.is_some() {
                return None;
            }
        }
    }
    if server.room_of(1) > UNREAD_MAX {
        return Some(format!("{} bytes are kept for a peer that does not read", server.room_of(1)));
    }
    match timer {
        // Somebody who does not read is waited for, for some time.
        Some((_, generation)) if server.too_long(1, generation).is_some() => None,
        _ => Some("a peer that does not read is waited for without end".into()),
    }
}

/// A header says that much will come; room is made for what has come.
fn announcement(planted: Planted) -> Option<String> {
    let mut server = server(planted);
    for (id, len) in [(1, FRAME_LEN_MAX - 1), (2, 1 << 20), (3, 1 << 28)] {
        server.accept(id);
        let mut header = BytesMut::new();
        let mut peer: Peer<u8> = Peer::new("an announcement");
        if id == 1 {
            header.extend_from_slice(&peer.take(Moment(1)));
            server.serve(id, Instant(1), &header, |bytes| bytes.len());
            header.clear();
        }
        header.extend_from_slice(&u32::try_from(len).expect("below 2^32").to_le_bytes());
        header.extend_from_slice(&[0x41, 0, 0, 0]);
        server.serve(id, Instant(2), &header, |bytes| bytes.len());
        server.has_to_say(id);
        if server.room_of(id) > 32 * 1024 {
            return Some(format!("room for {} bytes after a header of {len}", server.room_of(id)));
        }
    }
    None
}

/// A peer that goes on with its session says all its requests again, as it may: each is executed once.
fn repetition(planted: Planted) -> Option<String> {
    let (mut server, mut streams) = (server(planted), Streams::default());
    let mut say = |server: &mut Server, id: u64, words: &[u8]| -> Result<Vec<Vec<u8>>, String> {
        let before = server.session_of(id);
        let served = server.serve(id, Instant(1), words, |bytes| bytes.len());
        let session = server.session_of(id).or(before);
        served.frames.iter().try_for_each(|frame| streams.look(id, session, frame, &mut |_| {}))?;
        Ok(served.frames)
    };
    let mut peer: Peer<u8> = Peer::new("an echo");
    open(&mut peer, 60_000);
    server.accept(1);
    let mut heard: BytesMut = say(&mut server, 1, &peer.take(Moment(1))).ok()?.concat().as_slice().into();
    peer.receive(Moment(2), &mut heard, &mut Vec::new()).expect("a server speaks well");
    let opened = peer.opened().expect("the session is open").clone();
    let mut asked = BytesMut::new();
    let handle = Handle::new(1).expect("not 0");
    for number in (1..=7).step_by(2) {
        let enq = Request::Enq(plain(handle));
        enq.encode(number, 0, &mut asked).expect("a request fits into a frame");
        let deq = Request::Deq(Deq { handle, flags: Flags::NONE, value: None });
        deq.encode(number + 1, 0, &mut asked).expect("a request fits into a frame");
    }
    let first = say(&mut server, 1, &asked).map(|_| ());
    server.accept(2);
    let mut again = BytesMut::from(&Peer::<u8>::new("an echo").take(Moment(3))[..]);
    let resume = Resume { session: opened.session, secret: opened.secret, received: 0 };
    Look::Resume(resume).encode(1, 0, &mut again).expect("a look fits into a frame");
    again.extend_from_slice(&asked);
    let second = say(&mut server, 2, &again).map(|_| ());
    first.and(second).err()
}

pub(super) fn plain(handle: Handle) -> Enq<'static> {
    Enq {
        handle,
        lockspace: LockspaceId(0),
        parent: None,
        name: b"r",
        mode: LockMode::Nl,
        flags: Flags::NONE,
        owner: Owner::default(),
        timeout_ms: None,
        priority: 0,
        reason: b"",
    }
}

#[test]
fn a_server_bears_crowds_silence_and_announcements() {
    assert_eq!(first_wrong(crate::museum::of_environment()), None);
}
