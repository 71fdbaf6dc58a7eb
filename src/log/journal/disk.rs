//! What is asked of a file system: one directory of files with flat names, and nothing about how it keeps them.
//!
//! A write may be short; a file may be longer than what was synced of it; a name may come and go until the directory is
//! synced. The tests have a disk that makes use of all that.

use std::{io, path::PathBuf};

/// One directory.
pub trait Disk: Send + Sync {
    /// How a file of it is called in messages; the directory itself by the empty name.
    fn path(&self, name: &str) -> PathBuf;
    /// Takes the directory for this process, until the disk is dropped. Says no if somebody else has it.
    ///
    /// # Errors
    /// It cannot be found out.
    fn lock(&self) -> io::Result<bool>;
    /// The names of all that is in it, in no order.
    ///
    /// # Errors
    /// It cannot be read.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes an empty file that was not there.
    ///
    /// # Errors
    /// There is one of that name, or no room, or no right.
    fn create(&self, name: &str) -> io::Result<Box<dyn File>>;
    /// Opens a file that is there.
    ///
    /// # Errors
    /// It is not there, or may not be opened.
    fn open(&self, name: &str) -> io::Result<Box<dyn File>>;
    /// Gives a file another name, in place of whatever bore it.
    ///
    /// # Errors
    /// It has not happened, or nobody knows.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Takes a name away.
    ///
    /// # Errors
    /// It has not happened, or nobody knows.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Returns when the names that there are now survive a loss of power.
    ///
    /// # Errors
    /// They may not.
    fn sync(&self) -> io::Result<()>;
}

/// One file.
pub trait File: Send + Sync {
    /// How many bytes it has.
    ///
    /// # Errors
    /// It cannot be found out.
    fn length(&self) -> io::Result<u64>;
    /// Reads some bytes from there on; none at the end.
    ///
    /// # Errors
    /// They cannot be read.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes some of these bytes there, at least one.
    ///
    /// # Errors
    /// They are not written, or nobody knows.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Returns when what was written, and the length, survive a loss of power.
    ///
    /// # Errors
    /// Nobody knows what is left. It must not be asked again: the answer would be a lie.
    fn sync(&self) -> io::Result<()>;
}

/// Writes all of it, in as many goes as it takes. An interruption has written nothing.
pub(super) fn write_all(file: &dyn File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads until the bytes are full or the file ends; how many there were.
pub(super) fn read_up_to(file: &dyn File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
