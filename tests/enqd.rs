//! The binary: what it prints, where it keeps its epoch, how it stops.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use bytes::BytesMut;
use enq_protocol::{
    vocabulary::SessionId,
    wire::{FRAME_LEN_MAX, FromServer, Hello, Look, OpenSession, Seen, cut},
};
use nix::sys::signal::Signal;
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// A server process; killed if the test ends before it.
struct Process {
    child: Child,
    addresses: Vec<SocketAddr>,
}

fn enqd(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_enqd"));
    command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts a server with so many listeners and waits until it serves.
fn start(arguments: &[&str], listeners: usize) -> Process {
    let mut child = enqd(arguments).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let addresses = (0..listeners).map(|_| {
        let line = lines.next().unwrap().unwrap();
        line.strip_prefix("listening on ").unwrap().parse().unwrap()
    });
    Process { addresses: addresses.collect(), child }
}

impl Process {
    fn signal(&self, signal: Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Asks it to stop. Says what it wrote to standard error.
    fn stop(mut self) -> String {
        self.signal(Signal::SIGTERM);
        assert!(self.child.wait().unwrap().success());
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(arguments: &[&str]) -> (i32, String) {
    let output = enqd(arguments).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn it_says_where_it_listens_when_it_serves() {
    let server = start(&["--listen", "127.0.0.1:0", "--listen", "[::1]:0"], 2);
    for address in &server.addresses {
        assert_ne!(address.port(), 0);
        TcpStream::connect(address).unwrap();
    }
    let said = server.stop();
    assert!(said.contains("No place for its state"), "{said}");
}

#[test]
fn its_epoch_grows_with_each_boot_and_belongs_to_one_server() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let arguments = ["--listen", "127.0.0.1:0", "--state-dir", state.to_str().unwrap()];
    let first = start(&arguments, 1);
    let (code, said) = run(&arguments);
    assert!(code == 78 && said.contains("another server uses"), "{code}: {said}");
    assert!(first.stop().contains("Epoch 1,"));
    assert!(start(&arguments, 1).stop().contains("Epoch 2,"));
    let file = Path::new(&state).join("enqd-0.state");
    assert_eq!(fs::read_to_string(&file).unwrap(), "enqd state 2 epoch 2 lease_ms 0\n");
    fs::write(&file, "nonsense").unwrap();
    let (code, said) = run(&arguments);
    assert!(code == 78 && said.contains("will not be guessed"), "{code}: {said}");
}

#[test]
fn what_it_does_not_know_is_refused() {
    for arguments in
        [&["--bogus"][..], &["--listen", "nowhere"], &["--locks-a-session-max", "-1"], &["extra"]]
    {
        assert_eq!(run(arguments).0, 64, "{arguments:?}");
    }
    assert_eq!(run(&["--listen", "127.0.0.1:0", "--log-level", "=,="]).0, 78);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let (code, said) = run(&["--listen", &address, "--state-dir", directory.path().to_str().unwrap()]);
    assert!(code == 78 && said.contains("cannot listen on"), "{code}: {said}");
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        0,
        "a server that does not start has no boot"
    );
}

/// What is said on standard output, by a program that ends by itself.
fn told(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let output = enqd(arguments).envs(environment.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn flags_go_before_the_environment_and_that_before_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("enqd.toml");
    fs::write(&file, "connections_max = 1\nwindow_requests = 1\nkeepalive = \"1s\"\n").unwrap();
    let file = file.to_str().unwrap();
    let environment = [("ENQ_CONFIG", file), ("ENQ_CONNECTIONS_MAX", "2"), ("ENQ_WINDOW_REQUESTS", "2")];
    let (code, shown, _) = told(&["--show-config", "--connections-max", "3", "--log-json"], &environment);
    assert_eq!(code, 0);
    for (name, value, origin) in [
        ("connections_max", "3", "command line"),
        ("window_requests", "2", "environment"),
        ("keepalive", "\"1s\"", "file"),
        ("log_json", "true", "command line"),
        ("ttl_max", "\"1m\"", "default"),
    ] {
        let line = shown.lines().find(|line| line.starts_with(&format!("{name} = ")));
        let line = line.unwrap_or_else(|| panic!("{name} in {shown}"));
        assert!(
            line.starts_with(&format!("{name} = {value} ")) && line.ends_with(&format!("# {origin}")),
            "{line}"
        );
    }
}

#[test]
fn a_configuration_that_is_not_good_is_said_to_be_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("enqd.toml");
    let check = |text: &str| {
        fs::write(&path, text).unwrap();
        told(&["--config", path.to_str().unwrap(), "--check-config"], &[])
    };
    let (code, said, _) = check("# all as it is\n");
    assert!(code == 0 && said.contains("good"), "{code} {said}");
    let (code, _, said) = check("ttl_maxx = \"20s\"\n");
    assert!(code == 78 && said.contains("no setting ttl_maxx; ttl_max is one"), "{code} {said}");
    let (code, _, said) = check("handshake_timeout = \"1s\"\nttl_min = \"500ms\"\n");
    assert!(code == 78 && said.contains("handshake_timeout >= first_frame_timeout"), "{code} {said}");
    assert!(said.contains("ttl_min x 2/3 + 200ms <= ttl_min x 0.99/1.01 - 100ms"), "{said}");
    // It does not serve like that either.
    assert_eq!(run(&["--config", path.to_str().unwrap(), "--listen", "127.0.0.1:0"]).0, 78);
    assert_eq!(run(&["--config", "/nowhere/enqd.toml"]).0, 78);
    let (code, _, said) = told(&["--check-config"], &[("ENQ_CONECTIONS_MAX", "7")]);
    assert!(code == 0 && said.contains("ENQ_CONNECTIONS_MAX is"), "{code} {said}");
    assert_eq!(told(&["--check-config"], &[("ENQ_CONNECTIONS_MAX", "seven")]).0, 64);
}

/// Takes the next frame.
fn next(stream: &mut TcpStream) -> FromServer {
    let mut bytes = vec![0; 4];
    stream.read_exact(&mut bytes).unwrap();
    let len = u32::from_le_bytes(bytes[..4].try_into().unwrap());
    bytes.resize(len.try_into().unwrap(), 0);
    stream.read_exact(&mut bytes[4..]).unwrap();
    let frame = cut(&bytes, FRAME_LEN_MAX).unwrap().unwrap();
    FromServer::decode(&frame.header, frame.body).unwrap()
}

fn look(stream: &mut TcpStream, look: &Look) -> Seen {
    let mut bytes = BytesMut::new();
    look.encode(1, 0, &mut bytes).unwrap();
    stream.write_all(&bytes).unwrap();
    match next(stream) {
        FromServer::Seen { seen, .. } => seen,
        said => panic!("nothing seen, but {said:?}"),
    }
}

/// A connection with a session whose lease is a second.
fn opened(server: &Process) -> (TcpStream, SessionId) {
    let mut stream = TcpStream::connect(server.addresses[0]).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut bytes = BytesMut::new();
    let hello = Hello {
        version_min: 1,
        version_max: 1,
        features: 0,
        method: 0,
        credentials: Box::default(),
        agent: "test".into(),
    };
    hello.encode(&mut bytes).unwrap();
    stream.write_all(&bytes).unwrap();
    assert!(matches!(next(&mut stream), FromServer::Welcome(_)));
    let session = OpenSession {
        name: "patient".into(),
        purpose: String::new(),
        node: String::new(),
        node_id: 0,
        host: String::new(),
        pid: 1,
        process_start: 0,
        ttl_ms: 1_000,
        orphan_key: Box::default(),
        log: 0,
        bind_connection: false,
    };
    let Seen::Opened(opened) = look(&mut stream, &Look::Open(session)) else { panic!("opened") };
    (stream, opened.session)
}

/// Stops of half a lease to three leases, one after the other: no session ends whose client keeps sending, and one that
/// is silent does. `ENQ_STOPS=200` makes it so many instead of four.
#[test]
#[expect(clippy::disallowed_methods, reason = "the server has to stand still for longer than a lease")]
fn a_server_that_stands_still_ends_nobody_who_keeps_sending() {
    const CLIENTS: usize = 20;
    let stops: u64 = std::env::var("ENQ_STOPS").map_or(4, |text| text.parse().unwrap());
    let server = start(&["--listen", "127.0.0.1:0"], 1);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let senders: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (stream, _) = opened(&server);
                threads.spawn(|| keep_sending(stream, &is_over))
            })
            .collect();
        let (_silent, id) = opened(&server);
        for stop in 0..stops {
            server.signal(Signal::SIGSTOP);
            std::thread::sleep(Duration::from_millis(500 + 2_500 * (stop * 7 % 11) / 10));
            server.signal(Signal::SIGCONT);
            std::thread::sleep(Duration::from_millis(300));
        }
        // The last stop is given back to the silent one, too; then its lease ends.
        let (mut watcher, _) = opened(&server);
        let ends = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            matches!(look(&mut watcher, &Look::Session(id)), Seen::Refused(_))
        });
        is_over.store(true, Ordering::Relaxed);
        for sender in senders {
            sender.join().unwrap();
        }
        assert!(ends, "a silent session ends all the same");
    });
}

/// Sends a renewal every third of the lease; at the end each must have been answered.
#[expect(clippy::disallowed_methods, reason = "a client that renews sleeps between renewals")]
fn keep_sending(mut stream: TcpStream, is_over: &AtomicBool) {
    let mut sent = 0;
    let mut bytes = BytesMut::new();
    while !is_over.load(Ordering::Relaxed) {
        bytes.clear();
        Look::Renew.encode(sent, 0, &mut bytes).unwrap();
        stream.write_all(&bytes).unwrap();
        sent += 1;
        std::thread::sleep(Duration::from_millis(333));
    }
    for tag in 0..sent {
        match next(&mut stream) {
            FromServer::Seen { tag: of, seen: Seen::Renewed(1_000), .. } if of == tag => {}
            said => panic!("renewal {tag} of {sent} is answered {said:?}"),
        }
    }
}
