//! Locks, resources, sessions and lockspaces as rows and as JSON: one place for the keys that must not change.
//!
//! Ids, tokens and every other number that can be above 2^53 are strings. What a session says of itself (its name, host,
//! purpose) is shown as it was said; only the lease and the counts are the server's own word.

use enq_protocol::vocabulary::{
    ConversionDeadlock, Edge, EdgeWhy, LockView, LockspaceView, Policy, Queue, ResourceName, SessionId,
    SessionView, VictimRule,
};
use serde_json::{Value, json};

use super::{
    args::Format,
    duration::show_ms,
    render::{Column, Item, hexadecimal, printable},
};

/// The resource's name as people say it: a root plainly, a deeper one as its path.
#[must_use]
pub(super) fn name(path: &[ResourceName]) -> String {
    match path {
        [root] => root.to_string(),
        path => ResourceName::path_to_printable(path),
    }
}

/// The queue's name.
#[must_use]
pub(super) fn queue(queue: Queue) -> &'static str {
    match queue {
        Queue::Granted => "granted",
        Queue::Conversion => "conversion",
        Queue::Waiting => "waiting",
    }
}

/// The mode as the field writes it: `EX`, `PR->EX` while it converts, `?EX` while it waits.
#[must_use]
pub(super) fn modes(lock: &LockView) -> String {
    match (lock.granted, lock.requested) {
        (Some(granted), Some(requested)) => format!("{granted}->{requested}"),
        (Some(granted), None) => granted.to_string(),
        (None, Some(requested)) => format!("?{requested}"),
        (None, None) => String::from("-"),
    }
}

/// Why one lock waits for another.
#[must_use]
pub(super) fn why(why: EdgeWhy) -> &'static str {
    match why {
        EdgeWhy::Held => "held",
        EdgeWhy::Ahead => "ahead",
    }
}

/// The session with this id, among those that came along.
#[must_use]
pub(super) fn session_of<'a>(lock: &LockView, sessions: &'a [SessionView]) -> Option<&'a SessionView> {
    lock.session.and_then(|id| sessions.iter().find(|session| session.session == id))
}

/// Who has the lock, in a few words: `billing on db7, process 4242`.
#[must_use]
pub(super) fn whose(lock: &LockView, sessions: &[SessionView]) -> String {
    match (lock.session, session_of(lock, sessions)) {
        (None, _) if lock.pause_ms.is_some() => String::from("nobody: its session has died"),
        (None, _) => String::from("an orphan: its session has ended"),
        (Some(id), None) => format!("session {id}"),
        (Some(_), Some(session)) => format!(
            "{} on {}, process {}",
            printable(session.name.as_bytes()),
            printable(session.host.as_bytes()),
            session.pid
        ),
    }
}

/// Why nothing moves, and for how long: `lock-delay, 4s left`, `server restarted, 9s left`.
#[must_use]
pub(super) fn pause(lock: &LockView) -> Option<String> {
    let left_ms = lock.pause_ms?;
    Some(match lock.session {
        None => format!("lock-delay, {} left", show_ms(left_ms)),
        Some(_) => restarted(left_ms),
    })
}

/// That everybody waits for leases of before the server's restart, and how long still.
#[must_use]
pub(super) fn restarted(left_ms: u64) -> String {
    format!("server restarted, {} left", show_ms(left_ms))
}

fn id_or_dash(session: Option<SessionId>) -> String {
    session.map_or_else(|| String::from("-"), |id| id.to_string())
}

/// The columns of a list of locks.
pub(super) const LOCK_COLUMNS: [Column; 16] = [
    Column("LOCK", false),
    Column("RESOURCE", false),
    Column("QUEUE", false),
    Column("MODE", false),
    Column("AGE", false),
    Column("SESSION", false),
    Column("NAME", false),
    Column("HOST", false),
    Column("PID", false),
    Column("SEQ", true),
    Column("FENCE", true),
    Column("PARENT", true),
    Column("SUBLOCKS", true),
    Column("FLAGS", true),
    Column("TIMEOUT", true),
    Column("REASON", true),
];

/// One lock in a list that is printed like that. It has nothing else: there may be a million of them.
#[must_use]
pub(super) fn lock_item(lock: &LockView, sessions: &[SessionView], format: Format) -> Item {
    let (json, cells) = match format {
        Format::Json => (lock_json(lock, sessions), Vec::new()),
        Format::Table | Format::Wide => (Value::Null, lock_cells(lock, sessions)),
        Format::Name => (Value::Null, Vec::new()),
    };
    Item { name: lock.lock.to_string(), json, cells }
}

fn lock_cells(lock: &LockView, sessions: &[SessionView]) -> Vec<String> {
    let session = session_of(lock, sessions);
    let said = |say: fn(&SessionView) -> String| session.map(say).unwrap_or_default();
    vec![
        lock.lock.to_string(),
        ResourceName::path_to_printable(&lock.path),
        queue(lock.queue).into(),
        modes(lock),
        show_ms(lock.age_ms),
        id_or_dash(lock.session),
        said(|session| printable(session.name.as_bytes())),
        said(|session| printable(session.host.as_bytes())),
        said(|session| session.pid.to_string()),
        lock.seq.to_string(),
        lock.fence.to_string(),
        lock.parent.map_or_else(|| String::from("-"), |parent| parent.to_string()),
        lock.sublocks.to_string(),
        lock.flags.to_string(),
        lock.timeout_ms.map(show_ms).unwrap_or_default(),
        printable(&lock.reason),
    ]
}

/// One lock as JSON.
#[must_use]
pub(super) fn lock_json(lock: &LockView, sessions: &[SessionView]) -> Value {
    json!({
        "id": lock.lock.to_string(),
        "space": lock.lockspace.0,
        "resource": ResourceName::path_to_printable(&lock.path),
        "path": lock.path.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "queue": queue(lock.queue),
        "granted": lock.granted.map(|mode| mode.letters()),
        "requested": lock.requested.map(|mode| mode.letters()),
        "age_ms": lock.age_ms,
        "timeout_ms": lock.timeout_ms,
        "pause": pause(lock),
        "pause_ms": lock.pause_ms,
        "session": lock.session.map(|id| id.to_string()),
        "holder": session_of(lock, sessions).map(session_json),
        "seq": lock.seq.to_string(),
        "fence": lock.fence.to_string(),
        "stamp": lock.stamp.0.to_string(),
        "parent": lock.parent.map(|parent| parent.to_string()),
        "sublocks": lock.sublocks,
        "flags": lock.flags.to_string(),
        "priority": lock.priority,
        "reason": printable(&lock.reason),
    })
}

/// The columns of a list of sessions.
pub(super) const SESSION_COLUMNS: [Column; 12] = [
    Column("SESSION", false),
    Column("NAME", false),
    Column("HOST", false),
    Column("PID", false),
    Column("LOCKS", false),
    Column("WAITING", false),
    Column("LEASE LEFT", false),
    Column("AGE", false),
    Column("LEASE", true),
    Column("PEER", true),
    Column("BOUND", true),
    Column("PURPOSE", true),
];

/// One session in a list.
#[must_use]
pub(super) fn session_item(session: &SessionView) -> Item {
    let cells = vec![
        session.session.to_string(),
        printable(session.name.as_bytes()),
        printable(session.host.as_bytes()),
        session.pid.to_string(),
        session.locks.to_string(),
        session.waiting.to_string(),
        show_ms(session.lease_left_ms),
        show_ms(session.age_ms),
        show_ms(session.ttl_ms.into()),
        printable(session.peer.as_bytes()),
        if session.bound { "yes" } else { "no" }.into(),
        printable(session.purpose.as_bytes()),
    ];
    Item { name: session.session.to_string(), json: session_json(session), cells }
}

/// One session as JSON.
#[must_use]
pub(super) fn session_json(session: &SessionView) -> Value {
    json!({
        "id": session.session.to_string(),
        "name": session.name,
        "purpose": session.purpose,
        "host": session.host,
        "pid": session.pid,
        "peer": session.peer,
        "ttl_ms": session.ttl_ms,
        "lease_left_ms": session.lease_left_ms,
        "age_ms": session.age_ms,
        "locks": session.locks,
        "waiting": session.waiting,
        "bound": session.bound,
    })
}

/// One edge of the waits-for graph as JSON: `lock` is what is waited for.
#[must_use]
pub(super) fn edge_json(edge: &Edge, sessions: &[SessionView]) -> Value {
    json!({ "why": why(edge.why), "lock": lock_json(&edge.lock, sessions) })
}

/// A resource's value block as JSON.
#[must_use]
pub(super) fn value_json(value: &enq_protocol::vocabulary::ValueBlock) -> Value {
    json!({
        "hex": hexadecimal(&value.bytes),
        "text": printable(&value.bytes),
        "length": value.bytes.len(),
        "seq": value.seq.to_string(),
        "valid": value.valid,
    })
}

/// The columns of a list of lockspaces.
pub(super) const SPACE_COLUMNS: [Column; 14] = [
    Column("SPACE", false),
    Column("NAME", false),
    Column("VERSION", false),
    Column("LOCKS", false),
    Column("RESOURCES", false),
    Column("VALUE LENGTH", true),
    Column("FAIR", true),
    Column("CONVERSION DEADLOCK", true),
    Column("DEADLOCK WAIT", true),
    Column("LONGEST WAIT", true),
    Column("MODES", true),
    Column("REASON REQUIRED", true),
    Column("LOCK-DELAY", true),
    Column("DEADLOCK VICTIM", true),
];

/// One lockspace in a list.
#[must_use]
pub(super) fn space_item(space: &LockspaceView) -> Item {
    let policy = &space.policy;
    let or = |ms: u32, none: &str| if ms == 0 { none.to_owned() } else { show_ms(ms.into()) };
    let cells = vec![
        space.lockspace.0.to_string(),
        space.name.to_string(),
        space.version.to_string(),
        space.locks.to_string(),
        space.resources.to_string(),
        policy.value_len_max.to_string(),
        policy.fair.to_string(),
        conversion_deadlock(policy).into(),
        or(policy.deadlock_wait_ms, "off"),
        or(policy.wait_ms_max, "no limit"),
        policy.modes.iter().map(|mode| mode.letters()).collect::<Vec<_>>().join(","),
        policy.reason_required.to_string(),
        or(policy.lock_delay_ms, "none"),
        victim_rule(policy).into(),
    ];
    Item { name: space.name.to_string(), json: space_json(space), cells }
}

/// One lockspace as JSON.
#[must_use]
pub(super) fn space_json(space: &LockspaceView) -> Value {
    let policy = &space.policy;
    json!({
        "id": space.lockspace.0,
        "name": space.name.to_string(),
        "version": space.version.to_string(),
        "locks": space.locks,
        "resources": space.resources,
        "policy": {
            "value_len": policy.value_len_max,
            "fair": policy.fair,
            "conversion_deadlock": conversion_deadlock(policy),
            "deadlock_wait_ms": policy.deadlock_wait_ms,
            "wait_max_ms": policy.wait_ms_max,
            "modes": policy.modes.iter().map(|mode| mode.letters()).collect::<Vec<_>>(),
            "reason_required": policy.reason_required,
            "lock_delay_ms": policy.lock_delay_ms,
            "deadlock_victim": victim_rule(policy),
        },
    })
}

fn conversion_deadlock(policy: &Policy) -> &'static str {
    match policy.conversion_deadlock {
        ConversionDeadlock::Immediate => "immediate",
        ConversionDeadlock::Timed => "timed",
    }
}

fn victim_rule(policy: &Policy) -> &'static str {
    match policy.deadlock_victim {
        VictimRule::Youngest => "youngest",
        VictimRule::FewestLocks => "fewest-locks",
        VictimRule::ReportOnly => "report-only",
    }
}
