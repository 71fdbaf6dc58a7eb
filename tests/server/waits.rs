//! Who waits for whom, all the way, and what would follow from an end: over shards and sessions, whole and cut short.

use crate::speaker::{Speaker, convert, deq, granted, handle, root, server};
use enq_protocol::{
    vocabulary::{
        EdgeWhy, Flags, ForeseenView, LockId, LockMode::Cr, LockMode::Ex, LockMode::Pr, LockspaceId,
        SessionId, Status, WaitLine, WaitsFrom, WaitsView, WhatIf,
    },
    wire::{Event, Look, Reply, Request, Seen},
};

const NONE: Flags = Flags::NONE;

async fn queued(speaker: &mut Speaker, request: &Request<'_>) {
    let reply = speaker.ask(request).await;
    assert!(matches!(reply, Reply::Queued { .. }), "{reply:?}");
}

async fn waits(speaker: &mut Speaker, from: WaitsFrom, max: u32) -> WaitsView {
    match speaker.look(Look::Waits { from, max }).await {
        Seen::Waits(view) => view,
        seen => panic!("{seen:?}"),
    }
}

async fn what_if(speaker: &mut Speaker, what: WhatIf) -> ForeseenView {
    match speaker.look(Look::WhatIf(what)).await {
        Seen::Foreseen(view) => view,
        seen => panic!("{seen:?}"),
    }
}

/// Who waits for whom, by the places of their sessions among these: `2>1 held`.
fn lines(view: &WaitsView, ids: &[SessionId]) -> Vec<String> {
    let who = |lock| {
        let standing = view.locks.iter().find(|standing| standing.lock.lock == lock).unwrap();
        let session = standing.lock.session.unwrap();
        assert!(view.sessions.iter().any(|view| view.session == session), "it is shown who that is");
        1 + ids.iter().position(|id| *id == session).unwrap()
    };
    let why = |why| if why == EdgeWhy::Held { "held" } else { "ahead" };
    let line = |wait: &WaitLine| format!("{}>{} {}", who(wait.lock), who(wait.blocker), why(wait.why));
    view.waits.iter().map(line).collect()
}

#[tokio::test]
async fn a_chain_is_shown_to_its_root_and_what_its_end_would_bring() {
    let server = server().await;
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(Speaker::opened(&server).await);
    }
    let [one, two, three, four, five] = &mut all[..] else { panic!("five") };
    // One holds `a`; two waits for it and holds `b`; three and four wait there, and five with something of its own.
    granted(one.enq(1, "a", Ex, NONE).await);
    granted(two.enq(1, "b", Ex, NONE).await);
    granted(five.enq(1, "c", Pr, NONE).await);
    granted(four.enq(1, "c", Pr, NONE).await);
    queued(two, &root(2, "a", Pr, NONE)).await;
    queued(three, &root(1, "b", Pr, NONE)).await;
    queued(four, &root(2, "b", Ex, NONE)).await;
    queued(five, &convert(1, Ex, NONE)).await;
    let mut operator = Speaker::greeted(&server).await;
    let ids = all_ids(&mut operator).await;

    let view = waits(&mut operator, WaitsFrom { session: Some(ids[4]), ..WaitsFrom::default() }, 100).await;
    assert!(view.is_complete);
    assert_eq!(lines(&view, &ids), ["5>4 held", "4>2 held", "4>3 ahead", "2>1 held", "3>2 held"]);
    let positions: Vec<_> = view.locks.iter().map(|standing| (standing.position, standing.queued)).collect();
    assert_eq!(positions, [(1, 1), (0, 1), (2, 2), (0, 2), (1, 2), (1, 1), (0, 1)]);
    assert!(view.waits.iter().all(|wait| wait.deadlock == 0));

    // From one lock, from everybody, and cut short.
    let lock = view.waits[3].lock;
    let from_lock = waits(&mut operator, WaitsFrom { lock: Some(lock), ..WaitsFrom::default() }, 100).await;
    assert_eq!(lines(&from_lock, &ids), ["2>1 held"]);
    let everything = waits(&mut operator, WaitsFrom::default(), 100).await;
    assert_eq!(everything.waits.len(), 5);
    let cut = waits(&mut operator, WaitsFrom::default(), 2).await;
    assert_eq!((cut.waits.len(), cut.is_complete), (2, false));
    let elsewhere = WaitsFrom { lockspace: Some(LockspaceId(9)), ..WaitsFrom::default() };
    let nobody = waits(&mut operator, elsewhere, 100).await;
    assert_eq!(nobody, WaitsView { is_complete: true, ..WaitsView::default() });

    // Two would let three through; four comes when three has gone.
    let foreseen = what_if(&mut operator, WhatIf::Ended(ids[1])).await;
    assert!(foreseen.is_complete);
    assert_eq!((foreseen.total, foreseen.looked_at), (1, 5));
    assert_eq!((foreseen.grants[0].lock.session, foreseen.grants[0].mode), (Some(ids[2]), Pr));
    assert_eq!(foreseen.sessions.len(), 1);
    let held = view.waits[3].blocker;
    let foreseen = what_if(&mut operator, WhatIf::Released(held)).await;
    assert_eq!(foreseen.grants[0].lock.session, Some(ids[1]));
    let [one, two, ..] = &mut all[..] else { panic!("five") };
    let reply = one.ask(&deq(1, NONE)).await;
    assert!(matches!(reply, Reply::Done { status: Status::Released }), "{reply:?}");
    let Event::Granted(grant) = two.event().await else { panic!("granted, as it was foreseen") };
    assert_eq!((grant.handle, grant.lock), (handle(2), foreseen.grants[0].lock.lock));
}

/// The sessions, in the order in which they were opened.
async fn all_ids(operator: &mut Speaker) -> Vec<SessionId> {
    match operator.look(Look::Sessions { after: None, max: 200 }).await {
        Seen::Sessions { sessions, .. } => sessions.into_iter().map(|view| view.session).collect(),
        seen => panic!("{seen:?}"),
    }
}

#[tokio::test]
async fn what_is_not_there_is_refused() {
    let server = server().await;
    let mut operator = Speaker::greeted(&server).await;
    let (lock, session) = (LockId(77), SessionId(77));
    for (look, status) in [
        (WaitsFrom { lock: Some(lock), ..WaitsFrom::default() }, Status::NoSuchLock),
        (WaitsFrom { session: Some(session), ..WaitsFrom::default() }, Status::NoSuchSession),
    ] {
        assert_eq!(operator.look(Look::Waits { from: look, max: 10 }).await, Seen::Refused(status));
    }
    let seen = operator.look(Look::WhatIf(WhatIf::Released(lock))).await;
    assert_eq!(seen, Seen::Refused(Status::NoSuchLock));
    let seen = operator.look(Look::WhatIf(WhatIf::Ended(session))).await;
    assert_eq!(seen, Seen::Refused(Status::NoSuchSession));
}

#[tokio::test]
async fn a_crowd_is_cut_to_what_fits_into_an_answer_and_a_ring_is_marked() {
    let server = server().await;
    let (mut holder, mut crowd) = (Speaker::opened(&server).await, Speaker::opened(&server).await);
    granted(holder.enq(1, "hot", Ex, NONE).await);
    granted(crowd.enq(1, "own", Ex, NONE).await);
    queued(&mut holder, &root(2, "own", Cr, Flags::NODLCKWT)).await;
    for number in 2..=600 {
        queued(&mut crowd, &root(number, "hot", Cr, NONE)).await;
    }
    let mut operator = Speaker::greeted(&server).await;
    let view = waits(&mut operator, WaitsFrom::default(), 10_000).await;
    assert!(!view.is_complete && view.waits.len() > 100, "{}", view.waits.len());
    assert!(view.waits.iter().all(|wait| wait.deadlock == 0), "NODLCKWT: it waits, and it is no deadlock");
    let ids = all_ids(&mut operator).await;
    let foreseen = what_if(&mut operator, WhatIf::Ended(ids[0])).await;
    assert_eq!((foreseen.total, foreseen.is_complete, foreseen.looked_at), (599, true, 602));
    assert!(foreseen.grants.len() < 599, "as many as fit");
}
