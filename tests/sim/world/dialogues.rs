//! A few dialogues between one client of the library and a server, word by word. What is lost on the way, and what comes
//! late, is chosen here and not drawn: where the worlds find a mistake by chance, these must find it.

use super::bounds::{open, plain, server};
use super::clock::MS;
use super::server::Server;
use crate::museum::Plant;
use bytes::BytesMut;
use enq::client::peer::{Happening, Outcome, Peer, Ticket, Told};
use enq::client::{LossCause, Moment};
use enq::engine::Instant;
use enq_protocol::vocabulary::{Flags, Handle, LockMode};
use enq_protocol::wire::{Enq, Look, Request};

/// The lease of everybody here, in milliseconds.
const TTL_MS: u32 = 1_000;

/// Whom the answer to a look is told to; locks have small numbers, and the session has 0.
const LOOK: u8 = 100;

/// The first dialogue that goes wrong, with either log.
pub(crate) fn first_wrong(plant: Plant) -> Option<String> {
    let volatile = || first_wrong_with(plant, Stage::new);
    let journaled = || first_wrong_with(plant, Stage::with_journal);
    volatile().or_else(journaled).or_else(|| super::journal::dialogues::first_wrong(plant))
}

/// How a stage is set up.
type SetUp = fn(Plant) -> Stage;

/// What is said, on such a stage, and what is wrong with it.
type Dialogue = fn(Plant, SetUp) -> Result<(), String>;

fn first_wrong_with(plant: Plant, set_up: SetUp) -> Option<String> {
    let dialogues: [Dialogue; 8] = [
        an_answer_is_lost,
        an_answer_is_lost_behind_one_that_was_heard,
        a_request_is_lost,
        words_come_twice,
        the_connection_of_before_speaks_on,
        an_answer_comes_late,
        a_notice_is_lost,
        the_server_sleeps,
    ];
    dialogues.into_iter().find_map(|dialogue| dialogue(plant, set_up).err())
}

/// The server, and its clock, which is that of everybody.
pub(super) struct Stage {
    pub(super) server: Server,
    pub(super) now: u64,
    connections: u64,
    /// The disk does what it is asked at once.
    pub(super) writes_at_once: bool,
}

/// A client.
pub(super) struct Caller {
    pub(super) peer: Peer<u8>,
    pub(super) connection: u64,
    told: Vec<Told<u8>>,
}

impl Stage {
    fn new(plant: Plant) -> Stage {
        Stage { server: server(plant.server()), now: MS, connections: 0, writes_at_once: false }
    }

    /// With a journal.
    pub(super) fn with_journal(plant: Plant) -> Stage {
        let server = super::journal::dialogues::server(plant);
        Stage { server, now: MS, connections: 0, writes_at_once: true }
    }

    pub(super) fn connect(&mut self) -> u64 {
        self.connections += 1;
        self.server.accept(self.connections);
        self.connections
    }

    /// Somebody with an open session.
    pub(super) fn caller(&mut self, plant: Plant) -> Caller {
        let mut peer = Peer::new("a dialogue");
        peer.plant(plant.client());
        open(&mut peer, TTL_MS);
        let mut caller = Caller { peer, connection: self.connect(), told: Vec::new() };
        self.talk(&mut caller);
        caller
    }

    /// What the server says to these words, and of itself.
    pub(super) fn serve(&mut self, connection: u64, words: &[u8]) -> BytesMut {
        self.serve_frames(connection, words).concat().as_slice().into()
    }

    /// The same, frame by frame.
    fn serve_frames(&mut self, connection: u64, words: &[u8]) -> Vec<Vec<u8>> {
        let now = Instant(self.now);
        let mut frames = self.server.serve(connection, now, words, |bytes| bytes.len()).frames;
        while self.writes_at_once && self.server.journal_mut().write_all() {
            frames.extend(self.server.serve(connection, now, &[], |bytes| bytes.len()).frames);
        }
        frames
    }

    /// Both say what they have to say, until nobody has anything.
    pub(super) fn talk(&mut self, caller: &mut Caller) {
        loop {
            let words = caller.peer.take(Moment(self.now));
            let mut heard = self.serve(caller.connection, &words);
            if words.is_empty() && heard.is_empty() {
                return;
            }
            self.hear(caller, &mut heard);
        }
    }

    pub(super) fn hear(&self, caller: &mut Caller, heard: &mut BytesMut) {
        let received = caller.peer.receive(Moment(self.now), heard, &mut caller.told);
        if let Err(cause) = received {
            caller.peer.lose(cause, &mut caller.told);
        }
    }

    /// The connection breaks for the client; the server hears nothing of that. Another one is there, and they talk.
    pub(super) fn reconnect(&mut self, caller: &mut Caller) -> Result<(), String> {
        let broke = LossCause::Disconnected("cut".into());
        caller
            .peer
            .disconnected(broke)
            .map_err(|cause| format!("that was the end of the session: {cause}"))?;
        caller.peer.reconnect();
        caller.connection = self.connect();
        self.talk(caller);
        Ok(())
    }

    pub(super) fn locks(&self) -> u64 {
        self.server.table().statistics().locks
    }
}

impl Caller {
    pub(super) fn enq(&mut self, lock: u8, mode: LockMode, flags: Flags) -> Ticket {
        let asked = self.peer.enq(lock, |handle| Enq { mode, flags, ..plain(handle) });
        asked.expect("the session is open")
    }

    /// Exactly one outcome of this lock, and a grant.
    pub(super) fn is_granted(&self, lock: u8) -> Result<(), String> {
        let outcomes: Vec<&Told<u8>> =
            self.told.iter().filter(|told| matches!(told, Told::Outcome(of, _) if *of == lock)).collect();
        match outcomes[..] {
            [Told::Outcome(_, Outcome::Granted { .. })] => Ok(()),
            _ => Err(format!("lock {lock} should be granted, once: {outcomes:?}")),
        }
    }
}

/// It is kept, and told again to who goes on with the session; the request is not executed a second time.
fn an_answer_is_lost(plant: Plant, set_up: SetUp) -> Result<(), String> {
    let mut stage = set_up(plant);
    let mut caller = stage.caller(plant);
    caller.enq(1, LockMode::Ex, Flags::NONE);
    let words = caller.peer.take(Moment(stage.now));
    let _lost = stage.serve(caller.connection, &words);
    stage.reconnect(&mut caller)?;
    caller.is_granted(1)?;
    if stage.locks() == 1 {
        Ok(())
    } else {
        Err(format!("one lock is asked for, {} are there", stage.locks()))
    }
}

/// The acknowledgement of the first answer is none of the second.
fn an_answer_is_lost_behind_one_that_was_heard(plant: Plant, set_up: SetUp) -> Result<(), String> {
    let mut stage = set_up(plant);
    let mut caller = stage.caller(plant);
    caller.enq(1, LockMode::Nl, Flags::NONE);
    caller.enq(2, LockMode::Nl, Flags::NONE);
    let words = caller.peer.take(Moment(stage.now));
    let answers = stage.serve_frames(caller.connection, &words);
    stage.hear(&mut caller, &mut answers[0].as_slice().into());
    // This one says how far the answers have been heard.
    caller.enq(3, LockMode::Nl, Flags::NONE);
    let words = caller.peer.take(Moment(stage.now));
    let _lost = stage.serve(caller.connection, &words);
    stage.reconnect(&mut caller)?;
    caller.is_granted(1).and(caller.is_granted(2)).and(caller.is_granted(3))
}

/// It is asked again, and granted.
fn a_request_is_lost(plant: Plant, set_up: SetUp) -> Result<(), String> {
    let mut stage = set_up(plant);
    let mut caller = stage.caller(plant);
    caller.enq(1, LockMode::Ex, Flags::NONE);
    let _lost = caller.peer.take(Moment(stage.now));
    stage.reconnect(&mut caller)?;
    caller.is_granted(1)
}

/// What was executed is not executed again, whoever says it again: a client of another make may.
fn words_come_twice(plant: Plant, set_up: SetUp) -> Result<(), String> {
    let mut stage = set_up(plant);
    let mut caller = stage.caller(plant);
    let ticket = caller.enq(1, LockMode::Ex, Flags::NONE);
    caller.peer.abandon(ticket);
    let words = caller.peer.take(Moment(stage.now));
    let _lost = stage.serve(caller.connection, &words);
    stage.reconnect(&mut caller)?;
    stage.serve(caller.connection, &words);
    match stage.server.table().statistics().enq_new {
        1 => Ok(()),
        asked => Err(format!("one lock was asked for, and {asked} were made")),
    }
}

/// What is still said on it comes too late: the session is served elsewhere.
fn the_connection_of_before_speaks_on(plant: Plant, set_up: SetUp) -> Result<(), String> {
    let mut stage = set_up(plant);
    let mut caller = stage.caller(plant);
    let before = caller.connection;
    stage.reconnect(&mut caller)?;
    let mut words = BytesMut::new();
    let stray = Request::Enq(plain(Handle::new(7).expect("not 0")));
    stray.encode(1, 0, &mut words).expect("a request fits into a frame");
    stage.serve(before, &words);
    if stage.locks() > 0 {
        return Err("a connection that has lost its session takes a lock in it".into());
    }
    caller.enq(1, LockMode::Ex, Flags::NONE);
    stage.talk(&mut caller);
    caller.is_granted(1)
}

/// The lease counts from when its renewal was asked for, not from when that was confirmed.
fn an_answer_comes_late(plant: Plant, set_up: SetUp) -> Result<(), String> {
    let mut stage = set_up(plant);
    let mut caller = stage.caller(plant);
    caller.enq(1, LockMode::Ex, Flags::NONE);
    caller.peer.look(&Look::Renew, LOOK).map_err(|status| status.to_string())?;
    let asked = stage.now;
    let words = caller.peer.take(Moment(stage.now));
    let mut late = stage.serve(caller.connection, &words);
    stage.now += 800 * MS;
    stage.hear(&mut caller, &mut late);
    let end = caller.peer.lease_end().map_or(0, |end| end.0);
    if end <= asked + u64::from(TTL_MS) * MS {
        return Ok(());
    }
    Err(format!("a lease of {TTL_MS} ms is believed in for {} ms", (end - asked) / MS))
}

/// It comes anew: the holder is in somebody's way now as it was then.
fn a_notice_is_lost(plant: Plant, set_up: SetUp) -> Result<(), String> {
    let mut stage = set_up(plant);
    let (mut holder, mut other) = (stage.caller(plant), stage.caller(plant));
    holder.enq(1, LockMode::Ex, Flags::BLKAST);
    stage.talk(&mut holder);
    other.enq(2, LockMode::Ex, Flags::NONE);
    stage.talk(&mut other);
    let notice = stage.serve(holder.connection, &[]);
    assert!(!notice.is_empty(), "the holder is told");
    stage.reconnect(&mut holder)?;
    let told = |told: &Told<u8>| matches!(told, Told::Happened(1, Happening::Blocking(LockMode::Ex)));
    if holder.told.iter().any(told) { Ok(()) } else { Err("the holder never hears whom it blocks".into()) }
}

/// Who could not be heard meanwhile does not lose his session by it.
fn the_server_sleeps(plant: Plant, set_up: SetUp) -> Result<(), String> {
    let mut stage = set_up(plant);
    let mut caller = stage.caller(plant);
    for round in 1..=20 {
        stage.now = (1 + 10 * round) * MS;
        stage.server.round(Instant(stage.now));
    }
    // He has asked in time; it is read late.
    caller.peer.look(&Look::Renew, LOOK).map_err(|status| status.to_string())?;
    let words = caller.peer.take(Moment(stage.now));
    stage.now += 3 * u64::from(TTL_MS) * MS;
    stage.server.round(Instant(stage.now));
    stage.serve(caller.connection, &words);
    match stage.server.table().session_count() {
        1 => Ok(()),
        _ => Err("a session ends while its server sleeps".into()),
    }
}

#[test]
fn dialogues_end_as_they_must() {
    assert_eq!(first_wrong(crate::museum::plant()), None);
}
