//! The events of a world, one after the other, in the order of true time.

use super::Marks;
use super::actor::{self, Errand, Place};
use super::client::Client;
use super::clock::{Clock, MS, Time};
use super::journal::{self, Chore, Upkeep};
use super::judges::{
    Bench, Glance, Rules, completeness::Completeness, effects::Effects, soundness::Soundness,
    streams::Streams,
};
use super::link::{Found, Stream};
use super::options::Options;
use super::register::{Register, Token};
use super::server::{ConnectionId, Make, Server};
use super::story::Story;
use crate::museum::Plant;
use enq::client::LockState;
use enq::engine::Instant;
use enq::server::ROUND;
use enq::server::conversation::Ends;
use enq_protocol::vocabulary::{SessionId, Status};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::atomic::Ordering;

/// What is wrong, in words.
pub(crate) type Wrong = String;

/// What a client of the library never earns, whatever happens to its connections.
const NOBODYS: [Status; 8] = [
    Status::Misordered,
    Status::FalseRetry,
    Status::AckRange,
    Status::Protocol,
    Status::Malformed,
    Status::State,
    Status::Flow,
    Status::FrameTooLarge,
];

/// Something that happens at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// Bytes, or an end, may have come to the server, or there is room to write again.
    ToServer(ConnectionId),
    /// The same for a client.
    ToClient(ConnectionId),
    /// Time passes at the server.
    Round,
    /// A conversation has waited too long, if it still waits for the same.
    Patience(ConnectionId, u64),
    /// A client says what there is to say.
    Drive(usize, u32),
    /// Its application acts.
    Act(usize, u32),
    /// It connects, and opens or goes on with a session.
    Connect(usize, u32),
    /// A connection on which a session was to go on is given up, if it does not yet.
    Attempt(ConnectionId),
    /// A message comes to the guarded resource.
    Deed(usize, u32, Errand),
    /// And its answer to the application: what was read.
    Entered(usize, u32, u64, Token, (u64, u64)),
    /// The deadlock search of the server goes on.
    Search,
    /// An operator looks for deadlocks.
    Operator,
    /// The journal of the server that was this one in turn does something.
    Chore(u64, Chore),
    /// The next server with a journal begins.
    Start,
    /// Something goes wrong.
    Fault(super::faults::Fault),
}

/// An event in its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    pub(crate) at: Time,
    pub(crate) order: u64,
    pub(crate) event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// A connection between a client and the server.
pub(crate) struct Connection {
    pub(crate) client: usize,
    pub(crate) to_server: Stream,
    pub(crate) to_client: Stream,
    /// The server's side has not been closed.
    pub(crate) served: bool,
    /// A client uses it.
    pub(crate) used: bool,
}

/// A world.
pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) random: StdRng,
    pub(crate) options: Options,
    pub(crate) places: Vec<Place>,
    pub(crate) story: Story,
    pub(crate) marks: Marks,
    pub(crate) server: Server,
    pub(crate) make: Make,
    pub(crate) clients: Vec<Client>,
    pub(crate) connections: BTreeMap<ConnectionId, Connection>,
    pub(crate) registers: Vec<Register>,
    pub(crate) server_stopped_until: Time,
    /// When it was stopped last.
    pub(crate) server_stopped_at: Time,
    pub(crate) stopped_until: Vec<Time>,
    /// Until when nothing gets through from a client, and to it.
    pub(crate) cut_off_until: Vec<(Time, Time)>,
    /// The server was started anew, and its wait is not known to be over.
    pub(crate) recovering: bool,
    /// Nothing fails any more, and nothing new is asked.
    pub(crate) healed: bool,
    pub(crate) streams: Streams,
    pub(crate) soundness: Soundness,
    pub(crate) completeness: Completeness,
    pub(crate) bench: Bench,
    pub(crate) effects: Vec<Effects>,
    pub(crate) values: u64,
    pub(crate) upkeep: Upkeep,
    pub(crate) next_connection: ConnectionId,
    pub(crate) due: BinaryHeap<Reverse<Due>>,
    order: u64,
    /// Connections that the server will serve anyway.
    to_serve: BTreeSet<ConnectionId>,
}

impl World {
    pub(crate) fn new(seed: u64, plant: Plant, keep: bool) -> World {
        let mut random = StdRng::seed_from_u64(seed);
        let mut options = Options::new(&mut random);
        options.draw_apart(seed, plant);
        let places = actor::places(&options);
        let mut clock = |offset| Clock::new(offset, random.random_range(-options.ppm_max..=options.ppm_max));
        let server_clock = clock(0);
        let clients = 0..options.clients;
        let clients: Vec<Client> =
            clients.map(|number| Client::new(number, 0, clock(1_000_000_000), plant)).collect();
        let make = Make::of(&options, plant.server(), seed);
        let server = match &options.keeping {
            Some(keeping) => {
                let (log, journal) = journal::first(&make, keeping);
                Server::with(&make, Box::new(log), Some(journal), server_clock, Instant(0))
            }
            None => Server::new(&make, server_clock, Instant(0)),
        };
        let mut story = Story::new(keep);
        story.tell(0, format_args!("world {seed}: {options:?}"));
        World {
            now: 0,
            random,
            story,
            marks: Marks::default(),
            server,
            upkeep: Upkeep::default(),
            make,
            stopped_until: vec![0; clients.len()],
            cut_off_until: vec![(0, 0); clients.len()],
            clients,
            connections: BTreeMap::new(),
            registers: vec![Register::default(); places.len()],
            server_stopped_until: 0,
            server_stopped_at: 0,
            recovering: false,
            healed: false,
            streams: Streams::default(),
            soundness: Soundness::default(),
            completeness: Completeness::default(),
            bench: Bench::default(),
            effects: vec![Effects::default(); places.len()],
            values: 0,
            next_connection: 0,
            due: BinaryHeap::new(),
            order: 0,
            to_serve: BTreeSet::new(),
            options,
            places,
        }
    }

    /// The whole life of the world.
    pub(crate) fn live(&mut self) -> Result<(), Wrong> {
        self.at(0, Event::Round);
        for number in 0..self.clients.len() {
            let after = self.random.random_range(0..50 * MS);
            self.at(after, Event::Connect(number, 0));
        }
        self.draw_faults();
        self.draw_looks();
        self.run_until(self.options.safety)?;
        self.recover()
    }

    /// Everything that happens before that moment.
    pub(crate) fn run_until(&mut self, end: Time) -> Result<(), Wrong> {
        while let Some(Reverse(due)) = self.due.peek().copied().filter(|Reverse(due)| due.at <= end) {
            self.due.pop();
            self.now = due.at;
            if let Some(until) = self.stopped(due.event) {
                self.at(until, due.event);
                continue;
            }
            self.happen(due.event).map_err(|wrong| {
                self.story.tell(self.now, format_args!("WRONG: {wrong}"));
                format!("at {} ms: {wrong}", self.now / MS)
            })?;
        }
        self.now = end;
        Ok(())
    }

    pub(crate) fn at(&mut self, at: Time, event: Event) {
        self.order += 1;
        self.due.push(Reverse(Due { at: at.max(self.now), order: self.order, event }));
    }

    pub(crate) fn tell(&mut self, what: std::fmt::Arguments<'_>) {
        self.story.tell(self.now, what);
    }

    /// Until when the machine that this happens to is stopped, if it is.
    pub(crate) fn stopped(&self, event: Event) -> Option<Time> {
        let until = match event {
            Event::ToServer(_)
            | Event::Round
            | Event::Patience(..)
            | Event::Search
            | Event::Operator
            | Event::Chore(..) => self.server_stopped_until,
            Event::ToClient(id) | Event::Attempt(id) => {
                self.connections.get(&id).map_or(0, |known| self.stopped_until[known.client])
            }
            Event::Drive(number, _) | Event::Act(number, _) | Event::Connect(number, _) => {
                self.stopped_until[number]
            }
            Event::Entered(number, ..) => self.stopped_until[number],
            Event::Deed(..) | Event::Fault(_) | Event::Start => 0,
        };
        (until > self.now).then_some(until)
    }

    fn happen(&mut self, event: Event) -> Result<(), Wrong> {
        match event {
            Event::ToServer(id) => self.serve(id),
            Event::ToClient(id) => self.receive(id),
            Event::Round => self.round(),
            Event::Patience(id, generation) => match self.server.too_long(id, generation) {
                Some(ends) => self.end(id, ends),
                None => Ok(()),
            },
            Event::Drive(number, life) if self.lives(number, life) => {
                self.clients[number].drive_at = None;
                self.drive(number)
            }
            Event::Act(number, life) if self.lives(number, life) => self.act(number),
            Event::Connect(number, life) if self.lives(number, life) => self.connect(number),
            Event::Attempt(id) => self.attempt_is_over(id),
            Event::Deed(number, life, errand) => self.deed(number, life, errand),
            Event::Entered(number, life, lock, token, read) if self.lives(number, life) => {
                self.entered(number, lock, token, read);
                Ok(())
            }
            Event::Search => self.search_on(),
            Event::Operator => self.operate(),
            Event::Chore(life, chore) => self.do_chore(life, chore),
            Event::Start => self.start(),
            Event::Fault(fault) => self.fail(fault),
            Event::Drive(..) | Event::Act(..) | Event::Connect(..) | Event::Entered(..) => Ok(()),
        }
    }

    fn lives(&self, number: usize, life: u32) -> bool {
        self.clients[number].life == life
    }

    pub(crate) fn server_now(&self) -> Instant {
        Instant(self.server.clock.shows(self.now))
    }

    // The server.

    /// Everything that has come on a connection, handled; and what there is to say.
    fn serve(&mut self, id: ConnectionId) -> Result<(), Wrong> {
        self.to_serve.remove(&id);
        let now = self.server_now();
        let Some(connection) = self.connections.get_mut(&id).filter(|known| known.served) else {
            return Ok(());
        };
        let mut received = Vec::new();
        let reads = self.server.reads(id);
        if reads {
            match connection.to_server.read(self.now) {
                Found::Nothing => {}
                Found::Bytes(bytes) => received = bytes,
                Found::End => return self.end(id, Ends::Gone),
            }
        }
        let (time, random, stream) = (self.now, &mut self.random, &mut connection.to_client);
        let mut comes = Vec::new();
        let before = self.server.session_of(id);
        let write = |bytes: &[u8]| stream.write(time, bytes, random, &mut comes);
        let served = self.server.serve(id, now, &received, write);
        self.story
            .tell(time, format_args!("server hears {} bytes on {id}, says {}", received.len(), comes.len()));
        for at in comes {
            self.at(at, Event::ToClient(id));
        }
        if !received.is_empty() {
            // There is room in the stream again.
            self.at(self.now + MS / 100, Event::ToClient(id));
        }
        if !reads && self.server.reads(id) {
            self.at(self.now + MS / 100, Event::ToServer(id));
        }
        let session = self.server.session_of(id).or(before);
        for frame in served.frames {
            let (story, now) = (&mut self.story, self.now);
            self.streams.look(id, session, &frame, &mut |what| story.tell(now, what))?;
        }
        if let Some((patience, generation)) = served.timer {
            let shown = now.0 + u64::try_from(patience.as_nanos()).expect("patience is short");
            self.at(self.server.clock.when(shown), Event::Patience(id, generation));
        }
        if let Some(ends) = served.ends {
            self.end(id, ends)?;
        }
        self.look()
    }

    /// A conversation is over.
    pub(crate) fn end(&mut self, id: ConnectionId, ends: Ends) -> Result<(), Wrong> {
        let now = self.server_now();
        self.story.tell(self.now, format_args!("server: {id} ends, {ends:?}"));
        self.mark_end(&ends)?;
        let bound = self.server.session_of(id).filter(|_| ends == Ends::Gone);
        let words = self.server.leave(id, now, ends);
        self.judge_binding(id, bound)?;
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        connection.served = false;
        let (mut comes, words) = (Vec::new(), words.unwrap_or_default());
        connection.to_client.write(self.now, &words, &mut self.random, &mut comes);
        comes.push(connection.to_client.finish(self.now));
        for at in comes {
            self.at(at, Event::ToClient(id));
        }
        self.look()
    }

    fn mark_end(&mut self, ends: &Ends) -> Result<(), Wrong> {
        if let Ends::Misbehaved(misbehaved) = ends {
            let status = misbehaved.status();
            if NOBODYS.contains(&status) {
                return Err(format!("a client of the library earns {status:?}"));
            }
            self.marks.sometimes(status.row().map_or("an unknown status", |row| row.name));
        }
        Ok(())
    }

    /// Time passes at the server: deadlines, ends, leases.
    fn round(&mut self) -> Result<(), Wrong> {
        if self.upkeep.is_down {
            self.at(self.now + 10 * MS, Event::Round);
            return Ok(());
        }
        let now = self.server_now();
        let before = self.server.living();
        let attached = self.server.attached();
        self.server.round(now);
        self.recovering &= self.make.recovering_until.is_some_and(|until| until > now);
        self.begin_search();
        let shown = now.0 + u64::try_from(ROUND.as_nanos()).expect("a round is short");
        self.at(self.server.clock.when(shown), Event::Round);
        let after = self.server.living();
        for session in before {
            if !after.contains(&session) {
                self.story.tell(self.now, format_args!("server: the lease of {session} ran out"));
                self.marks.sometimes("a lease ran out");
                if !attached.contains(&session) {
                    self.marks.sometimes("a lease ran out with nobody attached");
                }
                self.judge_end(session)?;
            }
        }
        self.look_after_room();
        self.look()?;
        self.judge_completeness()
    }

    /// K10: a lease ends at the server after its client knows that it has, and not while words of the client are unread.
    fn judge_end(&mut self, session: SessionId) -> Result<(), Wrong> {
        self.judge_whole_lease(session)?;
        let quarter = u64::from(self.options.ttl_ms) * MS / 4;
        // A stall of the server is nobody's fault but its own: before it ends anybody it reads what has come.
        let stall = self.server_stopped_until - self.server_stopped_at.min(self.server_stopped_until);
        let was_away =
            stall > quarter.max(250 * MS) * 11 / 10 && self.now < self.server_stopped_until + 100 * MS;
        for client in &self.clients {
            if client.session() != Some(session) || client.closing.is_some() || client.closed {
                continue;
            }
            if client.peer.lost().is_none() && client.peer.state(client.now(self.now)) != LockState::Lost {
                return Err(format!(
                    "lease: {session} ended at the server while client {} counts on it",
                    client.number
                ));
            }
            let unread =
                client.connection.and_then(|id| self.connections.get_mut(&id).filter(|known| known.served));
            let since = unread.and_then(|known| known.to_server.unread_since(self.now));
            let reads = client.connection.is_some_and(|id| self.server.may_read(id));
            if since.is_some_and(|since| reads && (was_away || since + quarter < self.now)) {
                return Err(format!("lease: {session} ended with words of client {} unread", client.number));
            }
        }
        Ok(())
    }

    /// The judges look at all queues; and whoever has something to say unasked is served soon.
    pub(crate) fn look(&mut self) -> Result<(), Wrong> {
        let glance = Glance::at(&self.server, self.server_now(), &self.places);
        let rules = Rules {
            now: self.now,
            recovering: self.recovering,
            closing: self.healed,
            lock_delay: u64::from(self.lock_delay_ms()) * MS,
            slowest: self.upkeep.slowest,
        };
        self.bench.look(glance, rules)?;
        for id in self.server.connections() {
            if !self.to_serve.contains(&id) && self.server.has_to_say(id) {
                self.to_serve.insert(id);
                let soon = self.now + self.random.random_range(0..MS / 5);
                self.at(soon, Event::ToServer(id));
            }
        }
        self.feed_the_disk();
        Ok(())
    }

    /// Whoever had something to say will not say it.
    pub(crate) fn forget_to_serve(&mut self) {
        self.to_serve.clear();
    }

    /// The lock-delay that the lockspace has by now.
    pub(crate) fn lock_delay_ms(&self) -> u32 {
        self.server.table().show_spaces().first().map_or(0, |space| space.policy.lock_delay_ms)
    }

    /// Another server begins, with higher numbers, and waits for the leases of before.
    pub(crate) fn restart(&mut self) {
        let now = self.server_now();
        let wait = u64::from(self.options.ttl_ms) * MS * 102 / 100;
        self.make.epoch += 1;
        self.make.recovering_until = Some(Instant(now.0 + wait));
        self.note_metrics();
        self.server = Server::new(&self.make, self.server.clock, now);
        self.recovering = true;
        self.bench.restart();
        self.soundness.restart();
        self.to_serve.clear();
        self.drop_connections(true);
    }

    /// What a server counted is not forgotten with it.
    pub(crate) fn note_metrics(&mut self) {
        let metrics = self.server.house.metrics();
        self.marks.count("a session was resumed", metrics.resumed.load(Ordering::Relaxed));
        self.marks.count("an answer was kept and sent again", metrics.sent_again.load(Ordering::Relaxed));
        self.marks.count("a request was parked", metrics.parked.load(Ordering::Relaxed));
    }
}
