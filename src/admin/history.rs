//! `enq history`: what the server's flight recorder has kept of a resource or a session, the newest first.
//!
//! The recorder is bounded. What is shown is a part of what happened, and the last line says from when on it is all of it.

use enq_protocol::vocabulary::{
    Happened, HistoryOf, HistoryPart, HistoryView, LockId, PastSession, SessionId, Status,
};
use serde_json::{Value, json};

use super::{
    args::{Format, History, Reach},
    ask,
    date::utc,
    duration::{ms, show_ms},
    exit::Failure,
    render::{self, Column, Item, printable},
    words,
};
use crate::client::{Client, wall_ms};

const COLUMNS: [Column; 14] = [
    Column("TIME", false),
    Column("WHAT", false),
    Column("MODE", false),
    Column("RESOURCE", false),
    Column("LOCK", false),
    Column("SESSION", false),
    Column("NAME", false),
    Column("HOST", false),
    Column("PID", false),
    Column("WAITED", false),
    Column("SEQ", true),
    Column("FENCE", true),
    Column("AGO", true),
    Column("WHY", false),
];

/// Shows it.
pub(super) async fn history(reach: &Reach, history: &History) -> Result<(), Failure> {
    let client = ask::client(reach).await?;
    let of = asked(reach, &client, history).await?;
    let mut part = ask::within(reach, client.history(&of, history.limit)).await.map_err(off)?;
    let now_ms = wall_ms();
    let mut is_whole = part.next.is_none();
    if let Some(since) = history.since {
        let before = part.entries.len();
        part.entries.retain(|entry| entry.age_ms <= ms(since));
        is_whole |= part.entries.len() < before;
    }
    print(history.output.format, &of, &part, now_ms, is_whole)
}

/// Whose history: what looks like the id of a session is one, unless something else is said.
async fn asked(reach: &Reach, client: &Client, history: &History) -> Result<HistoryOf, Failure> {
    let is_name = history.name || history.path;
    let session = history.of.to_str().filter(|_| !is_name).and_then(|text| text.parse().ok());
    if let Some(session) = session {
        return Ok(HistoryOf::Session(session));
    }
    let path = ask::path(&history.of, history.path)?;
    Ok(HistoryOf::Resource { lockspace: ask::space(reach, client).await?, path })
}

fn off(failure: Failure) -> Failure {
    if failure.code != Status::Unsupported.to_string() {
        return failure;
    }
    let hint = "its setting history_entries is 0, or it is older than this command";
    Failure { cause: String::from("the server keeps no history"), hint: hint.into(), ..failure }
}

fn print(
    format: Format,
    of: &HistoryOf,
    part: &HistoryPart,
    now_ms: u64,
    is_whole: bool,
) -> Result<(), Failure> {
    let items: Vec<Item> = part.entries.iter().map(|entry| item(entry, &part.sessions, now_ms)).collect();
    let begins = utc(now_ms.saturating_sub(part.complete_ms));
    if format == Format::Json {
        let value = json!({
            "entries": items.iter().map(|item| &item.json).collect::<Vec<_>>(),
            "more": !is_whole,
            "complete_since": begins,
            "complete_ms": part.complete_ms,
            "since_start": part.since_start,
            "sessions": part.sessions.iter().map(|past| session_json(past, now_ms)).collect::<Vec<_>>(),
        });
        return render::object("history", &value);
    }
    if format == Format::Name {
        return render::list(format, "history", &COLUMNS, &items);
    }
    if let HistoryOf::Session(session) = of {
        let known = part.sessions.iter().find(|past| past.session == *session);
        let told = known.map_or_else(|| String::from("not known any more"), |past| about(past, now_ms));
        render::print(&format!("session {session}: {told}\n\n"))?;
    }
    render::list(format, "history", &COLUMNS, &items)?;
    let ago = show_ms(part.complete_ms);
    let more = if is_whole { "" } else { "there is more: see it with a greater --limit\n" };
    render::print(&if part.since_start {
        format!("\n{more}complete since the server's start, {begins}, {ago} ago\n")
    } else {
        format!(
            "\n{more}complete since {begins}, {ago} ago; of what was before, the oldest entries were overwritten\n"
        )
    })
}

/// Who a session was, and when.
fn about(past: &PastSession, now_ms: u64) -> String {
    let opened = utc(now_ms.saturating_sub(past.age_ms));
    let end = match past.ended_ms {
        None => String::from("still there"),
        Some(ended_ms) => {
            let how = if past.died { "died" } else { "closed" };
            format!("{how} {}", utc(now_ms.saturating_sub(ended_ms)))
        }
    };
    let purpose = if past.purpose.is_empty() {
        String::new()
    } else {
        format!(" ({})", printable(past.purpose.as_bytes()))
    };
    format!("{}{purpose}, opened {opened}, {end}", who(past))
}

fn who(past: &PastSession) -> String {
    let (name, host) = (printable(past.name.as_bytes()), printable(past.host.as_bytes()));
    format!("{name} on {host}, process {}", past.pid)
}

/// What happened, in a word.
fn what(entry: &HistoryView) -> &'static str {
    match (entry.happened, entry.held) {
        (Happened::Queued, None) => "queued",
        (Happened::Queued, Some(_)) => "converting",
        (Happened::Granted, None) => "granted",
        (Happened::Granted, Some(_)) => "converted",
        (Happened::Adopted, _) => "adopted",
        (Happened::Refused, _) => "refused",
        (Happened::Ended, _) => "ended",
        (Happened::Demoted, _) => "demoted",
        (Happened::Released, _) => "released",
        (Happened::Closed, _) => "closed",
        (Happened::Died, _) => "died",
        (Happened::Orphaned, _) => "orphaned",
        (Happened::Delayed, _) => "delayed",
        (Happened::DelayEnded, _) => "delay over",
        (Happened::Forced, _) => "forced",
        (Happened::Purged, _) => "purged",
    }
}

/// The modes, as in a list of locks: `EX`, `PR->EX`, `?EX` of who has nothing yet.
fn modes(entry: &HistoryView) -> String {
    let is_grant = matches!(entry.happened, Happened::Granted | Happened::Adopted);
    match (entry.held, entry.mode) {
        (Some(held), Some(mode)) if held != mode || !is_grant => format!("{held}->{mode}"),
        (None, Some(mode)) if !is_grant => format!("?{mode}"),
        (_, Some(mode)) => mode.to_string(),
        (Some(held), None) => held.to_string(),
        (None, None) => String::from("-"),
    }
}

/// The resource, with an ellipsis if not all of its name was kept.
fn resource(entry: &HistoryView) -> String {
    let name = words::name(&entry.path);
    if entry.is_cut { format!("...{name}") } else { name }
}

/// Why: the status, and what belongs to it.
fn why(entry: &HistoryView, sessions: &[PastSession]) -> String {
    match (entry.status, entry.detail) {
        (Status::Done, _) => String::new(),
        (Status::NotQueued, lock) if lock > 0 => format!("NOTQUEUED: {} is in the way", LockId(lock)),
        (Status::Deadlock, record) if record > 0 => format!("DEADLOCK: record {record}"),
        (Status::Forced, by) if by > 0 => {
            let by = SessionId(by);
            let known = sessions.iter().find(|past| past.session == by);
            format!("FORCED by {}", known.map_or_else(|| format!("session {by}"), who))
        }
        (status, _) => status.to_string(),
    }
}

fn item(entry: &HistoryView, sessions: &[PastSession], now_ms: u64) -> Item {
    let time = utc(now_ms.saturating_sub(entry.age_ms));
    let past = entry.session.and_then(|id| sessions.iter().find(|past| past.session == id));
    let said = |say: fn(&PastSession) -> String| past.map(say).unwrap_or_default();
    let lock = entry.lock.map_or_else(|| String::from("-"), |lock| lock.to_string());
    let waited = if entry.waited_ms > 0 { show_ms(entry.waited_ms.into()) } else { String::new() };
    let cells = vec![
        time.clone(),
        what(entry).into(),
        modes(entry),
        resource(entry),
        lock.clone(),
        entry.session.map_or_else(|| String::from("-"), |session| session.to_string()),
        said(|past| printable(past.name.as_bytes())),
        said(|past| printable(past.host.as_bytes())),
        said(|past| past.pid.to_string()),
        waited,
        entry.seq.to_string(),
        entry.fence.to_string(),
        show_ms(entry.age_ms),
        why(entry, sessions),
    ];
    let detail = |of: Status| (entry.status == of && entry.detail > 0).then_some(entry.detail);
    let json = json!({
        "time": time,
        "age_ms": entry.age_ms,
        "what": what(entry),
        "status": entry.status.to_string(),
        "lock": entry.lock.map(|lock| lock.to_string()),
        "session": entry.session.map(|session| session.to_string()),
        "holder": past.map(|past| session_json(past, now_ms)),
        "space": entry.lockspace.0,
        "resource": words::name(&entry.path),
        "cut": entry.is_cut,
        "held": entry.held.map(|mode| mode.letters()),
        "mode": entry.mode.map(|mode| mode.letters()),
        "seq": entry.seq.to_string(),
        "fence": entry.fence.to_string(),
        "waited_ms": entry.waited_ms,
        "blocker": detail(Status::NotQueued).map(|lock| LockId(lock).to_string()),
        "deadlock": detail(Status::Deadlock).map(|record| record.to_string()),
        "by": detail(Status::Forced).map(|by| SessionId(by).to_string()),
    });
    Item { name: lock, json, cells }
}

fn session_json(past: &PastSession, now_ms: u64) -> Value {
    json!({
        "id": past.session.to_string(),
        "name": past.name,
        "purpose": past.purpose,
        "host": past.host,
        "pid": past.pid,
        "opened": utc(now_ms.saturating_sub(past.age_ms)),
        "ended": past.ended_ms.map(|ended_ms| utc(now_ms.saturating_sub(ended_ms))),
        "died": past.died,
    })
}
