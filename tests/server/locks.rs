//! Locking over the wire: what one and two sessions do in an ordinary day.

use crate::speaker::{Speaker, convert, deq, done, granted, handle, refused, root, server, session, sublock};
use enq_protocol::{
    vocabulary::{
        Flags, LockFilter,
        LockMode::{Cr, Ex, Nl, Pr},
        LockspaceId, Owner, Policy, ResourceName, SessionId, Status,
    },
    wire::{
        Administer, Cancel, Deq, DeqAll, Enq, EnqPath, Event, FromServer, Look, Reply, Request, Seen, Space,
    },
};

const NONE: Flags = Flags::NONE;

#[tokio::test]
async fn a_lock_is_granted_converted_and_released() {
    let server = server().await;
    let mut alice = Speaker::opened(&server).await;
    let first = granted(alice.enq(1, "a", Pr, NONE).await);
    assert_eq!((first.mode, first.handle), (Pr, handle(1)));
    let second = granted(alice.ask(&convert(1, Ex, NONE)).await);
    assert!(second.seq > first.seq && second.lock == first.lock && second.mode == Ex);
    assert_eq!(done(alice.ask(&deq(1, NONE)).await), Status::Released);
    assert_eq!(refused(alice.ask(&deq(1, NONE)).await), Status::NoSuchLock);
    assert_eq!(granted(alice.enq(1, "a", Ex, NONE).await).mode, Ex, "the handle is free again");
    assert_eq!(server.table().check(), Ok(()));
    server.shutdown().await;
    assert_eq!(alice.end_status().await, Some(Status::Shutdown));
}

#[tokio::test]
async fn parent_child_and_convert_travel_in_one_write() {
    let server = server().await;
    let mut alice = Speaker::opened(&server).await;
    let mut burst = alice.encode(&root(1, "a", Cr, NONE));
    burst.extend(alice.encode(&sublock(2, 1, "b", Ex)));
    burst.extend(alice.encode(&convert(2, Nl, NONE)));
    burst.extend(alice.encode(&sublock(3, 9, "c", Ex)));
    burst.extend(alice.encode(&deq(1, NONE)));
    alice.write(&burst).await;
    assert_eq!(granted(alice.answer().await).mode, Cr);
    assert_eq!(granted(alice.answer().await).handle, handle(2));
    assert_eq!(granted(alice.answer().await).mode, Nl);
    assert_eq!(refused(alice.answer().await), Status::NoSuchLock);
    assert_eq!(refused(alice.answer().await), Status::HasSublocks);
}

#[tokio::test]
async fn a_holder_is_told_and_the_next_one_granted() {
    let server = server().await;
    let (mut alice, mut bob) = (Speaker::opened(&server).await, Speaker::opened(&server).await);
    let held = granted(alice.enq(1, "a", Ex, Flags::BLKAST).await);
    let Reply::Queued { handle: queued, .. } = bob.enq(7, "a", Pr, NONE).await else { panic!("queued") };
    assert_eq!(queued, handle(7));
    assert_eq!(alice.event().await, Event::Blocking { handle: handle(1), seq: held.seq, mode: Pr });
    assert_eq!(done(alice.ask(&deq(1, NONE)).await), Status::Released);
    let Event::Granted(grant) = bob.event().await else { panic!("granted") };
    assert!(grant.mode == Pr && grant.seq > held.seq && grant.handle == handle(7));
}

#[tokio::test]
async fn a_refusal_to_wait_names_who_is_in_the_way() {
    let server = server().await;
    let (mut alice, mut bob) = (Speaker::opened(&server).await, Speaker::opened(&server).await);
    let held = granted(alice.enq(1, "a", Ex, NONE).await);
    let reply = bob.enq(1, "a", Ex, Flags::NOQUEUE).await;
    assert_eq!(reply, Reply::Refused { status: Status::NotQueued, blocker: Some(held.lock), detail: 0 });
    let Seen::Lock(view) = bob.look(Look::Lock(held.lock)).await else { panic!("a lock") };
    assert_eq!((view.granted, view.handle), (Some(Ex), handle(1)));
    let path = vec![ResourceName::new(b"a").unwrap()];
    let look = Look::Resource { lockspace: LockspaceId(0), path: path.clone() };
    let Seen::Resource { resource, sessions } = bob.look(look).await else { panic!("a resource") };
    assert_eq!((resource.lock_count, sessions.len(), sessions[0].locks), (1, 1, 1));
    assert_eq!(sessions[0].name, "tester");
    let check = Look::CheckToken { lockspace: LockspaceId(0), path, seq: held.seq };
    assert_eq!(bob.look(check.clone()).await, Seen::Token { live: true });
    alice.ask(&deq(1, NONE)).await;
    assert_eq!(bob.look(check).await, Seen::Token { live: false });
}

#[tokio::test]
async fn a_cancelled_request_ends_before_the_cancel_is_answered() {
    let server = server().await;
    let (mut alice, mut bob) = (Speaker::opened(&server).await, Speaker::opened(&server).await);
    granted(alice.enq(1, "a", Ex, NONE).await);
    assert!(matches!(bob.enq(1, "a", Ex, NONE).await, Reply::Queued { .. }));
    bob.send(&Request::Cancel(Cancel { handle: handle(1), flags: NONE })).await;
    let Event::Ended { status, holds, .. } = bob.event().await else { panic!("ended") };
    assert_eq!((status, holds), (Status::Cancelled, None));
    assert_eq!(done(bob.answer().await), Status::Done);
    assert!(matches!(bob.enq(1, "a", Ex, NONE).await, Reply::Queued { .. }), "the handle is free again");
}

#[tokio::test]
async fn a_request_that_waited_long_enough_times_out() {
    let server = server().await;
    let (mut alice, mut bob) = (Speaker::opened(&server).await, Speaker::opened(&server).await);
    granted(alice.enq(1, "a", Ex, NONE).await);
    let Request::Enq(enq) = root(1, "a", Ex, NONE) else { panic!("an enq") };
    let reply = bob.ask(&Request::Enq(Enq { timeout_ms: Some(30), ..enq })).await;
    assert!(matches!(reply, Reply::Queued { .. }));
    let Event::Ended { status, .. } = bob.event().await else { panic!("ended") };
    assert_eq!(status, Status::Timeout);
    assert_eq!(refused(bob.ask(&deq(1, NONE)).await), Status::NoSuchLock);
}

#[tokio::test]
async fn a_path_brings_its_intents_and_frees_what_it_reuses() {
    let server = server().await;
    let mut alice = Speaker::opened(&server).await;
    let path = |handles: [u32; 3], leaf: &'static [u8]| {
        Request::EnqPath(EnqPath {
            handles: handles.map(handle).to_vec(),
            lockspace: LockspaceId(0),
            path: vec![b"db", b"orders", leaf],
            mode: Ex,
            flags: NONE,
            owner: Owner::default(),
            timeout_ms: None,
            priority: 0,
            reason: b"",
        })
    };
    let Reply::PathGranted { levels, .. } = alice.ask(&path([1, 2, 3], b"4711")).await else {
        panic!("granted")
    };
    assert!(levels.iter().all(|level| level.made));
    let Reply::PathGranted { levels, .. } = alice.ask(&path([4, 5, 6], b"4712")).await else {
        panic!("granted")
    };
    assert_eq!(levels.iter().map(|level| level.handle.number()).collect::<Vec<_>>(), [1, 2, 6]);
    assert_eq!(granted(alice.enq(4, "x", Ex, NONE).await).handle, handle(4), "4 and 5 were not needed");
    assert_eq!(done(alice.ask(&deq(6, Flags::PATH)).await), Status::Released);
    assert_eq!(done(alice.ask(&deq(3, Flags::PATH)).await), Status::Released);
    assert_eq!(refused(alice.ask(&deq(1, NONE)).await), Status::NoSuchLock, "its intents went with it");
    assert_eq!(granted(alice.enq(1, "y", Ex, NONE).await).handle, handle(1));
}

#[tokio::test]
async fn releasing_a_subtree_and_everything_frees_the_handles() {
    let server = server().await;
    let mut alice = Speaker::opened(&server).await;
    granted(alice.enq(1, "a", Cr, NONE).await);
    for number in 2..600 {
        let name = number.to_string();
        granted(alice.ask(&sublock(number, 1, &name, Ex)).await);
    }
    let under = |under| Request::DeqAll(DeqAll { under, flags: NONE });
    assert_eq!(done(alice.ask(&under(Some(handle(1)))).await), Status::Released);
    assert_eq!(refused(alice.ask(&deq(2, NONE)).await), Status::NoSuchLock);
    assert_eq!(refused(alice.ask(&under(Some(handle(2)))).await), Status::NoSuchLock);
    for number in 2..600 {
        let name = number.to_string();
        granted(alice.enq(number, &name, Ex, NONE).await);
    }
    assert_eq!(done(alice.ask(&under(None)).await), Status::Released);
    let Seen::Statistics { statistics, .. } = alice.look(Look::Statistics).await else {
        panic!("statistics")
    };
    assert_eq!((statistics.locks, statistics.resources, statistics.sessions), (0, 0, 1));
    granted(alice.enq(1, "a", Ex, NONE).await);
    assert_eq!(server.table().check(), Ok(()));
}

#[tokio::test]
async fn a_release_that_asks_for_no_answer_is_acknowledged_all_the_same() {
    let server = server().await;
    let mut alice = Speaker::opened(&server).await;
    granted(alice.enq(1, "a", Ex, NONE).await);
    alice.send(&deq(1, Flags::NOACK)).await;
    assert_eq!(alice.next().await, FromServer::Acked);
    assert_eq!(alice.acked, 2);
    alice.send(&deq(1, Flags::NOACK)).await;
    assert_eq!(refused(alice.answer().await), Status::NoSuchLock, "failure is said");
}

#[tokio::test]
async fn a_closed_session_leaves_nothing() {
    let server = server().await;
    let (mut alice, mut bob) = (Speaker::opened(&server).await, Speaker::opened(&server).await);
    granted(alice.enq(1, "a", Ex, NONE).await);
    assert!(matches!(bob.enq(1, "a", Ex, NONE).await, Reply::Queued { .. }));
    assert_eq!(done(alice.ask(&Request::Close).await), Status::Done);
    assert!(matches!(bob.event().await, Event::Granted(_)));
    assert_eq!(alice.look(Look::Ping).await, Seen::Done, "it may still look");
    alice.acknowledge().await;
    alice.send(&root(2, "b", Ex, NONE)).await;
    assert_eq!(alice.end_status().await, Some(Status::SessionLost));
    assert_eq!(server.table().session_count(), 1);
}

#[tokio::test]
async fn lockspaces_are_made_found_changed_and_removed() {
    let server = server().await;
    let (mut alice, mut bob) = (Speaker::opened(&server).await, Speaker::opened(&server).await);
    let name = ResourceName::new(b"billing").unwrap();
    let create = |exclusive| {
        Request::Space(Space::Create { name: name.clone(), policy: Policy::default(), exclusive })
    };
    let Reply::Space(made) = alice.ask(&create(true)).await else { panic!("made") };
    assert!(made.changed);
    let Reply::Space(same) = bob.ask(&create(false)).await else { panic!("found") };
    assert!(!same.changed && same.space.lockspace == made.space.lockspace);
    assert_eq!(refused(bob.ask(&create(true)).await), Status::SpaceExists);
    let Seen::Spaces(found) = bob.look(Look::OpenSpace(name.clone())).await else { panic!("found") };
    let lockspace = found[0].lockspace;
    let policy = Policy { reason_required: true, ..Policy::default() };
    let set = |version| Request::Space(Space::Set { lockspace, version, policy: policy.clone() });
    assert_eq!(refused(bob.ask(&set(9)).await), Status::Changed);
    assert!(matches!(bob.ask(&set(found[0].version)).await, Reply::Space(_)));
    let Request::Enq(enq) = root(1, "a", Ex, NONE) else { panic!("an enq") };
    let enq = Enq { lockspace, ..enq };
    assert_eq!(refused(bob.ask(&Request::Enq(enq)).await), Status::Denied, "the new policy is in force");
    granted(bob.ask(&Request::Enq(Enq { reason: b"month end", ..enq })).await);
    let remove = |force| Request::Space(Space::Remove { lockspace, force });
    assert_eq!(refused(alice.ask(&remove(false)).await), Status::SpaceInUse);
    assert!(matches!(alice.ask(&remove(true)).await, Reply::Space(_)));
    assert!(matches!(bob.event().await, Event::Revoked { .. }));
    let reason = b"again";
    assert_eq!(refused(bob.ask(&Request::Enq(Enq { reason, ..enq })).await), Status::NoSuchSpace);
    let default = Request::Space(Space::Remove { lockspace: LockspaceId(0), force: true });
    assert_eq!(refused(alice.ask(&default).await), Status::Denied);
}

#[tokio::test]
async fn a_lockspace_that_is_removed_by_force_grants_nothing_on_the_way() {
    let server = server().await;
    let (mut alice, mut bob) = (Speaker::opened(&server).await, Speaker::opened(&server).await);
    let name = ResourceName::new(b"billing").unwrap();
    let create = Request::Space(Space::Create { name, policy: Policy::default(), exclusive: true });
    let Reply::Space(made) = alice.ask(&create).await else { panic!("made") };
    let lockspace = made.space.lockspace;
    let within = |request: Request<'static>| match request {
        Request::Enq(enq) => Request::Enq(Enq { lockspace, ..enq }),
        other => other,
    };
    // Two conversions and two new requests wait in a row; each would let the next be granted by going first.
    for (number, mode) in [(1, Cr), (2, Cr)] {
        granted(alice.ask(&within(root(number, "a", mode, NONE))).await);
    }
    granted(bob.ask(&within(root(1, "a", Cr, NONE))).await);
    assert!(matches!(alice.ask(&convert(1, Ex, NONE)).await, Reply::Queued { .. }));
    for (number, mode) in [(2, Ex), (3, Cr)] {
        assert!(matches!(bob.ask(&within(root(number, "a", mode, NONE))).await, Reply::Queued { .. }));
    }
    // A path holds its intent on the root for a leaf that it waits for.
    granted(alice.ask(&within(root(3, "tree", Cr, NONE))).await);
    granted(alice.ask(&within(sublock(4, 3, "leaf", Ex))).await);
    let path = Request::EnqPath(EnqPath {
        handles: vec![handle(5), handle(6)],
        lockspace,
        path: vec![b"tree", b"leaf"],
        mode: Ex,
        flags: NONE,
        owner: Owner::default(),
        timeout_ms: None,
        priority: 0,
        reason: b"",
    });
    assert!(matches!(bob.ask(&path).await, Reply::Queued { .. }));
    assert!(matches!(bob.ask(&within(root(7, "tree", Pr, NONE))).await, Reply::Queued { .. }));

    let mut admin = Speaker::opened(&server).await;
    let remove = Request::Space(Space::Remove { lockspace, force: true });
    assert!(matches!(admin.ask(&remove).await, Reply::Space(_)));
    for (speaker, forced, revoked) in [(&mut alice, 1, 4), (&mut bob, 4, 1)] {
        let mut seen = (0, 0);
        while seen != (forced, revoked) {
            match speaker.event().await {
                Event::Ended { status: Status::Forced, .. } => seen.0 += 1,
                Event::Revoked { .. } => seen.1 += 1,
                event => panic!("{event:?}"),
            }
        }
        assert_eq!(speaker.look(Look::Ping).await, Seen::Done, "and nothing else is said");
        assert_eq!(done(speaker.ask(&Request::Close).await), Status::Done);
    }
    assert_eq!(server.table().check(), Ok(()));
}

#[tokio::test]
async fn an_administrator_takes_a_lock_away_and_ends_a_session() {
    let server = server().await;
    let (mut alice, id) = Speaker::opened_as(&server, session(15_000, false)).await;
    let mut root_user = Speaker::greeted(&server).await;
    let held = granted(alice.enq(1, "a", Ex, NONE).await);
    let force = |version| {
        let reason = "stuck".into();
        Look::Administer(Administer::ForceRelease { lock: held.lock, version, reason })
    };
    assert_eq!(root_user.look(force(held.seq.0 + 1)).await, Seen::Refused(Status::Changed));
    assert_eq!(root_user.look(force(held.seq.0)).await, Seen::Done);
    let Event::Revoked { handle: gone, reason, .. } = alice.event().await else { panic!("revoked") };
    assert_eq!((gone, reason.as_str()), (handle(1), "stuck"));
    granted(alice.enq(1, "a", Ex, NONE).await);
    let expire = Look::Administer(Administer::ExpireSession { session: id, reason: "gone".into() });
    assert_eq!(root_user.look(expire.clone()).await, Seen::Done);
    assert_eq!(alice.end_status().await, Some(Status::SessionLost));
    assert_eq!(root_user.look(expire).await, Seen::Refused(Status::NoSuchSession));
    assert_eq!(root_user.look(Look::Session(SessionId(1))).await, Seen::Refused(Status::NoSuchSession));
}

#[tokio::test]
async fn a_session_may_end_itself_as_an_administrator() {
    let server = server().await;
    let (mut alice, id) = Speaker::opened_as(&server, session(15_000, false)).await;
    granted(alice.enq(1, "a", Ex, NONE).await);
    let expire = Look::Administer(Administer::ExpireSession { session: id, reason: "tired".into() });
    assert_eq!(alice.look(expire).await, Seen::Done);
    assert_eq!(alice.end_status().await, Some(Status::SessionLost));
    assert_eq!(server.statistics().locks, 0);
}

#[tokio::test]
async fn a_listing_in_pages_shows_each_lock_once() {
    let server = server().await;
    let mut alice = Speaker::opened(&server).await;
    for number in 1..=500 {
        let name = format!("resource-{number}");
        alice.send(&root(number, &name, Cr, NONE)).await;
        granted(alice.answer().await);
    }
    let mut seen = Vec::new();
    let mut from = None;
    loop {
        let look = Look::Page { from, max: 33, filter: LockFilter::default() };
        let Seen::Page(page) = alice.look(look).await else { panic!("a page") };
        assert!(page.locks.len() <= 33);
        seen.extend(page.locks.iter().map(|view| view.handle.number()));
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=500).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_value_block_travels_with_its_resource() {
    let server = server().await;
    let (mut alice, mut bob) = (Speaker::opened(&server).await, Speaker::opened(&server).await);
    granted(alice.enq(1, "a", Nl, NONE).await);
    granted(bob.enq(1, "a", Ex, NONE).await);
    let release = Deq { handle: handle(1), flags: Flags::VALBLK, value: Some(b"42") };
    assert_eq!(done(bob.ask(&Request::Deq(release)).await), Status::Released);
    let read = granted(alice.ask(&convert(1, Cr, Flags::VALBLK)).await).value.unwrap();
    assert_eq!((&read.bytes[..], read.seq, read.valid), (&b"42"[..], 1, true));
}
