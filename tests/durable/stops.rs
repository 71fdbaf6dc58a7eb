//! A stop in order leaves a snapshot, and the next start reads nothing else; whoever was there goes on.

use crate::stage::{Place, until};
use enq::client::{
    LockMode::{Ex, Nl, Pr, Pw},
    LockState, Session, Wait,
};
use std::{future::IntoFuture as _, time::Duration};

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
