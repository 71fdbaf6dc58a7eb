//! A disk without room: what takes more of it is refused early, what gives some back still goes through.
//!
//! The disk is a small one in memory, in a name space of its own that goes with the test; where none can be had, NOT RUN is said.

use crate::stage::{PATIENCE, Place, Starting, until};
use enq::client::{
    ConnectError, Lock,
    LockMode::{Ex, Nl, Pr},
    LockState, NotGranted, Session, Status, Wait, now,
};
use std::{
    fs::{self, File},
    future::IntoFuture as _,
    io::Write as _,
    path::PathBuf,
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    task::JoinSet,
};

/// A disk of some size, mounted where only those see it who are let in.
struct Disk {
    keeper: Child,
    /// What lets a command in.
    way_in: Vec<String>,
    /// Where it is mounted.
    at: PathBuf,
}

impl Disk {
    /// One for this place; says why there is none.
    async fn mounted(place: &Place, size: &str) -> Result<Disk, String> {
        let at = place.beside("disk");
        fs::create_dir(&at).unwrap();
        let mount = "mount -t tmpfs -o size=$1 tmpfs \"$0\" && echo mounted && exec cat";
        let mut why = String::new();
        for (flags, entry) in [
            (&["--mount"][..], &["--mount"][..]),
            (&["--mount", "--map-root-user"], &["--mount", "--user", "--preserve-credentials"]),
        ] {
            let mut keeper = Command::new("unshare");
            keeper.args(flags).args(["--", "sh", "-c", mount]).arg(&at).arg(size).kill_on_drop(true);
            keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            let mut keeper = keeper.spawn().map_err(|error| format!("unshare: {error}"))?;
            let mut said = String::new();
            BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut said).await.unwrap();
            if said == "mounted\n" {
                let target = format!("--target={}", keeper.id().unwrap());
                let words = [&["nsenter", &target], entry, &["--"]].concat();
                let way_in = words.into_iter().map(String::from).collect();
                return Ok(Disk { keeper, way_in, at });
            }
            why = format!("unshare {flags:?}: nothing can be mounted");
        }
        Err(why)
    }

    /// Where a file of it is for those outside.
    fn outside(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.id().unwrap()));
        root.join(self.at.strip_prefix("/").unwrap()).join(name)
    }

    /// Starts a server on it.
    fn begin(&self, place: &Place) -> Starting {
        let way_in: Vec<&str> = self.way_in.iter().map(String::as_str).collect();
        place.begin(place.enqd_by(&way_in, &place.address, &self.at.join("data")))
    }

    /// Writes until there is no room left.
    fn fill(&self) {
        let mut file = File::create(self.outside("ballast")).unwrap();
        for length in [1 << 20, 1 << 12] {
            while file.write_all(&vec![1; length]).is_ok() {}
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.outside("ballast")).unwrap();
    }

    async fn grow(&self, size: &str) {
        let mut mount = Command::new(&self.way_in[0]);
        mount.args(&self.way_in[1..]).args(["mount", "-o", &format!("remount,size={size}")]).arg(&self.at);
        assert!(mount.status().await.unwrap().success());
    }
}

async fn session(place: &Place, name: &str, ttl: Duration) -> Session {
    let builder = Session::builder(name).ttl(ttl);
    let builder = builder.backoff(Duration::from_millis(1), Duration::from_millis(20));
    builder.connect(&[&place.address]).await.unwrap()
}

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_secs(3);

fn is_refused<T>(asked: &Result<T, NotGranted>) -> bool {
    matches!(asked, Err(NotGranted::Exhausted(Status::ResourceExhausted)))
}

/// Asks for locks until one is refused for lack of room; how many were granted and released before.
async fn lock_until_refused(session: &Session) -> u64 {
    let (mut granted, began) = (0, now());
    loop {
        let mut some = JoinSet::new();
        for number in 0..64 {
            let session = session.clone();
            some.spawn(async move {
                let name = format!("{number:0200}");
                session.lock(name).mode(Pr).reason([b'r'; 250]).await.map(drop)
            });
        }
        for asked in some.join_all().await {
            if is_refused(&asked) {
                return granted;
            }
            asked.unwrap();
            granted += 1;
        }
        assert!(now().since(began) < PATIENCE, "nothing is refused");
    }
}

/// What must go through on a full disk, and what must not.
async fn check_full(place: &Place, holder: &Session, mut held: Vec<Lock>) -> Vec<Lock> {
    for number in 0..10 {
        let asked = holder.lock(format!("new {number}")).await;
        assert!(is_refused(&asked), "{asked:?}");
    }
    let path = holder.lock_path(["a", "new", "path"]).await;
    assert!(is_refused(&path), "{path:?}");
    let opened = Session::builder("new").connect(&[&place.address]).await.err().unwrap();
    assert!(matches!(opened, ConnectError::Refused { .. }), "{opened}");
    for lock in held.split_off(held.len() / 2) {
        lock.release().await.unwrap();
    }
    let lock = held.pop().unwrap();
    let lock = lock.convert(Nl).store("stored when full").await.unwrap();
    held.push(lock.convert(Ex).wait(Wait::No).await.unwrap());
    held
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_what_gives_room_back_goes_through() {
    let place = Place::told(&["--snapshot-every", "256KiB"]);
    let disk = match Disk::mounted(&place, "24m").await {
        Ok(disk) => disk,
        Err(why) => return println!("NOT RUN: a full disk: {why}"),
    };
    let server = disk.begin(&place).serves().await;
    let (holder, leaver) = (session(&place, "holder", SHORT).await, session(&place, "leaver", LONG).await);
    let mut held = Vec::new();
    for number in 0..64 {
        held.push(holder.lock(format!("held {number}")).await.unwrap());
    }
    let left = leaver.lock("left").await.unwrap();
    let waits = tokio::spawn(holder.lock("left").into_future());
    let (seconds, busy) = (session(&place, "second", LONG).await, session(&place, "busy", LONG).await);
    lock_a_little(&busy).await;
    disk.fill();
    let granted = lock_until_refused(&busy).await;
    println!("{granted} locks more on a full disk");
    let full = now();
    assert!(server.said().contains("the disk is full: new locks are refused"), "{}", server.said());
    held = check_full(&place, &holder, held).await;
    leaver.close().await.unwrap();
    assert!(!left.held() && waits.await.unwrap().is_ok_and(|lock| lock.has_waited()), "who waited is served");

    // Leases are renewed, of whoever does nothing, too.
    until("a lease would be over", async || now().since(full) > SHORT * 3 / 2).await;
    seconds.ping().await.unwrap();
    assert!(holder.state() != LockState::Lost && held.iter().all(Lock::held));

    // A start needs no more room than there is.
    server.kill().await;
    let server = disk.begin(&place).serves().await;
    holder.ping().await.unwrap();
    until("new locks are refused again", async || is_refused(&seconds.lock("new").await)).await;
    held = check_full(&place, &holder, held).await;

    disk.make_room();
    until("new locks are granted again", async || seconds.lock("new").await.is_ok()).await;
    assert!(server.said().contains("there is room on the disk again"), "{}", server.said());
    assert!(held.iter().all(Lock::held));
    session(&place, "new", LONG).await.close().await.unwrap();
    lock_a_little(&busy).await;
    server.stop().await;
    disk.begin(&place).serves().await.stop().await;
}

/// So that the journal is in its second segment and has a snapshot.
async fn lock_a_little(session: &Session) {
    for number in 0..100 {
        session.lock(format!("little {number}")).await.unwrap().release().await.unwrap();
    }
}

#[tokio::test]
async fn a_disk_that_is_too_small_for_a_journal_is_refused_with_what_it_needs() {
    let place = Place::new();
    let disk = match Disk::mounted(&place, "1m").await {
        Ok(disk) => disk,
        Err(why) => return println!("NOT RUN: a disk that is too small: {why}"),
    };
    let ended = disk.begin(&place).try_serve().await.err().expect("there is no room");
    assert_eq!(ended.code, Some(74), "{}", ended.said);
    let said = ended.said;
    assert!(
        said.contains("No space left on device") && said.contains("a segment of 2097152 bytes needs it"),
        "{said}"
    );
    // What it has begun is in nobody's way.
    disk.grow("24m").await;
    let server = disk.begin(&place).serves().await;
    session(&place, "one", LONG).await.lock("r").await.unwrap().release().await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_room_for_a_reserve_nothing_new_is_granted_from_the_beginning() {
    // The usual length.
    let place = Place::told(&["--segment-size", "64MiB"]);
    let disk = match Disk::mounted(&place, "100m").await {
        Ok(disk) => disk,
        Err(why) => return println!("NOT RUN: a disk with room for one segment: {why}"),
    };
    let server = disk.begin(&place).serves().await;
    until("it says so", async || server.said().contains("the disk is full: new locks are refused")).await;
    let opened = Session::builder("new").connect(&[&place.address]).await.err().unwrap();
    assert!(matches!(opened, ConnectError::Refused { .. }), "{opened}");
    disk.grow("300m").await;
    until("there is room again", async || server.said().contains("there is room on the disk again")).await;
    session(&place, "one", LONG).await.lock("r").await.unwrap().release().await.unwrap();
    server.stop().await;
}
