//! A stop in order leaves a snapshot, and the next start reads nothing else; whoever was there goes on.

use crate::{
    kills::OFTEN,
    stage::{Place, until},
};
use enq::client::{
    Lock,
    LockMode::{Ex, Nl, Pr, Pw},
    LockState, Session, Wait,
};
use std::{future::IntoFuture as _, time::Duration};
use tokio::task::JoinSet;

async fn session(place: &Place, name: &str) -> Session {
    let builder = Session::builder(name).backoff(Duration::from_millis(1), Duration::from_millis(20));
    builder.connect(&[&place.address]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_stop_in_order_the_snapshot_is_all_there_is_to_read() {
    let place = Place::new();
    let server = place.start().await;
    assert!(server.said().contains("a new journal in"), "{}", server.said());
    let (holder, waiting) = (session(&place, "holder").await, session(&place, "waiting").await);
    let read = holder.lock("shared").mode(Pr).await.unwrap();
    let stored = holder.lock("stored").mode(Pw).await.unwrap();
    let stored = stored.convert(Nl).store("kept").await.unwrap();
    let held = holder.lock("held").await.unwrap();
    let seq = held.seq();
    let waits = tokio::spawn(waiting.lock("held").into_future());
    until("it waits", async || waiting.statistics().await.is_ok_and(|seen| seen.locks == 4)).await;

    let said = server.stop().await;
    assert!(!said.contains("ERROR") && !said.contains("no snapshot was taken"), "{said}");
    for again in 1..=2 {
        let server = place.start().await;
        // A clean stop has written the last word; what follows are the words of this start.
        let said = server.said();
        assert!(said.contains(" and 0 records after it; 2 sessions with 4 locks go on"), "{said}");
        assert!(!said.contains("a snapshot up to position 0 "), "{said}");
        holder.ping().await.unwrap();
        waiting.ping().await.unwrap();
        assert_eq!((holder.state(), holder.traffic().resumes), (LockState::Safe, again));
        server.stop().await;
    }
    // And once more, of a crash right after a start: one record, of the start before.
    place.start().await.kill().await;
    let server = place.start().await;
    assert!(server.said().contains(" and 1 records after it"), "{}", server.said());

    assert!(read.held() && held.held() && !waits.is_finished());
    let refused = waiting.lock("shared").wait(Wait::No).await;
    assert!(refused.is_err(), "a lock of before is in the way");
    held.release().await.unwrap();
    let granted = waits.await.unwrap().unwrap();
    assert!(granted.seq() > seq && granted.has_waited());
    let stored = stored.convert(Ex).read_value().await.unwrap();
    let value = stored.value().unwrap();
    assert!(value.valid && *value.bytes == *b"kept", "{value:?}");
    server.stop().await;
}

/// Asks for these one after the other, and holds them.
async fn hold(session: Session, names: impl Iterator<Item = String>) -> Vec<Lock> {
    let mut held = Vec::new();
    for name in names {
        held.push(session.lock(name).await.unwrap());
    }
    held
}

/// Many of them at a time, for a sync serves as many as wait for it.
async fn hold_all(session: &Session, what: &str, each: u32) -> Vec<Lock> {
    let mut tasks = JoinSet::new();
    for task in 0..60 {
        let what = what.to_owned();
        tasks.spawn(hold(session.clone(), (0..each).map(move |number| format!("{what} {task} {number}"))));
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_great_table_is_not_written_again_for_a_few_records() {
    let place = Place::told(&OFTEN);
    let server = place.start().await;
    let session = session(&place, "holder").await;
    let held = hold_all(&session, "held", 50).await;
    server.stop().await;
    let server = place.start().await;
    let count = async |name: &str| {
        let (_, counters) = session.counters().await.unwrap();
        counters.iter().find(|counter| counter.name == name).unwrap().value
    };
    while count("enq_journal_snapshots_total").await == 0 {
        drop(hold_all(&session, "for a while", 2).await);
    }
    let (bytes, written) =
        (count("enq_journal_snapshot_bytes").await, count("enq_journal_record_bytes_total").await);
    assert!(bytes > 3 * 64 * 1024, "{bytes}");
    assert!(written > bytes / 10 * 9, "a snapshot of {bytes} after {written}");
    assert!(held.iter().all(Lock::held));
    server.stop().await;
}
