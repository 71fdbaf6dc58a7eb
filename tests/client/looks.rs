//! Looking and administering, with and without a session.

use super::*;
use enq::client::{Client, LockFilter, LockId, LockLost, LookError, NotGranted, Policy, Queue, Status, Wait};
use std::future::IntoFuture;

#[tokio::test]
async fn a_client_without_a_session_looks() {
    let stage = Stage::set().await;
    let client = Client::connect(&stage.servers).await.unwrap();
    client.ping().await.unwrap();
    assert!(client.server().ttl_min_ms >= 1_000);
    let session =
        Session::builder("billing").purpose("nightly").node("n1", 4).connect(&stage.servers).await.unwrap();
    let held = session.lock("r").mode(PW).await.unwrap();
    let waiting = tokio::spawn(session.lock("r").mode(EX).into_future());
    wait_for_waiting(&session, "r", 1).await;

    let found = client.show_resource(LockspaceId::default(), &path(&["r"])).await.unwrap();
    let (resource, sessions) = found.unwrap();
    assert_eq!(
        (resource.locks.len(), resource.locks[0].queue, resource.locks[1].queue),
        (2, Queue::Granted, Queue::Waiting)
    );
    let who = &sessions[0];
    assert_eq!((who.session, who.name.as_str(), who.purpose.as_str()), (session.id(), "billing", "nightly"));
    assert_eq!((who.pid, who.locks, who.waiting), (std::process::id(), 2, 1));
    let waits = resource.locks[1].lock;
    assert_eq!(client.blockers(waits).await.unwrap().edges[0].lock.lock, held.id());
    assert_eq!(client.blocked(held.id()).await.unwrap().edges[0].lock.lock, waits);
    assert_eq!(client.show_lock(LockId(12_345)).await.unwrap_err(), LookError::Refused(Status::NoSuchLock));
    assert_eq!(client.show_resource(LockspaceId::default(), &path(&["nobody"])).await.unwrap(), None);

    assert!(client.check_token(LockspaceId::default(), &path(&["r"]), held.seq()).await.unwrap());
    let statistics = client.statistics().await.unwrap();
    assert_eq!((statistics.enq_new, statistics.locks, statistics.waiting), (2, 2, 1));
    client.set_priority(waits, 9).await.unwrap();
    assert_eq!(client.show_lock(waits).await.unwrap().priority, 9);
    assert_eq!(client.sessions().await.unwrap().len(), 1);
    assert_eq!(client.show_session(session.id()).await.unwrap().name, "billing");
    waiting.abort();
}

#[tokio::test]
async fn a_deadlock_is_searched_for_and_looked_at() {
    let stage = Stage::set().await;
    let client = Client::connect(&stage.servers).await.unwrap();
    // The tasks below wait in the place of this one.
    let (one, other) = (stage.session("one").await.owner(1), stage.session("other").await.owner(1));
    let space = client.show_space("default").await.unwrap();
    let policy = Policy { deadlock_wait_ms: 0, ..space.policy };
    one.set_space(space.lockspace, space.version, policy).await.unwrap();
    let (_left, _right) = (one.lock("left").await.unwrap(), other.lock("right").await.unwrap());
    let elder = tokio::spawn(one.lock("right").mode(EX).into_future());
    wait_for_waiting(&one, "right", 1).await;
    let younger = tokio::spawn(other.lock("left").mode(EX).into_future());
    wait_for_waiting(&one, "left", 1).await;
    let scanned = client.scan().await.unwrap();
    assert_eq!((scanned.found, scanned.records, scanned.locks), (1, vec![1], 4));
    assert_eq!(younger.await.unwrap().unwrap_err(), NotGranted::Deadlock { record: 1 });
    let all = client.deadlocks().await.unwrap();
    let found = client.deadlock(1).await.unwrap().unwrap();
    assert_eq!((all.len(), all[0].number, found.wait_count, found.sessions.len()), (1, 1, 2, 2));
    assert!(found.waits.iter().any(|wait| Some(wait.waiting.lock) == found.refused));
    for number in [0, 2, u64::MAX] {
        assert_eq!(client.deadlock(number).await.unwrap(), None, "there is no such record");
    }
    elder.abort();
}

#[tokio::test]
async fn a_listing_shows_every_lock_once_and_obeys_its_filter() {
    let stage = Stage::set().await;
    let session = stage.session("one").await;
    let mut held = Vec::new();
    for number in 0..300 {
        held.push(session.lock(format!("many/{number}")).mode(PR).await.unwrap());
    }
    held.push(session.lock("other").await.unwrap());
    let mut seen = Vec::new();
    let filter = LockFilter { prefix: b"many/"[..].into(), ..LockFilter::default() };
    let mut listing = session.locks(filter.clone());
    while let Some(lock) = listing.next().await.unwrap() {
        seen.push(lock.lock);
    }
    let mut expected: Vec<LockId> = held.iter().take(300).map(|lock| lock.id()).collect();
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);
    let (some, more) = session.locks(filter).collect(7).await.unwrap();
    assert!(some.len() == 7 && more);
    let (all, more) = session.locks(LockFilter::default()).collect(1_000).await.unwrap();
    assert!(all.len() == 301 && !more);
}

#[tokio::test]
async fn lockspaces_are_made_used_changed_and_removed() {
    let stage = Stage::set().await;
    let session = stage.session("one").await;
    let refused = session.space("billing").await.err().map(|error| error.status());
    assert_eq!(refused, Some(Status::NoSuchSpace));
    let policy = Policy { value_len_max: 16, ..Policy::default() };
    let (made, changed) = session.create_space("billing", policy.clone(), false).await.unwrap();
    assert!(changed && made.policy == policy);
    let (again, changed) = session.create_space("billing", policy.clone(), false).await.unwrap();
    assert!(!changed && again.lockspace == made.lockspace);
    let refused = session.create_space("billing", policy.clone(), true).await.unwrap_err();
    assert_eq!(refused, LookError::Refused(Status::SpaceExists));

    let space = session.space("billing").await.unwrap();
    let there = space.lock("r").await.unwrap();
    let here = session.lock("r").wait(Wait::No).await.unwrap();
    let refused = there.release_with([0; 17]).await.unwrap_err();
    assert_eq!(refused.why, NotGranted::Refused(Status::BadParam));
    let refused_removal = session.remove_space(made.lockspace, false).await.unwrap_err();
    assert_eq!(refused_removal, LookError::Refused(Status::SpaceInUse));
    refused.lock.release_with([0; 16]).await.unwrap();
    space.lock_path(["a", "b"]).await.unwrap().release().await.unwrap();
    drop(here);

    let wider = Policy { value_len_max: 32, ..policy };
    let (set, _) = session.set_space(made.lockspace, made.version, wider.clone()).await.unwrap();
    assert!(set.version > made.version);
    let stale = session.set_space(made.lockspace, made.version, wider).await.unwrap_err();
    assert_eq!(stale, LookError::Refused(Status::Changed));
    assert_eq!(session.spaces().await.unwrap().len(), 2);
    until(|| async { session.remove_space(made.lockspace, false).await.is_ok() }).await;
    assert_eq!(session.spaces().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_lock_that_is_taken_away_is_lost_and_says_by_whom() {
    let stage = Stage::set().await;
    let (holder, admin) = (stage.session("holder").await, stage.session("admin").await);
    let kept = holder.lock("kept").await.unwrap();
    let lock = holder.lock("r").mode(EX).await.unwrap();
    let stop = lock.cancellation();
    let waiting = tokio::spawn(admin.lock("r").mode(EX).into_future());
    wait_for_waiting(&admin, "r", 1).await;
    let stale =
        admin.force_release(lock.id(), enq::client::Seq(lock.seq().0 - 1), "stale").await.unwrap_err();
    assert_eq!(stale, LookError::Refused(Status::Changed));
    admin.force_release(lock.id(), lock.seq(), "stuck since noon").await.unwrap();
    soon(stop.cancelled()).await;
    assert!(!lock.held() && kept.held(), "the lock is lost, its session is not");
    let expected = LockLost::Revoked { by: admin.id(), reason: "stuck since noon".into() };
    assert_eq!(lock.loss(), Some(expected.clone()));
    assert_eq!(soon(lock.blocking()).await.unwrap_err(), expected);
    let next = soon(waiting).await.unwrap().unwrap();
    // The guard of the lost lock has nothing to release any more, and its handle is another lock's by now.
    let another = holder.lock("another").await.unwrap();
    assert_eq!(another.handle(), lock.handle());
    assert!(lock.convert(PR).await.is_err());
    holder.ping().await.unwrap();
    assert!(holder.show_lock(another.id()).await.is_ok());
    drop((next, kept));
}
