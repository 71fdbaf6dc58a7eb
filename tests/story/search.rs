//! The deadlock search in a story: what it finds, what becomes of it, and what a lockspace says of that and of other things.

use super::cast::Cast;
use super::stage::Stage;
use super::words::Words;
use enq::engine::Input;
use enq::engine::deadlock::{Copied, Cycle, Due, Rule, VictimRule, search};
use enq_protocol::vocabulary::{ConversionDeadlock, LockMode, ModeSet, Policy};

impl Stage {
    /// `space NAME` with the words of its policy, or `space NAME gone`.
    pub(crate) fn space(&mut self, mut words: Words<'_>) -> Result<Vec<String>, String> {
        let lockspace = self.cast.space(words.take("a lockspace")?);
        let mut policy = Some(Policy::default());
        while let Ok(word) = words.take("a word") {
            let set = policy.as_mut().ok_or("nothing may follow `gone`")?;
            match word {
                "gone" => policy = None,
                "fair" => set.fair = true,
                "never" => set.deadlock_wait_ms = 0,
                "timed" => set.conversion_deadlock = ConversionDeadlock::Timed,
                "reason" => set.reason_required = true,
                "modes" => {
                    let letters = words.take("modes")?.split(',');
                    let modes: Option<Vec<LockMode>> = letters.map(LockMode::from_letters).collect();
                    set.modes = modes.ok_or("no modes")?.into_iter().fold(ModeSet::EMPTY, ModeSet::with);
                }
                "value" => set.value_len_max = words.take("a length")?.parse().map_err(|_| "no length")?,
                "longest" => set.wait_ms_max = words.span()?,
                "delay" => set.lock_delay_ms = words.span()?,
                word => return Err(format!("no word of a policy: {word}")),
            }
        }
        if policy.as_ref().is_some_and(|policy| policy.deadlock_wait_ms == 0) {
            self.never.insert(lockspace);
        } else {
            self.never.remove(&lockspace);
        }
        self.step(Input::SetPolicy { lockspace, policy: policy.as_ref() }, None)
    }

    /// `find [all] [again] [fewest] [report]`: looks for deadlocks and refuses nobody yet.
    pub(crate) fn find(&mut self, mut words: Words<'_>) -> Result<Vec<String>, String> {
        let (mut victim, mut due) = (VictimRule::Youngest, Due::At(self.now));
        let mut before = Vec::new();
        while let Some(word) = words.take_any() {
            match word {
                "all" => due = Due::All,
                "again" => before = std::mem::take(&mut self.found),
                "fewest" => victim = VictimRule::FewestLocks,
                "report" => victim = VictimRule::ReportOnly,
                word => return Err(format!("no rule for victims: {word}")),
            }
        }
        let mut copied = Copied::default();
        let rest = self.shard.copy_queues(self.shard.contended(), usize::MAX, &mut copied);
        assert_eq!(rest, 0, "all of it is copied");
        let never = &self.never;
        let wait_ms = |space| if never.contains(&space) { 0 } else { Rule::default().wait_ms };
        let rule = |space| Rule { victim, wait_ms: wait_ms(space) };
        let locks = |session| self.cast.locks_of(session);
        let found = search(due, &copied, rule, locks);
        let told = found.iter().map(|cycle| write(&self.cast, cycle)).collect();
        self.found = before.into_iter().chain(found).collect();
        Ok(told)
    }

    /// `break`: refuses whom the last search found, if all is still as it was.
    pub(crate) fn break_found(&mut self, words: Words<'_>) -> Result<Vec<String>, String> {
        words.end()?;
        let mut told = Vec::new();
        for cycle in std::mem::take(&mut self.found) {
            match self.stands(&cycle) {
                true => told.extend(self.refuse_victim(&cycle)?),
                false => told.push("void".into()),
            }
        }
        Ok(told)
    }

    /// `confirm`: looks once more at what the last search found, and forgets what has changed.
    pub(crate) fn confirm_found(&mut self, words: Words<'_>) -> Result<Vec<String>, String> {
        words.end()?;
        let (stands, gone): (Vec<Cycle>, Vec<Cycle>) =
            std::mem::take(&mut self.found).into_iter().partition(|cycle| self.stands(cycle));
        let told = stands.iter().map(|_| "stands".into()).chain(gone.iter().map(|_| "void".into())).collect();
        self.found = stands;
        Ok(told)
    }

    /// `refuse`: refuses whom the last search found, without another look.
    pub(crate) fn refuse_found(&mut self, words: Words<'_>) -> Result<Vec<String>, String> {
        words.end()?;
        let told: Result<Vec<Vec<String>>, String> =
            std::mem::take(&mut self.found).iter().map(|cycle| self.refuse_victim(cycle)).collect();
        Ok(told?.concat())
    }

    fn stands(&self, cycle: &Cycle) -> bool {
        cycle.waits.iter().all(|wait| self.shard.confirms(wait))
    }

    fn refuse_victim(&mut self, cycle: &Cycle) -> Result<Vec<String>, String> {
        let Some(at) = cycle.victim else { return Ok(Vec::new()) };
        let seat = cycle.waits[at].waiting;
        let input = Input::RefuseDeadlock { lock: seat.lock, stamp: seat.stamp, record: 1 };
        Ok(self.step(input, None)?.into_iter().filter(|word| word != "done").collect())
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
