//! Why a lock was not granted, told so that the reader knows whom to ask: who holds it, where, since when, what for.
//!
//! The server's refusal names only the lock that is in the way; the rest is looked up, and what cannot be found any more
//! is left out.

use std::{fmt::Write as _, io::IsTerminal as _, time::Duration};

use enq_protocol::vocabulary::{LockId, LockView, Queue, SessionView};

use super::locks::{Wanted, quoted};
use crate::{
    admin::{
        args::{Reach, Run},
        ask,
        duration::show_ms,
        exit::{self, Failure},
        render::printable,
        words,
    },
    client::{NotGranted, Session},
};

/// How long a wait lasts before it is worth a word.
const SAY_AFTER: Duration = Duration::from_secs(1);

/// How long looking for a holder may take: the refusal itself must not wait for it.
const LOOK_WITHIN: Duration = Duration::from_secs(1);

/// The failure that a refusal of `enq run` becomes.
pub(super) async fn explain_to(
    run: &Run,
    reach: &Reach,
    session: &Session,
    wanted: &Wanted,
    why: &NotGranted,
) -> Failure {
    let mut failure = explain(reach, run.path, session, wanted, why).await;
    if failure.exit == exit::CONFLICT {
        failure.exit = run.conflict_exit_code;
    }
    if let NotGranted::SessionLost(_) = why {
        // No command ran, so no command lost its lock: the server has gone before it could answer.
        failure.exit = exit::UNREACHABLE;
    }
    failure
}

/// The failure that a refusal becomes.
pub(in crate::admin) async fn explain(
    reach: &Reach,
    is_path: bool,
    session: &Session,
    wanted: &Wanted,
    why: &NotGranted,
) -> Failure {
    let name = words::name(&wanted.path);
    let mut failure = Failure::status(why.status());
    failure.cause = format!("{} on {name}: {why}", wanted.mode);
    let blocker = match why {
        NotGranted::NotQueued { blocker, waiting } => {
            failure.cause = format!("{} on {name} cannot be granted now", wanted.mode);
            Some((*blocker, *waiting))
        }
        NotGranted::TimedOut => Some((None, 0)),
        NotGranted::Recovering { left_ms } => {
            let wait = words::restarted(u64::from(*left_ms));
            failure.cause = format!("{} on {name} cannot be granted yet: {wait}", wanted.mode);
            None
        }
        // C4: nobody searched, so there is no record.
        NotGranted::Deadlock { record: 0 } => {
            failure.cause = format!("{} on {name}: two conversions would wait for each other", wanted.mode);
            None
        }
        NotGranted::Deadlock { record } => {
            let _ = write!(failure.hint, "; see who waited for whom: enq deadlocks show {record}");
            None
        }
        _ => None,
    };
    if let Some((blocker, waiting)) = blocker {
        let looked = tokio::time::timeout(LOOK_WITHIN, in_the_way(reach, session, wanted, blocker)).await;
        if let Ok(Some((lock, holder, queued))) = looked {
            failure.details = describe(&lock, holder.as_ref(), queued.unwrap_or(waiting));
        } else if let Some(left_ms) = recovering(session).await {
            failure.details = format!("  {:<11} {}\n", "nobody yet", words::restarted(left_ms));
        }
        let path = if is_path { "--path " } else { "" };
        let server =
            if reach.space == "default" { String::new() } else { format!(" --space {}", reach.space) };
        let _ = write!(failure.hint, "; look further: enq show{server} {path}{}", quoted(name.as_ref()));
    }
    failure
}

/// The lock that is in the way, its session, and how many wait or convert on the resource.
async fn in_the_way(
    reach: &Reach,
    session: &Session,
    wanted: &Wanted,
    blocker: Option<LockId>,
) -> Option<(LockView, Option<SessionView>, Option<u32>)> {
    let space = ask::space(reach, session).await.ok()?;
    let (resource, sessions) = session.show_resource(space, &wanted.path).await.ok().flatten()?;
    let queued = resource.locks.iter().filter(|lock| lock.queue != Queue::Granted).count();
    let in_the_way = |lock: &&LockView| match blocker {
        Some(id) => lock.lock == id,
        None => lock.granted.is_some_and(|granted| !granted.is_compatible(wanted.mode)),
    };
    let lock = match (resource.locks.iter().find(in_the_way), blocker) {
        (Some(lock), _) => lock.clone(),
        // It is elsewhere: a path can be refused at any of its levels.
        (None, Some(id)) => {
            let lock = session.show_lock(id).await.ok()?;
            let holder = match lock.session {
                Some(id) => session.show_session(id).await.ok(),
                None => None,
            };
            return Some((lock, holder, None));
        }
        (None, None) => return None,
    };
    let holder = words::session_of(&lock, &sessions).cloned();
    Some((lock, holder, u32::try_from(queued).ok()))
}

/// The block that is printed under a refusal.
fn describe(lock: &LockView, holder: Option<&SessionView>, waiting: u32) -> String {
    let mut lines = vec![
        ("lock", lock.lock.to_string()),
        ("name", words::name(&lock.path)),
        ("mode", words::modes(lock)),
    ];
    match holder {
        Some(session) => {
            lines.push(("holder", printable(session.name.as_bytes())));
            lines.push(("host", printable(session.host.as_bytes())));
            lines.push(("pid", session.pid.to_string()));
            lines.push(("session", session.session.to_string()));
            lines.push(("purpose", printable(session.purpose.as_bytes())));
            lines.push(("lease left", show_ms(session.lease_left_ms)));
        }
        None => lines.push(("holder", words::whose(lock, &[]))),
    }
    lines.extend(words::pause(lock).map(|pause| ("pause", pause)));
    lines.push(("reason", printable(&lock.reason)));
    lines.push(("since", format!("{} ago", show_ms(lock.age_ms))));
    lines.push(("queue", format!("{waiting} waiting or converting")));
    let lines = lines.into_iter().filter(|(_, value)| !value.is_empty());
    lines.map(|(label, value)| format!("  {label:<11} {value}\n")).collect()
}

/// What is left of the server's wait after its restart, if that is what everybody waits for.
async fn recovering(session: &Session) -> Option<u64> {
    let statistics = tokio::time::timeout(LOOK_WITHIN, session.statistics()).await.ok()?.ok()?;
    Some(statistics.recovering_ms).filter(|left_ms| *left_ms > 0)
}

/// After a second of waiting, says on a terminal for whom, and anywhere if it is for the server itself, which is rare
/// and worth a line in a log; returns when that is said, or never if it is not to be.
pub(super) async fn say_for_whom(reach: &Reach, run: &Run, session: &Session, wanted: &Wanted) {
    if run.quiet {
        return std::future::pending().await;
    }
    tokio::time::sleep(SAY_AFTER).await;
    let name = words::name(&wanted.path);
    if let Some(left_ms) = recovering(session).await {
        let wait = words::restarted(left_ms);
        return exit::say_aside(format!("enq: waiting for {} on {name}: {wait}\n", wanted.mode));
    }
    if !std::io::stderr().is_terminal() {
        return std::future::pending().await;
    }
    let looked = tokio::time::timeout(LOOK_WITHIN, in_the_way(reach, session, wanted, None)).await;
    let whom = match looked {
        Ok(Some((lock, holder, _))) => {
            let sessions: Vec<_> = holder.into_iter().collect();
            format!(
                ", held {} by {} for {}",
                words::modes(&lock),
                words::whose(&lock, &sessions),
                show_ms(lock.age_ms)
            )
        }
        Ok(None) | Err(_) => String::new(),
    };
    exit::say_aside(format!("enq: waiting for {} on {name}{whom}\n", wanted.mode));
}

#[cfg(test)]
mod tests {
    use enq_protocol::vocabulary::{
        Fence, Flags, Handle, LockMode, LockspaceId, Owner, ResourceName, Seq, SessionId, Stamp,
    };

    use super::*;

    fn lock() -> LockView {
        LockView {
            lock: LockId(0x1f),
            session: Some(SessionId(3 << 40 | 17)),
            handle: Handle::new(1).unwrap(),
            owner: Owner::default(),
            lockspace: LockspaceId(0),
            path: ResourceName::path_from_printable("db").unwrap(),
            queue: Queue::Granted,
            granted: Some(LockMode::Ex),
            requested: None,
            seq: Seq(9),
            fence: Fence(9),
            stamp: Stamp(1),
            age_ms: 185_000,
            timeout_ms: None,
            pause_ms: None,
            parent: None,
            sublocks: 0,
            flags: Flags::NONE,
            priority: 0,
            reason: (*b"reindex").into(),
        }
    }

    #[test]
    fn a_refusal_says_all_there_is_to_know() {
        let session = SessionView {
            session: SessionId(3 << 40 | 17),
            name: "billing".into(),
            purpose: "nightly".into(),
            host: "db7".into(),
            pid: 4242,
            peer: "10.0.0.7:5000".into(),
            ttl_ms: 15_000,
            lease_left_ms: 12_000,
            age_ms: 200_000,
            locks: 1,
            waiting: 0,
            bound: true,
        };
        let text = describe(&lock(), Some(&session), 2);
        for wanted in [
            "#1f",
            "db",
            "EX",
            "billing",
            "db7",
            "4242",
            "3.17",
            "nightly",
            "12s",
            "reindex",
            "3m5s",
            "2 waiting",
        ] {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
    }

    #[test]
    fn an_orphan_has_no_holder_to_ask() {
        let orphan = LockView { session: None, ..lock() };
        assert!(describe(&orphan, None, 0).contains("orphan"));
    }
}
