//! The door: who may come in, and how many at a time.
//!
//! Limits are kept before anything is done for a connection. Strangers, who have not sent a whole first frame, are
//! counted apart: when there are too many, the one that has stood there longest goes. The last places are kept for those
//! who take a session up again or look after things: whoever comes to one stays a stranger until he has done so.

use super::{House, Limit, Shared, connection};
use crate::table::{Memory, Pool, Share};
use enq_protocol::{vocabulary::Status, wire::Fatal};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What a connection takes of the memory besides its buffers: its task, its socket's state, its place.
const CONNECTION: usize = 4 * 1024;

/// How many may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoorLimits {
    /// Connections.
    pub connections: usize,
    /// Of these, those that are kept for who takes a session up again or looks.
    pub kept: usize,
    /// Connections from one address; any number from this machine.
    pub a_source: usize,
    /// Connections that have not sent a whole first frame.
    pub strangers: usize,
}

impl Default for DoorLimits {
    fn default() -> DoorLimits {
        DoorLimits { connections: 20_000, kept: 2_000, a_source: 4_096, strangers: 512 }
    }
}

/// Who is in.
#[derive(Debug)]
pub(super) struct Door {
    limits: DoorLimits,
    memory: Arc<Memory>,
    strangers: Arc<AtomicU64>,
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
    /// It is one of those that are kept.
    is_kept: bool,
    leave: CancellationToken,
    share: Share,
}

impl Door {
    /// The door of a house that stops with this token.
    pub(super) fn new(limits: DoorLimits, house: &House, stop: CancellationToken) -> Door {
        let memory = Arc::clone(house.log.table().memory());
        let strangers = Arc::clone(&house.metrics.strangers);
        Door { limits, memory, strangers, stop, inside: Mutex::new(Inside::default()) }
    }

    /// A place for a connection from this address, if there is one; the limit that is reached, if not.
    fn enter(self: &Arc<Door>, source: IpAddr) -> Result<Place, Limit> {
        let mut inside = self.inside.lock();
        let from_there = inside.sources.get(&source).copied().unwrap_or(0);
        if inside.connections >= self.limits.connections {
            return Err(Limit::Connections);
        }
        if from_there >= self.limits.a_source && !source.is_loopback() {
            return Err(Limit::ASource);
        }
        if inside.strangers.len() >= self.limits.strangers
            && let Some((_, oldest)) = inside.strangers.pop_first()
        {
            self.strangers.fetch_sub(1, Ordering::Relaxed);
            oldest.cancel();
        }
        let for_all = self.limits.connections - self.limits.kept.min(self.limits.connections);
        let is_kept = inside.connections >= for_all || !self.memory.has_room_for_session();
        inside.connections += 1;
        inside.sources.insert(source, from_there + 1);
        let stranger = inside.next_stranger;
        inside.next_stranger += 1;
        let leave = self.stop.child_token();
        inside.strangers.insert(stranger, leave.clone());
        self.strangers.fetch_add(1, Ordering::Relaxed);
        let share = Share::new(&self.memory, Pool::Sessions);
        share.count(CONNECTION);
        Ok(Place { door: Arc::clone(self), source, stranger: Some(stranger), is_kept, leave, share })
    }
}

impl Place {
    /// What tells the connection to leave: to make room, or because the server stops.
    pub(super) fn leave(&self) -> CancellationToken {
        self.leave.clone()
    }

    /// Is it one of those that are kept?
    pub(super) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// The connection is no stranger any more: it will not be evicted.
    pub(super) fn greeted(&mut self) {
        if let Some(stranger) = self.stranger.take()
            && self.door.inside.lock().strangers.remove(&stranger).is_some()
        {
            self.door.strangers.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The buffers of the connection take so many bytes.
    pub(super) fn count(&self, buffers: usize) {
        self.share.count(CONNECTION + buffers);
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
    let place = match shared.door.enter(address.ip().to_canonical()) {
        Ok(place) => place,
        Err(limit) => {
            metrics.turned_away.fetch_add(1, Ordering::Relaxed);
            metrics.reach(limit);
            if metrics.may_log(shared.clock.now()) {
                tracing::warn!(%address, limit = limit.name(), "a connection was turned away");
            }
            return turn_away(&stream, limit);
        }
    };
    if place.is_kept() {
        metrics.reach(Limit::Connections);
    }
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

/// Says that there is no place, if that can be said at once.
fn turn_away(stream: &TcpStream, limit: Limit) {
    let text = format!("{} is reached", limit.name());
    let mut said = bytes::BytesMut::new();
    if (Fatal { status: Status::Unavailable, detail: [0; 2], text }).encode(&mut said).is_ok() {
        // Whoever cannot take so little is not told.
        let _ = stream.try_write(&said);
    }
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
    use crate::{
        log::Volatile,
        server::{HouseRules, Patience},
        table::{Setting, Table},
    };

    fn door(limits: DoorLimits, memory: usize) -> Arc<Door> {
        let table = Table::new(&Setting {
            epoch: 1,
            limits: crate::engine::Limits { memory, ..Default::default() },
            window_requests: 1,
            window_bytes: 1,
            recovering_until: None,
            route_key: [0; 16],
            hash_seed: 0,
        });
        let rules = HouseRules {
            patience: Patience::default(),
            ttl_ms_min: 0,
            ttl_ms_max: 0,
            unsafe_settings: Vec::new(),
            draw: Box::new(|| None),
        };
        let house = House::new(Volatile::new(table), rules);
        Arc::new(Door::new(limits, &house, CancellationToken::new()))
    }

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn the_oldest_stranger_goes_and_a_guest_stays() {
        let door = door(DoorLimits { connections: 5, kept: 0, a_source: 2, strangers: 2 }, usize::MAX);
        let mut guest = door.enter(HERE).unwrap();
        guest.greeted();
        let oldest = door.enter(HERE).unwrap();
        let second = door.enter(HERE).unwrap();
        assert!(!oldest.leave.is_cancelled());
        let third = door.enter(HERE).unwrap();
        assert!(oldest.leave.is_cancelled());
        assert!(!second.leave.is_cancelled() && !guest.leave.is_cancelled());
        let _fifth = door.enter(HERE).unwrap();
        assert_eq!(door.enter(HERE).err(), Some(Limit::Connections), "the house is full");
        assert_eq!(door.strangers.load(Ordering::Relaxed), 2);
        drop(third);
        let there = IpAddr::from([192, 0, 2, 1]);
        let _one = door.enter(there).unwrap();
        assert!(door.enter(there).is_err(), "the house is full again");
    }

    #[test]
    fn one_address_may_not_take_all_places() {
        let door = door(DoorLimits { a_source: 2, ..DoorLimits::default() }, usize::MAX);
        let there = IpAddr::from([192, 0, 2, 1]);
        let one = door.enter(there).unwrap();
        let _two = door.enter(there).unwrap();
        assert_eq!(door.enter(there).err(), Some(Limit::ASource));
        drop(one);
        assert!(door.enter(there).is_ok());
    }

    #[test]
    fn the_last_places_are_kept() {
        let door = door(DoorLimits { connections: 3, kept: 1, ..DoorLimits::default() }, usize::MAX);
        let (one, two) = (door.enter(HERE).unwrap(), door.enter(HERE).unwrap());
        assert!(!one.is_kept() && !two.is_kept());
        let three = door.enter(HERE).unwrap();
        assert!(three.is_kept());
        drop((one, three));
        assert!(!door.enter(HERE).unwrap().is_kept(), "there is a place for anybody");
    }

    #[test]
    fn without_memory_every_place_is_a_kept_one() {
        let door = door(DoorLimits::default(), 0);
        assert!(door.enter(HERE).unwrap().is_kept());
    }
}
