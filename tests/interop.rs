//! A stranger's client against the built server.
//!
//! `tests/interop` is a client in Python whose author had `protocol/PROTOCOL.md` and the vectors and nothing else. Here
//! it meets `enqd`. What it cannot do, the document does not say.

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

/// Kills the server when the test ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn has_python() -> bool {
    let version =
        Command::new("python3").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

#[test]
fn a_client_made_from_the_document_alone_and_the_server_understand_each_other() {
    if !has_python() {
        assert!(env::var_os("CI").is_none(), "python3 is missing, and the gate needs it: install it");
        eprintln!("\n*** NOT RUN: the client of tests/interop needs python3, which is not installed ***\n");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_enqd"));
    server.args(["--listen", "127.0.0.1:0", "--state-dir"]).arg(directory.path()).env_clear();
    server.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = Server(server.spawn().unwrap());
    let line = BufReader::new(server.0.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let address = line.strip_prefix("listening on ").unwrap();

    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Each of its waits ends after a second and a half, so it ends by itself.
    let output = Command::new("python3")
        .arg(root.join("tests/interop/interop.py"))
        .arg(address)
        .arg(root.join("protocol/vectors"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{said}{complained}", output.status);
    assert_eq!(said.lines().filter(|line| line.starts_with("ok ")).count(), 14, "every check ran:\n{said}");
}
