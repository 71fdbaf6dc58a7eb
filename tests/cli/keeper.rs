//! The process that keeps a session: what it holds, whom it answers, and what it does when the network fails.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use nix::{
    sys::signal::Signal,
    unistd::{Pid, Uid},
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream, UnixStream},
    process::Command,
    time::timeout,
};

use crate::{
    kept::{Kept, locks_of, printed, until_no_session},
    stage::{PATIENCE, Server, code_of, end_of, eventually, said, send, start},
};

#[tokio::test]
async fn a_keeper_holds_nothing_of_whoever_opened_it() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let line = format!(
        "cd {} && exec 9>held && exec enq session open --parent {} -o json",
        folder.path().display(),
        std::process::id()
    );
    let output = end_of(server.shell(&line)).await;
    let opened: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
    let pid = opened["session"]["pid"].as_i64().expect("a number");
    let own = |name: &str| fs::read_link(format!("/proc/{pid}/{name}")).expect("it is there");
    assert_eq!(own("cwd"), Path::new("/"));
    let files = fs::read_dir(format!("/proc/{pid}/fd")).expect("it is there").flatten();
    let held = files.filter_map(|file| fs::read_link(file.path()).ok()).find(|file| file.ends_with("held"));
    assert_eq!(held, None);
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it is there");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    assert_eq!(
        (fields[2], fields[3]),
        (pid.to_string().as_str(), pid.to_string().as_str()),
        "group, session"
    );
    send(Pid::from_raw(i32::try_from(pid).expect("a number of a process")), Signal::SIGTERM);
    until_no_session(&server).await;
}

#[tokio::test]
async fn a_grant_that_nobody_took_is_given_back() {
    let server = Server::start().await;
    let kept = Kept::open(&server, &[]).await;
    let ask = r#"{"version":2,"ask":"lock","space":"default","path":"x","is_path":false,"mode":"EX","wait":"no","reason":"","priority":0}"#;
    let mut line = BufReader::new(UnixStream::connect(&kept.socket).await.expect("it listens"));
    line.write_all(format!("{ask}\n").as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    timeout(PATIENCE, line.read_line(&mut answer)).await.expect("in time").expect("it answers");
    assert!(answer.contains("\"answer\":\"granted\""), "{answer}");
    assert_eq!(locks_of(&server, &[]).await, 1);
    drop(line);
    eventually("the lock is free", async || locks_of(&server, &[]).await == 0).await;
    // What is none of ours, or of another version, is told so.
    for (said, wanted) in [("{\"version\":9}\n", "version 9"), ("GET / HTTP/1.1\r\n", "none of ours")] {
        let mut line = BufReader::new(UnixStream::connect(&kept.socket).await.expect("it listens"));
        line.write_all(said.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        timeout(PATIENCE, line.read_line(&mut answer)).await.expect("in time").expect("it answers");
        assert!(answer.contains(wanted), "{answer}");
    }
}

/// A way to the server that can be cut.
struct Wire {
    address: String,
    cut: tokio::sync::broadcast::Sender<()>,
}

impl Wire {
    async fn to(server: &Server) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it has one").to_string();
        let (cut, _) = tokio::sync::broadcast::channel(1);
        let (target, cuts) = (server.address.clone(), cut.clone());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut far = TcpStream::connect(&target).await.expect("the server listens");
                let mut cut = cuts.subscribe();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = cut.recv() => {}
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    }
                });
            }
        });
        Wire { address, cut }
    }
}

#[tokio::test]
async fn a_connection_that_breaks_costs_a_script_nothing() {
    let server = Server::start().await;
    let wire = Wire::to(&server).await;
    let kept = Kept::open(&server, &["--server", &wire.address]).await;
    let id = kept.lock("x").await;
    let other = Kept::open(&server, &[]).await;
    let holder = other.lock("y").await;
    let mut waiting = start(kept.enq(&["lock", "y"]));
    server.until_queued("y", "waiting").await;
    for _ in 0..3 {
        wire.cut.send(()).expect("there is a connection");
        assert_eq!(kept.done(&["convert", &id, "PR"]).await.status.code(), Some(0));
        assert_eq!(kept.done(&["convert", &id, "EX"]).await.status.code(), Some(0));
    }
    assert_eq!(other.done(&["deq", &holder]).await.status.code(), Some(0));
    assert_eq!(code_of(&mut waiting).await, Some(0), "it waited on, in its place");
    assert_eq!(kept.done(&["deq", &id]).await.status.code(), Some(0));
}

/// Only the superuser can try to be somebody else.
#[tokio::test]
async fn nobody_else_gets_through_to_a_keeper() {
    let server = Server::start().await;
    let kept = Kept::open(&server, &[]).await;
    if !Uid::effective().is_root() {
        eprintln!("\n*** NOT RUN: only root can try the session of another user ***\n");
        return;
    }
    // A copy that everybody may run: the folder of the build may be closed to others.
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("enq");
    fs::copy(env!("CARGO_BIN_EXE_enq"), &copy).expect("it can be copied");
    let open = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    open(folder.path(), 0o755);
    open(&copy, 0o755);
    let stranger = async || {
        let mut command = Command::new(&copy);
        command.args(["try", "x"]).env("ENQ_SESSION", &kept.socket).uid(65_534).gid(65_534);
        end_of(command).await
    };
    let shut_out = stranger().await;
    assert_eq!(shut_out.status.code(), Some(64), "{shut_out:?}");
    assert!(said(&shut_out).contains("another user"), "{}", said(&shut_out));
    // Were the folder open, they would still ask each other who they are.
    open(&kept.folder(), 0o777);
    open(Path::new(&kept.socket), 0o777);
    let recognized = stranger().await;
    assert_eq!(recognized.status.code(), Some(64), "{recognized:?}");
    assert_eq!(locks_of(&server, &[]).await, 0);
    // So with a program of the stranger's own, which does not care whose the session is.
    let program = r#"import socket, sys
line = socket.socket(socket.AF_UNIX)
line.settimeout(10)
line.connect(sys.argv[1])
try:
    line.sendall(b'{"version":2,"ask":"close"}\n')
    print(len(line.recv(99)))
except (BrokenPipeError, ConnectionResetError):
    print(0)
"#;
    let mut command = Command::new("python3");
    command.args(["-c", program, &kept.socket]).uid(65_534).gid(65_534);
    match command.output().await {
        Ok(output) => {
            assert_eq!(printed(&output), ["0"], "the keeper says nothing to a stranger: {output:?}")
        }
        Err(_) => eprintln!("\n*** NOT RUN: a stranger's own program needs python3 ***\n"),
    }
    assert_eq!(kept.done(&["session", "close"]).await.status.code(), Some(0), "it is still there");
}
