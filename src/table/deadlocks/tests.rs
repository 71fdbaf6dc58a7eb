//! The search over a whole table: when it is due, by which rules it goes, what it keeps and what it shows.

use super::*;
use crate::{
    engine::{LockRef, session::Call},
    table::{
        SessionCell,
        scene::{Scene, Wish, ms},
    },
};
use enq_protocol::vocabulary::{Flags, Handle, LockMode, ResourceName, VictimRule};

impl Scene {
    /// A ring: each has a resource and waits for that of the next. The last one asks last.
    fn ring(&mut self, name: &str, members: &[Wish<'_>]) {
        let name = |at: usize| format!("{name}.{}", at % members.len());
        for (at, wish) in members.iter().enumerate() {
            self.ask(Wish { name: &name(at), ..*wish });
        }
        for (at, wish) in members.iter().enumerate() {
            // Ages compare across shards by time alone.
            self.now = self.now.after_ms(u32::from(at > 0));
            self.ask(Wish { name: &name(at + 1), handle: wish.handle + 1, ..*wish });
        }
    }

    /// A ring of two owners of one session that have nothing else, with four handles from this one on.
    fn pair(&mut self, cell: &SessionCell, first: u32) {
        let member = |handle| Wish { cell, owner: handle, handle, name: "", priority: 0 };
        self.ring(&first.to_string(), &[member(first), member(first + 2)]);
    }

    fn decide(&mut self, change: impl FnOnce(&mut Policy)) {
        let space = self.table.show_spaces().remove(0);
        let mut policy = space.policy;
        change(&mut policy);
        let by = self.session(0);
        let (lockspace, version) = (space.lockspace, space.version);
        self.execute(&by, Call::SetSpace { lockspace, version, policy });
    }

    fn search(&mut self, due: Due) -> Vec<Arc<Deadlock>> {
        self.search_all(due).found
    }

    fn search_at(&mut self, now: Instant) -> Vec<Arc<Deadlock>> {
        self.now = now;
        self.search(Due::At(now))
    }

    fn is_due(&self, now: u32) -> bool {
        self.table.is_search_due(ms(now))
    }
}

#[test]
fn a_search_is_due_when_somebody_has_waited_and_again_while_he_waits_on() {
    let mut scene = Scene::new();
    let cell = scene.session(0);
    assert!(!scene.is_due(u32::MAX));
    for handle in [1, 2] {
        scene.ask(Wish { cell: &cell, owner: handle, handle, name: "a", priority: 0 });
    }
    assert!(!scene.is_due(999) && scene.is_due(1_000));
    // An operator has asked for this one; it puts nothing off.
    scene.now = ms(500);
    assert!(scene.search(Due::All).is_empty());
    assert!(!scene.is_due(999) && scene.is_due(1_000));
    assert!(scene.search_at(ms(1_000)).is_empty());
    assert!(!scene.is_due(1_999) && scene.is_due(2_000));
    scene.decide(|policy| policy.deadlock_wait_ms = 0);
    assert!(scene.search_at(ms(2_000)).is_empty());
    assert!(!scene.is_due(u32::MAX), "nobody looks");
    scene.ask(Wish { cell: &cell, owner: 3, handle: 3, name: "a", priority: 0 });
    assert!(!scene.is_due(u32::MAX), "nor for another one");
    scene.pair(&cell, 11);
    assert!(scene.search_at(ms(60_000)).is_empty() && scene.search(Due::All).len() == 1, "unless asked to");
    let statistics = scene.table.statistics();
    assert_eq!((statistics.deadlock_search, statistics.deadlock_find), (5, 1));
}

#[test]
fn a_search_goes_by_the_wait_of_the_lockspace() {
    let mut scene = Scene::new();
    let cell = scene.session(0);
    scene.decide(|policy| policy.deadlock_wait_ms = 10);
    scene.pair(&cell, 1);
    assert!(scene.is_due(10));
    assert!(scene.search_at(ms(9)).is_empty());
    let found = scene.search_at(ms(10));
    assert_eq!((found.len(), found[0].wait_count, found[0].waits.len()), (1, 2, 2));
    let refused = found[0].refused.unwrap();
    let youngest = found[0].waits.iter().map(|wait| &wait.waiting).max_by_key(|lock| lock.handle.number());
    assert_eq!(youngest.map(|lock| lock.lock), Some(refused));
    scene.pair(&cell, 11);
    assert_eq!(scene.search_at(ms(20)).len(), 1);
    let statistics = scene.table.statistics();
    assert_eq!((statistics.deadlock_search, statistics.deadlock_find), (3, 2));
}

#[test]
fn the_session_with_the_fewest_locks_goes_where_the_lockspace_says_so() {
    for rule in [VictimRule::Youngest, VictimRule::FewestLocks] {
        let mut scene = Scene::new();
        scene.decide(|policy| policy.deadlock_victim = rule);
        let (few, many) = (scene.session(0), scene.session(0));
        for handle in 11..=15 {
            scene.ask(Wish { cell: &many, owner: 0, handle, name: &format!("own {handle}"), priority: 0 });
        }
        let member = |cell| Wish { cell, owner: 0, handle: 1, name: "", priority: 0 };
        scene.ring("r", &[member(&few), member(&many)]);
        let found = scene.search(Due::All);
        let refused = found[0].refused.unwrap();
        let waiting = found[0].waits.iter().map(|wait| &wait.waiting).find(|lock| lock.lock == refused);
        let goes = if rule == VictimRule::FewestLocks { few.id } else { many.id };
        assert_eq!(waiting.unwrap().session, Some(goes), "{rule:?}");
    }
}

#[test]
fn a_deadlock_that_nobody_may_break_is_told_once() {
    let mut scene = Scene::new();
    scene.decide(|policy| policy.deadlock_victim = VictimRule::ReportOnly);
    let cell = scene.session(0);
    scene.pair(&cell, 1);
    let found = scene.search(Due::All);
    assert_eq!((found.len(), found[0].refused), (1, None));
    assert!(scene.search(Due::All).is_empty());
    scene.pair(&cell, 11);
    let found = scene.search(Due::All);
    assert_eq!(found.len(), 1, "the new one");
    assert!(found[0].waits.iter().all(|wait| wait.waiting.handle.number() > 10));
    assert!(scene.search(Due::All).is_empty());
    assert_eq!(scene.table.deadlock_records().len(), 2);
}

#[test]
fn sixty_four_waits_of_a_record_are_kept_and_the_one_that_was_refused() {
    let owners = 70;
    let mut beyond = 0;
    for goes in 0..owners {
        let mut scene = Scene::new();
        let cell = scene.session(0);
        let member = |owner| {
            let priority = u8::from(owner != goes);
            Wish { cell: &cell, owner, handle: 1 + 2 * owner, name: "", priority }
        };
        let members: Vec<Wish<'_>> = (0..owners).map(member).collect();
        scene.ring("r", &members);
        let found = scene.search(Due::All);
        let refused = found[0].waits.iter().find(|wait| Some(wait.waiting.lock) == found[0].refused);
        assert_eq!(refused.map(|wait| wait.waiting.handle.number()), Some(2 + 2 * goes));
        assert_eq!(found[0].wait_count, 70);
        beyond += found[0].waits.len() - 64;
    }
    assert_eq!(beyond, 6, "it is one of the last six");
}

#[test]
fn the_latest_records_are_kept() {
    let mut scene = Scene::new();
    let cell = scene.session(0);
    for round in 0..300 {
        scene.pair(&cell, 1 + 10 * round);
        assert_eq!(scene.search(Due::All).len(), 1);
    }
    let numbers = scene.table.deadlock_records().iter().map(|record| record.number).collect::<Vec<_>>();
    assert_eq!(numbers, (45..=300).rev().collect::<Vec<_>>());
}

#[test]
fn sessions_with_long_words_make_a_record_show_less() {
    let mut scene = Scene::new();
    let cells: Vec<_> = (0..30).map(|_| scene.session(4_000)).collect();
    let members: Vec<_> =
        cells.iter().map(|cell| Wish { cell, owner: 0, handle: 1, name: "", priority: 0 }).collect();
    scene.ring("r", &members);
    assert_eq!(scene.search(Due::All)[0].waits.len(), 30);
    let (shown, more) = scene.table.show_deadlocks(scene.now, None, 10);
    assert_eq!((shown.len(), more, shown[0].wait_count), (1, false, 30));
    let words: usize = shown[0].sessions.iter().map(|session| session.purpose.len()).sum();
    assert!((WEIGHT_MAX / 2..WEIGHT_MAX).contains(&words), "{words}");
    assert_eq!(shown[0].sessions.len(), shown[0].waits.len() + 1, "each names one more");
}

#[test]
fn a_hold_of_a_shard_copies_no_more_resources_than_it_has_to() {
    let mut scene = Scene::new();
    let cell = scene.session(0);
    let shard_of = |name: &str| {
        let name = ResourceName::new(name.as_bytes()).unwrap();
        scene.table.shard_of(LockspaceId::default(), &name)
    };
    let shard = shard_of("0");
    let together: Vec<String> =
        (0..).map(|n: u32| n.to_string()).filter(|name| shard_of(name) == shard).take(3).collect();
    for (at, name) in (0..).zip(&together) {
        for handle in [1 + 2 * at, 2 + 2 * at] {
            scene.ask(Wish { cell: &cell, owner: 0, handle, name, priority: 0 });
        }
    }
    let shard = scene.table.cell(shard).shard.lock();
    let mut copied = Copied::default();
    let mut from = usize::MAX;
    for (left, locks) in [(2, 2), (1, 4), (0, 6)] {
        from = shard.copy_queues(from, 2, &mut copied);
        assert_eq!((from, copied.locks()), (left, locks), "one resource is enough");
    }
}

/// However many locks a hold of a shard copies.
#[test]
fn long_queues_are_copied_whole_wherever_they_are() {
    let mut scene = Scene::new();
    let cell = scene.session(0);
    for handle in 1..=3_600 {
        let name = format!("queue {}", handle % 3);
        scene.ask(Wish { cell: &cell, owner: handle, handle, name: &name, priority: 0 });
    }
    let searched = scene.search_all(Due::All);
    assert_eq!((searched.locks, searched.found.len()), (3_600, 0));
}

/// What waits behind another request of its own party waits until that is granted. So the party is a part with itself,
/// in which no ring is: only taking away from the front shows that it goes on.
#[test]
fn a_session_that_waits_in_two_long_queues_is_soon_seen_to_go_on() {
    let mut scene = Scene::new();
    let (holder, waiter) = (scene.session(0), scene.session(0));
    for (handle, name) in [(1, "a"), (2, "b")] {
        scene.ask(Wish { cell: &holder, owner: 0, handle, name, priority: 0 });
    }
    for handle in 1..=4_000 {
        let name = if handle % 2 == 0 { "a" } else { "b" };
        scene.ask(Wish { cell: &waiter, owner: 0, handle, name, priority: 0 });
    }
    let searched = scene.search_all(Due::All);
    assert_eq!((searched.locks, searched.found.len()), (4_002, 0));
}

#[test]
fn a_refusal_is_void_unless_it_names_the_entry_into_the_queue() {
    let mut scene = Scene::new();
    let cell = scene.session(0);
    for handle in [1, 2] {
        scene.ask(Wish { cell: &cell, owner: 0, handle, name: "a", priority: 0 });
    }
    let path = [ResourceName::new(b"a").unwrap()];
    let seen = scene.table.show_resource(scene.now, LockspaceId::default(), &path).unwrap();
    let [held, waits] = &seen.resource.locks[..] else { panic!("two locks") };
    let later = Stamp(waits.stamp.0 + 1);
    let mut refuse = |lock: LockId, stamp| {
        let input = Input::RefuseDeadlock { lock, stamp, record: 9 };
        let said = scene.table.with_shard(lock.shard(), &mut scene.scratch, |table, shard, scratch| {
            table.step(shard, scene.now, input, None, scratch)
        });
        matches!(said, Some(Said::Done(Status::Done)))
    };
    assert!(!refuse(held.lock, held.stamp), "it is granted");
    assert!(!refuse(waits.lock, later), "that is another entry");
    assert!(refuse(waits.lock, waits.stamp));
    assert!(!refuse(waits.lock, waits.stamp), "it has gone");
}

/// D5, D6: who waited for the grant of a conversion that was refused waits for what it holds, and is found in the search
/// that follows at once.
#[test]
fn a_refused_conversion_is_followed_by_another_search() {
    for due in [Due::All, Due::At(ms(1_000))] {
        let mut scene = Scene::new();
        let (one, other) = (scene.session(0), scene.session(0));
        let of_one = Wish { cell: &one, owner: 0, handle: 1, name: "a", priority: 0 };
        let of_other = Wish { cell: &other, priority: 1, ..of_one };
        scene.ask_for(of_one, LockMode::Cw, None);
        scene.ask_for(of_other, LockMode::Cw, None);
        let (session, lock, mode) = (one.id, LockRef::Handle(Handle::new(1).unwrap()), LockMode::Pr);
        let (flags, timeout_ms, priority, value) = (Flags::NONE, None, 0, None);
        let convert = Input::Convert { session, lock, mode, flags, timeout_ms, priority, value };
        scene.execute(&one, Call::Lock(convert));
        scene.ask_for(Wish { handle: 2, ..of_other }, LockMode::Cr, None);
        scene.ask_for(Wish { handle: 2, ..of_one }, LockMode::Pr, None);
        scene.now = ms(1_000);
        let found: Vec<usize> = scene.search(due).iter().map(|found| found.waits.len()).collect();
        assert_eq!(found, [2, 1], "{due:?}: the ring, and whom its refusal left waiting for himself");
    }
}
