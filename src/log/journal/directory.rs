//! The real disk: a directory of the operating system.
//!
//! The directory itself is locked, so that a second server is refused and a dead one leaves nothing behind. A file is kept
//! open from its first write to its last sync: an error that the system has to tell is told to whoever holds it open.

use super::disk::{Disk, File};
use nix::fcntl::{Flock, FlockArg};
use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// A directory of the operating system.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    may_write: bool,
    lock: OnceLock<Flock<fs::File>>,
}

impl Directory {
    /// This directory; it is made if only its last name is missing.
    ///
    /// # Errors
    /// It is not there and cannot be made, or is no directory.
    pub fn open(path: &Path) -> io::Result<Directory> {
        match fs::create_dir(path) {
            Ok(()) => {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        fs::read_dir(path)?;
        Ok(Directory { path: path.to_path_buf(), may_write: true, lock: OnceLock::new() })
    }

    /// This directory, to look at: nothing in it can be changed, and nobody is kept from it.
    ///
    /// # Errors
    /// It is not there, or is no directory.
    pub fn open_to_read(path: &Path) -> io::Result<Directory> {
        fs::read_dir(path)?;
        Ok(Directory { path: path.to_path_buf(), may_write: false, lock: OnceLock::new() })
    }
}

impl Directory {
    fn check_write(&self) -> io::Result<()> {
        if self.may_write { Ok(()) } else { Err(io::ErrorKind::ReadOnlyFilesystem.into()) }
    }
}

impl Disk for Directory {
    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn lock(&self) -> io::Result<bool> {
        match Flock::lock(fs::File::open(&self.path)?, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(self.lock.set(lock).is_ok()),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(false),
            Err((_, error)) => Err(error.into()),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?;
        names.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.check_write()?;
        // Whoever reads the secret of a session may take it over.
        let mut options = fs::File::options();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(self.path(name))?;
        Ok(Box::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let file = fs::File::options().read(true).write(self.may_write).open(self.path(name))?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.check_write()?;
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.check_write()?;
        fs::remove_file(self.path(name))
    }

    fn sync(&self) -> io::Result<()> {
        fs::File::open(&self.path)?.sync_all()
    }
}

impl File for fs::File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::write_at(self, bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
