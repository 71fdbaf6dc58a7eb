//! The two numbers of a grant (rules F1, F2 of `docs/locking.md`).
//!
//! The one place that issues them. A fence is joined from those that hold, never remembered from those that held, so
//! that it needs no history.

use super::resource::Resource;
use super::shard::Shard;
use enq_protocol::vocabulary::{Fence, LockMode, Seq};

/// The modes that carry a fence.
const FENCED: [LockMode; 4] = [LockMode::Cw, LockMode::Pr, LockMode::Pw, LockMode::Ex];

/// Grants of an epoch that are left for queued requests when new ones are refused: more than can ever be queued.
const RESERVE: u64 = 1 << 32;

impl Resource {
    /// The fence of a grant in this mode, with this seq, to a lock that held `before`.
    pub(super) fn next_fence(&mut self, seq: Seq, before: Option<LockMode>, mode: LockMode) -> Fence {
        if !mode.is_fenced() {
            return Fence::UNFENCED;
        }
        // F2: join the other fenced holders, if there are any that live; they all share one fence.
        let holding: u32 = FENCED.into_iter().map(|fenced| self.holding(fenced)).sum();
        let others = holding - self.delayed - u32::from(before.is_some_and(LockMode::is_fenced));
        if others == 0 {
            self.fence = Fence(seq.0);
        }
        self.fence
    }
}

impl Shard {
    /// The seq of the next grant.
    pub(super) fn next_seq(&mut self) -> Seq {
        // F1: one counter a shard, below an epoch that every start of the server raises.
        self.grants += 1;
        assert!(self.grants <= Seq::COUNTER_MAX, "requests are refused long before an epoch is used up");
        Seq::new(self.epoch, self.grants)
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

#[cfg(test)]
mod tests {
    use super::{RESERVE, Seq};
    use crate::engine::{Ask, Input, Instant, Limits, Output, Said, Shard, Under};
    use enq_protocol::vocabulary::{
        Flags, Handle, LockMode, LockspaceId, Owner, ResourceName, SessionId, Status,
    };

    fn said(shard: &mut Shard, input: Input<'_>) -> Option<Said> {
        let mut out: Vec<Output> = Vec::new();
        shard.step(Instant::START, input, &mut out);
        out.into_iter().next().map(|output| output.said)
    }

    fn enq(shard: &mut Shard, number: u32) -> Option<Said> {
        let ask = Ask {
            session: SessionId(1),
            mode: LockMode::Pr,
            flags: Flags::NONE,
            owner: Owner::default(),
            timeout_ms: None,
            priority: 0,
            reason: &[],
        };
        let name = ResourceName::new(b"X").unwrap();
        let under = Under::Lockspace(LockspaceId(0));
        said(shard, Input::Enq { ask, handle: Handle::new(number).unwrap(), under, name: &name })
    }

    /// F1: seqs never start over, so an epoch that is nearly used up serves only what is queued.
    #[test]
    fn an_epoch_that_is_nearly_used_up_takes_nothing_new() {
        let mut shard = Shard::new(0, Limits::default(), 5, 1);
        shard.grants = Seq::COUNTER_MAX - RESERVE - 1;
        let Some(Said::Granted(last)) = enq(&mut shard, 1) else { panic!("there is one left") };
        assert_eq!(last.seq, Seq::new(5, Seq::COUNTER_MAX - RESERVE));
        let unavailable = Some(Said::Refused { status: Status::Unavailable, blocker: None, waiting: 0 });
        assert_eq!(enq(&mut shard, 2), unavailable);
        // What is reserved is more than all queues together can hold.
        assert!(RESERVE > u64::from(u32::MAX));
        // A lower epoch changes nothing, a higher one begins anew, above everything of before.
        assert_eq!(said(&mut shard, Input::RaiseEpoch { epoch: 5 }), None);
        assert_eq!(enq(&mut shard, 2), unavailable);
        assert_eq!(said(&mut shard, Input::RaiseEpoch { epoch: 6 }), None);
        let Some(Said::Granted(next)) = enq(&mut shard, 2) else { panic!("the epoch is new") };
        assert_eq!(next.seq, Seq::new(6, 1));
        assert!(next.seq > last.seq);
    }
}
