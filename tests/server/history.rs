//! What the flight recorder of a server has kept, after those it is about have gone.

use crate::speaker::{Speaker, deq, done, granted, root, server, session};
use enq::{
    engine::Limits,
    server::{Config, Server},
};
use enq_protocol::{
    vocabulary::{
        Flags, Happened, HistoryCursor, HistoryOf, HistoryPart, LockMode::Ex, LockspaceId, ResourceName,
        SessionId, Status,
    },
    wire::{Look, OpenSession, Reply, Request, Seen},
};

const NONE: Flags = Flags::NONE;

async fn part(speaker: &mut Speaker, of: &HistoryOf, before: Option<HistoryCursor>, max: u32) -> HistoryPart {
    match speaker.look(Look::History { of: of.clone(), before, max }).await {
        Seen::History(part) => part,
        seen => panic!("no history: {seen:?}"),
    }
}

fn resource(name: &str) -> HistoryOf {
    let path = vec![ResourceName::new(name.as_bytes()).unwrap()];
    HistoryOf::Resource { lockspace: LockspaceId(0), path }
}

fn called(name: &str) -> OpenSession {
    OpenSession { name: name.into(), host: "alpha".into(), pid: 4_711, ..session(15_000, false) }
}

/// What happened to whom, the oldest first.
fn story(part: &HistoryPart) -> Vec<(Happened, Option<SessionId>)> {
    part.entries.iter().rev().map(|entry| (entry.happened, entry.session)).collect()
}

#[tokio::test]
async fn a_session_that_has_gone_is_known_by_its_name() {
    let server = server().await;
    let (mut one, first) = Speaker::opened_as(&server, called("billing")).await;
    let (mut two, second) = Speaker::opened_as(&server, called("nightly")).await;
    granted(one.enq(1, "x", Ex, NONE).await);
    granted(one.enq(2, "y", Ex, NONE).await);
    assert!(matches!(two.enq(1, "x", Ex, NONE).await, Reply::Queued { .. }));
    assert_eq!(done(one.ask(&Request::Close).await), Status::Done);
    let _ = two.event().await;
    let mut operator = Speaker::greeted(&server).await;

    let of_x = part(&mut operator, &resource("x"), None, 500).await;
    let (one, two) = (Some(first), Some(second));
    let wanted = [
        (Happened::Granted, one),
        (Happened::Queued, two),
        (Happened::Closed, one),
        (Happened::Granted, two),
    ];
    assert_eq!(story(&of_x), wanted);
    assert!(of_x.since_start && of_x.next.is_none());
    let past = of_x.sessions.iter().find(|past| past.session == first).unwrap();
    assert_eq!((past.name.as_str(), past.host.as_str(), past.pid), ("billing", "alpha", 4_711));
    assert!(past.ended_ms.is_some() && !past.died, "closed in order");
    let there = of_x.sessions.iter().find(|past| past.session == second).unwrap();
    assert_eq!(there.ended_ms, None);

    // All that it did, whatever the shards.
    let of_first = part(&mut operator, &HistoryOf::Session(first), None, 500).await;
    let names: Vec<String> =
        of_first.entries.iter().map(|entry| ResourceName::path_to_printable(&entry.path)).collect();
    assert_eq!(names.iter().filter(|name| *name == "x").count(), 2);
    assert_eq!(names.iter().filter(|name| *name == "y").count(), 2);
    let ages: Vec<u64> = of_first.entries.iter().map(|entry| entry.age_ms).collect();
    assert!(ages.is_sorted(), "the newest first: {ages:?}");
    assert_eq!(of_first.sessions.len(), 1);

    // A part at a time, and a session that nobody has heard of.
    let newest = part(&mut operator, &resource("x"), None, 3).await;
    let rest = part(&mut operator, &resource("x"), newest.next, 3).await;
    assert_eq!((newest.entries.len(), rest.entries.len(), rest.next), (3, 1, None));
    let unknown = part(&mut operator, &HistoryOf::Session(SessionId(7)), None, 3).await;
    assert_eq!((unknown.entries.len(), unknown.sessions.len()), (0, 0));
}

#[tokio::test]
async fn parts_fit_into_frames_and_the_oldest_entries_are_overwritten() {
    let limits = Limits { history: 700, ..Limits::default() };
    let server = Server::start(Config { limits, ..Config::for_tests() }).await.unwrap();
    let mut speaker = Speaker::opened(&server).await;
    // So long that not all of it is kept: of a resource that is asked for the server knows it all the same.
    let name = "n".repeat(255);
    for _ in 0..400 {
        granted(speaker.ask(&root(1, &name, Ex, NONE)).await);
        assert_eq!(done(speaker.ask(&deq(1, NONE)).await), Status::Released);
    }
    let (mut before, mut entries, mut parts) = (None, Vec::new(), 0);
    loop {
        let part = part(&mut speaker, &resource(&name), before, 500).await;
        assert!(!part.since_start, "100 were overwritten");
        entries.extend(part.entries);
        parts += 1;
        before = part.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(entries.len(), 700);
    assert!(parts > 2, "more than fits into two frames: {parts}");
    assert!(entries.iter().all(|entry| !entry.is_cut && entry.path[0].as_bytes() == name.as_bytes()));
    let newest = entries.first().map(|entry| entry.happened);
    assert_eq!((newest, entries[699].happened), (Some(Happened::Released), Happened::Granted));
}

#[tokio::test]
async fn a_server_that_records_nothing_says_so() {
    let limits = Limits { history: 0, ..Limits::default() };
    let server = Server::start(Config { limits, ..Config::for_tests() }).await.unwrap();
    let mut speaker = Speaker::greeted(&server).await;
    let look = Look::History { of: resource("x"), before: None, max: 1 };
    assert_eq!(speaker.look(look).await, Seen::Refused(Status::Unsupported));
}
