//! The server of these tests, as its own process.

use enq::client::{Client, Lock, Session};
use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

/// A server on a free port, killed with its test.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: String,
}

impl Server {
    pub(crate) fn start() -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_enqd"));
        command.args(["--listen", "127.0.0.1:0", "--log-level", "warn"]).env_remove("ENQ_STATE_DIR");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("the server starts");
        let mut line = String::new();
        let out = process.stdout.take().expect("its output is piped");
        BufReader::new(out).read_line(&mut line).expect("it says a line");
        let address = line.trim().strip_prefix("listening on ").expect("the promised line").to_owned();
        Server { process, address }
    }

    /// A session with a lock on this name in EX.
    pub(crate) async fn holder(&self, who: &str, name: &str) -> (Session, Lock) {
        let session = Session::builder(who).connect(&[&self.address]).await.expect("it opens");
        let lock = session.lock(name).await.expect("it is granted");
        (session, lock)
    }

    /// Ends a session as if its lease had run out, while its client knows nothing.
    pub(crate) async fn expire(&self, session: &Session) {
        let admin = Client::connect(&[&self.address]).await.expect("it connects");
        admin.expire_session(session.id(), "it sleeps").await.expect("it is there");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
