//! One connection: it moves the bytes of a conversation between a socket and its buffers, and keeps its timer.
//!
//! Between turns the task waits for bytes, for room to write, for something that others' steps say to the session, or
//! for a deadline. What the bytes mean is the business of `conversation`.

use super::{
    Shared,
    clock::timer_in,
    conversation::{Conversation, Ends, ToSay},
    listener::Place,
    pace::Pace,
};
use bytes::BytesMut;
use enq_protocol::wire::Fatal;
use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::pin,
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
};

/// How long the last words of a connection may take, and how much is read and dropped meanwhile. Without that the words
/// would be lost: a socket that is closed with unread bytes takes back what it sent.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_LEN_MAX: usize = 1024 * 1024;

/// Serves one connection until it ends.
pub(super) async fn serve(shared: Arc<Shared>, mut stream: TcpStream, address: SocketAddr, mut place: Place) {
    let mut conversation = Conversation::new(Arc::clone(&shared.house), address);
    if place.is_kept() {
        conversation.keep_for_resume();
    }
    let ends = {
        let (mut reader, writer) = stream.split();
        match run(&shared, &mut conversation, &mut place, &mut reader, &writer).await {
            Ok(never) => match never {},
            Err(ends) => ends,
        }
    };
    conversation.leave(shared.clock.now(), &ends);
    let Some((rest, fatal)) = conversation.last_words(ends) else { return };
    // Whoever does not take them within their time does not get them.
    let _ = tokio::time::timeout(LINGER, say_and_linger(stream, rest, &fatal)).await;
}

/// Turns, until it ends.
async fn run(
    shared: &Shared,
    conversation: &mut Conversation,
    place: &mut Place,
    reader: &mut ReadHalf<'_>,
    writer: &WriteHalf<'_>,
) -> Result<Infallible, Ends> {
    let leave = place.leave();
    let mut leave = pin!(leave.cancelled());
    let mut waits_for = conversation.waits_for();
    let patience = waits_for.map_or(Duration::ZERO, |waits_for| conversation.patience(waits_for));
    let mut timer = pin!(tokio::time::sleep(patience));
    let mut lease_known = None;
    let (mut pace, mut rests, mut rest) = (Pace::default(), false, pin!(tokio::time::sleep(Duration::ZERO)));
    loop {
        let (is_blocked, is_paused) = (conversation.is_blocked(), conversation.is_paused());
        let received = if is_paused && !is_blocked && !rests {
            0
        } else {
            let reads = !is_paused && !conversation.is_awaiting() && !rests;
            let (read, to_say) = conversation.listen();
            tokio::select! {
                biased;
                () = leave.as_mut() => {
                    return Err(if shared.stop.is_cancelled() { Ends::Stops } else { Ends::Evicted });
                }
                () = timer.as_mut(), if waits_for.is_some() => {
                    return Err(waits_for.map_or(Ends::Gone, |waits_for| conversation.too_long(waits_for)));
                }
                ready = writer.writable(), if is_blocked => {
                    ready.map_err(|error| Ends::by(&error))?;
                    0
                }
                () = something_to_say(to_say) => 0,
                () = rest.as_mut(), if rests => {
                    rests = false;
                    0
                }
                received = reader.read_buf(read), if reads => match received.map_err(|error| Ends::by(&error))? {
                    0 => return Err(Ends::Gone),
                    received => received,
                },
            }
        };
        if is_blocked {
            conversation.write(|bytes| writer.try_write(bytes))?;
        }
        if let Some(time) = turn(shared, conversation, &mut pace, received > 0)? {
            shared.house.metrics.rests.fetch_add(1, Ordering::Relaxed);
            rests = true;
            rest.as_mut().reset(timer_in(time));
        }
        conversation.write(|bytes| writer.try_write(bytes))?;
        if conversation.is_guest() {
            place.greeted();
        }
        limit_silence(conversation, writer.as_ref(), &mut lease_known);
        conversation.give_back_room();
        place.count(conversation.buffers());
        let next = conversation.waits_for();
        if next != waits_for || conversation.is_blocked() && conversation.has_progressed() {
            waits_for = next;
            if let Some(next) = next {
                timer.as_mut().reset(timer_in(conversation.patience(next)));
            }
        }
    }
}

/// A turn, and how long the connection has to rest after it for what it looked at.
fn turn(
    shared: &Shared,
    conversation: &mut Conversation,
    pace: &mut Pace,
    received: bool,
) -> Result<Option<Duration>, Ends> {
    let before = shared.clock.now();
    conversation.turn(before, received)?;
    if !conversation.has_looked() {
        return Ok(None);
    }
    let after = shared.clock.now();
    pace.looked(after, Duration::from_nanos(after.0.saturating_sub(before.0)));
    Ok(pace.rest(after))
}

/// The network's own limit on unanswered data: half a lease, so that a lost peer is noticed before its lease ends.
fn limit_silence(conversation: &Conversation, stream: &TcpStream, known: &mut Option<u32>) {
    let ttl_ms = conversation.session().map(|cell| cell.about.ttl_ms);
    if ttl_ms == *known {
        return;
    }
    *known = ttl_ms;
    if let Some(ttl_ms) = ttl_ms {
        let half = Duration::from_millis(u64::from(ttl_ms) / 2);
        // A system without the option notices later, by the lease.
        let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(half));
    }
}

async fn something_to_say(to_say: ToSay<'_>) {
    poll_fn(|context| if to_say.is_ready(context.waker()) { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// Writes what is left and the last words, and reads until the peer has seen them.
async fn say_and_linger(mut stream: TcpStream, rest: &[u8], fatal: &Fatal) -> io::Result<()> {
    let mut last_words = BytesMut::from(rest);
    if fatal.encode(&mut last_words).is_err() {
        return Ok(());
    }
    stream.write_all(&last_words).await?;
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
