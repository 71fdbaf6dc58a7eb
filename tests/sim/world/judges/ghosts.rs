//! What the server holds for a session is what its client knows (Q5, Q6): after everything has been delivered, no grant is
//! unknown to whom it was made, and nothing is left of what has ended.

use super::super::client::{Client, Doing};
use super::{Glance, Wrong};
use crate::model::beside;
use enq_protocol::vocabulary::{Flags, LockId, LockMode, LockView, Queue};
use std::collections::{BTreeMap, BTreeSet};

/// Compares a client at rest with the table.
pub(crate) fn compare(client: &Client, glance: &Glance) -> Result<(), Wrong> {
    let Some(session) = client.session().filter(|_| client.is_open()) else { return Ok(()) };
    let mut there: BTreeMap<u32, (usize, &LockView)> = BTreeMap::new();
    for (place, seen) in glance.places.iter().enumerate() {
        for lock in seen.locks.iter().filter(|lock| lock.session == Some(session)) {
            there.insert(lock.handle.number(), (place, lock));
        }
    }
    // Of a path that waits, one level does; those below it are not there yet.
    let waits = there.values().any(|(_, view)| view.queue == Queue::Waiting);
    let who = format!("client {}, life {}", client.number, client.life);
    for (lock, held) in &client.locks {
        let Some((place, view)) = there.remove(&held.ticket.handle.number()) else {
            if held.doing == Doing::Asking && !held.path.is_empty() && waits {
                continue;
            }
            return Err(format!("{who}: lock {lock} is {:?}, and the server has none", held.doing));
        };
        let agrees = match held.doing {
            Doing::Holding => {
                view.queue == Queue::Granted
                    && view.granted == Some(held.mode)
                    && held.token.is_none_or(|token| token.seq == view.seq && token.fence == view.fence)
            }
            Doing::Converting { .. } => view.queue == Queue::Conversion,
            Doing::Asking => {
                view.queue != Queue::Conversion && (view.queue == Queue::Waiting || !held.path.is_empty())
            }
            Doing::Releasing => false,
        };
        let is_told = held.noticed || held.doing != Doing::Holding || !view.flags.contains(Flags::BLKAST);
        if let (false, Some(mode)) = (is_told, view.granted)
            && let Some(other) = glance.places[place].locks.iter().find(|other| is_kept_from(other, mode))
        {
            return Err(format!("{who}: lock {lock} keeps {} from its mode, and was not told", other.lock));
        }
        if !agrees || place != held.place {
            return Err(format!("{who}: lock {lock} is {held:?}, and the server has {view:?}"));
        }
    }
    for (lock, level) in client.levels.iter().filter(|(lock, _)| !client.locks.contains_key(lock)) {
        match there.remove(&level.ticket.handle.number()) {
            Some((place, view))
                if place == level.place && view.granted.is_some_and(|mode| mode.covers(level.mode)) => {}
            found => return Err(format!("{who}: level {lock} is {level:?}, and the server has {found:?}")),
        }
    }
    // Levels of a path that waits are known to the peer alone.
    if has_path(client) {
        return Ok(());
    }
    let its_own =
        glance.places.iter().flat_map(|seen| &seen.locks).filter(|lock| lock.session == Some(session));
    let known = its_own.filter(|lock| !there.contains_key(&lock.handle.number()));
    let orphans = glance.orphans.iter().filter_map(|id| glance.lock(*id));
    let mut stood_on: BTreeSet<LockId> = known.chain(orphans).filter_map(|lock| lock.parent).collect();
    // T4: what was given up stays for as long as something known stands on it, or an orphan (O1).
    while let Some(handle) = handle_of_first(&there, &stood_on) {
        stood_on.extend(there.remove(&handle).and_then(|(_, view)| view.parent));
    }
    match there.into_values().next() {
        Some((_, view)) => Err(format!("{who}: nobody knows of {view:?}")),
        None => Ok(()),
    }
}

/// One of these locks.
fn handle_of_first(there: &BTreeMap<u32, (usize, &LockView)>, among: &BTreeSet<LockId>) -> Option<u32> {
    there.iter().find(|(_, (_, view))| among.contains(&view.lock)).map(|(handle, _)| *handle)
}

/// Does this lock wait because somebody holds that mode?
fn is_kept_from(lock: &LockView, held: LockMode) -> bool {
    lock.requested.is_some_and(|wanted| !beside(held, wanted))
}

fn has_path(client: &Client) -> bool {
    client.locks.values().any(|held| held.doing == Doing::Asking && !held.path.is_empty())
}
