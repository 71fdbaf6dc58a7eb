//! How `enq run` ends, and what it says about it.

use std::{fs, process::Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    process::Command,
};

use crate::stage::{Server, code_of, end_of, eventually, pid_of, said, send, start};

#[tokio::test]
async fn the_exit_code_says_what_happened() {
    let server = Server::start().await;
    let mut holder = start(server.enq(&["run", "held", "--", "sleep", "1000"]));
    server.until_queued("held", "granted").await;
    let table: [(&[&str], i32, &str); 18] = [
        (&["run", "x", "--", "true"], 0, ""),
        (&["run", "x", "--", "sh", "-c", "exit 3"], 3, ""),
        (&["run", "x", "--", "sh", "-c", "exit 76"], 76, ""),
        (&["run", "x", "--", "sh", "-c", "kill -KILL $$"], 137, ""),
        (&["run", "x", "--", "/nowhere/program"], 127, "NOT_FOUND"),
        (&["run", "x", "--", "/etc/passwd"], 126, "CANNOT_EXECUTE"),
        (&["run", "-n", "held", "--", "true"], 75, "NOTQUEUED"),
        (&["run", "-n", "-E", "9", "held", "--", "true"], 9, "NOTQUEUED"),
        (&["run", "-w", "100ms", "held", "--", "true"], 75, "TIMEOUT"),
        (&["run", "-m", "NL", "-n", "held", "--", "true"], 0, ""),
        (&["run", "x"], 64, "USAGE"),
        (&["run", "-m", "XX", "x", "--", "true"], 64, "USAGE"),
        (&["run", "", "--", "true"], 64, "USAGE"),
        (&["run", "--also", "x:EX", "x", "--", "true"], 64, "USAGE"),
        (&["run", "--ttl", "1ms", "--kill-after", "0", "x", "--", "true"], 64, "LIMIT"),
        (&["run", "--space", "nowhere", "x", "--", "true"], 64, "NOSUCHSPACE"),
        (&["run", "--server", "127.0.0.1:1", "x", "--", "true"], 69, "UNREACHABLE"),
        (&["frobnicate"], 64, "USAGE"),
    ];
    for (arguments, code, word) in table {
        let output = server.done(arguments).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
        assert!(said(&output).starts_with(&if word.is_empty() {
            String::new()
        } else {
            format!("enq: {word}: ")
        }));
        assert_eq!(word.is_empty(), said(&output).is_empty(), "{arguments:?}: {}", said(&output));
    }
    send(pid_of(&holder), Signal::SIGTERM);
    assert_eq!(code_of(&mut holder).await, Some(143));
}

/// A server that is killed between the connect and its WELCOME was not reached, it is no stranger.
#[tokio::test]
async fn a_server_that_dies_before_it_answers_was_not_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound").to_string();
    let server = Server::start().await;
    let run = tokio::spawn(end_of(server.enq(&["run", "--server", &address, "x", "--", "true"])));
    let (mut stream, _) = listener.accept().await.expect("somebody comes");
    stream.read_buf(&mut Vec::new()).await.expect("it says HELLO");
    drop((stream, listener));
    let output = run.await.expect("it runs to its end");
    assert_eq!(output.status.code(), Some(69), "{}", said(&output));
    assert!(said(&output).starts_with("enq: UNREACHABLE: "), "{}", said(&output));
}

#[tokio::test]
async fn a_policy_that_forbids_is_exit_77() {
    let server = Server::start().await;
    server.json(&["space", "create", "readers", "--modes", "CR,PR", "-o", "json"]).await;
    let output = server.done(&["run", "--space", "readers", "-x", "x", "--", "true"]).await;
    assert_eq!(output.status.code(), Some(77), "{}", said(&output));
    assert!(said(&output).contains("DENIED"));
    let output = server.done(&["run", "--space", "readers", "-s", "x", "--", "true"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[tokio::test]
async fn a_refusal_says_who_holds_it_and_where_to_look_further() {
    let server = Server::start().await;
    let mut holder = start(server.enq(&["run", "--reason", "reindex", "db/orders", "--", "sleep", "1000"]));
    server.until_queued("db/orders", "granted").await;
    let seen = server.json(&["show", "db/orders", "-o", "json"]).await;
    let lock = &seen["resource"]["granted"][0];
    let output = server.done(&["run", "-n", "-s", "db/orders", "--", "true"]).await;
    let said = said(&output);
    let pid = lock["holder"]["pid"].to_string();
    for word in ["id", "session"] {
        assert!(said.contains(lock[word].as_str().expect("ids are strings")), "{word} in {said}");
    }
    for word in
        ["db/orders", "EX", "enq run sleep", "reindex", "ago", "lease left", "0 waiting", pid.as_str()]
    {
        assert!(said.contains(word), "{word} in {said}");
    }
    assert!(said.contains(lock["holder"]["host"].as_str().expect("a host has a name")), "{said}");
    assert!(
        said.lines().any(|line| line.starts_with("hint: ") && line.ends_with("enq show db/orders")),
        "{said}"
    );
    send(pid_of(&holder), Signal::SIGKILL);
    code_of(&mut holder).await;
}

#[tokio::test]
async fn the_status_line_tells_what_the_exit_code_cannot() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("status");
    let status = async |arguments: &str| -> Value {
        let line = format!("exec enq run --status-fd 7 {arguments} 7>{}", file.display());
        end_of(server.shell(&line)).await;
        let text = fs::read_to_string(&file).expect("the file is there");
        assert_eq!(text.lines().count(), 1, "{text}");
        serde_json::from_str(&text).expect("a line of JSON")
    };
    let exited = status("x -- sh -c 'exit 76'").await;
    assert_eq!(
        (&exited["outcome"], &exited["code"], &exited["exit"]),
        (&"exited".into(), &76.into(), &76.into())
    );
    assert_eq!((&exited["version"], &exited["lock"]["name"]), (&1.into(), &"x".into()));
    assert!(
        exited["lock"]["seq"].is_string()
            && exited["lock"]["fence"].is_string()
            && exited["lock"]["id"].is_string()
    );
    let signalled = status("x -- sh -c 'kill -KILL $$'").await;
    assert_eq!((&signalled["outcome"], &signalled["signal"]), (&"signalled".into(), &9.into()));
    assert_eq!(status("x -- /nowhere/program").await["outcome"], "not_found");
    assert_eq!(status("x -- /etc/passwd").await["outcome"], "cannot_execute");
    let unreachable = status("--server 127.0.0.1:1 x -- true").await;
    assert_eq!(
        (&unreachable["outcome"], &unreachable["status"]),
        (&"not_granted".into(), &"UNREACHABLE".into())
    );
    // The command does not inherit the descriptor.
    assert_eq!(status("x -- sh -c 'test ! -e /dev/fd/7'").await["code"], 0);
}

/// Does this process ignore the signal, and so what it starts?
fn is_ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("there is a /proc");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("it says so");
    let ignored = u64::from_str_radix(ignored.trim(), 16).expect("it is a mask");
    ignored >> (signal as i32 - 1) & 1 == 1
}

#[tokio::test]
async fn signals_reach_the_command_and_ignored_ones_stay_ignored() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let ready = folder.path().join("ready");
    let loops = format!("touch {}; while :; do sleep 0.05; done", ready.display());
    for (trap, signal, code) in [
        ("trap 'exit 7' TERM", Signal::SIGTERM, 7),
        ("trap 'exit 8' USR1", Signal::SIGUSR1, 8),
        ("trap 'exit 9' USR2", Signal::SIGUSR2, 9),
        ("trap 'exit 10' HUP", Signal::SIGHUP, 10),
        ("", Signal::SIGINT, 130),
        ("", Signal::SIGQUIT, 131),
    ] {
        // Under nohup this test's children ignore SIGHUP, too.
        if is_ignored(signal) {
            continue;
        }
        // A shell without a trap that is interrupted while it forks waits for a child that was not; so it becomes one.
        let line = match trap {
            "" => format!("ulimit -c 0; touch {}; exec sleep 1000", ready.display()),
            trap => format!("{trap}; {loops}"),
        };
        let mut run = start(server.enq(&["run", "x", "--", "sh", "-c", &line]));
        eventually("the command runs", async || ready.exists()).await;
        send(pid_of(&run), signal);
        assert_eq!(code_of(&mut run).await, Some(code), "{signal}");
        fs::remove_file(&ready).expect("it was there");
    }
    // As under nohup.
    let line = format!("trap '' HUP; exec enq run x -- sh -c \"trap 'exit 7' TERM; {loops}\"");
    let mut run = start(server.shell(&line));
    eventually("the command runs", async || ready.exists()).await;
    send(pid_of(&run), Signal::SIGHUP);
    send(pid_of(&run), Signal::SIGTERM);
    assert_eq!(code_of(&mut run).await, Some(7), "HUP ends nothing that ignores it");
}

#[tokio::test]
async fn a_signal_ends_the_wait_and_withdraws_the_request() {
    let server = Server::start().await;
    let mut holder = start(server.enq(&["run", "x", "--", "sleep", "1000"]));
    server.until_queued("x", "granted").await;
    let mut waiting = start(server.enq(&["run", "x", "--", "true"]));
    server.until_queued("x", "waiting").await;
    send(pid_of(&waiting), Signal::SIGINT);
    assert_eq!(code_of(&mut waiting).await, Some(130));
    eventually("nobody waits", async || {
        server.json(&["ls", "--waiting", "-o", "json"]).await["locks"] == Value::Array(Vec::new())
    })
    .await;
    send(pid_of(&holder), Signal::SIGKILL);
    code_of(&mut holder).await;
}

#[tokio::test]
async fn standard_input_is_the_commands_unless_it_is_not_to_be() {
    let server = Server::start().await;
    for (option, wanted) in [("--quiet", "hello\n"), ("--no-stdin", "")] {
        let mut run =
            server.enq(&["run", option, "x", "--", "cat"]).stdin(Stdio::piped()).spawn().expect("it starts");
        let mut input = run.stdin.take().expect("its input is piped");
        // With --no-stdin nobody may be left to read it.
        let _ = input.write_all(b"hello\n").await;
        drop(input);
        let output = tokio::time::timeout(crate::stage::PATIENCE, run.wait_with_output()).await;
        let output = output.expect("it ends in time").expect("its output is there");
        assert_eq!(String::from_utf8_lossy(&output.stdout), wanted, "{option}");
    }
}

#[tokio::test]
async fn the_command_finds_its_own_lock_in_its_environment() {
    let server = Server::start().await;
    let line = "exec enq run --ttl 7s outer -- enq run -s --also z:CR inner -- env";
    let output = end_of(server.shell(line)).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let value = |name: &str| {
        let prefix = format!("{name}=");
        text.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default().to_owned()
    };
    assert_eq!((value("ENQ_LOCK_NAME"), value("ENQ_LOCK_MODE")), ("inner".into(), "PR".into()), "{text}");
    assert_eq!((value("ENQ_SERVERS"), value("ENQ_SPACE")), (server.address.clone(), "default".into()));
    assert_eq!(value("ENQ_LEASE_TTL_MS"), "15000", "the inner values replace the outer ones");
    for name in ["ENQ_LOCK_ID", "ENQ_FENCE", "ENQ_SEQ", "ENQ_SESSION_ID"] {
        assert!(!value(name).is_empty(), "{name}");
    }
    assert_eq!(
        text.lines().filter(|line| line.starts_with("ENQ_")).count(),
        9,
        "and nothing else, least of all a secret"
    );
}

#[tokio::test]
async fn nothing_else_is_said_of_a_command_that_is_not_there() {
    let output = end_of({
        let mut command = Command::new(env!("CARGO_BIN_EXE_enq"));
        command.args(["run", "--", "true"]).stdin(Stdio::null());
        command
    })
    .await;
    assert_eq!(output.status.code(), Some(64));
    assert_eq!(said(&output).lines().count(), 2, "a cause and a hint: {}", said(&output));
}
