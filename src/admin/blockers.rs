//! `enq blockers`: for each lock that waits or converts, which locks it waits for, and whether for what they *hold* or
//! because they are *ahead* of it in a queue.

use enq_protocol::vocabulary::{LockFilter, LockView, Queue, ResourceName, SessionView, Status};
use serde_json::{Value, json};

use super::{
    args::{Blockers, Format, Reach},
    ask,
    duration::show_ms,
    exit::Failure,
    graph,
    render::{self, Column, Item},
    words,
};
use crate::client::{Client, Edges, LookError};

const COLUMNS: [Column; 9] = [
    Column("RESOURCE", false),
    Column("LOCK", false),
    Column("WANTS", false),
    Column("SINCE", false),
    Column("WHO", false),
    Column("WAITS FOR", false),
    Column("WHICH IS", false),
    Column("MODE", false),
    Column("WHOSE", false),
];

/// Shows them.
pub(super) async fn blockers(reach: &Reach, blockers: &Blockers) -> Result<(), Failure> {
    if blockers.tree {
        return graph::blockers_as_tree(reach, blockers.output.format).await;
    }
    if blockers.roots {
        return graph::roots(reach, blockers.output.format).await;
    }
    let client = ask::client(reach).await?;
    let waiting = waiting(reach, &client, blockers).await?;
    let mut found: Vec<(LockView, Edges)> = Vec::new();
    for lock in waiting.into_iter().take(blockers.limit) {
        let edges = async {
            match client.blockers(lock.lock).await {
                // Granted or withdrawn since it was listed: it waits for nobody.
                Err(LookError::Refused(Status::NoSuchLock)) => Ok(None),
                other => other.map(Some),
            }
        };
        if let Some(edges) = ask::within(reach, edges).await? {
            found.push((lock, edges));
        }
    }
    let all = match blockers.output.format {
        Format::Name => Vec::new(),
        _ if found.is_empty() => Vec::new(),
        _ => ask::sessions(reach, &client).await?,
    };
    match blockers.output.format {
        Format::Json => render::object(
            "waiting",
            &json!(found.iter().map(|(lock, edges)| entry(lock, edges, &all)).collect::<Vec<_>>()),
        ),
        format => render::list(format, "waiting", &COLUMNS, &rows(&found, &all)),
    }
}

/// The locks that wait or convert, on the resource that is named or everywhere in the lockspace.
async fn waiting(reach: &Reach, client: &Client, blockers: &Blockers) -> Result<Vec<LockView>, Failure> {
    let space = ask::space(reach, client).await?;
    if let Some(name) = &blockers.name {
        let path = ask::path(name, blockers.path)?;
        let seen = ask::within(reach, client.show_resource(space, &path)).await?;
        let locks = seen.map(|(resource, _)| resource.locks).unwrap_or_default();
        return Ok(locks.into_iter().filter(|lock| lock.queue != Queue::Granted).collect());
    }
    let mut all = Vec::new();
    for queue in [Queue::Conversion, Queue::Waiting] {
        let filter = LockFilter { lockspace: Some(space), queue: Some(queue), ..LockFilter::default() };
        let room = blockers.limit.saturating_sub(all.len());
        let (locks, _) = ask::within(reach, client.locks(filter).collect(room)).await?;
        all.extend(locks);
    }
    all.sort_by(|a, b| (&a.path, a.queue, a.stamp).cmp(&(&b.path, b.queue, b.stamp)));
    Ok(all)
}

fn entry(lock: &LockView, edges: &Edges, sessions: &[SessionView]) -> Value {
    json!({
        "lock": words::lock_json(lock, sessions),
        "waits_for": edges.edges.iter().map(|edge| words::edge_json(edge, sessions)).collect::<Vec<_>>(),
        "total": edges.total,
    })
}

fn rows(found: &[(LockView, Edges)], sessions: &[SessionView]) -> Vec<Item> {
    let mut rows = Vec::new();
    for (lock, edges) in found {
        for edge in &edges.edges {
            let cells = vec![
                ResourceName::path_to_printable(&lock.path),
                lock.lock.to_string(),
                words::modes(lock),
                show_ms(lock.age_ms),
                words::whose(lock, sessions),
                edge.lock.lock.to_string(),
                words::why(edge.why).into(),
                words::modes(&edge.lock),
                words::whose(&edge.lock, sessions),
            ];
            let name = format!("{} {}", lock.lock, edge.lock.lock);
            rows.push(Item { name, json: words::edge_json(edge, sessions), cells });
        }
    }
    rows
}
