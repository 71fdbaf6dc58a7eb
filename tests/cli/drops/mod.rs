//! Packets are lost in one direction, and nobody is told: no reset, no end of the connection, nothing but silence.
//!
//! A holder whose words no longer arrive, or who no longer hears the answers, stops believing before the server gives
//! its lock to the next one (X3), who has it within the lease and half a second; and when it ends soon enough, nothing
//! has happened. A few stories in the gate; `ENQ_DROPS=200 cargo test --test cli drops` for more. A story that fails
//! prints its seed, which `ENQ_DROPS_SEED` tells again.

mod holders;
mod road;

use std::{env, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use road::Lost;
use tokio::task::JoinSet;

/// The lease of every holder.
const TTL: Duration = Duration::from_secs(2);

/// Stories at a time.
const TOGETHER: usize = 6;

/// Who holds the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    /// The client library, with a session that can go on with another connection.
    Free,
    /// The same, with a session that is bound to its connection.
    Bound,
    /// `enq run`.
    Command,
}

#[derive(Clone, Copy, Debug)]
struct Story {
    seed: u64,
    holder: Holder,
    lost: Lost,
    /// For how long.
    time: Duration,
    /// Does the holder ask for something just then?
    asks: bool,
}

impl Story {
    /// Holders and directions come in their turn: the first six are of half a lease, the next six longer, and so on.
    fn of(seed: u64) -> Story {
        let mut random = SmallRng::seed_from_u64(seed);
        let (holder, lost, is_long) = (seed % 3, seed / 3 % 2, seed / 6 % 2 == 1);
        Story {
            seed,
            holder: [Holder::Free, Holder::Bound, Holder::Command][usize::try_from(holder).expect("below 3")],
            lost: if lost == 0 { Lost::ToServer } else { Lost::ToHolder },
            time: TTL.mul_f64(if is_long { random.random_range(0.6..3.0) } else { 0.5 }),
            asks: random.random_bool(0.7),
        }
    }

    /// So soon over that it costs a session nothing that can go on with another connection.
    fn is_short(&self) -> bool {
        self.time <= TTL / 2
    }
}

async fn tell_stories() {
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds: Vec<u64> = match number("ENQ_DROPS_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("ENQ_DROPS").unwrap_or(12)).collect(),
    };
    for some in seeds.chunks(TOGETHER) {
        let mut stories: JoinSet<()> = some.iter().map(|seed| holders::tell(Story::of(*seed))).collect();
        while let Some(story) = stories.join_next().await {
            story.expect("see the story above");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_in_one_direction_in_user_space() {
    tell_stories().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_in_one_direction_by_the_kernel() {
    if road::is_inside() {
        return tell_stories().await;
    }
    if let Err(why) = road::run_inside("drops::silence_in_one_direction_by_the_kernel").await {
        eprintln!("\n*** NOT RUN: no network namespace: {why} ***\n");
    }
}
