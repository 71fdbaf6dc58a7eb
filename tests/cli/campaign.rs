//! Many runs, each of which is hit at a random moment: nothing is alive after the lease, and the exit code is true.
//!
//! A few in the gate; `ENQ_CAMPAIGN_RUNS=200 cargo test --test cli campaign` for more, with
//! `ENQ_CAMPAIGN_BLOW=ServerKilled` all of one kind. Each run prints its seed when it fails; `ENQ_CAMPAIGN_SEED` runs
//! that one again.

use std::{env, os::unix::process::CommandExt as _, time::Duration};

use enq::client;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use tokio::{process::Child, task::JoinSet, time::timeout};

use crate::stage::{PATIENCE, Server, child_called, eventually, mark, marked, pid_of, send, start};

/// The lease of every run. Whatever happens, nothing is alive this long after it happened.
const TTL: Duration = Duration::from_secs(3);

/// Runs at a time: this machine has other things to do.
const TOGETHER: usize = 4;

/// What happens to a run.
#[derive(Clone, Copy, Debug)]
enum Blow {
    ServerKilled,
    ServerStopped,
    FrontKilled,
    FrontsGroupKilled,
    KeeperKilled,
    KeeperStopped,
    FrontTerminated,
}

const BLOWS: [Blow; 7] = [
    Blow::ServerKilled,
    Blow::ServerStopped,
    Blow::FrontKilled,
    Blow::FrontsGroupKilled,
    Blow::KeeperKilled,
    Blow::KeeperStopped,
    Blow::FrontTerminated,
];

impl Blow {
    /// The exit codes that tell the truth about it: while the command runs, and before.
    fn codes(self) -> &'static [Option<i32>] {
        match self {
            Blow::ServerKilled | Blow::ServerStopped => &[Some(76), Some(69)],
            Blow::FrontKilled | Blow::FrontsGroupKilled => &[None],
            Blow::KeeperKilled => &[Some(76), Some(137)],
            Blow::KeeperStopped => &[Some(76)],
            Blow::FrontTerminated => &[Some(143)],
        }
    }

    fn strike(self, server: &Server, front: Pid, keeper: Option<Pid>) {
        match self {
            Blow::ServerKilled => server.signal(Signal::SIGKILL),
            Blow::ServerStopped => server.signal(Signal::SIGSTOP),
            Blow::FrontKilled => send(front, Signal::SIGKILL),
            Blow::FrontsGroupKilled => killpg(front, Signal::SIGKILL).expect("the group is there"),
            Blow::KeeperKilled => send(keeper.expect("it was waited for"), Signal::SIGKILL),
            Blow::KeeperStopped => send(keeper.expect("it was waited for"), Signal::SIGSTOP),
            Blow::FrontTerminated => send(front, Signal::SIGTERM),
        }
    }
}

fn blow_of(seed: u64) -> Blow {
    BLOWS[usize::try_from(seed).unwrap_or(0) % BLOWS.len()]
}

#[tokio::test]
async fn campaign() {
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let runs = usize::try_from(number("ENQ_CAMPAIGN_RUNS").unwrap_or(7)).unwrap_or(usize::MAX);
    let only = env::var("ENQ_CAMPAIGN_BLOW").ok();
    let is_wanted = |seed: &u64| only.as_ref().is_none_or(|only| *only == format!("{:?}", blow_of(*seed)));
    let seeds: Vec<u64> = match number("ENQ_CAMPAIGN_SEED") {
        Some(seed) => vec![seed],
        None => (0..u64::MAX / 2).filter(is_wanted).take(runs).collect(),
    };
    for some in seeds.chunks(TOGETHER) {
        let mut runs: JoinSet<()> = some.iter().map(|seed| one_run(*seed)).collect();
        while let Some(run) = runs.join_next().await {
            run.expect("see the seed above");
        }
    }
}

async fn one_run(seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    // Each blow comes in its turn, the moment is drawn: within the start of three processes, or in the middle of work.
    let blow = blow_of(seed);
    let late = if random.random_bool(0.5) { 60 } else { 1_500 };
    let moment = Duration::from_millis(random.random_range(0..late));
    let story = format!("ENQ_CAMPAIGN_SEED={seed}: {blow:?} after {moment:?}");

    let server = Server::start().await;
    let mark = mark();
    // A command that ends by itself, even of a signal, may leave a daemon; one that is stopped may not.
    let daemon = if matches!(blow, Blow::FrontTerminated) { "" } else { "setsid" };
    let family = format!("(sleep {mark} &) ; ({daemon} sleep {mark} &) ; exec sleep {mark}");
    let mut command = server.enq(&["run", "--ttl", "3s", "x", "--", "sh", "-c", &family]);
    command.as_std_mut().process_group(0);
    let mut run = start(command);
    let front = pid_of(&run);
    tokio::time::sleep(moment).await;
    if matches!(blow, Blow::KeeperKilled | Blow::KeeperStopped) {
        eventually(&story, async || child_called(front, "enq-keeper").is_some()).await;
    }
    if matches!(blow, Blow::KeeperStopped | Blow::FrontTerminated) {
        // A keeper that is stopped before it has a command has nothing to lose, and a front that is
        // terminated before it listens dies as any program does.
        eventually(&story, async || marked(&mark).len() == 3).await;
    }
    let struck = client::now();
    blow.strike(&server, front, child_called(front, "enq-keeper"));
    let code = code(&mut run, &story).await;
    if blow.codes() == [None] {
        // The keeper lives a moment longer; when its session has gone it has too, or it never had one.
        eventually(&story, async || {
            marked(&mark).is_empty()
                && server.json(&["session", "ls", "-o", "json"]).await["sessions"]
                    .as_array()
                    .is_some_and(Vec::is_empty)
        })
        .await;
    }
    let took = client::now().since(struck);
    println!("{story}: exit code {code:?}, took {took:?}");
    assert!(blow.codes().contains(&code), "{story}: exit code {code:?}");
    assert_eq!(marked(&mark), [] as [i32; 0], "{story}: still alive after {took:?}");
    if code != Some(69) {
        assert!(took < TTL, "{story}: took {took:?}");
    }
}

async fn code(run: &mut Child, story: &str) -> Option<i32> {
    match timeout(PATIENCE, run.wait()).await {
        Ok(Ok(status)) => status.code(),
        other => panic!("{story}: {other:?}"),
    }
}
