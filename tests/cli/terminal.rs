//! On a terminal: the foreground is the command's while it runs, and a stop of it is a stop of the job.
//!
//! script(1) makes the terminal, bash(1) with job control is the shell, and the test types.

use std::process::Stdio;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStdin, ChildStdout},
    time::timeout,
};

use crate::stage::{PATIENCE, Server};

/// The shell's prompt. Nothing is typed ahead of it: a shell may drop what it finds when it takes the terminal back.
const PROMPT: &str = "prompt2";

/// A shell on a terminal, and who sits before it.
struct Terminal {
    keys: ChildStdin,
    screen: ChildStdout,
    seen: String,
    _shell: Child,
}

impl Terminal {
    async fn open(server: &Server) -> Terminal {
        let mut command = server.shell("exec script -qec 'bash --norc --noprofile -i' /dev/null");
        command.env("TERM", "dumb").env("PS1", "$ ").env("ENQ", env!("CARGO_BIN_EXE_enq"));
        let mut shell = command.stdin(Stdio::piped()).spawn().expect("there is script(1)");
        let keys = shell.stdin.take().expect("it is piped");
        let screen = shell.stdout.take().expect("it is piped");
        let mut terminal = Terminal { keys, screen, seen: String::new(), _shell: shell };
        // The shell echoes what is typed itself; what is printed is told from it by the arithmetic.
        terminal.types("stty -echo; PS1=prompt$((1+1)); echo ready\n").await;
        terminal.until(PROMPT).await;
        terminal
    }

    async fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).await.expect("the shell reads");
    }

    /// Waits until this is on the screen, below all that was waited for before.
    async fn until(&mut self, text: &str) {
        let reading = async {
            let mut bytes = [0; 4096];
            while !self.seen.contains(text) {
                let len = self.screen.read(&mut bytes).await.expect("the terminal can be read");
                assert!(len > 0, "the terminal is closed");
                self.seen.push_str(&String::from_utf8_lossy(&bytes[..len]));
            }
        };
        let found = timeout(PATIENCE, reading).await.is_ok();
        let end = self.seen.find(text).map(|at| at + text.len());
        assert!(found, "{text:?} is not in {:?}", self.seen);
        self.seen.drain(..end.unwrap_or_default());
    }
}

#[tokio::test]
async fn a_stop_from_the_keyboard_stops_the_job_and_the_lock_stays() {
    let server = Server::start().await;
    let mut terminal = Terminal::open(&server).await;
    terminal.types("$ENQ run x -- cat\n").await;
    server.until_queued("x", "granted").await;
    terminal.types("one\n").await;
    terminal.until("one\r\n").await;
    terminal.types("\x1a").await;
    terminal.until("Stopped").await;
    terminal.until(PROMPT).await;
    let shown = server.json(&["show", "x", "-o", "json"]).await;
    let held = shown["resource"]["granted"][0]["id"].clone();
    assert!(held.is_string(), "{shown}");
    terminal.types("fg\n").await;
    terminal.until("x -- cat").await;
    terminal.types("two\n").await;
    terminal.until("two\r\n").await;
    let shown = server.json(&["show", "x", "-o", "json"]).await;
    assert_eq!(shown["resource"]["granted"][0]["id"], held, "it was never let go");
    // End of file: it only reaches who reads from the terminal in the foreground.
    terminal.types("\x04").await;
    terminal.until(PROMPT).await;
    terminal.types("echo rc=$?\n").await;
    terminal.until("rc=0").await;
}

#[tokio::test]
async fn an_interrupt_from_the_keyboard_reaches_the_command_alone_or_in_a_pipeline() {
    let server = Server::start().await;
    let mut terminal = Terminal::open(&server).await;
    for pipeline in ["", " | cat"] {
        // exec, because a shell that is interrupted while it forks waits for a child that was not.
        terminal.types(&format!("$ENQ run x -- sh -c 'echo ru\\ns; exec sleep 1000'{pipeline}\n")).await;
        terminal.until("runs\r\n").await;
        terminal.types("\x03").await;
        terminal.until(PROMPT).await;
        terminal.types("echo rc=${PIPESTATUS[0]}\n").await;
        terminal.until("rc=130").await;
    }
}

#[tokio::test]
async fn a_pipeline_is_stopped_and_continued_as_one() {
    let server = Server::start().await;
    let mut terminal = Terminal::open(&server).await;
    // The first line is read when the command has been given the terminal that it asked for.
    terminal
        .types("$ENQ run x -- sh -c 'read x </dev/tty; echo $x; read y </dev/tty; echo $y' | cat\n")
        .await;
    server.until_queued("x", "granted").await;
    terminal.types("one\n").await;
    terminal.until("one\r\n").await;
    terminal.types("\x1a").await;
    terminal.until("Stopped").await;
    terminal.until(PROMPT).await;
    terminal.types("fg\n").await;
    terminal.until("| cat").await;
    terminal.types("two\n").await;
    terminal.until("two\r\n").await;
    terminal.until(PROMPT).await;
    terminal.types("echo rc=${PIPESTATUS[0]}\n").await;
    terminal.until("rc=0").await;
}
