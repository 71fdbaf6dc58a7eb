//! Orphans over the wire: who finds them again, what an adoption brings, and what a purge leaves.

use crate::speaker::{Speaker, deq, done, granted, handle, refused, root, server, session};
use enq_protocol::{
    vocabulary::{
        Flags, LockFilter, LockMode,
        LockMode::{Cr, Ex, Nl, Pr},
        LockspaceId, Owner, Status,
    },
    wire::{Adopt, Enq, Event, Look, OpenSession, Purge, Reply, Request, Seen},
};

const NONE: Flags = Flags::NONE;

/// A session whose orphans can be found by this.
fn keyed(orphan_key: &[u8]) -> OpenSession {
    OpenSession { orphan_key: orphan_key.into(), ..session(15_000, true) }
}

fn adopt<'a>(number: u32, name: &'a str, mode: LockMode, orphan_key: &'a str) -> Adopt<'a> {
    Adopt {
        handle: handle(number),
        lockspace: LockspaceId(0),
        parent: None,
        name: name.as_bytes(),
        mode,
        flags: NONE,
        owner: Owner::default(),
        priority: 0,
        orphan_key: orphan_key.as_bytes(),
        reason: b"recovery",
    }
}

fn purge(orphan_key: &str) -> Request<'_> {
    Request::Purge(Purge { lockspace: LockspaceId(0), root: None, orphan_key: orphan_key.as_bytes() })
}

/// How many orphans there are.
async fn count(speaker: &mut Speaker) -> usize {
    let filter = LockFilter { orphans: true, ..LockFilter::default() };
    let Seen::Page(page) = speaker.look(Look::Page { from: None, max: 100, filter }).await else {
        panic!("a page")
    };
    assert!(page.locks.iter().all(|view| view.session.is_none()));
    page.locks.len()
}

#[tokio::test]
async fn an_orphan_is_adopted_by_who_has_its_key() {
    let server = server().await;
    let (mut alice, _) = Speaker::opened_as(&server, keyed(b"billing")).await;
    let held = granted(alice.enq(1, "a", Ex, Flags::PERSISTENT).await);
    assert_eq!(done(alice.ask(&Request::Close).await), Status::Done);
    let (mut bob, mut carol) = (Speaker::opened(&server).await, Speaker::opened(&server).await);
    assert_eq!(count(&mut bob).await, 1);
    assert!(matches!(carol.enq(1, "a", Pr, NONE).await, Reply::Queued { .. }));
    let strange = [adopt(7, "a", Ex, "sales"), adopt(7, "b", Ex, "billing"), adopt(7, "a", Ex, "")];
    for adopt in strange {
        let reply = bob.ask(&Request::Adopt(adopt)).await;
        let expected = Reply::Refused { status: Status::NoSuchOrphan, blocker: None, detail: 0 };
        assert_eq!(reply, expected, "whoever does not know the key learns nothing");
    }
    assert_eq!(refused(bob.ask(&Request::Adopt(adopt(7, "a", Pr, "billing"))).await), Status::WrongMode);
    let flags = Flags::BLKAST | Flags::VALBLK;
    let found = Adopt { flags, ..adopt(7, "a", Ex, "billing") };
    let grant = granted(bob.ask(&Request::Adopt(found)).await);
    assert_eq!((grant.lock, grant.mode, grant.handle), (held.lock, Ex, handle(7)));
    assert!(grant.seq > held.seq && grant.fence.0 == grant.seq.0 && grant.value.is_some_and(|it| it.valid));
    assert_eq!(bob.event().await, Event::Blocking { handle: handle(7), seq: grant.seq, mode: Pr });
    assert_eq!(count(&mut bob).await, 0);
    let Seen::Lock(view) = carol.look(Look::Lock(held.lock)).await else { panic!("a lock") };
    assert_eq!((&*view.reason, view.flags.contains(Flags::PERSISTENT)), (&b"recovery"[..], true));
    assert_eq!(refused(bob.ask(&Request::Adopt(found)).await), Status::BadParam, "its handle is in use");
    assert_eq!(done(bob.ask(&deq(7, NONE)).await), Status::Released);
    assert!(matches!(carol.event().await, Event::Granted(grant) if grant.mode == Pr));
    assert_eq!(server.table().check(), Ok(()));
}

#[tokio::test]
async fn a_tree_is_adopted_in_one_write() {
    let server = server().await;
    let (mut alice, _) = Speaker::opened_as(&server, keyed(b"billing")).await;
    granted(alice.enq(1, "a", Nl, NONE).await);
    let Request::Enq(child) = root(2, "b", Ex, Flags::PERSISTENT) else { panic!("an enq") };
    granted(alice.ask(&Request::Enq(Enq { parent: Some(handle(1)), ..child })).await);
    assert_eq!(done(alice.ask(&Request::Close).await), Status::Done);
    let mut bob = Speaker::opened(&server).await;
    let below = Adopt { parent: Some(handle(1)), ..adopt(2, "b", Ex, "billing") };
    let mut burst = bob.encode(&Request::Adopt(below));
    burst.extend(bob.encode(&Request::Adopt(adopt(1, "a", Nl, "billing"))));
    burst.extend(bob.encode(&Request::Adopt(below)));
    burst.extend(bob.encode(&deq(1, NONE)));
    burst.extend(bob.encode(&deq(2, NONE)));
    burst.extend(bob.encode(&deq(1, NONE)));
    bob.write(&burst).await;
    assert_eq!(refused(bob.answer().await), Status::NoSuchLock, "its parent lock comes first");
    assert_eq!(granted(bob.answer().await).mode, Nl);
    assert_eq!(granted(bob.answer().await).mode, Ex);
    assert_eq!(refused(bob.answer().await), Status::HasSublocks);
    assert_eq!(done(bob.answer().await), Status::Released);
    assert_eq!(done(bob.answer().await), Status::Released);
    assert_eq!(server.table().check(), Ok(()));
}

#[tokio::test]
async fn a_purge_goes_through_all_shards_and_lets_others_through() {
    let server = server().await;
    let (mut alice, _) = Speaker::opened_as(&server, keyed(b"billing")).await;
    let names: Vec<String> = (0..40).map(|number| format!("purge-{number}")).collect();
    for (number, name) in (1..).zip(&names) {
        granted(alice.enq(number, name, Ex, Flags::PERSISTENT).await);
    }
    // Its connection ends, and it with it: dead.
    drop(alice);
    let (mut bob, mut carol) = (Speaker::opened(&server).await, Speaker::opened(&server).await);
    while count(&mut bob).await < names.len() {
        tokio::task::yield_now().await;
    }
    assert!(matches!(bob.enq(1, &names[3], Pr, NONE).await, Reply::Queued { .. }));
    assert!(matches!(carol.enq(1, &names[5], Cr, Flags::VALBLK).await, Reply::Queued { .. }));
    assert_eq!(bob.ask(&purge("sales")).await, Reply::Purged { released: 0 });
    let nowhere = Purge { lockspace: LockspaceId(7), root: None, orphan_key: b"billing" };
    assert_eq!(refused(bob.ask(&Request::Purge(nowhere)).await), Status::NoSuchSpace);
    let root = Some(names[0].as_bytes());
    let one = Purge { lockspace: LockspaceId(0), root, orphan_key: b"billing" };
    assert_eq!(bob.ask(&Request::Purge(one)).await, Reply::Purged { released: 1 });
    assert_eq!(count(&mut bob).await, names.len() - 1);
    bob.send(&purge("billing")).await;
    // The answer comes when the purge is through, its own grants as they are made.
    assert!(matches!(bob.event().await, Event::Granted(grant) if grant.mode == Pr));
    assert_eq!(bob.answer().await, Reply::Purged { released: 39 });
    let Event::Granted(grant) = carol.event().await else { panic!("granted") };
    assert!(grant.value.is_some_and(|block| !block.valid), "a writer has left it as it was");
    assert_eq!(count(&mut bob).await, 0);
    assert_eq!(server.table().check(), Ok(()));
}
