//! Rare states that a campaign must have reached, and how much it saw: a run without them shows nothing.

use std::collections::BTreeMap;

/// What each campaign must have reached, and how often in five hundred worlds at least.
pub(crate) const MARKS: [(&str, u64); 62] = [
    ("CANCELLED", 1_000),
    ("DEADLOCK", 1_000),
    ("HASSUBLOCKS", 20),
    ("NOTQUEUED", 1_000),
    ("RECOVERING", 10),
    ("RESOURCE_EXHAUSTED", 1_000),
    ("SESSION", 50),
    ("SESSION_LOST", 20),
    ("SUPERSEDED", 50),
    ("TIMEOUT", 200),
    ("a batch that nobody was told of was found", 20),
    ("a client vanished", 20),
    ("a client was cut off", 100),
    ("a client was stopped", 50),
    ("a connection was cut", 400),
    ("a conversion victim went back to its old mode", 100),
    ("a crash between sync and apply", 10),
    ("a crash between write and sync", 20),
    ("a crash in a recovery", 50),
    ("a crash in the middle of a snapshot", 5),
    ("a deadlock of several parties was broken", 500),
    ("a deadlock of those who are never refused was told", 5),
    ("a deadlock over two shards was broken", 200),
    ("a deadlock went through a queue", 300),
    ("a disk failed", 20),
    ("a full disk refused, and later a lock was granted", 3),
    ("a grant crossed a cancel", 10),
    ("a journal was read again at the end", 150),
    ("a late deed was refused", 1_000),
    ("a lease ran out", 50),
    ("a lease ran out with nobody attached", 5),
    ("a lock stayed because an orphan stands on it", 1),
    ("a logged refusal was void", 5),
    ("a machine with a journal lost its power", 50),
    ("a notice was said on a connection that went on", 100),
    ("a process with a journal died", 50),
    ("a queue survived", 50),
    ("a refusal to break a deadlock was said again", 20),
    ("a refusal was void", 20),
    ("a request was parked", 20),
    ("a resume took too long", 20),
    ("a segment was recycled", 50),
    ("a server was silent for too long", 50),
    ("a session ended with its connection", 200),
    ("a session was resumed", 500),
    ("a start used a snapshot", 50),
    ("a stream stood still", 100),
    ("a torn tail was cut", 1),
    ("an administrator ended a session", 5),
    ("an answer was kept and sent again", 500),
    ("an answer was said again after a restart", 20),
    ("an older snapshot was used", 5),
    ("an operator broke a deadlock", 50),
    ("an orphan survived", 2),
    ("an orphan was adopted", 20),
    ("an orphan was purged", 10),
    ("the disk stood still", 20),
    ("the lease ran out under a lock", 10),
    ("the server was restarted", 5),
    ("the server was stopped", 10),
    ("two tasks of one session were in a deadlock", 5),
    ("without gates an update was lost", 50),
];

/// What was reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    seen: BTreeMap<&'static str, u64>,
}

impl Marks {
    /// It was reached once more.
    pub(crate) fn sometimes(&mut self, mark: &'static str) {
        *self.seen.entry(mark).or_default() += 1;
    }

    /// So often more.
    pub(crate) fn count(&mut self, mark: &'static str, times: u64) {
        *self.seen.entry(mark).or_default() += times;
    }

    pub(crate) fn add(&mut self, other: &Marks) {
        for (mark, times) in &other.seen {
            *self.seen.entry(mark).or_default() += times;
        }
    }

    pub(crate) fn of(&self, mark: &str) -> u64 {
        self.seen.get(mark).copied().unwrap_or(0)
    }

    /// Everything that was seen, and how often.
    pub(crate) fn print(&self) -> String {
        let lines: Vec<String> =
            self.seen.iter().map(|(mark, times)| format!("{times:>12}  {mark}")).collect();
        lines.join("\n")
    }

    /// What was not seen often enough in so many worlds.
    pub(crate) fn missing(&self, worlds: u64) -> Vec<String> {
        let short = MARKS.iter().filter(|(mark, least)| self.of(mark) < (least * worlds / 500).max(1));
        short.map(|(mark, least)| format!("{mark}: {} of {least}", self.of(mark))).collect()
    }
}
