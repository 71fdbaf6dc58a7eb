//! What is asked of a server: the work, the modes, the names.
//!
//! A *pair* is one round of the work on one slot: ask for a lock, get the answer, release it, get the answer; or what stands
//! in its place. Whatever is read from a command line is checked here and nowhere else.

use std::{fmt, str::FromStr};

use enq_protocol::vocabulary::{LockMode, VALUE_LEN_MAX};

/// How deep a tree may be here: names and frames stay short.
pub(super) const TREE_DEPTH_MAX: u32 = 16;
/// Shared names at most: each has an entry of eight bytes in the table that names are drawn from.
const SHARED_NAMES_MAX: u32 = 10_000_000;

/// What one pair consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A new lock, and its release.
    Pair,
    /// A lock that is kept in NL: converted to PR, and back.
    Convert,
    /// A leaf of a tree with the intents above it in one request, and their release in one.
    Path,
    /// The same locks, each asked for and released by a request of its own, all sent at once.
    PipelinedPath,
    /// One exclusive lock that all connections want: each grant is handed on to the next one that waits.
    Handoff,
}

impl Work {
    /// All, with the words of the command line.
    pub const TABLE: [(&'static str, Work); 5] = [
        ("pair", Work::Pair),
        ("convert", Work::Convert),
        ("path", Work::Path),
        ("pipelined-path", Work::PipelinedPath),
        ("handoff", Work::Handoff),
    ];
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Work::TABLE.iter().find(|(_, work)| work == self).map_or("", |(word, _)| word);
        f.pad(word)
    }
}

impl FromStr for Work {
    type Err = String;

    fn from_str(text: &str) -> Result<Work, String> {
        let found = Work::TABLE.iter().find(|(word, _)| *word == text).map(|(_, work)| *work);
        let words = || Work::TABLE.map(|(word, _)| word).join(", ");
        found.ok_or_else(|| format!("a work is one of {}", words()))
    }
}

/// Modes with their weights, as `PR:80,EX:20`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix(Vec<(LockMode, u32)>);

impl Mix {
    /// One mode alone.
    #[must_use]
    pub fn only(mode: LockMode) -> Mix {
        Mix(vec![(mode, 1)])
    }

    /// The modes and their weights; at least one weight is not zero.
    #[must_use]
    pub fn weights(&self) -> &[(LockMode, u32)] {
        &self.0
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Mix, String> {
        let wrong = || String::from("modes are given as EX or as PR:80,EX:20, of NL CR CW PR PW EX");
        let mut weights = Vec::new();
        for part in text.split(',') {
            let (letters, weight) = part.split_once(':').unwrap_or((part, "1"));
            let mode = LockMode::from_letters(letters).ok_or_else(wrong)?;
            weights.push((mode, weight.parse().map_err(|_| wrong())?));
        }
        if weights.iter().all(|(_, weight)| *weight == 0) { Err(wrong()) } else { Ok(Mix(weights)) }
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = match self.0.as_slice() {
            [(mode, _)] => vec![mode.to_string()],
            several => several.iter().map(|(mode, weight)| format!("{mode}:{weight}")).collect(),
        };
        f.write_str(&parts.join(","))
    }
}

/// Whose names are asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Names {
    /// Each slot has a name of its own: nobody waits for anybody.
    Own,
    /// All slots draw from the same names: some wait.
    Shared {
        /// How many names.
        count: u32,
        /// The exponent of the Zipf distribution; 0 for all alike.
        exponent: f64,
    },
}

/// All that is said about what is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// The work.
    pub work: Work,
    /// The modes of new locks.
    pub modes: Mix,
    /// The names.
    pub names: Names,
    /// Levels of a path, its leaf included.
    pub tree_depth: u32,
    /// The length of the value block that a release writes, if it writes one.
    pub value_len: Option<usize>,
}

impl Workload {
    /// This work, with EX on names of its own and nothing else.
    #[must_use]
    pub fn plain(work: Work) -> Workload {
        Workload { work, modes: Mix::only(LockMode::Ex), names: Names::Own, tree_depth: 4, value_len: None }
    }

    /// Is it asked for in a form that others than enqd know: one lock, exclusive, without more?
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Workload { tree_depth: self.tree_depth, ..Workload::plain(Work::Pair) } || self.is_handoff()
    }

    /// Is there one lock for all?
    #[must_use]
    pub fn is_handoff(&self) -> bool {
        self.work == Work::Handoff
    }

    /// Can a request have to wait for another connection?
    #[must_use]
    pub fn is_contended(&self) -> bool {
        self.is_handoff() || self.names != Names::Own
    }

    /// How many requests of a slot travel at once.
    #[must_use]
    pub fn frames_a_step(&self) -> u32 {
        if self.work == Work::PipelinedPath { self.tree_depth } else { 1 }
    }

    /// What cannot go together, in a sentence.
    ///
    /// # Errors
    /// That sentence.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=TREE_DEPTH_MAX).contains(&self.tree_depth) {
            return Err(format!("a path has 1 to {TREE_DEPTH_MAX} levels"));
        }
        if let Names::Shared { count, exponent } = self.names {
            if !(1..=SHARED_NAMES_MAX).contains(&count) {
                return Err(format!("shared names are 1 to {SHARED_NAMES_MAX}"));
            }
            if !(0.0..=10.0).contains(&exponent) {
                return Err(String::from("the exponent of a Zipf distribution is 0 to 10 here"));
            }
            if self.work != Work::Pair {
                return Err(format!("names are shared by the work pair only, not by {}", self.work));
            }
        }
        if let Some(len) = self.value_len {
            let writes = |(mode, weight): &(LockMode, u32)| {
                matches!(mode, LockMode::Pw | LockMode::Ex) || *weight == 0
            };
            if self.work != Work::Pair || !self.modes.weights().iter().all(writes) {
                return Err(String::from("value blocks are written by the work pair, from PW and EX"));
            }
            if !(1..=VALUE_LEN_MAX).contains(&len) {
                return Err(format!("a value block has 1 to {VALUE_LEN_MAX} bytes"));
            }
        }
        if self.work != Work::Pair && self.modes != Mix::only(LockMode::Ex) {
            return Err(format!("modes are chosen for the work pair only, not for {}", self.work));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn works_and_mixes_are_read_as_they_are_written() {
        for (word, work) in Work::TABLE {
            assert_eq!((word.parse(), work.to_string()), (Ok(work), word.into()));
        }
        assert!("pairs".parse::<Work>().is_err());
        for text in ["EX", "PR:80,EX:20", "NL:1,CR:2,CW:3,PR:0,PW:5,EX:6"] {
            assert_eq!(text.parse::<Mix>().map(|mix| mix.to_string()), Ok(text.into()));
        }
        for text in ["", "XX", "PR:", "PR:-1", "PR:80;EX:20", "EX:0", "PR:0,EX:0"] {
            assert!(text.parse::<Mix>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_cannot_go_together_is_refused() {
        let plain = Workload::plain(Work::Pair);
        assert!(plain.check().is_ok() && plain.is_plain() && !plain.is_contended());
        let shared = Names::Shared { count: 10, exponent: 1.0 };
        let readers: Mix = "PR".parse().unwrap();
        let good = [
            Workload { names: shared, modes: readers.clone(), ..plain.clone() },
            Workload { value_len: Some(64), ..plain.clone() },
            Workload::plain(Work::Handoff),
        ];
        for workload in good {
            assert_eq!(workload.check(), Ok(()), "{workload:?}");
        }
        let wrong = [
            Workload { tree_depth: 0, ..plain.clone() },
            Workload { tree_depth: 17, ..plain.clone() },
            Workload { names: shared, ..Workload::plain(Work::Path) },
            Workload { names: Names::Shared { count: 0, exponent: 1.0 }, ..plain.clone() },
            Workload { names: Names::Shared { count: 1, exponent: f64::NAN }, ..plain.clone() },
            Workload { value_len: Some(64), modes: readers.clone(), ..plain.clone() },
            Workload { value_len: Some(1_025), ..plain.clone() },
            Workload { modes: readers, ..Workload::plain(Work::Convert) },
        ];
        for workload in wrong {
            assert!(workload.check().is_err(), "{workload:?}");
        }
    }
}
