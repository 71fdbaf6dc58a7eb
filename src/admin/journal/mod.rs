//! `enq snapshot` and `enq journal`: what can be done with a server's journal without a server.
//!
//! The one room of the command that knows the log, for files are not asked over the wire (`docs/decisions/0013`). What they
//! mean is said there; here it is printed. A journal that is looked at may be in use: what seems wrong with it is looked at
//! again before it is told.

mod dump;
mod files;
mod snapshot;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    args::{JournalVerb, SnapshotVerb},
    exit::{self, Failure},
};
use crate::log::{
    RecoverError,
    journal::{Damage, Directory, OpenError},
};

/// As often a journal is looked at that seems to be damaged, or to lack files: a server may be recycling them.
const LOOKS: u32 = 5;

/// How long to wait before the next look.
const PAUSE: Duration = Duration::from_millis(100);

/// Does it.
pub(super) async fn snapshot(verb: &SnapshotVerb) -> Result<(), Failure> {
    match verb {
        SnapshotVerb::Save { dir, file, output } => snapshot::save(dir, file, output.format).await,
        SnapshotVerb::Verify { path, output } => snapshot::verify(path, output.format).await,
        SnapshotVerb::Restore { file, dir, after, output } => {
            snapshot::restore(file, dir, after.as_deref(), output.format)
        }
    }
}

/// Does it.
pub(super) async fn journal(verb: &JournalVerb) -> Result<(), Failure> {
    match verb {
        JournalVerb::Ls { dir, output } => files::ls(dir, output.format).await,
        JournalVerb::Dump { dir, from, to, verbose, output } => {
            dump::dump(dir, (*from, to.unwrap_or(u64::MAX)), *verbose, output.format)
        }
    }
}

/// The directory of a journal, to look at.
fn directory(path: &Path) -> Result<Arc<Directory>, Failure> {
    let opened = Directory::open_to_read(path);
    opened.map(Arc::new).map_err(|error| unusable(path, &error))
}

/// The directory that a file is in, and its name.
fn place(file: &Path) -> Result<(PathBuf, &str), Failure> {
    let name = file.file_name().and_then(|name| name.to_str());
    let Some(name) = name else {
        return Err(Failure::usage(format!("{} is no name of a file", file.display()), ""));
    };
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok((parent.unwrap_or(Path::new(".")).to_path_buf(), name))
}

/// Looks until it is fine, or twice the same is wrong.
async fn look_again<T, E: std::fmt::Display>(mut look: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let mut before = None;
    for _ in 1..LOOKS {
        let Err(error) = look() else { break };
        let text = error.to_string();
        if before.as_ref() == Some(&text) {
            return Err(error);
        }
        before = Some(text);
        tokio::time::sleep(PAUSE).await;
    }
    look()
}

/// What the system said about a file.
fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new("UNUSABLE", format!("cannot use {}: {error}", path.display()), "", exit::DISK)
}

/// Why a journal or a backup does not become a state.
fn refused(error: RecoverError) -> Failure {
    match error {
        RecoverError::Open(error) => not_opened(error),
        RecoverError::Note(error) => Failure::new("UNUSABLE", error.to_string(), "", exit::DISK),
        RecoverError::Failed(failure) => Failure::new("UNUSABLE", failure.to_string(), "", exit::DISK),
        error @ (RecoverError::Record { .. } | RecoverError::Image { .. }) => {
            Failure::new("UNKNOWN", error.to_string(), "", exit::DAMAGED)
        }
        error @ (RecoverError::Unsound { .. } | RecoverError::Nothing { .. }) => {
            Failure::new("DAMAGED", error.to_string(), "", exit::DAMAGED)
        }
        error @ RecoverError::EpochsUsedUp { .. } => {
            Failure::new("EXHAUSTED", error.to_string(), "", exit::SOFTWARE)
        }
    }
}

/// Why files are not read, or not made.
fn not_opened(error: OpenError) -> Failure {
    match error {
        OpenError::Damaged(damage) => damaged(&damage),
        error @ (OpenError::Unusable { .. } | OpenError::Failed(_)) => {
            Failure::new("UNUSABLE", error.to_string(), "", exit::DISK)
        }
        error @ OpenError::NoJournal { .. } => {
            Failure::new("NONE", error.to_string(), "name what the server's --data-dir names", exit::DAMAGED)
        }
        error @ OpenError::NoBackup { .. } => Failure::new(
            "NONE",
            format!("{error}, or its first 64 bytes are damaged"),
            "enq snapshot save writes one",
            exit::DAMAGED,
        ),
        error @ OpenError::NotEmpty { .. } => Failure::new(
            "NOTEMPTY",
            error.to_string(),
            "name another directory; what a restore left that was interrupted can be removed",
            exit::SOFTWARE,
        ),
        error @ OpenError::InUse { .. } => Failure::new("INUSE", error.to_string(), "", exit::SOFTWARE),
        error @ (OpenError::Foreign { .. }
        | OpenError::Stranger { .. }
        | OpenError::Version { .. }
        | OpenError::Aborted { .. }
        | OpenError::Exhausted { .. }) => Failure::new("UNKNOWN", error.to_string(), "", exit::DAMAGED),
    }
}

fn damaged(damage: &Damage) -> Failure {
    let hint =
        "a journal is made of a backup with enq snapshot restore; enq journal ls shows which files are whole";
    Failure::new("DAMAGED", damage.to_string(), hint, exit::DAMAGED)
}
