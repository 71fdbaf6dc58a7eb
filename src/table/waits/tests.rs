//! How long looks hold a shard, counted in locks, and that those who look at one time share a picture that is new to all.

use super::*;
use crate::engine::{LISTED_A_STEP, LockRef, SHOWN_MAX, deadlock::Due};
use crate::table::{
    LongWaits, Scratch,
    scene::{Scene, Wish},
};
use enq_protocol::vocabulary::{LockFilter, LockMode, LockspaceId, ResourceName, Seq};
use std::{sync::Barrier, thread};

/// What the next look looks at, at most, while it holds a shard.
fn look(scene: &mut Scene, look: impl FnOnce(&mut Scene)) -> usize {
    scene.table.longest_look.store(0, Ordering::Relaxed);
    look(scene);
    scene.table.longest_look()
}

fn name(text: &str) -> ResourceName {
    ResourceName::new(text.as_bytes()).unwrap()
}

/// Lists all locks. Says how many there are.
fn list(scene: &Scene, filter: &LockFilter) -> usize {
    let (mut from, mut locks) = (None, 0);
    loop {
        let page = scene.table.show_page(scene.now, from, 2_000, filter);
        locks += page.locks.len();
        match page.next {
            Some(next) => from = Some(next),
            None => return locks,
        }
    }
}

/// Many small queues in one shard: whoever looks at them all lets others in between.
#[test]
fn no_look_looks_at_more_than_2000_locks_at_once() {
    const LEAVES: u32 = 3_000;
    let mut scene = Scene::new();
    let (holder, waiter) = (scene.session(0), scene.session(0));
    for cell in [&holder, &waiter] {
        let root = Wish { cell, owner: 0, handle: 1, name: "root", priority: 0 };
        scene.ask_for(root, LockMode::Cr, None);
        let filter = LockFilter { session: Some(cell.id), ..LockFilter::default() };
        let parent = LockRef::Id(scene.table.show_page(scene.now, None, 1, &filter).locks[0].lock);
        for leaf in 2..LEAVES + 2 {
            let wish = Wish { handle: leaf, name: &leaf.to_string(), ..root };
            scene.ask_for(wish, LockMode::Ex, Some(parent));
        }
    }
    let locks = 2 * (LEAVES as usize + 1);
    scene.now = scene.now.after_ms(10_000);

    let at_once = look(&mut scene, |scene| assert_eq!(list(scene, &LockFilter::default()), locks));
    assert_eq!(at_once, LISTED_A_STEP, "a listing");
    let older = LockFilter { older_than_ms: 60_000, ..LockFilter::default() };
    assert_eq!(look(&mut scene, |scene| assert_eq!(list(scene, &older), 0)), LISTED_A_STEP, "in vain");
    let at_once = look(&mut scene, |scene| {
        let found = scene.search_all(Due::All);
        assert_eq!((found.locks, found.found.len()), (locks - 2, 0));
    });
    assert_eq!(at_once, LOOKED_AT_A_STEP, "a search");
    let at_once = look(&mut scene, |scene| {
        let view = scene.table.show_waits(scene.now, &WaitsFrom::default(), 10_000).unwrap();
        assert!(view.waits.len() > 100);
    });
    assert_eq!(at_once, LOOKED_AT_A_STEP, "a picture");
    let at_once = look(&mut scene, |scene| {
        let view = scene.table.show_what_if(scene.now, WhatIf::Ended(holder.id)).unwrap();
        assert_eq!((view.is_complete, view.looked_at as usize, view.total), (true, locks, LEAVES));
    });
    assert!((LOOKED_AT_A_STEP - 3..=LOOKED_AT_A_STEP).contains(&at_once), "what if: {at_once}");
    let at_once = look(&mut scene, |scene| {
        let mut waits = LongWaits::new(1_000);
        let seen = scene.table.look_at_long_waits(scene.now, &mut waits);
        assert_eq!(seen.begun.len() + seen.more, LEAVES as usize);
    });
    assert_eq!(at_once, LOOKED_AT_A_STEP, "long waits");
}

/// One resource with very many locks: what must be seen at one moment is, and everything else is cut short.
#[test]
fn one_long_queue_is_looked_at_whole_only_where_it_must() {
    const HOLDERS: u32 = 4_000;
    let mut scene = Scene::new();
    let (holder, waiter) = (scene.session(0), scene.session(0));
    for handle in 1..=HOLDERS {
        let wish = Wish { cell: &holder, owner: 0, handle, name: "hot", priority: 0 };
        scene.ask_for(wish, LockMode::Pr, None);
    }
    scene.ask(Wish { cell: &waiter, owner: 0, handle: 1, name: "hot", priority: 0 });
    let (space, path) = (LockspaceId::default(), [name("hot")]);
    let all = HOLDERS as usize + 1;

    let at_once = look(&mut scene, |scene| {
        let seen = scene.table.show_resource(scene.now, space, &path).unwrap();
        assert_eq!(seen.resource.lock_count as usize, all);
    });
    assert_eq!(at_once, SHOWN_MAX, "a resource");
    assert_eq!(look(&mut scene, |scene| _ = list(scene, &LockFilter::default())), LISTED_A_STEP, "a listing");
    let at_once = look(&mut scene, |scene| {
        scene.search_all(Due::All);
    });
    assert_eq!(at_once, all, "a search copies a resource whole");
    assert_eq!(look(&mut scene, |scene| assert!(!scene.table.is_live(space, &path, Seq(0)))), all - 1);
    let at_once = look(&mut scene, |scene| {
        let view = scene.table.show_what_if(scene.now, WhatIf::Ended(holder.id)).unwrap();
        assert_eq!((view.is_complete, view.total), (true, 1));
    });
    assert_eq!(
        at_once,
        all + 1,
        "what would follow is played with a whole resource, and begun with one lock of it"
    );
}

/// A step between two holds makes the rest of a copy worthless; what was copied is played.
#[test]
fn a_shard_that_moves_ends_the_copying_and_that_is_said() {
    let mut scene = Scene::new();
    let holder = scene.session(0);
    let root = Wish { cell: &holder, owner: 0, handle: 1, name: "root", priority: 0 };
    scene.ask_for(root, LockMode::Nl, None);
    let parent = scene.table.show_page(scene.now, None, 1, &LockFilter::default()).locks[0].lock;
    for (handle, name) in [(2, "a"), (3, "b")] {
        scene.ask_for(Wish { handle, name, ..root }, LockMode::Ex, Some(LockRef::Id(parent)));
    }
    let mut real = scene.table.cell(parent.shard()).shard.lock().clone();
    let mut excerpt = real.begin_excerpt(WhatIf::Ended(holder.id), 100).unwrap();
    assert!(real.go_on_with(&mut excerpt, 3), "the root; a leaf would be too much");
    let copied = excerpt.len();
    real.step(scene.now.after_ms(1), crate::engine::Input::Tick, &mut Vec::new());
    assert!(!real.go_on_with(&mut excerpt, 100), "its slots may be others by now");
    assert_eq!(excerpt.len(), copied);
    assert!(!excerpt.play().is_complete);
    let mut whole = real.begin_excerpt(WhatIf::Ended(holder.id), 100).unwrap();
    assert!(!real.go_on_with(&mut whole, 100));
    assert_eq!(whole.len(), 3);
    assert!(whole.play().is_complete);
}

/// Whoever asks sees what was there before he asked, although others had begun to look by then.
#[test]
fn a_shared_picture_is_never_older_than_the_question() {
    const LOOKERS: usize = 6;
    let scene = Scene::new();
    let now = scene.now;
    let barrier = Barrier::new(LOOKERS);
    thread::scope(|scope| {
        for looker in 0..LOOKERS {
            let (barrier, cell) = (&barrier, scene.session(0));
            let table = Arc::clone(&scene.table);
            scope.spawn(move || {
                let mut scene = Scene { table, now, scratch: Scratch::default() };
                for round in 0..40 {
                    let name = format!("{looker}-{round}");
                    barrier.wait();
                    for handle in [2 * round + 1, 2 * round + 2] {
                        let wish = Wish { cell: &cell, owner: handle, handle, name: &name, priority: 0 };
                        scene.ask(wish);
                    }
                    let from = WaitsFrom { session: Some(cell.id), ..WaitsFrom::default() };
                    let view = scene.table.show_waits(now, &from, 10_000).unwrap();
                    assert_eq!(
                        view.waits.len(),
                        round as usize + 1,
                        "each of its requests, the last one too"
                    );
                }
            });
        }
    });
    let table = &scene.table;
    assert!(table.waits.begun.load(Ordering::SeqCst) <= 40 * LOOKERS as u64);
    assert!(table.waits.last.lock().is_none(), "nothing is kept when nobody asks");
}
