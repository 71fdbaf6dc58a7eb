//! Another connection: what is said again, what is not, what those are told who held locks meanwhile.

use super::*;
use enq_protocol::wire::{Administer, Resume, Resumed};

impl Scene {
    fn cut(&mut self) {
        let why = LossCause::Disconnected("cut".into());
        self.peer.disconnected(why).unwrap();
    }

    /// Says HELLO and RESUME on another connection, and hears that so much was executed.
    fn resume(&mut self, executed: u64) -> Result<(), LossCause> {
        assert_eq!(self.greet(), "hello, resume");
        self.hear_resumed(executed)
    }

    fn greet(&mut self) -> String {
        self.peer.reconnect();
        let bytes = self.peer.take(self.now);
        let mut rest = bytes.as_ref();
        while let Some(frame) = wire::cut(rest, FRAME_LEN_MAX).unwrap() {
            if let FromClient::Look { tag, look } = FromClient::decode(&frame.header, frame.body).unwrap() {
                let Look::Resume(Resume { session, secret, received }) = *look.unwrap() else { panic!() };
                assert_eq!((session, secret, received), (SessionId(7), [0; 16], self.number));
                assert_eq!(frame.header.ack, 0, "it has no session yet");
                self.tag = tag;
            }
            rest = &rest[frame.len..];
        }
        said(&bytes)
    }

    fn hear_resumed(&mut self, executed: u64) -> Result<(), LossCause> {
        let mut bytes = BytesMut::new();
        welcome(self.window).encode(&mut bytes).unwrap();
        let resumed = Seen::Resumed(Resumed { executed, ttl_ms: 15_000 });
        resumed.encode(self.tag, 0, &mut bytes).unwrap();
        self.hear(bytes)
    }

    /// What is written now, byte for byte save the acknowledgements.
    fn bytes(&mut self) -> Vec<Vec<u8>> {
        let bytes = self.peer.take(self.now);
        let mut rest = bytes.as_ref();
        let mut frames = Vec::new();
        while let Some(frame) = wire::cut(rest, FRAME_LEN_MAX).unwrap() {
            let mut bytes = rest[..frame.len].to_vec();
            bytes[16..24].fill(0);
            frames.push(bytes);
            rest = &rest[frame.len..];
        }
        frames
    }

    fn lapses(&mut self) {
        self.pass(15_000);
        let mut told = Vec::new();
        self.peer.tick(self.now, &mut told);
        self.told.append(&mut told);
    }
}

#[test]
fn what_was_not_executed_is_said_again_byte_for_byte_and_nothing_else() {
    for executed in 0..=3 {
        let mut scene = Scene::new(100);
        ["a", "b", "c"].into_iter().for_each(|to| _ = scene.enq(to));
        let first = scene.bytes();
        scene.cut();
        scene.enq("d");
        assert_eq!(
            (scene.says().as_str(), scene.peer.has_outgoing()),
            ("", false),
            "there is nobody to say it to"
        );
        scene.resume(executed).unwrap();
        let executed = usize::try_from(executed).unwrap();
        let again = scene.bytes();
        assert_eq!(again[..3 - executed], first[executed..], "executed: {executed}");
        assert_eq!(again.len(), 4 - executed, "and what was asked meanwhile");
        // Then everything is answered, what was kept and what is new alike.
        for number in 1..=4 {
            scene.answer(Reply::Granted(grant(number, 5)));
        }
        assert_eq!(scene.told(), ["a granted EX", "b granted EX", "c granted EX", "d granted EX"]);
        assert_eq!(scene.peer.kept_answers(), u64::try_from(executed).unwrap());
        assert_eq!((scene.says().as_str(), scene.peer.lock_count()), ("", 4));
    }
}

#[test]
fn an_answer_that_was_heard_before_the_cut_is_not_told_twice() {
    let mut scene = Scene::new(100);
    ["a", "b"].into_iter().for_each(|to| _ = scene.enq(to));
    scene.says();
    scene.answer(Reply::Granted(grant(1, 5)));
    scene.answer(queued(2));
    scene.cut();
    scene.resume(2).unwrap();
    assert_eq!(scene.says(), "");
    // A server that has not taken in what was received says it again.
    for _ in 0..2 {
        let mut bytes = BytesMut::new();
        let answer = Answer { request: 2, place: Place(0), reply: queued(2) };
        answer.encode(2, 2, &mut bytes).unwrap();
        scene.hear(bytes).unwrap();
    }
    scene.event(Event::Granted(grant(2, 6)));
    assert_eq!(scene.told(), ["a granted EX", "b granted later EX"]);
}

#[test]
fn the_window_of_the_new_connection_holds_for_what_is_said_again() {
    let mut scene = Scene::new(4);
    ["a", "b", "c", "d", "e"].into_iter().for_each(|to| _ = scene.enq(to));
    assert_eq!(scene.says(), "1 enq 1, 2 enq 2, 3 enq 3, 4 enq 4");
    scene.cut();
    scene.window = 2;
    scene.resume(1).unwrap();
    assert_eq!(scene.says(), "2 enq 2", "the first one's answer is not acknowledged, so it is in flight");
    scene.answer(Reply::Granted(grant(1, 1)));
    assert_eq!(scene.says(), "3 enq 3");
    (2..=3).for_each(|n| scene.answer(Reply::Granted(grant(n, 1))));
    assert_eq!(scene.says(), "4 enq 4, 5 enq 5");
}

#[test]
fn cut_again_before_the_answer_and_after_it() {
    let mut scene = Scene::new(100);
    ["a", "b"].into_iter().for_each(|to| _ = scene.enq(to));
    scene.says();
    for _ in 0..3 {
        scene.cut();
        assert_eq!(scene.greet(), "hello, resume");
        assert!(!scene.peer.is_up());
    }
    scene.cut();
    scene.resume(0).unwrap();
    scene.cut();
    scene.resume(0).unwrap();
    assert_eq!(scene.says(), "1 enq 1, 2 enq 2");
    scene.cut();
    scene.resume(1).unwrap();
    assert_eq!(scene.says(), "2 enq 2");
    (1..=2).for_each(|n| scene.answer(Reply::Granted(grant(n, 1))));
    assert_eq!(scene.told().len(), 2);
}

#[test]
fn a_server_that_executed_what_was_never_sent_or_forgot_what_it_answered_is_left() {
    for (executed, right) in [(0, false), (1, true), (2, true), (3, false)] {
        let mut scene = Scene::new(100);
        ["a", "b"].into_iter().for_each(|to| _ = scene.enq(to));
        scene.says();
        scene.enq("not sent");
        scene.answer(Reply::Granted(grant(1, 1)));
        scene.cut();
        assert_eq!(scene.resume(executed).is_ok(), right, "{executed}");
    }
}

#[test]
fn looks_are_said_again_under_their_tags_and_a_renewal_is_not() {
    let mut scene = Scene::new(100);
    let act = Administer::ForceRelease { lock: LockId(1), version: 4, reason: String::new() };
    scene.peer.look(&Look::Ping, "ping").unwrap();
    scene.peer.look(&Look::Administer(act), "act").unwrap();
    scene.pass(5_000);
    scene.peer.tick(scene.now, &mut Vec::new());
    let first = scene.bytes();
    assert_eq!(first.len(), 3);
    scene.cut();
    scene.peer.look(&Look::Spaces, "meanwhile").unwrap();
    scene.resume(0).unwrap();
    let again = scene.bytes();
    assert_eq!((again.len(), &again[..2]), (3, &first[..2]));
    let mut bytes = BytesMut::new();
    Seen::Done.encode(2, 0, &mut bytes).unwrap();
    scene.hear(bytes).unwrap();
    assert_eq!(scene.told(), ["ping Seen(Done)"]);
    scene.pass(5_000);
    scene.peer.tick(scene.now, &mut Vec::new());
    assert_eq!(scene.says(), "renew", "the lost renewal does not keep the next one back");
}

#[test]
fn the_lease_counts_from_the_sending_of_resume() {
    let mut scene = Scene::new(100);
    scene.pass(6_000);
    scene.cut();
    scene.pass(1_000);
    let before = scene.peer.lease().unwrap().deadline();
    scene.greet();
    let sent = scene.now;
    scene.pass(3_000);
    assert_eq!(scene.peer.lease().unwrap().deadline(), before, "it goes on while there is no connection");
    assert_eq!(scene.peer.state(scene.now), LockState::Jeopardy);
    scene.hear_resumed(0).unwrap();
    assert_eq!(scene.peer.lease().unwrap().deadline(), Lease::new(TTL, sent).deadline());
    assert_eq!(scene.peer.state(scene.now), LockState::Safe);
}

#[test]
fn who_held_a_lock_when_the_lease_ran_out_has_lost_it_and_who_waits_waits_on() {
    let mut scene = Scene::new(100);
    let (held, converts) = (scene.enq("held"), scene.enq("converts"));
    scene.enq("waits");
    scene.says();
    (1..=2).for_each(|n| scene.answer(Reply::Granted(grant(n, 5))));
    scene.answer(queued(3));
    scene.peer.convert(converts, convert(2)).unwrap();
    scene.says();
    scene.told();
    scene.cut();
    scene.lapses();
    assert_eq!(scene.told(), ["converts Lapsed", "converts lost", "held Lapsed"]);
    scene.lapses();
    assert!(scene.told().is_empty(), "once");
    assert!(scene.peer.convert(held, convert(1)).is_err(), "it is as good as released");
    scene.peer.abandon(held);

    scene.resume(4).unwrap();
    assert_eq!(scene.says(), "5 cancel 2, 6 deq 2, 7 deq 1", "the server was late: they are released");
    assert_eq!(scene.peer.state(scene.now), LockState::Safe);
    scene.answer(Reply::Granted(grant(2, 9)));
    scene.answer(Reply::Done { status: Status::CancelGrant });
    scene.answer(RELEASED);
    scene.answer(RELEASED);
    scene.event(Event::Granted(grant(3, 7)));
    assert_eq!(scene.told(), ["waits granted later EX"], "the conversion's grant is nobody's any more");
    assert_eq!(scene.peer.lock_count(), 1);
    let again = scene.enq("again");
    assert_eq!((again.handle.number(), scene.says().as_str()), (1, "8 enq 1"));
}

#[test]
fn a_path_that_is_lost_with_the_lease_goes_leaf_first_whether_or_not_its_guard_was_made() {
    for taken in [false, true] {
        let mut scene = Scene::new(100);
        let a = scene.enq_path("a", 3);
        scene.says();
        let made = levels([(1, true), (2, true), (3, true)]);
        scene.answer(Reply::PathGranted { leaf: grant(3, 5), levels: made.clone() });
        if taken {
            scene.peer.take_over(a, &made);
        }
        scene.cut();
        scene.lapses();
        if !taken {
            scene.peer.take_over(a, &made);
        }
        scene.resume(1).unwrap();
        assert_eq!(scene.says(), "2 deq 3, 3 deq 2, 4 deq 1", "taken: {taken}");
        (0..3).for_each(|_| scene.answer(RELEASED));
        assert_eq!(scene.peer.lock_count(), 0);
    }
}

#[test]
fn who_ends_the_session_loses_nothing_by_its_lease() {
    let mut scene = Scene::new(100);
    scene.enq("a");
    scene.says();
    scene.answer(Reply::Granted(grant(1, 5)));
    scene.peer.close("close").unwrap();
    scene.says();
    scene.told();
    scene.cut();
    scene.lapses();
    scene.resume(2).unwrap();
    assert_eq!(scene.told(), Vec::<String>::new());
    scene.answer(Reply::Done { status: Status::Done });
    assert_eq!(scene.told(), ["close DONE"]);
}

#[test]
fn a_session_of_an_earlier_process_goes_on_behind_its_last_request() {
    let taken_up = || {
        let mut peer = Peer::new("test");
        let now = Moment(1_000_000_000_000);
        peer.take(now);
        let mut scene = Scene { peer, now, number: 0, ack: 5, window: 100, tag: 1, told: Vec::new() };
        let resume = Resume { session: SessionId(7), secret: [0; 16], received: 0 };
        scene.peer.look(&Look::Resume(resume), "resume").unwrap();
        assert_eq!(scene.says(), "resume");
        scene.hear_resumed(5).unwrap();
        scene.told();
        scene
    };
    let mut forgot = taken_up();
    forgot.cut();
    assert!(forgot.resume(4).is_err(), "it forgot what it had executed");
    let mut scene = taken_up();
    scene.enq("a");
    assert_eq!(scene.says(), "6 enq 1");
    // Answers that the earlier process did not acknowledge concern nobody, and begin with whatever number.
    let late = |number, request| {
        let mut bytes = BytesMut::new();
        Answer { request, place: Place(0), reply: queued(3) }.encode(number, 5, &mut bytes).unwrap();
        bytes
    };
    scene.hear(late(8, 4)).unwrap();
    scene.hear(late(9, 5)).unwrap();
    assert!(scene.hear(late(11, 5)).is_err(), "number 10 is missing");
    scene.number = 9;
    scene.answer(Reply::Granted(grant(1, 5)));
    assert_eq!(scene.told(), ["a granted EX"]);
    assert_eq!(scene.peer.kept_answers(), 0, "nobody has waited for those");
    scene.cut();
    assert!(scene.resume(5).is_err(), "it forgot the last request");
}

#[test]
fn a_parent_lock_that_is_lost_goes_after_the_request_that_waits_below_it() {
    let mut scene = Scene::new(100);
    scene.enq("parent");
    let child = scene.enq("child");
    scene.says();
    scene.answer(Reply::Granted(grant(1, 5)));
    scene.answer(queued(2));
    scene.cut();
    scene.lapses();
    scene.resume(2).unwrap();
    assert_eq!(scene.says(), "3 deq 1");
    scene.answer(refused(Status::HasSublocks));
    scene.event(Event::Granted(grant(2, 6)));
    assert_eq!(scene.says(), "");
    scene.release(child);
    assert_eq!(scene.says(), "4 deq 2");
    scene.answer(RELEASED);
    assert_eq!(scene.says(), "5 deq 1");
    scene.answer(RELEASED);
    assert_eq!(scene.peer.lock_count(), 0);
}

#[test]
fn a_release_that_was_under_way_when_the_lease_ran_out_is_answered() {
    let mut scene = Scene::new(100);
    let a = scene.enq("a");
    scene.says();
    scene.answer(Reply::Granted(grant(1, 5)));
    scene.release(a);
    scene.says();
    scene.cut();
    scene.lapses();
    scene.resume(1).unwrap();
    assert_eq!(scene.says(), "2 deq 1");
    scene.answer(RELEASED);
    assert_eq!(scene.told(), ["a granted EX", "a Lapsed", "a RELEASED"]);
    assert_eq!(scene.peer.lock_count(), 0);
}

#[test]
fn what_is_dropped_while_there_is_no_connection_is_released_afterwards() {
    let mut scene = Scene::new(100);
    let (a, b) = (scene.enq("a"), scene.enq("b"));
    scene.says();
    scene.answer(queued(1));
    scene.cut();
    scene.peer.abandon(a);
    scene.peer.cancel(b);
    scene.resume(1).unwrap();
    assert_eq!(scene.says(), "2 enq 2, 3 deq 1, 4 cancel 2");
}

#[test]
fn which_losses_another_connection_helps_against() {
    let lost = |cause: LossCause| {
        let mut scene = Scene::new(100);
        scene.peer.disconnected(cause).is_err()
    };
    let ended = LossCause::Ended;
    let helps = [Status::Shutdown, Status::TooSlow, Status::Timeout, Status::NotLeader, Status::Unavailable];
    for status in helps {
        assert!(!lost(ended(status)), "{status}");
    }
    for status in
        [Status::Superseded, Status::SessionLost, Status::Flow, Status::Protocol, Status::FalseRetry]
    {
        assert!(lost(ended(status)), "{status}");
    }
    assert!(lost(LossCause::PeerMisbehaved(String::new())) && lost(LossCause::Expired));
    // Refused on the way: by somebody who does not even greet, by somebody who does not know the session.
    let mut scene = Scene::new(100);
    scene.cut();
    scene.greet();
    scene.peer.disconnected(ended(Status::Version)).unwrap();
    scene.greet();
    let mut bytes = BytesMut::new();
    welcome(1).encode(&mut bytes).unwrap();
    scene.hear(bytes).unwrap();
    let cause = scene.peer.disconnected(ended(Status::Session)).unwrap_err();
    let mut told = Vec::new();
    scene.peer.lose(cause, &mut told);
    assert_eq!(scene.peer.lost(), Some(&ended(Status::Session)));
    // What is answered to RESUME itself counts as said, too.
    let mut scene = Scene::new(100);
    scene.cut();
    scene.greet();
    let mut bytes = BytesMut::new();
    welcome(1).encode(&mut bytes).unwrap();
    Seen::Refused(Status::NoSuchSession).encode(scene.tag, 0, &mut bytes).unwrap();
    assert_eq!(scene.hear(bytes), Err(ended(Status::NoSuchSession)));
    // A session that is bound to its connection ends with it, and a connection without a session is nothing to go on with.
    let mut stranger: Peer<()> = Peer::new("test");
    assert!(stranger.disconnected(LossCause::Disconnected(String::new())).is_err());
    let mut bound = Scene::of(100, true);
    assert!(bound.peer.disconnected(LossCause::Disconnected(String::new())).is_err());
}

#[test]
fn a_stray_resume_of_its_own_supersedes_once_and_somebody_elses_for_good() {
    let superseded = LossCause::Ended(Status::Superseded);
    let mut scene = Scene::new(100);
    scene.cut();
    scene.greet();
    // RESUME is under way on a connection that is given up; it arrives after the one on the next connection.
    scene.cut();
    scene.resume(0).unwrap();
    scene.peer.disconnected(superseded.clone()).unwrap();
    scene.resume(0).unwrap();
    assert_eq!(scene.peer.disconnected(superseded.clone()), Err(superseded));
}

#[test]
fn a_connection_on_which_an_answer_is_due_for_a_third_of_the_lease_is_silent() {
    let mut scene = Scene::new(100);
    assert_eq!(scene.peer.silent_at(), None);
    scene.enq("a");
    assert_eq!(scene.peer.silent_at(), None, "it is not sent");
    scene.says();
    assert_eq!(scene.peer.silent_at(), Some(scene.now.plus(TTL / 3)));
    scene.pass(1_000);
    scene.enq("b");
    scene.says();
    scene.answer(queued(1));
    assert_eq!(scene.peer.silent_at(), Some(scene.now.plus(TTL / 3)), "something was heard");
    scene.answer(queued(2));
    assert_eq!(scene.peer.silent_at(), None, "nothing is due");
    scene.peer.look(&Look::Ping, "ping").unwrap();
    scene.says();
    scene.pass(1_000);
    scene.event(Event::Demoted { handle: handle(1) });
    assert_eq!(scene.peer.silent_at(), Some(scene.now.plus(TTL / 3)), "the look is not answered");
    let mut bound = Scene::of(100, true);
    bound.enq("a");
    bound.says();
    assert_eq!(bound.peer.silent_at(), None);
}
