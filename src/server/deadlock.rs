//! When deadlocks are looked for, and what is written about those that were found.
//!
//! A search is due when a request has waited as long as its lockspace says, and again after as long while it waits on. It
//! runs beside everything else, one at a time, and holds no mutex for longer than any other step.

use super::{House, Shared, lease::ROUND};
use crate::{
    engine::Instant,
    table::{Deadlock, Scratch, Searched},
};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Looks for deadlocks whenever that is due, until the server stops.
pub(super) async fn watch(shared: &Arc<Shared>, stop: &CancellationToken) {
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(rounds.tick()).await.is_some() {
        let now = shared.clock.now();
        if shared.house.log.table().is_search_due(now) {
            let shared = Arc::clone(shared);
            // Very many queues take longer than others should wait for this thread.
            let searched = tokio::task::spawn_blocking(move || search(&shared.house, now)).await;
            debug_assert!(searched.is_ok(), "a search does not panic");
        }
    }
}

/// One search at this moment, and what the log says of it.
pub fn search(house: &House, now: Instant) -> Searched {
    let searched = house.log.search_deadlocks(now, &mut Scratch::default());
    for deadlock in &searched.found {
        tell(deadlock);
    }
    searched
}

fn tell(deadlock: &Deadlock) {
    let refused = deadlock.refused.map_or("nobody".into(), |lock| lock.to_string());
    let waits: Vec<String> = deadlock
        .waits
        .iter()
        .map(|wait| format!("{} waits for {}", wait.waiting.lock, wait.blocker.lock))
        .collect();
    let (number, waits) = (deadlock.number, waits.join(", "));
    tracing::warn!(number, refused, waits, "deadlock");
}
