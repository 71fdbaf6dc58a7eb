//! Gates: what a protected resource does with the two numbers of a grant.
//!
//! A lock service alone cannot stop a holder that went to sleep, lost its lease and wakes up in the middle of a write.
//! The resource can, if each operation brings the numbers of its grant and the resource refuses those that are out of
//! date. The two gates here are that check: [`FenceGate`] remembers one number and serves CW, PR, PW and EX; [`SeqGate`]
//! remembers one for each mode and serves all modes. Both are a few comparisons, and the same in SQL
//! (`UPDATE .. SET fence = $1 .. WHERE id = $2 AND fence <= $1`) or in a conditional put of an object store.
//!
//! What no gate can do, and what follows from it:
//!
//! 1. *A gate only knows what it was shown.* If readers pass it by, a late write of a former holder may land after a new
//!    reader has read. So the first thing to do after each grant, before reading anything, is to raise the gate.
//! 2. *Holders of one fence are alike to it.* A CW or PR holder whose lease is over has the same fence as those CW or PR
//!    holders that live on, and its late operations pass. That harms nobody whom the mode had not already allowed it to
//!    meet, but survivors who clean up after it need more: take EX on a resource that stands for that peer's recovery.
//! 3. *Until the new holder's first operation arrives, the old holder's operations are accepted.* Nothing has told the
//!    resource yet that there is a new one.
//! 4. *After its own down-conversion a holder has new numbers and must use them.* What it still had under way with the
//!    old ones may be refused.
//!
//! A gate is a value without a lock inside: keep it where the protected data is kept, changed in the same transaction.

use enq_protocol::vocabulary::{Fence, LockMode, Seq};

/// An operation came with numbers of a grant that a later, conflicting one has overtaken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the grant behind {shown} is out of date: the resource has seen {seen}")]
pub struct Stale {
    /// The number that the operation brought.
    pub shown: u64,
    /// The higher one that the resource has seen.
    pub seen: u64,
}

/// One high-water mark for the fences of CW, PR, PW and EX grants.
///
/// ```
/// use enq::client::{Fence, FenceGate};
/// let mut gate = FenceGate::default();
/// assert!(gate.pass(Fence(7)).is_ok(), "the first holder writes");
/// assert!(gate.pass(Fence(9)).is_ok(), "the next holder writes");
/// assert!(gate.pass(Fence(7)).is_err(), "the first one wakes up late");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FenceGate {
    highest: Fence,
}

impl FenceGate {
    /// A gate that has seen this fence: what was stored beside the protected data.
    #[must_use]
    pub fn seen(highest: Fence) -> FenceGate {
        FenceGate { highest }
    }

    /// The highest fence that was seen, to be stored beside the protected data.
    #[must_use]
    pub fn highest(&self) -> Fence {
        self.highest
    }

    /// May an operation under this fence go on? If so the gate is raised to it.
    ///
    /// # Errors
    /// [`Stale`] if a higher fence was seen, and always for fence 0: NL and CR are not fenced.
    pub fn pass(&mut self, fence: Fence) -> Result<(), Stale> {
        if fence == Fence::UNFENCED || fence < self.highest {
            return Err(Stale { shown: fence.0, seen: self.highest.0 });
        }
        self.highest = fence;
        Ok(())
    }

    /// The first thing to do after a grant (caveat 1). A lower fence changes nothing.
    pub fn raise(&mut self, fence: Fence) {
        self.highest = self.highest.max(fence);
    }
}

/// One high-water mark for each mode: exact for all six modes, CR included.
///
/// An operation passes unless a grant of a *conflicting* mode with a higher seq was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeqGate {
    marks: [Seq; 6],
}

impl SeqGate {
    /// A gate with these marks, in the order of [`LockMode::ALL`]: what was stored beside the protected data.
    #[must_use]
    pub fn seen(marks: [Seq; 6]) -> SeqGate {
        SeqGate { marks }
    }

    /// The marks, in the order of [`LockMode::ALL`].
    #[must_use]
    pub fn marks(&self) -> [Seq; 6] {
        self.marks
    }

    /// May an operation under this grant go on? If so the gate is raised to it.
    ///
    /// # Errors
    /// [`Stale`] if a conflicting mode has a higher mark.
    pub fn pass(&mut self, mode: LockMode, seq: Seq) -> Result<(), Stale> {
        let conflicting = LockMode::ALL.into_iter().filter(|other| !other.is_compatible(mode));
        let seen = conflicting.map(|other| self.marks[other as usize]).max().unwrap_or_default();
        if seen > seq {
            return Err(Stale { shown: seq.0, seen: seen.0 });
        }
        self.raise(mode, seq);
        Ok(())
    }

    /// The first thing to do after a grant (caveat 1).
    pub fn raise(&mut self, mode: LockMode, seq: Seq) {
        let mark = &mut self.marks[mode as usize];
        *mark = (*mark).max(seq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use LockMode::{Cr, Cw, Ex, Nl, Pr, Pw};

    #[test]
    fn two_readers_share_a_fence_and_a_late_writer_is_refused() {
        let mut gate = FenceGate::default();
        gate.pass(Fence(3)).unwrap();
        gate.raise(Fence(5));
        gate.pass(Fence(5)).unwrap();
        gate.pass(Fence(5)).unwrap();
        assert_eq!(gate.pass(Fence(3)), Err(Stale { shown: 3, seen: 5 }));
        gate.raise(Fence(4));
        assert_eq!(gate.highest(), Fence(5), "a gate is never lowered");
        assert!(gate.pass(Fence::UNFENCED).is_err());
        assert_eq!(FenceGate::seen(gate.highest()), gate);
    }

    #[test]
    fn a_reader_that_does_not_raise_the_gate_lets_the_former_writer_through() {
        let mut gate = FenceGate::default();
        gate.pass(Fence(3)).unwrap();
        assert!(gate.pass(Fence(3)).is_ok(), "caveats 1 and 3: the reader with fence 5 has not been here");
        gate.raise(Fence(5));
        assert!(gate.pass(Fence(3)).is_err());
    }

    #[test]
    fn modes_that_may_stand_beside_each_other_never_refuse_each_other() {
        for (first, second) in LockMode::ALL.iter().flat_map(|a| LockMode::ALL.map(|b| (*a, b))) {
            let mut gate = SeqGate::default();
            gate.pass(first, Seq(1)).unwrap();
            gate.pass(second, Seq(2)).unwrap();
            assert_eq!(
                gate.pass(first, Seq(1)).is_ok(),
                first.is_compatible(second),
                "{first} after {second}"
            );
        }
    }

    #[test]
    fn a_concurrent_reader_outlives_writers_that_exclude_each_other() {
        let mut gate = SeqGate::default();
        gate.raise(Cr, Seq(1));
        gate.pass(Pw, Seq(2)).unwrap();
        gate.pass(Cw, Seq(3)).unwrap();
        assert!(gate.pass(Pw, Seq(2)).is_err());
        assert!(gate.pass(Cr, Seq(1)).is_ok() && gate.pass(Nl, Seq(0)).is_ok());
        gate.pass(Ex, Seq(4)).unwrap();
        assert!(gate.pass(Cr, Seq(1)).is_err());
        assert_eq!(SeqGate::seen(gate.marks()), gate);
        assert!(gate.pass(Pr, Seq(5)).is_ok());
    }

    #[test]
    fn after_a_down_conversion_the_old_numbers_are_refused_and_the_new_ones_pass() {
        let mut gate = SeqGate::default();
        gate.pass(Pw, Seq(1)).unwrap();
        gate.pass(Cw, Seq(2)).unwrap();
        assert!(gate.pass(Pw, Seq(1)).is_err(), "caveat 4");
        assert!(gate.pass(Cw, Seq(2)).is_ok());
    }
}
