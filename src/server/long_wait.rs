//! Long waits, told in the log: once when a request has waited long, with who is in its way, and once when that is over.
//!
//! A look a second, beside everything else; at most ten lines a look and a count of the rest, however many wait.

use super::{House, Shared, in_ms};
use crate::{
    engine::{Instant, WaitEnd},
    table::{LongWait, LongWaits, LongWaitsSeen},
};
use enq_protocol::vocabulary::{LockView, ResourceName, SessionView, Status};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::task::JoinHandle;

/// From look to look.
const ROUND_MS: u32 = 1_000;

/// Looks for long waits, one look at a time.
#[derive(Debug)]
pub(super) struct Watch {
    waits: Option<Arc<Mutex<LongWaits>>>,
    running: Option<JoinHandle<()>>,
    due: Instant,
}

impl Watch {
    /// Waits are long after this time; never, if it is zero.
    pub(super) fn new(after: Duration) -> Watch {
        let waits = (!after.is_zero()).then(|| Arc::new(Mutex::new(LongWaits::new(in_ms(after).max(1)))));
        Watch { waits, running: None, due: Instant::START }
    }

    /// Begins a look if it is time and none is under way.
    pub(super) fn look(&mut self, shared: &Arc<Shared>, now: Instant) {
        let Some(waits) = &self.waits else { return };
        let is_running = self.running.as_ref().is_some_and(|look| !look.is_finished());
        if is_running || now < self.due {
            return;
        }
        self.due = now.after_ms(ROUND_MS);
        if !waits.lock().is_due(now) {
            return;
        }
        let (shared, waits) = (Arc::clone(shared), Arc::clone(waits));
        // Very many queues take longer than others should wait for this thread.
        self.running = Some(tokio::task::spawn_blocking(move || tell(&shared.house, now, &mut waits.lock())));
    }
}

/// One look, and what the log says of it.
fn tell(house: &House, now: Instant, waits: &mut LongWaits) {
    let LongWaitsSeen { begun, more, over } = house.log.table().look_at_long_waits(now, waits);
    for (wait, end, took_ms) in &over {
        tell_end(wait, *end, *took_ms);
    }
    for wait in &begun {
        tell_begin(wait);
    }
    if more > 0 {
        tracing::info!(requests = more, "more requests wait long");
    }
}

fn tell_begin(wait: &LongWait) {
    let LongWait { lock, session, in_the_way, total } = wait;
    let (resource, mode) = (ResourceName::path_to_printable(&lock.path), modes(lock));
    let (name, host, pid) = who(session.as_ref());
    let named: Vec<String> = in_the_way
        .iter()
        .map(|(edge, session)| {
            let (name, host, pid) = who(session.as_ref());
            format!("{} {} of {name} on {host}, process {pid}", edge.lock.lock, modes(&edge.lock))
        })
        .collect();
    let others = usize::try_from(*total).unwrap_or(usize::MAX).saturating_sub(named.len());
    let (waits_for, waited_ms) = (named.join("; "), lock.age_ms);
    tracing::info!(
        lock = %lock.lock, resource, mode, name, host, pid, waited_ms, waits_for, others, "a request waits long"
    );
}

fn tell_end(wait: &LongWait, end: WaitEnd, waited_ms: u64) {
    let (resource, mode) = (ResourceName::path_to_printable(&wait.lock.path), modes(&wait.lock));
    let (name, host, pid) = who(wait.session.as_ref());
    let how = match end {
        WaitEnd::Granted(_) => String::from("GRANTED"),
        WaitEnd::Ended(_, Status::Done) => String::from("its session ended"),
        WaitEnd::Ended(_, status) => status.to_string(),
        WaitEnd::Forgotten => String::from("not known any more"),
    };
    tracing::info!(
        lock = %wait.lock.lock, resource, mode, name, host, pid, waited_ms, how, "a long wait is over"
    );
}

/// Name, host and process; a text that is written as a value is escaped by the log.
fn who(session: Option<&SessionView>) -> (&str, &str, u32) {
    session.map_or(("nobody", "", 0), |session| (&session.name, &session.host, session.pid))
}

/// `PR->EX` of what converts, `EX` of what is granted or waits.
fn modes(lock: &LockView) -> String {
    match (lock.granted, lock.requested) {
        (Some(granted), Some(requested)) => format!("{granted}->{requested}"),
        (one, other) => one.or(other).map_or_else(String::new, |mode| mode.to_string()),
    }
}
