//! Directories that are not served: the message says which file and what to do, the exit code is 78, and nothing in the
//! directory is changed.

use crate::stage::{Ended, Place, until};
use enq::{
    client::Session,
    log::journal::{Contents, Directory, Walked},
};
use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::process::Command;

/// It cannot start as it is told.
const CONFIG: Option<i32> = Some(78);

/// A directory with a journal that was stopped in the middle of something.
async fn place_with_a_journal() -> Place {
    let place = Place::new();
    let server = place.start().await;
    let session = Session::builder("one").connect(&[&place.address]).await.unwrap();
    for number in 0..20 {
        session.lock(format!("lock {number}")).await.unwrap().release().await.unwrap();
    }
    // A snapshot, and records behind it.
    server.stop().await;
    let server = place.start().await;
    for number in 0..20 {
        session.lock(format!("lock {number}")).await.unwrap().release().await.unwrap();
    }
    server.kill().await;
    place
}

/// Everything in a directory.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// What the server says when it does not start on this, having changed nothing.
async fn refusal(place: &Place) -> String {
    let before = contents(place.data());
    let ended = not_served(place, place.enqd()).await;
    assert_eq!(ended.code, CONFIG, "{}", ended.said);
    assert!(before == contents(place.data()), "something was changed: {}", ended.said);
    ended.said
}

async fn not_served(place: &Place, command: Command) -> Ended {
    place.begin(command).try_serve().await.err().expect("this is not served")
}

/// The only file of this sort, or the first.
fn file(place: &Place, extension: &str) -> PathBuf {
    let all = contents(place.data()).into_keys();
    let mut found = all.filter(|path| path.extension().is_some_and(|of| of == extension));
    found.next().expect("there is one")
}

fn change(path: &Path, offset: u64, change: impl FnOnce(&mut [u8; 64])) {
    let mut file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut bytes = [0; 64];
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.read_exact(&mut bytes).unwrap();
    change(&mut bytes);
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(&bytes).unwrap();
}

/// A plate of the next version, with the right checksum.
fn next_version(plate: &mut [u8; 64]) {
    plate[8] += 1;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&plate[..12]), &plate[16..]);
    plate[12..16].copy_from_slice(&checksum.to_le_bytes());
}

#[tokio::test]
async fn files_of_somebody_else_are_left_alone() {
    let place = Place::new();
    fs::create_dir(place.data()).unwrap();
    fs::write(place.data().join("notes.txt"), "mine").unwrap();
    let said = refusal(&place).await;
    assert!(said.contains("is not a journal of enqd: it has notes.txt; choose another directory"), "{said}");
    // A journal with something beside it is no better.
    let place = place_with_a_journal().await;
    fs::write(place.data().join("notes.txt"), "mine").unwrap();
    let said = refusal(&place).await;
    assert!(said.contains("it has notes.txt"), "{said}");
    // A file is no directory.
    let place = Place::new();
    fs::write(place.data(), "a file").unwrap();
    let ended = not_served(&place, place.enqd()).await;
    assert_eq!(ended.code, CONFIG);
    assert!(ended.said.contains("cannot use ") && ended.said.contains("Not a directory"), "{}", ended.said);
    assert_eq!(fs::read(place.data()).unwrap(), b"a file");
    // Nor is one made whose parent is not there.
    let place = Place::new();
    let deeper = place.data().join("deeper");
    let ended = not_served(&place, place.enqd_by(&[], &place.address, &deeper)).await;
    assert_eq!(ended.code, CONFIG);
    assert!(ended.said.contains(&format!("cannot use {}: No such file", deeper.display())), "{}", ended.said);
}

#[tokio::test]
async fn a_directory_has_one_server() {
    let place = Place::new();
    let server = place.start().await;
    let session = Session::builder("one").connect(&[&place.address]).await.unwrap();
    let held = session.lock("held").await.unwrap();
    // It has made its reserve, and changes no name from here on.
    let spares = || {
        fs::read_dir(place.data())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|of| of == "spare"))
    };
    until("the reserve is there", async || spares().count() == 2).await;
    let before = contents(place.data());
    let second = not_served(&place, place.enqd_by(&[], "127.0.0.1:0", place.data())).await;
    assert_eq!(second.code, CONFIG);
    assert!(
        second.said.contains("another server uses ")
            && second.said.contains("give this one a directory of its own"),
        "{}",
        second.said
    );
    // The first one may note in its head that all is durable; nothing else has changed.
    let after = contents(place.data());
    let differ = |(path, bytes): &(&PathBuf, &Vec<u8>)| after.get(*path) != Some(*bytes);
    let changed: Vec<_> = before.iter().filter(differ).map(|(path, _)| path).collect();
    assert!(changed.iter().all(|path| path.ends_with("head")) && before.len() == after.len(), "{changed:?}");
    session.lock("another").await.unwrap().release().await.unwrap();
    assert!(held.held());
    server.stop().await;
    place.start().await.stop().await;
}

#[tokio::test]
async fn what_another_version_wrote_is_named_and_left_as_it_is() {
    let place = place_with_a_journal().await;
    let head = place.data().join("head");
    for (path, offsets) in [
        (head.clone(), vec![0, 4096]),
        (head, vec![4096]),
        (file(&place, "segment"), vec![0]),
        (file(&place, "snapshot"), vec![0]),
    ] {
        let whole = fs::read(&path).unwrap();
        offsets.iter().for_each(|offset| change(&path, *offset, next_version));
        let said = refusal(&place).await;
        let expected = format!(
            "{} has format version 2, which this enqd does not know; start it with the one that wrote it",
            path.display()
        );
        assert_eq!(said.matches(&expected).count(), 1, "{said}");
        fs::write(&path, whole).unwrap();
    }
    place.start().await.stop().await;
}

#[tokio::test]
async fn damage_is_named_with_its_place_and_left_as_it_is() {
    let place = place_with_a_journal().await;
    let (head, segment) = (place.data().join("head"), file(&place, "segment"));
    let flip = |bytes: &mut [u8; 64]| bytes[20] ^= 1;
    let behind = first_behind_the_snapshot(&place);
    for (path, offsets, expected) in [
        (&head, vec![0, 4096], "head is damaged: neither of its two slots is intact"),
        (&segment, vec![0], "segment is damaged at offset 0: its first sector is not intact"),
        (&segment, vec![behind], &*format!("segment is damaged at offset {behind}, position ")),
    ] {
        let whole = fs::read(path).unwrap();
        offsets.iter().for_each(|offset| change(path, *offset, flip));
        let said = refusal(&place).await;
        assert_eq!(said.matches(expected).count(), 1, "{said}");
        assert!(said.contains("nothing has been changed: restore the directory from a copy"), "{said}");
        fs::write(path, whole).unwrap();
    }
    for gone in [&head, &segment] {
        let whole = fs::read(gone).unwrap();
        fs::remove_file(gone).unwrap();
        let said = refusal(&place).await;
        assert!(said.contains(&format!("{} is damaged: it is missing", gone.display())), "{said}");
        fs::write(gone, whole).unwrap();
    }
    place.start().await.stop().await;
}

/// Where the first batch is that a start needs beside the snapshot.
fn first_behind_the_snapshot(place: &Place) -> u64 {
    let disk = Directory::open_to_read(place.data()).unwrap();
    let contents = Contents::look(&disk).unwrap();
    let known = contents.snapshots().next_back().unwrap();
    let (number, _) = contents.segments().last().unwrap();
    let mut walk = contents.walk(number).unwrap().unwrap();
    loop {
        match walk.step() {
            Walked::Batch(offset, _, batch) if batch.first() > known => return offset,
            Walked::Batch(..) => {}
            Walked::End(..) | Walked::Gap(..) => panic!("there are records behind the snapshot"),
        }
    }
}

/// What runs a shell line as whoever may mount; nothing if that cannot be had.
fn with_mounts(line: &str) -> Option<Vec<&str>> {
    for flags in [&["--mount"][..], &["--mount", "--map-root-user"]] {
        let mut probe = std::process::Command::new("unshare");
        probe.args(flags).args(["--", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]);
        probe.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if probe.status().is_ok_and(|status| status.success()) {
            return Some([&["unshare"], flags, &["--", "sh", "-c", line]].concat());
        }
    }
    None
}

#[tokio::test]
async fn a_directory_that_may_not_be_written_is_refused() {
    // For who is not root, the rights of the directory are enough; root has none that are missing.
    let place = place_with_a_journal().await;
    let before = contents(place.data());
    let line = "mount --bind \"$0\" \"$0\" && mount -o remount,ro,bind \"$0\" && exec \"$@\"";
    match with_mounts(line) {
        Some(mut by) => {
            by.push(place.data().to_str().unwrap());
            let ended = not_served(&place, place.enqd_by(&by, &place.address, place.data())).await;
            assert_eq!(ended.code, CONFIG, "{}", ended.said);
            let said = ended.said;
            assert!(said.contains("cannot use ") && said.contains("Read-only file system"), "{said}");
            assert!(said.contains("enqd has to be allowed to read and write there"), "{said}");
        }
        None => println!("NOT RUN: a file system that is read-only: nothing can be mounted here"),
    }
    if nix::unistd::geteuid().is_root() {
        println!("NOT RUN: a directory without the right to write: root has every right");
    } else {
        fs::set_permissions(place.data(), fs::Permissions::from_mode(0o500)).unwrap();
        let said = refusal(&place).await;
        assert!(said.contains("enqd has to be allowed to read and write there"), "{said}");
        fs::set_permissions(place.data(), fs::Permissions::from_mode(0o700)).unwrap();
    }
    assert!(before == contents(place.data()));
    place.start().await.stop().await;
}
