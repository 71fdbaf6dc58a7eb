//! `enq ls`: locks, by name.

use std::os::unix::ffi::OsStrExt as _;

use enq_protocol::vocabulary::{LockFilter, LockView, Queue};

use super::{
    args::{Format, Ls, Reach},
    ask, duration,
    exit::Failure,
    render, words,
};
use crate::client::Client;

/// Lists them.
pub(super) async fn ls(reach: &Reach, ls: &Ls) -> Result<(), Failure> {
    let client = ask::client(reach).await?;
    let filter = LockFilter {
        lockspace: Some(ask::space(reach, &client).await?),
        prefix: ls.prefix.as_ref().map(|prefix| prefix.as_bytes().into()).unwrap_or_default(),
        root: None,
        queue: queue(ls),
        session: None,
        orphans: ls.orphan,
        older_than_ms: ls.older_than.map_or(0, duration::ms),
    };
    let locks = all(reach, &client, filter).await?;
    let sessions = match ls.output.format {
        Format::Name => Vec::new(),
        _ => ask::sessions(reach, &client).await?,
    };
    let items: Vec<_> =
        locks.iter().map(|lock| words::lock_item(lock, &sessions, ls.output.format)).collect();
    render::list(ls.output.format, "locks", &words::LOCK_COLUMNS, &items)
}

fn queue(ls: &Ls) -> Option<Queue> {
    match (ls.granted, ls.converting, ls.waiting) {
        (true, _, _) => Some(Queue::Granted),
        (_, true, _) => Some(Queue::Conversion),
        (_, _, true) => Some(Queue::Waiting),
        (false, false, false) => None,
    }
}

/// Every lock that the filter lets through, by name, then by queue and order in it.
pub(super) async fn all(
    reach: &Reach,
    client: &Client,
    filter: LockFilter,
) -> Result<Vec<LockView>, Failure> {
    let mut listing = client.locks(filter);
    let mut all = Vec::new();
    while let Some(page) = ask::within(reach, listing.page()).await? {
        all.extend(page);
    }
    all.sort_by(|a: &LockView, b: &LockView| {
        (a.lockspace, &a.path, a.queue, a.stamp, a.lock).cmp(&(
            b.lockspace,
            &b.path,
            b.queue,
            b.stamp,
            b.lock,
        ))
    });
    Ok(all)
}
