//! The language of the conformance cases: lines to operations and expected events.
//!
//! Nothing here knows who acts a case out. A word that is not in the language is refused with its line.

use enq_protocol::vocabulary::{Flags, LockMode};

/// One line of `cases.txt`.
#[derive(Debug)]
pub(crate) struct Case {
    /// Its line in the file.
    pub(crate) line: usize,
    /// Its number, perhaps with a `t`.
    pub(crate) number: String,
    /// All of it.
    pub(crate) text: String,
    /// What happens first and is not compared.
    pub(crate) setup: Vec<Operation>,
    /// What is compared.
    pub(crate) operations: Vec<Operation>,
    /// What it must give.
    pub(crate) events: Vec<String>,
}

/// One operation.
#[derive(Debug)]
pub(crate) enum Operation {
    /// Ask for a new lock.
    New {
        /// What the case calls it.
        lock: String,
        /// The mode asked for.
        mode: LockMode,
        /// The flags, BLKAST among them.
        flags: Flags,
        /// The resource's name.
        resource: String,
        /// The session.
        owner: String,
        /// The parent lock.
        parent: Option<String>,
    },
    /// Change a mode.
    Convert {
        /// Which lock.
        lock: String,
        /// The mode asked for.
        mode: LockMode,
        /// The flags, BLKAST among them.
        flags: Flags,
        /// The block to store.
        value: Option<String>,
    },
    /// Release.
    Release {
        /// Which lock.
        lock: String,
        /// The flags.
        flags: Flags,
        /// The block to store.
        value: Option<String>,
    },
    /// Withdraw what waits.
    Cancel {
        /// Which lock.
        lock: String,
    },
    /// A session dies.
    Die {
        /// Which.
        owner: String,
    },
    /// Search once for a deadlock.
    Search,
    /// Set a deadlock priority.
    Priority {
        /// Which lock's.
        lock: String,
        /// The new priority.
        priority: u8,
    },
}

impl Case {
    /// Does its lockspace leave conversion deadlocks to the search?
    pub(crate) fn is_timed(&self) -> bool {
        self.number.ends_with('t')
    }
}

/// Reads the whole file; panics with file and line at the first line that is no case.
pub(crate) fn read_all(text: &str) -> Vec<Case> {
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    lines.map(|(line, at)| read(line, at).unwrap_or_else(|why| panic!("cases.txt:{at}: {why}"))).collect()
}

fn read(text: &str, line: usize) -> Result<Case, String> {
    let (number, story) = text.split_once(": ").ok_or("no number")?;
    let (story, events) = story.split_once("=>").ok_or("no `=>`")?;
    let (setup, operations) = story.split_once('|').unwrap_or(("", story));
    Ok(Case {
        line,
        number: number.into(),
        text: text.into(),
        setup: read_operations(setup)?,
        operations: read_operations(operations)?,
        events: events.split_whitespace().map(String::from).collect(),
    })
}

fn read_operations(text: &str) -> Result<Vec<Operation>, String> {
    text.split(';').map(str::trim).filter(|operation| !operation.is_empty()).map(read_operation).collect()
}

/// What may stand behind the name in an operation.
#[derive(Default)]
struct Words {
    mode: Option<LockMode>,
    flags: Flags,
    resource: Option<String>,
    owner: Option<String>,
    parent: Option<String>,
    value: Option<String>,
}

fn read_operation(text: &str) -> Result<Operation, String> {
    let mut words = text.split_whitespace();
    let verb = words.next().unwrap_or_default();
    if verb == "search" {
        return Ok(Operation::Search);
    }
    let name = || words.clone().next().map(String::from).ok_or(format!("a name is missing: {text}"));
    let rest = || read_words(words.clone().skip(1));
    let mode = |words: &Words| words.mode.ok_or(format!("a mode is missing: {text}"));
    match verb {
        "new" => {
            let (lock, words) = (name()?, rest()?);
            Ok(Operation::New {
                mode: mode(&words)?,
                flags: words.flags | Flags::BLKAST,
                resource: words.resource.unwrap_or("r".into()),
                owner: words.owner.unwrap_or(lock.clone()),
                parent: words.parent,
                lock,
            })
        }
        "conv" => {
            let (lock, words) = (name()?, rest()?);
            Ok(Operation::Convert {
                lock,
                mode: mode(&words)?,
                flags: words.flags | Flags::BLKAST,
                value: words.value,
            })
        }
        "rel" => {
            let (lock, words) = (name()?, rest()?);
            let flags = words.flags | Flags::VALBLK.when(words.value.is_some());
            Ok(Operation::Release { lock, flags, value: words.value })
        }
        "cancel" => Ok(Operation::Cancel { lock: name()? }),
        "die" => Ok(Operation::Die { owner: name()? }),
        "pri" => {
            let priority = words.clone().nth(1).and_then(|number| number.parse().ok());
            Ok(Operation::Priority {
                lock: name()?,
                priority: priority.ok_or(format!("a number is missing: {text}"))?,
            })
        }
        _ => Err(format!("no operation: {text}")),
    }
}

fn read_words<'a>(words: impl Iterator<Item = &'a str>) -> Result<Words, String> {
    let mut read = Words::default();
    for word in words {
        if let Some((option, value)) = word.split_once('=') {
            let place = match option {
                "res" => &mut read.resource,
                "owner" => &mut read.owner,
                "parent" => &mut read.parent,
                "val" => &mut read.value,
                _ => return Err(format!("no option: {word}")),
            };
            *place = Some(value.into());
        } else if let Some(mode) = LockMode::from_letters(word) {
            read.mode = Some(mode);
        } else if word == "IV" {
            read.flags |= Flags::IVVALBLK;
        } else {
            read.flags |= Flags::from_name(word).ok_or(format!("no mode or flag: {word}"))?;
        }
    }
    Ok(read)
}
