//! When sessions end by themselves. These tests wait for a lease of one second, the shortest there is: that a lease ends
//! is a matter of time and of nothing else.

use crate::speaker::{Speaker, granted, root, server, session, soon};
use enq::server::Server;
use enq_protocol::{
    vocabulary::{Flags, LockMode::Ex, SessionId, Status},
    wire::{Event, Look, Reply, Seen},
};
use std::time::Duration;

const NONE: Flags = Flags::NONE;

/// Waits until the server has so many sessions.
async fn sessions(server: &Server, count: u64) {
    soon("sessions to end", async {
        while server.table().session_count() != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "how long a lease lasts is what is tested")]
async fn a_silent_session_ends_when_its_lease_has_run_out() {
    let server = server().await;
    let (mut alice, _) = Speaker::opened_as(&server, session(1_000, false)).await;
    let mut bob = Speaker::opened(&server).await;
    granted(alice.enq(1, "a", Ex, NONE).await);
    let opened = std::time::Instant::now();
    assert!(matches!(bob.enq(1, "a", Ex, NONE).await, Reply::Queued { .. }));
    assert!(matches!(bob.event().await, Event::Granted(_)));
    assert!(opened.elapsed() > Duration::from_millis(900), "late, never early");
    assert_eq!(alice.end_status().await, Some(Status::SessionLost));
}

#[tokio::test]
async fn any_frame_renews_a_lease() {
    let server = server().await;
    let (mut alice, id) = Speaker::opened_as(&server, session(1_000, false)).await;
    let mut watcher = Speaker::greeted(&server).await;
    granted(alice.enq(1, "a", Ex, NONE).await);
    // Longer than the lease, and never silent for a third of it.
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(alice.look(Look::Renew).await, Seen::Renewed(1_000));
    }
    let Seen::Sessions { sessions, .. } = watcher.look(Look::Session(id)).await else { panic!("alive") };
    assert!(sessions[0].lease_left_ms > 0 && sessions[0].locks == 1);
    assert_eq!(watcher.look(Look::Renew).await, Seen::Refused(Status::NoSuchSession));
}

/// What is said to somebody is no word of his, however often that is.
#[tokio::test]
async fn who_only_hears_is_not_heard_of() {
    let server = server().await;
    let (mut alice, _) = Speaker::opened_as(&server, session(1_000, false)).await;
    let mut bob = Speaker::opened(&server).await;
    let name = |number: u32| format!("r{number}");
    for number in 1..=60 {
        granted(alice.enq(number, &name(number), Ex, Flags::BLKAST).await);
    }
    for number in 1..=60 {
        // Alice is told that she is in the way.
        bob.enq(number, &name(number), Ex, NONE).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        if server.table().session_count() == 1 {
            return;
        }
    }
    panic!("alice has said nothing for six seconds");
}

#[tokio::test]
async fn a_bound_session_ends_with_its_connection_and_another_does_not() {
    let server = server().await;
    let (mut bound, _) = Speaker::opened_as(&server, session(15_000, true)).await;
    let (mut free, id) = Speaker::opened_as(&server, session(15_000, false)).await;
    let mut bob = Speaker::opened(&server).await;
    granted(bound.enq(1, "a", Ex, NONE).await);
    granted(free.enq(1, "b", Ex, NONE).await);
    assert!(matches!(bob.enq(1, "a", Ex, NONE).await, Reply::Queued { .. }));
    assert!(matches!(bob.enq(2, "b", Ex, NONE).await, Reply::Queued { .. }));
    drop((bound, free));
    let Event::Granted(grant) = bob.event().await else { panic!("granted") };
    assert_eq!(grant.handle.number(), 1);
    sessions(&server, 2).await;
    let seen = bob.look(Look::Session(id)).await;
    assert!(matches!(seen, Seen::Sessions { .. }), "the session outlives its connection: {seen:?}");
}

/// Whoever is cut off may not learn of it, and believes in its locks for as long as its lease: X3.
#[tokio::test]
async fn a_bound_session_whose_client_was_cut_off_waits_for_its_lease() {
    let server = server().await;
    let (mut bound, id) = Speaker::opened_as(&server, session(1_000, true)).await;
    let mut bob = Speaker::opened(&server).await;
    granted(bound.enq(1, "a", Ex, NONE).await);
    assert!(matches!(bob.enq(1, "a", Ex, NONE).await, Reply::Queued { .. }));
    bound.write(&[0xff; 16]).await;
    assert!(bound.end().await.is_some(), "it is told why, if it hears");
    let Seen::Sessions { sessions, .. } = bob.look(Look::Session(id)).await else { panic!("still there") };
    assert_eq!(
        (sessions[0].locks, sessions[0].peer.as_str()),
        (1, ""),
        "nobody is there, and it has its lock"
    );
    let Event::Granted(_) = bob.event().await else { panic!("granted") };
    assert_eq!(bob.look(Look::Session(id)).await, Seen::Refused(Status::NoSuchSession));
}

#[tokio::test]
async fn a_session_with_many_locks_ends_in_portions() {
    let server = server().await;
    let (mut alice, _) = Speaker::opened_as(&server, session(15_000, true)).await;
    granted(alice.enq(1, "tree", Ex, NONE).await);
    let mut burst = Vec::new();
    for number in 2..=900 {
        let name = number.to_string();
        burst.extend(alice.encode(&crate::speaker::sublock(number, 1, &name, Ex)));
    }
    alice.write(&burst).await;
    for _ in 2..=900 {
        granted(alice.answer().await);
    }
    drop(alice);
    soon("all locks to go", async {
        while server.statistics().locks != 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(server.table().check(), Ok(()));
}

#[tokio::test]
async fn a_lease_outside_the_limits_is_refused_and_not_moved() {
    let server = server().await;
    let mut alice = Speaker::greeted(&server).await;
    for ttl_ms in [0, 1, 999, 60_001, u32::MAX] {
        assert_eq!(alice.look(Look::Open(session(ttl_ms, false))).await, Seen::Refused(Status::Limit));
    }
    let mut other_log = session(15_000, false);
    other_log.log = 1;
    assert_eq!(alice.look(Look::Open(other_log)).await, Seen::Refused(Status::WrongLog));
    assert!(matches!(alice.look(Look::Open(session(1_000, false))).await, Seen::Opened(_)));
}

#[tokio::test]
async fn the_list_of_sessions_comes_in_parts() {
    let server = server().await;
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(Speaker::opened(&server).await);
    }
    let mut watcher = Speaker::greeted(&server).await;
    let mut found: Vec<SessionId> = Vec::new();
    loop {
        let look = Look::Sessions { after: found.last().copied(), max: 2 };
        let Seen::Sessions { sessions, more } = watcher.look(look).await else { panic!("sessions") };
        found.extend(sessions.iter().map(|view| view.session));
        if !more {
            break;
        }
    }
    assert_eq!(found.len(), 5);
    assert!(found.is_sorted());
}

#[tokio::test]
async fn a_server_that_stops_says_so_and_finishes_what_it_has_begun() {
    let server = server().await;
    let mut alice = Speaker::opened(&server).await;
    let mut stranger = Speaker::connect(&server).await;
    granted(alice.ask(&root(1, "a", Ex, NONE)).await);
    let stopped = tokio::spawn(server.shutdown());
    assert_eq!(alice.end_status().await, Some(Status::Shutdown));
    assert_eq!(stranger.end_status().await, Some(Status::Shutdown));
    soon("the server to stop", stopped).await.unwrap();
}
