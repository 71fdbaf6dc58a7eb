//! The waits as an indented text: whoever waits for nobody on top, below each whoever waits for him.

use std::{collections::BTreeSet, fmt::Write as _};

use enq_protocol::vocabulary::{EdgeWhy, LockView, WaitLine};

use super::super::{
    chain::{self, Chain, Party},
    render::heading,
    words,
};

/// That it is not everything.
pub(super) const CUT: &str =
    "That is not all: it is too much for one answer, or something moved meanwhile.\n";

/// The text.
pub(super) fn text(chain: &Chain<'_>, wide: bool) -> String {
    let mut tree = Tree { chain, wide, seen: BTreeSet::new(), text: String::new() };
    for root in chain.roots() {
        tree.party(root, "waits for nobody");
    }
    // What hangs in no root: deadlocks, with all who wait for them, and whom the server lets wait.
    let requests =
        || chain.view.locks.iter().map(|standing| &standing.lock).filter(|lock| lock.requested.is_some());
    for lock in requests().filter(|lock| chain.is_stuck(lock.lock)) {
        if !tree.seen.contains(&Party::of(lock)) {
            tree.party(lock, "in a deadlock");
        }
    }
    for lock in requests() {
        if !tree.seen.contains(&Party::of(lock)) {
            let pause = words::pause(lock);
            tree.party(lock, &pause.unwrap_or_else(|| String::from("waits")));
        }
    }
    if chain.deadlocks() > 0 {
        tree.text.push_str(
            "\nA deadlock: those marked <<< wait for each other. enq deadlocks scan has it broken at once.\n",
        );
    }
    if chain.view.locks.is_empty() {
        tree.text.push_str("Nobody waits.\n");
    }
    if !chain.view.is_complete {
        tree.text.push('\n');
        tree.text.push_str(CUT);
    }
    tree.text
}

struct Tree<'a> {
    chain: &'a Chain<'a>,
    wide: bool,
    seen: BTreeSet<Party>,
    text: String,
}

impl Tree<'_> {
    fn party(&mut self, lock: &LockView, why: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        let _ = writeln!(self.text, "{}", heading(&format!("{}: {why}", self.chain.who(lock))));
        self.below(lock, "");
    }

    /// Whoever waits for this party.
    fn below(&mut self, lock: &LockView, indent: &str) {
        let party = Party::of(lock);
        if !self.seen.insert(party) {
            return;
        }
        // Who waits for what others hold is not shown again below those who are merely ahead of him.
        let is_shown = |wait: &&WaitLine| {
            let held = |other: &WaitLine| other.lock == wait.lock && other.why == EdgeWhy::Held;
            wait.why == EdgeWhy::Held || wait.deadlock > 0 || !self.chain.view.waits.iter().any(held)
        };
        let lines: Vec<&WaitLine> = self.chain.blocked(party).into_iter().filter(is_shown).collect();
        for (at, wait) in lines.iter().enumerate() {
            let is_last = at + 1 == lines.len();
            self.wait(wait, indent, is_last);
        }
    }

    fn wait(&mut self, wait: &WaitLine, indent: &str, is_last: bool) {
        let (Some(waiting), Some(blocker)) =
            (self.chain.standing(wait.lock), self.chain.standing(wait.blocker))
        else {
            return;
        };
        let (branch, stem) = if is_last { ("`-", "   ") } else { ("|-", "|  ") };
        let stuck = if wait.deadlock > 0 { "  <<<" } else { "" };
        let id = if self.wide { format!(" [{}]", wait.lock) } else { String::new() };
        let (who, wish) = (self.chain.who(&waiting.lock), chain::wish(waiting));
        let obstacle = chain::obstacle(wait.why, &blocker.lock);
        let again = if self.seen.contains(&Party::of(&waiting.lock)) { " (shown above)" } else { "" };
        let _ = writeln!(self.text, "{indent}{branch} {who} {wish}{id}{stuck}");
        let _ = writeln!(self.text, "{indent}{stem}   {}{again}", obstacle.trim_end_matches(','));
        self.below(&waiting.lock, &format!("{indent}{stem}"));
    }
}
