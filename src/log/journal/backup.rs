//! A backup: what a journal stands for at one position, in one file of its own; and the journal that is made of one.
//!
//! The file has a plate and pieces, as a snapshot has. It is written under another name, synced, read back, and named; so
//! what bears the name is whole, or was damaged later, and that is seen.
//!
//! A journal that is made of one begins with a spare segment of no length. With it, and without a head, a directory is
//! refused: one that was being made when somebody stopped is not taken for one in which nothing was yet.
//!
//! | before this | that is synced |
//! |---|---|
//! | anything else is made | the name of that spare |
//! | the snapshot has its name | its content |
//! | the head is made | the name of the snapshot, which was read back |
//! | the spare is removed | the name of the head |

use super::{
    contents::Access,
    disk::{Disk, File, read_up_to, write_all},
    error::OpenError,
    head::{Head, HeadFile},
    layout::{BadPlate, Kind, Name, PLATE_BYTES, plate, read_plate},
    planted::Planted,
    snapshot::{SnapshotReader, put_pieces},
};
use std::io;

/// What a backup says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backup {
    /// The number of the journal it is of.
    pub id: u64,
    /// It stands for all records up to here.
    pub position: u64,
    /// The epoch of the journal's last start before it.
    pub epoch: u32,
    /// When it was made, in milliseconds since 1970 by the clock of whoever made it, for people.
    pub made_ms: u64,
}

impl Backup {
    fn plate(self) -> [u8; PLATE_BYTES] {
        plate(Kind::Backup, [self.id, self.position, u64::from(self.epoch), self.made_ms, 0, 0])
    }

    fn read(bytes: &[u8]) -> Result<Backup, BadPlate> {
        let [id, position, epoch, made_ms, ..] = read_plate(Kind::Backup, bytes)?;
        let epoch = u32::try_from(epoch).map_err(|_| BadPlate::Damaged)?;
        Ok(Backup { id, position, epoch, made_ms })
    }

    /// Writes a backup under a name, in place of whatever bore it, and another one until it is whole. Says how many bytes
    /// it has.
    ///
    /// # Errors
    /// It cannot be written; then what bore the name is still there.
    pub fn write(
        self,
        disk: &dyn Disk,
        (unfinished, name): (&str, &str),
        content: &[u8],
    ) -> Result<u64, OpenError> {
        let file = disk.create(unfinished).map_err(|error| OpenError::unusable(disk, unfinished, error))?;
        let write = || {
            write_all(&*file, &self.plate(), 0)?;
            let end = put_pieces(&*file, (self.id, self.position), content)?;
            file.sync()?;
            Backup::open(disk, unfinished)
                .and_then(|(_, content)| content.verify())
                .map_err(|error| io::Error::other(format!("it does not read as it was written: {error}")))?;
            disk.rename(unfinished, name)?;
            disk.sync()?;
            Ok(end)
        };
        write().map_err(|error: io::Error| {
            // What is left of it is in nobody's way.
            let _ = disk.remove(unfinished);
            OpenError::unusable(disk, name, error)
        })
    }

    /// Opens a backup; whether it is whole is known when its content has been read to its end.
    ///
    /// # Errors
    /// It cannot be read, is none, or its beginning is damaged.
    pub fn open(disk: &dyn Disk, name: &str) -> Result<(Backup, SnapshotReader), OpenError> {
        let unusable = |error| OpenError::unusable(disk, name, error);
        let file = disk.open(name).map_err(unusable)?;
        let mut bytes = [0; PLATE_BYTES];
        read_up_to(&*file, &mut bytes, 0).map_err(unusable)?;
        let path = disk.path(name);
        match Backup::read(&bytes) {
            Ok(backup) => {
                let content = SnapshotReader::behind_plate(path, file, (backup.id, backup.position));
                Ok((backup, content))
            }
            Err(BadPlate::Version(version)) => Err(OpenError::Version { file: path, version }),
            Err(BadPlate::Damaged) => Err(OpenError::NoBackup { file: path }),
        }
    }
}

/// Makes a journal that begins with this state, in a directory that has nothing in it.
///
/// # Errors
/// Something is in it, somebody else uses it, or it cannot be written. A directory that was not finished is refused by
/// every start.
pub fn make(disk: &dyn Disk, id: u64, of: Backup, content: &[u8]) -> Result<(), OpenError> {
    let unusable = |error| OpenError::unusable(disk, "", error);
    if !disk.lock().map_err(unusable)? {
        return Err(OpenError::InUse { path: disk.path("") });
    }
    let mut names = disk.list().map_err(unusable)?;
    names.sort();
    names.retain(|name| name != "lost+found");
    if !names.is_empty() {
        let names = names[..names.len().min(3)].join(", ");
        return Err(OpenError::NotEmpty { path: disk.path(""), names });
    }
    let mark = Name::Spare(1).text();
    drop(disk.create(&mark).map_err(unusable)?);
    disk.sync().map_err(unusable)?;
    make_snapshot(disk, id, of.position, content)?;
    let (unfinished, name) = (Name::Head.unfinished(), Name::Head.text());
    let make_head = || {
        let head = Head { id, epoch: of.epoch, segment: 0, durable: of.position };
        HeadFile::new(disk.create(&unfinished)?, head, Planted::NONE).write_first()?;
        disk.rename(&unfinished, &name)?;
        disk.sync()?;
        disk.remove(&mark)?;
        disk.sync()
    };
    make_head().map_err(|error| OpenError::unusable(disk, &name, error))
}

fn make_snapshot(disk: &dyn Disk, id: u64, position: u64, content: &[u8]) -> Result<(), OpenError> {
    let (unfinished, name) = (Name::Snapshot(position).unfinished(), Name::Snapshot(position).text());
    let make = || {
        let file: Box<dyn File> = disk.create(&unfinished)?;
        write_all(&*file, &plate(Kind::Snapshot, [id, position, 0, 0, 0, 0]), 0)?;
        put_pieces(&*file, (id, position), content)?;
        file.sync()?;
        disk.rename(&unfinished, &name)?;
        disk.sync()
    };
    make().map_err(|error| OpenError::unusable(disk, &name, error))?;
    let access = Access { disk, planted: Planted::NONE };
    SnapshotReader::open(&access, Some(id), position).and_then(SnapshotReader::verify)
}
