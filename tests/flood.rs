//! Crowds at the door: what they cost those who came with a purpose.
//!
//! The short forms belong to the gate. The long ones print figures:
//! `cargo test --release --test flood -- --ignored --nocapture --test-threads 1`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use bytes::BytesMut;
use enq_protocol::{
    vocabulary::{Counter, Flags, Handle, LockMode, LockspaceId, Owner, Status},
    wire::{
        Deq, Enq, FRAME_LEN_MAX, FromServer, Hello, Look, OpenSession, Opened, Reply, Request, Resume, Seen,
        cut,
    },
};
use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A server process; killed when the test ends.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(arguments: &[&str]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_enqd"));
        command.args(["--listen", "127.0.0.1:0", "--log-level", "error"]).args(arguments).env_clear();
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let line = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
        Process { address: line.strip_prefix("listening on ").unwrap().parse().unwrap(), child }
    }

    /// The memory it has, in kibibytes.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix("kB").unwrap().trim().parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "what is measured is time")]
fn now() -> Instant {
    Instant::now()
}

/// A client that speaks frames and waits for what it asks.
struct Speaker {
    stream: TcpStream,
    number: u64,
    received: u64,
}

impl Speaker {
    fn connect(address: SocketAddr) -> Option<Speaker> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        let mut speaker = Speaker { stream, number: 0, received: 0 };
        let mut bytes = BytesMut::new();
        let (credentials, agent) = (Box::default(), "flood".into());
        let hello = Hello { version_min: 1, version_max: 1, features: 0, method: 0, credentials, agent };
        hello.encode(&mut bytes).unwrap();
        speaker.stream.write_all(&bytes).ok()?;
        matches!(speaker.next()?, FromServer::Welcome(_)).then_some(speaker)
    }

    fn opened(address: SocketAddr) -> (Speaker, Opened) {
        let mut speaker = Speaker::connect(address).unwrap();
        let session = OpenSession {
            name: "flood".into(),
            purpose: String::new(),
            node: String::new(),
            node_id: 0,
            host: String::new(),
            pid: 1,
            process_start: 0,
            ttl_ms: 15_000,
            orphan_key: Box::default(),
            log: 0,
            bind_connection: false,
        };
        match speaker.look(&Look::Open(session)) {
            Some(Seen::Opened(opened)) => (speaker, opened),
            seen => panic!("{seen:?}"),
        }
    }

    /// What the server says next; none at the end.
    fn next(&mut self) -> Option<FromServer> {
        let mut bytes = vec![0; 4];
        self.stream.read_exact(&mut bytes).ok()?;
        let len = u32::from_le_bytes(bytes[..4].try_into().unwrap());
        bytes.resize(len.try_into().unwrap(), 0);
        self.stream.read_exact(&mut bytes[4..]).ok()?;
        let frame = cut(&bytes, FRAME_LEN_MAX).unwrap().unwrap();
        self.received = self.received.max(frame.header.number);
        Some(FromServer::decode(&frame.header, frame.body).unwrap())
    }

    fn look(&mut self, look: &Look) -> Option<Seen> {
        let mut bytes = BytesMut::new();
        look.encode(1, self.received, &mut bytes).unwrap();
        self.stream.write_all(&bytes).ok()?;
        loop {
            match self.next()? {
                FromServer::Seen { seen, .. } => return Some(seen),
                FromServer::Acked => {}
                said => panic!("{said:?}"),
            }
        }
    }

    fn encode(&mut self, request: &Request<'_>, bytes: &mut BytesMut) {
        self.number += 1;
        request.encode(self.number, self.received, bytes).unwrap();
    }

    fn ask(&mut self, request: &Request<'_>) {
        let mut bytes = BytesMut::new();
        self.encode(request, &mut bytes);
        self.stream.write_all(&bytes).unwrap();
        loop {
            match self.next().unwrap() {
                FromServer::Answer(_) => return,
                FromServer::Acked => {}
                said => panic!("{said:?}"),
            }
        }
    }

    /// The value of a counter, by the name of its metric.
    fn counter(&mut self, name: &str) -> u64 {
        let Some(Seen::Statistics { counters, .. }) = self.look(&Look::Statistics) else {
            panic!("counters")
        };
        let found: Option<Counter> = counters.into_iter().find(|counter| counter.name == name);
        found.unwrap_or_else(|| panic!("{name} is counted")).value
    }
}

fn enq(number: u32, name: &[u8]) -> Request<'_> {
    Request::Enq(Enq {
        handle: Handle::new(number).unwrap(),
        lockspace: LockspaceId(0),
        parent: None,
        name,
        mode: LockMode::Ex,
        flags: Flags::NONE,
        owner: Owner::default(),
        timeout_ms: None,
        priority: 0,
        reason: b"",
    })
}

fn deq(number: u32) -> Request<'static> {
    Request::Deq(Deq { handle: Handle::new(number).unwrap(), flags: Flags::NONE, value: None })
}

/// So many connections that say nothing; one session is resumed in their midst. Says how long that took.
fn resume_in_a_crowd(strangers: usize) -> Duration {
    /// More than the server lets stand at its door: the older ones are gone anyway.
    const STANDING: usize = 600;
    // Nobody leaves because he took too long: on a busy machine that would be everybody.
    let server = Process::start(&["--first-frame-timeout", "1m", "--handshake-timeout", "1m"]);
    let (mut speaker, opened) = Speaker::opened(server.address);
    speaker.ask(&enq(1, b"held"));
    let received = speaker.received;
    let mut speaker = Some(speaker);
    let before = server.resident();
    let mut crowd = VecDeque::new();
    let mut taken = Duration::MAX;
    for number in 0..strangers {
        crowd.push_back(TcpStream::connect(server.address).unwrap());
        if crowd.len() > STANDING {
            crowd.pop_front();
        }
        if let (0, Some(speaker)) = (number % 500, &mut speaker) {
            assert!(matches!(speaker.look(&Look::Renew), Some(Seen::Renewed(_))));
        }
        if number == strangers * 3 / 4 {
            drop(speaker.take());
            let began = now();
            let resume = Resume { session: opened.session, secret: opened.secret, received };
            let mut tries = 0;
            let resumed = loop {
                tries += 1;
                let look = Look::Resume(resume.clone());
                if let Some(seen) = Speaker::connect(server.address).and_then(|mut peer| peer.look(&look)) {
                    break seen;
                }
                assert!(tries < 100, "it comes in");
            };
            taken = began.elapsed();
            assert!(matches!(resumed, Seen::Resumed(_)), "{resumed:?}");
            println!("resumed among {number} connects after {taken:?}, {tries} tries");
        }
    }
    let mut looker = Speaker::connect(server.address).unwrap();
    let until = now() + Duration::from_secs(60);
    let evicted = loop {
        let evicted = looker.counter("enq_limit_reached_total{limit=\"connections_unauthenticated_max\"}");
        let standing = looker.counter("enq_connections_unauthenticated");
        assert!(standing <= 512, "{standing} stand at the door");
        // Some of the earlier ones close before they are let in; those of the end stay, and are too many.
        if evicted > 0 || now() > until {
            break evicted;
        }
    };
    let grown = server.resident().saturating_sub(before);
    println!("{strangers} connects: {evicted} sent away, {grown} KiB more");
    assert!(evicted > 0, "there are too many of them");
    drop(crowd);
    taken
}

#[test]
fn a_session_is_resumed_in_a_crowd_of_strangers() {
    // How fast is the business of the long form.
    assert_ne!(resume_in_a_crowd(2_000), Duration::MAX);
}

#[test]
#[ignore = "takes long, and prints figures"]
fn a_session_is_resumed_among_20000_strangers() {
    assert!(resume_in_a_crowd(20_000) < Duration::from_secs(1));
}

/// Sends looks with long answers, and requests, until nothing is taken any more; reads nothing.
fn flood_without_reading(speaker: &mut Speaker, name: &str) {
    speaker.stream.set_nonblocking(true).unwrap();
    let mut bytes = BytesMut::new();
    for number in 1..500 {
        speaker.encode(&enq(number, name.as_bytes()), &mut bytes);
        speaker.encode(&deq(number), &mut bytes);
    }
    for tag in 0..3_000 {
        Look::Statistics.encode(tag, 0, &mut bytes).unwrap();
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        match speaker.stream.write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            // It was sent away.
            Err(_) => return,
        }
    }
}

/// How long a lock and its release take, the time that 99 of 100 stay below.
fn p99(speaker: &mut Speaker, name: &str, rounds: usize) -> Duration {
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let began = now();
            speaker.ask(&enq(1, name.as_bytes()));
            speaker.ask(&deq(1));
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[rounds * 99 / 100]
}

/// So many clients that never read. Says the time of the others before and then.
fn others_beside_the_deaf(deaf: usize, rounds: usize) -> (Duration, Duration) {
    let server = Process::start(&[]);
    let (mut speaker, _) = Speaker::opened(server.address);
    p99(&mut speaker, "mine", rounds);
    let before = p99(&mut speaker, "mine", rounds);
    let mut crowd: Vec<Speaker> = (0..deaf).map(|_| Speaker::opened(server.address).0).collect();
    let resident = server.resident();
    for (number, one) in crowd.iter_mut().enumerate() {
        flood_without_reading(one, &format!("theirs-{number}"));
    }
    let then = p99(&mut speaker, "mine", rounds);
    let most = speaker.counter("enq_outbox_bytes_max");
    let soft = speaker.counter("enq_requests_parked_total");
    let grown = server.resident().saturating_sub(resident);
    println!(
        "{deaf} that never read: p99 of the others {before:?} before, {then:?} then; the greatest outbox {most} bytes; \
         {soft} requests put aside; {grown} KiB more"
    );
    assert!(most > 0 && most <= 1024 * 1024, "no outbox above 1 MiB: {most}");
    (before, then)
}

#[test]
fn who_does_not_read_costs_little() {
    let (_, then) = others_beside_the_deaf(20, 200);
    assert!(then < Duration::from_secs(1), "{then:?}");
}

#[test]
#[ignore = "takes long, and prints figures"]
fn two_hundred_that_never_read() {
    let (before, then) = others_beside_the_deaf(200, 20_000);
    // Half a millisecond is what the machine itself may add.
    assert!(then <= before * 2 + Duration::from_micros(500), "{before:?} {then:?}");
}

/// So many locks on as many resources. Says the bytes that the server counted and those that it really took.
fn count_locks(sessions: u32, locks: u32) -> (u64, u64) {
    const BATCH: u32 = 500;
    let server = Process::start(&[]);
    let mut looker = Speaker::connect(server.address).unwrap();
    let counted = |looker: &mut Speaker| {
        looker.counter("enq_memory_bytes{of=\"table\"}") + looker.counter("enq_memory_bytes{of=\"sessions\"}")
    };
    let (before, resident) = (counted(&mut looker), server.resident());
    let mut speakers: Vec<Speaker> = (0..sessions).map(|_| Speaker::opened(server.address).0).collect();
    for (session, speaker) in speakers.iter_mut().enumerate() {
        for from in (1..=locks).step_by(BATCH as usize) {
            let mut bytes = BytesMut::new();
            for number in from..from + BATCH {
                let name = format!("tenant-{session}/resource-{number}");
                speaker.encode(&enq(number, name.as_bytes()), &mut bytes);
            }
            speaker.stream.write_all(&bytes).unwrap();
            let mut answers = 0;
            while answers < BATCH {
                match speaker.next().unwrap() {
                    FromServer::Answer(answer) => {
                        assert!(matches!(answer.reply, Reply::Granted(_)), "{answer:?}");
                        answers += 1;
                    }
                    FromServer::Acked => {}
                    said => panic!("{said:?}"),
                }
            }
        }
        speaker.look(&Look::Ping).unwrap();
    }
    let counted = counted(&mut looker) - before;
    let taken = (server.resident() - resident) * 1_024;
    let each = |bytes: u64| bytes / u64::from(sessions * locks);
    println!(
        "{} locks: counted {counted} bytes, taken {taken} bytes; {} and {} a lock with its resource",
        sessions * locks,
        each(counted),
        each(taken)
    );
    (counted, taken)
}

#[test]
#[ignore = "takes long, and prints figures"]
fn what_a_million_locks_take_is_counted() {
    let (counted, taken) = count_locks(10, 100_000);
    assert!(counted.abs_diff(taken) <= taken / 4, "within a quarter: {counted} {taken}");
}

/// So many connections that have sent all but the last byte of the longest frame that is allowed. Says the bytes that
/// each takes.
fn standing_in_a_frame(number: u64, greeted: bool) -> u64 {
    let server = Process::start(&[
        "--frame-timeout",
        "1m",
        "--first-frame-timeout",
        "1m",
        "--handshake-timeout",
        "1m",
    ]);
    let len: u32 = if greeted { 64 * 1_024 } else { 4 * 1_024 };
    let mut frame = vec![0; usize::try_from(len).unwrap() - 1];
    frame[..4].copy_from_slice(&len.to_le_bytes());
    let connect = || {
        if greeted {
            Speaker::connect(server.address).unwrap().stream
        } else {
            TcpStream::connect(server.address).unwrap()
        }
    };
    // What the first ones have the server allocate once is none of theirs.
    let early: Vec<TcpStream> = (0..20).map(|_| connect()).collect();
    let mut looker = Speaker::connect(server.address).unwrap();
    let connections = looker.counter("enq_connections");
    let before = server.resident();
    let mut crowd = Vec::new();
    for _ in 0..number {
        let mut stream = connect();
        stream.write_all(&frame).unwrap();
        crowd.push(stream);
    }
    while looker.counter("enq_connections") < connections + number {}
    // The bytes have been read when the server has nothing else to do than to answer this.
    for _ in 0..50 {
        looker.look(&Look::Ping).unwrap();
    }
    let each = server.resident().saturating_sub(before) * 1_024 / number;
    drop((crowd, early));
    each
}

#[test]
fn who_stands_in_the_middle_of_a_frame_costs_little() {
    let (strangers, guests) = (standing_in_a_frame(400, false), standing_in_a_frame(200, true));
    println!("all but a byte of the longest frame: {strangers} bytes a stranger, {guests} bytes a guest");
    // Four and sixty-four kibibytes of bytes, a task, and what the allocator takes in large pieces.
    assert!(strangers <= 32 * 1_024 && guests <= 128 * 1_024, "{strangers} {guests}");
}

#[test]
fn what_is_wrong_is_decided_at_once() {
    let server = Process::start(&[]);
    let mut times: Vec<Duration> = (0..300)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream.write_all(&[0xFF; 3]).unwrap();
            let began = now();
            // The deciding byte: a length of 2^32-1.
            stream.write_all(&[0xFF]).unwrap();
            let mut end = [0; 1];
            assert!(matches!(stream.read(&mut end), Ok(0) | Err(_)), "it ends without a word");
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!(
        "decided after {:?}, 99 of 100 within {:?}, all within {:?}",
        times[150], times[297], times[299]
    );
    // Ten milliseconds are the aim, and on an idle machine it is a tenth of one; here it is that nothing is waited for.
    assert!(times[150] < Duration::from_secs(1), "{:?}", times[150]);
}

/// The statuses with which the last places answer.
#[test]
fn the_last_places_are_for_those_who_come_back() {
    let server = Process::start(&["--connections-max", "4", "--connections-kept-percent", "50"]);
    let (mut holder, opened) = Speaker::opened(server.address);
    holder.ask(&enq(1, b"held"));
    let received = holder.received;
    let _second = Speaker::connect(server.address).unwrap();
    drop(holder);
    // Until the server has seen the end of that connection there are three, and its place is not the kept one.
    let _third = loop {
        let mut looker = Speaker::connect(server.address).unwrap();
        if looker.counter("enq_connections") == 2 {
            break looker;
        }
    };
    let mut newcomer = Speaker::connect(server.address).unwrap();
    let mut bytes = BytesMut::new();
    let open = Look::Open(OpenSession {
        name: "newcomer".into(),
        purpose: String::new(),
        node: String::new(),
        node_id: 0,
        host: String::new(),
        pid: 1,
        process_start: 0,
        ttl_ms: 15_000,
        orphan_key: Box::default(),
        log: 0,
        bind_connection: false,
    });
    open.encode(1, 0, &mut bytes).unwrap();
    newcomer.stream.write_all(&bytes).unwrap();
    match newcomer.next() {
        Some(FromServer::Fatal(fatal)) => assert_eq!(fatal.status, Status::Unavailable),
        said => panic!("{said:?}"),
    }
    let resume = Look::Resume(Resume { session: opened.session, secret: opened.secret, received });
    let mut back = Speaker::connect(server.address).unwrap();
    assert!(matches!(back.look(&resume), Some(Seen::Resumed(_))));
    back.number = 1;
    back.ask(&deq(1));
}
