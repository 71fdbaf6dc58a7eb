//! `enq orphans`: what persistent locks are left of sessions that have ended, and an end to them.
//!
//! The orphan key is asked for and never printed.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use enq_protocol::vocabulary::LockFilter;
use serde_json::json;

use super::{
    args::{Format, OrphansVerb, Reach},
    ask,
    exit::Failure,
    ls, render, words,
};

/// Does it.
pub(super) async fn orphans(reach: &Reach, verb: &OrphansVerb) -> Result<(), Failure> {
    match verb {
        OrphansVerb::Ls { prefix, output } => list(reach, prefix.as_deref(), output.format).await,
        OrphansVerb::Purge { name, key, output } => purge(reach, name.as_deref(), key, output.format).await,
    }
}

async fn list(reach: &Reach, prefix: Option<&OsStr>, format: Format) -> Result<(), Failure> {
    let client = ask::client(reach).await?;
    let filter = LockFilter {
        lockspace: Some(ask::space(reach, &client).await?),
        prefix: prefix.map(|prefix| prefix.as_bytes().into()).unwrap_or_default(),
        orphans: true,
        ..LockFilter::default()
    };
    let locks = ls::all(reach, &client, filter).await?;
    let items: Vec<_> = locks.iter().map(|lock| words::lock_item(lock, &[], format)).collect();
    render::list(format, "locks", &words::LOCK_COLUMNS, &items)
}

async fn purge(reach: &Reach, name: Option<&OsStr>, key: &OsStr, format: Format) -> Result<(), Failure> {
    let root = name.map(OsStr::as_bytes);
    let session = ask::session(reach).await?;
    let purged = async {
        let space = session.space(&reach.space).await?;
        space.purge(key.as_bytes(), root).await
    };
    let released = ask::within(reach, purged).await.map_err(|failure| failure.about(&reach.space))?;
    // It has done its work; if it cannot be closed in order it ends with its connection.
    let _ = ask::within(reach, session.close()).await;
    match format {
        Format::Json => render::object("purged", &json!({ "released": released })),
        Format::Name => render::print(&format!("{released}\n")),
        Format::Table | Format::Wide => {
            let orphans = if released == 1 { "orphan" } else { "orphans" };
            render::print(&format!("{released} {orphans} released\n"))
        }
    }
}
