//! The load: one thread, many connections, each sending a batch and reading its answers, in the words of each server.

use bytes::{Buf, BytesMut};
use enq_protocol::vocabulary::{Flags, Handle, LockMode, LockspaceId, Owner};
use enq_protocol::wire::{
    self, Deq, FRAME_LEN_MAX, Hello, Look, OpenSession, PROTOCOL_VERSION, Request, cut,
};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How to talk to one kind of server on one connection.
pub(crate) trait Driver: Send {
    /// What goes first, for a session with this lease, and how many answers it has.
    fn begin(&mut self, ttl: Duration, out: &mut BytesMut) -> usize;
    /// Says nothing but that it is still there, which has one answer.
    fn renew(&mut self, out: &mut BytesMut);
    /// Asks for so many locks, on names of this connection's own.
    fn take(&mut self, connection: usize, depth: usize, out: &mut BytesMut);
    /// Releases them.
    fn release(&mut self, connection: usize, depth: usize, out: &mut BytesMut);
    /// Eats whole answers; says how many there were.
    fn answers(&mut self, input: &mut BytesMut) -> usize;
}

/// The lease of a session that is not there for the sake of its lease.
pub(crate) const TTL: Duration = Duration::from_secs(15);

/// Runs the load; says how many pairs there were and how long they took.
pub(crate) fn load(
    address: &str,
    driver: fn() -> Box<dyn Driver>,
    connections: usize,
    depth: usize,
    time: Duration,
) -> (u64, Duration) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(async {
        let mut tasks = Vec::new();
        let start = now();
        let until = start + time;
        for connection in 0..connections {
            let stream = TcpStream::connect(address).await.expect("the server is there");
            stream.set_nodelay(true).expect("a socket takes options");
            tasks.push(tokio::spawn(converse(stream, driver(), connection, depth, until)));
        }
        let mut pairs = 0;
        for task in tasks {
            pairs += task.await.expect("a connection's task ends by itself");
        }
        (pairs, now() - start)
    })
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

async fn converse(
    mut stream: TcpStream,
    mut driver: Box<dyn Driver>,
    connection: usize,
    depth: usize,
    until: Instant,
) -> u64 {
    let (mut input, mut out) = (BytesMut::with_capacity(65_536), BytesMut::with_capacity(65_536));
    let expected = driver.begin(TTL, &mut out);
    exchange(&mut stream, &mut *driver, &mut input, &mut out, expected).await;
    let mut pairs = 0;
    while now() < until {
        driver.take(connection, depth, &mut out);
        exchange(&mut stream, &mut *driver, &mut input, &mut out, depth).await;
        driver.release(connection, depth, &mut out);
        exchange(&mut stream, &mut *driver, &mut input, &mut out, depth).await;
        pairs += depth as u64;
    }
    pairs
}

/// Writes what there is, and reads so many answers.
pub(crate) async fn exchange(
    stream: &mut TcpStream,
    driver: &mut dyn Driver,
    input: &mut BytesMut,
    out: &mut BytesMut,
    expected: usize,
) {
    stream.write_all(out).await.expect("the server reads");
    out.clear();
    let mut seen = 0;
    while seen < expected {
        let read = stream.read_buf(input).await.expect("the server answers");
        assert!(read > 0, "the server hung up");
        seen += driver.answers(input);
    }
}

fn name(connection: usize, at: usize) -> String {
    format!("bench/{connection:04}/lock/{at:08}")
}

/// The words of enqd.
#[derive(Default)]
pub(crate) struct Enq {
    number: u64,
    seen: u64,
}

impl Driver for Enq {
    fn begin(&mut self, ttl: Duration, out: &mut BytesMut) -> usize {
        let hello = Hello {
            version_min: PROTOCOL_VERSION,
            version_max: PROTOCOL_VERSION,
            features: 0,
            method: 0,
            credentials: Box::default(),
            agent: "bench".into(),
        };
        let open = OpenSession {
            name: "bench".into(),
            purpose: String::new(),
            node: String::new(),
            node_id: 0,
            host: String::new(),
            pid: 0,
            process_start: 0,
            ttl_ms: u32::try_from(ttl.as_millis()).expect("a lease is short"),
            orphan_key: Box::default(),
            log: 0,
            bind_connection: true,
        };
        hello.encode(out).expect("it fits");
        Look::Open(open).encode(1, 0, out).expect("it fits");
        2
    }

    fn renew(&mut self, out: &mut BytesMut) {
        Look::Renew.encode(2, self.seen, out).expect("it fits");
    }

    fn take(&mut self, connection: usize, depth: usize, out: &mut BytesMut) {
        for at in 0..depth {
            let name = name(connection, at);
            let enq = wire::Enq {
                handle: handle(at),
                lockspace: LockspaceId(0),
                parent: None,
                name: name.as_bytes(),
                mode: LockMode::Ex,
                flags: Flags::NONE,
                owner: Owner::default(),
                timeout_ms: None,
                priority: 0,
                reason: &[],
            };
            self.number += 1;
            Request::Enq(enq).encode(self.number, self.seen, out).expect("it fits");
        }
    }

    fn release(&mut self, _: usize, depth: usize, out: &mut BytesMut) {
        for at in 0..depth {
            self.number += 1;
            let deq = Deq { handle: handle(at), flags: Flags::NONE, value: None };
            Request::Deq(deq).encode(self.number, self.seen, out).expect("it fits");
        }
    }

    fn answers(&mut self, input: &mut BytesMut) -> usize {
        let mut count = 0;
        while let Some(frame) = cut(input, FRAME_LEN_MAX).expect("the server speaks the protocol") {
            let (number, len) = (frame.header.number, frame.len);
            self.seen = self.seen.max(number);
            input.advance(len);
            count += 1;
        }
        count
    }
}

fn handle(at: usize) -> Handle {
    u32::try_from(at + 1).ok().and_then(Handle::new).expect("depths are small")
}

/// The words of the floor: as many bytes as enqd would be sent, and the same back.
#[derive(Default)]
pub(crate) struct Floor {
    enq: Enq,
    frames: Vec<usize>,
    have: usize,
}

impl Floor {
    fn note(&mut self, out: &BytesMut, before: usize) {
        let mut rest = &out[before..];
        while let Some(frame) = cut(rest, FRAME_LEN_MAX).expect("these are whole frames") {
            self.frames.push(frame.len);
            rest = &rest[frame.len..];
        }
    }
}

impl Driver for Floor {
    fn begin(&mut self, ttl: Duration, out: &mut BytesMut) -> usize {
        let count = self.enq.begin(ttl, out);
        self.note(out, 0);
        count
    }

    fn renew(&mut self, out: &mut BytesMut) {
        self.enq.renew(out);
        self.note(out, 0);
    }

    fn take(&mut self, connection: usize, depth: usize, out: &mut BytesMut) {
        self.enq.take(connection, depth, out);
        self.note(out, 0);
    }

    fn release(&mut self, connection: usize, depth: usize, out: &mut BytesMut) {
        self.enq.release(connection, depth, out);
        self.note(out, 0);
    }

    fn answers(&mut self, input: &mut BytesMut) -> usize {
        self.have += input.len();
        input.clear();
        let mut count = 0;
        while let Some(len) = self.frames.get(count).filter(|len| **len <= self.have) {
            self.have -= len;
            count += 1;
        }
        self.frames.drain(..count);
        count
    }
}

/// The words of Redis: SET NX PX, and a script that deletes what it finds unchanged.
pub(crate) struct Redis;

const COMPARE_AND_DELETE: &str =
    "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end";

/// Its SHA-1, by which Redis calls it.
const COMPARE_AND_DELETE_SHA: &str = "b998f9dfb154cdbea8cda65ad5177aadf0e945a2";

fn command(parts: &[&str], out: &mut BytesMut) {
    use std::fmt::Write as _;
    let _ = write!(out, "*{}\r\n", parts.len());
    for part in parts {
        let _ = write!(out, "${}\r\n{part}\r\n", part.len());
    }
}

impl Driver for Redis {
    fn begin(&mut self, _: Duration, out: &mut BytesMut) -> usize {
        // The answer is a length and a digest, two lines.
        command(&["SCRIPT", "LOAD", COMPARE_AND_DELETE], out);
        2
    }

    fn renew(&mut self, out: &mut BytesMut) {
        command(&["PING"], out);
    }

    fn take(&mut self, connection: usize, depth: usize, out: &mut BytesMut) {
        for at in 0..depth {
            command(&["SET", &name(connection, at), "token", "NX", "PX", "15000"], out);
        }
    }

    fn release(&mut self, connection: usize, depth: usize, out: &mut BytesMut) {
        for at in 0..depth {
            command(&["EVALSHA", COMPARE_AND_DELETE_SHA, "1", &name(connection, at), "token"], out);
        }
    }

    fn answers(&mut self, input: &mut BytesMut) -> usize {
        let whole = input.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines = input.split_to(whole);
        assert!(!lines.contains(&b'-'), "redis refused: {lines:?}");
        lines.iter().filter(|byte| **byte == b'\n').count()
    }
}
