//! The machine of the server: one house, its conversations, its rounds; and the next one after a restart.
//!
//! Everything is what the server runs, but for sockets and clock. What it wrote is read once more, frame by frame, for
//! the judge of streams.

use super::clock::Clock;
use super::journal::Journal;
use bytes::{Buf as _, BytesMut};
use enq::engine::{Instant, Limits, Planted, deadlock::Due};
use enq::log::{Log, Volatile};
use enq::server::conversation::{Conversation, Ends, WaitsFor};
use enq::server::{Bounds, House, HouseRules, Passing, Patience, Settings};
use enq::table::{Confirmed, Deadlock, Looked, Refusal, Refused, Scratch, Search, Searched, Setting, Table};
use enq_protocol::vocabulary::{Policy, SessionId};
use enq_protocol::wire::{FRAME_LEN_MAX, Frame, cut};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::task::Waker;

/// A connection of the world.
pub(crate) type ConnectionId = u64;

/// How a server is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Make {
    pub(crate) epoch: u32,
    pub(crate) limits: Limits,
    pub(crate) window: (u32, u32),
    pub(crate) seed: u64,
    /// As much may be unread before requests are parked, and before a connection ends; as much as usual, if it is none.
    pub(crate) unread: Option<(usize, usize)>,
    /// Clients of an earlier server may count on their leases until then.
    pub(crate) recovering_until: Option<Instant>,
}

impl Make {
    /// The first server of a world.
    pub(crate) fn of(options: &super::options::Options, planted: Planted, seed: u64) -> Make {
        let limits = limits(options, planted);
        let (window, unread) = (options.window, options.unread);
        Make { epoch: 1, limits, window, seed, unread, recovering_until: None }
    }
}

/// One conversation with what was written on it and not read as frames.
struct Line {
    conversation: Conversation,
    written: BytesMut,
    /// What it waits for, and since when that is another thing.
    waits_for: Option<WaitsFor>,
    generation: u64,
}

/// What came of serving a conversation.
pub(crate) struct Served {
    /// Frames it wrote, as bytes.
    pub(crate) frames: Vec<Vec<u8>>,
    /// It is over, and why.
    pub(crate) ends: Option<Ends>,
    /// The timer to be set now: when, and for which generation.
    pub(crate) timer: Option<(std::time::Duration, u64)>,
}

/// See the front page.
pub(crate) struct Server {
    pub(crate) house: Arc<House>,
    passing: Passing,
    pub(crate) clock: Clock,
    lines: BTreeMap<ConnectionId, Line>,
    /// What makes its log durable, if that is done.
    journal: Option<Journal>,
    /// The search that runs, and what it is about to refuse.
    search: Option<Search>,
    next_step: NextStep,
}

/// What a search does next.
#[derive(Debug)]
enum NextStep {
    Copy,
    Look,
    Confirm,
    Refuse(Box<Confirmed>),
}

/// What a step of a search did.
#[derive(Debug)]
pub(crate) enum Step {
    /// It looked on.
    On,
    /// A cycle stands, and will be broken.
    Confirmed(Confirmed),
    /// What was found stands no more.
    Void,
    /// Somebody was refused, if the lockspace spares not all, under this record.
    Refused(Arc<Deadlock>),
    /// The same, as soon as it has come through.
    UnderWay(Arc<Deadlock>, Refusal),
    /// It is over.
    Over,
}

fn volatile(make: &Make) -> Volatile {
    Volatile::new(Table::new(&Setting {
        epoch: make.epoch,
        limits: make.limits,
        window_requests: make.window.0,
        window_bytes: make.window.1,
        route_key: *b"a world's shards",
        hash_seed: make.seed,
        recovering_until: make.recovering_until,
    }))
}

fn house(make: &Make, log: Box<dyn Log>, epoch: u32) -> House {
    // A secret tells who opened a session from everybody else; here that takes no more than a number.
    let drawn = AtomicU64::new(make.seed.wrapping_add(u64::from(epoch) << 40));
    let draw = move || {
        let number = u128::from(drawn.fetch_add(1, Ordering::Relaxed));
        Some((number.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_0C5A_1B87_3501)).to_le_bytes())
    };
    let rules = HouseRules {
        patience: Patience::default(),
        ttl_ms_min: 1_000,
        ttl_ms_max: 60_000,
        unsafe_settings: Vec::new(),
        draw: Box::new(draw),
    };
    let usual = Bounds::from(&Settings::default());
    let (soft, hard) = make.unread.unwrap_or((usual.soft, usual.hard));
    House::with(log, rules).bounded(Bounds { soft, hard, ..usual })
}

impl Server {
    /// A server that has just started; its clock goes on as before.
    pub(crate) fn new(make: &Make, clock: Clock, now: Instant) -> Server {
        Server::with(make, Box::new(volatile(make)), None, clock, now)
    }

    /// A server with this log.
    pub(crate) fn with(
        make: &Make,
        log: Box<dyn Log>,
        journal: Option<Journal>,
        clock: Clock,
        now: Instant,
    ) -> Server {
        let epoch = journal.as_ref().map_or(make.epoch, |journal| journal.epoch);
        let house = Arc::new(house(make, log, epoch));
        let (passing, lines) = (Passing::new(now), BTreeMap::new());
        Server { house, passing, clock, lines, journal, search: None, next_step: NextStep::Copy }
    }

    pub(crate) fn journal(&self) -> &Journal {
        self.journal.as_ref().expect("there is a journal")
    }

    pub(crate) fn journal_mut(&mut self) -> &mut Journal {
        self.journal.as_mut().expect("there is a journal")
    }

    /// Are refusals on their way?
    pub(crate) fn refuses(&self) -> bool {
        // The end of time: whatever is to be looked for is due.
        self.journal.is_some() && !self.house.log().is_search_due(Instant(u64::MAX))
    }

    /// What the lockspace says; nothing if it is not there.
    pub(crate) fn policy(&self) -> Option<Policy> {
        self.table().show_spaces().into_iter().next().map(|space| space.policy)
    }

    /// Begins a search, if one is due and none runs.
    pub(crate) fn begin_search(&mut self, now: Instant) -> bool {
        let begins = self.search.is_none() && self.house.log().is_search_due(now);
        if begins {
            self.search = Some(self.table().begin_search(now, Due::At(now)));
            self.next_step = NextStep::Copy;
        }
        begins
    }

    pub(crate) fn searches(&self) -> bool {
        self.search.is_some()
    }

    /// The next step of the search. Everything else may happen between two steps.
    pub(crate) fn search_step(&mut self, now: Instant) -> Step {
        let Some(search) = &mut self.search else { return Step::Over };
        let table = self.house.log().table();
        match std::mem::replace(&mut self.next_step, NextStep::Confirm) {
            NextStep::Copy => {
                // One resource with a queue after the other.
                let before = search.copied();
                let mut goes_on = true;
                while goes_on && search.copied() == before {
                    goes_on = table.copy_part(search, 1);
                }
                self.next_step = if goes_on { NextStep::Copy } else { NextStep::Look };
                Step::On
            }
            NextStep::Look => {
                table.look_for_cycles(search);
                Step::On
            }
            NextStep::Confirm => match table.confirm_next(now, search) {
                Looked::Stands(confirmed) => {
                    self.next_step = NextStep::Refuse(Box::new(confirmed.clone()));
                    Step::Confirmed(confirmed)
                }
                Looked::Gone => Step::Void,
                Looked::Over => {
                    self.search = None;
                    Step::Over
                }
            },
            NextStep::Refuse(confirmed) => {
                let (record, refusal) = table.record(now, *confirmed);
                let Some(refusal) = refusal else { return Step::Refused(record) };
                match self.house.log().refuse(now, &refusal, &mut Scratch::default()) {
                    Refused::Done => Step::Refused(record),
                    Refused::Void => Step::Void,
                    Refused::UnderWay => Step::UnderWay(record, refusal),
                }
            }
        }
    }

    /// Searches at once, as an operator asks.
    pub(crate) fn search_all(&self, now: Instant) -> Searched {
        enq::server::deadlock::search(&self.house, now, Due::All)
    }

    pub(crate) fn table(&self) -> &Table {
        self.house.log().table()
    }

    /// Somebody has connected.
    pub(crate) fn accept(&mut self, id: ConnectionId) {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let conversation = Conversation::new(Arc::clone(&self.house), address);
        let line = Line { conversation, written: BytesMut::new(), waits_for: None, generation: 0 };
        self.lines.insert(id, line);
    }

    pub(crate) fn connections(&self) -> Vec<ConnectionId> {
        self.lines.keys().copied().collect()
    }

    pub(crate) fn session_of(&self, id: ConnectionId) -> Option<SessionId> {
        self.lines.get(&id)?.conversation.session().map(|cell| cell.id)
    }

    /// Who has a session that somebody serves.
    pub(crate) fn attached(&self) -> BTreeSet<SessionId> {
        self.lines.values().filter_map(|line| line.conversation.session()).map(|cell| cell.id).collect()
    }

    /// Sessions that have not ended, and are not about to.
    pub(crate) fn living(&self) -> BTreeSet<SessionId> {
        let all = self.table().all_sessions().into_iter();
        all.filter(|cell| !cell.in_half.lock().has_ended()).map(|cell| cell.id).collect()
    }

    /// Does it read what comes there?
    pub(crate) fn reads(&self, id: ConnectionId) -> bool {
        self.may_read(id) && self.lines.get(&id).is_some_and(|line| !line.conversation.is_awaiting())
    }

    /// Does it read what comes there, as soon as its log has come to what was asked?
    pub(crate) fn may_read(&self, id: ConnectionId) -> bool {
        self.lines.get(&id).is_some_and(|line| !line.conversation.is_paused())
    }

    /// Has the conversation something to say unasked?
    pub(crate) fn has_to_say(&mut self, id: ConnectionId) -> bool {
        let Some(line) = self.lines.get_mut(&id) else { return false };
        // Nobody sleeps here, so nobody is woken: whoever may have something to say is asked.
        let (_, to_say) = line.conversation.listen();
        to_say.is_ready(Waker::noop())
    }

    /// How much room is kept for a connection.
    pub(crate) fn room_of(&self, id: ConnectionId) -> usize {
        self.lines.get(&id).map_or(0, |line| line.conversation.room())
    }

    /// Time passes.
    pub(crate) fn round(&mut self, now: Instant) {
        self.passing.round(&self.house, now);
    }

    /// One round of a conversation: what was received, what there is to say, what it waits for next.
    pub(crate) fn serve(
        &mut self,
        id: ConnectionId,
        now: Instant,
        received: &[u8],
        mut take: impl FnMut(&[u8]) -> usize,
    ) -> Served {
        let Some(line) = self.lines.get_mut(&id) else {
            return Served { frames: Vec::new(), ends: None, timer: None };
        };
        let Line { conversation, written, waits_for, generation } = line;
        let mut write = |bytes: &[u8]| match take(bytes) {
            0 => Err(io::Error::from(io::ErrorKind::WouldBlock)),
            taken => {
                written.extend_from_slice(&bytes[..taken]);
                Ok(taken)
            }
        };
        let result = serve_once(conversation, now, received, &mut write);
        conversation.give_back_room();
        let mut timer = None;
        let next = conversation.waits_for();
        if next != *waits_for || conversation.is_blocked() && conversation.has_progressed() {
            *waits_for = next;
            *generation += 1;
            timer = next.map(|next| (conversation.patience(next), *generation));
        }
        let frames = whole_frames(written);
        Served { frames, ends: result.err(), timer }
    }

    /// The time of what a conversation waits for is over: why it ends, unless it waits for something else by now.
    pub(crate) fn too_long(&self, id: ConnectionId, generation: u64) -> Option<Ends> {
        let line = self.lines.get(&id).filter(|line| line.generation == generation)?;
        Some(line.waits_for.map_or(Ends::Gone, |waits_for| line.conversation.too_long(waits_for)))
    }

    /// A conversation is over: its last words, if it has any.
    pub(crate) fn leave(&mut self, id: ConnectionId, now: Instant, ends: Ends) -> Option<BytesMut> {
        let mut line = self.lines.remove(&id)?;
        line.conversation.leave(now, &ends);
        let (rest, fatal) = line.conversation.last_words(ends)?;
        let mut words = BytesMut::from(rest);
        fatal.encode(&mut words).ok()?;
        Some(words)
    }
}

/// As the server's own task does it.
fn serve_once(
    conversation: &mut Conversation,
    now: Instant,
    received: &[u8],
    write: &mut impl FnMut(&[u8]) -> io::Result<usize>,
) -> Result<(), Ends> {
    let (read, _) = conversation.listen();
    read.extend_from_slice(received);
    if conversation.is_blocked() {
        conversation.write(&mut *write)?;
    }
    conversation.turn(now, !received.is_empty())?;
    conversation.write(&mut *write)?;
    while conversation.is_paused() && !conversation.is_blocked() {
        conversation.turn(now, false)?;
        conversation.write(&mut *write)?;
    }
    Ok(())
}

/// The whole frames of what was written, each as its bytes.
fn whole_frames(written: &mut BytesMut) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some(len) = next_frame(written) {
        frames.push(written[..len].to_vec());
        written.advance(len);
    }
    frames
}

fn next_frame(written: &BytesMut) -> Option<usize> {
    let frame: Option<Frame<'_>> = cut(written, FRAME_LEN_MAX).expect("a server writes frames");
    frame.map(|frame| frame.len)
}

/// The limits of a house with a mistake in it, perhaps.
pub(crate) fn limits(options: &super::options::Options, planted: Planted) -> Limits {
    Limits {
        waiting_a_resource: options.waiting_a_resource,
        locks_a_session: options.locks_a_session,
        waiting_a_session: options.waiting_a_session,
        planted,
        ..Limits::default()
    }
}
