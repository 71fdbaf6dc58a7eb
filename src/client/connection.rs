//! Moves bytes: one task a session or client, which owns the socket and nothing else.
//!
//! The task writes whatever the peer has to say, all of it at once, and reads while it writes, so that two full buffers
//! never wait for each other. When the connection breaks it looks for another one (`reconnect.rs`). It ends when nobody
//! uses the connection any more, or when the session is lost; after a loss that leaves a lease it stays until its end to
//! tell guards in time what their locks are worth.

use super::{
    backoff::Persistence,
    clock,
    error::{ConnectError, LossCause},
    link::Link,
    mailbox::Mailbox,
    peer::Peer,
    reconnect,
};
use bytes::{Buf as _, Bytes, BytesMut};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time,
};

/// Where servers listen unless told otherwise.
pub const DEFAULT_PORT: u16 = 21065;

/// How much is read at once, at most.
const READ_LEN: usize = 32 * 1024;

/// How long a good-bye may take.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// How long a connection on which nothing happens goes unquestioned.
const SILENCE: Duration = Duration::from_secs(15);

/// What this program is called in the logs of the server.
const AGENT: &str = concat!("enq/", env!("CARGO_PKG_VERSION"));

/// A socket, and what is half read and half written there.
pub(super) struct Connection {
    stream: TcpStream,
    inbound: BytesMut,
    writing: Bytes,
}

/// Connects to one of these servers within this time; the connection runs until it is left.
pub(super) async fn connect(
    servers: &Arc<[String]>,
    at: usize,
    persistence: Persistence,
) -> Result<Arc<Link>, ConnectError> {
    let server = servers.get(at).map_or("", String::as_str);
    let greeted = time::timeout(persistence.within, greet(server)).await;
    let greeted = greeted.unwrap_or_else(|_| Err(unreachable(server, io::ErrorKind::TimedOut.into())));
    let (peer, connection) = greeted?;
    let link = Link::new(servers.clone(), at, persistence, peer);
    tokio::spawn(drive(link.clone(), connection));
    Ok(link)
}

fn unreachable(server: &str, source: io::Error) -> ConnectError {
    ConnectError::Unreachable { server: server.into(), source }
}

/// `host`, `host:port`, `address`, `[address]:port`.
fn with_port(server: &str) -> String {
    let bare_v6 = server.parse::<std::net::Ipv6Addr>().is_ok();
    let has_port = !bare_v6 && server.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    match (has_port, bare_v6) {
        (true, _) => server.into(),
        (false, true) => format!("[{server}]:{DEFAULT_PORT}"),
        (false, false) => format!("{server}:{DEFAULT_PORT}"),
    }
}

impl Connection {
    /// Connects, and says these first words.
    pub(super) async fn open(server: &str, words: impl FnOnce() -> Bytes) -> io::Result<Connection> {
        let mut stream = TcpStream::connect(with_port(server)).await?;
        stream.set_nodelay(true)?;
        notice_silence(&stream)?;
        stream.write_all(&words()).await?;
        let inbound = BytesMut::with_capacity(READ_LEN);
        Ok(Connection { stream, inbound, writing: Bytes::new() })
    }

    /// Reads once, and says how much; what was read is taken in by the link.
    pub(super) async fn hear(&mut self, link: &Link) -> Result<(), LossCause> {
        self.inbound.reserve(READ_LEN);
        let read = self.stream.read_buf(&mut self.inbound).await;
        heard(link, read, &mut self.inbound)
    }
}

/// Connects and says HELLO.
async fn greet(server: &str) -> Result<(Peer<Arc<Mailbox>>, Connection), ConnectError> {
    let cannot = |source| unreachable(server, source);
    let mut peer: Peer<Arc<Mailbox>> = Peer::new(AGENT);
    let mut connection = Connection::open(server, || peer.take(clock::now())).await.map_err(cannot)?;
    while peer.welcome().is_none() {
        if connection.stream.read_buf(&mut connection.inbound).await.map_err(cannot)? == 0 {
            // It died, or it does not speak this protocol: either way no server was reached.
            let what = "it closed the connection before it answered";
            return Err(cannot(io::Error::new(io::ErrorKind::UnexpectedEof, what)));
        }
        match peer.receive(clock::now(), &mut connection.inbound, &mut Vec::new()) {
            Ok(()) => {}
            Err(LossCause::Ended(status)) => {
                return Err(ConnectError::Refused { server: server.into(), status });
            }
            Err(other) => {
                return Err(ConnectError::PeerMisbehaved { server: server.into(), what: other.to_string() });
            }
        }
    }
    Ok((peer, connection))
}

/// A server whose machine has gone says nothing for ever. Who holds locks is told by the lease; who only looks, by this.
fn notice_silence(stream: &TcpStream) -> io::Result<()> {
    let socket = socket2::SockRef::from(stream);
    let probes = socket2::TcpKeepalive::new().with_time(SILENCE).with_interval(SILENCE / 3);
    socket.set_tcp_keepalive(&probes)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(SILENCE * 2))?;
    Ok(())
}

/// The task.
async fn drive(link: Arc<Link>, connection: Connection) {
    let cause = {
        let mut serving = std::pin::pin!(reconnect::serve(&link, connection));
        tokio::select! {
            biased;
            cause = &mut serving => cause,
            () = link.left() => {
                let closed = Mailbox::new();
                if link.close(closed.clone()).is_ok() {
                    // A server that does not answer ends the session by its lease.
                    tokio::select! {
                        _ = closed.outcome() => {}
                        _ = &mut serving => {}
                        () = time::sleep(LEAVE_WITHIN) => {}
                    }
                }
                LossCause::Closed
            }
        }
    };
    link.lose(cause);
    // Only the clock can tell those who still hold locks what they are worth.
    while let Some(at) = link.turn_alone(clock::now()) {
        tokio::select! {
            () = link.left() => return,
            () = time::sleep(at.since(clock::now())) => {}
        }
    }
}

/// Until the connection breaks, and why.
pub(super) async fn converse(link: &Link, connection: &mut Connection) -> LossCause {
    let Connection { stream, inbound, writing } = connection;
    let (mut reader, mut writer) = stream.split();
    loop {
        let now = clock::now();
        let turn = match link.turn(now) {
            Ok(turn) => turn,
            Err(cause) => return cause,
        };
        inbound.reserve(READ_LEN);
        if turn.silent {
            // This process may have been the one that stood still, and the answers are there.
            if let Ok(1..) = reader.try_read_buf(inbound).inspect(|len| link.read_bytes(*len)) {
                if let Err(cause) = link.received(inbound) {
                    return cause;
                }
                continue;
            }
            return LossCause::Disconnected("it does not answer".into());
        }
        if writing.is_empty() {
            *writing = link.take(now);
        }
        let timer = sleep_until(turn.next.map(|at| at.since(now)));
        tokio::select! {
            read = reader.read_buf(inbound) => if let Err(cause) = heard(link, read, inbound) { return cause },
            wrote = writer.write(writing), if !writing.is_empty() => match wrote {
                Ok(len) => {
                    writing.advance(len);
                    link.wrote(len);
                }
                Err(error) => return LossCause::Disconnected(error.to_string()),
            },
            // Others who are ready to ask do so before the write.
            () = link.woken(), if writing.is_empty() => tokio::task::yield_now().await,
            () = timer => {}
        }
    }
}

/// What a read brought.
fn heard(link: &Link, read: io::Result<usize>, inbound: &mut BytesMut) -> Result<(), LossCause> {
    match read {
        Ok(0) => Err(LossCause::Disconnected("the server closed it".into())),
        Ok(len) => {
            link.read_bytes(len);
            link.received(inbound)
        }
        Err(error) => Err(LossCause::Disconnected(error.to_string())),
    }
}

pub(super) async fn sleep_until(left: Option<Duration>) {
    match left {
        Some(left) => time::sleep(left).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::with_port;

    #[test]
    fn a_server_without_a_port_has_the_default_one() {
        assert_eq!(with_port("lock.example"), "lock.example:21065");
        assert_eq!(with_port("lock.example:7"), "lock.example:7");
        assert_eq!(with_port("127.0.0.1:7"), "127.0.0.1:7");
        assert_eq!(with_port("::1"), "[::1]:21065");
        assert_eq!(with_port("[::1]:7"), "[::1]:7");
    }
}
