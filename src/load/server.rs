//! The servers that are driven: those that are there, and those that are started for the run and end with it.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use bytes::BytesMut;

use super::{
    error::LoadError,
    words::{
        COMPARE_AND_DELETE, Echo, Enq, Etcd, Redis, Root, Words,
        resp::{Reply, command, reply},
    },
    workload::Workload,
};

/// How long Redis may take for a word of our own.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a server is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// The echo.
    Floor,
    /// enqd.
    Enq,
    /// Redis, with the digest of the script that releases a lock.
    Redis(Arc<str>),
    /// etcd.
    Etcd,
}

/// One server.
#[derive(Debug)]
pub struct Server {
    /// What it is called in tables.
    pub name: &'static str,
    /// Where it is.
    pub address: String,
    /// Its process, if it is on this machine and known.
    pub pid: Option<u32>,
    /// What it is.
    pub kind: Kind,
    /// More about it, for the reader.
    pub about: String,
    child: Option<Child>,
    /// The directory that it was started with.
    state: Option<PathBuf>,
}

impl Server {
    /// Starts a floor: `command` runs [`super::floor::serve`].
    ///
    /// # Errors
    /// It does not start.
    pub fn floor(mut command: Command) -> Result<Server, LoadError> {
        // The pipe ends with this process, however that ends, and the floor with the pipe.
        command.stdin(Stdio::piped());
        let (child, address) = listening("the floor", &mut command)?;
        let about = String::from("a do-nothing echo on tokio");
        Ok(Server {
            name: "floor",
            address,
            pid: Some(child.id()),
            kind: Kind::Floor,
            about,
            child: Some(child),
            state: None,
        })
    }

    /// Starts this program, an enqd, on a free port of loopback, with a directory that goes with it; for a journal, below this
    /// one.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_enqd(program: &Path, journal: Option<&Path>) -> Result<Server, LoadError> {
        let own = format!("enq-bench-{}", std::process::id());
        let state = journal.map_or_else(std::env::temp_dir, Path::to_path_buf).join(own);
        let mut command = Command::new(program);
        command.args(["--listen", "127.0.0.1:0", "--log-level", "error", "--locks-a-session-max", "0"]);
        let keeps = if journal.is_some() { "--data-dir" } else { "--state-dir" };
        command.arg(keeps).arg(&state).stdin(Stdio::null());
        let (child, address) = listening(&program.display().to_string(), &mut command)?;
        let how = if journal.is_some() { ", with a journal" } else { "" };
        let about = format!("started for this run: {}{how}", program.display());
        let mut server = Server::enqd(address, Some(child.id()));
        (server.about, server.child, server.state) = (about, Some(child), Some(state));
        Ok(server)
    }

    /// An enqd that runs already.
    #[must_use]
    pub fn enqd(address: String, pid: Option<u32>) -> Server {
        let about = String::from("was running before");
        Server { name: "enqd", address, pid, kind: Kind::Enq, about, child: None, state: None }
    }

    /// A Redis that runs already. Without `pid` it is asked for its own, if it is on this machine.
    ///
    /// # Errors
    /// It does not answer, or is no Redis.
    pub fn redis(address: &str, pid: Option<u32>) -> Result<Server, LoadError> {
        let digest = ask_redis(address, &[b"SCRIPT", b"LOAD", COMPARE_AND_DELETE.as_bytes()])?;
        let about = ask_redis(address, &[b"INFO", b"server"])?;
        let field = |name: &str| {
            about.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::to_owned)
        };
        let own = || if is_loopback(address) { field("process_id")?.parse().ok() } else { None };
        Ok(Server {
            name: "redis",
            address: address.into(),
            pid: pid.or_else(own),
            kind: Kind::Redis(digest.into()),
            about: format!("Redis {}", field("redis_version").unwrap_or_default()),
            child: None,
            state: None,
        })
    }

    /// An etcd that runs already.
    #[must_use]
    pub fn etcd(address: &str, pid: Option<u32>) -> Server {
        Server {
            name: "etcd",
            address: address.into(),
            pid,
            kind: Kind::Etcd,
            about: String::from("etcd: a lease, a transaction that puts a key, a deletion"),
            child: None,
            state: None,
        }
    }

    /// Was it started for this run?
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.child.is_some()
    }

    /// Does it know what this asks for?
    #[must_use]
    pub fn knows(&self, workload: &Workload) -> bool {
        match self.kind {
            Kind::Enq => true,
            // There is nothing to hand on where nothing is held.
            Kind::Floor => !workload.is_handoff(),
            Kind::Redis(_) => workload.is_plain(),
            // Its lock is waited for by a watch on another stream, which is another program.
            Kind::Etcd => workload.is_plain() && !workload.is_handoff(),
        }
    }

    /// The words of one connection to it.
    #[must_use]
    pub fn words(&self, root: Root, workload: &Workload, connection: u32) -> Box<dyn Words> {
        match &self.kind {
            Kind::Enq => Box::new(Enq::new(root, workload)),
            Kind::Floor => Box::new(Echo::of(Enq::new(root, workload))),
            Kind::Etcd => Box::new(Etcd::new(root, &self.address)),
            Kind::Redis(script) => {
                Box::new(Redis::new(root, Arc::clone(script), connection, workload.is_handoff()))
            }
        }
    }

    /// What must be there before a turn: for a hand-off of Redis, the one token.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) fn before(&self, root: Root, workload: &Workload) -> Result<(), LoadError> {
        self.after(root, workload)?;
        if let (Kind::Redis(_), true) = (&self.kind, workload.is_handoff()) {
            ask_redis(&self.address, &[b"RPUSH", &root.name(0), b"token"])?;
        }
        Ok(())
    }

    /// What must be gone after a turn.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) fn after(&self, root: Root, workload: &Workload) -> Result<(), LoadError> {
        if let (Kind::Redis(_), true) = (&self.kind, workload.is_handoff()) {
            ask_redis(&self.address, &[b"DEL", &root.name(0)])?;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(state) = &self.state {
            let _ = fs::remove_dir_all(state);
        }
    }
}

/// Starts a server that says `listening on ADDR` first. What it says beside that is heard only if it does not start.
fn listening(what: &str, command: &mut Command) -> Result<(Child, String), LoadError> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(LoadError::system(what))?;
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut line).map_err(LoadError::system(what))?;
    }
    let said = child.stderr.take();
    if let Some(address) = line.trim().strip_prefix("listening on ") {
        // Read to the end, so that it never waits for a reader; the thread ends with the server.
        thread::spawn(move || said.map(|mut said| io::copy(&mut said, &mut io::sink())));
        return Ok((child, address.to_owned()));
    }
    let _ = child.kill();
    let _ = child.wait();
    let mut why = String::new();
    if let Some(mut said) = said {
        let _ = said.read_to_string(&mut why);
    }
    Err(LoadError::Impossible(format!("{what} does not say where it listens: {}", why.trim())))
}

fn is_loopback(address: &str) -> bool {
    address.to_socket_addrs().is_ok_and(|mut all| all.all(|address| address.ip().is_loopback()))
}

/// One command and its answer, on a connection of its own.
fn ask_redis(address: &str, parts: &[&[u8]]) -> Result<String, LoadError> {
    let lost = |why| LoadError::Lost { server: format!("redis at {address}"), why };
    let mut stream = TcpStream::connect(address).map_err(lost)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(lost)?;
    let mut out = BytesMut::new();
    command(parts, &mut out);
    stream.write_all(&out).map_err(lost)?;
    let mut input = Vec::new();
    let mut part = [0; 4_096];
    loop {
        let read = stream.read(&mut part).map_err(lost)?;
        if read == 0 {
            return Err(lost(io::Error::from(io::ErrorKind::UnexpectedEof)));
        }
        input.extend_from_slice(&part[..read]);
        match reply(&input).map_err(|wrong| wrong.of("redis"))? {
            Some((Reply::Error(said), _)) => {
                let said = said.escape_ascii().to_string();
                return Err(LoadError::Nonsense { server: "redis".into(), said });
            }
            Some((Reply::Bulk(text) | Reply::Simple(text), _)) => {
                return Ok(String::from_utf8_lossy(text).into_owned());
            }
            Some((Reply::Number(_) | Reply::Nil, _)) => return Ok(String::new()),
            None => {}
        }
    }
}
