//! A PostgreSQL of the test's own: in a temporary directory, on a socket there, without a network, gone with the test.
//!
//! It refuses to run as root, so root lends it the user postgres or nobody.

use std::{
    env, fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, Uid, User},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// After this long an answer will not come any more.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The programs of one PostgreSQL.
struct Programs {
    folder: PathBuf,
    user: Option<User>,
}

impl Programs {
    /// Looks where the path leads and where Debian keeps them; none if there is no server.
    fn find() -> Option<Programs> {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let mut versions: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
        versions.sort();
        folders.extend(versions);
        let is_whole = |folder: &PathBuf| {
            ["initdb", "postgres", "psql"].iter().all(|program| folder.join(program).exists())
        };
        let folder = folders.into_iter().find(is_whole)?;
        let named = |name| User::from_name(name).ok().flatten();
        let user = if Uid::effective().is_root() {
            Some(named("postgres").or_else(|| named("nobody"))?)
        } else {
            None
        };
        Some(Programs { folder, user })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.folder.join(program));
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    }
}

/// See the front page.
pub(crate) struct Postgres {
    programs: Programs,
    folder: TempDir,
    server: std::process::Child,
}

impl Postgres {
    /// Starts one; none, and a loud word, where there is none to start.
    pub(crate) async fn start() -> Option<Postgres> {
        let Some(programs) = Programs::find() else {
            eprintln!(
                "\n*** NOT RUN: the gates in SQL need a PostgreSQL server, which is not installed ***\n"
            );
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        if let Some(user) = &programs.user {
            chown(folder.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("root may do that");
        }
        let data = folder.path().join("data");
        let mut made = programs.command("initdb");
        made.arg("-D").arg(&data).args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]);
        let made = timeout(PATIENCE, made.current_dir(folder.path()).output()).await;
        let made = made.expect("it ends in time").expect("it starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut server = programs.command("postgres");
        server.arg("-D").arg(&data).arg("-k").arg(folder.path());
        server.args(["-c", "listen_addresses=", "-c", "fsync=off"]).current_dir(folder.path());
        let server =
            server.into_std().stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let postgres = Postgres { programs, folder, server };
        let serves = async {
            while !postgres.psql().args(["-c", "SELECT 1"]).output().await.expect("it runs").status.success()
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, serves).await.expect("the database serves in time");
        Some(postgres)
    }

    fn psql(&self) -> Command {
        let mut command = self.programs.command("psql");
        command.arg("-h").arg(self.folder.path()).args(["-U", "postgres", "-d", "postgres"]);
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]).current_dir("/");
        // What the caller has set for a database of his own is none of this one's.
        for name in ["PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGOPTIONS", "PGSERVICE", "PGPASSWORD"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs a file of SQL, or fails the test.
    pub(crate) async fn load(&self, file: &Path) {
        let text = fs::read_to_string(file).expect("the file is there");
        self.run(&text).await;
    }

    /// Runs these statements one after the other; the lines that come out.
    pub(crate) async fn run(&self, sql: &str) -> Vec<String> {
        let mut psql = self.psql().stdin(Stdio::piped()).spawn().expect("it starts");
        let mut into = psql.stdin.take().expect("it is piped");
        let sql = sql.to_owned();
        // From a task of its own: whoever writes all before reading any waits for ever once the pipes are full.
        let writing = tokio::spawn(async move { into.write_all(sql.as_bytes()).await });
        let output = timeout(PATIENCE, psql.wait_with_output()).await.expect("it ends in time");
        let output = output.expect("its output is there");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        writing.await.expect("it does not panic").expect("all of it was read");
        String::from_utf8(output.stdout).expect("it is text").lines().map(String::from).collect()
    }

    /// A connection that stays open between statements.
    pub(crate) fn connect(&self) -> Connection {
        let mut psql = self.psql().stdin(Stdio::piped()).spawn().expect("it starts");
        let into = psql.stdin.take().expect("it is piped");
        let out = BufReader::new(psql.stdout.take().expect("it is piped")).lines();
        Connection { into, out, _psql: psql }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGKILL would leave its children running for a moment, and the folder goes with this. At SIGQUIT it ends with
        // all of them, after five seconds at most. It may have ended before.
        let _ = kill(Pid::from_raw(self.server.id().cast_signed()), Signal::SIGQUIT);
        let _ = self.server.wait();
    }
}

/// A connection of its own, with its transaction.
pub(crate) struct Connection {
    into: ChildStdin,
    out: Lines<BufReader<ChildStdout>>,
    _psql: Child,
}

impl Connection {
    /// Sends statements without waiting for what they do.
    pub(crate) async fn send(&mut self, sql: &str) {
        self.into.write_all(format!("{sql}\n\\echo done\n").as_bytes()).await.expect("it reads");
    }

    /// The lines that came out of what was sent, once it is done.
    pub(crate) async fn answer(&mut self) -> Vec<String> {
        let reading = async {
            let mut lines = Vec::new();
            loop {
                let line = self.out.next_line().await.expect("it can be read").expect("it has not ended");
                if line == "done" {
                    return lines;
                }
                if !line.is_empty() {
                    lines.push(line);
                }
            }
        };
        timeout(PATIENCE, reading).await.expect("it answers in time")
    }

    /// Both.
    pub(crate) async fn ask(&mut self, sql: &str) -> Vec<String> {
        self.send(sql).await;
        self.answer().await
    }
}
