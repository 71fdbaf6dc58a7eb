//! The epoch of a server's boot: greater than that of every boot before it, and on disk before the first grant.
//!
//! A small file keeps it, and with it the longest lease under which anybody may still believe in a lock (`survivors`). It
//! is replaced as a whole, synced, and its directory too, so that a crash leaves the old line or the new one. A second
//! file beside it is locked while the server lives, so that two servers never share an epoch. A file that cannot be read
//! stops the start: an epoch is never guessed.

use super::survivors::Survivors;
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
    /// What the boot before left: the longest lease under which somebody may still believe in a lock of it, in
    /// milliseconds, 0 if nobody can. None if nothing is known.
    pub before_ms: Option<u32>,
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

/// What the file's only line begins with, and what stands between its two numbers.
const LINE: (&str, &str) = ("enqd state 2 epoch ", " lease_ms ");

/// The same of a file that says nothing of leases.
const LINE_OF_OLD: &str = "enqd state 1 epoch ";

impl Epoch {
    /// Raises the epoch kept at this place under this name, and syncs it.
    ///
    /// # Errors
    /// [`EpochError`]; a usual place that cannot be used is no error, but no place.
    pub fn raise(place: &Place, name: &str) -> Result<Epoch, EpochError> {
        let nowhere = Epoch { number: 0, kept: None, before_ms: None, _lock: None };
        match place {
            Place::Given(directory) => Self::raise_in(directory, name),
            Place::Usual(directory) => match Self::raise_in(directory, name) {
                Err(EpochError::Unusable { .. }) => Ok(nowhere),
                result => result,
            },
            Place::Nowhere => Ok(nowhere),
        }
    }

    /// The epoch of a boot whose journal keeps it, in this file.
    #[must_use]
    pub fn of_journal(number: u32, file: PathBuf) -> Epoch {
        Epoch { number, kept: Some(file), before_ms: Some(0), _lock: None }
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
        let (last, before_ms) = match fs::read_to_string(&path) {
            Ok(text) => read(&text).ok_or_else(|| EpochError::Unreadable { path: path.clone() })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => (0, Some(0)),
            Err(error) => return Err(unusable(&path)(error)),
        };
        if last >= Seq::EPOCH_MAX {
            return Err(EpochError::Exhausted { path });
        }
        let line = line(last + 1, before_ms.unwrap_or(u32::MAX));
        replace(&path, &line).map_err(unusable(&path))?;
        Ok(Epoch { number: last + 1, kept: Some(path), before_ms, _lock: Some(lock) })
    }

    /// Where it is kept which leases may outlive this server. `before_ms` is what those of before need, as long as they
    /// may be believed in; 0 if there are none.
    #[must_use]
    pub fn survivors(&self, before_ms: u32) -> Survivors {
        Survivors::new(self.kept.clone().map(|path| (path, self.number)), before_ms)
    }
}

/// The line of a state file: the epoch, and the longest lease that may outlive its server.
pub(super) fn line(epoch: u32, lease_ms: u32) -> String {
    let (begin, between) = LINE;
    format!("{begin}{epoch}{between}{lease_ms}\n")
}

/// The epoch in a state file, and the lease, if it says one.
fn read(text: &str) -> Option<(u32, Option<u32>)> {
    let text = text.strip_suffix('\n')?;
    if let Some(epoch) = text.strip_prefix(LINE_OF_OLD) {
        return Some((epoch.parse().ok()?, None));
    }
    let (epoch, lease_ms) = text.strip_prefix(LINE.0)?.split_once(LINE.1)?;
    // A lease that is not known is written as the longest there can be.
    let lease_ms = lease_ms.parse().ok().map(|ms| Some(ms).filter(|ms| *ms != u32::MAX))?;
    Some((epoch.parse().ok()?, lease_ms))
}

/// Replaces a file as a whole, and has it on disk when this returns.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
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
        for text in [
            "",
            "enqd state 2 epoch 7 lease_ms 0",
            "enqd state 2 epoch 7\n",
            "enqd state 2 epoch 7 lease_ms -1\n",
            "enqd state 1 epoch x\n",
            "garbage",
        ] {
            fs::write(directory.path().join("enqd.state"), text).unwrap();
            assert!(matches!(Epoch::raise(&place, "enqd"), Err(EpochError::Unreadable { .. })), "{text}");
        }
        fs::write(directory.path().join("enqd.state"), line(8_388_607, 0)).unwrap();
        assert!(matches!(Epoch::raise(&place, "enqd"), Err(EpochError::Exhausted { .. })));
    }

    #[test]
    fn what_may_outlive_a_boot_is_known_to_the_next_one() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::Given(directory.path().to_path_buf());
        let before = || Epoch::raise(&place, "enqd").unwrap().before_ms;
        assert_eq!(before(), Some(0), "without a file there was nobody");
        assert_eq!(before(), Some(0), "nor if nobody locked anything");
        fs::write(directory.path().join("enqd.state"), line(5, 16_384)).unwrap();
        assert_eq!(before(), Some(16_384));
        assert_eq!(before(), Some(16_384), "a server that dies before the wait is over hands it on");
        fs::write(directory.path().join("enqd.state"), "enqd state 1 epoch 7\n").unwrap();
        assert_eq!(before(), None, "that file says nothing of leases");
        assert_eq!(before(), None, "and that is not forgotten");
        assert_eq!(Epoch::raise(&place, "enqd").unwrap().number, 10);
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
