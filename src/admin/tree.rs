//! `enq tree`: a root resource and what is below it, indented, each with the modes of its locks.

use std::fmt::Write as _;

use enq_protocol::vocabulary::{LockFilter, LockView, ResourceName, SessionView};
use serde_json::{Value, json};

use super::{
    args::{Format, Reach, Tree},
    ask,
    exit::Failure,
    ls, render, words,
};

/// Columns that names have before the modes begin; a longer name moves its modes to the right.
const NAME_WIDTH: usize = 28;

/// Shows it.
pub(super) async fn tree(reach: &Reach, tree: &Tree) -> Result<(), Failure> {
    let root = ask::path(&tree.name, false)?.into_iter().next();
    let client = ask::client(reach).await?;
    let lockspace = Some(ask::space(reach, &client).await?);
    let locks = ls::all(reach, &client, LockFilter { lockspace, root, ..LockFilter::default() }).await?;
    let resources = grouped(&locks);
    match tree.output.format {
        Format::Json => {
            let sessions = ask::sessions(reach, &client).await?;
            let resources: Vec<Value> =
                resources.iter().map(|locks| resource_json(locks, &sessions)).collect();
            render::object("tree", &json!(resources))
        }
        Format::Name => {
            render::print(&resources.iter().map(|locks| format!("{}\n", name(locks))).collect::<String>())
        }
        Format::Table | Format::Wide => {
            let sessions = ask::sessions(reach, &client).await?;
            render::print(&picture(&resources, &sessions))
        }
    }
}

/// The locks of one resource beside each other; they come sorted by path, so parents come before children.
fn grouped(locks: &[LockView]) -> Vec<&[LockView]> {
    locks.chunk_by(|a, b| a.path == b.path).collect()
}

fn name(locks: &[LockView]) -> String {
    locks.first().map(|lock| ResourceName::path_to_printable(&lock.path)).unwrap_or_default()
}

fn resource_json(locks: &[LockView], sessions: &[SessionView]) -> Value {
    json!({
        "name": name(locks),
        "depth": locks.first().map_or(0, |lock| lock.path.len().saturating_sub(1)),
        "locks": locks.iter().map(|lock| words::lock_json(lock, sessions)).collect::<Vec<_>>(),
    })
}

fn picture(resources: &[&[LockView]], sessions: &[SessionView]) -> String {
    let mut text = String::new();
    let mut shown: Vec<ResourceName> = Vec::new();
    for locks in resources {
        let Some(first) = locks.first() else { continue };
        // A level without locks of its own (its locks went while its sublocks did not) is named all the same.
        let common = first.path.iter().zip(&shown).take_while(|(a, b)| a == b).count();
        for (depth, component) in first.path.iter().enumerate().skip(common) {
            let label = format!("{:indent$}{component}", "", indent = depth * 2);
            let is_last = depth + 1 == first.path.len();
            let modes: Vec<String> =
                if is_last { locks.iter().map(|lock| held(lock, sessions)).collect() } else { Vec::new() };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", format!("{label:<NAME_WIDTH$} {}", modes.join(", ")).trim_end());
        }
        shown.clone_from(&first.path);
    }
    if text.is_empty() { String::from("Nobody has a lock in this tree.\n") } else { text }
}

/// `EX billing@db7`, `PR->EX 3.17`.
fn held(lock: &LockView, sessions: &[SessionView]) -> String {
    let who = match (words::session_of(lock, sessions), lock.session) {
        (Some(session), _) => format!(
            "{}@{}",
            render::printable(session.name.as_bytes()),
            render::printable(session.host.as_bytes())
        ),
        (None, Some(id)) => id.to_string(),
        (None, None) => String::from("orphan"),
    };
    format!("{} {who}", words::modes(lock))
}
