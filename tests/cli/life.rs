//! The lock and the command live and die together, whoever is killed, stopped or cut off.

use std::{os::unix::process::CommandExt as _, time::Duration};

use enq::client;
use nix::sys::signal::{Signal, killpg};
use tokio::process::Child;

use crate::stage::{Server, child_called, code_of, end_of, eventually, mark, marked, pid_of, send, start};

/// A command that leaves a child, a grandchild that lost its parent, and one in a session of its own.
fn family(mark: &str) -> String {
    format!(
        "sleep {mark} & (sleep {mark} &) ; (setsid sleep {mark} &) ; trap '' TERM; while :; do sleep 0.05; done"
    )
}

async fn until_all_are_there(mark: &str) {
    eventually("all three are there", async || marked(mark).len() == 3).await;
}

async fn until_none_is_left(mark: &str) {
    eventually("none is left", async || marked(mark).is_empty()).await;
}

/// Starts the family under a lock.
async fn run_family(server: &Server, name: &str, mark: &str, options: &[&str]) -> Child {
    let family = family(mark);
    let mut arguments = vec!["run"];
    arguments.extend(options);
    arguments.extend([name, "--", "sh", "-c", &family]);
    let mut command = server.enq(&arguments);
    command.as_std_mut().process_group(0);
    let run = start(command);
    until_all_are_there(mark).await;
    run
}

#[tokio::test]
async fn a_second_run_waits_until_the_first_has_ended() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let say = |word: &str| format!("echo {word} >>{}", log.display());
    let mut first = start(server.enq(&[
        "run",
        "x",
        "--",
        "sh",
        "-c",
        &format!("trap 'exit 0' TERM; {}; while :; do sleep 0.05; done", say("first")),
    ]));
    eventually("the first runs", async || log.exists()).await;
    let mut second = start(server.enq(&["run", "x", "--", "sh", "-c", &say("second")]));
    server.until_queued("x", "waiting").await;
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "first\n");
    send(pid_of(&first), Signal::SIGTERM);
    assert_eq!((code_of(&mut first).await, code_of(&mut second).await), (Some(0), Some(0)));
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "first\nsecond\n");
}

#[tokio::test]
async fn a_run_that_is_killed_frees_its_lock_at_once_and_leaves_nothing_alive() {
    let server = Server::start().await;
    let mark = mark();
    let mut run = run_family(&server, "x", &mark, &[]).await;
    send(pid_of(&run), Signal::SIGKILL);
    code_of(&mut run).await;
    // Sooner than any lease: whoever has the lock now has it alone.
    let next = server.done(&["run", "-w", "5s", "x", "--", "true"]).await;
    assert_eq!(next.status.code(), Some(0));
    assert_eq!(marked(&mark), [] as [i32; 0], "the lock was free before the family was dead");
}

#[tokio::test]
async fn killing_its_whole_process_group_leaves_nothing_alive_either() {
    let server = Server::start().await;
    let mark = mark();
    let mut run = run_family(&server, "x", &mark, &[]).await;
    killpg(pid_of(&run), Signal::SIGKILL).expect("the group is there");
    code_of(&mut run).await;
    until_none_is_left(&mark).await;
    assert_eq!(server.done(&["run", "-w", "5s", "x", "--", "true"]).await.status.code(), Some(0));
}

#[tokio::test]
async fn a_keeper_that_is_killed_takes_everything_with_it() {
    let server = Server::start().await;
    let mark = mark();
    let mut run = run_family(&server, "x", &mark, &[]).await;
    let keeper = child_called(pid_of(&run), "enq-keeper").expect("the front has a keeper");
    send(keeper, Signal::SIGKILL);
    assert_eq!(code_of(&mut run).await, Some(76));
    assert_eq!(marked(&mark), [] as [i32; 0]);
}

#[tokio::test]
async fn a_server_that_dies_stops_the_command_before_its_lease_ends() {
    let server = Server::start().await;
    let mark = mark();
    let mut run = run_family(&server, "x", &mark, &["--ttl", "6s", "--kill-after", "1s"]).await;
    let began = client::now();
    server.signal(Signal::SIGKILL);
    until_none_is_left(&mark).await;
    assert!(client::now().since(began) < Duration::from_secs(6), "TERM at once, KILL after one second");
    assert_eq!(code_of(&mut run).await, Some(76));
}

#[tokio::test]
async fn a_server_that_falls_silent_stops_the_command_before_its_lease_ends() {
    let server = Server::start().await;
    let mark = mark();
    let mut run = run_family(&server, "x", &mark, &["--ttl", "3s"]).await;
    let began = client::now();
    server.signal(Signal::SIGSTOP);
    until_none_is_left(&mark).await;
    // No renewal was answered after this, so the lease that the server knows ends three seconds later at most.
    assert!(client::now().since(began) < Duration::from_secs(3), "{:?}", client::now().since(began));
    assert_eq!(code_of(&mut run).await, Some(76));
}

#[tokio::test]
async fn a_keeper_that_is_stopped_is_overruled_before_its_lease_ends() {
    let server = Server::start().await;
    let mark = mark();
    let mut run = run_family(&server, "x", &mark, &["--ttl", "3s"]).await;
    let keeper = child_called(pid_of(&run), "enq-keeper").expect("the front has a keeper");
    let began = client::now();
    send(keeper, Signal::SIGSTOP);
    until_none_is_left(&mark).await;
    assert!(client::now().since(began) < Duration::from_secs(3), "{:?}", client::now().since(began));
    assert_eq!(code_of(&mut run).await, Some(76));
}

#[tokio::test]
async fn a_stopped_front_loses_nothing() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let go = folder.path().join("go");
    let line = format!("while [ ! -e {} ]; do sleep 0.05; done; exit 5", go.display());
    let mut run = start(server.enq(&["run", "--ttl", "1s", "x", "--", "sh", "-c", &line]));
    server.until_queued("x", "granted").await;
    send(pid_of(&run), Signal::SIGSTOP);
    // Its age says that it is still the first grant, two leases later.
    eventually("the lock is two leases old", async || {
        let locks = server.json(&["ls", "--granted", "--older-than", "2s", "-o", "json"]).await;
        locks["locks"].as_array().is_some_and(|locks| locks.len() == 1)
    })
    .await;
    std::fs::write(&go, "").unwrap();
    send(pid_of(&run), Signal::SIGCONT);
    assert_eq!(code_of(&mut run).await, Some(5));
}

#[tokio::test]
async fn a_lock_that_is_taken_away_stops_the_command() {
    let server = Server::start().await;
    let mark = mark();
    let mut run = run_family(&server, "x", &mark, &["--kill-after", "300ms"]).await;
    let seen = server.json(&["show", "x", "-o", "json"]).await;
    let lock = &seen["resource"]["granted"][0];
    let id = lock["id"].as_str().expect("ids are strings");
    let seq = lock["seq"].as_str().expect("seqs are strings");
    let stale = server.done(&["force-release", id, "--token", "999999", "--reason", "test"]).await;
    assert_eq!(stale.status.code(), Some(75), "a stale look harms nobody: {stale:?}");
    assert_eq!(marked(&mark).len(), 3);
    let done = server.done(&["force-release", id, "--token", seq, "--reason", "test"]).await;
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    until_none_is_left(&mark).await;
    assert_eq!(code_of(&mut run).await, Some(76));
}

#[tokio::test]
async fn a_session_that_is_ended_stops_the_command() {
    let server = Server::start().await;
    let mark = mark();
    let mut run = run_family(&server, "x", &mark, &["--kill-after", "300ms"]).await;
    let sessions = server.json(&["session", "ls", "-o", "json"]).await;
    let id = sessions["sessions"][0]["id"].as_str().expect("ids are strings");
    let shown = server.json(&["session", "show", id, "-o", "json"]).await;
    assert_eq!(shown["session"]["locks"][0]["resource"], "x");
    assert_eq!(server.done(&["session", "expire", id, "--reason", "test"]).await.status.code(), Some(0));
    until_none_is_left(&mark).await;
    assert_eq!(code_of(&mut run).await, Some(76));
}

#[tokio::test]
async fn what_a_command_leaves_in_its_group_is_stopped_and_a_daemon_is_not() {
    let server = Server::start().await;
    let (left, daemon) = (mark(), mark());
    let line = format!(
        "(sleep {left} &) ; (setsid sleep {daemon} >/dev/null 2>&1 </dev/null &) ; sleep 0.2; exit 4"
    );
    let output = end_of(server.enq(&["run", "x", "--", "sh", "-c", &line])).await;
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(marked(&left), [] as [i32; 0]);
    let daemons = marked(&daemon);
    assert_eq!(daemons.len(), 1, "it made a session of its own");
    for pid in daemons {
        send(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
    }
}

#[tokio::test]
async fn a_lock_is_held_at_least_as_long_as_was_asked() {
    let server = Server::start().await;
    let began = client::now();
    let mut first = start(server.enq(&["run", "--min-hold", "1500ms", "x", "--", "true"]));
    server.until_queued("x", "granted").await;
    assert_eq!(server.done(&["run", "x", "--", "true"]).await.status.code(), Some(0));
    assert!(client::now().since(began) >= Duration::from_millis(1500));
    assert_eq!(code_of(&mut first).await, Some(0));
}

#[tokio::test]
async fn several_locks_are_held_together_or_not_at_all() {
    let server = Server::start().await;
    let mut run = start(server.enq(&["run", "--also", "a:PR", "--also", "c:CR", "b", "--", "sleep", "1000"]));
    server.until_queued("c", "granted").await;
    let locks = server.json(&["ls", "-o", "json"]).await;
    let held: Vec<_> = locks["locks"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|lock| (lock["resource"].as_str(), lock["granted"].as_str()))
        .collect();
    assert_eq!(held, [(Some("a"), Some("PR")), (Some("b"), Some("EX")), (Some("c"), Some("CR"))]);
    let refused = server.done(&["run", "-n", "--also", "d:EX", "c", "--", "true"]).await;
    assert_eq!(refused.status.code(), Some(75));
    let locks = server.json(&["ls", "-o", "json"]).await;
    assert_eq!(locks["locks"].as_array().map(Vec::len), Some(3), "a refused run leaves nothing");
    send(pid_of(&run), Signal::SIGTERM);
    assert_eq!(code_of(&mut run).await, Some(143));
}
