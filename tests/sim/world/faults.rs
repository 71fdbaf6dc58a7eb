//! What goes wrong: connections that break in all their ways, streams that stand still, machines that stop, die and come
//! back, administrators.

use super::clock::{MS, SECOND, Time};
use super::journal::{End, Keeping};
use super::run::{Event, World, Wrong};
use super::server::ConnectionId;
use enq_protocol::wire::{Administer, Look};
use rand::{Rng as _, seq::IndexedRandom as _};

/// One misfortune; whom it meets is drawn when it comes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// A connection breaks.
    Cut,
    /// A stream stands still.
    Stall,
    /// Nothing gets through between a client and the server.
    Partition,
    /// A client is stopped, and goes on later.
    StopClient,
    /// The server is.
    StopServer,
    /// The server ends, and another one begins.
    Restart,
    /// An administrator ends a session.
    Expulsion,
    /// A client's machine vanishes; another process comes in its place.
    Death,
    /// The server ends, and what is left of it is a journal.
    Fall(End),
    /// A call of its disk goes wrong.
    DiskError,
    /// Its disk is full, or has room again.
    Fill(bool),
}

impl World {
    /// Draws all that will go wrong before the world is healed.
    pub(crate) fn draw_faults(&mut self) {
        let misfortune = self.options.misfortune;
        let clients = u64::try_from(self.clients.len()).expect("a few");
        let keeping = self.options.keeping.as_ref();
        let of_disk = |rate: fn(&Keeping) -> u32| keeping.map_or(0, rate);
        for (fault, rate, machines) in [
            (Fault::Cut, misfortune.cuts, clients),
            (Fault::Stall, misfortune.stalls, clients),
            (Fault::Partition, misfortune.partitions, clients),
            (Fault::StopClient, misfortune.client_pauses, clients),
            (Fault::StopServer, misfortune.server_pauses, 1),
            (Fault::Restart, if keeping.is_some() { 0 } else { misfortune.restarts }, 1),
            (Fault::Expulsion, misfortune.expulsions, clients),
            (Fault::Death, misfortune.deaths, clients),
            (Fault::Fall(End::Death), of_disk(|keeping| keeping.deaths), 1),
            (Fault::Fall(End::Outage), of_disk(|keeping| keeping.outages), 1),
            (Fault::DiskError, of_disk(|keeping| keeping.errors), 1),
            (Fault::Fill(true), of_disk(|keeping| keeping.fills), 1),
        ] {
            let expected = u64::from(rate) * machines * self.options.safety / SECOND;
            let times = expected / 100 + u64::from(self.random.random_range(0..100) < expected % 100);
            for _ in 0..times {
                let at = self.random.random_range(0..self.options.safety);
                self.at(at, Event::Fault(fault));
            }
        }
    }

    /// Up to so many leases.
    fn some_leases(&mut self, most: u64) -> Time {
        let lease = u64::from(self.options.ttl_ms) * MS;
        let upper = *[lease / 4, lease, most * lease].choose(&mut self.random).expect("not empty");
        self.random.random_range(MS..upper)
    }

    pub(crate) fn fail(&mut self, fault: Fault) -> Result<(), Wrong> {
        if self.healed {
            return Ok(());
        }
        match fault {
            Fault::Cut => self.cut(),
            Fault::Stall => self.stall(),
            Fault::Partition => self.cut_off(),
            Fault::StopClient => {
                let number = self.random.random_range(0..self.clients.len());
                let until = self.now + self.some_leases(2);
                self.tell(format_args!("client {number} is stopped until {}", until / MS));
                self.stopped_until[number] = until;
                self.marks.sometimes("a client was stopped");
            }
            Fault::StopServer => {
                let until = self.now + self.some_leases(3);
                self.tell(format_args!("the server is stopped until {}", until / MS));
                if self.server_stopped_until < self.now {
                    self.server_stopped_at = self.now;
                }
                self.server_stopped_until = self.server_stopped_until.max(until);
                self.marks.sometimes("the server was stopped");
            }
            Fault::Restart => {
                self.tell(format_args!("the server is restarted"));
                self.marks.sometimes("the server was restarted");
                self.restart();
            }
            Fault::Expulsion => return self.expel(),
            Fault::Death => return self.die(),
            Fault::Fall(end) => self.fall(end),
            Fault::DiskError => self.spoil_a_call(),
            Fault::Fill(is_full) => {
                self.fill_disk(is_full);
                if is_full {
                    let until = self.now + self.random.random_range(SECOND / 2..4 * SECOND);
                    self.at(until, Event::Fault(Fault::Fill(false)));
                }
            }
        }
        Ok(())
    }

    fn some_connection(&mut self) -> Option<ConnectionId> {
        let used: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, known)| known.used && known.served)
            .map(|(id, _)| *id)
            .collect();
        used.choose(&mut self.random).copied()
    }

    fn cut(&mut self) {
        let Some(id) = self.some_connection() else { return };
        let kind = self.random.random_range(0..6);
        let loses = self.random.random_bool(0.5);
        let later = self.now + self.some_leases(2);
        let bytes = self.random.random_range(0..400);
        let now = self.now;
        self.tell(format_args!("connection {id} is cut, in way {kind}"));
        self.marks.sometimes("a connection was cut");
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let (to_server, to_client) = match kind {
            // Both sides learn it at once.
            0 => (connection.to_server.reset(now, loses), connection.to_client.reset(now, loses)),
            // One side learns it much later; what was on its way still comes.
            1 => {
                connection.to_server.stall(later);
                (connection.to_server.finish(later), connection.to_client.reset(now, loses))
            }
            2 => {
                connection.to_client.stall(later);
                (connection.to_server.reset(now, loses), connection.to_client.finish(later))
            }
            // At any byte.
            3 => {
                connection.to_server.break_after(bytes);
                (now, now)
            }
            4 => {
                connection.to_client.break_after(bytes);
                (now, now)
            }
            // In order, after all that was written.
            _ => (connection.to_server.finish(now), connection.to_client.finish(now)),
        };
        self.at(to_server, Event::ToServer(id));
        self.at(to_client, Event::ToClient(id));
    }

    fn stall(&mut self) {
        let Some(id) = self.some_connection() else { return };
        let until = self.now + self.some_leases(2);
        let both = self.random.random_range(0..3);
        self.tell(format_args!("connection {id} stands still until {}, {both}", until / MS));
        self.marks.sometimes("a stream stood still");
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if both != 0 {
            connection.to_server.stall(until);
        }
        if both != 1 {
            connection.to_client.stall(until);
        }
        self.at(until, Event::ToServer(id));
        self.at(until, Event::ToClient(id));
    }

    /// One client, as an administrator, ends the session of another.
    fn expel(&mut self) -> Result<(), Wrong> {
        let (by, whose) = (0, self.random.random_range(1..self.clients.len()));
        let Some(session) = self.clients[whose].session() else { return Ok(()) };
        if !self.clients[by].is_open() || self.clients[by].connection.is_none() {
            return Ok(());
        }
        let call = self.clients[by].next();
        let look = Look::Administer(Administer::ExpireSession { session, reason: "a fault".into() });
        if self.clients[by].peer.look(&look, call).is_err() {
            return Ok(());
        }
        self.clients[by].looks.insert(call);
        self.clients[whose].expelled = true;
        self.tell(format_args!("client {by} ends the session of client {whose}"));
        self.marks.sometimes("an administrator ended a session");
        self.drive(by)
    }

    /// Whatever connection a client makes, nothing gets through for a while.
    fn cut_off(&mut self) {
        let number = self.random.random_range(0..self.clients.len());
        let until = self.now + self.some_leases(3);
        let direction = self.random.random_range(0..3);
        self.tell(format_args!("client {number} is cut off until {}, {direction}", until / MS));
        self.marks.sometimes("a client was cut off");
        let (from_client, from_server) = &mut self.cut_off_until[number];
        if direction != 0 {
            *from_client = until;
        }
        if direction != 1 {
            *from_server = until;
        }
        let (from_client, from_server) = self.cut_off_until[number];
        let mut ids = Vec::new();
        for (id, connection) in self.connections.iter_mut().filter(|(_, known)| known.client == number) {
            connection.to_server.stall(from_client);
            connection.to_client.stall(from_server);
            ids.push(*id);
        }
        for id in ids {
            self.at(until, Event::ToServer(id));
            self.at(until, Event::ToClient(id));
        }
    }

    /// A machine vanishes without a word; its connection is never closed, and what was on its way comes or does not.
    fn die(&mut self) -> Result<(), Wrong> {
        let number = self.random.random_range(0..self.clients.len());
        self.tell(format_args!("client {number} vanishes"));
        self.marks.sometimes("a client vanished");
        if let Some(id) = self.clients[number].connection.take()
            && let Some(connection) = self.connections.get_mut(&id)
        {
            connection.used = false;
        }
        self.begin_anew(number)
    }
}
