//! Faults by injection: the system kills the server at a certain call, says that the disk is broken or full, interrupts it,
//! or writes less than it was asked to.
//!
//! The clients of `world` work all the time. Each round one call fails, the nth of its sort in its thread, by `strace`; what is on
//! disk then is compared with the books by a server that nobody lies to. A server whose disk fails has to end within a second,
//! with exit code 74 and the reason.
//!
//! Some rounds in the gate; `ENQ_INJECT=300 cargo test --test durable faults` has every n up to 300. Where processes may
//! not be traced, NOT RUN is said.

use crate::{
    kills::OFTEN,
    stage::{Ended, Place, number, until},
    world::Clients,
};
use enq::client::Session;
use nix::sys::signal::Signal;
use std::{fs, path::Path, process::Stdio, time::Duration};
use tokio::process::Command;

/// The disk of its journal has failed.
const DISK: Option<i32> = Some(74);

/// What is done to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The process is killed when it makes it.
    Killed,
    /// It says that the device is broken.
    Broken,
    /// It says that there is no room.
    Full,
}

impl Fault {
    fn words(self) -> &'static str {
        match self {
            Fault::Killed => "signal=SIGKILL",
            Fault::Broken => "error=EIO",
            Fault::Full => "error=ENOSPC",
        }
    }
}

/// The rounds of the gate: the call, what is done to it, and which one is hit.
const ROUNDS: [(&str, Fault, &[u64]); 11] = [
    ("pwrite64", Fault::Killed, &[1, 5, 70]),
    ("fdatasync", Fault::Killed, &[1, 4, 30]),
    ("fsync", Fault::Killed, &[1, 3]),
    ("rename", Fault::Killed, &[1, 2]),
    ("unlink", Fault::Killed, &[1]),
    ("pwrite64", Fault::Broken, &[1, 40]),
    ("fdatasync", Fault::Broken, &[1, 20]),
    ("fsync", Fault::Broken, &[2]),
    ("rename", Fault::Broken, &[1]),
    ("pwrite64", Fault::Full, &[30]),
    ("fdatasync", Fault::Full, &[10]),
];

/// Why nothing can be injected here.
async fn obstacle() -> Option<String> {
    let mut probe = Command::new("strace");
    probe.args(["-D", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fsync"]);
    probe.args(["-e", "inject=fsync:error=EIO:when=1", "true"]).stdin(Stdio::null());
    match probe.output().await {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")),
        Err(error) => Some(format!("strace: {error}")),
    }
}

/// The server with something injected, and what was done to it in that file. It is a child of this process, and the one who
/// traces it is not.
fn injected(place: &Place, what: &str, trace: &Path) -> Command {
    let calls = what.split(':').next().unwrap();
    let (traced, inject) = (format!("trace={calls}"), format!("inject={what}"));
    let mut by =
        vec!["strace", "-D", "-f", "-ttt", "-o", trace.to_str().unwrap(), "-e", &traced, "-e", &inject];
    if !what.contains("signal=") {
        // Other calls go through at full speed. With it strace 6.1 does not send the signal, but at the first call.
        by.insert(3, "--seccomp-bpf");
    }
    place.enqd_by(&by, &place.address, place.data())
}

/// What came of a round.
enum Came {
    /// It ended by itself.
    Ended(Ended),
    /// The call was not made so often, or its failure was none.
    Nothing,
}

/// So many answers cannot be given without the call; snapshots come every six hundred, new segments less often.
fn enough(call: &str, nth: u64) -> u64 {
    match call {
        "pwrite64" | "fdatasync" => 300 + 20 * nth,
        _ => 1_500 + 500 * nth,
    }
}

/// One round: a server to whom this happens, and what is left of it.
async fn one_round(place: &Place, clients: &mut Clients, (call, fault, nth): (&str, Fault, u64)) -> Came {
    let trace = place.beside("trace");
    let what = format!("{call}:{}:when={nth}", fault.words());
    let came = match place.begin(injected(place, &what, &trace)).try_serve().await {
        Err(ended) => Came::Ended(ended),
        Ok(mut server) => {
            let ended = tokio::select! {
                () = server.over() => true,
                () = clients.work(enough(call, nth)) => false,
            };
            if ended {
                Came::Ended(server.ended().await)
            } else {
                server.kill().await;
                Came::Nothing
            }
        }
    };
    if let Came::Ended(ended) = &came {
        check_end(ended, fault, &what, &trace).await;
    }
    clients.audit(place).await;
    came
}

/// It ended as it should have.
async fn check_end(ended: &Ended, fault: Fault, what: &str, trace: &Path) {
    if fault == Fault::Killed {
        assert_eq!(ended.code, None, "{what}: {}", ended.said);
        return;
    }
    let reason = if fault == Fault::Full { "No space left on device" } else { "Input/output error" };
    assert_eq!(ended.code, DISK, "{what}: {}", ended.said);
    let last = ended.said.lines().rfind(|line| line.starts_with("enqd: ")).unwrap_or_default();
    assert!(last.contains(reason) && last.contains("data"), "{what}: {}", ended.said);
    let read = || fs::read_to_string(trace).unwrap();
    until("the end is in the trace", async || time_to_end(&read()).is_some()).await;
    let (text, took) = (read(), time_to_end(&read()));
    println!("{what}: ended {took:?} later");
    // The gate of this repository shares its machine with other tests.
    if number("ENQ_INJECT").is_some() {
        assert!(took.unwrap() < Duration::from_secs(1), "{what}: {text}");
    }
}

/// From the first call that failed to the end of the process.
fn time_to_end(trace: &str) -> Option<Duration> {
    let moment = |line: &str| line.split_whitespace().nth(1)?.parse::<f64>().ok();
    let failed = trace.lines().find(|line| line.ends_with("(INJECTED)")).and_then(moment)?;
    let ended = trace.lines().rfind(|line| line.contains("+++ exited with 74 +++")).and_then(moment)?;
    Some(Duration::from_secs_f64((ended - failed).max(0.0)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_what_was_acknowledged_is_there() {
    if let Some(why) = obstacle().await {
        println!("NOT RUN: faults by injection: {why}");
        return;
    }
    let place = Place::told(&OFTEN);
    let server = place.start().await;
    let mut clients = Clients::at_work(&place, number("ENQ_SEED").unwrap_or(1)).await;
    clients.work(100).await;
    server.kill().await;
    let (mut rounds, mut nothing) = (0, Vec::new());
    for (call, fault, in_gate) in ROUNDS {
        let all: Vec<u64> = number("ENQ_INJECT").map_or(in_gate.to_vec(), |most| (1..=most).collect());
        let mut in_vain = 0;
        for nth in all {
            rounds += 1;
            match one_round(&place, &mut clients, (call, fault, nth)).await {
                Came::Ended(_) => in_vain = 0,
                Came::Nothing => {
                    in_vain += 1;
                    nothing.push(format!("{call} {fault:?} {nth}"));
                }
            }
            // There are no more calls of this sort while so many answers are given.
            if in_vain == 10 {
                break;
            }
        }
    }
    println!("{rounds} faults, of which these changed nothing: {nothing:?}");
    assert!(nothing.len() * 2 < rounds, "{nothing:?}");
    let server = place.start().await;
    clients.end(&server).await;
    server.stop().await;
}

/// The first start of all makes every file there is; wherever it is ended, the next one begins.
#[tokio::test]
async fn a_first_start_that_is_killed_is_begun_again() {
    if let Some(why) = obstacle().await {
        println!("NOT RUN: a first start that is killed: {why}");
        return;
    }
    let most = number("ENQ_INJECT").unwrap_or(2);
    for (call, calls) in [("pwrite64", 12), ("fdatasync", 12), ("fsync", 6), ("rename", 4)] {
        for nth in 1..=most.min(calls) {
            let place = Place::new();
            let what = format!("{call}:signal=SIGKILL:when={nth}");
            let command = injected(&place, &what, &place.beside("trace"));
            // If it serves, nobody has asked it anything.
            if let Ok(server) = place.begin(command).try_serve().await {
                server.kill().await;
            }
            let server = place.start().await;
            enq::client::Client::connect(&[&place.address]).await.unwrap().ping().await.unwrap();
            server.stop().await;
        }
    }
}

/// The snapshot at the end is not needed, but a disk that fails is told of at any moment.
#[tokio::test]
async fn a_stop_on_a_broken_disk_says_so() {
    if let Some(why) = obstacle().await {
        println!("NOT RUN: a stop on a broken disk: {why}");
        return;
    }
    let place = Place::new();
    let session = {
        let server = place.start().await;
        let session = Session::builder("one").connect(&[&place.address]).await.unwrap();
        server.stop().await;
        session
    };
    // A stop renames nothing but its snapshot.
    let server =
        place.begin(injected(&place, "rename:error=EIO:when=1+", &place.beside("trace"))).serves().await;
    let lock = session.lock("r").await.unwrap();
    server.signal(Signal::SIGTERM);
    let ended = server.ended().await;
    assert_eq!(ended.code, DISK, "{}", ended.said);
    assert!(ended.said.contains("enqd: the journal failed: rename"), "{}", ended.said);
    let server = place.start().await;
    session.ping().await.unwrap();
    assert!(lock.held());
    lock.release().await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interruptions_do_no_harm() {
    if let Some(why) = obstacle().await {
        println!("NOT RUN: interruptions: {why}");
        return;
    }
    let place = Place::told(&OFTEN);
    let what = "pwrite64,fdatasync,fsync,rename:error=EINTR:when=2+3";
    // A rename is not interrupted by any file system; the others may be.
    let what = what.replace(",rename", "");
    let server = place.begin(injected(&place, &what, &place.beside("trace"))).serves().await;
    let mut clients = Clients::at_work(&place, 2).await;
    clients.work(1_000).await;
    assert!(!server.said().contains("ERROR"), "{}", server.said());
    server.kill().await;
    let trace = fs::read_to_string(place.beside("trace")).unwrap();
    for call in ["pwrite64", "fdatasync", "fsync"] {
        let is_it = |line: &&str| line.contains(call) && line.contains("EINTR");
        assert!(trace.lines().any(|line| is_it(&line)), "{call} was interrupted");
    }
    clients.audit(&place).await;
    let server = place.start().await;
    clients.end(&server).await;
    server.stop().await;
}

/// A library before the system's own, in which reads and writes at an offset stop anywhere, or are interrupted.
const SHORT: &str = include_str!("short.c");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_writes_and_reads_do_no_harm() {
    let place = Place::told(&OFTEN);
    let (source, library) = (place.beside("short.c"), place.beside("short.so"));
    fs::write(&source, SHORT).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source);
    match compiler.output().await {
        Ok(output) if output.status.success() => {}
        other => {
            println!("NOT RUN: short writes: no library can be made: {other:?}");
            return;
        }
    }
    let mut command = place.enqd();
    command.env("LD_PRELOAD", &library).env("ENQ_SHORT_TRACE", place.beside("short"));
    let server = place.begin(command).serves().await;
    let mut clients = Clients::at_work(&place, 3).await;
    clients.work(1_000).await;
    assert!(!server.said().contains("ERROR"), "{}", server.said());
    server.kill().await;
    assert!(place.beside("short").exists(), "the library was asked");
    clients.audit(&place).await;
    // And it reads as it writes.
    let mut command = place.enqd();
    command.env("LD_PRELOAD", &library);
    let server = place.begin(command).serves().await;
    clients.end(&server).await;
    server.stop().await;
}
