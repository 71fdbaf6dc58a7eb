//! What the tests stand on: a directory, a port at which servers follow each other, and ways to end them.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs::{self, File},
    future::Future,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// After this long a state will not come any more.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Files that are made and compared in no time.
const SMALL: [&str; 2] = ["--segment-size", "2MiB"];

/// A directory, and an address at which the servers of it follow each other.
pub(crate) struct Place {
    folder: TempDir,
    data: PathBuf,
    pub(crate) address: String,
    /// What every server of it is told.
    told: Vec<String>,
    starts: AtomicU32,
}

impl Place {
    pub(crate) fn new() -> Place {
        Place::told(&[])
    }

    /// With these arguments for each server.
    pub(crate) fn told(more: &[&str]) -> Place {
        // Nobody else takes it meanwhile: the system hands out other free ports first.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        let folder = tempfile::tempdir().unwrap();
        let small = if more.contains(&SMALL[0]) { &[][..] } else { &SMALL };
        let told = small.iter().chain(more).map(|&word| word.into()).collect();
        Place { data: folder.path().join("data"), folder, address, told, starts: AtomicU32::new(0) }
    }

    /// Where the journal is.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// What is not the journal's, but goes with the place.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command that serves it where the clients look.
    pub(crate) fn enqd(&self) -> Command {
        self.enqd_by(&[], &self.address, &self.data)
    }

    /// The same, run by another command that is put before it, at another address, or on another directory.
    pub(crate) fn enqd_by(&self, by: &[&str], listen: &str, data: &Path) -> Command {
        let words = by.iter().chain(&[env!("CARGO_BIN_EXE_enqd")]).collect::<Vec<_>>();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["--listen", listen, "--data-dir"]).arg(data).args(&self.told);
        command
    }

    /// A server that serves.
    pub(crate) async fn start(&self) -> Server {
        self.begin(self.enqd()).serves().await
    }

    /// The same at another address, where nobody but the caller speaks with it.
    pub(crate) async fn start_aside(&self) -> Server {
        self.begin(self.enqd_by(&[], "127.0.0.1:0", &self.data)).serves().await
    }

    /// A process, of which nobody knows yet whether it will serve.
    pub(crate) fn begin(&self, mut command: Command) -> Starting {
        let number = self.starts.fetch_add(1, Ordering::Relaxed);
        let said = self.folder.path().join(format!("said-{number}"));
        command.env_remove("ENQ_STATE_DIR").env_remove("ENQ_DATA_DIR").kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&said).unwrap());
        Starting { process: command.spawn().unwrap(), said }
    }
}

/// A process that does not serve yet.
pub(crate) struct Starting {
    process: Child,
    said: PathBuf,
}

impl Starting {
    pub(crate) async fn serves(self) -> Server {
        match self.try_serve().await {
            Ok(server) => server,
            Err(ended) => panic!("it does not serve: {:?}: {}", ended.code, ended.said),
        }
    }

    /// Serves, or has ended.
    pub(crate) async fn try_serve(mut self) -> Result<Server, Ended> {
        let out = self.process.stdout.take().unwrap();
        let mut lines = BufReader::new(out).lines();
        let line = timeout(PATIENCE, lines.next_line()).await;
        let Some(line) = line.expect("it serves or ends in time").unwrap() else {
            return Err(self.ended().await);
        };
        let address = line.strip_prefix("listening on ").expect("the line is the promised one").to_owned();
        Ok(Server { process: self.process, said: self.said, address })
    }

    async fn ended(self) -> Ended {
        Server { process: self.process, said: self.said, address: String::new() }.ended().await
    }
}

/// A server that serves, killed with its test.
pub(crate) struct Server {
    process: Child,
    said: PathBuf,
    pub(crate) address: String,
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    /// All that it wrote to standard error.
    pub(crate) said: String,
}

impl Server {
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.process.id().expect("nobody has waited for it").cast_signed());
        kill(pid, signal).unwrap();
    }

    /// Kills it, and returns when nothing of it is left.
    pub(crate) async fn kill(self) {
        self.signal(Signal::SIGKILL);
        self.ended().await;
    }

    /// Stops it in order.
    pub(crate) async fn stop(self) -> String {
        self.signal(Signal::SIGTERM);
        let ended = self.ended().await;
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        ended.said
    }

    /// Returns when it has ended; whoever stops waiting has changed nothing.
    pub(crate) async fn over(&mut self) {
        self.process.wait().await.unwrap();
    }

    /// Waits until it has ended by itself, or of what was done to it.
    pub(crate) async fn ended(mut self) -> Ended {
        let status: ExitStatus =
            timeout(PATIENCE, self.process.wait()).await.expect("it ends in time").unwrap();
        Ended { code: status.code(), said: self.said() }
    }

    /// What it has written to standard error so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap()
    }
}

/// Looks again and again until it is so.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "never: {what}");
}

/// A number that the caller of the tests has set.
pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("it is a number"))
}
