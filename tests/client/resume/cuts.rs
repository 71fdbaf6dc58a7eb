//! Thousands of cuts, at any byte of any frame, in three manners; and after them the books are balanced: each request had
//! one effect, each answer arrived.
//!
//! `ENQ_CUTS=10000` says how many cuts; a few hundred unless told otherwise. `ENQ_SEED` chooses others.

use super::*;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    task::{Context, Waker},
};
use tokio::task::JoinSet;

const SESSIONS: u64 = 4;
const TASKS: u64 = 3;
const COUNTERS: usize = 3;

/// What all clients together have asked for, as they count it themselves.
#[derive(Default)]
struct Books {
    asked: AtomicU64,
    conversions: AtomicU64,
    stores: [AtomicU64; COUNTERS],
    inside: [AtomicBool; COUNTERS],
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |value| value.parse().unwrap())
}

/// Adds one to a counter that is kept in a value block, reading and writing it under EX.
async fn add_one(session: &Session, books: &Books, at: usize, random: &mut SmallRng) {
    books.asked.fetch_add(1, SeqCst);
    let (mode, convert) = if random.random_bool(0.3) { (NL, true) } else { (EX, false) };
    let mut lock = session.lock(format!("counter {at}")).mode(mode).read_value().await.unwrap();
    if convert {
        books.conversions.fetch_add(1, SeqCst);
        lock = lock.convert(EX).read_value().await.unwrap();
    }
    assert!(!books.inside[at].swap(true, SeqCst), "two are inside");
    let value = lock.value().unwrap();
    let stored = u64::from_le_bytes(value.bytes.as_ref().try_into().unwrap_or_default());
    assert!(value.valid && lock.held());
    assert_eq!(
        (stored, value.seq),
        (books.stores[at].load(SeqCst), stored),
        "each store once, and every one"
    );
    books.stores[at].fetch_add(1, SeqCst);
    books.inside[at].store(false, SeqCst);
    lock.release_with((stored + 1).to_le_bytes()).await.unwrap();
}

async fn one_task(session: Session, books: Arc<Books>, enough: Arc<AtomicBool>, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    while !enough.load(SeqCst) {
        let at = random.random_range(0..COUNTERS);
        match random.random_range(0..6) {
            // Sent, and withdrawn wherever it is then.
            0 => {
                books.asked.fetch_add(1, SeqCst);
                let mut asking = session.lock(format!("counter {at}")).mode(PR).into_future();
                // The other thread may have been as fast as to answer it already.
                let _ = asking.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                for _ in 0..random.random_range(0..20) {
                    tokio::task::yield_now().await;
                }
            }
            1 => {
                books.asked.fetch_add(1, SeqCst);
                let tried = session.lock(format!("counter {at}")).mode(PR).wait(Wait::No).await;
                assert!(matches!(tried, Ok(_) | Err(NotGranted::NotQueued { .. })), "{tried:?}");
            }
            2 => {
                books.asked.fetch_add(1, SeqCst);
                let leaf = session.lock_path([&format!("tree {seed}"), "of", "paths"]).await.unwrap();
                leaf.release().await.unwrap();
            }
            _ => add_one(&session, &books, at, &mut random).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_thousands_of_cuts_each_request_has_had_one_effect() {
    let (cuts, seed) = (number("ENQ_CUTS", 300), number("ENQ_SEED", 1));
    let stage = Stage::set().await;
    let (books, enough) = (Arc::new(Books::default()), Arc::new(AtomicBool::new(false)));
    let auditor = stage.session("auditor").await;
    let mut blocks = Vec::new();
    for at in 0..COUNTERS {
        // A value block lives as long as somebody has a lock on its resource.
        blocks.push(auditor.lock(format!("counter {at}")).mode(NL).await.unwrap());
    }
    let (mut sessions, mut proxies, mut tasks) = (Vec::new(), Vec::new(), JoinSet::new());
    for number in 0..SESSIONS {
        let proxy = Proxy::to(&stage.servers[0]).await;
        let session = session(&proxy, Duration::from_secs(15)).await;
        // The first connection was without cuts so that the session opens; it is the first to be cut.
        proxy.cut_each_after(seed * 100 + number, Some(1..4_000));
        proxy.cut(Cut::Reset);
        for task in 0..TASKS {
            let seed = seed * 10_000 + number * 100 + task;
            tasks.spawn(one_task(session.clone(), books.clone(), enough.clone(), seed));
        }
        sessions.push(session);
        proxies.push(proxy);
    }
    let all = async {
        while proxies.iter().map(Proxy::cuts).sum::<u64>() < cuts {
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(tasks.try_join_next().is_none_or(|ended| ended.is_ok()), "a task has failed");
        }
        enough.store(true, SeqCst);
        proxies.iter().for_each(|proxy| proxy.cut_each_after(0, None));
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    };
    let limit = Duration::from_secs(60) + Duration::from_millis(100) * u32::try_from(cuts).unwrap();
    tokio::time::timeout(limit, all).await.expect("every task comes to its end");
    until(|| async { sessions.iter().all(|session| session.lock_count() == 0) }).await;

    let statistics = auditor.statistics().await.unwrap();
    let kept: u64 = sessions.iter().map(|session| session.traffic().kept_answers).sum();
    let resumes: u64 = sessions.iter().map(|session| session.traffic().resumes).sum();
    let counters = u64::try_from(COUNTERS).unwrap();
    let asked = (books.asked.load(SeqCst) + counters, books.conversions.load(SeqCst));
    println!("{cuts} cuts, {resumes} times gone on, {kept} answers kept, {asked:?} asked");
    assert_eq!((statistics.enq_new, statistics.enq_converted), asked, "seed {seed}");
    assert_eq!((statistics.locks, statistics.resources), (counters, counters), "seed {seed}");
    assert!(resumes >= cuts / 2 && kept >= cuts / 10, "{resumes} times gone on, {kept} answers kept");
    for (proxy, session) in proxies.iter().zip(&sessions) {
        assert!(proxy.cuts() > 0 && session.state() == LockState::Safe);
    }
}
