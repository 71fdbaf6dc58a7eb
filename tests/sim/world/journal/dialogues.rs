//! Dialogues between one client of the library and a server with a journal, in which the moment of a crash is chosen.

use super::super::bounds::{make, plain};
use super::super::clock::{Clock, MS};
use super::super::dialogues::Stage;
use super::super::server::Server;
use super::{Keeping, first, start};
use crate::museum::Plant;
use bytes::BytesMut;
use enq::engine::Instant;
use enq_protocol::vocabulary::{Flags, Handle, LockMode};
use enq_protocol::wire::{Look, Request};

/// A server with a journal on an empty disk.
pub(crate) fn server(plant: Plant) -> Server {
    let make = make(plant.server());
    let (log, journal) = first(&make, &Keeping::plain(plant.journal()));
    Server::with(&make, Box::new(log), Some(journal), Clock::new(0, 0), Instant(0))
}

/// The first dialogue that goes wrong.
pub(crate) fn first_wrong(plant: Plant) -> Option<String> {
    let dialogues: [fn(Plant) -> Result<(), String>; 7] = [
        nothing_is_answered_before_it_is_durable,
        a_session_outlives_its_server,
        time_and_leases_go_on,
        what_arrived_is_not_kept,
        a_client_comes_back_while_its_request_is_under_way,
        whoever_does_not_read_is_heard_all_the_same,
        nobody_is_hurried_while_the_log_is_slow,
    ];
    dialogues.into_iter().find_map(|dialogue| dialogue(plant).err())
}

impl Stage {
    /// The server dies, and another one goes on, at a moment of the log that is returned.
    fn restart(&mut self, plant: Plant) -> Result<Instant, String> {
        let disk = &self.server.journal().disk;
        let (disk, before) = (disk.cut(disk.ops()), self.server.journal().epoch);
        let keeping = Keeping::plain(plant.journal());
        self.server = start::next(&disk, &make(plant.server()), &keeping, (Clock::new(0, 0), self.now))?;
        let epoch = self.server.journal().epoch;
        if epoch <= before {
            return Err(format!("epoch {epoch} after {before}"));
        }
        Ok(Instant(self.server.clock.shows(self.now)))
    }
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, expected: T, found: T) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("{what}: {found:?}, and not {expected:?}")) }
}

/// What is only on its way to the disk has not happened, and is gone with the server.
fn nothing_is_answered_before_it_is_durable(plant: Plant) -> Result<(), String> {
    let mut stage = Stage::with_journal(plant);
    let mut caller = stage.caller(plant);
    stage.writes_at_once = false;
    caller.enq(1, LockMode::Ex, Flags::NONE);
    let words = caller.peer.take(enq::client::Moment(stage.now));
    let heard = stage.serve(caller.connection, &words);
    expect("answers before the disk has it", 0, heard.len())?;
    expect("locks before the disk has it", 0, stage.locks())?;
    stage.restart(plant)?;
    stage.writes_at_once = true;
    expect("locks that nobody was told of", 0, stage.locks())?;
    stage.reconnect(&mut caller)?;
    caller.is_granted(1)
}

/// A lock that was granted is there after two restarts, and its answer is said once more if it was lost.
fn a_session_outlives_its_server(plant: Plant) -> Result<(), String> {
    let mut stage = Stage::with_journal(plant);
    let mut caller = stage.caller(plant);
    caller.enq(1, LockMode::Ex, Flags::NONE);
    stage.talk(&mut caller);
    caller.enq(2, LockMode::Nl, Flags::NONE);
    let words = caller.peer.take(enq::client::Moment(stage.now));
    let _lost = stage.serve(caller.connection, &words);
    stage.restart(plant)?;
    stage.restart(plant)?;
    stage.reconnect(&mut caller)?;
    caller.is_granted(1)?;
    caller.is_granted(2)?;
    expect("locks", 2, stage.locks())
}

/// The time of the log goes on where it was, and with it a whole lease.
fn time_and_leases_go_on(plant: Plant) -> Result<(), String> {
    let mut stage = Stage::with_journal(plant);
    let mut caller = stage.caller(plant);
    stage.now = 900 * MS;
    caller.enq(1, LockMode::Ex, Flags::NONE);
    stage.talk(&mut caller);
    let asked = Instant(stage.now);
    // An hour in which nobody serves is no time.
    stage.now += 3_600_000 * MS;
    let began = stage.restart(plant)?;
    expect("the moment at which time goes on", asked, began)?;
    stage.now = began.0;
    for _ in 0..50 {
        stage.now += 10 * MS;
        stage.server.round(Instant(stage.now));
        stage.server.journal_mut().write_all();
    }
    expect("sessions after half of a lease", 1, stage.server.table().session_count())
}

/// Answers that arrived before are not kept after a restart, and take no room in the window.
fn what_arrived_is_not_kept(plant: Plant) -> Result<(), String> {
    let mut stage = Stage::with_journal(plant);
    let mut caller = stage.caller(plant);
    for lock in 1..=20 {
        caller.enq(lock, LockMode::Nl, Flags::NONE);
        stage.talk(&mut caller);
    }
    stage.restart(plant)?;
    let sessions = stage.server.table().all_sessions();
    let session = sessions.first().ok_or("the session is lost")?;
    expect("answers that are kept", false, session.in_half.lock().unacknowledged() > 1)?;
    let outgoing = session.out_half.lock().outgoing.unsent_weight();
    expect("much is kept", false, outgoing > 1_000)?;
    stage.reconnect(&mut caller)?;
    caller.is_granted(20)
}

/// It hears that its session goes on when that request is done, and not that it was not.
fn a_client_comes_back_while_its_request_is_under_way(plant: Plant) -> Result<(), String> {
    let mut stage = Stage::with_journal(plant);
    let mut caller = stage.caller(plant);
    stage.writes_at_once = false;
    caller.enq(1, LockMode::Ex, Flags::NONE);
    let words = caller.peer.take(enq::client::Moment(stage.now));
    stage.serve(caller.connection, &words);
    stage.reconnect(&mut caller)?;
    // Another one asks for it as well, on the connection of before: that is not heard.
    let mut stray = BytesMut::new();
    let asked = Request::Enq(plain(Handle::new(9).expect("not 0")));
    asked.encode(2, 0, &mut stray).expect("a request fits into a frame");
    stage.serve(caller.connection - 1, &stray);
    while stage.server.journal_mut().write_all() {
        let mut heard = stage.serve(caller.connection, &[]);
        stage.hear(&mut caller, &mut heard);
        stage.talk(&mut caller);
    }
    caller.is_granted(1)?;
    expect("locks", 1, stage.locks())
}

/// What he asked is under way, and he looks, which has to wait for it; then the server goes on to read, though nothing of
/// what it says gets through.
fn whoever_does_not_read_is_heard_all_the_same(plant: Plant) -> Result<(), String> {
    let mut stage = Stage::with_journal(plant);
    let mut caller = stage.caller(plant);
    let (connection, now) = (caller.connection, Instant(stage.now));
    let mut ping = BytesMut::new();
    Look::Ping.encode(77, 0, &mut ping).expect("a look fits into a frame");
    stage.server.serve(connection, now, &ping, |_| 0);
    caller.enq(1, LockMode::Ex, Flags::NONE);
    let mut words = BytesMut::from(&caller.peer.take(enq::client::Moment(stage.now))[..]);
    words.extend_from_slice(&ping);
    stage.server.serve(connection, now, &words, |_| 0);
    expect("it reads before the log has come to the request", false, stage.server.reads(connection))?;
    expect("it has something to do before that", false, stage.server.has_to_say(connection))?;
    stage.server.journal_mut().write_all();
    expect("it is woken", true, stage.server.has_to_say(connection))?;
    stage.server.serve(connection, now, &[], |_| 0);
    expect("it goes on to read", true, stage.server.reads(connection))?;
    expect("it sleeps", false, stage.server.has_to_say(connection))
}

/// The rest of a frame is waited for with some patience only, but not while the server reads nothing itself.
fn nobody_is_hurried_while_the_log_is_slow(plant: Plant) -> Result<(), String> {
    let mut stage = Stage::with_journal(plant);
    let mut caller = stage.caller(plant);
    let (connection, now) = (caller.connection, Instant(stage.now));
    caller.enq(1, LockMode::Ex, Flags::NONE);
    let mut words = BytesMut::from(&caller.peer.take(enq::client::Moment(stage.now))[..]);
    for _ in 0..2 {
        Look::Ping.encode(77, 0, &mut words).expect("a look fits into a frame");
    }
    words.truncate(words.len() - 1);
    let served = stage.server.serve(connection, now, &words, <[u8]>::len);
    expect("it hurries somebody it does not read", None, served.timer)?;
    stage.server.journal_mut().write_all();
    let served = stage.server.serve(connection, now, &[], <[u8]>::len);
    expect("it waits for the rest", true, served.timer.is_some())
}
