//! What goes wrong, and whose fault it is: the place, the bytes in it, another server, or the disk while we run.
//!
//! Messages say where, and what is to be done. Nothing is changed in a directory that is refused.

use super::disk::Disk;
use std::{fmt, io, path::PathBuf, sync::Arc};

/// Bytes that are not what was written, in a place where that cannot be a torn write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// Where in it, if that can be said.
    pub offset: Option<u64>,
    /// The first position that is lost, if there is one.
    pub position: Option<u64>,
    /// What is wrong.
    pub why: &'static str,
    /// How it is known that this was whole once.
    pub proof: Option<String>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is damaged", self.file.display())?;
        if let Some(offset) = self.offset {
            write!(f, " at offset {offset}")?;
        }
        if let Some(position) = self.position {
            write!(f, ", position {position}")?;
        }
        write!(f, ": {}", self.why)?;
        if let Some(proof) = &self.proof {
            write!(f, ", and {proof}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Damage {}

/// Why a journal is not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The place cannot be used, or not written.
    #[error("cannot use {path}: {error}{}", advice(.error))]
    Unusable {
        /// What was tried.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// Somebody else has it.
    #[error("another server uses {path}; give this one a directory of its own")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// There are things in it that are not ours.
    #[error("{path} is not a journal of enqd: it has {names}; choose another directory, or an empty one")]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Some of them.
        names: String,
    },
    /// Nothing of a journal is there.
    #[error("there is no journal in {path}")]
    NoJournal {
        /// The directory.
        path: PathBuf,
    },
    /// It is not what `enq snapshot save` writes.
    #[error("{file} is not a backup of a journal of enqd")]
    NoBackup {
        /// The file.
        file: PathBuf,
    },
    /// A journal is made in an empty directory only.
    #[error(
        "{path} has something in it: {names}; a journal is restored into an empty directory, or one that is not there"
    )]
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// Some of it.
        names: String,
    },
    /// A file of another journal.
    #[error("{file} belongs to another journal; take it out of the directory")]
    Stranger {
        /// The file.
        file: PathBuf,
    },
    /// Another version of enqd wrote it.
    #[error(
        "{file} has format version {version}, which this enqd does not know; start it with the one that wrote it"
    )]
    Version {
        /// The file.
        file: PathBuf,
        /// Its version.
        version: u32,
    },
    /// What was durable is not there any more.
    #[error(
        "{0}; nothing has been changed: restore the directory from a copy, or a backup (enq snapshot restore), or move it away \
         to start with an empty one, which forgets every lock"
    )]
    Damaged(Damage),
    /// The process ended twice while it applied the same records.
    #[error(
        "the server ended abnormally {tries} times while it applied positions {first} to {last}; it will not try again by \
         itself: report it with a copy of the directory, and remove {file} to try once more"
    )]
    Aborted {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
        /// How often.
        tries: u64,
        /// What remembers it.
        file: PathBuf,
    },
    /// There have been as many starts as can be counted.
    #[error("{file} has the last epoch there is")]
    Exhausted {
        /// The head.
        file: PathBuf,
    },
    /// The disk failed while the start wrote.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// What it says stands in the whole sentence, so it is no source that is told again.
impl From<Damage> for OpenError {
    fn from(damage: Damage) -> OpenError {
        OpenError::Damaged(damage)
    }
}

impl OpenError {
    /// Is it the disk that has failed? Otherwise the directory is not one that can be served.
    #[must_use]
    pub fn is_of_the_disk(&self) -> bool {
        match self {
            OpenError::Failed(_) => true,
            OpenError::Unusable { error, .. } => is_of_the_disk(error),
            OpenError::InUse { .. }
            | OpenError::Foreign { .. }
            | OpenError::Stranger { .. }
            | OpenError::Version { .. }
            | OpenError::Damaged(_)
            | OpenError::Aborted { .. }
            | OpenError::Exhausted { .. }
            | OpenError::NoJournal { .. }
            | OpenError::NoBackup { .. }
            | OpenError::NotEmpty { .. } => false,
        }
    }

    pub(super) fn unusable(disk: &dyn Disk, name: &str, error: io::Error) -> OpenError {
        OpenError::Unusable { path: disk.path(name), error }
    }
}

/// The disk has failed. Nothing is durable from here on, nobody is told anything more, and the process has to end.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the journal failed: {act} {path}: {error}; nothing after position {durable} was acknowledged")]
pub struct Failure {
    /// What was tried.
    pub act: &'static str,
    /// With what.
    pub path: PathBuf,
    /// What the system said.
    pub error: Arc<io::Error>,
    /// The last position that is durable.
    pub durable: u64,
}

/// Why a record is not taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// It is longer than a batch.
    #[error("a record of {bytes} bytes is longer than {bytes_max}")]
    TooLong {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        bytes_max: usize,
    },
    /// As much as may wait is waiting to be written.
    #[error("the journal's queue is full")]
    QueueFull,
    /// The journal is being closed.
    #[error("the journal is closed")]
    Closed,
    /// The disk has failed.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Why there is no new snapshot.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It stands for records that are not durable yet.
    #[error("a snapshot of position {position} while {durable} is the last durable one")]
    TooEarly {
        /// Of the snapshot.
        position: u64,
        /// What is durable.
        durable: u64,
    },
    /// Another one is being written.
    #[error("another snapshot is being written")]
    Busy,
    /// The disk is full. The journal goes on.
    #[error("no room for a snapshot: {error}")]
    NoRoom {
        /// What the system said.
        error: Arc<io::Error>,
    },
    /// The disk has failed.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// What is to be done about it, where that can be said.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; enqd has to be allowed to read and write there"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; make room, or choose another directory"
        }
        _ => "",
    }
}

/// Is it the disk that does not do what it should, and not the directory that is no good?
fn is_of_the_disk(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
    )
}

/// Is it only that there is no room?
pub(super) fn is_no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
