//! The state image of a large table: how long it takes to write and to read, and how large it is.
//!
//! `cargo bench --bench image -- [--locks 1000000] [--sessions 1000] [--rounds 5]`. Every lock is on a resource of its own,
//! and for one in sixteen of them somebody waits.

use enq::{
    engine::{Ask, Input, Instant, Limits, Local, Planted, Under, session::Call},
    table::{About, Request, Scratch, SessionCell, Setting, Table},
};
use enq_protocol::vocabulary::{Flags, Handle, LockMode, LockspaceId, Owner, ResourceName};
use std::{sync::Arc, time::Duration};

/// One in so many locks has somebody who waits for it.
const WAITED_FOR: u32 = 16;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    let number = |name: &str, default: u32| option(name).map_or(default, |n| n.parse().expect("a number"));
    let (locks, sessions) = (number("--locks", 1_000_000), number("--sessions", 1_000));
    let table = table(locks, sessions);
    let there: u64 = table.statistics().locks;
    println!("{there} locks of {sessions} sessions; milliseconds to");
    println!("{:>10} {:>10} {:>10} {:>14}", "write", "hash", "read", "bytes a lock");
    let mut bytes = Vec::new();
    for _ in 0..number("--rounds", 5) {
        bytes.clear();
        let ((), write) = timed(|| table.put_image(&mut bytes));
        let (hash, hashing) = timed(|| table.state_hash());
        let local = Local { hash_seed: 7, memory: usize::MAX, history: 0, planted: Planted::NONE };
        let (again, read) = timed(|| Table::from_image(&bytes, &local).expect("it is an image"));
        assert_eq!(again.state_hash(), hash, "it is the same state");
        let ms = |spent: Duration| spent.as_secs_f64() * 1_000.0;
        let each = f64::from(u32::try_from(bytes.len()).expect("below 4 GB"))
            / f64::from(u32::try_from(there).expect("few"));
        println!("{:>10.1} {:>10.1} {:>10.1} {each:>14.1}", ms(write), ms(hashing), ms(read));
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let began = std::time::Instant::now();
    let result = act();
    (result, began.elapsed())
}

fn table(locks: u32, sessions: u32) -> Table {
    let table = Table::new(&Setting {
        epoch: 3,
        limits: Limits::default(),
        window_requests: u32::MAX,
        window_bytes: u32::MAX,
        route_key: [7; 16],
        hash_seed: 1,
        recovering_until: None,
    });
    let cells: Vec<_> =
        (0..sessions).map(|number| table.open_session(moment(number), about(number))).collect();
    let mut scratch = Scratch::default();
    let mut handles = vec![0; cells.len()];
    for number in 0..locks {
        let whose = number as usize % cells.len();
        ask(&table, &cells[whose], &mut handles[whose], number, &mut scratch);
        if number % WAITED_FOR == 0 {
            let whose = (whose + 1) % cells.len();
            ask(&table, &cells[whose], &mut handles[whose], number, &mut scratch);
        }
    }
    table
}

/// Seconds after a day.
fn moment(number: u32) -> Instant {
    Instant(86_400_000_000_000 + u64::from(number) * 1_234_567)
}

fn about(number: u32) -> About {
    About {
        name: format!("worker-{number}"),
        purpose: "benchmark".into(),
        host: "host.example.com".into(),
        pid: number,
        peer: "192.0.2.1:40000".into(),
        ttl_ms: 15_000,
        bound: false,
        secret: [1; 16],
        orphan_key: Box::default(),
    }
}

fn ask(table: &Table, cell: &Arc<SessionCell>, handle: &mut u32, number: u32, scratch: &mut Scratch) {
    *handle += 1;
    let name = ResourceName::new(format!("bench/resource/{number:08}").as_bytes()).expect("it is short");
    let ask = Ask {
        session: cell.id,
        mode: LockMode::Ex,
        flags: Flags::BLKAST,
        owner: Owner { scope: 0, token: 0 },
        timeout_ms: None,
        priority: 0,
        reason: b"",
    };
    let handle = Handle::new(*handle).expect("they start at 1");
    let input = Input::Enq { ask, handle, under: Under::Lockspace(LockspaceId(0)), name: &name };
    let mut register = cell.in_half.lock();
    let request = Request { number: register.last() + 1, digest: 0, len: 60 };
    register.admit(request.number, request.digest, request.len).expect("in order");
    table.execute(moment(number), (cell, &mut register), request, Call::Lock(input), scratch);
    // Its session is told, and says that it was.
    register.take_over(&mut cell.out_half.lock().outgoing);
    register.send(|_, _| true);
    let sent = register.sent();
    register.acknowledge(sent).expect("it was sent");
}
