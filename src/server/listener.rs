//! The door: who may come in, and how many at a time.
//!
//! Limits are kept before anything is done for a connection. Strangers, who have not sent a whole first frame, are
//! counted apart: when there are too many, the one that has stood there longest goes.

use super::{Shared, connection};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How many may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoorLimits {
    /// Connections.
    pub connections: usize,
    /// Connections from one address; any number from this machine.
    pub a_source: usize,
    /// Connections that have not sent a whole first frame.
    pub strangers: usize,
}

impl Default for DoorLimits {
    fn default() -> DoorLimits {
        DoorLimits { connections: 20_000, a_source: 4_096, strangers: 512 }
    }
}

/// Who is in.
#[derive(Debug)]
pub(super) struct Door {
    limits: DoorLimits,
    stop: CancellationToken,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    connections: usize,
    sources: HashMap<IpAddr, usize>,
    /// By age.
    strangers: BTreeMap<u64, CancellationToken>,
    next_stranger: u64,
}

/// The place of one connection; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    door: Arc<Door>,
    source: IpAddr,
    stranger: Option<u64>,
    leave: CancellationToken,
}

impl Door {
    /// The door of a server that stops with this token.
    pub(super) fn new(limits: DoorLimits, stop: CancellationToken) -> Door {
        Door { limits, stop, inside: Mutex::new(Inside::default()) }
    }

    /// A place for a connection from this address, if there is one.
    fn enter(self: &Arc<Door>, source: IpAddr) -> Option<Place> {
        let mut inside = self.inside.lock();
        let from_there = inside.sources.get(&source).copied().unwrap_or(0);
        if inside.connections >= self.limits.connections
            || (from_there >= self.limits.a_source && !source.is_loopback())
        {
            return None;
        }
        if inside.strangers.len() >= self.limits.strangers
            && let Some((_, oldest)) = inside.strangers.pop_first()
        {
            oldest.cancel();
        }
        inside.connections += 1;
        inside.sources.insert(source, from_there + 1);
        let stranger = inside.next_stranger;
        inside.next_stranger += 1;
        let leave = self.stop.child_token();
        inside.strangers.insert(stranger, leave.clone());
        Some(Place { door: Arc::clone(self), source, stranger: Some(stranger), leave })
    }
}

impl Place {
    /// What tells the connection to leave: to make room, or because the server stops.
    pub(super) fn leave(&self) -> CancellationToken {
        self.leave.clone()
    }

    /// The connection is no stranger any more: it will not be evicted.
    pub(super) fn greeted(&mut self) {
        if let Some(stranger) = self.stranger.take() {
            self.door.inside.lock().strangers.remove(&stranger);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.greeted();
        let mut inside = self.door.inside.lock();
        inside.connections -= 1;
        if let Some(from_there) = inside.sources.get_mut(&self.source) {
            *from_there -= 1;
            if *from_there == 0 {
                inside.sources.remove(&self.source);
            }
        }
    }
}

/// Accepts connections until the server stops.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>, tracker: TaskTracker) {
    /// How long nothing is accepted after the system had no room for a connection.
    const BREATH: Duration = Duration::from_millis(50);
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => admit(stream, address, &shared, &tracker),
            Err(error) => {
                tracing::warn!(%error, "no connection could be accepted");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// Serves a connection, if there is a place for it.
fn admit(stream: TcpStream, address: SocketAddr, shared: &Arc<Shared>, tracker: &TaskTracker) {
    let metrics = &shared.house.metrics;
    let Some(place) = shared.door.enter(address.ip().to_canonical()) else {
        metrics.turned_away.fetch_add(1, Ordering::Relaxed);
        if metrics.may_log(shared.clock.now()) {
            tracing::warn!(%address, "a connection was turned away: there are too many");
        }
        return;
    };
    if let Err(error) = prepare(&stream, shared.keepalive) {
        tracing::debug!(%address, %error, "a connection was lost at the door");
        return;
    }
    metrics.accepted.fetch_add(1, Ordering::Relaxed);
    metrics.open.fetch_add(1, Ordering::Relaxed);
    let shared = Arc::clone(shared);
    tracker.spawn(async move {
        let open = Arc::clone(&shared);
        connection::serve(shared, stream, address, place).await;
        open.house.metrics.open.fetch_sub(1, Ordering::Relaxed);
    });
}

/// What the system keeps for a peer that does not read, beside our own bounds.
const SEND_BUFFER_LEN: usize = 128 * 1024;

/// Small answers leave at once; a peer that has vanished is noticed; one that does not read costs little.
fn prepare(stream: &TcpStream, keepalive: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(keepalive)
        .with_interval(Duration::from_secs(5))
        .with_retries(3);
    let socket = socket2::SockRef::from(stream);
    socket.set_send_buffer_size(SEND_BUFFER_LEN)?;
    socket.set_tcp_keepalive(&keepalive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_stranger_goes_and_a_guest_stays() {
        let door = Arc::new(Door::new(
            DoorLimits { connections: 5, a_source: 2, strangers: 2 },
            CancellationToken::new(),
        ));
        let here = IpAddr::from([127, 0, 0, 1]);
        let mut guest = door.enter(here).unwrap();
        guest.greeted();
        let oldest = door.enter(here).unwrap();
        let second = door.enter(here).unwrap();
        assert!(!oldest.leave.is_cancelled());
        let third = door.enter(here).unwrap();
        assert!(oldest.leave.is_cancelled());
        assert!(!second.leave.is_cancelled() && !guest.leave.is_cancelled());
        let _fifth = door.enter(here).unwrap();
        assert!(door.enter(here).is_none(), "the house is full");
        drop(third);
        let there = IpAddr::from([192, 0, 2, 1]);
        let _one = door.enter(there).unwrap();
        assert!(door.enter(there).is_none(), "the house is full again");
    }

    #[test]
    fn one_address_may_not_take_all_places() {
        let door = Arc::new(Door::new(
            DoorLimits { a_source: 2, ..DoorLimits::default() },
            CancellationToken::new(),
        ));
        let there = IpAddr::from([192, 0, 2, 1]);
        let one = door.enter(there).unwrap();
        let _two = door.enter(there).unwrap();
        assert!(door.enter(there).is_none());
        drop(one);
        assert!(door.enter(there).is_some());
    }
}
