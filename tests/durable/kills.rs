//! Many kill -9 under load, and after each everything that was acknowledged is there.
//!
//! Sessions of this process lock, wait, convert, store, release, leave orphans and adopt them all the time (`work`). The
//! server is killed after a random number of answers. What is on disk then is looked at first by itself: a server is started on
//! it at an address that no client knows, its table is compared with the books (`books`), and it is killed, too. Then one
//! starts where the clients find it, and they go on without noticing more than time.
//!
//! A few kills in the gate; `ENQ_KILLS=300 cargo test --test durable kills`, and `ENQ_SEED` chooses other moments.

use crate::{
    stage::{Place, number},
    world::Clients,
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

/// Snapshots and new segments come often, so that kills hit them, too.
pub(crate) const OFTEN: [&str; 2] = ["--snapshot-every", "64KiB"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_each_kill_everything_that_was_acknowledged_is_there() {
    let (kills, seed) = (number("ENQ_KILLS").unwrap_or(8), number("ENQ_SEED").unwrap_or(1));
    let mut random = SmallRng::seed_from_u64(seed);
    let place = Place::told(&OFTEN);
    let mut server = place.start().await;
    let mut clients = Clients::at_work(&place, seed).await;
    for kill in 1..=kills {
        let late = if random.random_bool(0.3) { 20 } else { 2_000 };
        clients.work(random.random_range(0..late)).await;
        server.kill().await;
        println!("kill {kill}, ENQ_SEED={seed}: after {} answers", clients.books().answers);
        if random.random_bool(0.8) {
            clients.audit(&place).await;
        }
        server = place.start().await;
    }
    let answers = clients.books().answers;
    let resumes = clients.end(&server).await;
    println!("{kills} kills, {answers} answers, sessions went on {resumes:?} times");
    assert!(resumes.iter().all(|times| *times >= kills / 2), "{resumes:?}");
    server.stop().await;
}
