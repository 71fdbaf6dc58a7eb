//! What becomes of one lock: revoked, demoted, released with a value, at the end of its session.

use super::*;
use enq_protocol::vocabulary::{LockView, Queue, Stamp};

fn revoked(number: u32) -> Event {
    Event::Revoked {
        handle: handle(number),
        status: Status::Forced,
        by: SessionId(3),
        reason: "stuck".into(),
    }
}

#[test]
fn whoever_waits_is_told_that_the_lock_was_taken_away_and_the_handle_waits_for_every_answer() {
    let mut scene = Scene::new(100);
    let a = scene.enq("a");
    scene.enq("b");
    scene.says();
    scene.answer(Reply::Granted(grant(1, 5)));
    scene.answer(queued(2));
    scene.told();
    scene.peer.convert(a, convert(1)).unwrap();
    scene.says();
    let taken_away = |who: &str| format!("{who} Revoked {{ by: 0.3, reason: \"stuck\" }}");
    scene.event(revoked(1));
    scene.event(revoked(2));
    let told = ["a FORCED, gone".into(), taken_away("a"), "b FORCED, gone".into(), taken_away("b")];
    assert_eq!(scene.told(), told);
    assert_eq!(scene.peer.lock_count(), 1, "the conversion is not answered");
    scene.answer(refused(Status::NoSuchLock));
    assert_eq!((scene.told().len(), scene.peer.lock_count()), (0, 0));

    // Nobody waits for the grant of a lock that is held or was dropped.
    let (held, dropped) = (scene.enq("held"), scene.enq("dropped"));
    scene.says();
    scene.answer(Reply::Granted(grant(held.handle.number(), 6)));
    scene.answer(queued(dropped.handle.number()));
    scene.peer.abandon(dropped);
    scene.told();
    scene.event(revoked(held.handle.number()));
    scene.event(revoked(dropped.handle.number()));
    assert_eq!(scene.told(), [taken_away("held"), taken_away("dropped")]);
}

#[test]
fn a_demotion_is_told() {
    let mut scene = Scene::new(100);
    scene.enq("a");
    scene.says();
    scene.answer(Reply::Granted(grant(1, 5)));
    scene.told();
    scene.event(Event::Demoted { handle: handle(1) });
    assert_eq!(scene.told(), ["a Demoted"]);
}

#[test]
fn a_value_block_of_the_greatest_length_is_said_and_a_longer_one_is_not() {
    let mut scene = Scene::new(100);
    let a = scene.enq("a");
    scene.says();
    scene.answer(Reply::Granted(grant(1, 5)));
    let longer = [0; VALUE_LEN_MAX + 1];
    let greatest = &longer[..VALUE_LEN_MAX];
    let deq = |value| Deq { value: Some(value), ..plain_release(a.handle) };
    assert_eq!(scene.peer.release(a, deq(&longer)), Err(Status::BadParam));
    let convert = |value| Convert { value: Some(value), ..convert(1) };
    assert_eq!(scene.peer.convert(a, convert(&longer)), Err(Status::BadParam));
    assert_eq!(scene.peer.convert(a, convert(greatest)), Ok(()));
    assert_eq!(scene.peer.release(a, deq(greatest)), Ok(()));
    assert_eq!(scene.says(), "2 convert 1, 3 deq 1");
}

#[test]
fn nothing_is_asked_after_the_end_of_the_session() {
    let mut scene = Scene::new(100);
    let a = scene.enq("a");
    scene.says();
    scene.answer(Reply::Granted(grant(1, 5)));
    scene.peer.close("close").unwrap();
    assert_eq!(scene.peer.enq("b", |_| unreachable!()), Err(Status::SessionLost));
    assert_eq!(scene.peer.convert(a, convert(1)), Err(Status::SessionLost));
    assert_eq!(scene.peer.close("again"), Err(Status::SessionLost));
    scene.peer.abandon(a);
    assert_eq!(scene.says(), "2 Close");
}

/// A lock of an earlier process.
fn found(number: u32, queue: Queue) -> LockView {
    LockView {
        lock: LockId(number.into()),
        session: Some(SessionId(7)),
        handle: handle(number),
        owner: Owner::default(),
        lockspace: LockspaceId(0),
        path: Vec::new(),
        queue,
        granted: (queue != Queue::Waiting).then_some(LockMode::Pr),
        requested: (queue != Queue::Granted).then_some(LockMode::Ex),
        seq: Seq(4),
        fence: Fence(4),
        stamp: Stamp(1),
        age_ms: 0,
        timeout_ms: None,
        pause_ms: None,
        parent: None,
        sublocks: 0,
        flags: Flags::NONE,
        priority: 0,
        reason: Box::default(),
    }
}

#[test]
fn what_an_earlier_process_left_is_claimed_once_if_it_is_held_and_the_rest_is_released() {
    let mut scene = Scene::new(100);
    let views = [found(1, Queue::Granted), found(2, Queue::Conversion), found(4, Queue::Waiting)];
    scene.peer.find(&views, || "found");
    assert_eq!(scene.peer.lock_count(), 3);
    assert_eq!(scene.peer.claim(handle(2)), None, "it converts");
    assert_eq!(scene.peer.claim(handle(3)), None, "there is none");
    assert_eq!(scene.peer.claim(handle(4)), None, "it waits");
    let (ticket, to) = scene.peer.claim(handle(1)).unwrap();
    assert_eq!((ticket.handle, to), (handle(1), "found"));
    assert_eq!(scene.peer.claim(handle(1)), None, "somebody answers for it");
    // A path of its own that is under way is not among what was left.
    scene.enq_path("path", 2);
    scene.peer.release_unclaimed();
    assert_eq!(scene.says(), "1 path 5, 2 deq 4, 3 cancel 2, 4 deq 2");
    scene.peer.release_unclaimed();
    scene.release(ticket);
    assert_eq!(scene.peer.claim(handle(1)), None, "it is being released");
    assert_eq!(scene.says(), "5 deq 1", "once each");
    let notice = Event::Blocking { handle: handle(1), seq: Seq(4), mode: LockMode::Ex };
    scene.event(notice);
    assert_eq!(scene.told(), ["found blocks EX"], "its grant is that of the view");
}

#[test]
fn levels_are_taken_over_by_the_leaf_that_lives() {
    let mut scene = Scene::new(100);
    let gone = scene.enq("gone");
    scene.says();
    scene.answer(refused(Status::NotQueued));
    let leaf = scene.enq_path("leaf", 3);
    scene.says();
    let found = levels([(1, true), (2, true), (3, true)]);
    scene.answer(Reply::PathGranted { leaf: grant(3, 5), levels: found.clone() });
    assert!(scene.peer.take_over(gone, &found).is_empty(), "its handle is another lock's now");
    assert_eq!(scene.peer.take_over(leaf, &found).len(), 2);
}

/// What stands on it may be an orphan, of which nobody tells when it goes.
#[test]
fn what_is_adrift_is_released_again_as_often_as_a_lease_is_renewed() {
    let mut scene = Scene::new(100);
    let tickets: Vec<Ticket> = (0..3).map(|_| scene.enq("a")).collect();
    scene.says();
    (1..=3).for_each(|number| scene.answer(Reply::Granted(grant(number, number.into()))));
    tickets.into_iter().for_each(|ticket| scene.peer.abandon(ticket));
    scene.says();
    (0..3).for_each(|_| scene.answer(refused(Status::HasSublocks)));
    let releases = |scene: &mut Scene| {
        scene.peer.tick(scene.now, &mut Vec::new());
        scene.says().split(", ").filter(|word| word.contains("deq")).count()
    };
    scene.pass(4_999);
    assert_eq!(releases(&mut scene), 0);
    scene.pass(1);
    assert!(scene.peer.next_tick().is_some_and(|at| at <= scene.now));
    assert_eq!(releases(&mut scene), 3);
    (0..3).for_each(|_| scene.answer(refused(Status::HasSublocks)));
    assert_eq!(releases(&mut scene), 0, "not before the next time");
    scene.pass(4_999);
    assert_eq!(releases(&mut scene), 0);
    scene.pass(1);
    assert_eq!(releases(&mut scene), 3);
    scene.answer(refused(Status::HasSublocks));
    scene.answer(RELEASED);
    assert_eq!(releases(&mut scene), 1, "what has gone may have stood on it");
    scene.answer(RELEASED);
    scene.answer(refused(Status::HasSublocks));
    assert_eq!(scene.peer.lock_count(), 1);
    scene.peer.close("close").unwrap();
    scene.says();
    scene.pass(5_000);
    assert_eq!(releases(&mut scene), 0, "nothing is asked behind CLOSE");
}
