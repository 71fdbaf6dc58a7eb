//! `enq deadlocks`: which deadlocks were found, who was in them, who was refused; and a search at once.
//!
//! What is shown is what was true when the deadlock was found. Sessions may have ended since and locks may be others'.

use std::fmt::Write as _;

use enq_protocol::vocabulary::{DeadlockView, LockId, LockView, ResourceName, Scanned, WaitView};
use serde_json::{Value, json};

use super::{
    args::{DeadlocksVerb, Format, Reach},
    ask,
    duration::show_ms,
    exit::{self, Failure},
    render::{self, Column, Item},
    words,
};

const COLUMNS: [Column; 6] = [
    Column("NUMBER", false),
    Column("FOUND", false),
    Column("WAITS", false),
    Column("RESOURCES", false),
    Column("REFUSED", false),
    Column("WHOSE", false),
];

const WAIT_COLUMNS: [Column; 10] = [
    Column("WHO", false),
    Column("LOCK", false),
    Column("RESOURCE", false),
    Column("MODE", false),
    Column("SINCE", false),
    Column("WAITS FOR", false),
    Column("WHICH IS", false),
    Column("MODE", false),
    Column("WHOSE", false),
    Column("", false),
];

/// Does it.
pub(super) async fn deadlocks(reach: &Reach, verb: &DeadlocksVerb) -> Result<(), Failure> {
    let client = ask::client(reach).await?;
    match verb {
        DeadlocksVerb::Ls(output) => {
            let deadlocks = ask::within(reach, client.deadlocks()).await?;
            let items: Vec<_> = deadlocks.iter().map(item).collect();
            render::list(output.format, "deadlocks", &COLUMNS, &items)
        }
        DeadlocksVerb::Show { number, output } => {
            let deadlock =
                ask::within(reach, client.deadlock(*number)).await?.ok_or_else(|| none(*number))?;
            show(&deadlock, output.format)
        }
        DeadlocksVerb::Scan(output) => {
            let scanned = ask::within(reach, client.scan()).await?;
            tell(&scanned, output.format)
        }
    }
}

fn none(number: u64) -> Failure {
    let cause = format!("deadlock {number}: the server has no record of it");
    Failure::new("NOSUCHDEADLOCK", cause, "see those that it has with enq deadlocks ls", exit::SOFTWARE)
}

fn show(deadlock: &DeadlockView, format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        return render::object("deadlock", &deadlock_json(deadlock));
    }
    let is_for_people = format != Format::Name;
    if is_for_people {
        let sort = if deadlock.is_ring { "a ring" } else { "a knot" };
        let waits = if deadlock.wait_count == 1 { "wait" } else { "waits" };
        let (number, count, age) = (deadlock.number, deadlock.wait_count, show_ms(deadlock.age_ms));
        render::print(&format!("deadlock {number}: {sort} of {count} {waits}, found {age} ago\n\n"))?;
    }
    let items: Vec<_> = deadlock.waits.iter().map(|wait| wait_item(wait, deadlock)).collect();
    render::list(format, "waits", &WAIT_COLUMNS, &items)?;
    let shown = u32::try_from(deadlock.waits.len()).unwrap_or(u32::MAX);
    if is_for_people && shown < deadlock.wait_count {
        render::print(&format!("... and {} more\n", deadlock.wait_count - shown))?;
    }
    if is_for_people && deadlock.refused.is_none() {
        render::print("\nnobody was refused: no request of it may be, and it stays\n")?;
    }
    Ok(())
}

fn tell(Scanned { locks, found, records }: &Scanned, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => {
            let records: Vec<String> = records.iter().map(u64::to_string).collect();
            render::object("scan", &json!({ "locks": locks, "found": found, "records": records }))
        }
        Format::Name => {
            render::print(&records.iter().map(|number| format!("{number}\n")).collect::<String>())
        }
        Format::Table | Format::Wide => {
            let deadlocks = if *found == 1 { "deadlock" } else { "deadlocks" };
            let among = if *locks == 1 { "lock" } else { "locks" };
            let mut text = format!("{found} {deadlocks} found among {locks} {among}\n");
            for number in records {
                let _ = writeln!(text, "look: enq deadlocks show {number}");
            }
            render::print(&text)
        }
    }
}

/// The lock whose request was refused, if it is among those that are shown.
fn refused(deadlock: &DeadlockView) -> Option<&LockView> {
    let waiting = deadlock.waits.iter().map(|wait| &wait.waiting);
    waiting.into_iter().find(|lock| Some(lock.lock) == deadlock.refused)
}

fn lock_or_dash(lock: Option<LockId>) -> String {
    lock.map_or_else(|| String::from("-"), |lock| lock.to_string())
}

/// One deadlock in the list.
fn item(deadlock: &DeadlockView) -> Item {
    let mut names: Vec<String> =
        deadlock.waits.iter().map(|wait| ResourceName::path_to_printable(&wait.waiting.path)).collect();
    names.sort();
    names.dedup();
    let whose = refused(deadlock).map(|lock| words::whose(lock, &deadlock.sessions));
    let cells = vec![
        deadlock.number.to_string(),
        format!("{} ago", show_ms(deadlock.age_ms)),
        deadlock.wait_count.to_string(),
        names.join(" "),
        lock_or_dash(deadlock.refused),
        whose.unwrap_or_else(|| String::from("-")),
    ];
    Item { name: deadlock.number.to_string(), json: deadlock_json(deadlock), cells }
}

/// One party of it: what it wants and has, and whom it waits for.
fn wait_item(wait: &WaitView, deadlock: &DeadlockView) -> Item {
    let WaitView { waiting, blocker, why } = wait;
    let is_refused = Some(waiting.lock) == deadlock.refused;
    let cells = vec![
        words::whose(waiting, &deadlock.sessions),
        waiting.lock.to_string(),
        ResourceName::path_to_printable(&waiting.path),
        words::modes(waiting),
        show_ms(waiting.age_ms),
        blocker.lock.to_string(),
        words::why(*why).into(),
        words::modes(blocker),
        words::whose(blocker, &deadlock.sessions),
        if is_refused { "refused" } else { "" }.into(),
    ];
    let name = format!("{} {}", waiting.lock, blocker.lock);
    Item { name, json: wait_json(wait, deadlock), cells }
}

fn deadlock_json(deadlock: &DeadlockView) -> Value {
    let waits: Vec<Value> = deadlock.waits.iter().map(|wait| wait_json(wait, deadlock)).collect();
    json!({
        "number": deadlock.number.to_string(),
        "age_ms": deadlock.age_ms,
        "ring": deadlock.is_ring,
        "waits": waits,
        "wait_count": deadlock.wait_count,
        "refused": deadlock.refused.map(|lock| lock.to_string()),
    })
}

fn wait_json(wait: &WaitView, deadlock: &DeadlockView) -> Value {
    json!({
        "waiting": words::lock_json(&wait.waiting, &deadlock.sessions),
        "blocker": words::lock_json(&wait.blocker, &deadlock.sessions),
        "why": words::why(wait.why),
        "refused": Some(wait.waiting.lock) == deadlock.refused,
    })
}
