//! A server that starts again where one was before: who waits, for how long, and what he is told.

use std::{net::TcpListener, time::Duration};

use enq::client;
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Child;

use crate::stage::{Server, code_of, end_of, eventually, mark, marked, said, start};

/// An address and a state directory at which servers follow each other.
struct Place {
    listen: String,
    state: TempDir,
}

impl Place {
    fn new() -> Place {
        // Nobody else takes it meanwhile: the system hands out other free ports first.
        let free = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let listen = free.local_addr().expect("it has an address").to_string();
        Place { listen, state: tempfile::tempdir().expect("a folder") }
    }

    async fn start(&self, more: &[&str]) -> Server {
        let state = self.state.path().to_str().expect("its name is text");
        Server::start_with(&[&["--listen", &self.listen, "--state-dir", state], more].concat()).await
    }
}

/// Starts a command under a lock with a lease of three seconds; the seq of its grant.
async fn hold(server: &Server, mark: &str) -> (Child, u64) {
    let line = format!("sleep {mark}");
    let run =
        start(server.enq(&["run", "--ttl", "3s", "--kill-after", "300ms", "x", "--", "sh", "-c", &line]));
    eventually("the command runs", async || marked(mark).len() == 1).await;
    let seen = server.json(&["show", "x", "-o", "json"]).await;
    (run, number(&seen["resource"]["granted"][0]["seq"]))
}

fn number(value: &Value) -> u64 {
    value.as_str().expect("seqs are strings").parse().expect("of digits")
}

/// The seq and the fence of a lock that is granted now.
async fn grant(server: &Server) -> (u64, u64) {
    let output = server.done(&["run", "x", "--", "sh", "-c", "echo $ENQ_SEQ $ENQ_FENCE"]).await;
    assert!(output.status.success(), "{output:?}");
    let words = String::from_utf8(output.stdout).expect("digits");
    let numbers: Vec<u64> = words.split_whitespace().map(|word| word.parse().expect("a number")).collect();
    (numbers[0], numbers[1])
}

#[tokio::test]
async fn after_a_crash_a_newcomer_waits_for_the_lease_that_may_still_be_believed_in() {
    let place = Place::new();
    let server = place.start(&[]).await;
    let mark = mark();
    let (mut held, seq) = hold(&server, &mark).await;
    let began = client::now();
    server.end(Signal::SIGKILL).await;
    let server = place.start(&[]).await;

    // Whoever does not wait is told for how long everybody does.
    let refused = server.done(&["run", "-n", "x", "--", "true"]).await;
    assert_eq!(refused.status.code(), Some(75), "{refused:?}");
    assert!(
        said(&refused).contains("RECOVERING") && said(&refused).contains("server restarted, "),
        "{refused:?}"
    );

    // Whoever waits is told, too, and gets the lock when the lease has ended: not before, and not much later.
    let line = "enq run x -- sh -c 'echo $ENQ_SEQ $ENQ_FENCE'";
    let (newcomer, shown) = tokio::join!(end_of(server.shell(line)), async {
        server.until_queued("x", "waiting").await;
        let shown = server.done(&["show", "x"]).await;
        let statistics = server.json(&["stats", "-o", "json"]).await;
        (String::from_utf8_lossy(&shown.stdout).into_owned(), statistics)
    });
    let waited = client::now().since(began);
    assert!(newcomer.status.success(), "{newcomer:?}");
    assert!(said(&newcomer).contains("waiting for EX on x: server restarted, "), "{newcomer:?}");
    assert!(waited > Duration::from_secs(3), "{waited:?}: that lease had not ended");
    assert!(shown.0.contains("server restarted, "), "{}", shown.0);
    assert!(shown.1["statistics"]["enq_recovering_ms"].as_u64() > Some(0), "{}", shown.1);

    // The one before was stopped in time, and its numbers are of the past.
    assert_eq!(marked(&mark), [] as [i32; 0]);
    assert_eq!(code_of(&mut held).await, Some(76));
    let output = String::from_utf8_lossy(&newcomer.stdout).into_owned();
    assert!(
        output.split_whitespace().all(|word| word.parse::<u64>().expect("a number") > seq),
        "{output} > {seq}"
    );
}

#[tokio::test]
async fn after_a_clean_stop_nobody_waits_and_numbers_go_on() {
    let place = Place::new();
    let mut last = (0, 0);
    for _ in 0..3 {
        let server = place.start(&[]).await;
        // With a wait this would be refused.
        assert_eq!(server.done(&["run", "-n", "x", "--", "true"]).await.status.code(), Some(0));
        for _ in 0..2 {
            let next = grant(&server).await;
            assert!(next.0 > last.0 && next.1 > last.1, "{next:?} after {last:?}");
            last = next;
        }
        server.end(Signal::SIGTERM).await;
    }
}

#[tokio::test]
async fn a_clean_stop_under_a_lock_is_waited_for_and_an_assertion_is_believed() {
    let place = Place::new();
    let server = place.start(&[]).await;
    let mark = mark();
    let (mut held, _) = hold(&server, &mark).await;
    server.end(Signal::SIGTERM).await;
    assert_eq!(code_of(&mut held).await, Some(76));
    let server = place.start(&[]).await;
    let refused = server.done(&["run", "-n", "x", "--", "true"]).await;
    assert!(said(&refused).contains("RECOVERING"), "{refused:?}");

    // A crash while everybody waits is waited for as well; unless somebody says that there is nobody.
    server.end(Signal::SIGKILL).await;
    let server = place.start(&[]).await;
    let refused = server.done(&["run", "-n", "x", "--", "true"]).await;
    assert!(said(&refused).contains("RECOVERING"), "{refused:?}");
    server.end(Signal::SIGKILL).await;
    let server = place.start(&["--no-survivors"]).await;
    assert_eq!(server.done(&["run", "-n", "x", "--", "true"]).await.status.code(), Some(0));
}
