//! The two numbers of a grant (rules F1, F2 of `docs/locking.md`).
//!
//! The one place that issues them. A fence is joined from those that hold, never remembered from those that held, so
//! that it needs no history.

use super::lock::ResourceSlot;
use super::shard::Shard;
use enq_protocol::vocabulary::{Fence, LockMode, Seq};

/// The modes that carry a fence.
const FENCED: [LockMode; 4] = [LockMode::Cw, LockMode::Pr, LockMode::Pw, LockMode::Ex];

/// Grants of an epoch that are left for queued requests when new ones are refused: more than can ever be queued.
const RESERVE: u64 = 1 << 32;

impl Shard {
    /// The numbers of a grant in this mode to a lock that held `before`.
    pub(super) fn next_tokens(
        &mut self,
        resource: ResourceSlot,
        before: Option<LockMode>,
        mode: LockMode,
    ) -> (Seq, Fence) {
        // F1: one counter a shard, below an epoch that every start of the server raises.
        self.grants += 1;
        assert!(self.grants <= Seq::COUNTER_MAX, "requests are refused long before an epoch is used up");
        let seq = Seq::new(self.epoch, self.grants);
        if !mode.is_fenced() {
            return (seq, Fence::UNFENCED);
        }
        // F2: join the other fenced holders, if there are any; they all share one fence.
        let resource = &mut self.resources[resource];
        let holding: u32 = FENCED.into_iter().map(|fenced| resource.holding(fenced)).sum();
        let others = holding - u32::from(before.is_some_and(LockMode::is_fenced));
        if others == 0 {
            resource.fence = Fence(seq.0);
        }
        (seq, resource.fence)
    }

    /// Is the epoch nearly used up, so that only what is queued may still be granted?
    pub(super) fn is_epoch_used_up(&self) -> bool {
        self.grants >= Seq::COUNTER_MAX - RESERVE
    }

    /// Higher numbers from now on.
    pub(super) fn raise_epoch(&mut self, epoch: u32) {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.grants = 0;
        }
    }
}
