//! The memory budget: what would make the server larger is refused before it is gone, and whatever makes it smaller,
//! or keeps what there is, is not.

use crate::speaker::{Speaker, convert, deq, done, granted, handle, looked, root, session};
use enq::{
    engine::Limits,
    server::{Config, Server},
};
use enq_protocol::{
    vocabulary::{
        Flags,
        LockMode::{Cr, Ex, Pr},
        Status,
    },
    wire::{Cancel, DeqAll, Event, FromServer, Look, Reply, Request, Seen},
};

const NONE: Flags = Flags::NONE;

/// Enough for some thousand locks.
const BUDGET: usize = 12 << 20;

async fn small() -> Server {
    let limits = Limits { memory: BUDGET, ..Limits::default() };
    Server::start(Config { limits, ..Config::for_tests() }).await.unwrap()
}

/// A name that belongs to this number and is as long as can be.
fn name(number: u32) -> String {
    format!("{number:0255}")
}

/// Takes locks until so many in a row are refused. Says the numbers of those that were granted.
async fn fill(speaker: &mut Speaker) -> Vec<u32> {
    let mut taken = Vec::new();
    let mut refusals = 0;
    for number in 1.. {
        match speaker.ask(&root(number, &name(number), Ex, NONE)).await {
            Reply::Granted(_) => {
                taken.push(number);
                refusals = 0;
            }
            Reply::Refused { status: Status::ResourceExhausted, .. } => refusals += 1,
            reply => panic!("{number}: {reply:?}"),
        }
        if refusals == 300 {
            break;
        }
    }
    taken
}

#[tokio::test]
async fn when_memory_is_used_up_only_what_takes_more_is_refused() {
    let server = small().await;
    let (mut speaker, _) = Speaker::opened_as(&server, session(15_000, false)).await;
    let mut friend = Speaker::opened(&server).await;
    let taken = fill(&mut speaker).await;
    let memory = server.table().memory();
    assert!(taken.len() > 5_000, "{} locks", taken.len());
    let used = memory.table() + memory.sessions();
    assert!(used <= BUDGET && used > BUDGET / 2, "{used}");
    let reached = server.table().reached().all();
    assert!(reached.iter().any(|(name, count)| *name == "memory_max" && *count >= 300), "{reached:?}");
    // What gives something up, renews, looks or converts is done.
    assert!(matches!(speaker.look(Look::Renew).await, Seen::Renewed(_)));
    assert!(matches!(speaker.look(Look::Ping).await, Seen::Done));
    granted(speaker.ask(&convert(taken[0], Cr, NONE)).await);
    granted(speaker.ask(&convert(taken[0], Pr, NONE)).await);
    granted(speaker.ask(&convert(taken[0], Ex, NONE)).await);
    // Places that were freed are there for the next, also for somebody else's.
    for number in &taken[..2_000] {
        assert_eq!(done(speaker.ask(&deq(*number, NONE)).await), Status::Released);
    }
    for number in 1..=500 {
        granted(friend.ask(&root(number, &name(taken[0] + number), Ex, NONE)).await);
    }
    let cancel = Request::Cancel(Cancel { handle: handle(2), flags: NONE });
    assert_eq!(done(friend.ask(&cancel).await), Status::CancelGrant);
    for number in 1..=500 {
        assert_eq!(done(friend.ask(&deq(number, NONE)).await), Status::Released);
    }
    // After all of it is given up there is room again, for anybody and under any name.
    assert_eq!(
        done(speaker.ask(&Request::DeqAll(DeqAll { under: None, flags: NONE })).await),
        Status::Released
    );
    for number in 1..2_000 {
        granted(friend.ask(&root(number, &name(1_000_000 + number), Ex, NONE)).await);
    }
    granted(Speaker::opened(&server).await.ask(&root(1, "new", Ex, NONE)).await);
    assert_eq!(server.table().check(), Ok(()));
}

#[tokio::test]
async fn when_memory_is_used_up_completions_still_come() {
    let server = small().await;
    let mut holder = Speaker::opened(&server).await;
    let mut waiting = Speaker::opened(&server).await;
    for number in 1..=500 {
        granted(holder.ask(&root(number, &number.to_string(), Ex, NONE)).await);
        assert!(matches!(
            waiting.ask(&root(number, &number.to_string(), Ex, NONE)).await,
            Reply::Queued { .. }
        ));
    }
    let mut greedy = Speaker::opened(&server).await;
    fill(&mut greedy).await;
    assert_eq!(
        done(holder.ask(&Request::DeqAll(DeqAll { under: None, flags: NONE })).await),
        Status::Released
    );
    for _ in 0..500 {
        assert!(matches!(waiting.event().await, Event::Granted(_)));
    }
    waiting.send(&Request::Close).await;
    assert_eq!(done(waiting.answer().await), Status::Done);
}

#[tokio::test]
async fn sessions_have_their_part_and_no_more() {
    let server = small().await;
    let mut greedy = Speaker::opened(&server).await;
    fill(&mut greedy).await;
    let mut open = Vec::new();
    let refusal = loop {
        let mut speaker = Speaker::greeted(&server).await;
        speaker.write(&looked(&Look::Open(session(15_000, false)), 1)).await;
        match speaker.next().await {
            FromServer::Seen { seen: Seen::Opened(_), .. } => open.push(speaker),
            FromServer::Seen { seen: Seen::Refused(status), .. } => break status,
            // There was not even room for the connection: it came to a place that is kept for others.
            FromServer::Fatal(fatal) => break fatal.status,
            said => panic!("{said:?}"),
        }
        assert!(open.len() < 10_000, "somewhere is the end");
    };
    assert!(matches!(refusal, Status::ResourceExhausted | Status::Unavailable), "{refusal:?}");
    assert!(open.len() >= 50, "a full table keeps nobody out: {}", open.len());
    let memory = server.table().memory();
    assert!(memory.table() + memory.sessions() <= memory.max());
    // Those that are there go on.
    assert_eq!(done(greedy.ask(&deq(1, NONE)).await), Status::Released);
    assert_eq!(greedy.look(Look::Ping).await, Seen::Done);
}
