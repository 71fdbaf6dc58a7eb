//! Long waits on a server: each is found once, with who is in its way, and its end once. The moment of each look is the
//! test's own, so nothing waits for time to pass.

use crate::speaker::{Speaker, deq, done, granted, root, server, session};
use enq::{
    engine::{Instant, WaitEnd},
    table::{LongWaits, TOLD_A_LOOK},
};
use enq_protocol::{
    vocabulary::{EdgeWhy, Flags, LockMode::Ex, Status},
    wire::{Answer, FromServer, OpenSession, Reply},
};

const NONE: Flags = Flags::NONE;

/// Ten minutes after the start: whatever waits now has waited long by then.
const LATER: Instant = Instant::START.after_ms(600_000);

const LONG_MS: u32 = 10_000;

async fn queued(speaker: &mut Speaker, number: u32, name: &str) {
    let reply = speaker.ask(&root(number, name, Ex, NONE)).await;
    assert!(matches!(reply, Reply::Queued { .. }), "{reply:?}");
}

/// Releases what waits, which ends it.
async fn release(speaker: &mut Speaker, number: u32) {
    speaker.send(&deq(number, NONE)).await;
    loop {
        match speaker.next().await {
            FromServer::Answer(Answer { reply, .. }) => return assert_eq!(done(reply), Status::Released),
            FromServer::Event { .. } | FromServer::Acked => {}
            said => panic!("{said:?}"),
        }
    }
}

#[tokio::test]
async fn a_wait_is_told_once_with_who_is_in_the_way_and_once_when_it_is_over() {
    let server = server().await;
    let called = |name: &str| OpenSession { name: name.into(), ..session(15_000, false) };
    let (mut holder, _) = Speaker::opened_as(&server, called("holder")).await;
    let (mut next, _) = Speaker::opened_as(&server, called("next")).await;
    let (mut last, _) = Speaker::opened_as(&server, called("last")).await;
    granted(holder.enq(1, "x", Ex, NONE).await);
    queued(&mut next, 1, "x").await;
    queued(&mut last, 1, "x").await;

    let mut waits = LongWaits::new(LONG_MS);
    let early = server.table().look_at_long_waits(Instant::START.after_ms(1), &mut waits);
    assert_eq!((early.begun.len(), early.more), (0, 0), "nobody has waited so long");
    assert!(!waits.is_due(Instant::START.after_ms(2)) && waits.is_due(LATER));

    let seen = server.table().look_at_long_waits(LATER, &mut waits);
    let mut begun = seen.begun;
    begun.sort_by_key(|wait| wait.lock.stamp);
    let names: Vec<&str> =
        begun.iter().map(|wait| wait.session.as_ref().map_or("", |session| session.name.as_str())).collect();
    assert_eq!((names, seen.more), (vec!["next", "last"], 0));
    let whose = |at: usize| -> Vec<(String, EdgeWhy)> {
        let named = begun[at].in_the_way.iter();
        named.map(|(edge, session)| (session.as_ref().unwrap().name.clone(), edge.why)).collect()
    };
    assert_eq!((whose(0), begun[0].total), (vec![("holder".into(), EdgeWhy::Held)], 1));
    assert_eq!(
        (whose(1), begun[1].total),
        (vec![("holder".into(), EdgeWhy::Held), ("next".into(), EdgeWhy::Ahead)], 2)
    );
    let again = server.table().look_at_long_waits(LATER.after_ms(60_000), &mut waits);
    assert_eq!((again.begun.len(), again.more, again.over.len()), (0, 0, 0), "once each");

    assert_eq!(done(holder.ask(&deq(1, NONE)).await), Status::Released);
    let over = server.table().look_at_long_waits(LATER.after_ms(61_000), &mut waits).over;
    let [(wait, end, took_ms)] = &over[..] else { panic!("one is over: {over:?}") };
    assert_eq!(wait.session.as_ref().unwrap().name, "next");
    assert!(matches!(end, WaitEnd::Granted(_)) && *took_ms < 60_000, "{end:?} after {took_ms}");
    last.leave(false);
    assert_eq!(server.table().look_at_long_waits(LATER, &mut waits).over.len(), 0, "told once");
}

#[tokio::test]
async fn however_many_wait_a_look_tells_of_a_few_and_counts_the_rest() {
    let server = server().await;
    let (mut holder, mut others) = (Speaker::opened(&server).await, Speaker::opened(&server).await);
    for (number, name) in [(1, "x"), (2, "y"), (3, "z")] {
        granted(holder.enq(number, name, Ex, NONE).await);
    }
    for number in 1..=60 {
        queued(&mut others, number, ["x", "y", "z"][number as usize % 3]).await;
    }
    let mut waits = LongWaits::new(LONG_MS);
    let seen = server.table().look_at_long_waits(LATER, &mut waits);
    assert_eq!((seen.begun.len(), seen.more), (TOLD_A_LOOK, 60 - TOLD_A_LOOK));
    // All end at once: those that were told of are told in time, the others never were.
    for number in 1..=60 {
        release(&mut others, number).await;
    }
    let seen = server.table().look_at_long_waits(LATER, &mut waits);
    let aborted = |end: &WaitEnd| matches!(end, WaitEnd::Ended(_, Status::Aborted));
    assert_eq!((seen.over.len(), seen.more), (TOLD_A_LOOK, 0));
    assert!(seen.over.iter().all(|(_, end, _)| aborted(end)), "{:?}", seen.over);
    assert!(server.table().look_at_long_waits(LATER, &mut waits).over.is_empty());
}
