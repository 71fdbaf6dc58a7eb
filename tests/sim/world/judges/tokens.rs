//! Seqs and fences (F1, F2): a seq is greater than all before it on its resource, also after a restart; each grant has its
//! own, also a conversion's; those who hold fenced modes have one fence, and it is not greater than their seqs.

use super::{Seen, Wrong};
use enq_protocol::vocabulary::{Fence, LockId, LockMode, LockView, Seq};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub(crate) struct Tokens {
    highest: BTreeMap<usize, Seq>,
}

impl Tokens {
    pub(crate) fn look(
        &mut self,
        place: usize,
        before: &Seen,
        (seen, orphans): (&Seen, &BTreeSet<LockId>),
    ) -> Result<(), Wrong> {
        let highest = self.highest.entry(place).or_default();
        let mut new = Vec::new();
        for (lock, mode) in seen.holding() {
            let known = before.lock(lock.lock).filter(|old| old.seq == lock.seq);
            match known {
                // C5: a demotion is no grant.
                Some(old) if old.granted != Some(mode) && mode != LockMode::Nl => {
                    return Err(format!("F1: lock {} holds {mode} under the seq of another mode", lock.lock));
                }
                Some(_) => {}
                None if lock.seq <= *highest => {
                    return Err(format!(
                        "F1: lock {} is granted with {:?}, after {highest:?}",
                        lock.lock, lock.seq
                    ));
                }
                None => new.push(lock.seq),
            }
        }
        new.sort_unstable();
        if new.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(format!("F1: two grants with one seq: {new:?}"));
        }
        *highest = new.last().copied().unwrap_or(*highest);
        fences(seen, orphans)
    }
}

fn fences(seen: &Seen, orphans: &BTreeSet<LockId>) -> Result<(), Wrong> {
    let mut shared = None;
    // Nobody joins what a dead session left, but for orphans.
    let is_joined = |lock: &LockView| lock.session.is_some() || orphans.contains(&lock.lock);
    for (lock, mode) in seen.holding().filter(|(lock, _)| is_joined(lock)) {
        if !mode.is_fenced() {
            if lock.fence != Fence::UNFENCED {
                return Err(format!("F2: lock {} holds {mode} with a fence", lock.lock));
            }
            continue;
        }
        let fence = *shared.get_or_insert(lock.fence);
        if lock.fence != fence || fence == Fence::UNFENCED || fence.0 > lock.seq.0 {
            return Err(format!("F2: lock {} has {:?}, others {fence:?}", lock.lock, lock.fence));
        }
    }
    Ok(())
}
