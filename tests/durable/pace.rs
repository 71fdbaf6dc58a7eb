//! How long a start takes after a kill -9 with many locks held. It measures and prints; nothing fails of being slow.
//!
//! `ENQ_LOCKS=1000000 ENQ_STARTS=20 cargo test --release --test durable pace -- --ignored --nocapture`

use crate::stage::{Place, Server, number};
use enq::client::{Session, now};
use std::time::Duration;
use tokio::task::JoinSet;

/// Locks of one session.
const A_SESSION: u64 = 50_000;
/// Requests at a time.
const TOGETHER: u64 = 200;

/// Leaves sessions with so many locks between them, whose processes are gone.
async fn leave(place: &Place, locks: u64) {
    let mut sessions = JoinSet::new();
    for first in (0..locks).step_by(usize::try_from(A_SESSION).unwrap()) {
        let address = place.address.clone();
        let last = locks.min(first + A_SESSION);
        sessions.spawn(async move {
            let session =
                Session::builder("many").ttl(Duration::from_secs(60)).connect(&[&address]).await.unwrap();
            let mut tasks = JoinSet::new();
            for task in 0..TOGETHER {
                let session = session.clone();
                tasks.spawn(async move {
                    let mut held = Vec::new();
                    for number in (first + task..last).step_by(usize::try_from(TOGETHER).unwrap()) {
                        held.push(session.lock(format!("db/orders/{number}")).await.unwrap());
                    }
                    held
                });
            }
            let held = tasks.join_all().await;
            // What is held outlives this process's interest in it.
            let kept = session.detach();
            drop(held);
            kept
        });
    }
    sessions.join_all().await;
}

/// The time from the call that starts it until it says that it serves.
async fn one_start(place: &Place) -> (Duration, Server) {
    let began = now();
    let server = place.start().await;
    (now().since(began), server)
}

fn told(server: &Server) -> String {
    let said = server.said();
    said.lines().find(|line| line.contains(" go on, each")).unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures: a release build on a quiet machine, see above"]
async fn how_long_a_start_takes() {
    let locks = number("ENQ_LOCKS").unwrap_or(100_000);
    let starts = number("ENQ_STARTS").unwrap_or(20);
    let place = Place::told(&["--segment-size", "64MiB"]);
    let server = place.start().await;
    let began = now();
    leave(&place, locks).await;
    println!("{locks} locks in {:?}", now().since(began));
    server.kill().await;
    for what in ["after a kill", "after a stop in order"] {
        let mut took = Vec::new();
        for _ in 0..starts {
            let (time, server) = one_start(&place).await;
            if took.is_empty() {
                println!("{what}: {}", told(&server));
            }
            assert!(told(&server).contains(&format!(" with {locks} locks go on")), "{}", told(&server));
            took.push(time);
            server.kill().await;
        }
        took.sort();
        let at = |percent: usize| took[((took.len() - 1) * percent).div_ceil(100)];
        println!("{what}, {starts} starts: p50 {:?}, p99 {:?}", at(50), at(99));
        place.start().await.stop().await;
    }
}
