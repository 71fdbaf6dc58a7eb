//! Gates: what a protected resource does with the two numbers of a grant.
//!
//! A lock service alone cannot stop a holder that went to sleep, lost its lease and wakes up in the middle of a write.
//! The resource can, if each operation brings the numbers of its grant and the resource refuses those that are out of
//! date. The two gates here are that check: [`FenceGate`] remembers one number and serves CW, PR, PW and EX; [`SeqGate`]
//! remembers one for each mode and serves all modes. Both are a few comparisons, without a lock or a file inside.
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
//! A gate is kept where the protected data is kept and changed together with it. In a file or in an object's metadata it
//! is the text that `Display` writes and `FromStr` reads. The pattern for a store with conditional writes: read the
//! object with its tag, let the gate decide, write object and gate back *if the tag is still the same*, and begin anew
//! if it is not.
//!
//! ```
//! # use enq::client::{Fence, FenceGate, Stale};
//! # struct Object { body: u64, gate: String, tag: u32 }
//! # struct Store(Object);
//! # impl Store {
//! #     fn get(&self) -> (u64, String, u32) { (self.0.body, self.0.gate.clone(), self.0.tag) }
//! #     fn put_if(&mut self, tag: u32, body: u64, gate: String) -> bool {
//! #         let same = tag == self.0.tag;
//! #         if same { self.0 = Object { body, gate, tag: tag + 1 }; }
//! #         same
//! #     }
//! # }
//! fn add(store: &mut Store, fence: Fence, amount: u64) -> Result<(), Stale> {
//!     loop {
//!         let (body, stored, tag) = store.get();
//!         let mut gate: FenceGate = stored.parse().expect("written by the line below");
//!         gate.pass(fence)?;
//!         if store.put_if(tag, body + amount, gate.to_string()) {
//!             return Ok(());
//!         }
//!     }
//! }
//! # let mut store = Store(Object { body: 0, gate: FenceGate::default().to_string(), tag: 1 });
//! # add(&mut store, Fence(7), 5).unwrap();
//! # add(&mut store, Fence(9), 5).unwrap();
//! # assert!(add(&mut store, Fence(7), 5).is_err());
//! # assert_eq!((store.0.body, store.0.gate.as_str()), (10, "9"));
//! ```
//!
//! In SQL the scalar gate is one condition, and "no row" means stale; a trigger that no statement gets round, and the
//! gate with one mark a mode as a function, are in `examples/gate/gate.sql`.
//!
//! ```sql
//! UPDATE account SET balance = $1, fence = $2 WHERE id = $3 AND fence <= $2;
//! ```

use enq_protocol::vocabulary::{Fence, LockMode, Seq};
use std::{fmt, num::ParseIntError, str::FromStr};

/// An operation came with numbers of a grant that a later, conflicting one has overtaken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the grant behind {shown} is out of date: the resource has seen {seen}")]
pub struct Stale {
    /// The number that the operation brought.
    pub shown: u64,
    /// The higher one that the resource has seen.
    pub seen: u64,
}

/// What was stored is no [`SeqGate`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the marks of a gate are six numbers with commas between, in the order of the modes: {text:?}")]
pub struct NotMarks {
    /// What was stored.
    pub text: String,
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

    /// Would an operation under this fence pass? Changes nothing.
    ///
    /// # Errors
    /// As [`FenceGate::pass`].
    pub fn check(&self, fence: Fence) -> Result<(), Stale> {
        if fence == Fence::UNFENCED || fence < self.highest {
            return Err(Stale { shown: fence.0, seen: self.highest.0 });
        }
        Ok(())
    }

    /// May an operation under this fence go on? If so the gate is raised to it, otherwise it stays as it is.
    ///
    /// # Errors
    /// [`Stale`] if a higher fence was seen, and always for fence 0: NL and CR are not fenced.
    pub fn pass(&mut self, fence: Fence) -> Result<(), Stale> {
        self.check(fence)?;
        self.highest = fence;
        Ok(())
    }

    /// Raises the gate to what somebody else has seen. A lower fence changes nothing and is not refused: a holder who
    /// shows his own fence for the first time asks [`FenceGate::pass`], which says so if he comes too late.
    pub fn raise(&mut self, fence: Fence) {
        self.highest = self.highest.max(fence);
    }
}

/// The highest fence, in decimal digits.
impl fmt::Display for FenceGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.highest.fmt(f)
    }
}

impl FromStr for FenceGate {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<FenceGate, ParseIntError> {
        text.parse().map(|highest| FenceGate::seen(Fence(highest)))
    }
}

/// One high-water mark for each mode: exact for all six modes, CR included.
///
/// An operation passes unless a grant of a *conflicting* mode with a higher seq was seen.
///
/// ```
/// use enq::client::{LockMode::{Cr, Ex, Pw}, Seq, SeqGate};
/// let mut gate = SeqGate::default();
/// assert!(gate.pass(Cr, Seq(1)).is_ok() && gate.pass(Pw, Seq(2)).is_ok());
/// assert!(gate.pass(Cr, Seq(1)).is_ok(), "a concurrent reader stands beside the writer");
/// let stored = gate.to_string();
/// assert_eq!(stored, "0,1,0,0,2,0");
/// let mut gate: SeqGate = stored.parse().unwrap();
/// assert!(gate.pass(Ex, Seq(3)).is_ok(), "alone");
/// assert!(gate.pass(Cr, Seq(1)).is_err() && gate.pass(Pw, Seq(2)).is_err());
/// ```
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

    /// Would an operation under this grant pass? Changes nothing.
    ///
    /// # Errors
    /// As [`SeqGate::pass`].
    pub fn check(&self, mode: LockMode, seq: Seq) -> Result<(), Stale> {
        let seen = mode.conflicts().iter().map(|other| self.marks[other as usize]).max();
        match seen {
            Some(seen) if seen > seq => Err(Stale { shown: seq.0, seen: seen.0 }),
            _ => Ok(()),
        }
    }

    /// May an operation under this grant go on? If so the gate is raised to it, otherwise it stays as it is.
    ///
    /// # Errors
    /// [`Stale`] if a conflicting mode has a higher mark.
    pub fn pass(&mut self, mode: LockMode, seq: Seq) -> Result<(), Stale> {
        self.check(mode, seq)?;
        self.raise(mode, seq);
        Ok(())
    }

    /// Raises the gate to what somebody else has seen; a lower seq changes nothing. A holder who shows his own grant for
    /// the first time asks [`SeqGate::pass`], which says so if he comes too late.
    pub fn raise(&mut self, mode: LockMode, seq: Seq) {
        let mark = &mut self.marks[mode as usize];
        *mark = (*mark).max(seq);
    }
}

/// The six marks with commas between, in the order of [`LockMode::ALL`].
impl fmt::Display for SeqGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [nl, cr, cw, pr, pw, ex] = self.marks;
        write!(f, "{nl},{cr},{cw},{pr},{pw},{ex}")
    }
}

impl FromStr for SeqGate {
    type Err = NotMarks;

    fn from_str(text: &str) -> Result<SeqGate, NotMarks> {
        let marks: Result<Vec<Seq>, ParseIntError> =
            text.split(',').map(|mark| mark.parse().map(Seq)).collect();
        let marks = marks.ok().and_then(|marks| marks.try_into().ok());
        marks.map(SeqGate::seen).ok_or_else(|| NotMarks { text: text.into() })
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
        assert_eq!(gate.to_string().parse(), Ok(gate));
        assert!("".parse::<FenceGate>().is_err() && "-1".parse::<FenceGate>().is_err());
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
        assert_eq!(gate.to_string().parse(), Ok(gate));
        assert!(gate.pass(Pr, Seq(5)).is_ok());
    }

    #[test]
    fn a_question_changes_nothing_and_neither_does_a_refusal() {
        let (mut fences, mut seqs) = (FenceGate::seen(Fence(5)), SeqGate::default());
        seqs.raise(Ex, Seq(5));
        let before = (fences, seqs);
        assert!(fences.check(Fence(6)).is_ok() && seqs.check(Ex, Seq(6)).is_ok());
        assert!(fences.pass(Fence(4)).is_err() && seqs.pass(Cr, Seq(4)).is_err());
        assert_eq!((fences, seqs), before);
    }

    #[test]
    fn what_is_no_gate_is_refused() {
        for text in ["", "1", "1,2,3,4,5", "1,2,3,4,5,6,7", "1,2,3,4,5,x", "1,,2,3,4,5"] {
            assert_eq!(text.parse::<SeqGate>(), Err(NotMarks { text: text.into() }));
        }
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
