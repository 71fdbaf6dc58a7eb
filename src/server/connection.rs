//! One connection: bytes in, turns, bytes out.
//!
//! A turn handles every whole frame that one read brought and ends in one write. Between turns the task waits for bytes,
//! for room to write, for something that others' steps say to its session, or for a deadline. It holds the in-half of
//! its session during a turn and never while it waits.

mod turn;

use super::{
    Shared,
    clock::timer_in,
    listener::Place,
    outbox,
    peer::{Misbehaved, Phase},
    translate,
};
use crate::table::{Scratch, SessionCell};
use bytes::{Buf, BytesMut};
use enq_protocol::{
    vocabulary::{SessionId, Status},
    wire::Fatal,
};
use std::{
    future::poll_fn,
    io, mem,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    time::Sleep,
};

/// Room a read finds at least.
const READ_LEN: usize = 4 * 1024;

/// Room for bytes that an idle connection keeps, of each sort.
const ROOM_KEPT: usize = 128 * 1024;

/// How long the last words of a connection may take, and how much is read and dropped meanwhile. Without that the words
/// would be lost: a socket that is closed with unread bytes takes back what it sent.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_LEN_MAX: usize = 1024 * 1024;

/// Why a connection ends.
#[derive(Debug)]
enum Ends {
    /// The peer closed it, or the network did.
    Gone,
    /// What the peer said.
    Misbehaved(Misbehaved),
    /// The server stops.
    Stops,
    /// There were too many strangers.
    Evicted,
}

impl From<Misbehaved> for Ends {
    fn from(misbehaved: Misbehaved) -> Ends {
        Ends::Misbehaved(misbehaved)
    }
}

impl From<io::Error> for Ends {
    fn from(_: io::Error) -> Ends {
        Ends::Gone
    }
}

/// One connection, between its sockets' halves.
struct Connection {
    shared: Arc<Shared>,
    address: SocketAddr,
    place: Place,
    phase: Phase,
    session: Option<Arc<SessionCell>>,
    /// What was received and not handled.
    read: BytesMut,
    /// What is encoded and not written.
    out: BytesMut,
    /// Whole requests that wait until the peer reads.
    parked: BytesMut,
    parked_requests: u32,
    scratch: Scratch,
    room: translate::Room,
    /// Sessions that this peer's looks end, when no in-half is held: tag, session, reason.
    to_expire: Vec<(u32, SessionId, String)>,
    /// The turn stopped before a look, because too much is unread.
    paused: bool,
    /// The last write did not take everything.
    blocked: bool,
    /// It took something.
    progressed: bool,
    /// About how many bytes the peer had not read then.
    unread: usize,
    /// A session has begun since the socket was told how long a silence may be.
    attached: bool,
    /// More is to be encoded.
    more_to_send: bool,
    /// The last request of which the peer was told that it was executed, after all answers up to it.
    told: u64,
}

/// Serves one connection until it ends.
pub(super) async fn serve(shared: Arc<Shared>, mut stream: TcpStream, address: SocketAddr, place: Place) {
    let mut connection = Connection {
        shared,
        address,
        place,
        phase: Phase::Stranger,
        session: None,
        read: BytesMut::new(),
        out: BytesMut::new(),
        parked: BytesMut::new(),
        parked_requests: 0,
        scratch: Scratch::default(),
        room: translate::Room::default(),
        to_expire: Vec::new(),
        paused: false,
        blocked: false,
        progressed: false,
        unread: 0,
        attached: false,
        more_to_send: false,
        told: 0,
    };
    let ends = {
        let (mut reader, writer) = stream.split();
        match connection.run(&mut reader, &writer).await {
            Ok(never) => match never {},
            Err(ends) => ends,
        }
    };
    connection.leave(&ends);
    let Some(last_words) = connection.last_words(ends) else { return };
    // Whoever does not take them within their time does not get them.
    let _ = tokio::time::timeout(LINGER, say_and_linger(stream, connection.out, &last_words)).await;
}

impl Connection {
    /// Turns, until it ends.
    async fn run(
        &mut self,
        reader: &mut ReadHalf<'_>,
        writer: &WriteHalf<'_>,
    ) -> Result<std::convert::Infallible, Ends> {
        let shared = Arc::clone(&self.shared);
        let patience = &shared.patience;
        let leave = self.place.leave();
        let mut leave = pin!(leave.cancelled());
        let mut timer = pin!(tokio::time::sleep(patience.first_frame));
        let mut waits_for = Some(WaitsFor::FirstFrame);
        loop {
            if self.paused && !self.blocked {
                self.turn(false)?;
                self.flush(writer)?;
                continue;
            }
            self.read.reserve(READ_LEN);
            let received = tokio::select! {
                biased;
                () = leave.as_mut() => {
                    return Err(if shared.stop.is_cancelled() { Ends::Stops } else { Ends::Evicted });
                }
                () = timer.as_mut(), if waits_for.is_some() => {
                    return Err(waits_for.map_or(Ends::Gone, |waits_for| waits_for.too_long(self.phase)));
                }
                ready = writer.writable(), if self.blocked => {
                    ready?;
                    0
                }
                () = to_say(self.session.as_deref(), self.blocked.then_some(self.unread)) => 0,
                received = reader.read_buf(&mut self.read), if !self.paused => match received? {
                    0 => return Err(Ends::Gone),
                    received => received,
                },
            };
            if self.blocked {
                self.flush(writer)?;
            }
            self.turn(received > 0)?;
            self.flush(writer)?;
            if mem::take(&mut self.attached) {
                self.limit_silence(writer.as_ref());
            }
            self.give_back_room();
            let next = self.waits_for();
            if next != waits_for || self.blocked && self.progressed {
                waits_for = next;
                self.set(timer.as_mut(), next);
            }
        }
    }

    /// What a rare long frame needed is not kept.
    fn give_back_room(&mut self) {
        for buffer in [&mut self.read, &mut self.out, &mut self.parked] {
            if buffer.is_empty() && buffer.capacity() > ROOM_KEPT {
                *buffer = BytesMut::new();
            }
        }
    }

    /// The network's own limit on unanswered data: half a lease, so that a lost peer is noticed before its lease ends.
    fn limit_silence(&self, stream: &TcpStream) {
        let Some(cell) = &self.session else { return };
        let half = Duration::from_millis(u64::from(cell.about.ttl_ms) / 2);
        // A system without the option notices later, by the lease.
        let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(half));
    }

    /// What the connection must not wait for too long.
    fn waits_for(&self) -> Option<WaitsFor> {
        match self.phase {
            _ if self.blocked && self.unread > outbox::HARD => Some(WaitsFor::Overrun),
            _ if self.blocked => Some(WaitsFor::Reader),
            Phase::Stranger if self.read.is_empty() => Some(WaitsFor::FirstFrame),
            Phase::Stranger => Some(WaitsFor::Handshake),
            Phase::Greeted | Phase::Attached | Phase::Parted if self.read.is_empty() || self.paused => None,
            Phase::Greeted | Phase::Attached | Phase::Parted => Some(WaitsFor::RestOfFrame),
        }
    }

    /// Sets the timer for what is waited for from now on.
    fn set(&self, timer: Pin<&mut Sleep>, waits_for: Option<WaitsFor>) {
        let patience = &self.shared.patience;
        let after = match waits_for {
            None => return,
            Some(WaitsFor::FirstFrame) => patience.first_frame,
            Some(WaitsFor::Handshake) => patience.handshake,
            Some(WaitsFor::Overrun) => patience.overrun,
            Some(WaitsFor::RestOfFrame) => patience.frame,
            Some(WaitsFor::Reader) => {
                let ttl_ms = self.session.as_ref().map_or(0, |cell| cell.about.ttl_ms);
                patience.frame.max(Duration::from_millis(ttl_ms.into()))
            }
        };
        timer.reset(timer_in(after));
    }

    /// Writes what there is to write, as long as the peer takes it.
    fn flush(&mut self, writer: &WriteHalf<'_>) -> Result<(), Ends> {
        self.blocked = false;
        self.progressed = false;
        loop {
            if self.out.is_empty() {
                if !self.more_to_send {
                    return Ok(());
                }
                self.encode();
            }
            match writer.try_write(&self.out) {
                Ok(written) => {
                    self.progressed = true;
                    self.out.advance(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    self.unread = self.count_unread();
                    return if self.unread > outbox::LAST { Err(too_slow()) } else { Ok(()) };
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Encodes what the session is to be told, as far as there is room.
    fn encode(&mut self) {
        self.more_to_send = false;
        let Some(cell) = self.session.clone() else { return };
        let mut register = cell.in_half.lock();
        self.encode_from(&cell, &mut register);
    }

    /// About how many bytes the peer has not read.
    fn count_unread(&self) -> usize {
        let Some(cell) = &self.session else { return self.out.len() };
        self.out.len() + cell.in_half.lock().to_send_weight() + cell.out_half.lock().outgoing.unsent_weight()
    }

    /// The connection has ended: so does a session that is bound to it.
    fn leave(&mut self, ends: &Ends) {
        let metrics = &self.shared.metrics;
        match ends {
            Ends::Gone => _ = metrics.closed_by_peer.fetch_add(1, Ordering::Relaxed),
            Ends::Evicted => _ = metrics.evicted.fetch_add(1, Ordering::Relaxed),
            Ends::Stops => {
                // What was granted is said. Sessions are left as they are: a lock of a session that ended now would be
                // granted to another, whose client has as little time.
                metrics.count_closed(Status::Shutdown);
                self.encode();
                return;
            }
            Ends::Misbehaved(misbehaved) => {
                metrics.count_closed(misbehaved.status());
                if metrics.may_log(self.shared.clock.now()) {
                    tracing::info!(address = %self.address, why = ?misbehaved, "connection closed");
                }
            }
        }
        tracing::debug!(address = %self.address, ?ends, "connection ended");
        let Some(cell) = self.session.take() else { return };
        if cell.about.bound {
            let mut register = cell.in_half.lock();
            let locks = register.locks();
            if !register.has_ended() {
                self.shared.log.kill(self.shared.clock.now(), (&cell, &mut register), &mut self.scratch);
                tracing::info!(session = %cell.id, name = cell.about.name, locks,
                    "session ended with its connection");
            }
        } else {
            let mut half = cell.out_half.lock();
            half.outgoing.set_heard(false);
            half.waker = None;
        }
    }

    /// What is still to be said, if anything is.
    fn last_words(&mut self, ends: Ends) -> Option<Fatal> {
        match ends {
            Ends::Misbehaved(Misbehaved::Told(fatal)) if fatal.status != Status::TooSlow => Some(fatal),
            Ends::Stops => Some(Fatal {
                status: Status::Shutdown,
                detail: [0; 2],
                text: Status::Shutdown.sentence().into(),
            }),
            Ends::Gone | Ends::Evicted | Ends::Misbehaved(_) => None,
        }
    }
}

/// What must not take too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WaitsFor {
    /// The first bytes.
    FirstFrame,
    /// The rest of the first frame.
    Handshake,
    /// The rest of a frame.
    RestOfFrame,
    /// That the peer reads.
    Reader,
    /// That the peer reads, and soon.
    Overrun,
}

impl WaitsFor {
    fn too_long(self, phase: Phase) -> Ends {
        match (self, phase) {
            (WaitsFor::Reader | WaitsFor::Overrun, _) => too_slow(),
            (_, Phase::Stranger) => Ends::Misbehaved(Misbehaved::Silently(Status::Timeout)),
            (_, Phase::Greeted | Phase::Attached | Phase::Parted) => {
                Ends::Misbehaved(Misbehaved::told(Status::Timeout))
            }
        }
    }
}

fn too_slow() -> Ends {
    Ends::Misbehaved(Misbehaved::told(Status::TooSlow))
}

/// Waits until there is something to say to the session, or it has ended. While the peer does not read so many bytes,
/// that is only when the hard bound is passed.
async fn to_say(session: Option<&SessionCell>, unread: Option<usize>) {
    let Some(cell) = session else { return std::future::pending().await };
    poll_fn(|context| {
        let mut half = cell.out_half.lock();
        let outgoing = &half.outgoing;
        let ready = match unread {
            None => outgoing.has_unsent(),
            Some(unread) if unread <= outbox::HARD => outgoing.unsent_weight() + unread > outbox::HARD,
            Some(unread) => outgoing.unsent_weight() + unread > outbox::LAST,
        };
        if ready || half.ended {
            return Poll::Ready(());
        }
        match &mut half.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    })
    .await;
}

/// Writes what is left and the last words, and reads until the peer has seen them.
async fn say_and_linger(mut stream: TcpStream, mut out: BytesMut, last_words: &Fatal) -> io::Result<()> {
    if last_words.encode(&mut out).is_err() {
        return Ok(());
    }
    stream.write_all(&out).await?;
    stream.shutdown().await?;
    let mut dropped = 0;
    let mut bytes = [0; 1024];
    while dropped < LINGER_LEN_MAX {
        match stream.read(&mut bytes).await? {
            0 => break,
            read => dropped += read,
        }
    }
    Ok(())
}
