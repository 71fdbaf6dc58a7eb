//! What the tests stand on: a server of their own, the command, and ways to wait for a state.

use std::{
    fs,
    future::Future,
    process::{Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr, Command},
    time::timeout,
};

/// After this long a state will not come any more.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server on a free port that is killed with its test.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: String,
    /// Where else it listens.
    pub(crate) others: Vec<String>,
}

impl Server {
    pub(crate) async fn start() -> Server {
        Server::start_with(&["--listen", "127.0.0.1:0"]).await
    }

    /// With these arguments, the addresses to listen on among them.
    pub(crate) async fn start_with(arguments: &[&str]) -> Server {
        Server::start_logging("warn", Stdio::null(), arguments).await
    }

    /// With these arguments and a log that can be read, line by line.
    pub(crate) async fn start_heard(arguments: &[&str]) -> (Server, Lines<BufReader<ChildStderr>>) {
        let mut server = Server::start_logging("info", Stdio::piped(), arguments).await;
        let log = server.process.stderr.take().expect("its log is piped");
        (server, BufReader::new(log).lines())
    }

    async fn start_logging(level: &str, log: Stdio, arguments: &[&str]) -> Server {
        let mut process = Command::new(env!("CARGO_BIN_EXE_enqd"))
            .args(["--log-level", level])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the server starts");
        let out = process.stdout.take().expect("its output is piped");
        let mut lines = BufReader::new(out).lines();
        let mut listening = Vec::new();
        let commas = arguments.iter().map(|argument| argument.matches(',').count());
        for _ in 0..=commas.sum() {
            let line = timeout(PATIENCE, lines.next_line()).await.expect("it says where it listens in time");
            let line = line.expect("it can be read").expect("it says a line");
            listening
                .push(line.strip_prefix("listening on ").expect("the line is the promised one").to_owned());
        }
        Server { process, address: listening.remove(0), others: listening }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(pid_of(&self.process), signal);
    }

    /// Sends it a signal that ends it, and waits until it has.
    pub(crate) async fn end(mut self, signal: Signal) {
        self.signal(signal);
        let ended = timeout(PATIENCE, self.process.wait()).await.expect("it ends in time");
        ended.expect("its status is there");
    }

    /// The command, speaking with this server.
    pub(crate) fn enq(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_enq"));
        command.args(arguments).env("ENQ_SERVERS", &self.address).env_remove("ENQ_SPACE").kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A shell line in which `enq` is the command, speaking with this server.
    pub(crate) fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        let line = line.replace("enq ", &format!("{} ", env!("CARGO_BIN_EXE_enq")));
        command
            .args(["-c", &line])
            .env("ENQ_SERVERS", &self.address)
            .env_remove("ENQ_SPACE")
            .kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the command to its end.
    pub(crate) async fn done(&self, arguments: &[&str]) -> Output {
        end_of(self.enq(arguments)).await
    }

    /// Runs the command to its end; what it printed, as JSON.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        let output = self.done(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let value: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
        assert_eq!(value["version"], 1, "{arguments:?}");
        value
    }

    /// Waits until a lock with this name is in this queue.
    pub(crate) async fn until_queued(&self, name: &str, queue: &str) {
        eventually(&format!("a lock on {name} in the {queue} queue"), async || {
            let seen = self.json(&["show", name, "-o", "json"]).await;
            seen["resource"][queue].as_array().is_some_and(|locks| !locks.is_empty())
        })
        .await;
    }
}

/// Runs a command to its end.
pub(crate) async fn end_of(mut command: Command) -> Output {
    timeout(PATIENCE, command.output()).await.expect("it ends in time").expect("it starts")
}

/// Starts a command of which the test does not read the output.
pub(crate) fn start(mut command: Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
}

/// The exit code of something that ends.
pub(crate) async fn code_of(child: &mut Child) -> Option<i32> {
    timeout(PATIENCE, child.wait()).await.expect("it ends in time").expect("its status is there").code()
}

pub(crate) fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().expect("it has not been waited for").cast_signed())
}

pub(crate) fn send(pid: Pid, signal: Signal) {
    kill(pid, signal).expect("the process is there");
}

/// Waits until it is so.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "never: {what}");
}

/// A number of seconds for sleep(1) that no other process of this machine has in its arguments.
pub(crate) fn mark() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("86400.{}{:03}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The living processes with this word among their arguments that are not ours to expect: front, keeper and shell lines
/// of the test have it too, so it is looked for as the whole last argument of sleep(1).
pub(crate) fn marked(mark: &str) -> Vec<i32> {
    let wanted = format!("sleep\0{mark}\0").into_bytes();
    let entries = fs::read_dir("/proc").expect("there is a table of processes");
    entries
        .flatten()
        .filter(|entry| fs::read(entry.path().join("cmdline")).is_ok_and(|line| line.ends_with(&wanted)))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// The child of this process whose arguments begin with this word.
pub(crate) fn child_called(parent: Pid, word: &str) -> Option<Pid> {
    let entries = fs::read_dir("/proc").expect("there is a table of processes");
    entries.flatten().find_map(|entry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let of: i32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let found = of == parent.as_raw() && line.starts_with(word.as_bytes());
        if found { entry.file_name().to_str()?.parse().ok().map(Pid::from_raw) } else { None }
    })
}

/// The text of standard error.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
