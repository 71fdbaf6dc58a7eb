//! Turns of a conversation, from bytes to bytes: all that a server does for a request, but for sockets.

use super::{Deed, Row};
use bytes::{Buf as _, BytesMut};
use enq::{
    engine::{Instant, Limits},
    log::Volatile,
    server::{House, HouseRules, Patience, conversation::Conversation},
    table::{Setting, Table},
};
use enq_protocol::{
    vocabulary::{Flags, Handle, LockMode, LockspaceId, Owner},
    wire::{Convert, Deq, Enq, FRAME_LEN_MAX, Hello, Look, OpenSession, PROTOCOL_VERSION, Request, cut},
};
use std::{hint::black_box, net::SocketAddr, sync::Arc};

pub(crate) const ROWS: &[Row] = &[
    Row { name: "turn: a pair, one request a turn", counts: 1, begin: || pairs(1) },
    Row { name: "turn: a pair, 16 requests a turn", counts: 16, begin: || pairs(16) },
    Row { name: "turn: a pair, 64 requests a turn", counts: 64, begin: || pairs(64) },
    Row { name: "turn: NL to PR and back, 16 a turn", counts: 16, begin: || conversions(16) },
];

const NOW: Instant = Instant(1);

/// As a server's, but that the same names are always in the same shards.
pub(crate) fn setting() -> Setting {
    Setting {
        epoch: 1,
        limits: Limits { history: 1_024, ..Limits::default() },
        window_requests: 1_024,
        window_bytes: 256 * 1024,
        route_key: *b"sixteen bytes...",
        hash_seed: 7,
        recovering_until: None,
    }
}

struct Client {
    conversation: Conversation,
    out: BytesMut,
    heard: BytesMut,
    number: u64,
    seen: u64,
}

impl Client {
    fn begin() -> Client {
        let rules = HouseRules {
            patience: Patience::default(),
            ttl_ms_min: 1_000,
            ttl_ms_max: 60_000,
            unsafe_settings: Vec::new(),
            draw: Box::new(|| Some([0; 16])),
        };
        let house = Arc::new(House::new(Volatile::new(Table::new(&setting())), rules));
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let conversation = Conversation::new(house, address);
        let (out, heard) = (BytesMut::with_capacity(65_536), BytesMut::with_capacity(65_536));
        let mut client = Client { conversation, out, heard, number: 0, seen: 0 };
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
            ttl_ms: 15_000,
            orphan_key: Box::default(),
            log: 0,
            bind_connection: true,
        };
        hello.encode(&mut client.out).expect("it fits");
        Look::Open(open).encode(1, 0, &mut client.out).expect("it fits");
        assert_eq!(client.turn(), 2, "a session begins");
        client
    }

    fn ask(&mut self, request: Request<'_>) {
        self.number += 1;
        request.encode(self.number, self.seen, &mut self.out).expect("it fits");
    }

    /// What was asked goes in, and the answers come out; how many there are.
    fn turn(&mut self) -> usize {
        let (read, _) = self.conversation.listen();
        read.extend_from_slice(&self.out);
        self.out.clear();
        self.conversation.turn(NOW, true).expect("the conversation goes on");
        let heard = &mut self.heard;
        let take = |bytes: &[u8]| {
            heard.extend_from_slice(bytes);
            Ok(bytes.len())
        };
        self.conversation.write(take).expect("all is taken");
        self.conversation.give_back_room();
        let mut count = 0;
        while let Some(frame) = cut(&self.heard, FRAME_LEN_MAX).expect("a server writes frames") {
            self.seen = self.seen.max(frame.header.number);
            let len = frame.len;
            self.heard.advance(len);
            count += 1;
        }
        count
    }
}

fn handle(number: u32) -> Handle {
    Handle::new(number).expect("handles start at 1")
}

fn enq(client: &mut Client, number: u32, name: &str, mode: LockMode) {
    client.ask(Request::Enq(Enq {
        handle: handle(number),
        lockspace: LockspaceId(0),
        parent: None,
        name: name.as_bytes(),
        mode,
        flags: Flags::NONE,
        owner: Owner::default(),
        timeout_ms: None,
        priority: 0,
        reason: &[],
    }));
}

fn pairs(depth: u32) -> Deed {
    let mut client = Client::begin();
    let names: Vec<String> = (0..1_024).map(|number| format!("bench/resource/{number:08}")).collect();
    let mut next = 0;
    Box::new(move || {
        for number in 1..=depth {
            next = (next + 1) % names.len();
            enq(&mut client, number, &names[next], LockMode::Ex);
        }
        black_box(client.turn());
        for number in 1..=depth {
            client.ask(Request::Deq(Deq { handle: handle(number), flags: Flags::NONE, value: None }));
        }
        black_box(client.turn());
    })
}

fn conversions(depth: u32) -> Deed {
    let mut client = Client::begin();
    (1..=depth).for_each(|number| enq(&mut client, number, &format!("bench/{number}"), LockMode::Nl));
    client.turn();
    Box::new(move || {
        for mode in [LockMode::Pr, LockMode::Nl] {
            for number in 1..=depth {
                let handle = handle(number);
                let flags = Flags::NONE;
                let (timeout_ms, priority, value) = (None, 0, None);
                client.ask(Request::Convert(Convert { handle, mode, flags, timeout_ms, priority, value }));
            }
            black_box(client.turn());
        }
    })
}
