//! Deadlocks as clients and operators see them: who is refused and told what, who is spared, and what is on record.
//! [`super::rings`] plants many of them on a server that goes on.

use crate::speaker::{Speaker, deq, done, granted, handle, root, server};
use enq_protocol::{
    vocabulary::{
        DeadlockView, EdgeWhy, Flags, LockMode, LockMode::Ex, NEVER_REFUSED, Owner, Policy, Status,
        VictimRule,
    },
    wire::{Administer, Answer, Enq, Event, FromServer, Look, Reply, Request, Seen, Space},
};

const NONE: Flags = Flags::NONE;

/// A request of one owner of the session.
fn owned(number: u32, name: &str, mode: LockMode, token: u64) -> Request<'_> {
    match root(number, name, mode, NONE) {
        Request::Enq(enq) => Request::Enq(Enq { owner: Owner { scope: 0, token }, ..enq }),
        other => other,
    }
}

async fn queued(speaker: &mut Speaker, request: &Request<'_>) {
    let reply = speaker.ask(request).await;
    assert!(matches!(reply, Reply::Queued { .. }), "{reply:?}");
}

#[tokio::test]
async fn two_sessions_that_wait_for_each_other_are_told_apart() {
    let server = server().await;
    let (mut one, mut other) = (Speaker::opened(&server).await, Speaker::opened(&server).await);
    granted(one.enq(1, "left", Ex, NONE).await);
    granted(other.enq(1, "right", Ex, NONE).await);
    queued(&mut one, &root(2, "right", Ex, NONE)).await;
    queued(&mut other, &root(2, "left", Ex, NONE)).await;
    let Event::Ended { handle: refused, status, holds, record } = other.event().await else {
        panic!("the younger request is refused")
    };
    assert_eq!((refused, status, holds, record), (handle(2), Status::Deadlock, None, 1));
    let records = server.table().deadlock_records();
    let [deadlock] = &records[..] else { panic!("one record: {records:?}") };
    assert_eq!((deadlock.number, deadlock.is_ring, deadlock.wait_count), (1, true, 2));
    assert_eq!(deadlock.sessions.len(), 2, "both are shown");
    assert!(deadlock.waits.iter().any(|wait| Some(wait.waiting.lock) == deadlock.refused));
    assert_eq!(done(other.ask(&deq(1, NONE)).await), Status::Released);
    assert!(matches!(one.event().await, Event::Granted(_)), "the elder goes on");
}

/// From here on no request waits long enough to be searched for.
async fn search_only_when_asked(speaker: &mut Speaker) {
    decide(speaker, |policy| policy.deadlock_wait_ms = 0).await;
}

/// Changes the policy of the default lockspace.
pub(crate) async fn decide(speaker: &mut Speaker, change: impl FnOnce(&mut Policy)) {
    let Seen::Spaces(spaces) = speaker.look(Look::Spaces).await else { panic!("no lockspaces") };
    let mut policy = spaces[0].policy.clone();
    change(&mut policy);
    let set = Space::Set { lockspace: spaces[0].lockspace, version: spaces[0].version, policy };
    let reply = speaker.ask(&Request::Space(set)).await;
    assert!(matches!(reply, Reply::Space(_)), "{reply:?}");
}

/// A search that is asked for: how many deadlocks it found, and their records.
async fn scan(speaker: &mut Speaker) -> (u32, Vec<u64>) {
    match speaker.look(Look::Administer(Administer::Scan)).await {
        Seen::Scanned(scanned) => (scanned.found, scanned.records),
        seen => panic!("{seen:?}"),
    }
}

async fn records(speaker: &mut Speaker, before: Option<u64>, max: u32) -> (Vec<DeadlockView>, bool) {
    match speaker.look(Look::Deadlocks { before, max }).await {
        Seen::Deadlocks { deadlocks, more } => (deadlocks, more),
        seen => panic!("{seen:?}"),
    }
}

/// A ring of so many owners of this session; requests whose handles and names begin with this number.
async fn ring(speaker: &mut Speaker, first: u32, owners: u32, reason: &[u8]) {
    let name = |at: u32| format!("{:0>255}", first + at % owners);
    for (offset, waits) in [(0, false), (owners, true)] {
        for at in 0..owners {
            let name = name(at + u32::from(waits));
            let request = owned(first + offset + at, &name, Ex, (first + at).into());
            let Request::Enq(enq) = request else { panic!("a new request") };
            let reply = speaker.ask(&Request::Enq(Enq { reason, ..enq })).await;
            assert!(
                matches!((&reply, waits), (Reply::Granted(_), false) | (Reply::Queued { .. }, true)),
                "{reply:?}"
            );
        }
    }
}

#[tokio::test]
async fn an_operator_does_not_wait_and_sees_what_was_found() {
    let server = server().await;
    let (mut operator, mut speaker) = (Speaker::greeted(&server).await, Speaker::opened(&server).await);
    search_only_when_asked(&mut speaker).await;
    assert_eq!(scan(&mut operator).await, (0, vec![]));
    assert_eq!(records(&mut operator, None, 256).await, (vec![], false));
    for (number, first) in [(1, 100), (2, 200), (3, 300)] {
        ring(&mut speaker, first, 2, b"").await;
        assert_eq!(scan(&mut operator).await, (1, vec![number]), "found at once");
        let Event::Ended { handle: refused, status, record, .. } = speaker.event().await else {
            panic!("refused")
        };
        assert_eq!((refused, status, record), (handle(first + 3), Status::Deadlock, number), "the younger");
        let Event::Granted(_) = later(&mut speaker, first).await else { panic!("the elder goes on") };
    }
    assert_eq!(scan(&mut operator).await, (0, vec![]), "none is left");
    let (all, more) = records(&mut operator, None, 256).await;
    assert_eq!((all.iter().map(|view| view.number).collect(), more), (vec![3, 2, 1], false));
    let (part, more) = records(&mut operator, None, 2).await;
    assert_eq!((part.len(), more), (2, true));
    let (rest, more) = records(&mut operator, Some(2), 2).await;
    assert_eq!((rest.len(), &rest[0].waits, more), (1, &all[2].waits, false), "the rest");
    let view = &all[0];
    assert_eq!((view.is_ring, view.wait_count, view.waits.len(), view.sessions.len()), (true, 2, 2, 1));
    let refused = view.waits.iter().find(|wait| Some(wait.waiting.lock) == view.refused).unwrap();
    assert_eq!((refused.waiting.handle, refused.blocker.handle), (handle(303), handle(300)));
    assert_eq!((refused.waiting.requested, refused.blocker.granted), (Some(Ex), Some(Ex)));
    assert_eq!(refused.why, EdgeWhy::Held);
}

#[tokio::test]
async fn the_lockspace_says_who_is_refused() {
    let server = server().await;
    let (mut operator, mut poor) = (Speaker::greeted(&server).await, Speaker::opened(&server).await);
    let mut rich = Speaker::opened(&server).await;
    search_only_when_asked(&mut poor).await;
    granted(poor.enq(1, "left", Ex, NONE).await);
    for (number, name) in [(1, "right"), (3, "more"), (4, "and more")] {
        granted(rich.enq(number, name, Ex, NONE).await);
    }
    queued(&mut poor, &root(2, "right", Ex, NONE)).await;
    queued(&mut rich, &root(2, "left", Ex, NONE)).await;

    decide(&mut poor, |policy| policy.deadlock_victim = VictimRule::ReportOnly).await;
    assert_eq!(scan(&mut operator).await, (1, vec![1]), "it is told");
    let (told, _) = records(&mut operator, None, 1).await;
    assert_eq!((told[0].number, told[0].refused), (1, None), "and not broken");
    assert_eq!(scan(&mut operator).await, (0, vec![]), "nor told again");

    decide(&mut poor, |policy| policy.deadlock_victim = VictimRule::FewestLocks).await;
    assert_eq!(scan(&mut operator).await, (1, vec![2]));
    let Event::Ended { handle: refused, status, record, .. } = poor.event().await else { panic!("refused") };
    assert_eq!((refused, status, record), (handle(2), Status::Deadlock, 2), "the elder, for it has less");
}

#[tokio::test]
async fn a_request_of_the_highest_priority_is_never_refused() {
    let server = server().await;
    let (mut operator, mut elder) = (Speaker::greeted(&server).await, Speaker::opened(&server).await);
    let mut younger = Speaker::opened(&server).await;
    search_only_when_asked(&mut elder).await;
    granted(elder.enq(1, "left", Ex, NONE).await);
    granted(younger.enq(1, "right", Ex, NONE).await);
    queued(&mut elder, &root(2, "right", Ex, NONE)).await;
    let Request::Enq(enq) = root(2, "left", Ex, NONE) else { panic!("a new request") };
    queued(&mut younger, &Request::Enq(Enq { priority: NEVER_REFUSED, ..enq })).await;
    assert_eq!(scan(&mut operator).await, (1, vec![1]));
    let Event::Ended { handle: refused, status, .. } = elder.event().await else { panic!("refused") };
    assert_eq!((refused, status), (handle(2), Status::Deadlock), "the elder, for the younger is spared");
}

/// The elder of the ring is granted when the younger releases what it held.
async fn later(speaker: &mut Speaker, first: u32) -> Event {
    speaker.send(&deq(first + 1, NONE)).await;
    loop {
        match speaker.next().await {
            FromServer::Event { event, .. } => return event,
            FromServer::Answer(Answer { reply, .. }) => assert_eq!(done(reply), Status::Released),
            FromServer::Acked => {}
            said => panic!("{said:?}"),
        }
    }
}

#[tokio::test]
async fn a_record_too_long_for_a_frame_is_cut_short() {
    let server = server().await;
    let (mut operator, mut speaker) = (Speaker::greeted(&server).await, Speaker::opened(&server).await);
    search_only_when_asked(&mut speaker).await;
    let reason = [b'r'; 256];
    ring(&mut speaker, 1_000, 60, &reason).await;
    ring(&mut speaker, 2_000, 60, &reason).await;
    assert_eq!(scan(&mut operator).await, (2, vec![1, 2]));
    let (first, more) = records(&mut operator, None, 256).await;
    assert_eq!((first.len(), first[0].number, more), (1, 2, true), "one fills an answer");
    assert_eq!((first[0].wait_count, first[0].is_ring), (60, true));
    assert!((20..60).contains(&first[0].waits.len()), "as many as fit: {}", first[0].waits.len());
    let (second, more) = records(&mut operator, Some(2), 256).await;
    assert_eq!((second.len(), second[0].number, more), (1, 1, false));
}
