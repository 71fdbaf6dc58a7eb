//! D3-D5: whoever is refused to break a deadlock was on one when that was looked at last, and asked for the same when he
//! was refused; each wait that is told was there; the one that goes is the one that should; and of each deadlock one goes,
//! for a second one would be on none any more.

use super::{Glance, Wrong, queues};
use enq::table::{Deadlock, Refusal};
use enq_protocol::vocabulary::{
    Flags, LockId, LockMode, LockView, NEVER_REFUSED, Queue, Seq, Stamp, WaitView,
};
use std::collections::BTreeMap;

/// The requests that are about to be refused, as each was when its deadlock was looked at.
#[derive(Debug, Default)]
pub(crate) struct Soundness {
    meant: BTreeMap<LockId, Stamp>,
}

fn find(glance: &Glance, lock: LockId) -> Option<&LockView> {
    glance.places.iter().find_map(|seen| seen.lock(lock))
}

/// What does not change by time alone.
fn as_it_is(lock: &LockView) -> (Queue, Option<LockMode>, Option<LockMode>, Stamp, Seq) {
    (lock.queue, lock.granted, lock.requested, lock.stamp, lock.seq)
}

impl Soundness {
    pub(crate) fn restart(&mut self) {
        self.meant.clear();
    }

    /// A cycle is confirmed: this is what it says, and this is what is there.
    pub(crate) fn confirmed(
        &mut self,
        glance: &Glance,
        waits: &[WaitView],
        victim: Option<LockId>,
    ) -> Result<(), Wrong> {
        let now = queues::all(glance);
        for wait in waits {
            let edge = now.edge(wait.waiting.lock.0, wait.blocker.lock.0);
            if edge != Some(wait.why) {
                return Err(format!("D5: there is no such wait, but {edge:?}: {wait:?}"));
            }
        }
        let Some(victim) = victim else { return Self::are_all_spared(waits) };
        let seen = find(glance, victim).ok_or_else(|| format!("D5: {victim} is not there"))?;
        self.meant.insert(victim, seen.stamp);
        let is_on_it = now.waits_for_itself(victim.0, true);
        let mut later = now;
        let stuck = later.run();
        let waits_on = later.all().any(|entry| entry.id == victim.0 && entry.wanted.is_some());
        if stuck.is_empty() || !waits_on || !is_on_it {
            return Err(format!("D3: {victim} is in no deadlock, and is to be refused: {waits:#?}"));
        }
        Self::is_the_one(waits, seen)
    }

    /// D4: nobody goes where nobody may.
    fn are_all_spared(waits: &[WaitView]) -> Result<(), Wrong> {
        let may_go =
            |lock: &&LockView| !lock.flags.contains(Flags::NODLCKWT) && lock.priority != NEVER_REFUSED;
        match waits.iter().map(|wait| &wait.waiting).find(may_go) {
            Some(lock) => Err(format!("D4: {} may go, and nobody does: {waits:#?}", lock.lock)),
            None => Ok(()),
        }
    }

    /// D4: the lowest priority, then the youngest; never one that is spared.
    fn is_the_one(waits: &[WaitView], victim: &LockView) -> Result<(), Wrong> {
        if victim.priority == NEVER_REFUSED {
            return Err(format!("D4: {} is spared, and goes: {waits:#?}", victim.lock));
        }
        let counts = |lock: &&LockView| !lock.flags.contains(Flags::NODLCKWT);
        for other in waits.iter().map(|wait| &wait.waiting).filter(counts) {
            // Ages are in whole milliseconds: those of one are of one age.
            if (other.priority, other.age_ms) < (victim.priority, victim.age_ms) {
                return Err(format!("D4: {} goes, and not {}: {waits:#?}", victim.lock, other.lock));
            }
        }
        Ok(())
    }

    /// Somebody was refused: what was there before, and what is there now.
    pub(crate) fn refused(&self, before: &Glance, after: &Glance, told: &Deadlock) -> Result<(), Wrong> {
        let Some(victim) = told.refused else { return Ok(()) };
        let was = find(before, victim).ok_or_else(|| format!("D5: {victim} was not there"))?;
        self.is_gone(was, after)
    }

    /// A refusal has come through the log. Says whether it was void, because the request that was meant has gone since; then
    /// nothing happens to whatever there is in its place.
    pub(crate) fn came_through(
        &self,
        before: &Glance,
        after: &Glance,
        refusal: &Refusal,
    ) -> Result<bool, Wrong> {
        let was = find(before, refusal.lock);
        match was.filter(|was| was.stamp == refusal.stamp && was.requested.is_some()) {
            Some(was) => self.is_gone(was, after).map(|()| false),
            None if was.map(as_it_is) == find(after, refusal.lock).map(as_it_is) => Ok(true),
            None => Err(format!(
                "D5: {refusal:?} is void, and {was:?} has become {:?}",
                find(after, refusal.lock)
            )),
        }
    }

    /// The request that was meant is refused.
    fn is_gone(&self, was: &LockView, after: &Glance) -> Result<(), Wrong> {
        let victim = was.lock;
        if self.meant.get(&victim) != Some(&was.stamp) || was.requested.is_none() {
            return Err(format!("D5: {:?} was meant, and refused was {was:?}", self.meant));
        }
        let is = find(after, victim);
        let is_as_before = match is {
            // C6: a conversion leaves what is held.
            Some(is) => is.queue == Queue::Granted && (is.granted, is.seq) == (was.granted, was.seq),
            None => was.granted.is_none(),
        };
        if is_as_before { Ok(()) } else { Err(format!("D4: {was:?} was refused, and is {is:?}")) }
    }
}
