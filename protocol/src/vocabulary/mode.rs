//! The six lock modes, what may stand beside what, and what covers what.
//!
//! The two tables of this file are rules M1 and M2 of `docs/locking.md`; everything that asks "may these two live
//! together?" asks here. Modes are ordered by `covers` only: CW and PR are incomparable, and no rule of locking may
//! compare modes by their number. The one exception is the value-block table, which is written in numbers.

use core::fmt;

/// How much a lock lets its holder do, and how much it lets others do beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum LockMode {
    /// Null: does nothing but keep the resource and its value block alive.
    Nl = 0,
    /// Concurrent read: read, others may write.
    Cr = 1,
    /// Concurrent write: read and write, others may too.
    Cw = 2,
    /// Protected read: read, nobody writes.
    Pr = 3,
    /// Protected write: read and write, others may read concurrently (CR).
    Pw = 4,
    /// Exclusive: read and write alone.
    Ex = 5,
}

const Y: bool = true;
#[expect(non_upper_case_globals, reason = "a table of Y and n reads like the one in the manual")]
const n: bool = false;

/// M1: may the two modes be granted on one resource at the same time?
#[rustfmt::skip]
const COMPATIBLE: [[bool; 6]; 6] = [
    //          NL CR CW PR PW EX
    /* NL */ [  Y, Y, Y, Y, Y, Y ],
    /* CR */ [  Y, Y, Y, Y, Y, n ],
    /* CW */ [  Y, Y, Y, n, n, n ],
    /* PR */ [  Y, Y, n, Y, n, n ],
    /* PW */ [  Y, Y, n, n, n, n ],
    /* EX */ [  Y, n, n, n, n, n ],
];

/// M1 once more: for each mode, those that may not stand beside it.
const CONFLICTS: [ModeSet; 6] = {
    let mut sets = [ModeSet::EMPTY; 6];
    let mut mode = 0;
    while mode < 6 {
        let mut other = 0;
        while other < 6 {
            if !COMPATIBLE[mode][other] {
                sets[mode].0 |= 1 << other;
            }
            other += 1;
        }
        mode += 1;
    }
    sets
};

/// M2: is the first mode at least as restrictive as the second?
#[rustfmt::skip]
const COVERS: [[bool; 6]; 6] = [
    //          NL CR CW PR PW EX
    /* NL */ [  Y, n, n, n, n, n ],
    /* CR */ [  Y, Y, n, n, n, n ],
    /* CW */ [  Y, Y, Y, n, n, n ],
    /* PR */ [  Y, Y, n, Y, n, n ],
    /* PW */ [  Y, Y, Y, Y, Y, n ],
    /* EX */ [  Y, Y, Y, Y, Y, Y ],
];

impl LockMode {
    /// All six, least restrictive first.
    pub const ALL: [LockMode; 6] =
        [LockMode::Nl, LockMode::Cr, LockMode::Cw, LockMode::Pr, LockMode::Pw, LockMode::Ex];

    /// M1: may both be granted on one resource at the same time? Symmetric.
    #[must_use]
    pub const fn is_compatible(self, other: LockMode) -> bool {
        COMPATIBLE[self as usize][other as usize]
    }

    /// M2: every mode compatible with `self` is compatible with `other`.
    #[must_use]
    pub const fn covers(self, other: LockMode) -> bool {
        COVERS[self as usize][other as usize]
    }

    /// The modes that may not stand beside this one.
    #[must_use]
    pub const fn conflicts(self) -> ModeSet {
        CONFLICTS[self as usize]
    }

    /// F1: CW, PR, PW and EX carry a fence; NL and CR do not.
    #[must_use]
    pub const fn is_fenced(self) -> bool {
        !matches!(self, LockMode::Nl | LockMode::Cr)
    }

    /// The mode with this number, 0..=5.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<LockMode> {
        match number {
            0 => Some(LockMode::Nl),
            1 => Some(LockMode::Cr),
            2 => Some(LockMode::Cw),
            3 => Some(LockMode::Pr),
            4 => Some(LockMode::Pw),
            5 => Some(LockMode::Ex),
            _ => None,
        }
    }

    /// The two letters of the field.
    #[must_use]
    pub const fn letters(self) -> &'static str {
        match self {
            LockMode::Nl => "NL",
            LockMode::Cr => "CR",
            LockMode::Cw => "CW",
            LockMode::Pr => "PR",
            LockMode::Pw => "PW",
            LockMode::Ex => "EX",
        }
    }

    /// What the letters stand for.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            LockMode::Nl => "null",
            LockMode::Cr => "concurrent read",
            LockMode::Cw => "concurrent write",
            LockMode::Pr => "protected read",
            LockMode::Pw => "protected write",
            LockMode::Ex => "exclusive",
        }
    }

    /// The mode with these letters, upper or lower case.
    #[must_use]
    pub fn from_letters(letters: &str) -> Option<LockMode> {
        Self::ALL.into_iter().find(|mode| mode.letters().eq_ignore_ascii_case(letters))
    }
}

impl fmt::Display for LockMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.letters())
    }
}

/// A set of modes in six bits, bit n for mode n.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ModeSet(u8);

impl ModeSet {
    /// No mode.
    pub const EMPTY: ModeSet = ModeSet(0);

    /// Only this mode.
    #[must_use]
    pub const fn only(mode: LockMode) -> ModeSet {
        ModeSet(1 << mode as u8)
    }

    /// This set and the mode.
    #[must_use]
    pub const fn with(self, mode: LockMode) -> ModeSet {
        ModeSet(self.0 | 1 << mode as u8)
    }

    /// This set without the mode.
    #[must_use]
    pub const fn without(self, mode: LockMode) -> ModeSet {
        ModeSet(self.0 & !(1 << mode as u8))
    }

    /// The modes in both.
    #[must_use]
    pub const fn intersection(self, other: ModeSet) -> ModeSet {
        ModeSet(self.0 & other.0)
    }

    /// Is the mode in the set?
    #[must_use]
    pub const fn contains(self, mode: LockMode) -> bool {
        self.0 & (1 << mode as u8) != 0
    }

    /// Is there no mode in it?
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Does some mode of the set cover this mode?
    #[must_use]
    pub fn covers(self, mode: LockMode) -> bool {
        self.iter().any(|told| told.covers(mode))
    }

    /// The modes, least restrictive first.
    pub fn iter(self) -> impl Iterator<Item = LockMode> {
        LockMode::ALL.into_iter().filter(move |mode| self.contains(*mode))
    }
}

impl fmt::Debug for ModeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(LockMode::letters)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compatibility_is_symmetric_and_covering_follows_from_it() {
        for a in LockMode::ALL {
            for b in LockMode::ALL {
                assert_eq!(a.is_compatible(b), b.is_compatible(a), "{a} {b}");
                let implied = LockMode::ALL.iter().all(|m| !m.is_compatible(a) || m.is_compatible(b));
                assert_eq!(a.covers(b), implied, "{a} covers {b}");
                assert_eq!(a.conflicts().contains(b), !a.is_compatible(b));
            }
        }
    }

    #[test]
    fn numbers_and_letters_come_back() {
        for mode in LockMode::ALL {
            assert_eq!(LockMode::from_number(mode as u8), Some(mode));
            assert_eq!(LockMode::from_letters(mode.letters()), Some(mode));
        }
        assert_eq!(LockMode::from_number(6), None);
        assert_eq!(LockMode::from_letters("XX"), None);
    }
}
