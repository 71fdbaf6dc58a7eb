//! A client that says exactly what a test wants it to say.

use bytes::{Buf as _, BytesMut};
use enq::server::{Config, Server};
use enq_protocol::{
    vocabulary::{Flags, Grant, Handle, LockMode, LockspaceId, Owner, SessionId, Status},
    wire::{
        Answer, Convert, Deq, Enq, Event, FRAME_LEN_MAX, Fatal, FromServer, Hello, Kind, Look, OpenSession,
        Opened, Reply, Request, Resume, Resumed, Seen, acknowledge, cut,
    },
};
use std::{future::Future, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

/// A test that waits longer than this has failed.
const DEADLINE: Duration = Duration::from_secs(20);

/// Waits, but not for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(result) => result,
        Err(_) => panic!("{what} took too long"),
    }
}

/// A server on a free port.
pub(crate) async fn server() -> Server {
    Server::start(Config::for_tests()).await.unwrap()
}

/// One connection.
pub(crate) struct Speaker {
    stream: TcpStream,
    read: BytesMut,
    /// The frame that was taken last.
    pub(crate) frame: Vec<u8>,
    /// The number of the last request.
    pub(crate) last: u64,
    /// The last number received.
    pub(crate) received: u64,
    /// The acknowledgement that the server's last frame carried.
    pub(crate) acked: u64,
    tag: u32,
}

impl Speaker {
    /// Connects and says nothing.
    pub(crate) async fn connect(server: &Server) -> Speaker {
        let stream = TcpStream::connect(server.local_addr()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Speaker { stream, read: BytesMut::new(), frame: Vec::new(), last: 0, received: 0, acked: 0, tag: 0 }
    }

    /// Connects with little room for what it does not read, and opens a session.
    pub(crate) async fn narrow(server: &Server) -> (Speaker, SessionId) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let stream = socket.connect(server.local_addr()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let speaker = Speaker {
            stream,
            read: BytesMut::new(),
            frame: Vec::new(),
            last: 0,
            received: 0,
            acked: 0,
            tag: 0,
        };
        speaker.greet().await.open(session(15_000, false)).await
    }

    /// Connects and is welcome.
    pub(crate) async fn greeted(server: &Server) -> Speaker {
        Speaker::connect(server).await.greet().await
    }

    async fn greet(self) -> Speaker {
        let mut speaker = self;
        speaker.write(&hello()).await;
        assert!(matches!(speaker.next().await, FromServer::Welcome(_)));
        speaker
    }

    /// Connects and opens a session that ends with the connection or 15 s after it.
    pub(crate) async fn opened(server: &Server) -> Speaker {
        Speaker::opened_as(server, session(15_000, false)).await.0
    }

    /// Connects and opens this session.
    pub(crate) async fn opened_as(server: &Server, session: OpenSession) -> (Speaker, SessionId) {
        Speaker::greeted(server).await.open(session).await
    }

    async fn open(self, session: OpenSession) -> (Speaker, SessionId) {
        let mut speaker = self;
        let opened = speaker.begin(session).await;
        (speaker, opened.session)
    }

    /// Opens a session on a connection that has none.
    pub(crate) async fn begin(&mut self, session: OpenSession) -> Opened {
        (self.last, self.received) = (0, 0);
        match self.look(Look::Open(session)).await {
            Seen::Opened(opened) => opened,
            seen => panic!("no session opens: {seen:?}"),
        }
    }

    /// Connects and opens a session that another connection can go on with.
    pub(crate) async fn kept(server: &Server) -> (Speaker, Opened) {
        let mut speaker = Speaker::greeted(server).await;
        let opened = speaker.begin(session(15_000, false)).await;
        (speaker, opened)
    }

    /// Connects and goes on with a session, of which everything up to this number was received.
    pub(crate) async fn resumed(server: &Server, opened: &Opened, received: u64) -> (Speaker, Resumed) {
        let mut speaker = Speaker::greeted(server).await;
        let resumed = speaker.resume(opened, received).await;
        (speaker, resumed)
    }

    /// Goes on with a session on a connection that has none.
    pub(crate) async fn resume(&mut self, opened: &Opened, received: u64) -> Resumed {
        self.write(&looked(&resume(opened, received), 1_000)).await;
        let FromServer::Seen { tag: 1_000, seen: Seen::Resumed(resumed) } = self.next().await else {
            panic!("no session goes on")
        };
        (self.last, self.received) = (resumed.executed, received);
        resumed
    }

    /// The bytes of the next request.
    pub(crate) fn encode(&mut self, request: &Request<'_>) -> Vec<u8> {
        self.last += 1;
        encoded(request, self.last, self.received)
    }

    /// Closes the connection, in order or not.
    pub(crate) fn leave(self, reset: bool) {
        if reset {
            // Zero seconds to linger: the system answers what is on its way with a reset.
            self.stream.set_zero_linger().unwrap();
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        soon("writing", self.stream.write_all(bytes)).await.unwrap();
    }

    /// Writes to a server that may have closed. Says whether it took the bytes.
    pub(crate) async fn write_if_open(&mut self, bytes: &[u8]) -> bool {
        soon("writing", self.stream.write_all(bytes)).await.is_ok()
    }

    pub(crate) async fn send(&mut self, request: &Request<'_>) {
        let bytes = self.encode(request);
        self.write(&bytes).await;
    }

    /// Sends the next request and takes what is said next, which answers it.
    pub(crate) async fn ask(&mut self, request: &Request<'_>) -> Reply {
        self.send(request).await;
        self.answer().await
    }

    /// Takes the next answer, which must be the next thing that is said.
    pub(crate) async fn answer(&mut self) -> Reply {
        match self.next().await {
            FromServer::Answer(Answer { reply, .. }) => reply,
            said => panic!("no answer, but {said:?}"),
        }
    }

    /// Takes the next event, which must be the next thing that is said.
    pub(crate) async fn event(&mut self) -> Event {
        match self.next().await {
            FromServer::Event { event, .. } => event,
            said => panic!("no event, but {said:?}"),
        }
    }

    pub(crate) async fn look(&mut self, look: Look) -> Seen {
        self.tag += 1;
        let mut bytes = BytesMut::new();
        look.encode(self.tag, self.received, &mut bytes).unwrap();
        self.write(&bytes).await;
        loop {
            match self.next().await {
                FromServer::Seen { tag, seen } if tag == self.tag => return seen,
                FromServer::Acked => {}
                said => panic!("nothing seen, but {said:?}"),
            }
        }
    }

    /// Acknowledges what was received.
    pub(crate) async fn acknowledge(&mut self) {
        let mut bytes = BytesMut::new();
        acknowledge(Kind::ACK, self.received, &mut bytes).unwrap();
        self.write(&bytes).await;
    }

    /// What the server says next.
    pub(crate) async fn next(&mut self) -> FromServer {
        self.next_or_end().await.expect("the connection has not ended")
    }

    /// What the server says next; none at the end of the connection.
    pub(crate) async fn next_or_end(&mut self) -> Option<FromServer> {
        loop {
            if let Some(frame) = cut(&self.read, FRAME_LEN_MAX).unwrap() {
                let (header, len) = (frame.header, frame.len);
                let said = FromServer::decode(&header, frame.body).unwrap();
                self.frame.clear();
                self.frame.extend_from_slice(&self.read[..len]);
                self.read.advance(len);
                if header.number != 0 {
                    assert_eq!(header.number, self.received + 1, "outputs are numbered without gaps");
                    self.received = header.number;
                }
                self.acked = self.acked.max(header.ack);
                return Some(said);
            }
            match soon("the server's next word", self.stream.read_buf(&mut self.read)).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// How the connection ends: the ERROR frame, if one is said. Other words before it are skipped.
    pub(crate) async fn end(&mut self) -> Option<Fatal> {
        let mut last = None;
        while let Some(said) = self.next_or_end().await {
            assert!(last.is_none(), "nothing is said after ERROR: {said:?}");
            if let FromServer::Fatal(fatal) = said {
                last = Some(fatal);
            }
        }
        last
    }

    /// Why the connection ends; none if silently.
    pub(crate) async fn end_status(&mut self) -> Option<Status> {
        self.end().await.map(|fatal| fatal.status)
    }

    /// Asks for a root in a mode, with these flags.
    pub(crate) async fn enq(&mut self, number: u32, name: &str, mode: LockMode, flags: Flags) -> Reply {
        self.ask(&root(number, name, mode, flags)).await
    }
}

pub(crate) fn hello() -> Vec<u8> {
    let mut bytes = BytesMut::new();
    let hello = Hello {
        version_min: 1,
        version_max: 1,
        features: 0,
        method: 0,
        credentials: Box::default(),
        agent: "test".into(),
    };
    hello.encode(&mut bytes).unwrap();
    bytes.to_vec()
}

/// Asks to go on with a session.
pub(crate) fn resume(opened: &Opened, received: u64) -> Look {
    Look::Resume(Resume { session: opened.session, secret: opened.secret, received })
}

pub(crate) fn session(ttl_ms: u32, bind_connection: bool) -> OpenSession {
    OpenSession {
        name: "tester".into(),
        purpose: "testing".into(),
        node: "here".into(),
        node_id: 0,
        host: "localhost".into(),
        pid: 1,
        process_start: 0,
        ttl_ms,
        orphan_key: Box::default(),
        log: 0,
        bind_connection,
    }
}

pub(crate) fn encoded(request: &Request<'_>, number: u64, ack: u64) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    request.encode(number, ack, &mut bytes).unwrap();
    bytes.to_vec()
}

pub(crate) fn looked(look: &Look, tag: u32) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    look.encode(tag, 0, &mut bytes).unwrap();
    bytes.to_vec()
}

pub(crate) fn handle(number: u32) -> Handle {
    Handle::new(number).unwrap()
}

pub(crate) fn root(number: u32, name: &str, mode: LockMode, flags: Flags) -> Request<'_> {
    Request::Enq(Enq {
        handle: handle(number),
        lockspace: LockspaceId(0),
        parent: None,
        name: name.as_bytes(),
        mode,
        flags,
        owner: Owner::default(),
        timeout_ms: None,
        priority: 0,
        reason: b"",
    })
}

pub(crate) fn sublock(number: u32, parent: u32, name: &str, mode: LockMode) -> Request<'_> {
    match root(number, name, mode, Flags::NONE) {
        Request::Enq(enq) => Request::Enq(Enq { parent: Some(handle(parent)), ..enq }),
        other => other,
    }
}

pub(crate) fn convert<'a>(number: u32, mode: LockMode, flags: Flags) -> Request<'a> {
    Request::Convert(Convert {
        handle: handle(number),
        mode,
        flags,
        timeout_ms: None,
        priority: 0,
        value: None,
    })
}

pub(crate) fn deq<'a>(number: u32, flags: Flags) -> Request<'a> {
    Request::Deq(Deq { handle: handle(number), flags, value: None })
}

/// The grant in an answer.
pub(crate) fn granted(reply: Reply) -> Grant {
    match reply {
        Reply::Granted(grant) => grant,
        reply => panic!("not granted: {reply:?}"),
    }
}

/// The status of a refusal.
pub(crate) fn refused(reply: Reply) -> Status {
    match reply {
        Reply::Refused { status, .. } => status,
        reply => panic!("not refused: {reply:?}"),
    }
}

/// The status of an answer that brings nothing else.
pub(crate) fn done(reply: Reply) -> Status {
    match reply {
        Reply::Done { status } => status,
        reply => panic!("not done: {reply:?}"),
    }
}
