//! Deadlocks on a server that goes on: every planted one is found and broken by exactly one refusal, and nobody else is
//! refused. `ENQ_DEADLOCKS=1000 cargo test --test server deadlocks` plants more.

use crate::speaker::{Speaker, deq, done, granted, handle, root, server, soon};
use enq_protocol::{
    vocabulary::{
        DeadlockView, EdgeWhy, Flags, LockMode, LockMode::Ex, LockMode::Nl, LockMode::Pr, NEVER_REFUSED,
        Owner, Policy, Status, VictimRule,
    },
    wire::{Administer, Answer, Convert, Enq, Event, FromServer, Look, Reply, Request, Seen, Space},
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng, seq::SliceRandom as _};
use std::collections::BTreeMap;

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
async fn decide(speaker: &mut Speaker, change: impl FnOnce(&mut Policy)) {
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

/// What a session has planted: by the handle of each request that waits, the number of its ring.
struct Planted {
    rings: BTreeMap<u32, usize>,
    next_handle: u32,
    next_owner: u64,
}

impl Planted {
    fn handle(&mut self) -> u32 {
        self.next_handle += 1;
        self.next_handle
    }
}

/// Plants a ring of 2 to 8 owners: of plain locks, of conversions, or of requests that are only behind each other.
async fn plant(speaker: &mut Speaker, planted: &mut Planted, ring: usize, random: &mut SmallRng) {
    let owners = random.random_range(2..=8);
    let first = planted.next_owner;
    planted.next_owner += owners;
    let name = |at: u64| format!("ring-{ring}-{}", at % owners);
    let kind = random.random_range(0..3);
    let held = if kind == 1 { Pr } else { Ex };
    let mut handles = Vec::new();
    for at in 0..owners {
        let number = planted.handle();
        granted(speaker.ask(&owned(number, &name(at), held, first + at)).await);
        handles.push(number);
        if kind == 1 {
            // The next owner reads it too, and its conversion will be in the way.
            let shared = planted.handle();
            granted(speaker.ask(&owned(shared, &name(at + 1), Pr, first + at)).await);
        }
    }
    let mut order: Vec<u64> = (0..owners).collect();
    order.shuffle(random);
    for at in order {
        let ahead = first + at;
        let waits = if kind == 1 {
            let number = handles[usize::try_from(at).unwrap()];
            let convert = Convert {
                handle: handle(number),
                mode: Ex,
                flags: NONE,
                timeout_ms: None,
                priority: 0,
                value: None,
            };
            queued(speaker, &Request::Convert(convert)).await;
            number
        } else {
            let mode = if kind == 2 { Pr } else { Ex };
            let number = planted.handle();
            queued(speaker, &owned(number, &name(at + 1), mode, ahead)).await;
            number
        };
        planted.rings.insert(waits, ring);
    }
}

/// Takes what is said until every ring has lost a request and what follows is said; no other request is refused.
async fn broken(speaker: &mut Speaker, planted: &Planted, rings: usize) {
    let mut refused = vec![0; rings];
    while refused.contains(&0) {
        match speaker.next().await {
            FromServer::Event { event: Event::Ended { handle, status, .. }, .. } => {
                assert_eq!(status, Status::Deadlock);
                let ring = planted.rings.get(&handle.number()).expect("only who is in a ring is refused");
                refused[*ring] += 1;
            }
            FromServer::Event { .. } | FromServer::Acked => {}
            FromServer::Answer(Answer { reply, .. }) => panic!("nothing was asked: {reply:?}"),
            said => panic!("{said:?}"),
        }
    }
    assert!(refused.iter().all(|times| *times == 1), "one a ring: {refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_planted_ring_is_broken_once_and_nobody_else_is_refused() {
    let rings: usize = std::env::var("ENQ_DEADLOCKS").map_or(40, |text| text.parse().unwrap());
    let server = server().await;
    // Bystanders: a hot resource where many wait in order, and are granted one after the other all the while.
    let mut hot = Speaker::opened(&server).await;
    let waiting = 200;
    for number in 1..=waiting {
        let mode = if number % 3 == 0 { Nl } else { Ex };
        hot.send(&owned(number, "hot", mode, number.into())).await;
        let _ = hot.answer().await;
    }
    let mut speaker = Speaker::opened(&server).await;
    let mut planted = Planted { rings: BTreeMap::new(), next_handle: 0, next_owner: 1 };
    let mut random = SmallRng::seed_from_u64(11);
    for ring in 0..rings {
        plant(&mut speaker, &mut planted, ring, &mut random).await;
    }
    soon("every ring to be broken", broken(&mut speaker, &planted, rings)).await;
    for number in 1..=waiting {
        hot.send(&deq(number, NONE)).await;
        loop {
            match hot.next().await {
                FromServer::Answer(Answer { reply, .. }) => {
                    assert_eq!(done(reply), Status::Released);
                    break;
                }
                FromServer::Event { event: Event::Granted(_), .. } | FromServer::Acked => {}
                said => panic!("a bystander is refused: {said:?}"),
            }
        }
    }
    let records = server.table().deadlock_records().len();
    assert_eq!(records, rings.min(256), "a record each");
}
