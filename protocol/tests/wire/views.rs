//! One view of every sort, for the samples: no two fields have the same value.

use super::samples::{handle, lock, name, policy, seq, session};
use enq_protocol::vocabulary::*;

pub(crate) fn lock_view() -> LockView {
    LockView {
        lock: lock(9),
        session: Some(session(3)),
        handle: handle(1),
        owner: Owner { scope: 0, token: 12 },
        lockspace: LockspaceId(2),
        path: vec![name("db"), name("orders")],
        queue: Queue::Conversion,
        granted: Some(LockMode::Pr),
        requested: Some(LockMode::Ex),
        seq: seq(40),
        fence: Fence(seq(39).0),
        stamp: Stamp(77),
        age_ms: 1_500,
        timeout_ms: Some(3_500),
        pause_ms: Some(9_000),
        parent: Some(lock(8)),
        sublocks: 6,
        flags: Flags::PERSISTENT | Flags::BLKAST,
        priority: 4,
        reason: Box::from(*b"nightly"),
    }
}

pub(crate) fn orphan_view() -> LockView {
    LockView {
        lock: lock(10),
        session: None,
        path: vec![name("db")],
        queue: Queue::Granted,
        requested: None,
        timeout_ms: None,
        pause_ms: None,
        parent: None,
        reason: Box::default(),
        ..lock_view()
    }
}

pub(crate) fn session_view() -> SessionView {
    SessionView {
        session: session(3),
        name: "billing".into(),
        purpose: "nightly".into(),
        host: "alpha".into(),
        pid: 4_711,
        peer: "[::1]:40000".into(),
        ttl_ms: 15_000,
        lease_left_ms: 9_000,
        age_ms: 61_000,
        locks: 5,
        waiting: 2,
        bound: true,
    }
}

pub(crate) fn deadlock_view() -> DeadlockView {
    DeadlockView {
        number: 21,
        age_ms: 2_500,
        is_ring: true,
        wait_count: 3,
        waits: vec![WaitView { waiting: lock_view(), blocker: orphan_view(), why: EdgeWhy::Ahead }],
        sessions: vec![session_view()],
        refused: Some(lock(9)),
    }
}

pub(crate) fn waits_view() -> WaitsView {
    WaitsView {
        locks: vec![
            StandingView { lock: lock_view(), position: 2, queued: 5 },
            StandingView { lock: orphan_view(), position: 0, queued: 5 },
        ],
        sessions: vec![session_view()],
        waits: vec![WaitLine { lock: lock(9), blocker: lock(10), why: EdgeWhy::Held, deadlock: 1 }],
        is_complete: true,
    }
}

pub(crate) fn foreseen_view() -> ForeseenView {
    ForeseenView {
        grants: vec![ForeseenGrant { lock: lock_view(), mode: LockMode::Ex, after_ms: 5_000 }],
        total: 3,
        sessions: vec![session_view()],
        looked_at: 18,
        is_complete: false,
    }
}

pub(crate) fn space_view() -> LockspaceView {
    LockspaceView {
        lockspace: LockspaceId(2),
        name: name("billing"),
        version: 3,
        policy: policy(),
        locks: 10,
        resources: 6,
    }
}
