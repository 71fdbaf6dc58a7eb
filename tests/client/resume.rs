//! Sessions that go on after their connection was cut, and what is noticed of it: time.

use super::*;
use enq::client::{
    Client, ConnectError, Credentials, Lock, LockLost, LockState, LossCause, NotGranted, Queue, Status, Wait,
    now,
};
use std::future::IntoFuture;

mod cuts;

/// A session that loses no time between attempts.
async fn session(proxy: &Proxy, ttl: Duration) -> Session {
    let builder =
        Session::builder("far").ttl(ttl).backoff(Duration::from_millis(1), Duration::from_millis(20));
    builder.connect(&[proxy.address()]).await.unwrap()
}

const TTL: Duration = Duration::from_secs(2);

#[tokio::test]
async fn whatever_cuts_a_connection_nothing_is_noticed_but_time() {
    let stage = Stage::set().await;
    let other = stage.session("other").await;
    let proxy = Proxy::to(&stage.servers[0]).await;
    let session = session(&proxy, TTL).await;
    for (round, how) in (1..).zip([Cut::Fin, Cut::Reset, Cut::Killed]) {
        let held = session.lock("held").mode(PW).await.unwrap();
        let in_the_way = other.lock("waited for").await.unwrap();
        let waiting = tokio::spawn(session.lock("waited for").into_future());
        wait_for_waiting(&other, "waited for", 1).await;
        let (seq, stop) = (held.seq(), held.cancellation());

        proxy.set(Way::Refusing);
        proxy.cut(how);
        let asked = tokio::spawn(session.lock("asked meanwhile").into_future());
        let converted = tokio::spawn(held.convert(EX).into_future());
        // The waiting request is granted while nobody is there to hear it.
        in_the_way.release().await.unwrap();
        proxy.set(Way::Open);

        let converted = soon(converted).await.unwrap().unwrap();
        assert!(converted.seq() > seq && converted.held() && converted.mode() == EX, "{how:?}");
        assert!(soon(waiting).await.unwrap().unwrap().has_waited());
        assert!(!soon(asked).await.unwrap().unwrap().has_waited());
        assert!(!stop.is_cancelled() && session.state() == LockState::Safe);
        assert_eq!((session.traffic().resumes, proxy.cuts()), (round, round));
        converted.release().await.unwrap();
    }
    until(|| async { session.lock_count() == 0 }).await;
    let statistics = other.statistics().await.unwrap();
    assert_eq!((statistics.enq_new, statistics.enq_converted, statistics.locks), (12, 3, 0), "each once");
}

#[tokio::test]
async fn a_direction_that_swallows_everything_is_noticed_long_before_the_lease_ends() {
    let stage = Stage::set().await;
    let proxy = Proxy::to(&stage.servers[0]).await;
    let session = session(&proxy, TTL).await;
    let lock = session.lock("r").await.unwrap();
    for way in [Way::DeafServer, Way::DeafClient, Way::Silent] {
        let (began, made) = (now(), proxy.made());
        proxy.set(way);
        let asked = tokio::spawn(session.lock("s").into_future());
        until(|| async { proxy.made() > made }).await;
        assert!(now().since(began) < TTL * 2 / 3, "{way:?}");
        proxy.set(Way::Open);
        assert!(soon(asked).await.unwrap().is_ok() && lock.held(), "{way:?}");
        until(|| async { session.lock_count() == 1 }).await;
    }
    let statistics = session.statistics().await.unwrap();
    assert_eq!((statistics.enq_new, statistics.locks), (4, 1));
}

#[tokio::test]
async fn a_slow_network_is_not_a_lost_one() {
    let stage = Stage::set().await;
    let proxy = Proxy::to(&stage.servers[0]).await;
    proxy.delay(Duration::from_millis(60));
    let session = session(&proxy, TTL).await;
    let lock = session.lock("r").await.unwrap();
    tokio::time::sleep(TTL * 3 / 4).await;
    assert_eq!((lock.state(), session.traffic().resumes), (LockState::Safe, 0));
    proxy.cut(Cut::Reset);
    session.ping().await.unwrap();
    assert_eq!((lock.state(), session.traffic().resumes), (LockState::Safe, 1));
}

#[tokio::test]
async fn what_is_dropped_while_there_is_no_connection_leaves_nothing() {
    let stage = Stage::set().await;
    let other = stage.session("other").await;
    let proxy = Proxy::to(&stage.servers[0]).await;
    let session = session(&proxy, TTL).await;
    let in_the_way = other.lock("waited for").await.unwrap();
    let held = session.lock("held").await.unwrap();
    let waiting = tokio::spawn(session.lock("waited for").into_future());
    wait_for_waiting(&other, "waited for", 1).await;
    proxy.set(Way::Refusing);
    proxy.cut(Cut::Fin);
    waiting.abort();
    assert!(waiting.await.is_err());
    drop(held);
    in_the_way.release().await.unwrap();
    proxy.set(Way::Open);
    soon(session.ping()).await.unwrap();
    until(|| async { other.statistics().await.unwrap().locks == 0 && session.lock_count() == 0 }).await;

    // The session itself, too: it is closed, and not left to its lease.
    for close in [true, false] {
        let session = super::resume::session(&proxy, Duration::from_secs(15)).await;
        let (id, held) = (session.id(), session.lock("held").await.unwrap());
        proxy.set(Way::Refusing);
        proxy.cut(Cut::Reset);
        let closing = tokio::spawn(async move {
            if close {
                session.close().await.unwrap();
            } else {
                drop((session, held));
            }
        });
        proxy.set(Way::Open);
        soon(closing).await.unwrap();
        until(|| async { other.show_session(id).await.is_err() }).await;
    }
}

#[tokio::test]
async fn guards_that_were_lost_stay_lost_when_the_session_goes_on() {
    let stage = Stage::set().await;
    let other = stage.session("other").await;
    let proxy = Proxy::to(&stage.servers[0]).await;
    let ttl = Duration::from_secs(1);
    let session = session(&proxy, ttl).await;
    let (asked_now_and_then, unasked) = (session.lock("a").await.unwrap(), session.lock("b").await.unwrap());
    let blocked = other.lock("c").await.unwrap();
    let waiting = tokio::spawn(session.lock("c").into_future());
    wait_for_waiting(&other, "c", 1).await;

    // The server hears the client, and keeps the session; the client does not hear that.
    proxy.set(Way::DeafClient);
    let stop = unasked.cancellation();
    soon(asked_now_and_then.state_after(LockState::Safe)).await;
    assert_eq!(soon(asked_now_and_then.state_after(LockState::Jeopardy)).await, LockState::Lost);
    let lost = tokio::time::timeout(Duration::from_millis(1), session.lost()).await;
    assert!(stop.is_cancelled() && lost.is_err(), "the session may go on");
    assert!(other.show_session(session.id()).await.is_ok());
    proxy.set(Way::Open);
    soon(session.ping()).await.unwrap();
    assert_eq!(session.state(), LockState::Safe);
    for lock in [&asked_now_and_then, &unasked] {
        assert!(!lock.held() && lock.cancellation().is_cancelled() && lock.time_left() == Duration::ZERO);
        assert_eq!(lock.loss(), Some(LockLost::Session(LossCause::Expired)));
    }
    let refused = soon(unasked.convert(PR).into_future()).await.unwrap_err();
    assert_eq!(refused.why, NotGranted::SessionLost(LossCause::Expired));
    let refused = soon(asked_now_and_then.release()).await.unwrap_err();
    assert_eq!(refused.why, NotGranted::SessionLost(LossCause::Expired));

    // The locks are released, guards or no guards; the request that waited is granted; new locks are as good as any.
    for name in ["a", "b"] {
        soon(other.lock(name).into_future()).await.unwrap().release().await.unwrap();
    }
    blocked.release().await.unwrap();
    let granted = soon(waiting).await.unwrap().unwrap();
    let fresh = session.lock("a").await.unwrap();
    assert!(granted.held() && fresh.held() && !fresh.cancellation().is_cancelled());
}

#[tokio::test]
async fn several_servers_are_tried_in_turn() {
    let stage = Stage::set().await;
    let stranger = Stage::set().await;
    let (first, second) = (Proxy::to(&stage.servers[0]).await, Proxy::to(&stage.servers[0]).await);
    let servers = [first.address(), &stranger.servers[0], second.address()];
    let session = Session::builder("one").connect(&servers).await.unwrap();
    let lock = session.lock("r").await.unwrap();
    assert_eq!(session.address(), first.address());
    first.set(Way::Refusing);
    first.cut(Cut::Killed);
    // A server that never had the session does not know it, and that means nothing.
    soon(session.ping()).await.unwrap();
    assert_eq!(session.address(), second.address());
    first.set(Way::Open);
    second.set(Way::Refusing);
    second.cut(Cut::Killed);
    soon(session.ping()).await.unwrap();
    assert_eq!(session.address(), first.address());
    assert!(lock.held());
}

#[tokio::test]
async fn a_session_that_another_process_takes_is_lost_to_this_one() {
    let stage = Stage::set().await;
    let first = stage.session("one").await;
    let (granted, other) = (first.lock("granted").mode(EX).await.unwrap(), stage.session("other").await);
    let left = first.lock("left").await.unwrap();
    let blocks = other.lock("waits").await.unwrap();
    let waiting = tokio::spawn(first.lock("waits").into_future());
    wait_for_waiting(&other, "waits", 1).await;

    let kept = Credentials::from_bytes(&first.credentials().to_bytes()).unwrap();
    let second = Session::builder("").resume(kept.clone()).connect(&stage.servers).await.unwrap();
    assert_eq!((second.id(), second.ttl()), (first.id(), first.ttl()));
    assert_eq!(soon(first.lost()).await, LossCause::Ended(Status::Superseded));
    assert!(!granted.held() && soon(waiting).await.unwrap().is_err());

    let locks = second.own_locks().await.unwrap();
    let find = |id| locks.iter().find(|lock| lock.lock == id).unwrap();
    let taken = second.take_over(find(granted.id())).unwrap();
    assert_eq!((taken.seq(), taken.fence(), taken.mode()), (granted.seq(), granted.fence(), EX));
    assert!(taken.held() && second.take_over(find(granted.id())).is_err(), "once");
    let waits = locks.iter().find(|lock| lock.queue == Queue::Waiting).unwrap();
    assert_eq!(second.take_over(waits).unwrap_err(), NotGranted::Refused(Status::NotGranted));

    // New locks get handles that are free, whatever the first process had; what nobody wants is released.
    let fresh = second.lock("fresh").await.unwrap();
    assert!(locks.iter().all(|lock| lock.handle != fresh.handle()));
    second.release_rest();
    blocks.release().await.unwrap();
    for name in ["left", "waits"] {
        soon(other.lock(name).into_future()).await.unwrap().release().await.unwrap();
    }
    let taken = taken.convert(PR).await.unwrap();
    taken.release().await.unwrap();
    drop((left, fresh, granted));
    until(|| async { other.statistics().await.unwrap().locks == 0 }).await;
}

#[tokio::test]
async fn a_session_survives_its_process() {
    let stage = Stage::set().await;
    let other = stage.session("other").await;
    let session = stage.session("one").await;
    let path = session.lock_path(["db", "orders", "1"]).await.unwrap();
    let id = path.id();
    let kept = session.detach();
    assert!(!path.held());
    drop(path);
    assert_eq!(other.show_lock(id).await.unwrap().granted, Some(EX), "nothing is released");

    let again = Session::builder("").resume(kept.clone()).connect(&stage.servers).await.unwrap();
    let locks = again.own_locks().await.unwrap();
    let leaf = again.take_over(locks.iter().find(|lock| lock.lock == id).unwrap()).unwrap();
    // The levels are needed as long as the leaf is there.
    again.release_rest();
    again.ping().await.unwrap();
    assert_eq!(other.statistics().await.unwrap().locks, 3);
    leaf.release().await.unwrap();
    until(|| async { other.statistics().await.unwrap().locks == 0 }).await;

    // It has been through more than one life: what the first one asked is answered to nobody.
    let lock = again.lock("r").await.unwrap();
    let seen = again.detach();
    let third = Session::builder("").resume(seen).connect(&stage.servers).await.unwrap();
    assert_eq!(third.own_locks().await.unwrap().len(), 1);
    drop(lock);
    soon(third.close()).await.unwrap();
    until(|| async { other.statistics().await.unwrap().locks == 0 }).await;

    let mut wrong = kept.to_bytes();
    wrong[23] ^= 1;
    for credentials in [kept, Credentials::from_bytes(&wrong).unwrap()] {
        let refused = Session::builder("").resume(credentials).connect(&stage.servers).await.err().unwrap();
        assert!(matches!(refused, ConnectError::Refused { status: Status::Session, .. }), "{refused}");
    }
}

#[tokio::test]
async fn notices_come_anew() {
    let stage = Stage::set().await;
    let other = stage.session("other").await;
    let proxy = Proxy::to(&stage.servers[0]).await;
    let session = session(&proxy, TTL).await;
    let lock: Lock = session.lock("r").mode(EX).notices(true).await.unwrap();
    proxy.set(Way::Refusing);
    proxy.cut(Cut::Fin);
    let wants = tokio::spawn(other.lock("r").mode(PR).wait(Wait::UpTo(TTL)).into_future());
    wait_for_waiting(&other, "r", 1).await;
    proxy.set(Way::Open);
    assert_eq!(soon(lock.blocking()).await.unwrap(), PR, "it was wanted while nobody was there to be told");
    drop(lock);
    assert!(soon(wants).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_client_that_only_looks_ends_with_its_connection() {
    let stage = Stage::set().await;
    let proxy = Proxy::to(&stage.servers[0]).await;
    let looking = Client::connect(&[proxy.address()]).await.unwrap();
    looking.ping().await.unwrap();
    proxy.cut(Cut::Fin);
    soon(async { while looking.ping().await.is_ok() {} }).await;
}
