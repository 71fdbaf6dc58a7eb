//! Any sequence of frames, well made or not, said by two peers to one server: conversations against a live table.
//!
//! The bytes are read as acts: which connection, and what it says; some acts are frames that the codec makes, with numbers
//! that are right or wrong, some are bytes as they come. Nothing may panic; every output is a frame; the table keeps its
//! invariants; little is kept for whoever does not belong; and when the leases are over, nothing is left.

use bytes::BytesMut;
use enq::engine::{Instant, Limits};
use enq::log::Volatile;
use enq::server::conversation::{Conversation, Ends};
use enq::server::{House, HouseRules, Passing, Patience};
use enq::table::{Setting, Table};
use enq_protocol::vocabulary::{Flags, Handle, LockFilter, LockMode, LockspaceId, Owner, SessionId};
use enq_protocol::wire::{
    Administer, Cancel, Convert, Deq, DeqAll, Enq, EnqPath, FRAME_LEN_MAX, FromServer, Hello, Kind, Look,
    OpenSession, PROTOCOL_VERSION, Request, Resume, Seen, acknowledge, cut,
};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// Connections at a time; more bytes than that are not looked at.
const LINES: u8 = 2;
const LEN_MAX: usize = 4_096;

/// Room for a connection that has not said much, and is not told much.
const ROOM_MAX: usize = 2 * 1024 * 1024;

/// One connection, with what its peer remembers.
struct Line {
    conversation: Conversation,
    number: u64,
    heard: u64,
    session: Option<(SessionId, [u8; 16])>,
    tag: u32,
    /// The peer reads what it is told.
    reads: bool,
}

/// Reads bytes as numbers; zeros after the end.
struct Numbers<'a>(&'a [u8]);

impl<'a> Numbers<'a> {
    fn next(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    fn below(&mut self, bound: u8) -> u8 {
        self.next() % bound
    }

    fn some(&mut self, len: usize) -> &'a [u8] {
        let (some, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        some
    }

    fn mode(&mut self) -> LockMode {
        LockMode::ALL[usize::from(self.below(6))]
    }

    fn flags(&mut self) -> Flags {
        let dice = self.next();
        match dice {
            0..100 => Flags::NONE,
            100..250 => Flags::TABLE[usize::from(dice) % Flags::TABLE.len()].0,
            _ => Flags(u32::from(self.next()) << (dice % 25)),
        }
    }

    fn handle(&mut self) -> Handle {
        Handle::new(u32::from(self.below(6)) + 1).expect("not 0")
    }
}

struct Server {
    house: Arc<House>,
    passing: Passing,
    now: Instant,
    lines: Vec<Line>,
}

/// Two peers, and all they say.
pub fn sequence(bytes: &[u8]) {
    let table = Table::new(&Setting {
        epoch: 1,
        limits: Limits { waiting_a_resource: 5, locks_a_session: 6, ..Limits::default() },
        window_requests: 40,
        window_bytes: 4_096,
        route_key: [7; 16],
        hash_seed: 7,
        recovering_until: None,
    });
    let rules = HouseRules {
        patience: Patience::default(),
        ttl_ms_min: 1_000,
        ttl_ms_max: 60_000,
        unsafe_settings: Vec::new(),
        draw: Box::new(|| Some([9; 16])),
    };
    let house = Arc::new(House::new(Volatile::new(table), rules));
    let mut server = Server { house, passing: Passing::new(Instant(0)), now: Instant(0), lines: Vec::new() };
    let mut numbers = Numbers(&bytes[..bytes.len().min(LEN_MAX)]);
    while !numbers.0.is_empty() {
        let at = usize::from(numbers.below(LINES));
        while server.lines.len() <= at {
            let line = server.connect();
            server.lines.push(line);
        }
        server.act(at, &mut numbers);
        let check = server.house.log().table().check();
        assert_eq!(check, Ok(()), "the table keeps its invariants");
    }
    server.finish();
}

impl Server {
    fn connect(&self) -> Line {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let conversation = Conversation::new(Arc::clone(&self.house), address);
        Line { conversation, number: 0, heard: 0, session: None, tag: 0, reads: true }
    }

    /// One act of one peer.
    fn act(&mut self, at: usize, numbers: &mut Numbers<'_>) {
        let mut said = BytesMut::new();
        match numbers.below(32) {
            0 => {
                // Time passes, a little or a lease.
                self.now.0 += u64::from(numbers.next()) * u64::from(numbers.next()) * 1_000_000;
                self.passing.round(&self.house, self.now);
            }
            1 => {
                // The connection goes, and another one comes with what its peer remembers.
                let fresh = self.connect();
                let old = std::mem::replace(&mut self.lines[at], fresh);
                self.lines[at].session = old.session;
                self.lines[at].heard = old.heard;
                self.lines[at].number = old.number;
                let mut conversation = old.conversation;
                conversation.leave(self.now, &Ends::Gone);
            }
            2 => self.lines[at].reads = !self.lines[at].reads,
            3 => {
                let len = usize::from(numbers.next());
                said.extend_from_slice(numbers.some(len));
            }
            act => say(&mut self.lines[at], act, numbers, &mut said),
        }
        self.hear(at, &said);
    }

    /// The server hears that, and says what it has to say.
    fn hear(&mut self, at: usize, said: &[u8]) {
        let now = self.now;
        let line = &mut self.lines[at];
        let mut written = BytesMut::new();
        let reads = line.reads;
        let mut write = |bytes: &[u8]| {
            if !reads {
                return Err(io::Error::from(io::ErrorKind::WouldBlock));
            }
            written.extend_from_slice(bytes);
            Ok(bytes.len())
        };
        let conversation = &mut line.conversation;
        let mut turns = || -> Result<(), Ends> {
            if !conversation.is_paused() {
                conversation.listen().0.extend_from_slice(said);
            }
            conversation.turn(now, !said.is_empty())?;
            conversation.write(&mut write)?;
            while conversation.is_paused() && !conversation.is_blocked() {
                conversation.turn(now, false)?;
                conversation.write(&mut write)?;
            }
            Ok(())
        };
        let ends = turns().err();
        line.listen(&written);
        assert!(line.conversation.room() <= ROOM_MAX, "{} bytes are kept", line.conversation.room());
        if let Some(ends) = ends {
            let mut old = self.connect();
            std::mem::swap(&mut old, &mut self.lines[at]);
            self.lines[at].session = old.session;
            old.conversation.leave(now, &ends);
            if let Some((rest, fatal)) = old.conversation.last_words(ends) {
                let mut words = BytesMut::from(rest);
                fatal.encode(&mut words).expect("last words fit into a frame");
            }
        }
    }

    /// Everybody goes, and the leases run out.
    fn finish(mut self) {
        for line in &mut self.lines {
            line.conversation.leave(self.now, &Ends::Gone);
        }
        for _ in 0..700 {
            self.now.0 += 200_000_000;
            self.passing.round(&self.house, self.now);
        }
        let table = self.house.log().table();
        assert_eq!(table.session_count(), 0, "every lease ends");
        let left = table.show_page(self.now, None, 1_000, &LockFilter::default());
        let lost = left.locks.iter().find(|lock| lock.session.is_some());
        assert_eq!(lost, None, "only what was to outlive its session is left");
    }
}

impl Line {
    /// What the server said: frames, of which some are remembered.
    fn listen(&mut self, mut written: &[u8]) {
        while let Some(frame) = cut(written, FRAME_LEN_MAX).expect("a server says frames") {
            let said = FromServer::decode(&frame.header, frame.body).expect("a server speaks well");
            if let FromServer::Seen { seen: Seen::Opened(opened), .. } = &said {
                self.session = Some((opened.session, opened.secret));
                (self.number, self.heard) = (0, 0);
            }
            self.heard = self.heard.max(frame.header.number);
            written = &written[frame.len..];
        }
        assert!(written.is_empty(), "a server says whole frames");
    }
}

/// Encodes a frame of this sort, with what is right or a little wrong.
fn say(line: &mut Line, act: u8, numbers: &mut Numbers<'_>, said: &mut BytesMut) {
    line.tag += 1;
    let (tag, ack) = (line.tag, line.heard + u64::from(numbers.below(40) / 39));
    // What does not fit into a frame is not said.
    let _ = match act {
        4 => acknowledge(Kind::ACK, ack, said),
        5..8 => greeting().encode(said),
        8..10 => open(numbers).encode(tag, ack, said),
        10 => resume(line, numbers).encode(tag, ack, said),
        11 => look(numbers).encode(tag, ack, said),
        _ => {
            let off = numbers.below(40);
            line.number += u64::from(off != 38) + u64::from(off == 39);
            request(act, numbers, line.number, ack, said)
        }
    };
}

fn greeting() -> Hello {
    Hello {
        version_min: PROTOCOL_VERSION,
        version_max: PROTOCOL_VERSION,
        features: 0,
        method: 0,
        credentials: Box::default(),
        agent: "fuzz".into(),
    }
}

fn open(numbers: &mut Numbers<'_>) -> Look {
    Look::Open(OpenSession {
        name: "s".into(),
        purpose: String::new(),
        node: String::new(),
        node_id: 0,
        host: String::new(),
        pid: 1,
        process_start: 0,
        ttl_ms: 1_000 + 500 * u32::from(numbers.below(9)),
        orphan_key: Box::default(),
        log: u8::from(numbers.below(30) == 29),
        bind_connection: numbers.below(4) == 3,
    })
}

fn resume(line: &Line, numbers: &mut Numbers<'_>) -> Look {
    let (session, mut secret) = line.session.unwrap_or((SessionId(u64::from(numbers.next())), [9; 16]));
    if numbers.below(10) == 9 {
        secret[0] ^= 1;
    }
    let received = line.heard.saturating_sub(u64::from(numbers.below(3)));
    Look::Resume(Resume { session, secret, received })
}

fn look(numbers: &mut Numbers<'_>) -> Look {
    match numbers.below(8) {
        0 => Look::Ping,
        1 => Look::Renew,
        2 => Look::Statistics,
        3 => Look::Spaces,
        4 => Look::Sessions { after: None, max: 10 },
        5 => Look::Session(SessionId(u64::from(numbers.next()))),
        _ => {
            let session = SessionId(1 << 40 | u64::from(numbers.below(5)));
            Look::Administer(Administer::ExpireSession { session, reason: "why not".into() })
        }
    }
}

/// A numbered request.
fn request(
    act: u8,
    numbers: &mut Numbers<'_>,
    number: u64,
    ack: u64,
    said: &mut BytesMut,
) -> Result<(), enq_protocol::wire::EncodeError> {
    let names: [&[u8]; 3] = [b"a", b"b", b"c"];
    let name = names[usize::from(numbers.below(3))];
    let (mode, flags) = (numbers.mode(), numbers.flags());
    let timeout_ms = (numbers.below(3) == 0).then(|| u32::from(numbers.next()) * 10);
    let value_bytes = number.to_le_bytes();
    let value = flags.contains(Flags::VALBLK).then_some(&value_bytes[..]);
    let (lockspace, owner, priority, reason) = (LockspaceId(0), Owner::default(), 0, &b""[..]);
    let request = match act {
        12..20 => {
            let (handle, parent) = (numbers.handle(), (numbers.below(5) == 4).then(|| numbers.handle()));
            Request::Enq(Enq {
                handle,
                lockspace,
                parent,
                name,
                mode,
                flags,
                owner,
                timeout_ms,
                priority,
                reason,
            })
        }
        20..22 => {
            let depth = usize::from(numbers.below(3)) + 1;
            let handles = (0..depth).map(|_| numbers.handle()).collect();
            let path = names[..depth].to_vec();
            Request::EnqPath(EnqPath {
                handles,
                lockspace,
                path,
                mode,
                flags,
                owner,
                timeout_ms,
                priority,
                reason,
            })
        }
        22..26 => {
            let handle = numbers.handle();
            Request::Convert(Convert { handle, mode, flags, timeout_ms, priority, value })
        }
        26..29 => Request::Deq(Deq { handle: numbers.handle(), flags, value }),
        29 => Request::Cancel(Cancel { handle: numbers.handle(), flags }),
        30 => Request::DeqAll(DeqAll { under: (numbers.below(2) == 1).then(|| numbers.handle()), flags }),
        _ => Request::Close,
    };
    request.encode(number, ack, said)
}
