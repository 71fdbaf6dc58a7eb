//! Which command comes next: all of them, with all flags, legal more often than not.
//!
//! Each history has a taste of its own: how many sessions, which modes and flags, how narrow the world is.

use crate::compare::Pair;
use crate::model::{Lock, Queue};
use crate::words::{Ask, Command, End, Step, Under, Which};
use enq_protocol::vocabulary::{ConversionDeadlock, Flags, LockMode, ModeSet, Policy};
use rand::{Rng as _, rngs::StdRng, seq::IndexedRandom as _};

const ROOTS: [&str; 4] = ["a", "b", "c", "d"];
const CHILDREN: [&str; 2] = ["x", "y"];
const PRIORITIES: [u8; 3] = [0, 1, 9];

/// What a history likes.
pub(crate) struct Taste {
    /// The sessions that are open: number and next life.
    sessions: Vec<u64>,
    lives: u64,
    roots: usize,
    owners: u64,
    modes: Vec<LockMode>,
    /// Flags come this many times in a hundred.
    flags: u32,
    favourites: Vec<Flags>,
    blkast: u32,
    trees: u32,
    /// New locks are PERSISTENT this many times in a hundred, beside what the flags say.
    persistent: u32,
    fullness: usize,
    unusual_policies: bool,
}

impl Taste {
    pub(crate) fn new(random: &mut StdRng) -> Taste {
        let sessions = random.random_range(3..=6);
        let modes = match random.random_range(0..4) {
            0 => vec![LockMode::Pr, LockMode::Ex, LockMode::Nl],
            1 => vec![LockMode::Cr, LockMode::Cw, LockMode::Pr, LockMode::Pw],
            _ => LockMode::ALL.to_vec(),
        };
        let favourites = (0..3).map(|_| Flags::TABLE[random.random_range(0..Flags::TABLE.len())].0).collect();
        Taste {
            sessions: (1..=sessions).collect(),
            lives: sessions,
            roots: random.random_range(1..=4),
            owners: random.random_range(1..=3),
            modes,
            flags: *[0, 10, 30, 60].choose(random).expect("not empty"),
            favourites,
            blkast: random.random_range(0..=100),
            trees: *[0, 20, 50].choose(random).expect("not empty"),
            persistent: *[0, 0, 50].choose(random).expect("not empty"),
            fullness: random.random_range(4..=24),
            unusual_policies: random.random_ratio(1, 3),
        }
    }

    pub(crate) fn step(&mut self, random: &mut StdRng, pair: &Pair) -> Step {
        let command = self.command(random, pair);
        let after_ms = if random.random_ratio(1, 3) { random.random_range(0..20) } else { 0 };
        Step { after_ms, command }
    }

    fn command(&mut self, random: &mut StdRng, pair: &Pair) -> Command {
        let locks = &pair.model.locks;
        let crowded = locks.len() > self.fullness;
        let orphans = locks.iter().filter(|lock| lock.session.is_none()).count();
        let weights: [u32; 15] = [
            if crowded { 8 } else { 30 },
            if locks.is_empty() { 1 } else { 22 },
            if crowded { 25 } else { 9 },
            6,
            if self.trees == 0 || crowded { 2 } else { 14 },
            2,
            3,
            if pair.model.has_ending() { 12 } else { 1 },
            5,
            if self.unusual_policies { 4 } else { 1 },
            2,
            1,
            1,
            if orphans > 0 { 12 } else { 1 },
            if orphans > 3 { 5 } else { 1 },
        ];
        let mut dice = random.random_range(0..weights.iter().sum());
        let mut choice = 0;
        while dice >= weights[choice] {
            dice -= weights[choice];
            choice += 1;
        }
        match choice {
            0 => self.new_lock(random, pair),
            1 => self.convert(random, pair),
            2 => self.release(random, pair),
            3 => {
                let (session, lock) = self.lock(random, pair, |lock| lock.queue != Queue::Granted);
                Command::Cancel { session, lock, flags: self.rarely_any(random) }
            }
            4 => self.path(random, pair),
            5 => {
                let (session, lock) = self.lock(random, pair, |_| true);
                let flags = if random.random_ratio(1, 3) { Flags::IVVALBLK } else { self.rarely_any(random) };
                Command::ReleaseSublocks { session, lock, flags }
            }
            6 => self.end_session(random),
            7 => Command::Continue,
            8 => Command::Tick,
            9 => self.set_policy(random),
            10 if random.random_ratio(1, 3) => {
                let (_, lock) = self.lock(random, pair, |lock| lock.wish.is_some());
                Command::EndRequest { lock }
            }
            10 => {
                let (_, lock) = self.lock(random, pair, |lock| lock.session.is_none());
                Command::ForceRelease { lock, stale: random.random_ratio(1, 6), by: 999 }
            }
            11 => {
                let (_, lock) = self.lock(random, pair, |_| true);
                Command::SetPriority { lock, priority: *PRIORITIES.choose(random).expect("not empty") }
            }
            12 => Command::RaiseEpoch { epoch: random.random_range(0..5) },
            13 => self.adopt(random, pair),
            _ => self.purge(random, pair),
        }
    }

    /// An orphan for somebody, mostly under its own key and in its own mode.
    fn adopt(&self, random: &mut StdRng, pair: &Pair) -> Command {
        let locks = &pair.model.locks;
        let orphans: Vec<&Lock> = locks.iter().filter(|lock| lock.session.is_none()).collect();
        // Those that can be adopted: roots, and what stands below a lock with a session.
        let parent = |lock: &Lock| locks.iter().find(|other| Some(other.id) == lock.parent);
        let within_reach = |lock: &&&Lock| parent(lock).is_none_or(|parent| parent.session.is_some());
        let near: Vec<&&Lock> = orphans.iter().filter(within_reach).collect();
        let orphan = near.choose(random).map(|lock| **lock).or(orphans.choose(random).copied());
        let any_key = *["", "k1", "k2"].choose(random).expect("three");
        let Some(orphan) = orphan else {
            let session = self.session(random);
            let ask = self.ask(random, session, Flags::OF_ADOPT);
            let (handle, under) = (self.handle(random, pair, session, &[]), Under::Space(0));
            return Command::Adopt { ask, handle, under, name: "a", orphan_key: any_key };
        };
        let mostly = |random: &mut StdRng| !random.random_ratio(1, 8);
        let parent = parent(orphan);
        let session = parent.and_then(|parent| parent.session).filter(|_| mostly(random));
        let session = session.unwrap_or_else(|| self.session(random));
        let name_of = |id: u64| pair.known.iter().find(|(_, known)| **known == id).map(|(name, _)| *name);
        let under = match parent.and_then(|parent| name_of(parent.id)) {
            Some(name) => Under::Lock(Which { name, by_handle: false }),
            None => Under::Space(orphan.at.0),
        };
        let mut ask = self.ask(random, session, Flags::OF_ADOPT);
        if let Some(held) = orphan.held.filter(|_| mostly(random)) {
            ask.mode = held;
        }
        let own_key = orphan.orphan.map_or("", |(_, key)| key);
        let orphan_key = if mostly(random) { own_key } else { any_key };
        let name = orphan.at.1.last().expect("a resource has a name");
        Command::Adopt { ask, handle: self.handle(random, pair, session, &[]), under, name, orphan_key }
    }

    fn purge(&self, random: &mut StdRng, pair: &Pair) -> Command {
        let (_, lock) = self.lock(random, pair, |lock| lock.session.is_none());
        let known = pair.known.get(&lock.name).and_then(|id| pair.model.lock(*id));
        let own_key = known.and_then(|lock| lock.orphan).map(|(_, key)| key);
        let any_key = *["", "k1", "k2"].choose(random).expect("three");
        let orphan_key = own_key.filter(|_| !random.random_ratio(1, 8)).unwrap_or(any_key);
        let roots = &ROOTS[..self.roots];
        let root = random.random_bool(0.3).then(|| *roots.choose(random).expect("not empty"));
        let from = random.random_ratio(1, 6).then_some(lock);
        let space = known.map_or_else(|| self.space(random), |lock| lock.at.0);
        Command::Purge { space, root, orphan_key, from }
    }

    fn session(&self, random: &mut StdRng) -> u64 {
        *self.sessions.choose(random).expect("there is always a session")
    }

    fn mode(&self, random: &mut StdRng) -> LockMode {
        *self.modes.choose(random).expect("there are modes")
    }

    /// Flags of the kind, seldom others.
    fn some_flags(&self, random: &mut StdRng, legal: Flags) -> Flags {
        let mut flags = Flags::NONE;
        while random.random_ratio(self.flags, 100) {
            let favourite = *self.favourites.choose(random).expect("three");
            let any = Flags::TABLE.choose(random).expect("not empty").0;
            let flag = if random.random_bool(0.5) { favourite } else { any };
            if legal.0 & flag.0 != 0 || random.random_ratio(1, 30) {
                flags |= flag;
            }
        }
        if random.random_ratio(self.blkast, 100) {
            flags |= Flags(Flags::BLKAST.0 & legal.0);
        }
        let has = |flags: Flags, flag: Flags| flags.0 & flag.0 != 0;
        let mostly = !random.random_ratio(1, 10);
        let clear = |flags: &mut Flags, bad: bool, flag: Flags| {
            if bad && mostly {
                *flags = Flags(flags.0 & !flag.0);
            }
        };
        if has(flags, Flags::NOQUEUEBAST) && mostly {
            flags |= Flags::NOQUEUE;
        }
        let no_queue = has(flags, Flags::NOQUEUE);
        clear(&mut flags, no_queue, Flags(Flags::EXPEDITE.0 | Flags::CONVDEADLK.0));
        let value = has(flags, Flags::VALBLK);
        clear(&mut flags, value, Flags::IVVALBLK);
        if random.random_ratio(1, 400) {
            flags |= Flags(1 << random.random_range(0..32));
        }
        flags
    }

    fn rarely_any(&self, random: &mut StdRng) -> Flags {
        if random.random_ratio(1, 20) {
            Flags::TABLE.choose(random).expect("not empty").0
        } else {
            Flags::NONE
        }
    }

    fn timeout(&self, random: &mut StdRng) -> Option<u32> {
        match random.random_range(0..100) {
            0 => Some(0),
            1..30 => Some(random.random_range(1..40)),
            _ => None,
        }
    }

    fn ask(&self, random: &mut StdRng, session: u64, own_flags: Flags) -> Ask {
        let mut flags = self.some_flags(random, own_flags);
        let mut mode = self.mode(random);
        if flags.0 & Flags::EXPEDITE.0 != 0 && !random.random_ratio(1, 10) {
            mode = LockMode::Nl;
        }
        if random.random_ratio(self.persistent, 100) {
            flags |= Flags::PERSISTENT;
        }
        if random.random_ratio(1, 60) {
            (flags, mode) = (flags | Flags::EXPEDITE, LockMode::Nl);
        }
        Ask {
            session,
            mode,
            flags,
            owner: random.random_range(0..self.owners),
            timeout_ms: self.timeout(random),
            priority: *PRIORITIES.choose(random).expect("not empty"),
            reason: if random.random_bool(0.5) { "because" } else { "" },
        }
    }

    /// A handle that is free: the lowest, or one that nobody had.
    fn handle(&self, random: &mut StdRng, pair: &Pair, session: u64, but: &[u32]) -> u32 {
        let from = if random.random_bool(0.7) { 1 } else { random.random_range(1..1000) };
        let free = |handle: &u32| !pair.is_used((session, *handle)) && !but.contains(handle);
        (from..).find(free).expect("there are more handles than locks")
    }

    fn new_lock(&self, random: &mut StdRng, pair: &Pair) -> Command {
        let sublock = random.random_ratio(self.trees, 100);
        let (session, under, name) = if sublock && !pair.model.locks.is_empty() {
            let (session, which) = self.lock(random, pair, |lock| lock.held.is_some() && lock.at.1.len() < 3);
            (session, Under::Lock(which), *CHILDREN.choose(random).expect("two"))
        } else {
            let roots = &ROOTS[..self.roots];
            let name = *roots.choose(random).expect("not empty");
            (self.session(random), Under::Space(self.space(random)), name)
        };
        let ask = self.ask(random, session, Flags::OF_ENQ);
        Command::New { ask, handle: self.handle(random, pair, session, &[]), under, name }
    }

    fn space(&self, random: &mut StdRng) -> u32 {
        match random.random_range(0..100) {
            0..85 => 0,
            85..98 => 1,
            _ => 2,
        }
    }

    fn path(&self, random: &mut StdRng, pair: &Pair) -> Command {
        let session = self.session(random);
        let roots = &ROOTS[..self.roots];
        let mut path = vec![*roots.choose(random).expect("not empty")];
        while path.len() < 3 && random.random_bool(0.7) {
            path.push(*CHILDREN.choose(random).expect("two"));
        }
        let mut handles = Vec::new();
        for _ in &path {
            handles.push(self.handle(random, pair, session, &handles));
        }
        let ask = self.ask(random, session, Flags::OF_ENQ);
        Command::Path { ask, handles, space: self.space(random), path }
    }

    /// A lock to name, one that is wanted if there is one, and the session that names it.
    fn lock(&self, random: &mut StdRng, pair: &Pair, wanted: impl Fn(&Lock) -> bool) -> (u64, Which) {
        let dice = random.random_range(0..100);
        let locks: Vec<&Lock> = pair.model.locks.iter().filter(|lock| dice < 20 || wanted(lock)).collect();
        let any = self.session(random);
        if let Some(lock) = locks.choose(random).filter(|_| dice < 95) {
            let name = pair.known.iter().find(|(_, id)| **id == lock.id).map(|(name, _)| *name);
            let name = name.unwrap_or((any, lock.handle));
            let session = lock.session.filter(|_| !random.random_ratio(1, 30)).unwrap_or(any);
            let by_handle = pair.model.is_by_handle(lock.id) && random.random_bool(0.5);
            return (session, Which { name, by_handle });
        }
        if let Some(name) = pair.model.unmade_names().choose(random).filter(|_| random.random_bool(0.7)) {
            return (name.0, Which { name: *name, by_handle: true });
        }
        let names: Vec<(u64, u32)> = pair.known.keys().copied().collect();
        let name = names.choose(random).copied().unwrap_or((any, 1));
        (any, Which { name, by_handle: false })
    }

    fn value(random: &mut StdRng, flags: Flags) -> Option<Vec<u8>> {
        let wanted = flags.0 & Flags::VALBLK.0 != 0;
        let given = wanted != random.random_ratio(1, 20);
        let len = if random.random_ratio(1, 20) { 65 } else { random.random_range(0..4) };
        given.then(|| (0..len).map(|_| random.random_range(b'a'..=b'z')).collect())
    }

    fn convert(&self, random: &mut StdRng, pair: &Pair) -> Command {
        let (session, lock) = self.lock(random, pair, |lock| lock.queue == Queue::Granted);
        let flags = self.some_flags(random, Flags::OF_CONVERT);
        Command::Convert {
            session,
            lock,
            mode: self.mode(random),
            flags,
            timeout_ms: self.timeout(random),
            priority: *PRIORITIES.choose(random).expect("not empty"),
            value: Self::value(random, flags),
        }
    }

    fn release(&self, random: &mut StdRng, pair: &Pair) -> Command {
        let (session, lock) = self.lock(random, pair, |lock| lock.session.is_some());
        let mut flags = self.some_flags(random, Flags::OF_DEQ);
        if random.random_ratio(self.trees, 100) {
            flags |= Flags::PATH;
        }
        Command::Release { session, lock, flags, value: Self::value(random, flags) }
    }

    fn end_session(&mut self, random: &mut StdRng) -> Command {
        let place = random.random_range(0..self.sessions.len());
        let session = self.sessions[place];
        let end = match random.random_range(0..4) {
            0 => End::Closed,
            1 => End::Died,
            _ => End::ReleasedAll { invalidate: random.random_bool(0.5) },
        };
        if matches!(end, End::Closed | End::Died) {
            self.lives += 1;
            self.sessions[place] = self.lives;
        }
        Command::EndSession { session, end }
    }

    fn set_policy(&self, random: &mut StdRng) -> Command {
        let space = random.random_range(0..2);
        if space == 1 && random.random_ratio(1, 8) {
            return Command::SetPolicy { space, policy: None };
        }
        let mut policy = Policy { fair: random.random_bool(0.4), ..Policy::default() };
        if random.random_ratio(1, 3) {
            policy.conversion_deadlock = ConversionDeadlock::Timed;
        }
        if random.random_ratio(1, 6) {
            policy.value_len_max = 1;
        }
        if random.random_ratio(1, 8) {
            policy.wait_ms_max = 15;
        }
        if random.random_ratio(1, 8) {
            let some = self.modes.iter().filter(|_| random.random_bool(0.8)).copied();
            policy.modes = some.fold(ModeSet::EMPTY, ModeSet::with);
        }
        if random.random_ratio(1, 3) {
            policy.lock_delay_ms = random.random_range(1..60);
        }
        policy.reason_required = random.random_ratio(1, 12);
        Command::SetPolicy { space, policy: Some(policy) }
    }
}
