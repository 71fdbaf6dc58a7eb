//! The two streams of a session: numbers, retries, and peers that do not read.

use crate::speaker::{
    Speaker, deq, done, encoded, granted, looked, refused, root, server, session, soon, sublock,
};
use enq::{
    engine::Limits,
    server::{Config, Patience, Server},
};
use enq_protocol::{
    vocabulary::{
        Flags,
        LockMode::{Ex, Nl, Pr},
        Policy, ResourceName, Status,
    },
    wire::{Administer, Deq, Enq, EnqPath, Event, FromServer, Look, Reply, Request, Seen, Space, SpaceReply},
};
use std::{sync::atomic::Ordering, time::Duration};

const NONE: Flags = Flags::NONE;

#[tokio::test]
async fn a_request_that_was_executed_is_not_executed_again() {
    let server = server().await;
    let mut alice = Speaker::opened(&server).await;
    let enq = encoded(&root(1, "a", Ex, NONE), 1, 0);
    let deq = encoded(&deq(1, NONE), 2, 0);
    alice.write(&[&enq[..], &enq, &deq, &enq, &deq].concat()).await;
    granted(alice.answer().await);
    assert_eq!(done(alice.answer().await), Status::Released);
    alice.last = 2;
    granted(alice.enq(1, "b", Ex, NONE).await);
    let Seen::Statistics { statistics, .. } = alice.look(Look::Statistics).await else {
        panic!("statistics")
    };
    assert_eq!((statistics.enq_new, statistics.deq), (2, 1));
}

#[tokio::test]
async fn an_older_acknowledgement_is_ignored() {
    let server = server().await;
    let mut alice = Speaker::opened(&server).await;
    for number in 1..=3 {
        granted(alice.enq(number, "a", Nl, NONE).await);
    }
    alice.write(&encoded(&root(4, "a", Nl, NONE), 4, 1)).await;
    granted(alice.answer().await);
    alice.write(&encoded(&root(5, "a", Nl, NONE), 5, 4)).await;
    granted(alice.answer().await);
}

#[tokio::test]
async fn the_window_moves_with_the_acknowledgements() {
    let server = server().await;
    let mut alice = Speaker::opened(&server).await;
    for _ in 0..3 {
        let mut burst = Vec::new();
        for _ in 0..500 {
            burst.extend(alice.encode(&root(1, "a", Nl, NONE)));
            burst.extend(alice.encode(&deq(1, NONE)));
        }
        alice.write(&burst).await;
        for _ in 0..500 {
            granted(alice.answer().await);
            assert_eq!(done(alice.answer().await), Status::Released);
        }
    }
}

#[tokio::test]
async fn releases_without_answers_do_not_fill_the_window() {
    let server = server().await;
    let mut alice = Speaker::opened(&server).await;
    for _ in 0..3_000 {
        let mut burst = alice.encode(&root(1, "a", Nl, NONE));
        burst.extend(alice.encode(&deq(1, Flags::NOACK)));
        alice.write(&burst).await;
        loop {
            match alice.next().await {
                FromServer::Acked => {}
                FromServer::Answer(answer) => {
                    granted(answer.reply);
                    break;
                }
                said => panic!("{said:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_look_is_answered_after_what_was_asked_before_it() {
    let server = server().await;
    let mut alice = Speaker::opened(&server).await;
    let mut burst = alice.encode(&root(1, "a", Ex, NONE));
    burst.extend(alice.encode(&sublock(2, 1, "row", Ex)));
    burst.extend(alice.encode(&deq(1, Flags::NOACK)));
    burst.extend(looked(&Look::Ping, 7));
    burst.extend(alice.encode(&deq(2, Flags::NOACK)));
    burst.extend(looked(&Look::Ping, 8));
    alice.write(&burst).await;
    // Each frame acknowledges what is answered in it or before it, and no more.
    granted(alice.answer().await);
    assert_eq!(alice.acked, 1);
    granted(alice.answer().await);
    assert_eq!(alice.acked, 2);
    assert_eq!(refused(alice.answer().await), Status::HasSublocks);
    assert_eq!(alice.acked, 3);
    assert_eq!(alice.next().await, FromServer::Seen { tag: 7, seen: Seen::Done });
    assert_eq!(alice.acked, 3);
    assert_eq!(alice.next().await, FromServer::Seen { tag: 8, seen: Seen::Done });
    assert_eq!(alice.acked, 4, "a release without an answer is proved");
    assert_eq!(done(alice.ask(&deq(1, NONE)).await), Status::Released);
}

#[tokio::test]
async fn looks_that_end_sessions_are_answered_in_their_turn_too() {
    let server = server().await;
    let (mut alice, id) = Speaker::opened_as(&server, session(15_000, false)).await;
    let expire = Look::Administer(Administer::ExpireSession { session: id, reason: "enough".into() });
    let burst = [alice.encode(&root(1, "a", Ex, NONE)), looked(&expire, 7)].concat();
    alice.write(&burst).await;
    granted(alice.answer().await);
    assert_eq!(alice.next().await, FromServer::Seen { tag: 7, seen: Seen::Done });
    assert_eq!(alice.end_status().await, Some(Status::SessionLost));
}

#[tokio::test]
async fn a_second_session_begins_its_numbers_anew() {
    let server = server().await;
    let (mut alice, first) = Speaker::opened_as(&server, session(15_000, false)).await;
    granted(alice.enq(1, "a", Ex, NONE).await);
    let mut burst = alice.encode(&Request::Close);
    burst.extend(looked(&Look::Ping, 7));
    burst.extend(looked(&Look::Open(session(15_000, true)), 8));
    burst.extend(encoded(&root(1, "a", Ex, NONE), 1, 0));
    alice.write(&burst).await;
    assert_eq!(done(alice.answer().await), Status::Done);
    assert_eq!(alice.next().await, FromServer::Seen { tag: 7, seen: Seen::Done });
    let FromServer::Seen { tag: 8, seen: Seen::Opened(opened) } = alice.next().await else {
        panic!("opened")
    };
    assert_ne!(opened.session, first);
    (alice.received, alice.last, alice.acked) = (0, 1, 0);
    granted(alice.answer().await);
    assert_eq!(alice.acked, 1);
}

#[tokio::test]
async fn a_mass_of_grants_reaches_a_session_that_waits_for_all_of_them() {
    let server = server().await;
    let (mut alice, mut bob) = (Speaker::opened(&server).await, Speaker::opened(&server).await);
    for number in 1..=800 {
        let name = number.to_string();
        alice.send(&root(number, &name, Ex, NONE)).await;
        granted(alice.answer().await);
        assert!(matches!(bob.enq(number, &name, Ex, NONE).await, Reply::Queued { .. }));
    }
    let all = enq_protocol::wire::Request::DeqAll(enq_protocol::wire::DeqAll { under: None, flags: NONE });
    assert_eq!(done(alice.ask(&all).await), Status::Released);
    let mut numbers = Vec::new();
    for _ in 0..800 {
        let Event::Granted(grant) = bob.event().await else { panic!("granted") };
        numbers.push(grant.handle.number());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=800).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_session_may_not_have_too_many_requests_waiting() {
    let server = server().await;
    let (mut alice, mut bob) = (Speaker::opened(&server).await, Speaker::opened(&server).await);
    granted(alice.enq(1, "a", Ex, NONE).await);
    granted(alice.enq(2, "b", Ex, NONE).await);
    let mut queued = 0;
    while queued < 10_000 {
        let mut burst = Vec::new();
        for _ in 0..500 {
            queued += 1;
            burst.extend(bob.encode(&root(queued, if queued % 2 == 0 { "a" } else { "b" }, Ex, NONE)));
        }
        bob.write(&burst).await;
        for _ in 0..500 {
            assert!(matches!(bob.answer().await, Reply::Queued { .. }));
        }
    }
    let reply = bob.enq(10_001, "a", Ex, NONE).await;
    assert!(matches!(reply, Reply::Refused { status: Status::ResourceExhausted, .. }), "{reply:?}");
    granted(bob.enq(10_001, "free", Ex, NONE).await);
    assert_eq!(done(alice.ask(&deq(1, NONE)).await), Status::Released);
    assert!(matches!(bob.event().await, Event::Granted(_)));
    assert!(
        matches!(bob.enq(10_002, "a", Ex, NONE).await, Reply::Queued { .. }),
        "there is room for one again"
    );
}

/// Looks without reading, until the server takes no more. Says how many it took.
async fn flood(speaker: &mut Speaker, bytes: &[u8]) {
    let flooding = async {
        for _ in 0..200_000 {
            if !speaker.write_if_open(bytes).await {
                return;
            }
        }
    };
    // A server that does not take any more is what this is for.
    let _ = tokio::time::timeout(Duration::from_millis(500), flooding).await;
}

#[tokio::test]
async fn who_looks_and_does_not_read_is_not_read_either() {
    let server = server().await;
    let mut alice = Speaker::opened(&server).await;
    for number in 1..=400 {
        let name = format!("{number}-{}", "n".repeat(100));
        granted(alice.enq(number, &name, Nl, NONE).await);
    }
    let mut greedy = Speaker::greeted(&server).await;
    let page = Look::Page { from: None, max: 2_000, filter: enq_protocol::vocabulary::LockFilter::default() };
    let bytes = looked(&page, 1).repeat(50);
    flood(&mut greedy, &bytes).await;
    granted(alice.enq(500, "a", Nl, NONE).await);
    // What was asked is answered when it is read.
    for _ in 0..100 {
        assert!(matches!(greedy.next().await, FromServer::Seen { seen: Seen::Page(_), .. }));
    }
}

/// Looks as fast as it is answered, until it has rested: a rest takes nothing from who looks but time, and nothing at all
/// from its session.
#[tokio::test]
async fn who_does_nothing_but_look_rests_and_goes_on() {
    let server = server().await;
    let (mut alice, mut bob) = (Speaker::opened(&server).await, Speaker::opened(&server).await);
    for number in 1..=400 {
        granted(bob.enq(number, &format!("{number}"), Ex, NONE).await);
    }
    assert!(matches!(alice.enq(1, "1", Ex, NONE).await, Reply::Queued { .. }));
    let page = Look::Page { from: None, max: 2_000, filter: enq_protocol::vocabulary::LockFilter::default() };
    let bytes = looked(&page, 1).repeat(20);
    let rests = || server.metrics().rests.load(Ordering::Relaxed);
    let mut pages = 0;
    while rests() == 0 {
        alice.write(&bytes).await;
        for _ in 0..20 {
            assert!(matches!(alice.next().await, FromServer::Seen { seen: Seen::Page(_), .. }));
        }
        pages += 20;
        assert!(pages < 100_000, "it never rests");
    }
    // It may rest now: more looks, and a request behind them, are there when it goes on.
    alice.write(&bytes).await;
    let request = alice.encode(&root(2, "other", Ex, NONE));
    alice.write(&request).await;
    done(bob.ask(&deq(1, NONE)).await);
    let (mut pages, mut later, mut at_once) = (0, 0, 0);
    while (pages, later, at_once) != (20, 1, 1) {
        match alice.next().await {
            FromServer::Seen { seen: Seen::Page(_), .. } => pages += 1,
            FromServer::Event { event: Event::Granted(_), .. } => later += 1,
            FromServer::Answer { .. } => at_once += 1,
            other => panic!("{other:?}"),
        }
    }
}

/// Says so many completions of a kilobyte each to somebody who has waited for them and does not read them.
async fn fill(other: &mut Speaker, deaf: &mut Speaker, count: u32) {
    let policy = Policy { value_len_max: 1_024, ..Policy::default() };
    let name = ResourceName::new(b"big").unwrap();
    let create = Request::Space(Space::Create { name, policy, exclusive: true });
    let Reply::Space(SpaceReply { space, .. }) = other.ask(&create).await else { panic!("a lockspace") };
    let root = |number, mode, flags| match root(number, "value", mode, flags) {
        Request::Enq(enq) => Request::Enq(Enq { lockspace: space.lockspace, ..enq }),
        request => request,
    };
    granted(other.ask(&root(100_000, Ex, NONE)).await);
    for some in (10_000..10_000 + count).collect::<Vec<_>>().chunks(500) {
        let burst: Vec<u8> =
            some.iter().flat_map(|number| deaf.encode(&root(*number, Pr, Flags::VALBLK))).collect();
        deaf.write(&burst).await;
        for _ in some {
            assert!(matches!(deaf.answer().await, Reply::Queued { .. }));
        }
    }
    let handle = crate::speaker::handle(100_000);
    let release = Deq { handle, flags: Flags::VALBLK, value: Some(&[7; 1_024]) };
    assert_eq!(done(other.ask(&Request::Deq(release)).await), Status::Released);
}

#[tokio::test]
async fn who_does_not_read_loses_the_connection_and_not_the_session() {
    let patience = Patience {
        frame: Duration::from_millis(200),
        overrun: Duration::from_millis(200),
        ..Patience::default()
    };
    let server = Server::start(Config { patience, ..Config::for_tests() }).await.unwrap();
    let (mut deaf, id) = Speaker::narrow(&server).await;
    let mut other = Speaker::opened(&server).await;
    granted(deaf.enq(1, "a", Ex, NONE).await);
    fill(&mut other, &mut deaf, 4_000).await;
    soon("the server to give up", async {
        while server.metrics().closed(Status::TooSlow) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(server.table().session(id).is_some(), "the session lives on");
    assert!(
        matches!(other.enq(1, "a", Ex, Flags::NOQUEUE).await, Reply::Refused { .. }),
        "and keeps its lock"
    );
}

#[tokio::test]
async fn who_does_not_read_may_still_release() {
    let patience = Patience { overrun: Duration::from_secs(60), ..Patience::default() };
    let server = Server::start(Config { patience, ..Config::for_tests() }).await.unwrap();
    let (mut deaf, id) = Speaker::narrow(&server).await;
    let mut other = Speaker::opened(&server).await;
    granted(deaf.enq(1, "a", Ex, NONE).await);
    // More than the network between the two takes, and more than the soft bound.
    fill(&mut other, &mut deaf, 2_000).await;
    // The request is put aside; the release behind it is not, and takes it along, for the stream has an order.
    deaf.send(&root(2, "b", Ex, NONE)).await;
    deaf.send(&deq(1, NONE)).await;
    soon("the release", async {
        while !matches!(other.enq(1, "a", Ex, Flags::NOQUEUE).await, Reply::Granted(_)) {}
    })
    .await;
    let Seen::Sessions { sessions, .. } = other.look(Look::Session(id)).await else { panic!("alive") };
    assert_eq!(sessions[0].locks, 2_001);
    assert_eq!(server.metrics().parked.load(Ordering::Relaxed), 1);
    let mut answers = Vec::new();
    while answers.len() < 2 {
        match deaf.next().await {
            FromServer::Answer(answer) => answers.push(answer.reply),
            FromServer::Event { event: Event::Granted(_), .. } => {}
            said => panic!("{said:?}"),
        }
    }
    assert_eq!(done(answers.remove(1)), Status::Released);
    assert_eq!(granted(answers.remove(0)).handle.number(), 2);
}

#[tokio::test]
async fn notices_that_nobody_reads_are_dropped_and_said_anew() {
    let patience = Patience { overrun: Duration::from_secs(60), ..Patience::default() };
    let server = Server::start(Config { patience, ..Config::for_tests() }).await.unwrap();
    let (mut deaf, id) = Speaker::narrow(&server).await;
    let mut other = Speaker::opened(&server).await;
    granted(deaf.enq(1, "a", Pr, Flags::BLKAST).await);
    fill(&mut other, &mut deaf, 2_000).await;
    // As many as somebody likes, for a holder that does not read; and one that lasts.
    for _ in 0..30 {
        let mut burst = Vec::new();
        for _ in 0..500 {
            burst.extend(other.encode(&root(1, "a", Ex, Flags::NOQUEUE | Flags::NOQUEUEBAST)));
        }
        other.write(&burst).await;
        for _ in 0..500 {
            assert!(matches!(other.answer().await, Reply::Refused { status: Status::NotQueued, .. }));
        }
    }
    assert!(matches!(other.enq(1, "a", Ex, NONE).await, Reply::Queued { .. }));
    let cell = server.table().session(id).unwrap();
    assert!(
        cell.out_half.lock().outgoing.unsent_weight() < 512 * 1024,
        "notices take no more room than that"
    );
    let (mut grants, mut notices) = (0, 0);
    while grants < 2_000 || notices == 0 {
        match deaf.next().await {
            FromServer::Event { event: Event::Granted(_), .. } => grants += 1,
            FromServer::Event { event: Event::Blocking { handle, mode: Ex, .. }, .. }
                if handle.number() == 1 =>
            {
                notices += usize::from(grants == 2_000);
            }
            said => panic!("{said:?}"),
        }
    }
    assert_eq!(deaf.look(Look::Ping).await, Seen::Done);
    assert!(cell.out_half.lock().outgoing.is_heard());
}

#[tokio::test]
async fn a_session_may_not_have_too_many_locks() {
    let limits = Limits { locks_a_session: 4, ..Limits::default() };
    let server = Server::start(Config { limits, ..Config::for_tests() }).await.unwrap();
    let (mut alice, mut bob) = (Speaker::opened(&server).await, Speaker::opened(&server).await);
    granted(bob.enq(1, "b", Ex, NONE).await);
    for number in [1, 2] {
        granted(alice.enq(number, "a", Nl, NONE).await);
    }
    let Request::Enq(enq) = root(3, "b", Ex, NONE) else { panic!("an enq") };
    let queued = alice.ask(&Request::Enq(Enq { timeout_ms: Some(20), ..enq })).await;
    assert!(matches!(queued, Reply::Queued { .. }), "what waits counts");
    let path = |handles: Vec<u32>| {
        Request::EnqPath(EnqPath {
            handles: handles.iter().copied().map(crate::speaker::handle).collect(),
            lockspace: enq.lockspace,
            path: vec![b"x"; handles.len()],
            mode: Nl,
            flags: NONE,
            owner: enq.owner,
            timeout_ms: None,
            priority: 0,
            reason: b"",
        })
    };
    assert!(matches!(alice.event().await, Event::Ended { status: Status::Timeout, .. }));
    assert_eq!(refused(alice.ask(&path(vec![3, 1])).await), Status::BadParam, "1 is in use");
    assert_eq!(done(alice.ask(&deq(1, NONE)).await), Status::Released);
    assert_eq!(refused(alice.ask(&path(vec![3, 3])).await), Status::BadParam, "a handle named twice");
    assert!(matches!(alice.ask(&path(vec![3, 1])).await, Reply::PathGranted { .. }));
    assert_eq!(done(alice.ask(&deq(1, Flags::PATH)).await), Status::Released);
    assert_eq!(refused(alice.enq(5, "a", Nl, NONE).await), Status::BadParam, "above the greatest handle");
    for number in [1, 3, 4] {
        granted(alice.enq(number, "a", Nl, NONE).await);
    }
    assert_eq!(refused(alice.enq(4, "a", Nl, NONE).await), Status::Quota);
    assert_eq!(server.metrics().refused(Status::BadParam), 3);
}
