//! The flight recorder: what it writes, what it overwrites, and how a part is found again.

use super::*;
use crate::engine::{Ask, Limits};
use enq_protocol::vocabulary::{Flags, Handle, LockMode::Ex, LockMode::Nl, LockMode::Pr, LockspaceId, Owner};

const NONE: Flags = Flags::NONE;

struct Story {
    shard: Shard,
    now: Instant,
}

impl Story {
    fn new(history: usize) -> Story {
        let limits = Limits { history, ..Limits::default() };
        Story { shard: Shard::new(3, limits, 1, 7), now: Instant(1_000_000) }
    }

    fn step(&mut self, input: Input<'_>) -> Vec<Said> {
        // Each step is a millisecond after the one before.
        self.now = self.now.after_ms(1);
        let mut out = Vec::new();
        self.shard.step(self.now, input, &mut out);
        out.into_iter().map(|output| output.said).collect()
    }

    fn enq(&mut self, session: u64, handle: u32, (text, under): (&str, Under), mode: LockMode, flags: Flags) {
        let session = SessionId(session);
        let ask =
            Ask { session, mode, flags, owner: Owner::default(), timeout_ms: None, priority: 0, reason: b"" };
        let (handle, name) = (Handle::new(handle).unwrap(), name(text));
        self.step(Input::Enq { ask, handle, under, name: &name });
    }

    fn ask(&mut self, session: u64, text: &str, mode: LockMode, flags: Flags) {
        self.enq(session, 1, (text, Under::Lockspace(LockspaceId(0))), mode, flags);
    }

    /// The lock of this session that the recorder named last.
    fn lock(&self, session: u64) -> LockRef {
        let entries = self.of(&HistoryOf::Session(SessionId(session)));
        LockRef::Id(entries.iter().find_map(|view| view.lock).unwrap())
    }

    fn convert(&mut self, session: u64, mode: LockMode, flags: Flags) {
        let lock = self.lock(session);
        let session = SessionId(session);
        self.step(Input::Convert { session, lock, mode, flags, timeout_ms: None, priority: 0, value: None });
    }

    fn deq(&mut self, session: u64) {
        let lock = self.lock(session);
        self.step(Input::Deq { session: SessionId(session), lock, flags: NONE, value: None });
    }

    fn of(&self, of: &HistoryOf) -> Vec<HistoryView> {
        let all = self.shard.show_history(self.now, of, None, usize::MAX);
        all.into_iter().map(|recorded| recorded.view).collect()
    }

    /// The entries of a resource, the oldest first, in words.
    fn words(&self, text: &str) -> Vec<String> {
        let mut all = self.of(&resource(&[text]));
        all.reverse();
        let mode = |mode: Option<LockMode>| mode.map_or("-", LockMode::letters);
        let words = |view: &HistoryView| {
            let (held, wanted) = (mode(view.held), mode(view.mode));
            let session = view.session.map_or(0, |session| session.0);
            format!("{session} {:?} {} {held} {wanted} {}ms", view.happened, view.status, view.waited_ms)
        };
        all.iter().map(words).collect()
    }
}

fn name(text: &str) -> ResourceName {
    ResourceName::new(text.as_bytes()).unwrap()
}

fn resource(names: &[&str]) -> HistoryOf {
    HistoryOf::Resource { lockspace: LockspaceId(0), path: names.iter().map(|text| name(text)).collect() }
}

#[test]
fn a_resource_has_a_story() {
    let mut story = Story::new(100);
    story.ask(1, "x", Pr, NONE);
    story.ask(2, "x", Pr, NONE);
    story.ask(3, "x", Ex, Flags::NOQUEUE);
    story.ask(4, "x", Ex, NONE);
    story.ask(5, "other", Ex, NONE);
    story.convert(1, Ex, NONE);
    story.convert(2, Ex, NONE);
    story.deq(2);
    story.convert(1, Nl, NONE);
    story.deq(4);
    story.step(Input::SealSession { session: SessionId(1), end: crate::engine::End::Died, orphan_key: b"" });
    story.step(Input::Continue);
    assert_eq!(
        story.words("x"),
        [
            "1 Granted DONE - PR 0ms",
            "2 Granted DONE - PR 0ms",
            "3 Refused NOTQUEUED - EX 0ms",
            "4 Queued DONE - EX 0ms",
            "1 Queued DONE PR EX 0ms",
            "2 Refused DEADLOCK PR EX 0ms",
            "2 Released DONE PR - 0ms",
            "1 Granted DONE PR EX 2ms",
            "1 Granted DONE EX NL 0ms",
            "4 Granted DONE - EX 5ms",
            "4 Released DONE EX - 0ms",
            "1 Died DONE NL - 0ms",
        ]
    );
    assert_eq!(story.shard.history_begins(), None, "nothing was overwritten");
    assert_eq!(story.shard.check(), Ok(()));
}

#[test]
fn what_waits_ends_with_its_cause() {
    let mut story = Story::new(100);
    story.ask(1, "x", Ex, NONE);
    story.ask(2, "x", Ex, NONE);
    story.ask(3, "x", Pr, NONE);
    story.ask(4, "x", Pr, NONE);
    let (two, three) = (story.lock(2), story.lock(3));
    story.step(Input::Cancel { session: SessionId(2), lock: two, flags: NONE });
    let LockRef::Id(lock) = three else { panic!("by id") };
    let stamp = story.shard.show_lock(story.now, lock).unwrap().stamp;
    story.step(Input::RefuseDeadlock { lock, stamp, record: 21 });
    story.deq(4);
    let LockRef::Id(lock) = story.lock(1) else { panic!("by id") };
    let version = story.shard.show_lock(story.now, lock).unwrap().seq.0;
    story.step(Input::ForceRelease { lock, version, by: SessionId(9), reason: "" });
    assert_eq!(
        story.words("x")[4..],
        [
            "2 Ended CANCELLED - EX 3ms",
            "3 Ended DEADLOCK - PR 3ms",
            "4 Ended ABORTED - PR 3ms",
            "1 Forced FORCED EX - 0ms",
        ]
    );
    let details: Vec<u64> = story.of(&resource(&["x"])).iter().map(|view| view.detail).collect();
    assert_eq!(details[..4], [9, 0, 21, 0], "who forced it, and the number of the record");
}

#[test]
fn a_full_ring_overwrites_and_says_from_when_on_it_is_complete() {
    let mut story = Story::new(4);
    for _ in 0..5 {
        story.ask(1, "x", Ex, NONE);
        story.deq(1);
    }
    let entries = story.of(&resource(&["x"]));
    assert_eq!(entries.len(), 4);
    assert_eq!(entries.iter().map(|view| view.age_ms).collect::<Vec<_>>(), [0, 1, 2, 3], "the newest first");
    assert_eq!(story.shard.history_begins(), Some(Instant(1_000_000).after_ms(7)), "the oldest that is left");
    assert_eq!(story.shard.history.bytes(), 4 * HISTORY_ENTRY_LEN);
}

#[test]
fn parts_follow_each_other_without_a_gap() {
    let mut story = Story::new(64);
    for _ in 0..40 {
        story.ask(1, "x", Ex, NONE);
        story.ask(2, "y", Ex, NONE);
        story.deq(1);
        story.deq(2);
    }
    for of in [resource(&["x"]), HistoryOf::Session(SessionId(1))] {
        let whole = story.of(&of);
        assert_eq!(whole.len(), 32);
        let (mut before, mut parts) = (None, Vec::new());
        loop {
            let part = story.shard.show_history(story.now, &of, before, 5);
            let Some(last) = part.last() else { break };
            before = Some(last.cursor);
            parts.extend(part.into_iter().map(|recorded| recorded.view));
        }
        assert_eq!(parts, whole);
    }
}

#[test]
fn long_paths_are_told_apart_although_only_their_ends_are_kept() {
    let mut story = Story::new(100);
    let (one, other) = (format!("1{:0>200}", 7), format!("2{:0>200}", 7));
    story.ask(1, &one, Ex, NONE);
    story.enq(1, 2, ("leaf", Under::Parent(story.lock(1))), Ex, NONE);
    story.ask(2, &other, Ex, NONE);
    let seen = story.of(&resource(&[&one, "leaf"]));
    assert_eq!((seen.len(), seen[0].is_cut), (1, true));
    let kept: Vec<String> = seen[0].path.iter().map(ToString::to_string).collect();
    assert_eq!((kept[0].len(), kept[1].as_str()), (44, "leaf"));
    assert!(one.starts_with(&kept[0]));
    assert_eq!(story.of(&resource(&[&other, "leaf"])), [], "its end is the same");
    assert_eq!(story.of(&resource(&[&one])).len(), 1);
    // 49 bytes are the most that are kept whole.
    let (whole, cut) = ("w".repeat(49), "c".repeat(50));
    for text in [&whole, &cut] {
        story.ask(3, text, Ex, NONE);
        let seen = story.of(&resource(&[text]));
        assert_eq!((seen.len(), seen[0].is_cut), (1, *text == cut), "{text}");
    }
}

#[test]
fn without_room_nothing_is_written() {
    let mut story = Story::new(0);
    story.ask(1, "x", Ex, NONE);
    assert_eq!(story.of(&resource(&["x"])), []);
    assert_eq!((story.shard.history.bytes(), story.shard.history_begins()), (0, None));
}
