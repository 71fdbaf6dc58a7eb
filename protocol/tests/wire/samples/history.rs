//! Samples of what the flight recorder is asked and answers.

use super::{lock, name, seq, session};
use enq_protocol::vocabulary::*;
use enq_protocol::wire::{Look, Seen};

pub(super) fn looks() -> Vec<(&'static str, Look)> {
    let path = vec![name("db"), name("orders")];
    let before = Some(HistoryCursor { at: 5_000_000_000, entry: 90 << 56 | 1_024 });
    let of = HistoryOf::Resource { lockspace: LockspaceId(2), path };
    vec![
        ("show-history", Look::History { of, before, max: 500 }),
        (
            "show-history-session",
            Look::History { of: HistoryOf::Session(session(3)), before: None, max: 100 },
        ),
    ]
}

pub(super) fn seen() -> Seen {
    let ended = HistoryView {
        age_ms: 1_500,
        happened: Happened::Ended,
        status: Status::Deadlock,
        lock: Some(lock(9)),
        session: Some(session(3)),
        lockspace: LockspaceId(2),
        path: vec![name("db"), name("orders")],
        is_cut: false,
        held: Some(LockMode::Pr),
        mode: Some(LockMode::Ex),
        seq: seq(40),
        fence: Fence(seq(39).0),
        waited_ms: 1_003,
        detail: 21,
    };
    let refused = HistoryView {
        age_ms: 2_500,
        happened: Happened::Refused,
        status: Status::NotQueued,
        lock: None,
        session: None,
        path: vec![name("orders")],
        is_cut: true,
        held: None,
        seq: Seq(0),
        fence: Fence(0),
        waited_ms: 0,
        detail: lock(9).0,
        ..ended.clone()
    };
    let past = PastSession {
        session: session(3),
        name: "billing".into(),
        purpose: "nightly".into(),
        host: "alpha".into(),
        pid: 4_711,
        age_ms: 60_000,
        ended_ms: Some(1_000),
        died: true,
    };
    Seen::History(HistoryPart {
        entries: vec![ended, refused],
        next: Some(HistoryCursor { at: 4_000_000_000, entry: 90 << 56 | 1_000 }),
        complete_ms: 30_000,
        since_start: false,
        sessions: vec![past],
    })
}
