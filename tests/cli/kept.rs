//! Sessions for scripts: opened by one process, used by others, ended with the shell or when they are closed.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Output,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::stage::{Server, code_of, end_of, eventually, pid_of, said, send, start};

/// What the script printed.
pub(crate) fn printed(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(String::from).collect()
}

/// A session that ends with this test's process at the latest.
pub(crate) struct Kept<'a> {
    server: &'a Server,
    pub(crate) socket: String,
    keeper: Pid,
    id: String,
}

impl<'a> Kept<'a> {
    pub(crate) async fn open(server: &'a Server, options: &[&str]) -> Kept<'a> {
        let parent = std::process::id().to_string();
        let mut arguments = vec!["session", "open", "-o", "json"];
        if !options.contains(&"--parent") {
            arguments.extend(["--parent", &parent]);
        }
        arguments.extend(options);
        let opened = server.json(&arguments).await;
        let session = &opened["session"];
        let word = |name: &str| session[name].as_str().expect("it is text").to_owned();
        let pid = session["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("a number");
        Kept { server, socket: word("socket"), keeper: Pid::from_raw(pid), id: word("id") }
    }

    pub(crate) fn enq(&self, arguments: &[&str]) -> Command {
        let mut command = self.server.enq(arguments);
        command.env("ENQ_SESSION", &self.socket);
        command
    }

    pub(crate) async fn done(&self, arguments: &[&str]) -> Output {
        end_of(self.enq(arguments)).await
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let output = self.done(&[arguments, &["-o", "json"]].concat()).await;
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice::<Value>(&output.stdout).expect("it prints JSON")["lock"].take()
    }

    /// Takes a lock; its id.
    pub(crate) async fn lock(&self, name: &str) -> String {
        self.json(&["lock", name]).await["id"].as_str().expect("ids are strings").to_owned()
    }

    pub(crate) fn folder(&self) -> PathBuf {
        Path::new(&self.socket).parent().expect("it lies in a folder").into()
    }

    async fn until_ended(&self) {
        eventually("the keeper has ended", async || kill(self.keeper, None).is_err()).await;
        assert!(!self.folder().exists(), "its folder has gone with it");
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        // It may have ended.
        let _ = kill(self.keeper, Signal::SIGTERM);
    }
}

pub(crate) async fn locks_of(server: &Server, options: &[&str]) -> usize {
    let locks = server.json(&[&["ls", "-o", "json"], options].concat()).await;
    locks["locks"].as_array().expect("a list").len()
}

async fn until_nobody_waits(server: &Server) {
    eventually("nobody waits", async || locks_of(server, &["--waiting"]).await == 0).await;
}

pub(crate) async fn until_no_session(server: &Server) {
    eventually("there is no session", async || {
        server.json(&["session", "ls", "-o", "json"]).await["sessions"].as_array().is_some_and(Vec::is_empty)
    })
    .await;
}

#[tokio::test]
async fn a_script_takes_converts_and_releases() {
    let server = Server::start().await;
    for shell in ["sh", "bash"] {
        let script = r#"
            set -eu
            eval "$(enq session open --name nightly)"
            sleep 0.5   # longer than it takes to see that a parent has gone
            grant=$(enq lock db/orders --reason reindex); id=${grant% *} fence=${grant#* }
            test "$fence" -gt 0
            enq lock db/orders -m NL >/dev/null   # keeps the value block when nobody else does
            enq deq "$(enq try db/customers -m CR -o name)"
            enq convert "$id" PR -o name --value 'rows: 7' >/dev/null
            eval "$(enq convert "$id" EX -o shell)"
            echo "$ENQ_LOCK_NAME $ENQ_LOCK_MODE $ENQ_VALUE $ENQ_VALUE_VALID"
            test "$ENQ_FENCE" -gt "$fence"
            enq check-token db/orders --seq "$ENQ_SEQ"
            enq session show -o json
            enq deq "$id" --value "it's done"
            eval "$(enq lock db/orders -s -o shell)"; echo "$ENQ_VALUE"
            enq session close
            enq try db/orders -n 2>/dev/null || echo "$?"
            enq try db/orders 2>/dev/null || echo "$?"
        "#;
        let mut command = server.shell(script);
        if shell == "bash" {
            let line = script.replace("enq ", &format!("{} ", env!("CARGO_BIN_EXE_enq")));
            command = Command::new("bash");
            command.args(["-c", &line]).env("ENQ_SERVERS", &server.address).env_remove("ENQ_SPACE");
            command.stdin(std::process::Stdio::null()).kill_on_drop(true);
        }
        let output = end_of(command).await;
        let lines = printed(&output);
        assert!(output.status.success(), "{shell}: {output:?}");
        assert_eq!(&lines[..2], ["db/orders EX rows: 7 yes", "live"], "{shell}");
        let shown = lines[2..].iter().take_while(|line| *line != "it's done").cloned().collect::<String>();
        let shown: Value = serde_json::from_str(&shown).expect("it prints JSON");
        assert_eq!(shown["session"]["session"]["name"], "nightly");
        assert_eq!(shown["session"]["locks"][1]["reason"], "reindex", "{shown}");
        assert_eq!(&lines[lines.len() - 3..], ["it's done", "64", "76"], "{shell}: {}", said(&output));
        until_no_session(&server).await;
    }
}

#[tokio::test]
async fn a_session_ends_with_the_process_it_was_opened_for() {
    let server = Server::start().await;
    let mut shell = start(server.shell("exec sleep 1000"));
    let kept = Kept::open(&server, &["--parent", &pid_of(&shell).to_string(), "--ttl", "15s"]).await;
    kept.lock("x").await;
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&kept.folder()), mode(Path::new(&kept.socket))), (0o700, 0o600));
    send(pid_of(&shell), Signal::SIGKILL);
    code_of(&mut shell).await;
    kept.until_ended().await;
    // In order, and long before its lease is over.
    until_no_session(&server).await;
    let late = kept.done(&["try", "x"]).await;
    assert_eq!(late.status.code(), Some(76), "{late:?}");
    assert!(said(&late).contains("--parent"), "{}", said(&late));
}

#[tokio::test]
async fn two_shells_have_two_sessions() {
    let server = Server::start().await;
    let (one, two) = (Kept::open(&server, &[]).await, Kept::open(&server, &[]).await);
    assert_ne!(one.id, two.id);
    let id = one.lock("x").await;
    let refused = two.done(&["try", "x", "-s"]).await;
    assert_eq!(refused.status.code(), Some(75));
    for wanted in ["NOTQUEUED", &id, &one.id, "EX"] {
        assert!(said(&refused).contains(wanted), "{wanted} in {}", said(&refused));
    }
    let late = two.done(&["lock", "x", "-w", "50ms"]).await;
    assert_eq!(late.status.code(), Some(75), "{late:?}");
    let mut waiting = start(two.enq(&["lock", "x"]));
    server.until_queued("x", "waiting").await;
    let foreign = two.done(&["deq", &id]).await;
    assert_eq!(foreign.status.code(), Some(70), "it is the other session's: {foreign:?}");
    assert_eq!(one.done(&["deq", &id]).await.status.code(), Some(0));
    assert_eq!(code_of(&mut waiting).await, Some(0));
    assert_eq!(one.done(&["deq", &id]).await.status.code(), Some(70), "it has gone");
}

#[tokio::test]
async fn whoever_is_interrupted_while_it_waits_asks_no_more() {
    let server = Server::start().await;
    let (one, two) = (Kept::open(&server, &[]).await, Kept::open(&server, &[]).await);
    let id = one.lock("x").await;
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let mut waiting = start(two.enq(&["lock", "x"]));
        server.until_queued("x", "waiting").await;
        send(pid_of(&waiting), signal);
        assert_eq!(code_of(&mut waiting).await, None, "it died of {signal}");
        until_nobody_waits(&server).await;
    }
    // So with a conversion: the lock stays what it was.
    let reader = two.json(&["lock", "y", "-s"]).await["id"].as_str().expect("text").to_owned();
    one.json(&["lock", "y", "-s"]).await;
    let mut converting = start(two.enq(&["convert", &reader, "EX"]));
    server.until_queued("y", "conversion").await;
    let busy = two.done(&["deq", &reader]).await;
    assert!(busy.status.code() == Some(70) && said(&busy).contains("enq cancel"), "{busy:?}");
    send(pid_of(&converting), Signal::SIGINT);
    code_of(&mut converting).await;
    eventually("nobody converts", async || locks_of(&server, &["--converting"]).await == 0).await;
    eventually("it is held again", async || two.done(&["convert", &reader, "CR"]).await.status.success())
        .await;
    assert_eq!(one.done(&["deq", &id]).await.status.code(), Some(0));
    assert_eq!(two.done(&["try", "x"]).await.status.code(), Some(0), "nobody has it");
}

#[tokio::test]
async fn a_wait_is_withdrawn_by_another_process() {
    let server = Server::start().await;
    let (one, two) = (Kept::open(&server, &[]).await, Kept::open(&server, &[]).await);
    let id = one.lock("x").await;
    one.json(&["lock", "--path", "a/b"]).await;
    let waiting_id = async || {
        let locks = server.json(&["ls", "--waiting", "-o", "json"]).await;
        locks["locks"][0]["id"].as_str().map(String::from)
    };
    for wait in [&["lock", "x"][..], &["lock", "--path", "a/b/c"], &["lock", "--path", "a/b"]] {
        let mut waiting: Child = start(two.enq(wait));
        eventually("it waits", async || waiting_id().await.is_some()).await;
        let waits = waiting_id().await.expect("seen before");
        assert_eq!(one.done(&["cancel", &waits]).await.status.code(), Some(70), "another session's");
        assert_eq!(two.done(&["cancel", &waits]).await.status.code(), Some(0), "{wait:?}");
        assert_eq!(code_of(&mut waiting).await, Some(75), "{wait:?}");
        until_nobody_waits(&server).await;
    }
    let granted = one.done(&["cancel", &id]).await;
    assert!(granted.status.code() == Some(70) && said(&granted).contains("enq deq"), "{granted:?}");
}

#[tokio::test]
async fn a_lost_session_is_told_to_every_later_verb_and_to_the_shell() {
    let server = Server::start().await;
    let mut shell = start(server.shell("trap 'exit 33' USR1; while :; do sleep 0.05; done"));
    let parent = pid_of(&shell).to_string();
    let kept = Kept::open(&server, &["--parent", &parent, "--ttl", "2s", "--on-lost", "usr1"]).await;
    let other = Kept::open(&server, &["--ttl", "2s"]).await;
    let (id, others) = (kept.lock("x").await, other.lock("y").await);
    server.signal(Signal::SIGKILL);
    assert_eq!(code_of(&mut shell).await, Some(33), "the signal ends the script");
    for verb in [
        &["lock", "z"][..],
        &["try", "z"],
        &["deq", &others],
        &["convert", &others, "CR"],
        &["session", "show"],
    ] {
        eventually("the loss is noticed", async || {
            let output = other.done(verb).await;
            output.status.code() == Some(76) && said(&output).contains("LOST")
        })
        .await;
    }
    kept.until_ended().await;
    assert_eq!(kept.done(&["deq", &id]).await.status.code(), Some(76));
    assert_eq!(other.done(&["session", "close"]).await.status.code(), Some(0), "there is nothing left to do");
    other.until_ended().await;
}

/// The first script of the page about scripts does what the page says.
#[tokio::test]
async fn the_script_of_the_documents_runs() {
    let server = Server::start().await;
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples/scripts.md"));
    let page = page.expect("the page is there");
    let script = page.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a script");
    let work =
        "export_orders() { echo \"exported under $2\"; }; verify_orders() { enq ls -o name | wc -l; }\n";
    let output = end_of(server.shell(&format!("{work}{script}"))).await;
    assert!(output.status.success(), "{output:?}");
    let lines = printed(&output);
    assert!(lines[0].starts_with("exported under ") && lines[0] != "exported under 0", "{lines:?}");
    assert_eq!(lines.last().map(|line| line.trim()), Some("1"), "one lock while it verifies: {lines:?}");
    until_no_session(&server).await;
}

#[tokio::test]
async fn a_lock_that_is_taken_away_is_lost_and_the_others_are_not() {
    let server = Server::start().await;
    let kept = Kept::open(&server, &[]).await;
    let (taken, left) = (kept.json(&["lock", "x"]).await, kept.lock("y").await);
    let (id, seq) = (taken["id"].as_str().expect("text"), taken["seq"].as_str().expect("text"));
    let forced = server.done(&["force-release", id, "--token", seq, "--reason", "mine"]).await;
    assert_eq!(forced.status.code(), Some(0), "{forced:?}");
    eventually("it is known", async || {
        let output = kept.done(&["deq", id]).await;
        output.status.code() == Some(76) && said(&output).contains("mine")
    })
    .await;
    assert_eq!(kept.done(&["convert", &left, "PR"]).await.status.code(), Some(0));
}

#[tokio::test]
async fn without_a_session_the_verbs_say_how_to_open_one() {
    let server = Server::start().await;
    for verb in [
        &["lock", "x"][..],
        &["try", "x"],
        &["deq", "#1"],
        &["cancel", "1"],
        &["session", "close"],
        &["session", "show"],
    ] {
        let mut command = server.enq(verb);
        let output = end_of({
            command.env_remove("ENQ_SESSION");
            command
        })
        .await;
        assert_eq!(output.status.code(), Some(64), "{verb:?}");
        assert!(said(&output).contains("eval \"$(enq session open)\""), "{}", said(&output));
    }
    // A failure reaches a script that evaluates what is printed, and leaves it no outer session to go on with.
    let line =
        "ENQ_SESSION=outer; eval \"$(enq --server 127.0.0.1:1 session open)\"; echo $? ${ENQ_SESSION-none}";
    let output = end_of(server.shell(line)).await;
    assert_eq!(printed(&output), ["69 none"], "{}", said(&output));
    let line = "ENQ_FENCE=7; eval \"$(enq lock x -o shell)\"; echo $? ${ENQ_FENCE-none}";
    let mut command = server.shell(line);
    command.env("ENQ_SESSION", "/nowhere/sock");
    assert_eq!(printed(&end_of(command).await), ["76 none"]);
    let refused = server.done(&["session", "open", "--ttl", "100d"]).await;
    assert!(refused.status.code() == Some(64) && said(&refused).contains("LIMIT"), "{refused:?}");
    let refused = server.done(&["session", "open", "--parent", "999999999"]).await;
    assert_eq!(refused.status.code(), Some(64), "{refused:?}");
}

#[tokio::test]
async fn values_are_stored_by_those_who_may() {
    let server = Server::start().await;
    let kept = Kept::open(&server, &[]).await;
    let reader = kept.json(&["lock", "x", "-s"]).await;
    let id = reader["id"].as_str().expect("text");
    assert_eq!(reader["value"]["text"], "");
    for refused in [&["deq", id, "--value", "v"][..], &["convert", id, "EX", "--value", "v"]] {
        assert_eq!(kept.done(refused).await.status.code(), Some(64), "{refused:?}");
    }
    // A value block is there as long as somebody has a lock on its resource.
    let null = kept.json(&["lock", "x", "-m", "NL"]).await;
    kept.json(&["convert", id, "EX"]).await;
    assert_eq!(kept.done(&["deq", id, "--value", "v"]).await.status.code(), Some(0));
    let writer = kept.json(&["lock", "x"]).await;
    assert_eq!((&writer["value"]["text"], &writer["value"]["valid"]), (&"v".into(), &true.into()));
    let id = writer["id"].as_str().expect("text");
    assert_eq!(kept.done(&["deq", id, "--invalidate"]).await.status.code(), Some(0));
    let seen = kept.json(&["convert", null["id"].as_str().expect("text"), "CR"]).await;
    assert_eq!((&seen["value"]["hex"], &seen["value"]["valid"]), (&"76".into(), &false.into()));
}
