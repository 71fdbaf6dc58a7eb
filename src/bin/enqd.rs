//! enqd, the server of enq.
//!
//! The first lines on standard output are `listening on ADDR`, one a listener, as soon as requests are answered. All
//! else goes to standard error.

#![forbid(unsafe_code)]

use anyhow::Context as _;
use enq::log::journal::Report;
use enq::server::{
    Config, ConfigError, Server, Settings, StartError, StopSignals, Task, Told, make_room_for,
};
use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
    path::Path,
    process::ExitCode,
};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Wrong words on the command line.
const EXIT_USAGE: u8 = 64;

/// The server does not start as it is configured.
const EXIT_CONFIG: u8 = 78;

/// The disk of its journal has failed.
const EXIT_DISK: u8 = 74;

fn main() -> ExitCode {
    let told = match Told::gather(env::args_os()) {
        Ok(told) => told,
        Err(ConfigError::CommandLine(error)) => {
            // Where even this cannot be written there is nobody to tell.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
        Err(error) => {
            for line in error.to_string().lines() {
                eprintln!("enqd: {line}");
            }
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    for warning in &told.warnings {
        eprintln!("enqd: {warning}");
    }
    let done = match told.task {
        Task::Serve => run(&told.settings),
        Task::Check => say("the configuration is good\n"),
        Task::Show => say(&told.show()),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("enqd: {error:#}");
            let is_of_the_disk = error.downcast_ref::<StartError>().is_some_and(StartError::is_of_the_disk);
            ExitCode::from(if is_of_the_disk { EXIT_DISK } else { EXIT_CONFIG })
        }
    }
}

fn say(text: &str) -> anyhow::Result<u8> {
    io::stdout().write_all(text.as_bytes())?;
    Ok(0)
}

/// Serves until it is told to stop, or cannot any more. Says with which code it ends.
fn run(settings: &Settings) -> anyhow::Result<u8> {
    start_log(settings)?;
    if let Some(warning) = make_room_for(settings.connections_max) {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(async {
        // Before anybody can read that it serves, so that whoever waits for that may stop it at once.
        let mut signals = StopSignals::listen()?;
        let server = Server::start(Config::from(settings)).await?;
        banner(&server);
        let mut stdout = io::stdout().lock();
        for address in server.local_addrs() {
            writeln!(stdout, "listening on {address}")?;
        }
        stdout.flush()?;
        drop(stdout);
        tokio::select! {
            signal = signals.next() => {
                tracing::info!(signal, "stopping");
                Ok(server.shutdown().await.map_or(0, disk_failed))
            }
            why = server.failed() => Ok(disk_failed(why)),
        }
    });
    // What a thread does with a disk that has failed is not waited for.
    runtime.shutdown_background();
    code
}

/// Says so, and with which code the process ends.
fn disk_failed(why: String) -> u8 {
    eprintln!("enqd: {why}");
    EXIT_DISK
}

fn start_log(settings: &Settings) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.log_level)
        .with_context(|| format!("log_level {:?} is no filter", settings.log_level))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    if settings.log_json {
        log.json().init()
    } else {
        log.init()
    }
    Ok(())
}

/// Says what this server promises, and what not.
fn banner(server: &Server) {
    let version = env!("CARGO_PKG_VERSION");
    match server.found() {
        Some(found) => banner_of_journal(server, found),
        None => {
            eprintln!("enqd {version}: a volatile server; its locks and sessions end with it.");
            banner_of_volatile(server);
        }
    }
    eprintln!(
        "There is no authentication and no encryption: whoever reaches it may lock, look and administer."
    );
}

fn banner_of_journal(server: &Server, found: &Report) {
    eprintln!(
        "enqd {}: what it answers is on disk; its locks and sessions survive restarts, crashes and losses of power.",
        env!("CARGO_PKG_VERSION")
    );
    let directory = server.epoch().kept.as_deref().and_then(Path::parent).unwrap_or(Path::new("."));
    let (epoch, directory) = (server.epoch().number, directory.display());
    let (sessions, locks) = (server.table().session_count(), server.statistics().locks);
    match found {
        Report { last: 0, .. } => eprintln!("Epoch {epoch}, a new journal in {directory}."),
        Report { snapshot: 0, records, .. } => eprintln!(
            "Epoch {epoch}, journal in {directory}: {records} records; {sessions} sessions with {locks} locks go on, each with \
             a whole lease from now."
        ),
        Report { snapshot, records, .. } => eprintln!(
            "Epoch {epoch}, journal in {directory}: a snapshot of position {snapshot} and {records} records after it; \
             {sessions} sessions with {locks} locks go on, each with a whole lease from now."
        ),
    }
}

fn banner_of_volatile(server: &Server) {
    match server.recovering_ms() {
        0 if server.asserts_no_survivors() => eprintln!(
            "It grants at once, for it was told that there are no survivors (no_survivors). If that is not true, two may \
             hold one lock."
        ),
        0 => eprintln!("Nobody can still believe in a lock of before: it grants at once."),
        left => eprintln!(
            "Clients of before may still believe in their locks: requests wait {}.{} s before any is granted \
             (no_survivors, if nobody is left, ends this).",
            left / 1_000,
            left % 1_000 / 100
        ),
    }
    let epoch = server.epoch();
    match &epoch.kept {
        Some(path) => {
            eprintln!("Epoch {}, kept in {}: seqs and fences grow for ever.", epoch.number, path.display())
        }
        None => eprintln!(
            "No place for its state (see --state-dir): seqs and fences restart with it and cannot be compared across \
             restarts; leases are at most 15 s, and each start waits for leases of that length, but on a free port."
        ),
    }
}
