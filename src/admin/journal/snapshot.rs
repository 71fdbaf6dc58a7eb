//! `enq snapshot`: backups of a journal, written, read, and made a journal again.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{damaged, directory, files, look_again, not_opened, place, refused, unusable};
use crate::{
    admin::{
        args::Format,
        date::utc,
        duration::show_ms,
        exit::{self, Failure},
        render::{self, Column, Item},
    },
    client::wall_ms,
    log::{
        EPOCHS_A_RESTORE, Figures, Replayed,
        journal::{Backup, Directory, OpenError, Tail},
        last_epoch,
    },
};

const COLUMNS: [Column; 10] = [
    Column("POSITION", false),
    Column("EPOCH", false),
    Column("SERVED", false),
    Column("SESSIONS", false),
    Column("LOCKS", false),
    Column("QUEUED", false),
    Column("RESOURCES", true),
    Column("LOCKSPACES", false),
    Column("BYTES", false),
    Column("MADE", false),
];

/// Writes a backup.
pub(super) async fn save(dir: &Path, file: &Path, format: Format) -> Result<(), Failure> {
    let (folder, name) = place(file)?;
    let from = directory(dir)?;
    check_target(dir, file, &folder)?;
    let state = look_again(|| Replayed::of_journal(from.clone())).await.map_err(refused)?;
    let to = Directory::open(&folder).map_err(|error| unusable(&folder, &error))?;
    let unfinished = format!(".{name}.{}.new", std::process::id());
    let made_ms = wall_ms();
    let bytes = state.save(&to, (&unfinished, name), made_ms).map_err(refused)?;
    let figures = Figures { made_ms: Some(made_ms), ..state.figures() };
    print(format, &figures, &[("file", json!(file.display().to_string())), ("file_bytes", json!(bytes))])
}

/// A backup in the directory of a journal would keep the server from starting, and one in place of something else would
/// lose that.
fn check_target(dir: &Path, file: &Path, folder: &Path) -> Result<(), Failure> {
    let is_same = match (fs::canonicalize(dir), fs::canonicalize(folder)) {
        (Ok(dir), Ok(folder)) => dir == folder,
        _ => false,
    };
    if is_same {
        let cause =
            format!("{} is in the directory of the journal, which has no room for others", file.display());
        return Err(Failure::usage(cause, "keep backups elsewhere, on another disk"));
    }
    let (disk, name) = (Directory::open_to_read(folder), file.file_name().unwrap_or_default());
    let (Ok(disk), true) = (disk, file.exists()) else { return Ok(()) };
    match Backup::open(&disk, &name.to_string_lossy()) {
        Err(OpenError::NoBackup { .. }) => Err(Failure::new(
            "EXISTS",
            format!("{} is there and is not a backup", file.display()),
            "name another file, or remove it",
            exit::SOFTWARE,
        )),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Reads all of it.
pub(super) async fn verify(path: &Path, format: Format) -> Result<(), Failure> {
    if path.is_dir() { verify_journal(path, format).await } else { verify_backup(path, format) }
}

fn verify_backup(file: &Path, format: Format) -> Result<(), Failure> {
    let (folder, name) = place(file)?;
    let disk = directory(&folder)?;
    let state = Replayed::of_backup(&*disk, name).map_err(refused)?;
    print(format, &state.figures(), &[])
}

async fn verify_journal(dir: &Path, format: Format) -> Result<(), Failure> {
    let disk = directory(dir)?;
    let state = look_again(|| Replayed::of_journal(disk.clone())).await.map_err(refused)?;
    let report = state.report().cloned();
    let mut more = Vec::new();
    if let Some(report) = &report {
        more.push(("snapshot", json!(report.snapshot)));
        more.push(("records", json!(report.records)));
        if let Tail::Torn { file, offset, position, why } = &report.tail {
            more.push((
                "torn",
                json!({ "file": file.display().to_string(), "offset": offset, "position": position, "why": why }),
            ));
        }
    }
    print(format, &state.figures(), &more)?;
    // What a start does not need is read, too: it may be needed when something else is lost.
    let survey = files::survey(dir).await?;
    let wrong: Vec<String> = files::wrong(&survey).collect();
    let Some(first) = wrong.first() else { return Ok(()) };
    let mut failure = Failure::new(
        "DAMAGED",
        format!("{first}; a start gets by without it, and nothing is lost"),
        "save a backup now (enq snapshot save), and look after the disk",
        exit::DAMAGED,
    );
    failure.details = wrong.iter().skip(1).map(|line| format!("enq: DAMAGED: {line}\n")).collect();
    Err(failure)
}

/// Makes a journal of a backup.
pub(super) fn restore(file: &Path, dir: &Path, after: Option<&Path>, format: Format) -> Result<(), Failure> {
    let (folder, name) = place(file)?;
    let state = Replayed::of_backup(&*directory(&folder)?, name).map_err(refused)?;
    let after = after.map(old_epoch).transpose()?;
    let disk = Directory::open(dir).map_err(|error| unusable(dir, &error))?;
    let mut id = [0; 8];
    getrandom::fill(&mut id).map_err(|error| Failure::system(error.to_string()))?;
    let epoch = state.restore(&disk, u64::from_le_bytes(id), after).map_err(refused)?;
    let figures = Figures { epoch, ..state.figures() };
    print(format, &figures, &[("dir", json!(dir.display().to_string()))])?;
    if format == Format::Table || format == Format::Wide {
        render::print(&format!(
            "\nA server that is started on {} begins with epoch {}, {} above the last that is known. Start it when the leases \
             of the old one have ended: its ttl_max after it stopped.\n",
            dir.display(),
            epoch + 1,
            EPOCHS_A_RESTORE + 1,
        ))?;
    }
    Ok(())
}

fn old_epoch(dir: &Path) -> Result<u32, Failure> {
    last_epoch(&*directory(dir)?).map_err(|error| {
        let failure = match error {
            OpenError::Damaged(damage) => damaged(&damage),
            error => not_opened(error),
        };
        let hint = "its last epoch is not known: restore without --after, which counts from the backup's";
        Failure { hint: hint.into(), ..failure }
    })
}

fn print(format: Format, figures: &Figures, more: &[(&str, Value)]) -> Result<(), Failure> {
    let Figures {
        position,
        epoch,
        served_ms,
        made_ms,
        sessions,
        locks,
        queued,
        resources,
        lockspaces,
        bytes,
    } = *figures;
    let mut value = json!({
        "position": position, "epoch": epoch, "served_ms": served_ms, "made_ms": made_ms, "sessions": sessions,
        "locks": locks, "queued": queued, "resources": resources, "lockspaces": lockspaces, "bytes": bytes,
    });
    if let Some(object) = value.as_object_mut() {
        object.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    }
    if format == Format::Json {
        return render::object("state", &value);
    }
    let cells = [position, u64::from(epoch)].map(|number| number.to_string()).into_iter();
    let cells = cells.chain([show_ms(served_ms)]);
    let cells =
        cells.chain([sessions, locks, queued, resources, lockspaces, bytes as u64].map(|n| n.to_string()));
    let cells = cells.chain([made_ms.map_or_else(|| String::from("-"), utc)]);
    let item = Item { name: position.to_string(), json: value, cells: cells.collect() };
    render::list(format, "states", &COLUMNS, &[item])
}
