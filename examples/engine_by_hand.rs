//! The engine without the rest: this program includes `src/engine` by its path and needs nothing else of the crate.
//!
//! So it does not compile once the engine imports a word of the table, the server or the client. And it shows what the
//! engine is: a function that is called by hand, one input after the other, with the time brought along.
//!
//! Three sessions meet on one resource. One waits too long, a writer dies, and who comes after is told.

#[path = "../src/engine/mod.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "the story uses a part of what the engine offers"
)]
mod engine;

use engine::{Ask, End, Input, Instant, Limits, LockRef, Output, Said, Shard, Under};
use enq_protocol::vocabulary::{
    Flags, Handle, LockId, LockMode, LockspaceId, Owner, ResourceName, SessionId, Status,
};

const WRITER: SessionId = SessionId(1);
const READER: SessionId = SessionId(2);
const HEIR: SessionId = SessionId(3);

fn main() {
    let mut shard = Shard::new(0, Limits::default(), 1, 42);
    let mut now = Instant::START;
    let orders = ResourceName::new(b"orders").expect("six bytes are a name");
    let enq = |session, mode, timeout_ms| {
        let flags = Flags::BLKAST | Flags::VALBLK;
        let ask = Ask { session, mode, flags, owner: Owner::default(), timeout_ms, priority: 0, reason: b"" };
        let handle = Handle::new(1).expect("one is not zero");
        Input::Enq { ask, handle, under: Under::Lockspace(LockspaceId(0)), name: &orders }
    };

    println!("A writer takes the resource, and nobody is in the way.");
    let told = step(&mut shard, now, enq(WRITER, LockMode::Ex, None));
    let lock = granted(&told);

    println!("It publishes what it knows without letting go: EX to PW stores the value block.");
    let convert = Input::Convert {
        session: WRITER,
        lock: LockRef::Id(lock),
        mode: LockMode::Pw,
        flags: Flags::BLKAST | Flags::VALBLK,
        timeout_ms: None,
        priority: 0,
        value: Some(b"41 orders"),
    };
    step(&mut shard, now, convert);

    println!("A reader must wait, but not for ever; the writer is told who wants what.");
    let told = step(&mut shard, now, enq(READER, LockMode::Pr, Some(500)));
    assert!(matches!(told[..], [Said::Queued { .. }, Said::Blocking { mode: LockMode::Pr, .. }]));

    println!("An heir waits too, as long as it takes.");
    step(&mut shard, now, enq(HEIR, LockMode::Ex, None));

    println!("Half a second passes. The engine reads no clock: somebody says so.");
    now = now.after_ms(500);
    assert_eq!(shard.next_deadline(), Some(now));
    let told = step(&mut shard, now, Input::Tick);
    assert!(matches!(told[..], [Said::Ended { status: Status::Timeout, .. }]));

    println!("The writer's session dies. Its locks are sealed at once and go in steps of bounded size.");
    step(&mut shard, now, Input::SealSession { session: WRITER, end: End::Died, orphan_key: b"" });
    assert!(shard.has_ending());
    let told = step(&mut shard, now, Input::Continue);
    let [Said::GrantedLater(grant)] = &told[..] else { panic!("the heir is next") };
    let value = grant.value.as_ref().expect("the heir asked for the value block");
    assert_eq!((&value.bytes[..], value.valid), (&b"41 orders"[..], false));
    println!("The heir holds EX, reads the value that was stored last, and knows that it cannot be trusted.");
}

/// One call of the function; what it says is printed.
fn step(shard: &mut Shard, now: Instant, input: Input<'_>) -> Vec<Said> {
    let mut outputs = Vec::new();
    shard.step(now, input, &mut outputs);
    for Output { session, said } in &outputs {
        println!("    {:>4} ms  to {session}: {said:?}", now.ms_since(Instant::START));
    }
    shard.check().expect("the invariants hold after every step");
    outputs.into_iter().map(|output| output.said).collect()
}

/// The id of the lock that was granted at once.
fn granted(told: &[Said]) -> LockId {
    let [Said::Granted(grant)] = told else { panic!("nobody was in the way") };
    grant.lock
}
