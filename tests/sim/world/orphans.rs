//! What outlives its session in a world: locks that were asked PERSISTENT, and who adopts and purges them. And what does
//! not outlive its connection: sessions that are bound to it.

use super::client::Held;
use super::run::{World, Wrong};
use super::server::ConnectionId;
use enq_protocol::vocabulary::{Flags, LockId, LockMode, LockspaceId, Owner, ResourceName, SessionId};
use enq_protocol::wire::{Adopt, Purge};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

/// Orphan keys of a world: each is known to everybody, and several clients have one.
const KEYS: usize = 2;

/// What is drawn once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ties {
    pub(crate) persists: bool,
    binds: bool,
}

impl Ties {
    pub(crate) fn draw(seed: u64) -> Ties {
        let mut random = StdRng::seed_from_u64(seed ^ 0x6F72_7068_616E_735F);
        Ties { persists: random.random_ratio(1, 3), binds: random.random_ratio(1, 8) }
    }

    /// Are the sessions of this client bound to their connections?
    pub(crate) fn binds(self, number: usize) -> bool {
        self.binds && number % 2 == 1
    }

    /// The orphan key of its sessions.
    pub(crate) fn key(self, number: usize) -> Box<[u8]> {
        if self.persists { format!("key {}", number % KEYS).into_bytes().into() } else { Box::default() }
    }
}

impl World {
    /// A client may look after what others have left before it does anything else. Mostly somebody has looked whether there
    /// is anything.
    pub(crate) fn attend_to_orphans(&mut self, number: usize) {
        if !self.options.ties.persists {
            return;
        }
        let often = if self.bench.last().orphans.is_empty() { 100 } else { 8 };
        if !self.random.random_ratio(1, often) {
            return;
        }
        let whose = self.random.random_range(0..KEYS);
        if self.random.random_ratio(1, 6) {
            let root = self.random.random_range(0..=self.options.resources);
            let root = self.places.get(root).and_then(|place| place.first()).cloned();
            self.purge(number, whose, root.as_ref());
        } else {
            self.adopt(number, whose);
        }
    }

    fn purge(&mut self, number: usize, whose: usize, root: Option<&ResourceName>) {
        let key = self.options.ties.key(whose);
        let client = &mut self.clients[number];
        let call = client.next();
        let root = root.map(ResourceName::as_bytes);
        let purge = Purge { lockspace: LockspaceId(0), root, orphan_key: &key };
        if client.peer.purge(purge, call).is_ok() {
            client.looks.insert(call);
            self.bench.orphans.purged.insert(key);
            self.tell(format_args!("client {number} purges by key {whose}"));
        }
    }

    /// Most of the time somebody has looked, and adopts what is there.
    fn adopt(&mut self, number: usize, whose: usize) {
        let looked = self.random.random_ratio(4, 5);
        let glance = self.bench.last();
        let orphans = glance.orphans.iter().filter_map(|id| glance.lock(*id));
        let there: Vec<(usize, LockMode, Option<LockId>)> = orphans
            .filter_map(|lock| {
                let place = self.places.iter().position(|place| *place == lock.path)?;
                Some((place, lock.granted?, lock.parent))
            })
            .collect();
        let any = (self.random.random_range(0..self.options.resources), LockMode::Ex, None);
        let (place, mode, above) = there.choose(&mut self.random).copied().filter(|_| looked).unwrap_or(any);
        let key = self.options.ties.key(whose);
        let notices = self.options.taste.notices && self.random.random_bool(0.8);
        let flags = Flags::PERSISTENT.when(self.random.random_bool(0.5)) | Flags::BLKAST.when(notices);
        let parent = above.and_then(|above| self.bench.last().lock(above)).cloned();
        let client = &mut self.clients[number];
        // Trees are adopted from the root downwards.
        let parent = parent.filter(|parent| parent.session == client.session()).map(|parent| parent.handle);
        if parent.is_some() != above.is_some() {
            return;
        }
        let lock = client.next();
        let name = self.places[place].last().expect("a place has a name").as_bytes();
        let asked = client.peer.adopt(lock, |handle| Adopt {
            handle,
            lockspace: LockspaceId(0),
            parent,
            name,
            mode,
            flags,
            owner: Owner::default(),
            priority: 0,
            orphan_key: &key,
            reason: b"",
        });
        if let Ok(ticket) = asked {
            client.locks.insert(lock, Held::asked(place, ticket, mode, flags, 0));
            self.bench.orphans.wanted.insert((self.places[place].clone(), key));
            self.tell(format_args!(
                "client {number} adopts {mode} of place {place} by key {whose} as {lock}"
            ));
        }
    }

    /// A connection has ended: so has a session that was bound to it.
    pub(crate) fn judge_binding(&self, id: ConnectionId, session: Option<SessionId>) -> Result<(), Wrong> {
        let is_bound = self.connections.get(&id).is_some_and(|known| self.clients[known.client].bound);
        match session.filter(|session| is_bound && self.server.living().contains(session)) {
            Some(session) => {
                Err(format!("bound: session {session} lives, and its connection {id} has ended"))
            }
            None => Ok(()),
        }
    }

    /// Nothing is to outlive the world.
    pub(crate) fn purge_all(&mut self) {
        let open = self.clients.iter().position(|client| client.is_open());
        for whose in 0..KEYS {
            if let Some(number) = open {
                self.purge(number, whose, None);
            }
        }
    }

    pub(crate) fn note_orphans(&mut self) {
        let seen = &self.bench.orphans;
        self.marks.count("an orphan was adopted", seen.adoptions);
        self.marks.count("an orphan was purged", seen.purges);
        self.marks.count("a lock stayed because an orphan stands on it", seen.parents);
    }
}
