//! Whose locks are within a session: tasks are parties of their own in the search for deadlocks, unless they say that they
//! are one.

use super::*;
use enq::client::{Client, Lock, NotGranted, Owner, Policy};
use std::future::IntoFuture;
use tokio::{sync::oneshot, task::JoinHandle};

/// Nobody looks for deadlocks but who asks for it.
async fn set_quiet(session: &Session) {
    let space = session.show_space("default").await.unwrap();
    let policy = Policy { deadlock_wait_ms: 0, ..space.policy };
    session.set_space(space.lockspace, space.version, policy).await.unwrap();
}

/// A task that holds a lock, and goes on when it is told to.
struct Holder {
    go: oneshot::Sender<()>,
    task: JoinHandle<Result<(), NotGranted>>,
}

impl Holder {
    /// It holds one, and asks for another one then, if there is another; then it is done with both.
    async fn new(session: &Session, held: &'static str, then: Option<&'static str>) -> Holder {
        let (holds, wait) = oneshot::channel();
        let (go, gone) = oneshot::channel::<()>();
        let session = session.clone();
        let task = tokio::spawn(async move {
            let _lock = session.lock(held).await?;
            holds.send(()).unwrap();
            gone.await.unwrap();
            if let Some(then) = then {
                let _then = session.lock(then).await?;
            }
            Ok(())
        });
        soon(wait).await.unwrap();
        Holder { go, task }
    }
}

#[tokio::test]
async fn two_tasks_in_a_ring_through_another_session_are_found() {
    let stage = Stage::set().await;
    let client = Client::connect(&stage.servers).await.unwrap();
    let (one, other) = (stage.session("one").await, stage.session("other").await);
    set_quiet(&one).await;
    let first = Holder::new(&one, "x", Some("y")).await;
    let between = Holder::new(&other, "y", Some("z")).await;
    let second = Holder::new(&one, "z", Some("x")).await;
    first.go.send(()).unwrap();
    wait_for_waiting(&one, "y", 1).await;
    between.go.send(()).unwrap();
    wait_for_waiting(&one, "z", 1).await;
    assert_eq!(client.scan().await.unwrap().found, 0, "the second task does not wait yet");
    second.go.send(()).unwrap();
    wait_for_waiting(&one, "x", 1).await;
    assert_eq!(client.scan().await.unwrap().found, 1);
    assert_eq!(client.deadlock(1).await.unwrap().unwrap().wait_count, 3);
    let refused = soon(second.task).await.unwrap();
    assert_eq!(refused, Err(NotGranted::Deadlock { record: 1 }), "the youngest goes");
    assert_eq!(soon(between.task).await.unwrap(), Ok(()));
    assert_eq!(soon(first.task).await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_task_that_goes_on_is_in_nobodys_deadlock() {
    let stage = Stage::set().await;
    let client = Client::connect(&stage.servers).await.unwrap();
    let (one, other) = (stage.session("one").await, stage.session("other").await);
    set_quiet(&one).await;
    // Were the session one party, it would hold x and wait for y, and the other one the reverse.
    let goes_on = Holder::new(&one, "x", None).await;
    let waits = Holder::new(&one, "v", Some("y")).await;
    let between = Holder::new(&other, "y", Some("x")).await;
    waits.go.send(()).unwrap();
    wait_for_waiting(&one, "y", 1).await;
    between.go.send(()).unwrap();
    wait_for_waiting(&one, "x", 1).await;
    // A task that waits for what another task of its session holds is nothing to break either.
    let behind = Holder::new(&one, "w", Some("x")).await;
    behind.go.send(()).unwrap();
    wait_for_waiting(&one, "x", 2).await;
    assert_eq!(client.scan().await.unwrap().found, 0);
    goes_on.go.send(()).unwrap();
    for task in [goes_on.task, between.task, waits.task, behind.task] {
        assert_eq!(soon(task).await.unwrap(), Ok(()));
    }
}

async fn owner_of(session: &Session, lock: &Lock) -> Owner {
    session.show_lock(lock.id()).await.unwrap().owner
}

#[tokio::test]
async fn whoever_asks_says_whose_a_lock_is() {
    let stage = Stage::set().await;
    let session = stage.session("one").await;
    let of = |token| Owner { scope: 0, token };
    let nobodys = session.lock("a").await.unwrap();
    assert_eq!(owner_of(&session, &nobodys).await, of(0), "outside of tasks it is the session's");
    let mine = session.owner(7);
    let (lock, path) = (mine.lock("b").await.unwrap(), mine.lock_path(["c", "d"]).await.unwrap());
    let sublock = lock.sublock("e").await.unwrap();
    for lock in [&lock, &path, &sublock] {
        assert_eq!(owner_of(&session, lock).await, of(7));
    }
    let asked = mine.lock("f").owner(8).await.unwrap();
    assert_eq!(owner_of(&session, &asked).await, of(8), "what a request says comes first");
    let by_task = tokio::spawn(session.lock("g").into_future()).await.unwrap().unwrap();
    let token = owner_of(&session, &by_task).await.token;
    assert!(token > 1 << 48, "tasks have numbers of their own: {token}");
    let converted = by_task.convert(PR).await.unwrap();
    assert_eq!(owner_of(&session, &converted).await, of(token), "a lock keeps its owner");
    drop((sublock, converted));
    wait_for_nothing(&session, "g").await;
}
