//! `enq bench`: that it drives what it says, that its JSON has the keys that programs rely on, and that nothing stays. No figure
//! is looked at.

use std::{process::Stdio, time::Duration};

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::timeout,
};

use crate::stage::{PATIENCE, Server, code_of, end_of, eventually, pid_of, said, send, start};

/// A run of one short round.
const SHORT: [&str; 4] = ["--rounds", "1", "--turn", "50ms"];

async fn rows(server: &Server, arguments: &[&str]) -> Vec<Value> {
    let mut all = vec!["bench", "-o", "json"];
    all.extend(SHORT);
    all.extend(arguments);
    let answer = server.json(&all).await;
    let sections = answer["bench"]["sections"].as_array().expect("sections").clone();
    sections.iter().flat_map(|section| section["rows"].as_array().expect("rows").clone()).collect()
}

/// Nothing of the load is left on the server.
async fn is_empty(server: &Server) {
    eventually("no lock and no session of the load", async || {
        let locks = server.json(&["ls", "-o", "json"]).await["locks"].as_array().map(Vec::len);
        let sessions =
            server.json(&["session", "ls", "-o", "json"]).await["sessions"].as_array().map(Vec::len);
        (locks, sessions) == (Some(0), Some(0))
    })
    .await;
}

#[tokio::test]
async fn pairs_are_counted_beside_the_floor_and_leave_nothing() {
    let server = Server::start().await;
    let log = tempfile::tempdir().expect("a directory");
    let path = log.path().join("bench.hlog");
    let path = path.to_str().expect("a path in text");
    let rows = rows(&server, &["--points", "1x1,2x4", "--floor", "--hdr", path]).await;
    let servers: Vec<_> = rows.iter().map(|row| row["server"].as_str().unwrap_or_default()).collect();
    assert_eq!(servers, ["floor", "enqd", "floor", "enqd"]);
    for row in &rows {
        assert!(
            row["pairs"].as_u64() > Some(0) && row["pairs_per_second"]["median"].as_f64() > Some(0.0),
            "{row}"
        );
        let latency = &row["latency_us"];
        assert!(latency["p50"]["median"].as_f64() <= latency["max"]["median"].as_f64(), "{row}");
        assert!(row["generator_load"]["median"].is_number() && row["times_redis"].is_null(), "{row}");
    }
    assert!(rows[1]["times_floor"].is_number() && rows[0]["times_floor"].is_null());
    // The floor was started for the run; the server was not, and nobody has said which process it is.
    assert!(rows[0]["processor_us_per_pair"]["median"].is_number());
    assert!(rows[1]["processor_us_per_pair"].is_null());
    let written = std::fs::read_to_string(path).expect("the log of latencies");
    assert!(written.contains("Tag=enqd-pair-2x4,") && written.contains("Tag=floor-pair-1x1,"), "{written}");
    is_empty(&server).await;
}

#[tokio::test]
async fn every_work_does_its_pairs() {
    let server = Server::start().await;
    for arguments in [
        &["--work", "pair,convert", "--points", "2x4"][..],
        &["--work", "pipelined-path,path", "--points", "2x2", "--tree-depth", "3"],
        &["--work", "handoff", "--points", "5x1"],
        &["--names", "3", "--zipf", "1", "--modes", "PR:80,EX:20", "--points", "4x4"],
        &["--value-blocks", "--modes", "PW", "--points", "2x2", "--threads", "2"],
        &["--rate", "50%", "--floor", "--points", "2x1"],
        &["--rate", "500", "--points", "3x1"],
        &["--held", "10,600", "--points", "1x1"],
    ] {
        let rows = rows(&server, arguments).await;
        assert!(
            !rows.is_empty() && rows.iter().all(|row| row["pairs"].as_u64() > Some(0)),
            "{arguments:?}: {rows:?}"
        );
        let handoffs = &rows[0]["handoffs"];
        if arguments.contains(&"handoff") {
            assert!(handoffs["grants"].as_u64() > Some(1) && handoffs["out_of_order"] == 0, "{handoffs}");
        } else {
            assert!(handoffs.is_null());
        }
    }
    is_empty(&server).await;
}

#[tokio::test]
async fn without_a_server_it_starts_one_and_ends_it() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_enq"));
    command.args(["bench", "-o", "json", "--points", "1x1"]).args(SHORT).env_remove("ENQ_SERVERS");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = end_of(command).await;
    assert!(output.status.success(), "{output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
    let server = &answer["bench"]["servers"][0];
    assert_eq!((&server["name"], &server["own"]), (&"enqd".into(), &true.into()));
    let row = &answer["bench"]["sections"][0]["rows"][0];
    assert!(row["processor_us_per_pair"]["median"].is_number(), "its processor time is known: {row}");
    let address = server["address"].as_str().expect("where it was");
    assert!(TcpStream::connect(address).await.is_err(), "it has ended with the run");
}

#[tokio::test]
async fn a_signal_ends_it_and_leaves_nothing() {
    let server = Server::start().await;
    let mut running =
        start(server.enq(&["bench", "--turn", "100ms", "--rounds", "10000", "--points", "2x2"]));
    eventually("locks of the load", async || {
        let statistics = server.json(&["stats", "-o", "json"]).await;
        statistics["statistics"]["enq_new_total"].as_u64() > Some(0)
    })
    .await;
    send(pid_of(&running), Signal::SIGTERM);
    assert_eq!(code_of(&mut running).await, Some(143));
    is_empty(&server).await;
}

#[tokio::test]
async fn what_cannot_be_driven_is_said() {
    let server = Server::start().await;
    for (arguments, code, word) in [
        (&["--rate", "50%"][..], 64, "--floor"),
        (&["--peer", "memcached://127.0.0.1:1"], 64, "redis://"),
        (&["--peer", "redis://127.0.0.1:1"], 69, "redis"),
        (&["--points", "1x1024", "--work", "path,pipelined-path"], 64, "in flight"),
        (&["-o", "name"], 64, "names"),
        (&["--points", "16x1", "--rate", "1"], 64, "leases"),
    ] {
        let output = server.done(&[&["bench"], &SHORT[..], arguments].concat()).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(word), "{arguments:?}: {}", said(&output));
    }
    is_empty(&server).await;
}

/// A Redis on a free port, if this machine has one.
async fn redis() -> Option<(Child, String)> {
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = free.local_addr().expect("it is bound").to_string();
    drop(free);
    let port = address.rsplit_once(':')?.1;
    let mut command = Command::new("redis-server");
    command.args(["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let child = match command.spawn() {
        Ok(child) => child,
        Err(_) => {
            eprintln!("NOT RUN: there is no redis-server");
            return None;
        }
    };
    let answers = async {
        while TcpStream::connect(&address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, answers).await.expect("redis answers");
    Some((child, address))
}

#[tokio::test]
async fn a_peer_is_driven_by_the_same_lines() {
    let Some((redis, address)) = redis().await else { return };
    let server = Server::start().await;
    let peer = format!("redis://{address}");
    for arguments in [&["--points", "2x4"][..], &["--points", "5x1", "--work", "handoff"]] {
        let rows = rows(&server, &[&["--peer", &peer], arguments].concat()).await;
        let servers: Vec<_> = rows.iter().map(|row| row["server"].as_str().unwrap_or_default()).collect();
        assert_eq!(servers, ["enqd", "redis"]);
        assert!(rows.iter().all(|row| row["pairs"].as_u64() > Some(0)), "{rows:?}");
        assert!(rows[0]["times_redis"].is_number(), "{}", rows[0]);
        assert!(
            rows[1]["processor_us_per_pair"]["median"].is_number(),
            "redis says its process: {}",
            rows[1]
        );
    }
    let output = end_of(cli(&address, "DBSIZE")).await;
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "0", "nothing stays there either");
    is_empty(&server).await;
    drop(redis);
}

/// A word to that Redis.
fn cli(address: &str, word: &str) -> Command {
    let (host, port) = address.rsplit_once(':').expect("an address has a port");
    let mut command = Command::new("redis-cli");
    command.args(["-h", host, "-p", port, word]).stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(Stdio::piped());
    command
}
