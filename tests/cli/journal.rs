//! The verbs that work on a journal's files: beside a server that writes, behind one that was killed, on damage.

use std::{fs, path::Path, process::Output};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::stage::{Server, end_of, said, start};

/// A place for a journal and its backups.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("its name is text").to_owned()
    }

    async fn serve(&self, journal: &str) -> Server {
        Server::start_with(&["--listen", "127.0.0.1:0", "--data-dir", &self.path(journal)]).await
    }
}

/// Runs the command without a server.
async fn enq(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_enq"));
    command.args(arguments).env("ENQ_SERVERS", "127.0.0.1:1");
    end_of(command).await
}

async fn state(arguments: &[&str]) -> Value {
    let output = enq(&[arguments, &["-o", "json"]].concat()).await;
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    serde_json::from_slice::<Value>(&output.stdout).expect("it prints JSON")["state"].take()
}

fn seq_of(output: &Output) -> u64 {
    assert!(output.status.success(), "{}", said(output));
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
}

async fn seq(server: &Server, name: &str) -> u64 {
    seq_of(&server.done(&["run", name, "--", "sh", "-c", "echo $ENQ_SEQ"]).await)
}

#[tokio::test]
async fn a_backup_of_a_server_that_runs_becomes_a_journal_of_greater_seqs() {
    let place = Place::new();
    let (journal, backup, next) = (place.path("journal"), place.path("backup"), place.path("next"));
    let server = place.serve("journal").await;
    let mut holder = start(server.enq(&["run", "held", "--", "sleep", "1000"]));
    server.until_queued("held", "granted").await;
    assert!(server.done(&["space", "create", "reports"]).await.status.success());
    // Batches are written while it is read.
    let load = start(server.shell("for i in 1 2 3 4 5 6 7 8 9; do enq run x -- true; done"));
    for _ in 0..5 {
        let saved = state(&["snapshot", "save", &journal, &backup]).await;
        let verified = state(&["snapshot", "verify", &backup]).await;
        for key in ["position", "epoch", "locks", "sessions", "lockspaces", "made_ms", "bytes"] {
            assert_eq!(saved[key], verified[key], "{key}");
        }
        assert_eq!((&saved["epoch"], &saved["lockspaces"]), (&1.into(), &2.into()));
        assert!(saved["locks"].as_u64() >= Some(1), "{saved}");
        assert!(
            state(&["snapshot", "verify", &journal]).await["position"].as_u64() >= saved["position"].as_u64()
        );
    }
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&backup).expect("it is there").permissions());
    assert_eq!(mode & 0o777, 0o600, "it has the secrets of sessions");
    drop(load);
    let after_backup = seq(&server, "y").await;
    holder.start_kill().expect("it is there");
    server.end(Signal::SIGKILL).await;
    let restored = state(&["snapshot", "restore", &backup, &next, "--after", &journal]).await;
    assert_eq!(restored["epoch"], 1 + 65_536);
    let again = enq(&["snapshot", "restore", &backup, &next]).await;
    assert_eq!(again.status.code(), Some(70));
    assert!(said(&again).contains("has something in it: "), "{}", said(&again));
    let server = place.serve("next").await;
    let spaces = server.json(&["space", "ls", "-o", "json"]).await.to_string();
    assert!(spaces.contains("reports"), "{spaces}");
    let seen = server.json(&["show", "held", "-o", "json"]).await;
    assert_eq!(seen["resource"]["granted"].as_array().map(Vec::len), Some(1), "{seen}");
    let newest = seq(&server, "y").await;
    assert!(newest > after_backup && newest >> 40 == 65_538, "{newest}");
    server.end(Signal::SIGTERM).await;
}

#[tokio::test]
async fn damage_is_found_by_who_verifies_and_who_dumps_goes_on_behind_it() {
    let place = Place::new();
    let journal = place.path("journal");
    let server = place.serve("journal").await;
    for name in ["a", "b", "c"] {
        seq(&server, name).await;
    }
    server.end(Signal::SIGKILL).await;
    let segment = Path::new(&journal).join("00000000000000000001.segment");
    let dump = enq(&["journal", "dump", &journal]).await;
    let text = String::from_utf8_lossy(&dump.stdout).into_owned();
    assert!(dump.status.success(), "{}", said(&dump));
    assert!(text.contains(" start ") && text.contains("name=b mode=EX"), "{text}");
    let of_one = enq(&["journal", "dump", &journal, "--from", "3", "--to", "3", "-o", "json"]).await;
    let line: Value = serde_json::from_slice(&of_one.stdout).expect("one object");
    assert_eq!((&line["position"], &line["what"], &line["name"]), (&3.into(), &"enq".into(), &"a".into()));
    let mut bytes = fs::read(&segment).expect("it is there");
    bytes[800] ^= 1;
    fs::write(&segment, &bytes).expect("it can be written");
    for verb in [["snapshot", "verify"], ["journal", "ls"], ["journal", "dump"]] {
        let output = enq(&[&verb[..], &[&journal]].concat()).await;
        assert_eq!(output.status.code(), Some(65), "{verb:?}");
        assert!(said(&output).contains("00000000000000000001.segment"), "{}", said(&output));
        assert!(said(&output).contains("damaged at offset "), "{}", said(&output));
    }
    assert_eq!(fs::read(&segment).expect("it is there"), bytes, "nothing has been changed");
}

#[tokio::test]
async fn what_is_no_journal_and_no_backup_is_named() {
    let place = Place::new();
    let empty = place.path("empty");
    fs::create_dir(&empty).expect("a folder");
    let (file, none) = (place.path("file"), place.path("none"));
    fs::write(&file, "a text").expect("a file");
    let server = place.serve("journal").await;
    let journal = place.path("journal");
    let inside = place.path("journal/backup");
    let table: [(&[&str], i32, &str); 8] = [
        (&["snapshot", "verify", &empty], 65, "there is no journal in "),
        (&["snapshot", "verify", &file], 65, "is not a backup"),
        (&["snapshot", "verify", &none], 74, "cannot use "),
        (&["snapshot", "save", &journal, &inside], 64, "is in the directory of the journal"),
        (&["snapshot", "save", &journal, &file], 70, "is there and is not a backup"),
        (&["snapshot", "restore", &file, &none], 65, "is not a backup"),
        (&["journal", "dump", &none], 74, "cannot use "),
        (&["journal", "ls", &empty], 65, "there is no journal in "),
    ];
    for (arguments, code, says) in table {
        let output = enq(arguments).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(says), "{arguments:?}: {}", said(&output));
    }
    assert!(!Path::new(&none).exists() && !Path::new(&inside).exists());
    assert_eq!(fs::read(&file).expect("it is there"), b"a text");
    server.end(Signal::SIGTERM).await;
}

#[tokio::test]
async fn whoever_asks_sees_that_a_server_keeps_a_journal_and_what_its_disk_does() {
    let place = Place::new();
    let server = place.serve("journal").await;
    seq(&server, "x").await;
    let pinged = server.json(&["ping", "-o", "json"]).await;
    assert_eq!(pinged["servers"][0]["log"], "journal");
    let statistics = server.json(&["stats", "-o", "json"]).await;
    let value = |name: &str| statistics["statistics"][name].as_u64().unwrap_or_else(|| panic!("{name}"));
    assert_eq!((value("enq_journaled"), value("enq_journal_room_short")), (1, 0));
    assert!(value("enq_journal_batches_total") > 0 && value("enq_journal_position") > 3);
    assert_eq!(value("enq_journal_write_us_count"), value("enq_journal_batches_total"));
    assert_eq!(value("enq_journal_write_us_bucket{le=\"+Inf\"}"), value("enq_journal_write_us_count"));
    assert!(value("enq_journal_write_us_max") <= value("enq_journal_write_us_sum"));
    assert_eq!(value("enq_journal_segments"), 1);
    server.end(Signal::SIGTERM).await;
    let server = Server::start().await;
    let pinged = server.json(&["ping", "-o", "json"]).await;
    assert_eq!(pinged["servers"][0]["log"], "volatile");
}
