//! Requests through the table: registers, handles, shards, and what is kept for whoever was not heard; no frames.

use super::{Deed, Row, turn::setting};
use enq::{
    engine::{Ask, Input, Instant, LockRef, Under, session::Call},
    table::{About, Request, Scratch, SessionCell, Table},
};
use enq_protocol::vocabulary::{Flags, Handle, LockMode, LockspaceId, Owner, ResourceName};
use std::{hint::black_box, sync::Arc};

pub(crate) const ROWS: &[Row] = &[Row { name: "table: a new lock and its release", counts: 1, begin: pairs }];

const NOW: Instant = Instant(1);

struct Client {
    table: Table,
    cell: Arc<SessionCell>,
    scratch: Scratch,
    number: u64,
}

impl Client {
    fn ask(&mut self, input: Input<'_>) {
        self.number += 1;
        let mut register = self.cell.in_half.lock();
        let request = Request { number: self.number, digest: 0, len: 40 };
        let session = (&*self.cell, &mut *register);
        black_box(self.table.execute(NOW, session, request, Call::Lock(input), &mut self.scratch));
        register.take_over(&mut self.cell.out_half.lock().outgoing);
        register.send(|entry, _| {
            black_box(entry);
            true
        });
        let sent = register.sent();
        register.acknowledge(sent).expect("it was sent");
    }
}

fn pairs() -> Deed {
    let table = Table::new(&setting());
    let about = About {
        name: "bench".into(),
        purpose: String::new(),
        host: String::new(),
        pid: 0,
        peer: String::new(),
        ttl_ms: 15_000,
        bound: true,
        secret: [0; 16],
        orphan_key: Box::default(),
    };
    let cell = table.open_session(NOW, about);
    let mut client = Client { cell, table, scratch: Scratch::default(), number: 0 };
    let names: Vec<_> = (0..1_024)
        .map(|number| ResourceName::new(format!("bench/resource/{number:08}").as_bytes()).expect("a name"))
        .collect();
    let handle = Handle::new(1).expect("handles start at 1");
    let mut next = 0;
    Box::new(move || {
        next = (next + 1) % names.len();
        let ask = Ask {
            session: client.cell.id,
            mode: LockMode::Ex,
            flags: Flags::NONE,
            owner: Owner::default(),
            timeout_ms: None,
            priority: 0,
            reason: &[],
        };
        let under = Under::Lockspace(LockspaceId(0));
        client.ask(Input::Enq { ask, handle, under, name: &names[next] });
        let (session, lock) = (client.cell.id, LockRef::Handle(handle));
        client.ask(Input::Deq { session, lock, flags: Flags::NONE, value: None });
    })
}
