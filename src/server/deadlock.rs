//! When deadlocks are looked for, and what is written about those that were found.
//!
//! A search is due when a request has waited as long as its lockspace says, and again after as long while it waits on. It
//! runs beside everything else, one at a time, and holds no mutex for longer than any other step.

use super::{House, Shared};
use crate::{
    engine::{Instant, deadlock::Due},
    table::{Deadlock, Scratch, Searched},
};
use std::sync::Arc;
use tokio::task::JoinHandle;

/// The search that runs, if one does.
#[derive(Debug, Default)]
pub(super) struct Watch {
    running: Option<JoinHandle<Searched>>,
}

impl Watch {
    /// Begins a search if one is due and none runs.
    pub(super) fn look(&mut self, shared: &Arc<Shared>, now: Instant) {
        let is_running = self.running.as_ref().is_some_and(|search| !search.is_finished());
        if !is_running && shared.house.log.is_search_due(now) {
            let shared = Arc::clone(shared);
            // Very many queues take longer than others should wait for this thread.
            let search = move || search(&shared.house, now, Due::At(now));
            self.running = Some(tokio::task::spawn_blocking(search));
        }
    }
}

/// One search at this moment, and what the log says of it.
pub fn search(house: &House, now: Instant, due: Due) -> Searched {
    let searched = house.log.search_deadlocks(now, due, &mut Scratch::default());
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
