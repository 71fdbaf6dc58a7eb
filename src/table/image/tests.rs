//! The image of a table in which everything happens at once, and what is made of it.

use super::super::{
    Scratch, Setting,
    scene::{Scene, Wish, ms},
};
use super::{About, Table};
use crate::engine::{
    Ask, Input, Instant, Limits, Local, LockRef, Planted, Under,
    session::{Call, Entry},
};
use enq_protocol::vocabulary::{
    Flags, Handle, LockMode, LockspaceId, Owner, Policy, ResourceName, SessionId, Status,
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use std::sync::Arc;

const LOCAL: Local = Local { hash_seed: 99, memory: usize::MAX, history: 0, planted: Planted::NONE };

fn image(table: &Table) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.put_image(&mut bytes);
    bytes
}

fn name(text: &str) -> ResourceName {
    ResourceName::new(text.as_bytes()).unwrap()
}

fn handle(number: u32) -> Handle {
    Handle::new(number).unwrap()
}

fn ask(session: SessionId, mode: LockMode, flags: Flags) -> Ask<'static> {
    let owner = Owner { scope: 0, token: 1 };
    Ask { session, mode, flags, owner, timeout_ms: None, priority: 3, reason: b"it is needed" }
}

impl Scene {
    fn open(&self, text: &str, orphan_key: &[u8]) -> SessionId {
        let about = About {
            name: text.into(),
            purpose: "to be there".into(),
            host: "h".into(),
            pid: 12,
            peer: "p:1".into(),
            ttl_ms: 30_000,
            bound: false,
            secret: *b"a secret of 16 b",
            orphan_key: orphan_key.into(),
        };
        self.table.open_session(self.now, about).id
    }

    fn call(&mut self, session: SessionId, call: Call<'_>) {
        let cell = self.table.session(session).unwrap();
        self.execute(&cell, call);
    }

    fn enq(&mut self, ask: Ask<'_>, number: u32, under: Under, text: &str) {
        let input = Input::Enq { ask, handle: handle(number), under, name: &name(text) };
        self.call(ask.session, Call::Lock(input));
    }

    fn path(&mut self, ask: Ask<'_>, handles: &[Handle], texts: &[&str]) {
        let path: Vec<_> = texts.iter().map(|text| name(text)).collect();
        let input = Input::EnqPath { ask, handles, lockspace: LockspaceId(0), path: &path };
        self.call(ask.session, Call::Lock(input));
    }

    fn convert(&mut self, session: SessionId, number: u32, mode: LockMode, value: Option<&[u8]>) {
        let lock = LockRef::Handle(handle(number));
        let flags = if value.is_some() { Flags::VALBLK } else { Flags::NONE };
        let input = Input::Convert { session, lock, mode, flags, timeout_ms: Some(900), priority: 0, value };
        self.call(session, Call::Lock(input));
    }

    fn kill(&mut self, session: SessionId) {
        let cell = self.table.session(session).unwrap();
        let mut register = cell.in_half.lock();
        self.table.kill(self.now, (&cell, &mut register), &mut self.scratch);
    }

    /// All that a session has not acknowledged, as another connection hears it.
    fn hears(&self, session: SessionId) -> (u64, Vec<Entry>) {
        let cell = self.table.resumable(self.now, session).unwrap();
        let mut register = cell.in_half.lock();
        let answered = cell.attach(&mut register, 0, String::new()).unwrap();
        let mut entries = Vec::new();
        register.send(|entry, _| {
            entries.push(entry.clone());
            true
        });
        (answered, entries)
    }

    /// The same state in another process, as far as an image tells.
    fn made_anew(&self) -> Scene {
        let bytes = image(&self.table);
        let table = Table::from_image(&bytes, &LOCAL).unwrap();
        assert!(image(&table) == bytes, "it has the same image");
        assert_eq!(table.state_hash(), self.table.state_hash());
        assert_eq!(table.last_moment(), self.table.last_moment());
        assert_eq!(table.check(), Ok(()));
        Scene { table: Arc::new(table), now: self.now, scratch: Scratch::default() }
    }
}

/// The sessions of the story.
struct Cast {
    holder: SessionId,
    asker: SessionId,
    walker: SessionId,
    other: SessionId,
    parent: SessionId,
    closed: SessionId,
}

const KEY: &[u8] = b"orphan key";
const CHILDREN: u32 = 6_000;

/// Lockspaces come and go, locks wait and convert, with reasons, values and deadlines; paths wait; one session is closed
/// and leaves orphans, one is dead with a lock-delay, and of one the end has only begun.
fn busy() -> (Scene, Cast) {
    let mut scene = Scene::new();
    scene.now = ms(1_000);
    let holder = scene.open("holder", b"");
    for text in ["first", "second", "third"] {
        let policy = Policy { lock_delay_ms: 5_000, ..Policy::default() };
        scene.call(holder, Call::CreateSpace { name: name(text), policy, exclusive: true });
    }
    scene.call(holder, Call::RemoveSpace { lockspace: LockspaceId(2), force: false });
    let asker = scene.open("asker", KEY);
    let root = |space| Under::Lockspace(LockspaceId(space));
    scene.enq(ask(holder, LockMode::Pr, Flags::BLKAST), 1, root(0), "held");
    scene.enq(ask(asker, LockMode::Pr, Flags::NONE), 1, root(0), "held");
    scene.enq(ask(holder, LockMode::Ex, Flags::BLKAST), 2, root(0), "alone");
    scene.enq(Ask { timeout_ms: Some(700), ..ask(asker, LockMode::Ex, Flags::NONE) }, 2, root(0), "alone");
    scene.enq(ask(asker, LockMode::Cr, Flags::HEADQUE | Flags::NOORDER), 3, root(0), "alone");
    scene.convert(holder, 1, LockMode::Ex, None);
    scene.convert(holder, 2, LockMode::Pw, Some(b"what was written"));
    let walker = scene.open("walker", b"");
    scene.path(
        ask(walker, LockMode::Ex, Flags::NONE),
        &[handle(9), handle(4), handle(70_000)],
        &["a", "b", "c"],
    );
    let other = scene.open("other", KEY);
    scene.path(ask(other, LockMode::Pr, Flags::NONE), &[handle(1), handle(2), handle(3)], &["a", "b", "c"]);
    // It reuses what it has above, and waits at a leaf that is somebody else's.
    scene.path(ask(other, LockMode::Pr, Flags::NONE), &[handle(4), handle(5)], &["a", "b"]);
    let closed = scene.open("closed", KEY);
    for (number, text) in [(1, "kept"), (2, "kept too"), (3, "not kept")] {
        let flags = if number < 3 { Flags::PERSISTENT } else { Flags::NONE };
        scene.enq(ask(closed, LockMode::Pw, flags), number, root(0), text);
    }
    scene.call(closed, Call::Close);
    let dead = scene.open("dead", b"");
    scene.enq(ask(dead, LockMode::Pw, Flags::NONE), 1, root(1), "delayed");
    scene.now = ms(2_000);
    scene.kill(dead);
    let parent = scene.open("parent", b"");
    scene.enq(ask(parent, LockMode::Cr, Flags::NONE), 1, root(0), "parent");
    for number in 0..CHILDREN {
        let under = Under::Parent(LockRef::Handle(handle(1)));
        scene.enq(ask(parent, LockMode::Ex, Flags::NONE), number + 2, under, &format!("child {number}"));
    }
    let heir = scene.open("heir", b"");
    scene.enq(ask(heir, LockMode::Ex, Flags::NONE), 1, root(0), "parent");
    scene.kill(parent);
    scene.now = ms(2_100);
    assert_eq!(scene.table.check(), Ok(()));
    let counts = scene.table.statistics();
    assert!(counts.locks > 1_000 && counts.waiting > 3 && counts.delayed == 1, "{counts:?}");
    assert_eq!(scene.table.closed_count(), 1);
    assert!(scene.table.is_due(ms(0)), "an end goes on");
    (scene, Cast { holder, asker, walker, other, parent, closed })
}

/// What comes after: each step is the same on both sides.
fn go_on(scene: &mut Scene, cast: &Cast) -> Vec<String> {
    let mut seen = Vec::new();
    let root = |space| Under::Lockspace(LockspaceId(space));
    let new = scene.open("new", b"");
    seen.push(format!(
        "{new} {:?}",
        scene.table.resumable(scene.now, cast.closed).map(|cell| cell.about.clone().name)
    ));
    assert_eq!(scene.table.session(cast.parent).map(|cell| cell.id), None);
    scene.enq(ask(new, LockMode::Ex, Flags::NONE), 1, root(1), "delayed");
    let policy = Policy::default();
    scene.call(new, Call::CreateSpace { name: name("fourth"), policy, exclusive: true });
    scene.call(new, Call::Purge { lockspace: LockspaceId(0), root: Some(name("kept too")), orphan_key: KEY });
    let adopt = ask(new, LockMode::Pw, Flags::NONE);
    let adopt =
        Input::Adopt { ask: adopt, handle: handle(2), under: root(0), name: &name("kept"), orphan_key: KEY };
    scene.call(new, Call::Lock(adopt));
    // The leaf that a path waits for, and a level of another one.
    for (session, number) in [(cast.walker, 70_000), (cast.other, 5)] {
        let (lock, flags) = (LockRef::Handle(handle(number)), Flags::NONE);
        scene.call(session, Call::Lock(Input::Deq { session, lock, flags, value: None }));
    }
    scene.table.visit(ms(2_200), &mut scene.scratch);
    let lock = LockRef::Handle(handle(2));
    let (session, flags) = (cast.holder, Flags::NONE);
    scene.now = ms(2_300);
    scene.call(cast.holder, Call::Lock(Input::Deq { session, lock, flags, value: None }));
    scene.enq(ask(new, LockMode::Cr, Flags::VALBLK), 3, root(0), "alone");
    for number in 100..400 {
        scene.enq(ask(new, LockMode::Ex, Flags::NONE), number, root(0), &format!("more {number}"));
    }
    scene.now = ms(8_000);
    scene.table.visit(scene.now, &mut scene.scratch);
    assert_eq!(scene.table.check(), Ok(()));
    for session in [cast.holder, cast.asker, cast.walker, cast.other, cast.closed, new] {
        seen.push(format!("{session} hears {:?}", scene.hears(session)));
    }
    seen.push(format!("{:?}", scene.table.statistics()));
    seen.push(format!("{:?}", scene.table.show_spaces()));
    seen
}

#[test]
fn a_table_goes_on_from_its_image() {
    let (mut scene, cast) = busy();
    let mut again = scene.made_anew();
    assert!(again.table.is_due(ms(0)) && again.table.is_search_due(ms(0)));
    let (memory, counted) = (scene.table.memory().table(), again.table.memory().table());
    assert!(memory.abs_diff(counted) < memory / 4, "{counted} bytes are counted, and were {memory}");
    let seen = go_on(&mut scene, &cast);
    for (one, other) in seen.iter().zip(go_on(&mut again, &cast)) {
        assert!(*one == other, "{one}\nis otherwise\n{other}");
    }
    let seen = seen.join("\n");
    for word in [
        "TIMEOUT",
        "PathGrantedLater",
        "GrantedLater",
        "Purged { released: 1",
        "Granted(",
        "closed",
        "value: Some(ValueBlock",
    ] {
        assert!(seen.contains(word), "{word} is not in what happened");
    }
    assert!(image(&scene.table) == image(&again.table), "both come to the same state");
    assert!(image(&scene.made_anew().table) == image(&again.table));
}

#[test]
fn what_was_acknowledged_is_not_kept() {
    let (scene, cast) = busy();
    let before = image(&scene.table).len();
    let heard = scene.hears(cast.holder).1;
    let cell = scene.table.session(cast.holder).unwrap();
    cell.in_half.lock().acknowledge(heard[1].number).unwrap();
    let again = scene.made_anew();
    assert!(image(&scene.table).len() < before);
    assert_eq!(again.hears(cast.holder).1, heard[2..]);
    // Whatever was made may be acknowledged by who heard it on a connection of before.
    let cell = again.table.session(cast.holder).unwrap();
    let last = heard.last().unwrap().number;
    let mut register = cell.in_half.lock();
    assert_eq!(register.sent(), last);
    assert_eq!(register.acknowledge(last + 1), Err(Status::AckRange));
    assert_eq!(register.acknowledge(last), Ok(()));
    assert_eq!(register.unacknowledged(), 0);
}

fn small() -> Scene {
    let mut scene = Scene::new();
    let (one, other) = (scene.session(3), scene.session(0));
    for (cell, handle) in [(&one, 1), (&other, 1), (&one, 2)] {
        scene.ask(Wish { cell, owner: 1, handle, name: "x", priority: 0 });
    }
    let cell = scene.session(1);
    scene.ask(Wish { cell: &cell, owner: 1, handle: 1, name: "y", priority: 0 });
    scene.execute(&cell, Call::Close);
    scene
}

/// Whoever reads an image of another build, or plays its inputs again, must come to what that build came to. If this fails,
/// either the layout is another one, and `VERSION` and docs/image.md are too; or the engine does something else with the
/// same inputs, and a journal of before is not read any more.
#[test]
fn other_builds_come_to_the_same_state() {
    assert_eq!(format!("{:x}", busy().0.table.state_hash()), "d5762fd41a0cf910");
}

#[test]
fn another_layout_is_refused_by_name() {
    let mut bytes = image(&small().table);
    assert_eq!(bytes[0], 1, "the layout is in front");
    bytes[0] = 2;
    let refused = Table::from_image(&bytes, &LOCAL).map(|_| ()).unwrap_err();
    assert_eq!(refused.to_string(), "a state image of layout 2, and this program knows layout 1");
}

#[test]
fn bytes_that_are_no_table_are_refused() {
    let bytes = image(&small().table);
    assert!(Table::from_image(&bytes, &LOCAL).is_ok());
    let mut random = SmallRng::seed_from_u64(1);
    // All of what is before the shards, which are told apart elsewhere, and some of these.
    let shards = bytes.len() - 256 * 40;
    for len in (0..shards.min(bytes.len())).chain((shards..bytes.len()).step_by(101)) {
        assert!(Table::from_image(&bytes[..len], &LOCAL).is_err(), "{len} of {} bytes", bytes.len());
    }
    for at in (0..1_500).chain((1_500..bytes.len()).step_by(37)) {
        let mut other = bytes.clone();
        other[at] ^= 1 << random.random_range(0..8);
        if let Ok(table) = Table::from_image(&other, &LOCAL) {
            assert!(image(&table) == other, "a state has one image: {at}");
            let _ = table.check();
        }
    }
    let longer = [&bytes[..], &[0]].concat();
    let refused = Table::from_image(&longer, &LOCAL).map(|_| ()).unwrap_err().to_string();
    assert!(refused.starts_with("no state image: bytes behind the end"), "{refused}");
}

/// What decides about names, quotas and routes comes along; what belongs to the process does not.
#[test]
fn limits_are_those_of_the_image() {
    let limits = Limits {
        locks_a_session: 7,
        name_len: 9,
        depth: 3,
        history: 50,
        memory: 1 << 30,
        ..Limits::default()
    };
    let table = Table::new(&Setting {
        epoch: 4,
        limits,
        window_requests: 5,
        window_bytes: 6_000,
        route_key: *b"sixteen bytes...",
        hash_seed: 1,
        recovering_until: Some(Instant(77)),
    });
    let again = Table::from_image(&image(&table), &LOCAL).unwrap();
    assert_eq!(again.bounds(), table.bounds());
    assert_eq!(again.limits, Limits { history: 0, memory: usize::MAX, ..limits });
    assert_eq!(again.recovering_ms(Instant(0)), 1);
    assert_eq!(again.memory().max(), usize::MAX);
    let places = |table: &Table| ["a", "b", "c"].map(|text| table.shard_of(LockspaceId(3), &name(text)));
    assert_eq!(places(&again), places(&table));
}
