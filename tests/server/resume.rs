//! A session that goes on with another connection: one effect and one answer for each number, wherever the first
//! connection was cut; and what becomes of those who may not.

use crate::speaker::{
    Speaker, convert, deq, done, encoded, granted, hello, looked, resume, root, server, session, soon,
};
use enq::server::Server;
use enq_protocol::{
    vocabulary::{
        Flags,
        LockMode::{self, Ex, Nl, Pr},
        SessionId, Status,
    },
    wire::{Administer, DeqAll, Event, FromServer, Look, Opened, Reply, Request, Resume, Seen},
};
use std::{sync::atomic::Ordering, time::Duration};

const NONE: Flags = Flags::NONE;

/// A bit of everything: requests 1 to 7, of which the sixth has no answer.
fn burst(name: &str) -> Vec<Vec<u8>> {
    let requests = [
        root(1, name, Ex, NONE),
        root(2, name, Pr, NONE),
        convert(1, Nl, NONE),
        root(2, "other", Nl, NONE),
        convert(1, Ex, Flags::NOQUEUE),
        deq(1, Flags::NOACK),
        Request::DeqAll(DeqAll { under: None, flags: NONE }),
    ];
    (1..).zip(&requests).map(|(number, request)| encoded(request, number, 0)).collect()
}

/// What the burst is told, in words that do not tell one run from another.
fn in_words(said: &FromServer) -> String {
    match said {
        FromServer::Answer(answer) => match &answer.reply {
            Reply::Granted(grant) => format!("{}: granted {} {}", answer.request, grant.handle, grant.mode),
            Reply::Queued { handle, .. } => format!("{}: queued {handle}", answer.request),
            Reply::Done { status } | Reply::Refused { status, .. } => format!("{}: {status}", answer.request),
            reply => format!("{reply:?}"),
        },
        FromServer::Event { event: Event::Granted(grant), .. } => {
            format!("later: granted {} {}", grant.handle, grant.mode)
        }
        said => format!("{said:?}"),
    }
}

/// Takes numbered outputs up to this number: their words, and their bytes without the acknowledgement.
async fn take(speaker: &mut Speaker, last: u64) -> Vec<(String, Vec<u8>)> {
    let mut taken = Vec::new();
    while speaker.received < last {
        let said = speaker.next().await;
        let mut bytes = speaker.frame.clone();
        if bytes[8..16] != [0; 8] {
            bytes[16..24].fill(0);
            taken.push((in_words(&said), bytes));
        }
    }
    taken
}

#[tokio::test]
async fn a_burst_that_is_cut_at_any_byte_has_one_effect_and_one_answer_each() {
    let server = server().await;
    let (mut whole, _) = Speaker::kept(&server).await;
    whole.write(&burst("whole").concat()).await;
    let expected: Vec<String> = take(&mut whole, 7).await.into_iter().map(|(words, _)| words).collect();
    let one = server.statistics();
    let len = burst("cut-0000").concat().len();
    for cut in 0..=len {
        let requests = burst(&format!("cut-{cut:04}"));
        let (mut first, opened) = Speaker::kept(&server).await;
        first.write(&requests.concat()[..cut]).await;
        if cut % 2 == 0 {
            drop(first);
        }
        let (mut second, resumed) = Speaker::resumed(&server, &opened, 0).await;
        // Half of them say everything again, the others what was not executed.
        let from = if cut % 4 < 2 { 0 } else { usize::try_from(resumed.executed).unwrap() };
        second.write(&requests[from..].concat()).await;
        let words: Vec<String> = take(&mut second, 7).await.into_iter().map(|(words, _)| words).collect();
        assert_eq!(words, expected, "cut at {cut}");
        second.last = 7;
        granted(second.enq(9, "last", Nl, NONE).await);
    }
    let all = server.statistics();
    let runs = u64::try_from(len).unwrap() + 2;
    assert_eq!(all.deq, one.deq * runs, "every release was executed once");
    assert_eq!(all.enq_new, one.enq_new * runs + runs - 1, "every request was executed once");
    assert_eq!(all.enq_converted, one.enq_converted * runs);
    assert_eq!(server.table().check(), Ok(()));
}

#[tokio::test]
async fn what_was_not_acknowledged_is_said_again_byte_for_byte() {
    let server = server().await;
    let (mut first, opened) = Speaker::kept(&server).await;
    first.write(&burst("again").concat()).await;
    let said = take(&mut first, 7).await;
    for received in [0, 0, 3, 7] {
        let (mut second, resumed) = Speaker::resumed(&server, &opened, received).await;
        assert_eq!((resumed.executed, resumed.ttl_ms), (7, 15_000));
        let again = take(&mut second, 7).await;
        assert_eq!(again, said[usize::try_from(received).unwrap()..], "from {received} on");
        assert_eq!(second.acked, 7, "all answers have arrived");
    }
    assert_eq!(server.metrics().resumed.load(Ordering::Relaxed), 4);
    assert_eq!(server.metrics().sent_again.load(Ordering::Relaxed), 7 + 7 + 4);
    // What was acknowledged is gone, whatever the next one says.
    let (mut third, _) = Speaker::resumed(&server, &opened, 2).await;
    third.received = 7;
    granted(third.enq(9, "next", Nl, NONE).await);
}

#[tokio::test]
async fn a_completion_that_nobody_heard_is_said_after_the_resume() {
    let server = server().await;
    let mut bob = Speaker::opened(&server).await;
    granted(bob.enq(1, "a", Ex, NONE).await);
    let (mut alice, opened) = Speaker::kept(&server).await;
    assert!(matches!(alice.enq(1, "a", Ex, NONE).await, Reply::Queued { .. }));
    let received = alice.received;
    drop(alice);
    assert_eq!(done(bob.ask(&deq(1, NONE)).await), Status::Released);
    let (mut alice, resumed) = Speaker::resumed(&server, &opened, received).await;
    assert_eq!(resumed.executed, 1);
    let Event::Granted(grant) = alice.event().await else { panic!("granted") };
    assert_eq!(grant.mode, Ex);
}

#[tokio::test]
async fn the_newest_connection_has_the_session() {
    let server = server().await;
    let (mut first, opened) = Speaker::kept(&server).await;
    granted(first.enq(1, "a", Nl, NONE).await);
    let (mut second, _) = Speaker::resumed(&server, &opened, 1).await;
    // Whatever the first one still says is not executed, nor does it harm.
    let late =
        [encoded(&root(2, "late", Nl, NONE), 2, 0), encoded(&root(3, "gap", Nl, NONE), 9, 77)].concat();
    first.write_if_open(&late).await;
    assert_eq!(first.end_status().await, Some(Status::Superseded));
    granted(second.enq(2, "b", Nl, NONE).await);
    let (mut third, resumed) = Speaker::resumed(&server, &opened, 2).await;
    assert_eq!(resumed.executed, 2);
    assert_eq!(second.end_status().await, Some(Status::Superseded));
    granted(third.enq(3, "c", Nl, NONE).await);
    assert_eq!(server.metrics().closed(Status::Superseded), 2);
    let Seen::Sessions { sessions, .. } = third.look(Look::Session(opened.session)).await else {
        panic!("alive")
    };
    assert_eq!(sessions[0].locks, 3, "nothing of the late burst was executed");
}

#[tokio::test]
async fn it_does_not_matter_where_the_word_of_the_new_connection_is_split() {
    let server = server().await;
    let enq = encoded(&root(2, "b", Nl, NONE), 2, 0);
    let (mut first, opened) = Speaker::kept(&server).await;
    granted(first.enq(1, "a", Nl, NONE).await);
    let row = looked(&resume(&opened, 0), 1_000);
    for at in 0..=row.len() {
        let mut second = Speaker::connect(&server).await;
        // In the middle of a burst: a look before it, and a request behind it that each of them repeats.
        let before = [hello(), looked(&Look::Ping, 5)].concat();
        let burst = [&before[..], &row, &enq].concat();
        let (one, two) = burst.split_at(before.len() + at);
        second.write(one).await;
        tokio::task::yield_now().await;
        second.write(two).await;
        assert_eq!(first.end_status().await, Some(Status::Superseded), "split at {at}");
        assert!(matches!(second.next().await, FromServer::Welcome(_)));
        assert_eq!(second.next().await, FromServer::Seen { tag: 5, seen: Seen::Done });
        let FromServer::Seen { tag: 1_000, seen: Seen::Resumed(resumed) } = second.next().await else {
            panic!("no session goes on")
        };
        assert_eq!(resumed.executed, if at == 0 { 1 } else { 2 });
        assert_eq!(granted(second.answer().await).handle.number(), 1);
        assert_eq!(granted(second.answer().await).handle.number(), 2);
        first = second;
    }
    let Seen::Sessions { sessions, .. } = first.look(Look::Session(opened.session)).await else {
        panic!("alive")
    };
    assert_eq!(sessions[0].locks, 2);
}

#[tokio::test]
async fn a_view_shows_where_the_session_is_served() {
    let server = server().await;
    let (first, opened) = Speaker::kept(&server).await;
    let mut watcher = Speaker::greeted(&server).await;
    drop(first);
    let peer = async |watcher: &mut Speaker| {
        let Seen::Sessions { sessions, .. } = watcher.look(Look::Session(opened.session)).await else {
            panic!("alive")
        };
        sessions[0].peer.clone()
    };
    soon("the connection to be missed", async {
        while !peer(&mut watcher).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let (_second, _) = Speaker::resumed(&server, &opened, 0).await;
    assert!(peer(&mut watcher).await.starts_with("127.0.0.1:"));
}

/// The last frame of a connection that says these bytes, in pieces, split there.
async fn last_frame(server: &Server, bytes: &[u8], split: usize) -> Vec<u8> {
    let mut speaker = Speaker::connect(server).await;
    let (one, two) = bytes.split_at(split);
    speaker.write(one).await;
    tokio::task::yield_now().await;
    speaker.write_if_open(two).await;
    speaker.end().await;
    speaker.frame
}

/// These bytes in all three positions: right after HELLO, in the middle of a burst, and split at every byte.
async fn in_all_positions(server: &Server, row: &[u8]) -> Vec<Vec<u8>> {
    let ping = looked(&Look::Ping, 5);
    let enq = encoded(&root(1, "behind", Ex, NONE), 1, 0);
    let mut ends = vec![
        last_frame(server, &[&hello()[..], row].concat(), 0).await,
        last_frame(server, &[&hello()[..], &ping, row, &enq, &ping].concat(), 0).await,
    ];
    for at in 1..row.len() {
        let greeting = hello();
        ends.push(last_frame(server, &[&greeting[..], row].concat(), greeting.len() + at).await);
    }
    ends
}

#[tokio::test]
async fn whoever_cannot_resume_is_told_the_same_whatever_the_reason() {
    let server = server().await;
    let mut ends = Vec::new();
    let (_alive, alive) = Speaker::kept(&server).await;
    let mut bound = Speaker::greeted(&server).await;
    let bound_to_it = bound.begin(session(15_000, true)).await;
    let (mut watcher, ended) = Speaker::kept(&server).await;
    let mut another = Speaker::greeted(&server).await;
    let expire = Administer::ExpireSession { session: ended.session, reason: "enough".into() };
    assert_eq!(another.look(Look::Administer(expire)).await, Seen::Done);
    assert_eq!(watcher.end_status().await, Some(Status::SessionLost));
    let closed_bound = {
        let mut speaker = Speaker::greeted(&server).await;
        let opened = speaker.begin(session(15_000, true)).await;
        assert_eq!(done(speaker.ask(&Request::Close).await), Status::Done);
        opened
    };
    let never = Opened { session: SessionId(77), ..alive.clone() };
    let other_epoch = Opened { session: SessionId(alive.session.0 + (1 << 40)), ..alive.clone() };
    for opened in [never, other_epoch, bound_to_it, ended, closed_bound] {
        ends.extend(in_all_positions(&server, &looked(&resume(&opened, 0), 1)).await);
    }
    assert_eq!(server.metrics().resumed.load(Ordering::Relaxed), 0);
    // None of those were wrong secrets of a session that could be resumed: it still can be.
    let (_second, _) = Speaker::resumed(&server, &alive, 0).await;
    // Wrong ones, and after the fifth the right one, too.
    let wrong = Opened { secret: [0; 16], ..alive.clone() };
    ends.extend(in_all_positions(&server, &looked(&resume(&wrong, 0), 1)).await);
    ends.push(last_frame(&server, &[hello(), looked(&resume(&alive, 0), 1)].concat(), 0).await);
    for end in &ends {
        assert_eq!(end, &ends[0]);
    }
    assert_eq!(ends[0][4], 0xFF, "it is told");
    assert_eq!(&ends[0][24..26], &Status::Session.0.to_le_bytes());
    assert_eq!(server.metrics().closed(Status::Session), u64::try_from(ends.len()).unwrap());
    assert_eq!(server.table().session_count(), 2, "nobody else's session ends by that");
}

#[tokio::test]
async fn a_received_number_that_was_never_sent_ends_the_session() {
    let server = server().await;
    let len = looked(&resume(&Speaker::kept(&server).await.1, 2), 1).len();
    for at in 0..len {
        let (mut first, opened) = Speaker::kept(&server).await;
        granted(first.enq(1, "a", Nl, NONE).await);
        let before = server.table().session_count();
        let greeting = hello();
        let bytes = [&greeting[..], &looked(&resume(&opened, 2), 1), &looked(&Look::Ping, 2)].concat();
        let end = last_frame(&server, &bytes, if at == 0 { 0 } else { greeting.len() + at }).await;
        assert_eq!(&end[24..26], &Status::AckRange.0.to_le_bytes(), "split at {at}");
        assert_eq!(server.table().session_count(), before - 1);
        assert_eq!(first.end_status().await, Some(Status::SessionLost));
    }
}

#[tokio::test]
async fn numbers_are_judged_after_a_resume_as_before() {
    let server = server().await;
    let rows = [
        (encoded(&root(2, "b", Nl, NONE), 3, 0), Status::Misordered),
        (encoded(&root(2, "b", Nl, NONE), 1, 0), Status::FalseRetry),
        (encoded(&root(2, "b", Nl, NONE), 2, 9), Status::AckRange),
    ];
    for (bytes, status) in rows {
        for at in 0..bytes.len() {
            let (mut first, opened) = Speaker::kept(&server).await;
            granted(first.enq(1, "a", Nl, NONE).await);
            let before = server.table().session_count();
            let start = [hello(), looked(&resume(&opened, 0), 1)].concat();
            let again = encoded(&root(1, "a", Nl, NONE), 1, 0);
            let all = [&start[..], &again, &bytes, &looked(&Look::Ping, 2)].concat();
            let split = if at == 0 { 0 } else { start.len() + again.len() + at };
            let end = last_frame(&server, &all, split).await;
            assert_eq!(&end[24..26], &status.0.to_le_bytes(), "{status} split at {at}");
            assert_eq!(server.table().session_count(), before - 1, "the session has died");
        }
    }
}

/// Takes everything up to the answer to a PING.
async fn up_to_ping(speaker: &mut Speaker) -> Vec<FromServer> {
    speaker.write(&looked(&Look::Ping, 99)).await;
    let mut said = Vec::new();
    loop {
        match speaker.next().await {
            FromServer::Seen { tag: 99, .. } => return said,
            other => said.push(other),
        }
    }
}

/// What is said of blocked modes.
fn notices(said: &[FromServer]) -> Vec<(u32, LockMode)> {
    let notice = |said: &FromServer| match said {
        FromServer::Event { event: Event::Blocking { handle, mode, .. }, .. } => {
            Some((handle.number(), *mode))
        }
        _ => None,
    };
    let mut notices: Vec<_> = said.iter().filter_map(notice).collect();
    notices.sort_by_key(|(handle, _)| *handle);
    notices
}

#[tokio::test]
async fn notices_are_derived_anew_at_most_one_a_lock_and_mode() {
    let server = server().await;
    let (mut alice, opened) = Speaker::kept(&server).await;
    granted(alice.enq(1, "a", Ex, Flags::BLKAST).await);
    granted(alice.enq(2, "b", Ex, NONE).await);
    granted(alice.enq(3, "c", Pr, Flags::BLKAST).await);
    granted(alice.enq(4, "d", Pr, Flags::BLKAST).await);
    let received = alice.received;
    let mut bob = Speaker::opened(&server).await;
    assert!(matches!(bob.enq(1, "a", Pr, NONE).await, Reply::Queued { .. }));
    assert_eq!(notices(&up_to_ping(&mut alice).await), [(1, Pr)], "it hears this one");
    drop(alice);
    for (number, name, mode) in [(2, "a", Ex), (3, "a", Ex), (4, "b", Ex), (5, "c", Ex)] {
        assert!(matches!(bob.enq(number, name, mode, NONE).await, Reply::Queued { .. }));
    }
    granted(bob.enq(6, "d", Pr, NONE).await);
    for _ in 0..2 {
        let (mut alice, _) = Speaker::resumed(&server, &opened, received).await;
        // EX on a covers PR there: who knows that EX is wanted, knows enough. Nobody waits for d.
        assert_eq!(notices(&up_to_ping(&mut alice).await), [(1, Ex), (3, Ex)]);
        assert_eq!(up_to_ping(&mut alice).await, []);
    }
    let (mut alice, _) = Speaker::resumed(&server, &opened, received).await;
    up_to_ping(&mut alice).await;
    assert!(matches!(bob.enq(7, "d", Ex, NONE).await, Reply::Queued { .. }));
    assert_eq!(notices(&up_to_ping(&mut alice).await), [(4, Ex)], "and it hears new ones");
}

#[tokio::test]
async fn the_window_survives() {
    let server = server().await;
    let (mut alice, opened) = Speaker::kept(&server).await;
    let all: Vec<u8> = (1..=1_024).flat_map(|number| encoded(&root(1, "a", Nl, NONE), number, 0)).collect();
    alice.write(&all).await;
    while alice.received < 1_024 {
        alice.next().await;
    }
    drop(alice);
    // Repeated requests take no more room; one more does.
    let (mut alice, resumed) = Speaker::resumed(&server, &opened, 0).await;
    assert_eq!(resumed.executed, 1_024);
    alice.write(&[&all[..], &encoded(&deq(1, NONE), 1_025, 0)].concat()).await;
    assert_eq!(alice.end_status().await, Some(Status::Flow));
    let (mut alice, resumed) = Speaker::resumed(&server, &opened, 1_023).await;
    assert_eq!(resumed.executed, 1_024);
    alice.next().await;
    assert_eq!(done(alice.ask(&deq(1, NONE)).await), Status::Released);
}

#[tokio::test]
async fn who_has_not_heard_that_his_session_was_closed_still_hears_it() {
    let server = server().await;
    let (mut alice, opened) = Speaker::kept(&server).await;
    let requests = [encoded(&root(1, "a", Ex, NONE), 1, 0), encoded(&Request::Close, 2, 0)].concat();
    alice.write(&requests).await;
    let said = take(&mut alice, 2).await;
    drop(alice);
    assert_eq!((server.table().session_count(), server.table().closed_count()), (0, 1));
    for received in [0, 1] {
        let (mut alice, resumed) = Speaker::resumed(&server, &opened, received).await;
        assert_eq!(resumed.executed, 2);
        // Said again, they are dropped.
        alice.write(&requests).await;
        assert_eq!(take(&mut alice, 2).await, said[usize::try_from(received).unwrap()..]);
        assert_eq!(alice.look(Look::Ping).await, Seen::Done);
        // The connection has no session, and may have another.
        let other = alice.begin(session(15_000, false)).await;
        granted(alice.enq(1, "a", Ex, Flags::NOQUEUE).await);
        assert_ne!(other.session, opened.session);
        assert_eq!(done(alice.ask(&Request::Close).await), Status::Done);
    }
    let (mut alice, _) = Speaker::resumed(&server, &opened, 2).await;
    assert_eq!(alice.look(Look::Ping).await, Seen::Done);
    alice.write(&encoded(&root(1, "a", Ex, NONE), 3, 2)).await;
    assert_eq!(alice.end_status().await, Some(Status::SessionLost));
    // All of it was received: it is forgotten.
    let mut alice = Speaker::greeted(&server).await;
    alice.write(&looked(&resume(&opened, 2), 1)).await;
    assert_eq!(alice.end_status().await, Some(Status::Session));
}

#[tokio::test]
async fn a_closed_session_is_kept_for_the_length_of_its_lease() {
    let server = server().await;
    let mut alice = Speaker::greeted(&server).await;
    let opened = alice.begin(session(1_000, false)).await;
    assert_eq!(done(alice.ask(&Request::Close).await), Status::Done);
    assert_eq!(server.table().closed_count(), 1);
    soon("it to be forgotten", async {
        while server.table().closed_count() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let mut bob = Speaker::greeted(&server).await;
    bob.write(&looked(&resume(&opened, 0), 1)).await;
    assert_eq!(bob.end_status().await, Some(Status::Session));
}

#[tokio::test]
async fn a_lease_runs_on_while_nobody_is_attached_and_a_resume_renews_it() {
    let server = server().await;
    let mut alice = Speaker::greeted(&server).await;
    let opened = alice.begin(session(1_000, false)).await;
    granted(alice.enq(1, "a", Ex, NONE).await);
    drop(alice);
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(600)).await;
        let (alice, _) = Speaker::resumed(&server, &opened, 1).await;
        drop(alice);
    }
    let mut bob = Speaker::opened(&server).await;
    assert!(matches!(bob.enq(1, "a", Ex, NONE).await, Reply::Queued { .. }));
    assert!(matches!(bob.event().await, Event::Granted(_)), "nobody came back");
    let mut alice = Speaker::greeted(&server).await;
    let look = Resume { session: opened.session, secret: opened.secret, received: 1 };
    alice.write(&looked(&Look::Resume(look), 1)).await;
    assert_eq!(alice.end_status().await, Some(Status::Session));
}
