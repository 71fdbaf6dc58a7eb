//! The epoch of a server's boot: greater than that of every boot before it, and on disk before the first grant.
//!
//! A small file keeps it. It is replaced as a whole, synced, and its directory too, so that a crash leaves the old epoch
//! or the new one. A second file beside it is locked while the server lives, so that two servers never share an epoch.
//! A file that cannot be read stops the start: an epoch is never guessed.

use enq_protocol::vocabulary::Seq;
use nix::fcntl::{Flock, FlockArg};
use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Where the epoch may be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Somebody said where: if it cannot be used, the server does not start.
    Given(PathBuf),
    /// Where such things usually are: if it cannot be used, there is no place.
    Usual(PathBuf),
    /// Nowhere.
    Nowhere,
}

/// The epoch of this boot. While it lives, nobody else gets the next one.
#[derive(Debug)]
pub struct Epoch {
    /// The number; 0 if it could not be kept, and then it means nothing to another boot.
    pub number: u32,
    /// The file it is kept in.
    pub kept: Option<PathBuf>,
    _lock: Option<Flock<File>>,
}

/// Why there is no epoch.
#[derive(Debug, thiserror::Error)]
pub enum EpochError {
    /// The place cannot be used.
    #[error("cannot use {path} for the server's state: {error}")]
    Unusable {
        /// What was tried.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// Another server uses it.
    #[error("another server uses {path}; give this one its own --state-dir")]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// Its content is not ours.
    #[error("{path} is not a state file of enqd; its epoch will not be guessed")]
    Unreadable {
        /// The file.
        path: PathBuf,
    },
    /// There are no more.
    #[error("{path} has the last epoch there is")]
    Exhausted {
        /// The file.
        path: PathBuf,
    },
}

/// What the file's only line begins with.
const LINE: &str = "enqd state 1 epoch ";

impl Epoch {
    /// Raises the epoch kept at this place under this name, and syncs it.
    ///
    /// # Errors
    /// [`EpochError`]; a usual place that cannot be used is no error, but no place.
    pub fn raise(place: &Place, name: &str) -> Result<Epoch, EpochError> {
        let nowhere = Epoch { number: 0, kept: None, _lock: None };
        match place {
            Place::Given(directory) => Self::raise_in(directory, name),
            Place::Usual(directory) => match Self::raise_in(directory, name) {
                Err(EpochError::Unusable { .. }) => Ok(nowhere),
                result => result,
            },
            Place::Nowhere => Ok(nowhere),
        }
    }

    fn raise_in(directory: &Path, name: &str) -> Result<Epoch, EpochError> {
        let unusable = |path: &Path| {
            let path = path.to_path_buf();
            move |error| EpochError::Unusable { path, error }
        };
        fs::create_dir_all(directory).map_err(unusable(directory))?;
        let path = directory.join(format!("{name}.lock"));
        let lock = File::create(&path).map_err(unusable(&path))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
            nix::errno::Errno::EWOULDBLOCK => EpochError::InUse { path: path.clone() },
            error => EpochError::Unusable { path: path.clone(), error: error.into() },
        })?;
        let path = directory.join(format!("{name}.state"));
        let last = match fs::read_to_string(&path) {
            Ok(text) => epoch_of(&text).ok_or_else(|| EpochError::Unreadable { path: path.clone() })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(unusable(&path)(error)),
        };
        if last >= Seq::EPOCH_MAX {
            return Err(EpochError::Exhausted { path });
        }
        replace(directory, &path, &format!("{LINE}{}\n", last + 1)).map_err(unusable(&path))?;
        Ok(Epoch { number: last + 1, kept: Some(path), _lock: Some(lock) })
    }
}

/// The epoch in a state file.
fn epoch_of(text: &str) -> Option<u32> {
    text.strip_prefix(LINE)?.strip_suffix('\n')?.parse().ok()
}

/// Replaces a file as a whole, and has it on disk when this returns.
fn replace(directory: &Path, path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_boot_has_a_greater_epoch_and_only_one_server_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::Given(directory.path().join("state"));
        let first = Epoch::raise(&place, "enqd-21065").unwrap();
        assert_eq!(first.number, 1);
        assert!(matches!(Epoch::raise(&place, "enqd-21065"), Err(EpochError::InUse { .. })));
        assert_eq!(Epoch::raise(&place, "enqd-21066").unwrap().number, 1, "each name has its own");
        drop(first);
        assert_eq!(Epoch::raise(&place, "enqd-21065").unwrap().number, 2);
    }

    #[test]
    fn an_epoch_is_never_guessed() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::Given(directory.path().to_path_buf());
        for text in ["", "enqd state 1 epoch 7", "enqd state 1 epoch x\n", "garbage"] {
            fs::write(directory.path().join("enqd.state"), text).unwrap();
            assert!(matches!(Epoch::raise(&place, "enqd"), Err(EpochError::Unreadable { .. })), "{text}");
        }
        fs::write(directory.path().join("enqd.state"), format!("{LINE}8388607\n")).unwrap();
        assert!(matches!(Epoch::raise(&place, "enqd"), Err(EpochError::Exhausted { .. })));
    }

    #[test]
    fn a_usual_place_that_cannot_be_used_is_no_place() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let epoch = Epoch::raise(&Place::Usual(file.clone()), "enqd").unwrap();
        assert_eq!((epoch.number, epoch.kept), (0, None));
        assert!(Epoch::raise(&Place::Given(file), "enqd").is_err());
    }
}
