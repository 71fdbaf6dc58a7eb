//! After the storm: everything works again, nothing new is asked, and what was promised must come about.

use super::actor::{self, Stage};
use super::client::{Doing, Held};
use super::clock::{MS, SECOND, Time};
use super::judges::{Glance, ghosts};
use super::run::{Due, Event, World, Wrong};
use enq_protocol::vocabulary::Status;
use std::cmp::Reverse;

/// How often everybody releases what he has, and how long that may take each time.
const ROUNDS: u32 = 80;
const ROUND: Time = 250 * MS;

impl World {
    /// Heals the world and demands what is due.
    pub(crate) fn recover(&mut self) -> Result<(), Wrong> {
        self.heal();
        let lease = u64::from(self.options.ttl_ms) * MS;
        // Whoever vanished is missed, whoever was cut off is back, and everything on its way has come.
        let delay = u64::from(self.options.lock_delay_ms) * MS;
        let deadlocks = u64::from(self.options.deadlock_wait_ms) * MS;
        self.run_until(self.now + 2 * lease + delay + deadlocks + 4 * SECOND)?;
        let glance = Glance::at(&self.server, self.server_now(), &self.places);
        for client in &self.clients {
            if client.connection.is_none() || !client.is_open() {
                return Err(format!(
                    "liveness: client {} is not back: {:?}",
                    client.number,
                    client.peer.lost()
                ));
            }
            ghosts::compare(client, &glance)?;
        }
        self.drain()?;
        self.close()
    }

    fn heal(&mut self) {
        self.healed = true;
        self.tell(format_args!("the world is healed"));
        self.wake_all();
        self.server_stopped_until = self.server_stopped_until.min(self.now);
        self.heal_the_disk();
        self.cut_off_until.iter_mut().for_each(|until| *until = (0, 0));
        self.stopped_until.iter_mut().for_each(|until| *until = self.now);
        let soon = self.now + MS;
        let mut all = Vec::new();
        for (id, connection) in &mut self.connections {
            connection.to_server.heal(soon);
            connection.to_client.heal(soon);
            all.push(*id);
        }
        for id in all {
            self.at(soon, Event::ToServer(id));
            self.at(soon, Event::ToClient(id));
        }
        for number in 0..self.clients.len() {
            self.at(soon, Event::Drive(number, self.clients[number].life));
        }
    }

    /// Whoever is stopped goes on with what he was to do meanwhile.
    fn wake_all(&mut self) {
        let all = std::mem::take(&mut self.due).into_vec();
        let woken = all.into_iter().map(|Reverse(due)| {
            let slept = self.stopped(due.event) == Some(due.at);
            Reverse(Due { at: if slept { self.now } else { due.at }, ..due })
        });
        self.due = woken.collect::<Vec<_>>().into();
    }

    /// Everybody who waits for nothing releases what he has, until nobody has anything: whoever waits is served, and what
    /// waits for itself is broken by the server.
    fn drain(&mut self) -> Result<(), Wrong> {
        for _ in 0..ROUNDS {
            let has_orphans = !self.bench.last().orphans.is_empty();
            if !has_orphans && self.clients.iter().all(|client| client.locks.is_empty()) {
                return self.let_drift();
            }
            if has_orphans {
                self.purge_all();
            }
            if self.options.deadlock_wait_ms == 0 {
                self.operate()?;
            }
            for number in 0..self.clients.len() {
                let client = &mut self.clients[number];
                let free = |held: &Held| client.is_free(held);
                let of = |counts: &dyn Fn(&Held) -> bool| -> Vec<u64> {
                    let all = client.locks.iter().filter(|(_, held)| free(held) && counts(held));
                    all.map(|(lock, _)| *lock).collect()
                };
                let asked = of(&|held| held.is_asked() && !held.cancelled);
                let locks = of(&|held| held.doing == Doing::Holding);
                for lock in asked {
                    actor::cancel_it(client, lock);
                }
                let mut stage = Stage {
                    now: self.now,
                    random: &mut self.random,
                    options: &self.options,
                    places: &self.places,
                    values: &mut self.values,
                };
                for lock in locks {
                    actor::release_it(client, &mut stage, lock);
                }
                self.drive(number)?;
            }
            self.run_until(self.now + ROUND)?;
        }
        let glance = Glance::at(&self.server, self.server_now(), &self.places);
        self.tell(format_args!("left: {glance:#?}"));
        let waiting =
            self.clients.iter().flat_map(|client| client.locks.iter().map(|lock| (client.number, lock)));
        Err(format!("liveness: these wait for ever: {:?}", waiting.collect::<Vec<_>>()))
    }

    /// What orphans stood on is released within a lease, although nobody tells that they have gone.
    fn let_drift(&mut self) -> Result<(), Wrong> {
        if self.options.ties.persists {
            self.run_until(self.now + u64::from(self.options.ttl_ms) * MS)?;
        }
        Ok(())
    }

    /// Everybody closes his session, and nothing is left.
    fn close(&mut self) -> Result<(), Wrong> {
        for number in 0..self.clients.len() {
            let client = &mut self.clients[number];
            let call = client.next();
            client.closing = Some(call);
            match client.peer.close(call) {
                Ok(()) => {}
                Err(Status::SessionLost) => {
                    return Err(format!("client {number} has lost its session when healed"));
                }
                Err(status) => return Err(format!("CLOSE cannot be said: {status:?}")),
            }
            self.drive(number)?;
        }
        let lease = u64::from(self.options.ttl_ms) * MS;
        self.run_until(self.now + 2 * lease + SECOND)?;
        if let Some(client) = self.clients.iter().find(|client| !client.closed) {
            return Err(format!("liveness: the session of client {} was not closed", client.number));
        }
        let left = self.server.table().statistics();
        let sessions = self.server.table().session_count();
        if (left.locks, left.resources, sessions) != (0, 0, 0) {
            return Err(format!(
                "at the end there are {} locks, {} resources, {sessions} sessions",
                left.locks, left.resources
            ));
        }
        self.server.table().check()?;
        self.judge_the_journal()?;
        self.note_the_end();
        Ok(())
    }

    fn note_the_end(&mut self) {
        for register in &self.registers {
            if register.unguarded_writes > register.unguarded {
                self.marks.sometimes("without gates an update was lost");
            }
            self.marks.count("guarded writes", register.accepted);
        }
        self.note_metrics();
        self.note_orphans();
        self.marks.count("a notice was said on a connection that went on", self.streams.notices);
        let refusals = self.streams.refusals_again;
        self.marks.count("a refusal to break a deadlock was said again", refusals);
        self.marks.count("numbers said", self.streams.said);
        self.marks.count("numbers said again", self.streams.again);
        let later = self.streams.again_later;
        self.marks.count("an answer was said again after a restart", later);
        self.marks.sometimes("worlds");
    }
}
