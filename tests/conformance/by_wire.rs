//! Acts a case out through the wire: a server of its own on a free port, and one connection and session an owner.
//!
//! What the sessions are told is joined into one history by its place: shard and serial of the step. Within a step each
//! connection says its own in order; across connections the order is that of the rules: what the call interrupted, the
//! answer, the grants by seq, the notices by lock id. After each operation every session asks for something that there
//! is not, so that all that was told before is read; nobody waits for time to pass.

use super::case::Operation;
use super::{Driver, write_grant};
use bytes::BytesMut;
use enq::server::{Config, Server};
use enq_protocol::{
    vocabulary::{
        ConversionDeadlock, Flags, Handle, LockFilter, LockId, LockspaceId, LockspaceView, Owner, Place,
        Policy, SessionId, Status,
    },
    wire::{
        Administer, Answer, Cancel, Convert, Deq, Enq, Event, FRAME_LEN_MAX, FromServer, Hello, Look,
        OpenSession, PROTOCOL_VERSION, Reply, Request, Seen, Space, cut,
    },
};
use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};
use tokio::runtime::Runtime;

/// A handle that no case uses.
const NO_LOCK: u32 = 90_000;

/// How often it is asked whether a session has gone; each time takes a round trip.
const LOOKS_MAX: u32 = 100_000;

/// A server and what the case calls its sessions and locks.
pub(crate) struct ByWire<'a> {
    runtime: &'a Runtime,
    server: Option<Server>,
    looker: Connection,
    sessions: Vec<Attached>,
    locks: Vec<Named>,
}

/// A session the case has named.
struct Attached {
    name: String,
    id: SessionId,
    /// None once it has died.
    connection: Option<Connection>,
}

/// A lock the case has named.
struct Named {
    name: String,
    session: usize,
    handle: Handle,
    id: Option<LockId>,
}

/// Something that a session was told.
struct Heard {
    place: Place,
    said: Said,
}

enum Said {
    Answer(Reply),
    Event(Event),
}

impl<'a> ByWire<'a> {
    /// A fresh server.
    pub(crate) fn new(runtime: &'a Runtime, is_timed: bool) -> ByWire<'a> {
        let server = runtime.block_on(Server::start(Config::for_tests())).expect("a free port is there");
        let mut looker = Connection::open(server.local_addr());
        let Seen::Spaces(spaces) = looker.look(&Look::Spaces) else { panic!("no lockspaces") };
        set_policy(server.local_addr(), &spaces[0], is_timed);
        ByWire { runtime, server: Some(server), looker, sessions: Vec::new(), locks: Vec::new() }
    }

    /// The session of this name; a new name opens one that ends with its connection.
    fn session(&mut self, name: &str) -> usize {
        if let Some(at) = self.sessions.iter().position(|known| known.name == name) {
            return at;
        }
        let address = self.server.as_ref().expect("the server runs until the end").local_addr();
        let mut connection = Connection::open(address);
        let id = connection.open_session(name);
        self.sessions.push(Attached { name: name.into(), id, connection: Some(connection) });
        self.sessions.len() - 1
    }

    /// Where the lock of this name is known; a name that was never asked for stands for a lock that never was.
    fn lock(&mut self, name: &str) -> usize {
        self.locks.iter().position(|known| known.name == name).unwrap_or_else(|| {
            let session = self.session(name);
            self.name_lock(name, session)
        })
    }

    /// Handles are counted through all sessions of a case, so that no session has a lock of another one's handle.
    fn name_lock(&mut self, name: &str, session: usize) -> usize {
        let number = u32::try_from(self.locks.len()).expect("a case has few locks") + 1;
        let handle = Handle::new(number).expect("one more than a length");
        self.locks.push(Named { name: name.into(), session, handle, id: None });
        self.locks.len() - 1
    }

    /// Says a request, and writes all that comes of it.
    fn ask(&mut self, lock: usize, request: &Request<'_>) -> Vec<String> {
        let session = self.locks[lock].session;
        let connection = self.sessions[session].connection.as_mut().expect("the dead ask for nothing");
        let mut heard = connection.ask(request);
        if let Some(Reply::Granted(grant)) = answer_of(&heard) {
            self.locks[lock].id = Some(grant.lock);
        } else if let Some(Reply::Queued { lock: id, .. }) = answer_of(&heard) {
            self.locks[lock].id = Some(*id);
        }
        heard.extend(self.all_that_was_told());
        self.write(lock, heard)
    }

    /// Everything that any session was told by now.
    fn all_that_was_told(&mut self) -> Vec<Heard> {
        let handle = Handle::new(NO_LOCK).expect("it is not zero");
        let nothing = Request::Cancel(Cancel { handle, flags: Flags::NONE });
        let mut heard = Vec::new();
        for connection in self.sessions.iter_mut().filter_map(|session| session.connection.as_mut()) {
            let mut told = connection.ask(&nothing);
            let answer = told.pop().expect("a request is answered");
            let Said::Answer(Reply::Refused { status: Status::NoSuchLock, .. }) = answer.said else {
                panic!("there is no such lock");
            };
            heard.extend(told);
        }
        heard
    }

    /// The events of one operation, in the order of the rules.
    fn write(&self, asked: usize, mut heard: Vec<Heard>) -> Vec<String> {
        let demoted = |place: Place| {
            let is = |heard: &Heard| {
                heard.place == place && matches!(heard.said, Said::Event(Event::Demoted { .. }))
            };
            heard.iter().any(is)
        };
        // C5: after a demotion the answer follows the grants it caused.
        let demotions: Vec<bool> = heard.iter().map(|heard| demoted(heard.place)).collect();
        let order = |heard: &Heard, demoted: bool| match &heard.said {
            Said::Event(Event::Ended { .. } | Event::Demoted { .. }) => (0, 0),
            Said::Answer(_) => (if demoted { 2 } else { 1 }, 0),
            Said::Event(Event::Granted(grant)) => (if demoted { 1 } else { 2 }, grant.seq.0),
            Said::Event(Event::Blocking { handle, .. }) => (3, self.named(*handle).id.map_or(0, |id| id.0)),
            Said::Event(event) => panic!("no case can cause {event:?}"),
        };
        let mut keyed: Vec<_> = heard
            .drain(..)
            .zip(demotions)
            .map(|(heard, demoted)| {
                let (class, within) = order(&heard, demoted);
                ((heard.place, class, within), heard)
            })
            .collect();
        // Stable: what one connection says of one lock stays in its order.
        keyed.sort_by_key(|(key, _)| *key);
        keyed.iter().filter_map(|(_, heard)| self.write_one(asked, &heard.said)).collect()
    }

    /// How the cases write it; nothing for what they do not speak of.
    fn write_one(&self, asked: usize, said: &Said) -> Option<String> {
        let asked = &self.locks[asked].name;
        let name = |handle: &Handle| &self.named(*handle).name;
        match said {
            Said::Answer(Reply::Granted(grant)) | Said::Event(Event::Granted(grant)) => {
                Some(write_grant(name(&grant.handle), grant))
            }
            Said::Answer(Reply::Queued { handle, .. }) => Some(format!("{}?", name(handle))),
            Said::Answer(Reply::Done { status: Status::Done }) => None,
            Said::Answer(Reply::Done { status: Status::Released }) => Some(format!("{asked}-")),
            Said::Answer(Reply::Done { status } | Reply::Refused { status, .. }) => {
                Some(format!("{asked}!{status}"))
            }
            Said::Event(Event::Ended { handle, status, .. }) => Some(format!("{}!{status}", name(handle))),
            Said::Event(Event::Demoted { handle }) => Some(format!("{}>DEMOTED", name(handle))),
            Said::Event(Event::Blocking { handle, mode, .. }) => Some(format!("{}~{mode}", name(handle))),
            Said::Answer(Reply::PathGranted { .. } | Reply::Space(_) | Reply::Purged { .. })
            | Said::Event(Event::PathGranted { .. } | Event::Revoked { .. }) => {
                panic!("no case asks for paths, lockspaces, purges or administrators")
            }
        }
    }

    fn named(&self, handle: Handle) -> &Named {
        self.locks
            .iter()
            .find(|known| known.handle == handle)
            .expect("only handles of the case are spoken of")
    }

    /// One search, as an operator asks for it.
    fn search(&mut self) -> Vec<String> {
        let seen = self.looker.look(&Look::Administer(Administer::Scan));
        let Seen::Scanned(scanned) = seen else { panic!("no search, but {seen:?}") };
        let heard = self.all_that_was_told();
        let events = self.write(0, heard);
        if scanned.found == 0 && events.is_empty() { vec!["none".into()] } else { events }
    }

    /// The connection breaks, and with it the session ends, lock by lock.
    fn die(&mut self, owner: &str) -> Vec<String> {
        let at = self.session(owner);
        drop(self.sessions[at].connection.take());
        let id = self.sessions[at].id;
        let filter = LockFilter { session: Some(id), ..LockFilter::default() };
        let mut gone = false;
        for _ in 0..LOOKS_MAX {
            let session = self.looker.look(&Look::Session(id));
            let page = self.looker.look(&Look::Page { from: None, max: 10, filter: filter.clone() });
            let has_none = matches!(&page, Seen::Page(page) if page.locks.is_empty() && page.next.is_none());
            gone = has_none && session == Seen::Refused(Status::NoSuchSession);
            if gone {
                break;
            }
        }
        assert!(gone, "the session of {owner} does not end");
        let heard = self.all_that_was_told();
        self.write(0, heard)
    }
}

impl Drop for ByWire<'_> {
    fn drop(&mut self) {
        // The server waits for those who are still there when it says its last words.
        self.sessions.clear();
        let _ = self.looker.stream.shutdown(Shutdown::Both);
        if let (Some(server), false) = (self.server.take(), std::thread::panicking()) {
            self.runtime.block_on(server.shutdown());
        }
    }
}

/// Nobody looks for deadlocks unless the case does; and who has converted waits for that if the case says so.
fn set_policy(address: SocketAddr, space: &LockspaceView, is_timed: bool) {
    let when = if is_timed { ConversionDeadlock::Timed } else { ConversionDeadlock::Immediate };
    let policy = Policy { conversion_deadlock: when, deadlock_wait_ms: 0, ..Policy::default() };
    let set = Space::Set { lockspace: space.lockspace, version: space.version, policy };
    let mut connection = Connection::open(address);
    connection.open_session("policy");
    let heard = connection.ask(&Request::Space(set));
    assert!(matches!(answer_of(&heard), Some(Reply::Space(_))), "the policy is set");
    let closed = connection.ask(&Request::Close);
    assert!(matches!(answer_of(&closed), Some(Reply::Done { .. })), "the session is closed");
}

/// The answer among what was heard.
fn answer_of(heard: &[Heard]) -> Option<&Reply> {
    heard.iter().find_map(|heard| match &heard.said {
        Said::Answer(reply) => Some(reply),
        Said::Event(_) => None,
    })
}

impl Driver for ByWire<'_> {
    fn act(&mut self, operation: &Operation) -> Vec<String> {
        match operation {
            Operation::New { lock, mode, flags, resource, owner, parent } => {
                let session = self.session(owner);
                let parent = parent.as_ref().map(|parent| self.lock(parent)).map(|at| self.locks[at].handle);
                let at = self.name_lock(lock, session);
                let enq = Enq {
                    handle: self.locks[at].handle,
                    lockspace: LockspaceId(0),
                    parent,
                    name: resource.as_bytes(),
                    mode: *mode,
                    flags: *flags,
                    owner: Owner::default(),
                    timeout_ms: None,
                    priority: 0,
                    reason: b"",
                };
                self.ask(at, &Request::Enq(enq))
            }
            Operation::Convert { lock, mode, flags, value } => {
                let at = self.lock(lock);
                let convert = Convert {
                    handle: self.locks[at].handle,
                    mode: *mode,
                    flags: *flags,
                    timeout_ms: None,
                    priority: 0,
                    value: value.as_deref().map(str::as_bytes),
                };
                self.ask(at, &Request::Convert(convert))
            }
            Operation::Release { lock, flags, value } => {
                let at = self.lock(lock);
                let handle = self.locks[at].handle;
                let value = value.as_deref().map(str::as_bytes);
                self.ask(at, &Request::Deq(Deq { handle, flags: *flags, value }))
            }
            Operation::Cancel { lock } => {
                let at = self.lock(lock);
                let handle = self.locks[at].handle;
                self.ask(at, &Request::Cancel(Cancel { handle, flags: Flags::NONE }))
            }
            Operation::Die { owner } => self.die(owner),
            Operation::Search => self.search(),
            Operation::Priority { lock, priority } => {
                let at = self.lock(lock);
                let lock = self.locks[at].id.expect("the lock is there");
                let set = Look::Administer(Administer::SetPriority { lock, priority: *priority });
                assert_eq!(self.looker.look(&set), Seen::Done);
                Vec::new()
            }
        }
    }
}

/// One connection that says a thing and reads until it is answered.
struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
    requests: u64,
    received: u64,
}

impl Connection {
    fn open(address: SocketAddr) -> Connection {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("an option of every socket");
        // A server that says nothing for so long has failed.
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("an option of every socket");
        let mut connection = Connection { stream, read: Vec::new(), requests: 0, received: 0 };
        let hello = Hello {
            version_min: PROTOCOL_VERSION,
            version_max: PROTOCOL_VERSION,
            features: 0,
            method: 0,
            credentials: Box::default(),
            agent: "conformance".into(),
        };
        connection.say(|out| hello.encode(out).expect("it fits a frame"));
        let FromServer::Welcome(_) = connection.next() else { panic!("not welcome") };
        connection
    }

    /// Begins a session that ends with this connection.
    fn open_session(&mut self, name: &str) -> SessionId {
        let open = OpenSession {
            name: name.into(),
            purpose: "a conformance case".into(),
            node: String::new(),
            node_id: 0,
            host: String::new(),
            pid: 0,
            process_start: 0,
            ttl_ms: 15_000,
            orphan_key: Box::default(),
            log: 0,
            bind_connection: true,
        };
        let Seen::Opened(opened) = self.look(&Look::Open(open)) else { panic!("no session opens") };
        opened.session
    }

    fn say(&mut self, encode: impl FnOnce(&mut BytesMut)) {
        let mut out = BytesMut::new();
        encode(&mut out);
        self.stream.write_all(&out).expect("the server reads");
    }

    /// Says a numbered request; all that is told up to its answer, which is the last.
    fn ask(&mut self, request: &Request<'_>) -> Vec<Heard> {
        self.requests += 1;
        let (number, ack) = (self.requests, self.received);
        self.say(|out| request.encode(number, ack, out).expect("it fits a frame"));
        let mut heard = Vec::new();
        loop {
            match self.next() {
                FromServer::Answer(Answer { request, place, reply }) => {
                    assert_eq!(request, number, "answers come in the order of requests");
                    heard.push(Heard { place, said: Said::Answer(reply) });
                    return heard;
                }
                FromServer::Event { place, event } => heard.push(Heard { place, said: Said::Event(event) }),
                FromServer::Acked => {}
                said => panic!("no answer to {request:?}, but {said:?}"),
            }
        }
    }

    fn look(&mut self, look: &Look) -> Seen {
        let ack = self.received;
        self.say(|out| look.encode(7, ack, out).expect("it fits a frame"));
        match self.next() {
            FromServer::Seen { tag: 7, seen } => seen,
            said => panic!("nothing seen, but {said:?}"),
        }
    }

    /// What the server says next.
    fn next(&mut self) -> FromServer {
        loop {
            if let Some(frame) = cut(&self.read, FRAME_LEN_MAX).expect("the server says frames") {
                let (header, len) = (frame.header, frame.len);
                let said = FromServer::decode(&header, frame.body).expect("the server says what is known");
                self.read.drain(..len);
                if header.number != 0 {
                    assert_eq!(header.number, self.received + 1, "outputs are numbered without gaps");
                    self.received = header.number;
                }
                return said;
            }
            let mut bytes = [0; 4_096];
            let len = self.stream.read(&mut bytes).expect("the server says something in time");
            assert!(len > 0, "the server has closed the connection");
            self.read.extend_from_slice(&bytes[..len]);
        }
    }
}
