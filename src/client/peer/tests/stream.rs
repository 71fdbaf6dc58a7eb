//! Numbers, the window, acknowledgements, the lease, and a server that breaks the rules.

use super::*;

#[test]
fn what_the_window_does_not_admit_waits_in_order() {
    let mut scene = Scene::new(2);
    let tickets = ["a", "b", "c", "d"].map(|to| scene.enq(to));
    scene.peer.abandon(tickets[0]);
    assert_eq!(scene.says(), "1 enq 1, 2 enq 2");
    assert!(!scene.peer.has_outgoing());
    scene.answer(Reply::Granted(grant(1, 1)));
    let bytes = scene.peer.take(scene.now);
    let frame = wire::cut(&bytes, FRAME_LEN_MAX).unwrap().unwrap();
    assert_eq!(
        (said(&bytes).as_str(), frame.header.ack),
        ("3 enq 3", 1),
        "it brings the acknowledgement of the answer"
    );
    scene.answer(Reply::Granted(grant(2, 2)));
    scene.answer(Reply::Granted(grant(3, 3)));
    assert_eq!(scene.says(), "4 enq 4, 5 deq 1");
}

#[test]
fn the_window_is_one_of_bytes_too() {
    let mut scene = Scene::new(1_000);
    let a = scene.enq("a");
    scene.says();
    scene.answer(Reply::Granted(grant(1, 1)));
    for _ in 0..600 {
        let long = Convert { value: Some(&[0; VALUE_LEN_MAX]), ..convert(1) };
        scene.peer.convert(a, long).unwrap();
    }
    let room = usize::try_from(welcome(1_000).window_bytes).unwrap();
    let said = scene.peer.take(scene.now);
    let one = wire::cut(&said, FRAME_LEN_MAX).unwrap().unwrap().len;
    assert_eq!(said.len(), room / one * one, "as many as fit");
    assert!(!scene.peer.has_outgoing());
    for answered in 0..600 {
        scene.answer(refused(Status::NotQueued));
        let more = if answered < 600 - room / one { one } else { 0 };
        assert_eq!(scene.peer.take(scene.now).len(), more);
    }
}

#[test]
fn acknowledgements_ride_on_requests_or_go_alone_in_the_end() {
    let mut scene = Scene::new(100);
    scene.enq("a");
    scene.says();
    scene.answer(queued(1));
    scene.event(Event::Demoted { handle: handle(1) });
    scene.peer.tick(scene.now, &mut Vec::new());
    assert_eq!(scene.says(), "");
    assert_eq!(scene.peer.next_tick(), Some(scene.now.plus(Duration::from_millis(100))));
    scene.pass(100);
    scene.peer.tick(scene.now, &mut Vec::new());
    assert_eq!(scene.says(), "ack 2");
    (0..64).for_each(|_| scene.event(Event::Demoted { handle: handle(1) }));
    scene.peer.tick(scene.now, &mut Vec::new());
    assert_eq!(scene.says(), "ack 66");
    scene.event(Event::Demoted { handle: handle(1) });
    scene.enq("b");
    scene.pass(100);
    scene.peer.tick(scene.now, &mut Vec::new());
    assert_eq!(scene.says(), "2 enq 2", "the request has acknowledged it");
}

#[test]
fn an_idle_session_renews_and_its_lease_counts_from_the_sending() {
    let mut scene = Scene::new(100);
    let given = *scene.peer.lease().unwrap();
    assert_eq!(given.ttl(), TTL);
    scene.pass(4_989);
    scene.peer.tick(scene.now, &mut Vec::new());
    assert_eq!(scene.says(), "");
    scene.pass(1);
    scene.peer.tick(scene.now, &mut Vec::new());
    assert_eq!(scene.says(), "renew");
    let sent = scene.now;
    scene.pass(6_000);
    scene.peer.tick(scene.now, &mut Vec::new());
    assert_eq!(scene.says(), "", "one renewal at a time");
    assert_eq!(scene.peer.state(scene.now), LockState::Jeopardy);
    assert_eq!(scene.peer.lease().unwrap().deadline(), given.deadline());
    let mut bytes = BytesMut::new();
    Seen::Renewed(15_000).encode(2, 0, &mut bytes).unwrap();
    scene.hear(bytes).unwrap();
    assert_eq!(scene.peer.lease().unwrap().deadline(), Lease::new(TTL, sent).deadline());

    // A request counts from when it was written, not from when it was asked for, nor from when it was answered.
    scene.enq("a");
    scene.pass(100);
    let sent = scene.now;
    scene.says();
    scene.pass(100);
    scene.answer(queued(1));
    assert_eq!(scene.peer.lease().unwrap().deadline(), Lease::new(TTL, sent).deadline());
    scene.pass(60_000);
    assert_eq!(scene.peer.state(scene.now), LockState::Lost);
}

#[test]
fn an_answer_counts_from_the_write_that_took_its_request_along() {
    let mut scene = Scene::new(100);
    let mut sent = Vec::new();
    for to in ["a", "b", "c"] {
        scene.enq(to);
        scene.says();
        sent.push(scene.now);
        scene.pass(1_000);
    }
    for (number, sent) in (1..).zip(sent) {
        scene.answer(queued(number));
        assert_eq!(scene.peer.lease().unwrap().deadline(), Lease::new(TTL, sent).deadline());
    }
}

#[test]
fn a_server_that_breaks_the_rules_is_left() {
    let scene = || {
        let mut scene = Scene::new(100);
        scene.enq("a");
        scene.says();
        scene
    };
    let answer = |request, number, ack| {
        let mut bytes = BytesMut::new();
        Answer { request, place: Place(0), reply: queued(1) }.encode(number, ack, &mut bytes).unwrap();
        bytes
    };
    assert!(scene().hear(answer(1, 1, 1)).is_ok());
    assert!(scene().hear(answer(1, 2, 1)).is_err(), "number 1 is missing");
    assert!(scene().hear(answer(2, 1, 1)).is_err(), "request 1 is not answered");
    assert!(scene().hear(answer(1, 1, 2)).is_err(), "request 2 was never sent");
    let mut early = scene();
    early.enq("b");
    early.says();
    assert!(early.hear(answer(2, 1, 2)).is_err(), "request 1 comes first");
    let mut twice = scene();
    twice.hear(answer(1, 1, 1)).unwrap();
    assert!(twice.hear(answer(1, 1, 1)).is_ok(), "what was heard before is skipped");
    assert!(twice.hear(answer(1, 2, 1)).is_err(), "request 1 was answered before");
    assert!(scene().hear(BytesMut::from(&b"HTTP/1.1 400 Bad Request\r\n"[..])).is_err());
    let mut stranger: Peer<()> = Peer::new("test");
    assert!(
        stranger.receive(Moment(0), &mut answer(1, 1, 0), &mut Vec::new()).is_err(),
        "no session is open"
    );
    for cut in 1..20 {
        let mut scene = scene();
        let whole = answer(1, 1, 1);
        let mut part = BytesMut::from(&whole[..cut]);
        scene.peer.receive(scene.now, &mut part, &mut scene.told).unwrap();
        part.extend_from_slice(&whole[cut..]);
        scene.peer.receive(scene.now, &mut part, &mut scene.told).unwrap();
        assert!(part.is_empty());
    }
}

#[test]
fn what_a_later_version_says_is_numbered_like_anything_else() {
    let unknown = |number| {
        let mut bytes = BytesMut::new();
        let event = Event::Demoted { handle: handle(1) };
        event.encode(Place(0), number, 0, &mut bytes).unwrap();
        bytes[4] = 0xFE;
        bytes
    };
    let mut scene = Scene::new(100);
    scene.hear(unknown(1)).unwrap();
    scene.hear(unknown(0)).unwrap();
    scene.pass(100);
    scene.peer.tick(scene.now, &mut Vec::new());
    assert_eq!(scene.says(), "ack 1");
    assert!(scene.hear(unknown(3)).is_err(), "number 2 is missing");
}

#[test]
fn a_loss_is_told_once_to_everybody_who_waits() {
    let mut scene = Scene::new(2);
    let (held, _waits, dropped) = (scene.enq("held"), scene.enq("waits"), scene.enq("dropped"));
    scene.says();
    scene.answer(Reply::Granted(grant(1, 1)));
    scene.answer(queued(2));
    scene.peer.abandon(dropped);
    scene.peer.look(&Look::Ping, "looks").unwrap();
    scene.peer.space(Space::Remove { lockspace: LockspaceId(3), force: false }, "space").unwrap();
    scene.told();
    let mut told = Vec::new();
    scene.peer.lose(LossCause::Expired, &mut told);
    scene.peer.lose(LossCause::Closed, &mut told);
    scene.told = told;
    assert_eq!(scene.told(), ["looks lost", "space lost", "waits lost"]);
    assert_eq!(scene.peer.lost(), Some(&LossCause::Expired));
    assert_eq!(scene.peer.enq("late", |_| unreachable!()), Err(Status::SessionLost));
    assert_eq!(scene.peer.convert(held, convert(1)), Err(Status::SessionLost));
    assert_eq!(scene.peer.state(scene.now), LockState::Lost);
    assert_eq!(scene.says(), "");
}
