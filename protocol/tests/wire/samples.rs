//! One message of every kind, by the name of its vector. Every field has a value of its own, so that two fields that
//! change places are noticed.

mod history;

use super::{
    said::Said,
    views::{deadlock_view, foreseen_view, lock_view, orphan_view, session_view, space_view, waits_view},
};
use enq_protocol::vocabulary::*;
use enq_protocol::wire::*;

pub(crate) fn handle(number: u32) -> Handle {
    Handle::new(number).unwrap()
}

pub(crate) fn name(text: &str) -> ResourceName {
    ResourceName::new(text.as_bytes()).unwrap()
}

pub(crate) fn lock(slot: u32) -> LockId {
    LockId::new(0x5A, slot, 1)
}

pub(crate) fn session(counter: u64) -> SessionId {
    SessionId(7 << 40 | counter)
}

fn place(serial: u64) -> Place {
    Place::new(0x5A, Serial(serial))
}

pub(crate) fn seq(counter: u64) -> Seq {
    Seq::new(7, counter)
}

pub(crate) fn policy() -> Policy {
    Policy {
        value_len_max: 128,
        fair: true,
        conversion_deadlock: ConversionDeadlock::Timed,
        deadlock_wait_ms: 2_000,
        wait_ms_max: 60_000,
        modes: ModeSet::only(LockMode::Cr).with(LockMode::Ex),
        reason_required: true,
        lock_delay_ms: 5_000,
        deadlock_victim: VictimRule::FewestLocks,
    }
}

fn grant() -> Grant {
    Grant {
        handle: handle(1),
        lock: lock(9),
        mode: LockMode::Ex,
        seq: seq(40),
        fence: Fence(seq(39).0),
        synchronous: true,
        alternate: false,
        demoted: false,
        stored: false,
        value: None,
    }
}

fn enq() -> Enq<'static> {
    Enq {
        handle: handle(1),
        lockspace: LockspaceId(0),
        parent: None,
        name: b"db",
        mode: LockMode::Ex,
        flags: Flags::SYNCSTS | Flags::BLKAST,
        owner: Owner { scope: 0, token: 12 },
        timeout_ms: Some(5_000),
        priority: 4,
        reason: b"",
    }
}

fn adopt() -> Adopt<'static> {
    Adopt {
        handle: handle(1),
        lockspace: LockspaceId(2),
        parent: None,
        name: b"db",
        mode: LockMode::Ex,
        flags: Flags::VALBLK | Flags::BLKAST,
        owner: Owner { scope: 0, token: 12 },
        priority: 4,
        orphan_key: b"billing",
        reason: b"recovery",
    }
}

fn requests_about_orphans() -> Vec<(&'static str, Request<'static>)> {
    vec![
        ("adopt", Request::Adopt(adopt())),
        (
            "adopt-sublock",
            Request::Adopt(Adopt { handle: handle(2), parent: Some(handle(1)), name: b"orders", ..adopt() }),
        ),
        (
            "purge",
            Request::Purge(Purge { lockspace: LockspaceId(2), root: Some(b"db"), orphan_key: b"billing" }),
        ),
    ]
}

fn requests() -> Vec<(&'static str, Request<'static>)> {
    vec![
        ("enq", Request::Enq(enq())),
        (
            "enq-sublock",
            Request::Enq(Enq {
                handle: handle(2),
                parent: Some(handle(1)),
                name: b"orders",
                mode: LockMode::Pr,
                flags: Flags::VALBLK,
                timeout_ms: None,
                reason: b"nightly",
                ..enq()
            }),
        ),
        (
            "enq-path",
            Request::EnqPath(EnqPath {
                handles: vec![handle(3), handle(4), handle(5)],
                lockspace: LockspaceId(2),
                path: vec![b"db", b"orders", b"4711"],
                mode: LockMode::Pw,
                flags: Flags::NOQUEUE,
                owner: Owner { scope: 0, token: 13 },
                timeout_ms: Some(250),
                priority: 1,
                reason: b"reindex",
            }),
        ),
        (
            "convert",
            Request::Convert(Convert {
                handle: handle(1),
                mode: LockMode::Cr,
                flags: Flags::VALBLK,
                timeout_ms: Some(1_000),
                priority: 2,
                value: Some(b"v1"),
            }),
        ),
        ("deq", Request::Deq(Deq { handle: handle(1), flags: Flags::NONE, value: None })),
        (
            "deq-value",
            Request::Deq(Deq { handle: handle(1), flags: Flags::VALBLK | Flags::NOACK, value: Some(b"") }),
        ),
        ("deq-all", Request::DeqAll(DeqAll { under: Some(handle(1)), flags: Flags::IVVALBLK })),
        ("cancel", Request::Cancel(Cancel { handle: handle(2), flags: Flags::NONE })),
        (
            "create-space",
            Request::Space(Space::Create { name: name("billing"), policy: policy(), exclusive: true }),
        ),
        (
            "set-space",
            Request::Space(Space::Set {
                lockspace: LockspaceId(2),
                version: 3,
                policy: Policy { deadlock_wait_ms: 0, ..policy() },
            }),
        ),
        ("remove-space", Request::Space(Space::Remove { lockspace: LockspaceId(2), force: true })),
        ("close", Request::Close),
    ]
}

fn looks() -> Vec<(&'static str, Look)> {
    let open = OpenSession {
        name: "billing".into(),
        purpose: "nightly".into(),
        node: "node-a".into(),
        node_id: 6,
        host: "alpha".into(),
        pid: 4_711,
        process_start: 1_760_000_000,
        ttl_ms: 15_000,
        orphan_key: Box::from(*b"billing"),
        log: 0,
        bind_connection: true,
    };
    let filter = LockFilter {
        lockspace: Some(LockspaceId(2)),
        prefix: Box::from(*b"d"),
        root: Some(name("db")),
        queue: Some(Queue::Waiting),
        session: Some(session(3)),
        orphans: false,
        older_than_ms: 1_000,
    };
    let path = vec![name("db"), name("orders")];
    let lockspace = LockspaceId(2);
    vec![
        ("ping", Look::Ping),
        ("renew", Look::Renew),
        ("open", Look::Open(open)),
        ("show-lock", Look::Lock(lock(9))),
        ("show-resource", Look::Resource { lockspace, path: path.clone() }),
        ("show-blockers", Look::Blockers(lock(9))),
        ("show-blocked", Look::Blocked(lock(9))),
        ("show-page", Look::Page { from: Some(1 << 40), max: 500, filter }),
        ("show-page-first", Look::Page { from: None, max: 2_000, filter: LockFilter::default() }),
        ("show-session", Look::Session(session(3))),
        ("show-sessions", Look::Sessions { after: Some(session(3)), max: 200 }),
        ("show-spaces", Look::Spaces),
        ("open-space", Look::OpenSpace(name("billing"))),
        ("show-statistics", Look::Statistics),
        ("check-token", Look::CheckToken { lockspace, path, seq: seq(40) }),
        (
            "expire-session",
            Look::Administer(Administer::ExpireSession { session: session(3), reason: "stuck".into() }),
        ),
        (
            "force-release",
            Look::Administer(Administer::ForceRelease {
                lock: lock(9),
                version: seq(40).0,
                reason: "stuck".into(),
            }),
        ),
        ("set-priority", Look::Administer(Administer::SetPriority { lock: lock(9), priority: 4 })),
        ("show-deadlocks", Look::Deadlocks { before: Some(21), max: 256 }),
        ("scan", Look::Administer(Administer::Scan)),
        (
            "show-waits",
            Look::Waits {
                from: WaitsFrom {
                    lockspace: Some(lockspace),
                    lock: Some(lock(9)),
                    session: Some(session(3)),
                },
                max: 10_000,
            },
        ),
        ("what-if-released", Look::WhatIf(WhatIf::Released(lock(9)))),
        ("what-if-ended", Look::WhatIf(WhatIf::Ended(session(3)))),
        ("resume", Look::Resume(Resume { session: session(3), secret: secret(), received: 18 })),
    ]
}

fn secret() -> [u8; 16] {
    core::array::from_fn(|at| 0xA0 + u8::try_from(at).unwrap())
}

fn seen() -> Vec<(&'static str, Seen)> {
    let value = ValueBlock { bytes: Box::from(*b"v1"), seq: 5, valid: false };
    let resource = ResourceView {
        lockspace: LockspaceId(2),
        path: vec![name("db"), name("orders")],
        value,
        locks: vec![lock_view()],
        lock_count: 8,
        subresources: 3,
    };
    let edges = vec![
        Edge { lock: lock_view(), why: EdgeWhy::Ahead },
        Edge { lock: orphan_view(), why: EdgeWhy::Held },
    ];
    let statistics = Statistics {
        enq_new: 1,
        enq_converted: 2,
        deq: 3,
        blocking_ast: 4,
        enq_forced_to_wait: 5,
        enq_not_queued: 6,
        deadlock_search: 7,
        deadlock_find: 8,
        timeouts: 9,
        locks: 10,
        resources: 11,
        converting: 12,
        waiting: 13,
        sessions: 14,
        delayed: 15,
        recovering_ms: 16,
    };
    let counter = |name: &str, value| Counter { name: name.into(), value };
    let counters =
        vec![counter("enq_connections", 17), counter("enq_limit_reached_total{limit=\"frame_max\"}", 18)];
    vec![
        ("seen-done", Seen::Done),
        ("seen-renewed", Seen::Renewed(15_000)),
        ("seen-opened", Seen::Opened(Opened { session: session(3), secret: secret(), ttl_ms: 15_000 })),
        ("seen-lock", Seen::Lock(Box::new(lock_view()))),
        ("seen-resource", Seen::Resource { resource: Box::new(resource), sessions: vec![session_view()] }),
        ("seen-edges", Seen::Edges { edges, total: 4, sessions: vec![session_view()] }),
        ("seen-page", Seen::Page(LockPage { locks: vec![orphan_view()], next: Some(1 << 40) })),
        ("seen-sessions", Seen::Sessions { sessions: vec![session_view()], more: true }),
        ("seen-spaces", Seen::Spaces(vec![space_view()])),
        ("seen-statistics", Seen::Statistics { statistics, counters }),
        ("seen-token", Seen::Token { live: true }),
        ("seen-resumed", Seen::Resumed(Resumed { executed: 43, ttl_ms: 15_000 })),
        ("seen-deadlocks", Seen::Deadlocks { deadlocks: vec![deadlock_view()], more: true }),
        ("seen-scanned", Seen::Scanned(Scanned { locks: 40, found: 2, records: vec![20, 21] })),
        ("seen-waits", Seen::Waits(waits_view())),
        ("seen-foreseen", Seen::Foreseen(foreseen_view())),
        ("seen-history", history::seen()),
        ("seen-refused", Seen::Refused(Status::NoSuchLock)),
    ]
}

fn levels() -> Vec<PathLevel> {
    vec![
        PathLevel { handle: handle(2), lock: lock(8), mode: LockMode::Cw, made: false },
        PathLevel { handle: handle(1), lock: lock(9), mode: LockMode::Ex, made: true },
    ]
}

fn replies() -> Vec<(&'static str, Reply)> {
    let value = Some(Box::new(ValueBlock { bytes: Box::from(*b"v1"), seq: 5, valid: true }));
    vec![
        ("granted", Reply::Granted(grant())),
        ("granted-value", Reply::Granted(Grant { value, ..grant() })),
        ("path-granted", Reply::PathGranted { leaf: grant(), levels: levels() }),
        ("queued", Reply::Queued { handle: handle(1), lock: lock(9) }),
        ("done", Reply::Done { status: Status::Released }),
        ("purged", Reply::Purged { released: 259 }),
        ("refused", Reply::Refused { status: Status::NotQueued, blocker: Some(lock(9)), detail: 3 }),
        ("space", Reply::Space(SpaceReply { space: space_view(), changed: true })),
    ]
}

fn events() -> Vec<(&'static str, Event)> {
    let value = Some(Box::new(ValueBlock { bytes: Box::default(), seq: 0, valid: true }));
    let granted = Grant {
        mode: LockMode::Pr,
        alternate: true,
        demoted: true,
        stored: true,
        synchronous: false,
        value,
        ..grant()
    };
    vec![
        ("granted-later", Event::Granted(granted)),
        ("path-granted-later", Event::PathGranted { leaf: grant(), levels: levels() }),
        (
            "ended",
            Event::Ended {
                handle: handle(1),
                status: Status::Deadlock,
                holds: Some(LockMode::Pr),
                record: 21,
            },
        ),
        ("ended-gone", Event::Ended { handle: handle(1), status: Status::Timeout, holds: None, record: 0 }),
        ("demoted", Event::Demoted { handle: handle(1) }),
        (
            "revoked",
            Event::Revoked {
                handle: handle(1),
                status: Status::Forced,
                by: session(4),
                reason: "stuck".into(),
            },
        ),
        ("blocking", Event::Blocking { handle: handle(1), seq: seq(40), mode: LockMode::Pw }),
    ]
}

/// The acknowledgement a sample travels with: none before there is a session.
fn ack(name: &str, ack: u64) -> u64 {
    if ["open", "seen-opened", "resume"].contains(&name) { 0 } else { ack }
}

/// All of them, in the order of their kinds.
pub(crate) fn all() -> Vec<(&'static str, Said<'static>)> {
    let hello = Hello {
        version_min: 1,
        version_max: 2,
        features: 0,
        method: 0,
        credentials: Box::default(),
        agent: "enq-py 0.1".into(),
    };
    let welcome = Welcome {
        version: 1,
        features: 0,
        frame_len_max: 65_536,
        window_requests: 1_024,
        window_bytes: 262_144,
        locks_max: 100_000,
        waiting_max: 10_000,
        ttl_min_ms: 1_000,
        ttl_max_ms: 60_000,
        server: "enqd 0.1.0".into(),
        role: 0,
        leader: "l:7117".into(),
        members: vec!["a:7117".into(), "b:7117".into()],
        log: 0,
        unsafe_settings: vec!["no-survivors".into()],
    };
    let version = Fatal { status: Status::Version, detail: [1, 2], text: "versions 1 to 2".into() };
    let mut all = vec![
        ("hello", Said::Hello(hello)),
        ("ack", Said::Ack { kind: Kind::ACK, ack: 17 }),
        ("welcome", Said::Welcome(welcome)),
        ("acked", Said::Ack { kind: Kind::ACKED, ack: 42 }),
        ("error", Said::Fatal(version)),
    ];
    all.extend(
        looks()
            .into_iter()
            .chain(history::looks())
            .map(|(name, look)| (name, Said::Look { tag: 0x0102_0304, ack: ack(name, 17), look })),
    );
    let requests = requests().into_iter().chain(requests_about_orphans());
    all.extend(requests.map(|(name, request)| (name, Said::Request { number: 42, ack: 17, request })));
    all.extend(
        seen()
            .into_iter()
            .map(|(name, seen)| (name, Said::Seen { tag: 0x0102_0304, ack: ack(name, 42), seen })),
    );
    all.extend(replies().into_iter().map(|(name, reply)| {
        (name, Said::Answer { number: 18, ack: 42, answer: Answer { request: 42, place: place(99), reply } })
    }));
    all.extend(events().into_iter().map(|(name, event)| {
        let number = if event.is_numbered() { 19 } else { 0 };
        (name, Said::Event { number, ack: 42, place: place(100), event })
    }));
    all
}
