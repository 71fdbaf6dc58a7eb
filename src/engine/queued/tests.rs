//! Requests are found by when they were queued, each once, however the walk is cut into pieces.

use super::*;
use crate::engine::{Ask, Input, Limits, LockRef, Output, Under};
use enq_protocol::vocabulary::{Flags, Handle, LockMode, LockspaceId, Owner, ResourceName, SessionId};

struct Story {
    shard: Shard,
    now: Instant,
}

impl Story {
    fn new(history: usize) -> Story {
        Story { shard: Shard::new(0, Limits { history, ..Limits::default() }, 1, 7), now: Instant::START }
    }

    fn step(&mut self, input: Input<'_>) {
        self.now = self.now.after_ms(1);
        self.shard.step(self.now, input, &mut Vec::<Output>::new());
    }

    fn enq(&mut self, number: u32, text: &str) {
        let name = ResourceName::new(text.as_bytes()).unwrap();
        let ask = Ask {
            session: SessionId(number.into()),
            mode: LockMode::Ex,
            flags: Flags::NONE,
            owner: Owner::default(),
            timeout_ms: None,
            priority: 0,
            reason: b"",
        };
        let under = Under::Lockspace(LockspaceId(0));
        self.step(Input::Enq { ask, handle: Handle::new(1).unwrap(), under, name: &name });
    }

    fn walk(&self, after: Option<Instant>, until: Instant, at_most: usize) -> Walk {
        let mut walk = Walk::default();
        let mut from = usize::MAX;
        while from > 0 {
            from = self.shard.walk_queues((from, at_most), (after, until), 100, &mut walk);
        }
        walk
    }
}

fn at(ms: u32) -> Instant {
    Instant::START.after_ms(ms)
}

#[test]
fn each_request_is_found_in_its_time() {
    let mut story = Story::new(0);
    // Ten resources with a holder and two that wait: the fourth waits from the 12th millisecond on, and so on.
    for number in 0..30 {
        story.enq(number + 1, &format!("r{}", number % 10));
    }
    let all = story.walk(None, at(100), 1);
    assert_eq!((all.count, all.found.len(), all.later), (20, 20, None));
    let early = story.walk(None, at(15), 7);
    assert_eq!((early.count, early.later), (5, Some(at(16))));
    let late = story.walk(Some(at(15)), at(30), 2_000);
    assert_eq!((late.count, late.later), (15, None));
    let mut found: Vec<Instant> = early.found.iter().chain(&late.found).map(|queued| queued.since).collect();
    found.sort_unstable();
    assert_eq!(found, (11..=30).map(at).collect::<Vec<_>>(), "each once");
}

#[test]
fn an_end_is_remembered_as_long_as_it_is_recorded() {
    for (history, remembered) in [(10, true), (0, false)] {
        let mut story = Story::new(history);
        for number in 1..=3 {
            story.enq(number, "x");
        }
        let walk = story.walk(None, story.now, 10);
        let [second, third] = walk.found[..] else { panic!("{walk:?}") };
        assert_eq!((story.shard.end_of_wait(&second), story.shard.end_of_wait(&third)), (None, None));
        let lock = LockRef::Id(third.lock);
        story.step(Input::Cancel { session: SessionId(3), lock, flags: Flags::NONE });
        let cancelled = story.now;
        let whole = ResourceName::new(b"x").unwrap();
        let seen = story.shard.show_resource(story.now, LockspaceId(0), &[whole]).unwrap();
        let lock = LockRef::Id(seen.locks[0].lock);
        story.step(Input::Deq { session: SessionId(1), lock, flags: Flags::NONE, value: None });
        let granted = story.now;
        story.step(Input::Deq {
            session: SessionId(2),
            lock: LockRef::Id(second.lock),
            flags: Flags::NONE,
            value: None,
        });
        let ends = [story.shard.end_of_wait(&second), story.shard.end_of_wait(&third)];
        let wanted = if remembered {
            [WaitEnd::Granted(granted), WaitEnd::Ended(cancelled, Status::Cancelled)]
        } else {
            [WaitEnd::Forgotten; 2]
        };
        assert_eq!(ends, wanted.map(Some));
    }
}
