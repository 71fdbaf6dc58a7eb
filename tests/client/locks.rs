//! Locks, conversions, value blocks, paths, notices; and what is left of a request that was dropped: nothing.

use super::*;
use enq::client::{Flags, LockState, NotGranted, Status, Wait};
use std::{
    future::IntoFuture,
    task::{Context, Poll, Waker},
};
use tokio_util::sync::CancellationToken;

/// Polls a request once, so that it is sent.
fn send<F: Future + Unpin>(request: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(request).poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn a_lock_is_granted_converted_and_released() {
    let stage = Stage::set().await;
    let session = stage.session("one").await;
    let lock = soon(session.lock("r").mode(PR).reason("to see").into_future()).await.unwrap();
    assert_eq!((lock.mode(), lock.state(), lock.has_waited()), (PR, LockState::Safe, false));
    assert_eq!(lock.fence().0, lock.seq().0, "alone, its fence is its own");
    let view = session.show_lock(lock.id()).await.unwrap();
    assert_eq!((view.granted, view.reason.as_ref(), view.handle), (Some(PR), &b"to see"[..], lock.handle()));

    let before = lock.seq();
    let lock = lock.convert(EX).await.unwrap();
    assert!(lock.mode() == EX && lock.seq() > before && lock.held());
    assert!(lock.time_left() > Duration::from_secs(13) && lock.time_left() < Duration::from_secs(15));
    lock.release().await.unwrap();
    assert_eq!((show(&session, &["r"]).await, session.lock_count()), (None, 0));

    let names: [&[u8]; 3] = [b"a/b c", b"\x00\xff", &[7; 255]];
    for name in names {
        session.lock(name).await.unwrap().release().await.unwrap();
    }
    assert_eq!(session.lock("").await.unwrap_err().status(), Status::BadName);
    assert_eq!(session.lock([0; 256]).await.unwrap_err().status(), Status::BadName);
}

#[tokio::test]
async fn who_is_in_the_way_is_told_and_how_long_to_wait_is_obeyed() {
    let stage = Stage::set().await;
    let (one, two) = (stage.session("one").await, stage.session("two").await);
    let held = one.lock("r").mode(PW).await.unwrap();
    let waiting = tokio::spawn(one.lock("r").mode(EX).into_future());
    wait_for_waiting(&one, "r", 1).await;
    let refused = two.lock("r").mode(PR).wait(Wait::No).await.unwrap_err();
    assert_eq!(refused, NotGranted::NotQueued { blocker: Some(held.id()), waiting: 1 });
    let refused = soon(two.lock("r").wait(Wait::UpTo(Duration::from_millis(20))).into_future()).await;
    assert_eq!(refused.unwrap_err(), NotGranted::TimedOut);
    let token = CancellationToken::new();
    let cancelled = tokio::spawn(two.lock("r").cancel_on(token.clone()).into_future());
    wait_for_waiting(&one, "r", 2).await;
    token.cancel();
    assert_eq!(soon(cancelled).await.unwrap().unwrap_err(), NotGranted::Cancelled);
    held.release().await.unwrap();
    let granted = soon(waiting).await.unwrap().unwrap();
    assert!(granted.has_waited());
    drop(granted);
    wait_for_nothing(&two, "r").await;
    assert_eq!(two.lock_count(), 0);
}

#[tokio::test]
async fn a_refused_conversion_gives_the_old_lock_back() {
    let stage = Stage::set().await;
    let (one, two) = (stage.session("one").await, stage.session("two").await);
    let first = one.lock("r").mode(PR).await.unwrap();
    let second = two.lock("r").mode(PR).await.unwrap();
    assert_eq!(first.fence(), second.fence(), "readers share a fence");

    let (seq, id) = (first.seq(), first.id());
    let refused = first.convert(EX).wait(Wait::No).await.unwrap_err();
    assert!(matches!(refused.why, NotGranted::NotQueued { blocker: Some(lock), .. } if lock == second.id()));
    let first = refused.lock;
    assert_eq!((first.mode(), first.seq(), first.id(), first.held()), (PR, seq, id, true));

    // Both want EX: the second to ask is refused, keeps its PR, and has to let go before the first can go on.
    let converting = tokio::spawn(first.convert(EX).into_future());
    wait_for_waiting(&two, "r", 1).await;
    let refused = second.convert(EX).await.unwrap_err();
    assert!(matches!(refused.why, NotGranted::Deadlock { .. }), "{refused}");
    assert_eq!(two.show_lock(refused.lock.id()).await.unwrap().granted, Some(PR));
    drop(refused);
    let first = soon(converting).await.unwrap().unwrap();
    assert!(first.mode() == EX && first.id() == id && first.has_waited());

    // A conversion that is cancelled leaves the lock as it was.
    let first = first.convert(PR).await.unwrap();
    let _other = two.lock("r").mode(PR).await.unwrap();
    let token = CancellationToken::new();
    let converting = tokio::spawn(first.convert(EX).cancel_on(token.clone()).into_future());
    wait_for_waiting(&two, "r", 1).await;
    token.cancel();
    let refused = soon(converting).await.unwrap().unwrap_err();
    assert_eq!((&refused.why, refused.lock.mode()), (&NotGranted::Cancelled, PR));
    refused.lock.release().await.unwrap();
}

#[tokio::test]
async fn a_value_travels_from_writer_to_reader() {
    let stage = Stage::set().await;
    let (one, two) = (stage.session("one").await, stage.session("two").await);
    let keeper = two.lock("r").mode(NL).read_value().await.unwrap();
    let value = keeper.value().unwrap();
    assert_eq!((value.bytes.as_ref(), value.seq, value.valid), (&b""[..], 0, true));

    let writer = one.lock("r").mode(EX).await.unwrap();
    assert_eq!(writer.value(), None, "not asked for, not read");
    let writer = writer.convert(PW).store(b"first").await.unwrap();
    assert!(writer.grant().stored);
    let reader = two.lock("r").mode(LockMode::Cr).read_value().await.unwrap();
    assert_eq!(reader.value().unwrap().bytes.as_ref(), b"first");
    reader.release().await.unwrap();

    let refused = writer.release_with([0; 65]).await.unwrap_err();
    assert_eq!(refused.why, NotGranted::Refused(Status::BadParam), "longer than this lockspace's blocks");
    let refused = refused.lock.release_with([0; 2_000]).await.unwrap_err();
    assert_eq!(refused.why, NotGranted::Refused(Status::BadParam), "longer than any block");
    refused.lock.release_with(b"second").await.unwrap();
    let keeper = keeper.convert(NL).read_value().await.unwrap();
    let value = keeper.value().unwrap();
    assert_eq!((value.bytes.as_ref(), value.seq), (&b"second"[..], 2));

    one.lock("r").mode(EX).await.unwrap().release_invalidating().await.unwrap();
    let keeper = keeper.convert(NL).read_value().await.unwrap();
    assert_eq!(
        (keeper.value().unwrap().bytes.as_ref(), keeper.value().unwrap().valid),
        (&b"second"[..], false)
    );
}

#[tokio::test]
async fn a_request_that_is_dropped_while_it_waits_leaves_nothing() {
    let stage = Stage::set().await;
    let (one, two) = (stage.session("one").await, stage.session("two").await);
    let held = one.lock("r").await.unwrap();
    let mut waiting = two.lock("r").into_future();
    assert!(send(&mut waiting).is_pending());
    wait_for_waiting(&one, "r", 1).await;
    drop(waiting);
    wait_for_waiting(&one, "r", 0).await;
    drop(two.lock("never sent").into_future());
    until(|| async { two.lock_count() == 0 }).await;
    held.release().await.unwrap();
    assert_eq!(show(&one, &["r"]).await, None);
}

#[tokio::test]
async fn a_grant_that_crosses_the_dropping_is_released() {
    let stage = Stage::set().await;
    let (one, two) = (stage.session("one").await, stage.session("two").await);
    for round in 0..60 {
        let held = one.lock("r").await.unwrap();
        let mut waiting = two.lock("r").into_future();
        assert!(send(&mut waiting).is_pending());
        wait_for_waiting(&one, "r", 1).await;
        if round % 3 == 0 {
            // The grant lies in the mailbox when the request is dropped.
            held.release().await.unwrap();
            until(|| async { show(&one, &["r"]).await.is_some_and(|seen| seen.locks[0].granted.is_some()) })
                .await;
            two.ping().await.unwrap();
        } else {
            // Both are on their way at the same time.
            drop(held);
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
        }
        drop(waiting);
        wait_for_nothing(&one, "r").await;
    }
    until(|| async { two.lock_count() == 0 && one.lock_count() == 0 }).await;
}

#[tokio::test]
async fn a_sublock_keeps_its_parent() {
    let stage = Stage::set().await;
    let session = stage.session("one").await;
    let parent = session.lock("db").mode(CW).await.unwrap();
    let child = parent.sublock("orders").mode(EX).await.unwrap();
    let grandchild = child.sublock("4711").mode(PR).await.unwrap();
    assert_eq!(session.show_lock(grandchild.id()).await.unwrap().path, path(&["db", "orders", "4711"]));
    let refused = child.release().await.unwrap_err();
    assert_eq!(refused.why, NotGranted::Refused(Status::HasSublocks));
    let child = refused.lock;
    assert!(child.held());

    // Dropped in the wrong order, they are released in the right one.
    drop(parent);
    drop(child);
    session.ping().await.unwrap();
    assert!(show(&session, &["db", "orders", "4711"]).await.is_some());
    grandchild.release().await.unwrap();
    wait_for_nothing(&session, "db").await;
    assert_eq!(session.lock_count(), 0);
}

#[tokio::test]
async fn paths_share_their_levels_and_leave_nothing() {
    let stage = Stage::set().await;
    let (one, two) = (stage.session("one").await, stage.session("two").await);
    let first = one.lock_path(["db", "orders", "1"]).mode(EX).await.unwrap();
    assert_eq!(first.levels().iter().map(|level| level.mode).collect::<Vec<_>>(), [CW, CW, EX]);
    assert!(first.levels().iter().all(|level| level.made));
    let second = one.lock_path(["db", "orders", "2"]).mode(PW).await.unwrap();
    assert_eq!(second.levels().iter().map(|level| level.made).collect::<Vec<_>>(), [false, false, true]);
    let other = two.lock_path(["db", "orders", "3"]).mode(EX).await.unwrap();
    assert_eq!(one.lock_count(), 4);

    // The first goes; the second still needs what the first made.
    first.release().await.unwrap();
    wait_for_nothing_at(&one, &["db", "orders", "1"]).await;
    assert!(two.lock("db").mode(PR).wait(Wait::No).await.is_err());
    let refused = two.lock_path(["db", "orders", "2"]).mode(PR).wait(Wait::No).await.unwrap_err();
    assert!(matches!(refused, NotGranted::NotQueued { blocker: Some(lock), .. } if lock == second.id()));

    // A path that waits half-way down, dropped; another one, granted in the end.
    let whole = two.lock("all").mode(EX).await.unwrap();
    let mut waiting = one.lock_path(["all", "of", "it"]).into_future();
    assert!(send(&mut waiting).is_pending());
    wait_for_waiting(&one, "all", 1).await;
    drop(waiting);
    wait_for_waiting(&one, "all", 0).await;
    let waiting = tokio::spawn(one.lock_path(["all", "of", "it"]).into_future());
    wait_for_waiting(&one, "all", 1).await;
    whole.release().await.unwrap();
    let granted = soon(waiting).await.unwrap().unwrap();
    assert!(granted.has_waited() && granted.levels().len() == 3);

    drop((granted, second, other));
    wait_for_nothing(&one, "db").await;
    wait_for_nothing(&one, "all").await;
    until(|| async { one.lock_count() == 0 && two.lock_count() == 0 }).await;
}

async fn wait_for_nothing_at(session: &Session, names: &[&str]) {
    until(|| async { show(session, names).await.is_none() }).await;
}

#[tokio::test]
async fn a_holder_is_told_what_it_blocks() {
    let stage = Stage::set().await;
    let (one, two) = (stage.session("one").await, stage.session("two").await);
    let held = one.lock("r").mode(EX).notices(true).await.unwrap();
    let reader = tokio::spawn(two.lock("r").mode(PR).into_future());
    assert_eq!(soon(held.blocking()).await.unwrap(), PR);
    // It steps back as far as the other needs, and is told again when that is not far enough.
    let held = held.convert(PR).notices(true).await.unwrap();
    let reader = soon(reader).await.unwrap().unwrap();
    let writer = tokio::spawn(two.lock("r").mode(EX).into_future());
    assert_eq!(soon(held.blocking()).await.unwrap(), EX);
    drop((held, reader));
    soon(writer).await.unwrap().unwrap().release().await.unwrap();

    // Whoever did not ask for notices is told nothing; a path is told what its intents block.
    let held = one.lock_path(["r", "leaf"]).mode(EX).notices(true).await.unwrap();
    let reader = tokio::spawn(two.lock("r").mode(PR).into_future());
    assert_eq!(soon(held.blocking()).await.unwrap(), PR);
    drop(held);
    let quiet = soon(reader).await.unwrap().unwrap();
    let writer = tokio::spawn(one.lock("r").mode(EX).into_future());
    wait_for_waiting(&two, "r", 1).await;
    two.ping().await.unwrap();
    let told = tokio::time::timeout(Duration::from_millis(20), quiet.blocking()).await;
    assert!(told.is_err(), "it did not ask");
    drop(quiet);
    drop(soon(writer).await.unwrap().unwrap());
}

#[tokio::test]
async fn requests_made_together_travel_together() {
    let stage = Stage::set().await;
    let session = stage.session("one").await;
    let before = session.traffic();
    let locks: Vec<_> =
        (0..200).map(|n| session.lock(format!("r{n}"))).map(IntoFuture::into_future).collect();
    let mut tasks = tokio::task::JoinSet::new();
    locks.into_iter().for_each(|lock| drop(tasks.spawn(lock)));
    let mut held = Vec::new();
    while let Some(granted) = soon(tasks.join_next()).await {
        held.push(granted.unwrap().unwrap());
    }
    let after = session.traffic();
    assert_eq!((held.len(), after.calls - before.calls), (200, 200));
    assert!(after.writes - before.writes <= 20, "{} writes for 200 requests", after.writes - before.writes);
    let before = after;
    drop(held);
    until(|| async { session.lock_count() == 0 }).await;
    assert!(
        session.traffic().writes - before.writes <= 20,
        "releases, too, and no bare acknowledgement with them"
    );
}

#[tokio::test]
async fn more_requests_than_the_window_admits_are_all_served() {
    let stage = Stage::set().await;
    let session = stage.session("one").await;
    let window = session.server().window_requests;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..window * 3 {
        tasks.spawn(session.lock(number.to_le_bytes()).mode(PR).reason([b'x'; 256]).into_future());
    }
    let mut held = Vec::new();
    while let Some(granted) = soon(tasks.join_next()).await {
        held.push(granted.unwrap().unwrap());
    }
    assert_eq!(session.lock_count(), held.len());
    session.close().await.unwrap();
    assert!(held.iter().all(|lock| !lock.held()));
}

#[tokio::test]
async fn flags_are_passed_on() {
    let stage = Stage::set().await;
    let (one, two) = (stage.session("one").await, stage.session("two").await);
    let _held = one.lock("r").mode(CW).await.unwrap();
    let other = two.lock("r").mode(EX).flags(Flags::ALTCW | Flags::SYNCSTS).await.unwrap();
    assert!(other.mode() == CW && other.grant().alternate && other.grant().synchronous);
    let refused = two.lock("r").mode(EX).flags(Flags::EXPEDITE).await.unwrap_err();
    assert_eq!(refused, NotGranted::Refused(Status::BadParam));
}
