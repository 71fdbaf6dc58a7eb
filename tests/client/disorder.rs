//! Many tasks ask, convert, give up and release at random; in the end nothing is left, on either side.
//!
//! The random numbers are those of a seed, the interleaving is the runtime's: a failure names the seed, and may need
//! several runs to come again.

use super::*;
use enq::client::{Lock, NotGranted, Wait};
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use std::{
    future::{IntoFuture, poll_fn},
    pin::pin,
    task::Poll,
};
use tokio::task::JoinSet;

const SESSIONS: usize = 3;
const TASKS: usize = 5;
const STEPS: usize = 150;

/// Polls so many times, then gives up: drops the future wherever it is.
async fn at_most<F: Future>(polls: usize, work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    let mut left = polls;
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

fn mode(random: &mut SmallRng) -> LockMode {
    *LockMode::ALL.choose(random).unwrap()
}

fn wait(random: &mut SmallRng) -> Wait {
    match random.random_range(0..4) {
        0 => Wait::No,
        1 => Wait::UpTo(Duration::from_millis(random.random_range(1..5))),
        // Several tasks of a session wait for each other across resources, which nobody searches for: not for ever.
        _ => Wait::UpTo(Duration::from_millis(30)),
    }
}

/// Locks and the levels of paths are shared within sessions and compete across them.
async fn one_task(session: Session, tree: usize, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let random = &mut random;
    let mut held: Vec<Lock> = Vec::new();
    for _ in 0..STEPS {
        let polls = *[0, 1, 2, 5, 20, 100_000].choose(random).unwrap();
        let name = format!("r{}", random.random_range(0..3));
        let granted = match random.random_range(0..8) {
            0 | 1 => {
                at_most(polls, session.lock(name).mode(mode(random)).wait(wait(random)).into_future()).await
            }
            2 | 3 => {
                let leaf = format!("leaf {}", random.random_range(0..2));
                let root = format!("tree {}", tree % 2);
                let path = [root.as_str(), name.as_str(), leaf.as_str()];
                let notices = random.random_bool(0.5);
                let request = session.lock_path(path).mode(mode(random)).wait(wait(random)).notices(notices);
                at_most(polls, request.into_future()).await
            }
            4 => match held.choose(random) {
                Some(parent) => {
                    let request = parent.sublock(b"below").mode(mode(random)).wait(wait(random));
                    at_most(polls, request.into_future()).await
                }
                None => None,
            },
            5 if !held.is_empty() => {
                let lock = held.swap_remove(random.random_range(0..held.len()));
                let request = lock.convert(mode(random)).wait(wait(random));
                match at_most(polls, request.into_future()).await {
                    Some(Ok(lock)) => Some(Ok(lock)),
                    Some(Err(refused)) => Some(Ok(refused.lock)),
                    None => None,
                }
            }
            6 if !held.is_empty() => {
                let lock = held.swap_remove(random.random_range(0..held.len()));
                let parent = at_most(polls, lock.release()).await.and_then(Result::err);
                parent.map(|refused| Ok(refused.lock))
            }
            _ if !held.is_empty() => {
                drop(held.swap_remove(random.random_range(0..held.len())));
                None
            }
            _ => None,
        };
        match granted {
            Some(Ok(lock)) => held.push(lock),
            Some(Err(NotGranted::SessionLost(cause))) => panic!("seed {seed}: the session is lost: {cause}"),
            Some(Err(_)) | None => {}
        }
        if held.len() > 4 {
            drop(held.swap_remove(0));
        }
    }
}

async fn disorder(seed: u64, cuts: bool) {
    let stage = Stage::set().await;
    let (mut sessions, mut proxies) = (Vec::new(), Vec::new());
    let mut tasks = JoinSet::new();
    for number in 0..SESSIONS {
        let proxy = Proxy::to(&stage.servers[0]).await;
        let builder = Session::builder(format!("{number}"));
        let builder = builder.backoff(Duration::from_millis(1), Duration::from_millis(5));
        let session = builder.connect(&[proxy.address()]).await.unwrap();
        if cuts {
            proxy.cut_each_after(seed * 10 + number as u64, Some(1..3_000));
            proxy.cut(Cut::Reset);
        }
        proxies.push(proxy);
        for task in 0..TASKS {
            let seed = seed * 1_000 + u64::try_from(number * TASKS + task).unwrap();
            tasks.spawn(one_task(session.clone(), task, seed));
        }
        sessions.push(session);
    }
    let all = async {
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.expect("every task comes to its end");
    assert_eq!(proxies.iter().map(Proxy::cuts).sum::<u64>() > 20, cuts);
    proxies.iter().for_each(|proxy| proxy.cut_each_after(0, None));
    let nothing = async {
        while sessions.iter().any(|session| session.lock_count() > 0) {
            sessions[0].ping().await.unwrap();
        }
        sessions[0].statistics().await.unwrap()
    };
    let left = tokio::time::timeout(Duration::from_secs(5), nothing).await;
    let Ok(left) = left else {
        let counts: Vec<usize> = sessions.iter().map(Session::lock_count).collect();
        let (locks, _) = sessions[0].locks(enq::client::LockFilter::default()).collect(20).await.unwrap();
        panic!("seed {seed}: handles left {counts:?}, locks left {locks:#?}");
    };
    assert_eq!((left.locks, left.resources), (0, 0), "seed {seed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_after_disorder_on_two_threads() {
    for seed in 0..4 {
        disorder(seed, false).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_after_disorder_and_cuts() {
    for seed in 8..12 {
        disorder(seed, true).await;
    }
}

#[tokio::test]
async fn nothing_is_left_after_disorder_on_one_thread() {
    for seed in 4..8 {
        disorder(seed, false).await;
    }
}
