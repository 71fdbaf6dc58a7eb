//! The peer against a server that is a script: what it sends, what it makes of what it hears.

use super::*;
use enq_protocol::{
    vocabulary::{Fence, LockId, LockspaceId, Owner, Place, Seq},
    wire::{Answer, Event, FromClient, Reply},
};
use std::{mem, time::Duration};

mod locks;
mod resume;
mod stream;

const TTL: Duration = Duration::from_secs(15);

/// A peer with an open session, and the other end of its connection.
struct Scene {
    peer: Peer<&'static str>,
    now: Moment,
    number: u64,
    ack: u64,
    window: u32,
    /// That of the last RESUME.
    tag: u32,
    told: Vec<Told<&'static str>>,
}

fn welcome(window: u32) -> Welcome {
    Welcome {
        version: 1,
        features: 0,
        frame_len_max: 65_536,
        window_requests: window,
        window_bytes: 262_144,
        locks_max: 5,
        waiting_max: 5,
        ttl_min_ms: 1_000,
        ttl_max_ms: 60_000,
        server: "script".into(),
        role: 0,
        leader: String::new(),
        members: Vec::new(),
        log: 0,
        unsafe_settings: Vec::new(),
    }
}

impl Scene {
    fn new(window: u32) -> Scene {
        Scene::of(window, false)
    }

    fn of(window: u32, bind_connection: bool) -> Scene {
        let mut peer = Peer::new("test");
        let mut bytes = BytesMut::new();
        let start = Moment(1_000_000_000_000);
        assert!(said(&peer.take(start)).starts_with("hello"));
        welcome(window).encode(&mut bytes).unwrap();
        peer.receive(start, &mut bytes, &mut Vec::new()).unwrap();
        let open = OpenSession {
            name: "s".into(),
            purpose: String::new(),
            node: String::new(),
            node_id: 0,
            host: String::new(),
            pid: 0,
            process_start: 0,
            ttl_ms: 15_000,
            orphan_key: Box::default(),
            log: 0,
            bind_connection,
        };
        peer.open(open, "open").unwrap();
        peer.take(start);
        let opened = Seen::Opened(Opened { session: SessionId(7), secret: [0; 16], ttl_ms: 15_000 });
        opened.encode(1, 0, &mut bytes).unwrap();
        let mut scene = Scene { peer, now: start, number: 0, ack: 0, window, tag: 0, told: Vec::new() };
        scene.pass(10);
        scene.hear(bytes).unwrap();
        assert_eq!(scene.told().len(), 1);
        scene
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.plus(Duration::from_millis(ms));
    }

    fn hear(&mut self, mut bytes: BytesMut) -> Result<(), LossCause> {
        self.peer.receive(self.now, &mut bytes, &mut self.told)
    }

    fn answer(&mut self, reply: Reply) {
        self.ack += 1;
        self.number += 1;
        let mut bytes = BytesMut::new();
        let answer = Answer { request: self.ack, place: Place(0), reply };
        answer.encode(self.number, self.ack, &mut bytes).unwrap();
        self.hear(bytes).unwrap();
    }

    fn event(&mut self, event: Event) {
        let notice = matches!(event, Event::Blocking { .. });
        self.number += u64::from(!notice);
        let mut bytes = BytesMut::new();
        event.encode(Place(0), if notice { 0 } else { self.number }, self.ack, &mut bytes).unwrap();
        self.hear(bytes).unwrap();
    }

    fn told(&mut self) -> Vec<String> {
        let line = |told: Told<&'static str>| match told {
            Told::Outcome(to, Outcome::Granted { grant, waited, .. }) => {
                format!("{to} {} {}", if waited { "granted later" } else { "granted" }, grant.mode)
            }
            Told::Outcome(to, Outcome::Ended { why, gone, .. }) => {
                format!("{to} {}{}", why.status(), if gone { ", gone" } else { "" })
            }
            Told::Outcome(to, Outcome::Done(status)) => format!("{to} {status}"),
            Told::Outcome(to, Outcome::Lost(_)) => format!("{to} lost"),
            Told::Outcome(to, other) => format!("{to} {other:?}"),
            Told::Happened(to, Happening::Blocking(mode)) => format!("{to} blocks {mode}"),
            Told::Happened(to, other) => format!("{to} {other:?}"),
        };
        mem::take(&mut self.told).into_iter().map(line).collect()
    }

    /// What is written now, in words.
    fn says(&mut self) -> String {
        let bytes = self.peer.take(self.now);
        said(&bytes)
    }

    fn enq(&mut self, to: &'static str) -> Ticket {
        let ask = |handle| Enq {
            handle,
            lockspace: LockspaceId(0),
            parent: None,
            name: b"r",
            mode: LockMode::Ex,
            flags: Flags::NONE,
            owner: Owner::default(),
            timeout_ms: None,
            priority: 0,
            reason: b"",
        };
        self.peer.enq(to, ask).unwrap()
    }

    fn enq_path(&mut self, to: &'static str, levels: usize) -> Ticket {
        let ask = |handles| EnqPath {
            handles,
            lockspace: LockspaceId(0),
            path: vec![b"r"; levels],
            mode: LockMode::Ex,
            flags: Flags::NONE,
            owner: Owner::default(),
            timeout_ms: None,
            priority: 0,
            reason: b"",
        };
        self.peer.enq_path(vec![to; levels], ask).unwrap()
    }

    fn release(&mut self, ticket: Ticket) {
        self.peer.release(ticket, plain_release(ticket.handle)).unwrap();
    }
}

fn said(mut bytes: &[u8]) -> String {
    let mut words = Vec::new();
    while let Some(frame) = wire::cut(bytes, FRAME_LEN_MAX).unwrap() {
        words.push(match FromClient::decode(&frame.header, frame.body).unwrap() {
            FromClient::Hello(_) => "hello".into(),
            FromClient::Ack => format!("ack {}", frame.header.ack),
            FromClient::Look { look, .. } => format!("{}", look.unwrap().kind()).to_lowercase(),
            FromClient::Request(Request::Enq(enq)) => format!("{} enq {}", frame.header.number, enq.handle),
            FromClient::Request(Request::EnqPath(enq)) => {
                format!("{} path {}", frame.header.number, enq.handles.last().unwrap())
            }
            FromClient::Request(Request::Deq(deq)) => format!("{} deq {}", frame.header.number, deq.handle),
            FromClient::Request(Request::Convert(c)) => {
                format!("{} convert {}", frame.header.number, c.handle)
            }
            FromClient::Request(Request::Cancel(c)) => format!("{} cancel {}", frame.header.number, c.handle),
            FromClient::Request(other) => format!("{} {other:?}", frame.header.number),
        });
        bytes = &bytes[frame.len..];
    }
    words.join(", ")
}

fn handle(number: u32) -> Handle {
    Handle::new(number).unwrap()
}

fn grant(number: u32, seq: u64) -> Grant {
    Grant {
        handle: handle(number),
        lock: LockId(u64::from(number)),
        mode: LockMode::Ex,
        seq: Seq(seq),
        fence: Fence(seq),
        synchronous: false,
        alternate: false,
        demoted: false,
        stored: false,
        value: None,
    }
}

fn queued(number: u32) -> Reply {
    Reply::Queued { handle: handle(number), lock: LockId(0) }
}

fn refused(status: Status) -> Reply {
    Reply::Refused { status, blocker: None, detail: 0 }
}

fn ended(number: u32, status: Status) -> Event {
    Event::Ended { handle: handle(number), status, holds: None, record: 0 }
}

const RELEASED: Reply = Reply::Done { status: Status::Released };

#[test]
fn a_request_is_numbered_answered_and_its_handle_used_again() {
    let mut scene = Scene::new(100);
    let (a, _b) = (scene.enq("a"), scene.enq("b"));
    assert_eq!(scene.says(), "1 enq 1, 2 enq 2");
    scene.answer(Reply::Granted(grant(1, 5)));
    scene.answer(refused(Status::NotQueued));
    assert_eq!(scene.told(), ["a granted EX", "b NOTQUEUED, gone"]);
    scene.release(a);
    scene.enq("c");
    assert_eq!(scene.says(), "3 deq 1, 4 enq 2");
    scene.answer(RELEASED);
    assert_eq!(scene.told(), ["a RELEASED"]);
    scene.enq("d");
    assert_eq!(scene.says(), "5 enq 1", "the lowest free handle");
    assert!(
        scene.peer.convert(a, convert(1)).is_err(),
        "what is said of the first lock is not said of the third"
    );
    scene.peer.abandon(a);
    assert_eq!(scene.says(), "");
    for _ in 0..3 {
        scene.enq("e");
    }
    assert_eq!(scene.peer.enq("f", |_| unreachable!()), Err(Status::Quota), "five handles are all there are");
}

fn convert(number: u32) -> Convert<'static> {
    Convert {
        handle: handle(number),
        mode: LockMode::Ex,
        flags: Flags::NONE,
        timeout_ms: None,
        priority: 0,
        value: None,
    }
}

#[test]
fn a_dropped_request_is_released_even_if_its_grant_crosses() {
    let mut scene = Scene::new(100);
    let (a, b) = (scene.enq("a"), scene.enq("b"));
    scene.says();
    scene.answer(queued(1));
    scene.answer(queued(2));
    scene.peer.abandon(a);
    scene.peer.abandon(b);
    scene.peer.abandon(b);
    assert_eq!(scene.says(), "3 deq 1, 4 deq 2");
    scene.event(Event::Granted(grant(1, 5)));
    scene.event(ended(2, Status::Aborted));
    scene.enq("c");
    assert_eq!(scene.says(), "5 enq 3", "neither handle is free before its release is answered");
    scene.answer(RELEASED);
    scene.answer(RELEASED);
    assert!(scene.told().is_empty(), "nobody is left to be told");
    scene.enq("d");
    assert_eq!((scene.says().as_str(), scene.peer.lock_count()), ("6 enq 1", 2));
}

#[test]
fn a_refused_conversion_leaves_the_lock_and_a_cancelled_one_too() {
    let mut scene = Scene::new(100);
    let a = scene.enq("a");
    scene.says();
    scene.answer(Reply::Granted(grant(1, 5)));
    scene.peer.cancel(a);
    assert_eq!(scene.says(), "", "there is nothing to cancel");
    scene.peer.convert(a, convert(1)).unwrap();
    scene.says();
    scene.answer(refused(Status::NotQueued));
    scene.peer.convert(a, convert(1)).unwrap();
    scene.peer.cancel(a);
    assert_eq!(scene.says(), "3 convert 1, 4 cancel 1");
    scene.answer(queued(1));
    let holds = Some(LockMode::Pr);
    scene.event(Event::Ended { handle: handle(1), status: Status::Cancelled, holds, record: 0 });
    scene.answer(Reply::Done { status: Status::Done });
    assert_eq!(scene.told(), ["a granted EX", "a NOTQUEUED", "a CANCELLED"]);
    scene.peer.convert(a, Convert { value: Some(&[0; 1025]), ..convert(1) }).unwrap_err();
    scene.release(a);
    scene.says();
    scene.answer(refused(Status::HasSublocks));
    scene.release(a);
    scene.says();
    scene.answer(RELEASED);
    assert_eq!(scene.told(), ["a HASSUBLOCKS", "a RELEASED"]);
}

#[test]
fn a_notice_belongs_to_one_grant() {
    let mut scene = Scene::new(100);
    let a = scene.enq("a");
    scene.says();
    scene.answer(Reply::Granted(grant(1, 5)));
    scene.told();
    let notice = |seq| Event::Blocking { handle: handle(1), seq: Seq(seq), mode: LockMode::Pr };
    scene.event(notice(4));
    assert!(scene.told().is_empty(), "about a grant of before");
    scene.event(notice(5));
    scene.event(notice(9));
    assert_eq!(scene.told(), ["a blocks PR"]);
    scene.peer.convert(a, convert(1)).unwrap();
    scene.says();
    scene.answer(Reply::Granted(grant(1, 9)));
    assert_eq!(scene.told(), ["a granted EX", "a blocks PR"], "the notice waited for its grant");
    scene.event(Event::Revoked {
        handle: handle(1),
        status: Status::Forced,
        by: SessionId(3),
        reason: "stuck".into(),
    });
    assert_eq!(scene.told().len(), 1);
    scene.peer.abandon(a);
    assert_eq!((scene.says().as_str(), scene.peer.lock_count()), ("", 0));
}

fn levels(handles: [(u32, bool); 3]) -> Vec<PathLevel> {
    let level =
        |(number, made)| PathLevel { handle: handle(number), lock: LockId(0), mode: LockMode::Cw, made };
    handles.map(level).to_vec()
}

#[test]
fn a_path_keeps_the_handles_it_needs_and_gives_back_what_it_made() {
    let mut scene = Scene::new(100);
    let a = scene.enq_path("a", 3);
    assert_eq!(scene.says(), "1 path 3");
    scene.answer(Reply::PathGranted { leaf: grant(3, 5), levels: levels([(1, true), (2, true), (3, true)]) });
    let taken = scene.peer.take_over(a, &levels([(1, true), (2, true), (3, true)]));
    assert_eq!(taken.iter().map(|(ticket, _)| ticket.handle.number()).collect::<Vec<_>>(), [1, 2]);

    // Two handles are left and the second path reuses both levels of the first, but it needs a handle for each.
    assert!(scene.peer.enq_path(vec!["b"; 3], |_| unreachable!()).is_err());
    assert_eq!(scene.peer.lock_count(), 3, "all handles or none");
    let (root, leaf) = (taken[0].0, a);
    scene.peer.abandon(leaf);
    scene.peer.abandon(taken[1].0);
    scene.peer.abandon(root);
    assert_eq!(scene.says(), "2 deq 3, 3 deq 2, 4 deq 1");
    (0..3).for_each(|_| scene.answer(RELEASED));
    assert_eq!(scene.peer.lock_count(), 0);

    // Nobody wants this one any more: first while it waits, then between its grant and its taking over.
    for crossing in [true, false] {
        let b = scene.enq_path("b", 3);
        scene.says();
        scene.answer(queued(3));
        if crossing {
            scene.peer.abandon(b);
            assert!(scene.says().ends_with("deq 3"));
        }
        scene.event(Event::PathGranted {
            leaf: grant(3, 7),
            levels: levels([(1, true), (2, true), (3, true)]),
        });
        if !crossing {
            scene.peer.abandon(b);
        }
        let expected = if crossing { "deq 2, deq 1" } else { "deq 3, deq 2, deq 1" };
        let words = scene.says();
        let deqs: Vec<&str> = words.split(", ").map(|word| word.split_once(' ').unwrap().1).collect();
        assert_eq!(deqs.join(", "), expected);
        (0..3).for_each(|_| scene.answer(RELEASED));
        assert_eq!(scene.peer.lock_count(), 0, "crossing: {crossing}");
    }
}

#[test]
fn a_level_that_another_path_still_needed_is_released_after_it() {
    let mut scene = Scene::new(100);
    let a = scene.enq("a");
    scene.says();
    scene.answer(Reply::Granted(grant(1, 5)));
    // A path finds `a` as its root while `a` is being dropped.
    let b = scene.enq_path("b", 3);
    scene.peer.abandon(a);
    scene.says();
    scene.answer(queued(4));
    scene.answer(refused(Status::HasSublocks));
    assert_eq!((scene.says().as_str(), scene.peer.lock_count()), ("", 4));
    scene.event(ended(4, Status::Timeout));
    assert_eq!(
        scene.says(),
        "4 deq 3, 5 deq 2, 6 deq 1",
        "its levels may have stayed, and nobody answers for its root"
    );
    scene.answer(refused(Status::NoSuchLock));
    scene.answer(refused(Status::NoSuchLock));
    scene.answer(RELEASED);
    assert_eq!(scene.peer.lock_count(), 0);
    assert!(scene.peer.take_over(b, &[]).is_empty());

    // This time the path is granted and its guard takes the root over.
    let a = scene.enq("a");
    scene.says();
    scene.answer(Reply::Granted(grant(1, 6)));
    let b = scene.enq_path("b", 3);
    scene.peer.abandon(a);
    scene.says();
    let found = levels([(1, false), (3, true), (4, true)]);
    scene.answer(Reply::PathGranted { leaf: grant(4, 7), levels: found.clone() });
    assert_eq!(scene.peer.lock_count(), 3, "the second level's own handle was not needed");
    let taken = scene.peer.take_over(b, &found);
    assert_eq!(taken[0], (a, "a"));
    scene.answer(refused(Status::HasSublocks));
    assert_eq!(scene.says(), "");
    [b, taken[1].0, taken[0].0].into_iter().for_each(|ticket| scene.peer.abandon(ticket));
    assert!(scene.says().ends_with("deq 1"));
    (0..3).for_each(|_| scene.answer(RELEASED));
    assert_eq!(scene.peer.lock_count(), 0);
}
