//! The deadlock search of the server, step by step: whatever else happens may happen between two steps, as it may where
//! the search has a thread of its own.

use super::clock::SECOND;
use super::run::{Event, World, Wrong};
use super::server::Step;
use enq::table::Deadlock;
use enq_protocol::vocabulary::{EdgeWhy, Queue, WaitView};
use rand::Rng as _;

impl World {
    /// An operator looks now and then.
    pub(crate) fn draw_looks(&mut self) {
        if self.options.operator || self.options.deadlock_wait_ms == 0 {
            for _ in 0..self.options.safety / SECOND {
                let at = self.random.random_range(0..self.options.safety);
                self.at(at, Event::Operator);
            }
        }
    }

    /// A round of the server is over: a search begins, if one is due.
    pub(crate) fn begin_search(&mut self) {
        if self.server.begin_search(self.server_now()) {
            self.marks.sometimes("a search for deadlocks");
            self.tell(format_args!("server: a search begins"));
            self.next_step(1);
        }
    }

    /// The next step comes after up to so many times what one takes.
    fn next_step(&mut self, times: u64) {
        let takes = self.random.random_range(0..=times * self.options.search_step);
        self.at(self.now + takes, Event::Search);
    }

    /// The search goes on.
    pub(crate) fn search_on(&mut self) -> Result<(), Wrong> {
        if !self.server.searches() || self.upkeep.is_down {
            // The server is another one by now, or will be.
            return Ok(());
        }
        let mut times = 1;
        match self.server.search_step(self.server_now()) {
            Step::On => {}
            Step::Over => {
                self.tell(format_args!("server: the search is over"));
                return Ok(());
            }
            Step::Void => {
                self.tell(format_args!("server: what was found stands no more"));
                self.marks.sometimes("a refusal was void");
            }
            Step::Confirmed(confirmed) => {
                self.soundness.confirmed(self.bench.last(), confirmed.waits(), confirmed.victim())?;
                // A thread may be interrupted in the worst of places.
                times = 8;
            }
            Step::UnderWay(deadlock, refusal) => {
                self.tell(format_args!("server: {refusal:?} is on its way"));
                self.note_deadlock(&deadlock);
                self.look()?;
            }
            Step::Refused(deadlock) => {
                self.note_deadlock(&deadlock);
                let before = self.bench.last().clone();
                self.look()?;
                self.soundness.refused(&before, self.bench.last(), &deadlock)?;
            }
        }
        self.next_step(times);
        Ok(())
    }

    /// An operator has all deadlocks looked for. Whoever comes while a search runs waits for it.
    pub(crate) fn operate(&mut self) -> Result<(), Wrong> {
        if self.upkeep.is_down {
            return Ok(());
        }
        while self.server.searches() {
            self.search_on()?;
        }
        let searched = self.server.search_all(self.server_now());
        // What comes after the first is judged by its steps where a search is taken step by step; with a journal nothing has
        // been refused yet.
        let judged = if self.options.keeping.is_some() { searched.found.len() } else { 1 };
        for found in searched.found.iter().take(judged) {
            self.soundness.confirmed(self.bench.last(), &found.waits, found.refused)?;
        }
        for deadlock in &searched.found {
            self.marks.sometimes("an operator broke a deadlock");
            self.note_deadlock(deadlock);
        }
        self.look()
    }

    fn note_deadlock(&mut self, deadlock: &Deadlock) {
        let waits = || deadlock.waits.iter();
        let told: Vec<String> =
            waits().map(|wait| format!("{} for {}", wait.waiting.lock, wait.blocker.lock)).collect();
        self.tell(format_args!("server: a deadlock, {:?} is refused: {}", deadlock.refused, told.join(", ")));
        let Some(first) = deadlock.waits.first() else { return };
        let differs = |what: &dyn Fn(&WaitView) -> bool| waits().any(what);
        let victim = waits().map(|wait| &wait.waiting).find(|lock| Some(lock.lock) == deadlock.refused);
        for (mark, is) in [
            ("a deadlock was broken", victim.is_some()),
            ("a deadlock of those who are never refused was told", deadlock.refused.is_none()),
            (
                "a deadlock over two shards was broken",
                differs(&|wait| wait.waiting.lock.shard() != first.waiting.lock.shard()),
            ),
            (
                "a deadlock of several parties was broken",
                differs(&|wait| wait.waiting.session != first.waiting.session),
            ),
            (
                "two tasks of one session were in a deadlock",
                differs(&|wait| {
                    wait.waiting.session == first.waiting.session && wait.waiting.owner != first.waiting.owner
                }),
            ),
            ("a deadlock went through a queue", differs(&|wait| wait.why == EdgeWhy::Ahead)),
            (
                "a conversion victim went back to its old mode",
                victim.is_some_and(|lock| lock.queue == Queue::Conversion),
            ),
            ("a deadlock was a knot", !deadlock.is_ring),
        ] {
            if is {
                self.marks.sometimes(mark);
            }
        }
    }

    /// Nobody waits for himself for longer than the lockspace says. This comes after the other judges have looked.
    pub(crate) fn judge_completeness(&mut self) -> Result<(), Wrong> {
        let wait_ms = self.server.policy().map(|policy| policy.deadlock_wait_ms);
        let searches = self.server.searches() || self.server.refuses();
        self.completeness.look(self.bench.last(), self.now, wait_ms, searches, self.upkeep.slowest)
    }
}
