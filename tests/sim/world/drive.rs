//! The client's side of the events: what its driver does with bytes and moments, and what its application does.

use super::actor::{self, Errand, Stage};
use super::client::{Client, News};
use super::clock::{MS, Time};
use super::judges::belief;
use super::link::{Found, Stream};
use super::register::{Deed, Token};
use super::run::{Connection, Event, World, Wrong};
use super::server::ConnectionId;
use enq::client::LossCause;
use enq::client::peer::Told;
use enq_protocol::vocabulary::{LockMode, LockspaceId};
use enq_protocol::wire::{OpenSession, Space};
use rand::Rng as _;
use std::time::Duration;

/// An application that has asked so much asks no more before it hears something.
const UNANSWERED_MAX: usize = 12;

impl World {
    /// A client connects: it opens a session, or goes on with the one it has.
    pub(crate) fn connect(&mut self, number: usize) -> Result<(), Wrong> {
        if self.clients[number].connection.is_some() {
            return Ok(());
        }
        self.next_connection += 1;
        let id = self.next_connection;
        let manners = self.options.manners;
        let (mut to_server, mut to_client) = (Stream::new(manners), Stream::new(manners));
        let (from_client, from_server) = self.cut_off_until[number];
        to_server.stall(from_client);
        to_client.stall(from_server);
        let served = !self.upkeep.is_down;
        let connection = Connection { client: number, to_server, to_client, served, used: true };
        self.connections.insert(id, connection);
        if served {
            self.server.accept(id);
        } else {
            self.refuse_connection(id);
        }
        self.tell(format_args!("client {number} connects by {id}"));
        let ttl_ms = self.options.ttl_ms;
        if self.options.keeping.is_some() {
            // A machine that loses its power closes no connection.
            self.at(self.now + 2 * u64::from(ttl_ms) * MS, Event::Attempt(id));
        }
        let client = &mut self.clients[number];
        client.connection = Some(id);
        if client.session().is_none() {
            let call = client.next();
            client.opening = Some(call);
            client.bound = self.options.ties.binds(number);
            let open = open_session(number, client, ttl_ms, self.options.ties.key(number));
            client.peer.open(open, call).map_err(|status| format!("OPEN cannot be said: {status:?}"))?;
        } else {
            client.peer.reconnect();
            let within = self.now + u64::from(ttl_ms) * MS / 3;
            self.at(within, Event::Attempt(id));
        }
        self.drive(number)?;
        let first_act = self.now + self.random.random_range(0..20 * MS);
        let client = &mut self.clients[number];
        if !std::mem::replace(&mut client.acting, true) {
            let life = client.life;
            self.at(first_act, Event::Act(number, life));
        }
        Ok(())
    }

    /// What has to be said because time has passed, and everything else that there is to say.
    pub(crate) fn drive(&mut self, number: usize) -> Result<(), Wrong> {
        let now = self.now;
        let client = &mut self.clients[number];
        if client.closed {
            self.leave_connection(number);
            return Ok(());
        }
        let shown = client.now(now);
        let mut told = Vec::new();
        client.peer.tick(shown, &mut told);
        // A session that can go on is given up when it has been dead for as long as it lived without a word.
        let end = client.peer.lease_end().map(|end| match client.peer.is_resumable() {
            true => end.plus(Duration::from_millis(self.options.ttl_ms.into())),
            false => end,
        });
        self.hear(number, told)?;
        let client = &self.clients[number];
        if end.is_some_and(|end| end <= shown) && client.peer.lost().is_none() {
            return self.give_session_up(number, LossCause::Expired);
        }
        if client.peer.silent_at().is_some_and(|at| at <= shown) {
            self.marks.sometimes("a server was silent for too long");
            return self.break_off(number, LossCause::Disconnected("it does not answer".into()));
        }
        self.flush(number);
        let client = &self.clients[number];
        let deadline = client.peer.lease().map(|lease| lease.deadline()).filter(|at| *at > shown);
        let silent = client.peer.silent_at();
        let next = client.peer.next_tick().into_iter().chain(deadline).chain(silent).chain(end).min();
        if let Some(at) = next.map(|shown| client.clock.when(shown.0)) {
            let (life, at) = (client.life, at.max(now + MS / 10));
            // One that comes earlier sees to it that there is a later one.
            if client.drive_at.is_none_or(|other| other > at || other <= now) {
                self.clients[number].drive_at = Some(at);
                self.at(at, Event::Drive(number, life));
            }
        }
        belief::look(&self.clients, now)
    }

    /// Writes as much as the connection takes.
    fn flush(&mut self, number: usize) {
        let client = &mut self.clients[number];
        let Some(id) = client.connection else { return };
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let mut comes = Vec::new();
        loop {
            if client.outbox.is_empty() {
                client.outbox = client.peer.take(client.now(self.now));
            }
            let taken = connection.to_server.write(self.now, &client.outbox, &mut self.random, &mut comes);
            if taken == 0 {
                break;
            }
            let _ = client.outbox.split_to(taken);
        }
        for at in comes {
            self.at(at, Event::ToServer(id));
        }
    }

    /// What has come on a connection for its client.
    pub(crate) fn receive(&mut self, id: ConnectionId) -> Result<(), Wrong> {
        let Some(connection) = self.connections.get_mut(&id).filter(|known| known.used) else {
            return Ok(());
        };
        let number = connection.client;
        let found = connection.to_client.read(self.now);
        match found {
            Found::Nothing => {}
            Found::Bytes(bytes) => {
                // There is room in the stream again.
                self.at(self.now + MS / 100, Event::ToServer(id));
                self.tell(format_args!("client {number} hears {} bytes on {id}", bytes.len()));
                let client = &mut self.clients[number];
                client.inbox.extend_from_slice(&bytes);
                let (shown, mut told) = (client.now(self.now), Vec::new());
                let result = client.peer.receive(shown, &mut client.inbox, &mut told);
                self.hear(number, told)?;
                if let Err(cause) = result {
                    return self.break_off(number, cause);
                }
            }
            Found::End => return self.break_off(number, LossCause::Disconnected("it ended".into())),
        }
        self.drive(number)
    }

    /// What the peer tells the application.
    pub(crate) fn hear(&mut self, number: usize, told: Vec<Told<u64>>) -> Result<(), Wrong> {
        for told in told {
            self.story.tell(self.now, format_args!("client {number} is told {told:?}"));
            let who = |wrong| format!("client {number}: {wrong}");
            match self.clients[number].hear(told).map_err(who)? {
                Some(News::Granted { lock, grant, waited, crossed }) => {
                    if crossed {
                        self.marks.sometimes("a grant crossed a cancel");
                    }
                    self.marks.sometimes(if waited { "granted later" } else { "granted at once" });
                    // Resources come and go between a grant and its hearing, so a block is judged by what is in it.
                    let value = grant.value.as_ref().filter(|value| value.seq > 0);
                    let number_of = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_le_bytes);
                    if let Some(value) = value
                        && number_of(&value.bytes).is_none_or(|stored| stored == 0 || stored > self.values)
                    {
                        return Err(format!("value: client {number} reads {value:?}, which nobody stored"));
                    }
                    self.send(number, lock, Deed::Enter);
                }
                Some(News::Refused(why)) => {
                    self.marks.sometimes(why.status().row().map_or("refused", |row| row.name));
                }
                Some(News::Lapsed) => self.marks.sometimes("the lease ran out under a lock"),
                None => {}
            }
        }
        self.set_policy(number);
        Ok(())
    }

    /// Whoever is there first gives the lockspace its policy.
    fn set_policy(&mut self, number: usize) {
        let policy = self.options.policy();
        let is_set = self.server.policy().is_none_or(|is| is == policy);
        let client = &mut self.clients[number];
        if is_set || !client.is_open() || client.peer.unanswered() > 0 {
            return;
        }
        let call = client.next();
        if client.peer.space(Space::Set { lockspace: LockspaceId(0), version: 1, policy }, call).is_ok() {
            client.looks.insert(call);
        }
    }

    /// The connection is of no use any more, or the session is over.
    pub(crate) fn break_off(&mut self, number: usize, cause: LossCause) -> Result<(), Wrong> {
        self.tell(format_args!("client {number}: {cause}"));
        self.leave_connection(number);
        let client = &mut self.clients[number];
        client.inbox.clear();
        client.outbox.clear();
        if client.closed {
            return Ok(());
        }
        match client.peer.disconnected(cause) {
            Ok(()) => {
                let (least, most) = self.options.reconnect_after;
                let after = self.now + self.random.random_range(least..=most);
                self.at(after, Event::Connect(number, self.clients[number].life));
                Ok(())
            }
            Err(cause) => {
                if client.bound {
                    self.marks.sometimes("a session ended with its connection");
                }
                self.give_session_up(number, cause)
            }
        }
    }

    /// The session is over for its client.
    fn give_session_up(&mut self, number: usize, cause: LossCause) -> Result<(), Wrong> {
        if let LossCause::PeerMisbehaved(what) = &cause {
            return Err(format!("the server misbehaves: {what}"));
        }
        self.tell(format_args!("client {number} gives its session up: {cause}"));
        self.leave_connection(number);
        let told = self.clients[number].lose(cause);
        self.hear(number, told)?;
        self.begin_anew(number)
    }

    /// The session was to go on with this connection by now.
    pub(crate) fn attempt_is_over(&mut self, id: ConnectionId) -> Result<(), Wrong> {
        let Some(number) = self.connections.get(&id).filter(|known| known.used).map(|known| known.client)
        else {
            return Ok(());
        };
        let client = &self.clients[number];
        if client.connection != Some(id) || client.peer.is_up() && client.session().is_some() {
            return Ok(());
        }
        self.marks.sometimes("a resume took too long");
        self.break_off(number, LossCause::Disconnected("it does not answer".into()))
    }

    /// Another process, in the place of one that has no session any more.
    pub(crate) fn begin_anew(&mut self, number: usize) -> Result<(), Wrong> {
        self.leave_connection(number);
        let client = &self.clients[number];
        self.clients[number] = Client::new(number, client.life + 1, client.clock, client.plant);
        self.marks.sometimes("a session was lost");
        let (least, most) = self.options.reconnect_after;
        let after = self.now + self.random.random_range(least..=most);
        self.at(after, Event::Connect(number, self.clients[number].life));
        Ok(())
    }

    /// Closes the client's side of its connection.
    pub(crate) fn leave_connection(&mut self, number: usize) {
        let Some(id) = self.clients[number].connection.take() else { return };
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.used = false;
            let at = connection.to_server.finish(self.now);
            self.at(at, Event::ToServer(id));
        }
    }

    /// The application acts.
    pub(crate) fn act(&mut self, number: usize) -> Result<(), Wrong> {
        if self.healed || self.clients[number].connection.is_none() {
            self.clients[number].acting = false;
            return Ok(());
        }
        let client = &self.clients[number];
        let may_ask = client.is_open() && client.peer.unanswered() < UNANSWERED_MAX;
        if may_ask {
            self.attend_to_orphans(number);
        }
        let mut stage = Stage {
            now: self.now,
            random: &mut self.random,
            options: &self.options,
            places: &self.places,
            values: &mut self.values,
        };
        let client = &mut self.clients[number];
        let done = if may_ask { actor::act(client, &mut stage) } else { None };
        let after = actor::pause(&mut stage);
        let life = client.life;
        if let Some(done) = done {
            self.marks.sometimes("acts");
            self.tell(format_args!("client {number} {done}"));
        }
        let after = Time::try_from(after.as_nanos()).expect("a pause is short").max(MS / 100);
        self.at(self.now + after, Event::Act(number, life));
        self.drive(number)
    }

    /// A message to the guarded resource, if the lock is believed to be held.
    fn send(&mut self, number: usize, lock: u64, deed: Deed) {
        let mut stage = Stage {
            now: self.now,
            random: &mut self.random,
            options: &self.options,
            places: &self.places,
            values: &mut self.values,
        };
        if let Some(errand) = actor::errand(&self.clients[number], &mut stage, lock, deed) {
            let life = self.clients[number].life;
            self.at(self.now + errand.takes, Event::Deed(number, life, errand));
        }
    }

    /// A message comes to the guarded resource, whatever became of its sender.
    pub(crate) fn deed(&mut self, number: usize, life: u32, errand: Errand) -> Result<(), Wrong> {
        let Errand { place, lock, token, deed, .. } = errand;
        let path = &self.places[place];
        let live = !self.upkeep.is_down && self.server.table().is_live(LockspaceId(0), path, token.seq);
        let passed = self.registers[place].meet(token, deed);
        self.story
            .tell(self.now, format_args!("deed of {number} at {place}: {token:?} {deed:?}: {passed:?}"));
        self.effects[place].look(token, passed, live).map_err(|wrong| format!("place {place}: {wrong}"))?;
        self.marks.sometimes(if passed.per_mode { "a deed was accepted" } else { "a late deed was refused" });
        if deed == Deed::Enter && matches!(token.mode, LockMode::Pw | LockMode::Ex) && passed.per_mode {
            let read = (self.registers[place].counter, self.registers[place].unguarded);
            let back = self.now + self.random.random_range(0..20 * MS);
            self.at(back, Event::Entered(number, life, lock, token, read));
        }
        let register = &self.registers[place];
        if register.counter != register.accepted {
            return Err(format!(
                "X2: {} writes were accepted at place {place}, and its counter is {}",
                register.accepted, register.counter
            ));
        }
        Ok(())
    }

    /// The application has read, and writes one more, if it still holds what it held.
    pub(crate) fn entered(&mut self, number: usize, lock: u64, token: Token, read: (u64, u64)) {
        let same = self.clients[number].locks.get(&lock).is_some_and(|held| held.token == Some(token));
        if same {
            self.send(number, lock, Deed::Write { read: read.0, read_unguarded: read.1 });
        }
    }
}

fn open_session(number: usize, client: &Client, ttl_ms: u32, orphan_key: Box<[u8]>) -> OpenSession {
    OpenSession {
        name: format!("client {number}, life {}", client.life),
        purpose: String::new(),
        node: String::new(),
        node_id: 0,
        host: String::new(),
        pid: client.life,
        process_start: 0,
        ttl_ms,
        orphan_key,
        log: 0,
        bind_connection: client.bound,
    }
}
