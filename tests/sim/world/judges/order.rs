//! Who waits is served in turn, and nobody waits for nothing.
//!
//! A request that waits is not overtaken by a new one, nor by one that came after it; the head of a queue is not
//! grantable. The worlds ask for no flag that changes the order.

use super::{Seen, Wrong};
use crate::model::beside;
use enq_protocol::vocabulary::{LockView, Queue};

pub(crate) fn look(before: &Seen, seen: &Seen, recovering: bool) -> Result<(), Wrong> {
    nobody_overtakes(before, seen)?;
    if recovering { Ok(()) } else { no_head_is_idle(seen) }
}

fn nobody_overtakes(before: &Seen, seen: &Seen) -> Result<(), Wrong> {
    let mut ahead: Vec<&LockView> = Vec::new();
    let old: Vec<&LockView> = before.queue(Queue::Waiting).collect();
    for lock in &old {
        match seen.lock(lock.lock).map(|now| now.queue) {
            Some(Queue::Waiting) => ahead.push(lock),
            Some(Queue::Granted | Queue::Conversion) if !ahead.is_empty() => {
                return Err(format!("FIFO: lock {} was granted past lock {}", lock.lock, ahead[0].lock));
            }
            _ => {}
        }
    }
    let is_new = |lock: &&LockView| before.lock(lock.lock).is_none();
    if let (Some(waits), Some(new)) = (ahead.first(), seen.queue(Queue::Granted).find(is_new)) {
        return Err(format!("FIFO: lock {} is new and granted, and lock {} waits", new.lock, waits.lock));
    }
    let now: Vec<_> = seen.queue(Queue::Waiting).map(|lock| lock.lock).collect();
    let kept: Vec<_> = now.iter().filter(|id| ahead.iter().any(|lock| lock.lock == **id)).collect();
    if kept.into_iter().ne(ahead.iter().map(|lock| &lock.lock)) {
        return Err("FIFO: the order of the waiting queue has changed".into());
    }
    Ok(())
}

fn no_head_is_idle(seen: &Seen) -> Result<(), Wrong> {
    let fits = |lock: &LockView| {
        let wanted = lock.requested.expect("who is in a queue wants a mode");
        seen.holding().all(|(other, mode)| other.lock == lock.lock || beside(mode, wanted))
    };
    let conversion = seen.queue(Queue::Conversion).next();
    let head = conversion.or_else(|| seen.queue(Queue::Waiting).next());
    match head.filter(|head| fits(head)) {
        Some(head) => Err(format!("idle head: lock {} could be granted {:?}", head.lock, head.requested)),
        None => Ok(()),
    }
}
