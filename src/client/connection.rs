//! Moves bytes: one task a connection, which owns the socket and nothing else.
//!
//! The task writes whatever the peer has to say, all of it at once, and reads while it writes, so that two full buffers
//! never wait for each other. It ends when nobody uses the connection any more, when the connection breaks, or when the
//! lease has run out; after a break it stays until then to tell guards in time what their locks are worth.

use super::{
    clock,
    error::{ConnectError, LossCause},
    link::Link,
    mailbox::Mailbox,
    peer::Peer,
};
use bytes::{Buf as _, Bytes, BytesMut};
use std::{future::Future, io, sync::Arc, time::Duration};
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

/// Connects to this server within this time; the connection runs until it is left.
pub(super) async fn connect(server: &str, within: Duration) -> Result<Arc<Link>, ConnectError> {
    let greeted = time::timeout(within, greet(server)).await;
    let greeted = greeted.unwrap_or_else(|_| Err(unreachable(server, io::ErrorKind::TimedOut.into())));
    let (link, stream, inbound) = greeted?;
    tokio::spawn(drive(link.clone(), stream, inbound));
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

/// Connects and says HELLO.
async fn greet(server: &str) -> Result<(Arc<Link>, TcpStream, BytesMut), ConnectError> {
    let cannot = |source| unreachable(server, source);
    let mut stream = TcpStream::connect(with_port(server)).await.map_err(cannot)?;
    stream.set_nodelay(true).map_err(cannot)?;
    notice_silence(&stream).map_err(cannot)?;
    let mut peer: Peer<Arc<Mailbox>> = Peer::new(AGENT);
    stream.write_all(&peer.take(clock::now())).await.map_err(cannot)?;
    let mut inbound = BytesMut::with_capacity(READ_LEN);
    while peer.welcome().is_none() {
        if stream.read_buf(&mut inbound).await.map_err(cannot)? == 0 {
            // It died, or it does not speak this protocol: either way no server was reached.
            let what = "it closed the connection before it answered";
            return Err(cannot(io::Error::new(io::ErrorKind::UnexpectedEof, what)));
        }
        match peer.receive(clock::now(), &mut inbound, &mut Vec::new()) {
            Ok(()) => {}
            Err(LossCause::Ended(status)) => {
                return Err(ConnectError::Refused { server: server.into(), status });
            }
            Err(other) => {
                return Err(ConnectError::PeerMisbehaved { server: server.into(), what: other.to_string() });
            }
        }
    }
    Ok((Link::new(server, peer), stream, inbound))
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
async fn drive(link: Arc<Link>, mut stream: TcpStream, mut inbound: BytesMut) {
    let cause = match converse(&link, &mut stream, &mut inbound).await {
        Some(cause) => cause,
        None => leave(&link, &mut stream, &mut inbound).await,
    };
    drop(stream);
    link.lose(cause);
    // Only the clock can tell those who still hold locks what they are worth.
    while let Some(at) = link.turn_alone(clock::now()) {
        tokio::select! {
            () = link.woken() => if link.is_closing() { return },
            () = time::sleep(at.since(clock::now())) => {}
        }
    }
}

/// Until the connection breaks (why), or nobody uses it (none).
async fn converse(link: &Link, stream: &mut TcpStream, inbound: &mut BytesMut) -> Option<LossCause> {
    let (mut reader, mut writer) = stream.split();
    let mut writing = Bytes::new();
    loop {
        let now = clock::now();
        let next = match link.turn(now) {
            Ok(next) => next,
            Err(cause) => return Some(cause),
        };
        if writing.is_empty() {
            writing = link.take(now);
        }
        if link.is_closing() && writing.is_empty() {
            return None;
        }
        let timer = sleep_until(next.map(|at| at.since(now)));
        inbound.reserve(READ_LEN);
        tokio::select! {
            read = reader.read_buf(inbound) => match read {
                Ok(0) => return Some(LossCause::Disconnected("the server closed it".into())),
                Ok(len) => if let Err(cause) = link.received(len, inbound) { return Some(cause) },
                Err(error) => return Some(LossCause::Disconnected(error.to_string())),
            },
            wrote = writer.write(&writing), if !writing.is_empty() => match wrote {
                Ok(len) => {
                    writing.advance(len);
                    link.wrote(len);
                }
                Err(error) => return Some(LossCause::Disconnected(error.to_string())),
            },
            // Others who are ready to ask do so before the write.
            () = link.woken(), if writing.is_empty() => tokio::task::yield_now().await,
            () = timer => {}
        }
    }
}

async fn sleep_until(left: Option<Duration>) {
    match left {
        Some(left) => time::sleep(left).await,
        None => std::future::pending().await,
    }
}

/// Closes the session, if there is one, and the connection.
async fn leave(link: &Link, stream: &mut TcpStream, inbound: &mut BytesMut) -> LossCause {
    let closed = Mailbox::new();
    if link.close(closed.clone()).is_ok() {
        let good_bye = async {
            stream.write_all(&link.take(clock::now())).await?;
            let answered = closed.outcome();
            tokio::pin!(answered);
            loop {
                inbound.reserve(READ_LEN);
                tokio::select! {
                    _ = &mut answered => return Ok(()),
                    read = stream.read_buf(inbound) => {
                        let len = read?;
                        if len == 0 || link.received(len, inbound).is_err() {
                            return Ok::<(), io::Error>(());
                        }
                    }
                }
            }
        };
        // A server that does not answer ends the session by its lease.
        let _ = within(LEAVE_WITHIN, good_bye).await;
    }
    let _ = within(LEAVE_WITHIN, stream.shutdown()).await;
    LossCause::Closed
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    time::timeout(limit, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
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
