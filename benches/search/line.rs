//! One connection without a socket: what is said to a conversation of the server, and what it answers.

use bytes::{Buf as _, BytesMut};
use enq::{
    engine::Instant,
    server::{
        House,
        conversation::{Conversation, Ends},
    },
};
use enq_protocol::{
    vocabulary::{Flags, Handle, LockMode, LockspaceId, Owner, Status},
    wire::{
        Deq, Enq, Event, FRAME_LEN_MAX, FromServer, Hello, Look, OpenSession, PROTOCOL_VERSION, Request, cut,
    },
};
use std::{net::SocketAddr, sync::Arc};

/// A session and its connection.
pub(crate) struct Line {
    conversation: Conversation,
    written: BytesMut,
    /// The numbers of the last request and of the last handle, and of the last frame that was heard.
    request: u64,
    handle: u32,
    heard: u64,
    deadlocks: Vec<Handle>,
}

impl Line {
    /// A session that ends with its connection, for this bench has no rounds in which leases end.
    pub(crate) fn open(house: &Arc<House>, now: Instant) -> Line {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut line = Line {
            conversation: Conversation::new(Arc::clone(house), address),
            written: BytesMut::new(),
            request: 0,
            handle: 0,
            heard: 0,
            deadlocks: Vec::new(),
        };
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
            ttl_ms: u32::MAX,
            orphan_key: Box::default(),
            log: 0,
            bind_connection: true,
        };
        let out = line.conversation.listen().0;
        hello.encode(out).expect("it fits");
        Look::Open(open).encode(1, 0, out).expect("it fits");
        line.turn(now, true);
        line
    }

    /// Asks for EX on this name, for this owner.
    pub(crate) fn enq(&mut self, now: Instant, name: &str, owner: u64) -> Handle {
        self.handle += 1;
        let handle = Handle::new(self.handle).expect("handles start at 1");
        self.say(
            now,
            &Request::Enq(Enq {
                handle,
                lockspace: LockspaceId(0),
                parent: None,
                name: name.as_bytes(),
                mode: LockMode::Ex,
                flags: Flags::NONE,
                owner: Owner { scope: 0, token: owner },
                timeout_ms: None,
                priority: 0,
                reason: b"",
            }),
        );
        handle
    }

    /// Releases the lock that was asked for last, whose handle is free again then.
    pub(crate) fn deq(&mut self, now: Instant, handle: Handle) {
        self.say(now, &Request::Deq(Deq { handle, flags: Flags::NONE, value: None }));
        self.handle -= 1;
    }

    fn say(&mut self, now: Instant, request: &Request<'_>) {
        self.request += 1;
        let (number, heard) = (self.request, self.heard);
        request.encode(number, heard, self.conversation.listen().0).expect("it fits");
        self.turn(now, true);
    }

    /// Which requests were refused to break deadlocks since this was last asked.
    pub(crate) fn deadlocks(&mut self, now: Instant) -> Vec<Handle> {
        self.turn(now, false);
        std::mem::take(&mut self.deadlocks)
    }

    /// The connection ends, and the session with it.
    pub(crate) fn leave(mut self, now: Instant) {
        self.conversation.leave(now, &Ends::Gone);
    }

    fn turn(&mut self, now: Instant, received: bool) {
        self.conversation.turn(now, received).expect("the words are right");
        let written = &mut self.written;
        let write = |bytes: &[u8]| {
            written.extend_from_slice(bytes);
            Ok(bytes.len())
        };
        self.conversation.write(write).expect("somebody reads");
        while let Some(frame) = cut(&self.written, FRAME_LEN_MAX).expect("a server writes frames") {
            let (len, number) = (frame.len, frame.header.number);
            match FromServer::decode(&frame.header, frame.body).expect("it can be read") {
                FromServer::Event {
                    event: Event::Ended { handle, status: Status::Deadlock, .. }, ..
                } => self.deadlocks.push(handle),
                FromServer::Fatal(fatal) => panic!("the server ends it: {fatal:?}"),
                _ => {}
            }
            self.heard = self.heard.max(number);
            self.written.advance(len);
        }
    }
}
