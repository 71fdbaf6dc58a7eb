//! The deadlock search in a story: what it finds, and what becomes of it.

use super::cast::Cast;
use super::stage::Stage;
use super::words::Words;
use enq::engine::Input;
use enq::engine::deadlock::{Copied, Cycle, Due, Rule, VictimRule, search};

impl Stage {
    /// `find [all] [fewest] [report]`: looks for deadlocks and refuses nobody yet.
    pub(crate) fn find(&mut self, mut words: Words<'_>) -> Result<Vec<String>, String> {
        let (mut victim, mut due) = (VictimRule::Youngest, Due::At(self.now));
        while let Some(word) = words.take_any() {
            match word {
                "all" => due = Due::All,
                "fewest" => victim = VictimRule::FewestLocks,
                "report" => victim = VictimRule::ReportOnly,
                word => return Err(format!("no rule for victims: {word}")),
            }
        }
        let mut copied = Copied::default();
        let rest = self.shard.copy_queues(self.shard.contended(), usize::MAX, &mut copied);
        assert_eq!(rest, 0, "all of it is copied");
        let rule = |_| Rule { victim, ..Rule::default() };
        let locks = |session| self.cast.locks_of(session);
        self.found = search(due, &copied, rule, locks);
        Ok(self.found.iter().map(|cycle| write(&self.cast, cycle)).collect())
    }

    /// `break`: refuses whom the last search found, if all is still as it was.
    pub(crate) fn break_found(&mut self, words: Words<'_>) -> Result<Vec<String>, String> {
        words.end()?;
        let mut told = Vec::new();
        for cycle in std::mem::take(&mut self.found) {
            if !cycle.waits.iter().all(|wait| self.shard.confirms(wait)) {
                told.push("void".into());
            } else if let Some(at) = cycle.victim {
                let seat = cycle.waits[at].waiting;
                let input = Input::RefuseDeadlock { lock: seat.lock, stamp: seat.stamp, record: 1 };
                told.extend(self.step(input, None)?.into_iter().filter(|word| word != "done"));
            }
        }
        Ok(told)
    }
}

/// `ring s1.c>s2.b s2.d>s1.a, s2.d goes`.
fn write(cast: &Cast, cycle: &Cycle) -> String {
    let name = |lock| cast.name_of_id(lock);
    // Where a ring begins is nobody's business: at the first name.
    let mut waits: Vec<String> = cycle
        .waits
        .iter()
        .map(|wait| format!("{}>{}", name(wait.waiting.lock), name(wait.blocker.lock)))
        .collect();
    if let Some(first) = (0..waits.len()).min_by_key(|at| waits[*at].clone()).filter(|_| cycle.is_ring) {
        waits.rotate_left(first);
    }
    if !cycle.is_ring {
        waits.sort();
    }
    let goes = cycle.victim.map_or("nobody".into(), |at| name(cycle.waits[at].waiting.lock).to_owned());
    format!("{} {}, {goes} goes", if cycle.is_ring { "ring" } else { "knot" }, waits.join(" "))
}
