//! Recipes under competition, loss and change of mind.

use super::*;
use enq::client::{
    Status,
    recipes::{Election, ReadWrite, Semaphore},
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::task::JoinSet;

#[tokio::test]
async fn a_semaphore_lets_so_many_in_and_no_more() {
    let stage = Stage::set().await;
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = JoinSet::new();
    for number in 0..8 {
        let session = stage.session(&format!("{number}")).await;
        let (inside, most) = (inside.clone(), most.clone());
        tasks.spawn(async move {
            let semaphore = Semaphore::on(session.lock("slots"), 3).unwrap();
            for _ in 0..6 {
                let permit = semaphore.permit().await.unwrap();
                let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now, Ordering::SeqCst);
                assert!(now <= 3, "{now} are inside");
                // Long enough for the next in line to come in beside it.
                for _ in 0..30 {
                    session.ping().await.unwrap();
                }
                inside.fetch_sub(1, Ordering::SeqCst);
                permit.release().await.unwrap();
            }
        });
    }
    while let Some(done) = soon(tasks.join_next()).await {
        done.unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), 3, "all permits were in use at some time");
    let session = stage.session("last").await;
    wait_for_nothing(&session, "slots").await;

    let three = Semaphore::on(session.lock("slots"), 3).unwrap();
    let _held = three.permit().await.unwrap();
    let four = Semaphore::on(session.lock("slots"), 4).unwrap();
    assert_eq!(four.permit().await.unwrap_err().status(), Status::BadParam, "the others say three");
    let (_second, third) = (three.permit().await.unwrap(), three.permit().await.unwrap());
    let waiting = tokio::spawn(async move { three.permit().await });
    wait_for_waiting_below(&session).await;
    drop(third);
    drop(soon(waiting).await.unwrap().unwrap());
    assert!(Semaphore::on(session.lock("slots"), 0).is_none());
}

/// Somebody is at the head of the line and waits for a permit.
async fn wait_for_waiting_below(session: &Session) {
    until(|| async { session.statistics().await.unwrap().waiting == 3 }).await;
}

#[tokio::test]
async fn readers_share_and_a_writer_goes_on_as_a_reader() {
    let stage = Stage::set().await;
    let (one, two) = (stage.session("one").await, stage.session("two").await);
    let (mine, yours) = (ReadWrite::on(one.lock("r")), ReadWrite::on(two.lock("r")));
    let (first, second) = (mine.read().await.unwrap(), yours.read().await.unwrap());
    let writer = tokio::spawn(async move { mine.write().await });
    wait_for_waiting(&two, "r", 1).await;
    first.release().await.unwrap();
    second.release().await.unwrap();
    let writing = soon(writer).await.unwrap().unwrap();
    let reader = tokio::spawn(async move { yours.read().await });
    wait_for_waiting(&one, "r", 1).await;
    let seq = writing.seq();
    let reading = writing.into_reading().await.unwrap();
    let other = soon(reader).await.unwrap().unwrap();
    assert!(reading.mode() == PR && reading.seq() > seq && reading.fence() == other.fence());
    assert!(reading.held() && other.held());
}

#[tokio::test]
async fn an_observer_sees_leaders_come_resign_die_and_be_dropped() {
    let stage = Stage::set().await;
    let watching = stage.session("observer").await;
    let election = |session: &Session| Election::on(session.lock("leader"));
    let mut observer = election(&watching).observe().await.unwrap();
    assert_eq!(observer.leader(), None);

    let a = stage.session("a").await;
    let mut leader = election(&a).campaign("a").await.unwrap();
    assert_eq!(soon(observer.changed()).await.unwrap(), Some(&b"a"[..]));
    let fence = leader.fence();
    leader.proclaim("a at port 7").await.unwrap();
    assert!(leader.fence() > fence);
    assert_eq!(election(&watching).leader().await.unwrap().as_deref(), Some(&b"a at port 7"[..]));
    assert!(leader.proclaim([0; 100]).await.is_err(), "longer than a value block");
    assert!(leader.office().held(), "and still the leader");
    assert_eq!(soon(observer.changed()).await.unwrap(), Some(&b"a at port 7"[..]));

    leader.resign().await.unwrap();
    assert_eq!(soon(observer.changed()).await.unwrap(), None);

    let b = stage.session("b").await;
    let leader = election(&b).campaign("b").await.unwrap();
    assert_eq!(soon(observer.changed()).await.unwrap(), Some(&b"b"[..]));
    watching.expire_session(b.id(), "dies").await.unwrap();
    assert_eq!(soon(observer.changed()).await.unwrap(), None);
    assert!(soon(leader.run_until_lost(std::future::pending::<()>())).await.is_err());

    let leader = election(&a).campaign("a again").await.unwrap();
    assert_eq!(soon(observer.changed()).await.unwrap(), Some(&b"a again"[..]));
    drop(leader);
    assert_eq!(soon(observer.changed()).await.unwrap(), None);

    // A wait that is given up does not spoil the next one.
    assert!(tokio::time::timeout(Duration::from_millis(20), observer.changed()).await.is_err());
    let _leader = election(&a).campaign("a for good").await.unwrap();
    assert_eq!(soon(observer.changed()).await.unwrap(), Some(&b"a for good"[..]));
    drop(observer);
}

/// A leader that stays is seen, however close to the end of the last term it came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_term_is_missed_by_an_observer_that_was_just_told_of_the_end_of_another() {
    let stage = Stage::set().await;
    let watching = stage.session("observer").await;
    let mut observer = Election::on(watching.lock("leader")).observe().await.unwrap();
    let (seen, mut leaders) = tokio::sync::mpsc::unbounded_channel();
    let observes = tokio::spawn(async move {
        while seen.send(observer.changed().await.unwrap().map(<[u8]>::to_vec)).is_ok() {}
    });
    let (a, b) = (stage.session("a").await, stage.session("b").await);
    let mut leader = Election::on(a.lock("leader")).campaign("0").await.unwrap();
    for term in 0..400_u32 {
        let next = Election::on(if term % 2 == 0 { &b } else { &a }.lock("leader"));
        let next = tokio::spawn(async move { next.campaign(format!("{}", term + 1)).await.unwrap() });
        let led = format!("{term}").into_bytes();
        while soon(leaders.recv()).await.unwrap().as_ref() != Some(&led) {}
        leader.resign().await.unwrap();
        leader = soon(next).await.unwrap();
    }
    observes.abort();
}

/// An administrator can take an observer's locks away; the observer takes others and observes on.
#[tokio::test]
async fn an_observer_whose_locks_are_taken_away_observes_on() {
    let stage = Stage::set().await;
    let (watching, admin) = (stage.session("observer").await, stage.session("admin").await);
    let mut observer = Election::on(watching.lock("leader")).observe().await.unwrap();
    let (seen, mut leaders) = tokio::sync::mpsc::unbounded_channel();
    let observes = tokio::spawn(async move {
        loop {
            // A look that was under way when its lock went is told of; the next one has another.
            let Ok(leader) = observer.changed().await else { continue };
            seen.send(leader.map(<[u8]>::to_vec)).unwrap();
        }
    });
    for round in 0..3_u8 {
        let mut taken = Vec::new();
        until(|| async { show(&admin, &["leader"]).await.is_some_and(|seen| observes_in_cr(&seen.locks)) })
            .await;
        for mode in [NL, CR] {
            let shown = show(&admin, &["leader"]).await.unwrap();
            let lock = shown.locks.iter().find(|lock| lock.granted == Some(mode)).unwrap();
            // The look at the office may not have been released yet.
            until(|| async { admin.force_release(lock.lock, lock.seq, "in the way").await.is_ok() }).await;
            taken.push(lock.lock);
        }
        until(|| async {
            let seen = show(&admin, &["leader"]).await;
            seen.is_some_and(|seen| {
                observes_in_cr(&seen.locks) && seen.locks.iter().all(|lock| !taken.contains(&lock.lock))
            })
        })
        .await;
        let leader = Election::on(admin.lock("leader")).campaign([round]).await.unwrap();
        assert_eq!(soon(leaders.recv()).await.unwrap(), Some(vec![round]));
        leader.resign().await.unwrap();
        assert_eq!(soon(leaders.recv()).await.unwrap(), None);
    }
    observes.abort();
}

/// One lock in NL to look by, one in CR to be told by.
fn observes_in_cr(locks: &[enq::client::LockView]) -> bool {
    let held =
        |mode| locks.iter().filter(|lock| lock.granted == Some(mode) && lock.requested.is_none()).count();
    locks.len() == 2 && held(NL) == 1 && held(CR) == 1
}

#[tokio::test]
async fn of_many_candidates_one_leads_at_a_time() {
    let stage = Stage::set().await;
    let leading = Arc::new(AtomicUsize::new(0));
    let watching = stage.session("observer").await;
    let mut observer = Election::on(watching.lock("leader")).observe().await.unwrap();
    let mut tasks = JoinSet::new();
    for number in 0..5 {
        let session = stage.session(&format!("{number}")).await;
        let leading = leading.clone();
        tasks.spawn(async move {
            let election = Election::on(session.lock("leader"));
            for _ in 0..4 {
                let leader = election.campaign(format!("{number}")).await.unwrap();
                assert_eq!(leading.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
                session.ping().await.unwrap();
                leading.fetch_sub(1, Ordering::SeqCst);
                leader.resign().await.unwrap();
            }
        });
    }
    let mut changes = 0;
    loop {
        tokio::select! {
            done = soon(tasks.join_next()) => match done {
                Some(done) => done.unwrap(),
                None => break,
            },
            changed = observer.changed() => {
                changed.unwrap();
                changes += 1;
            }
        }
    }
    assert!(changes > 0);
    drop(observer);
    wait_for_nothing(&watching, "leader").await;
}
