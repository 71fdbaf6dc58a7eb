//! Persistent locks: what is left of a session, who finds it again, and what a purge leaves.

use super::*;
use enq::client::{NotGranted, Status, Wait};
use std::future::IntoFuture;

/// A session that ends, and what it leaves.
async fn leave(stage: &Stage, orphan_key: &str) -> enq::client::LockId {
    let opening = Session::builder("lost").orphan_key(orphan_key).bind_connection(true);
    let session = opening.connect(&stage.servers).await.unwrap();
    let root = session.lock("db").mode(CW).persistent().await.unwrap();
    let leaf = root.sublock("orders").mode(EX).persistent().await.unwrap();
    let id = leaf.id();
    let leaf = leaf.convert(EX).store("half").await.unwrap();
    session.close().await.unwrap();
    assert!(!leaf.held() && !root.held());
    id
}

#[tokio::test]
async fn a_tree_is_adopted_and_its_locks_are_locks_like_any_other() {
    let stage = Stage::set().await;
    let id = leave(&stage, "billing").await;
    let session = stage.session("found").await;
    let refused = session.adopt("db", "sales").mode(CW).await.unwrap_err();
    assert_eq!(refused, NotGranted::Refused(Status::NoSuchOrphan));
    assert_eq!(session.adopt("db", "billing").await.unwrap_err(), NotGranted::Refused(Status::WrongMode));
    assert_eq!(session.adopt("", "billing").await.unwrap_err().status(), Status::BadName);
    let root = session.adopt("db", "billing").mode(CW).reason("recovery").await.unwrap();
    let leaf = root.adopt("orders", "billing").read_value().notices(true).await.unwrap();
    assert_eq!((leaf.id(), leaf.mode(), leaf.held(), leaf.has_waited()), (id, EX, true, false));
    assert_eq!(leaf.value().map(|value| (&*value.bytes, value.valid)), Some((&b"half"[..], true)));
    assert_eq!((leaf.fence().0, session.lock_count()), (leaf.seq().0, 2));

    let other = stage.session("other").await;
    let waiting = tokio::spawn(other.lock_path(["db", "orders"]).mode(PR).into_future());
    assert_eq!(soon(leaf.blocking()).await.unwrap(), PR);
    leaf.convert(EX).store("whole").await.unwrap().release().await.unwrap();
    let granted = soon(waiting).await.unwrap().unwrap();
    drop((granted, root));
    wait_for_nothing(&other, "db").await;
    assert_eq!(session.lock_count(), 0);
}

#[tokio::test]
async fn a_purge_counts_what_it_releases() {
    let stage = Stage::set().await;
    let id = leave(&stage, "billing").await;
    let session = stage.session("purger").await;
    let watcher = session.lock("db").mode(NL).await.unwrap();
    let below = watcher.sublock("orders").mode(NL).await.unwrap();
    assert_eq!(session.purge("sales", None).await, Ok(0));
    assert_eq!(session.purge("billing", Some(b"elsewhere")).await, Ok(0));
    assert!(session.show_lock(id).await.is_ok());
    assert_eq!(session.purge("billing", Some(b"db")).await, Ok(2));
    assert_eq!(session.purge("billing", None).await, Ok(0));
    let below = below.convert(PR).read_value().wait(Wait::No).await.unwrap();
    assert_eq!(below.value().map(|value| value.valid), Some(false), "a writer has left it as it was");
}
