//! The application of a client: it asks for locks, converts, releases, cancels, gives up, heeds notices, and writes to the
//! guarded resource while it believes that it may.

use super::client::{Client, Doing, Held, meanwhile};
use super::clock::{MS, SECOND, Time};
use super::options::Options;
use super::register::{Deed, Token};
use enq_protocol::vocabulary::{Flags, LockMode, LockspaceId, NEVER_REFUSED, Owner, ResourceName};
use enq_protocol::wire::{Convert, Deq, Enq, EnqPath, Look};
use rand::{Rng as _, rngs::StdRng, seq::IndexedRandom as _, seq::IteratorRandom as _};
use std::time::Duration;

/// A resource of the world: its name, root first.
pub(crate) type Place = Vec<ResourceName>;

/// The resources of a world: some roots, and a tree.
pub(crate) fn places(options: &Options) -> Vec<Place> {
    let name = |text: String| ResourceName::new(text.as_bytes()).expect("names of a world are short");
    let mut places: Vec<Place> =
        (0..options.resources).map(|number| vec![name(format!("r{number}"))]).collect();
    if options.taste.paths {
        let path = ["tree", "branch", "leaf"].map(|part| name(part.into()));
        places.extend((1..=path.len()).map(|depth| path[..depth].to_vec()));
    }
    places
}

/// What an application acts upon.
pub(crate) struct Stage<'a> {
    pub(crate) now: Time,
    pub(crate) random: &'a mut StdRng,
    pub(crate) options: &'a Options,
    pub(crate) places: &'a [Place],
    /// The last value that was stored anywhere: each is used once.
    pub(crate) values: &'a mut u64,
}

/// A message to the guarded resource, and how long it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Errand {
    pub(crate) place: usize,
    pub(crate) lock: u64,
    pub(crate) token: Token,
    pub(crate) deed: Deed,
    pub(crate) takes: Time,
}

impl Stage<'_> {
    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_ratio(percent, 100)
    }

    fn mode(&mut self) -> LockMode {
        *self.options.taste.modes.choose(self.random).expect("a taste has modes")
    }

    /// How long a message to the guarded resource takes.
    fn delay(&mut self) -> Time {
        let late = self.options.misfortune.late_deeds && self.chance(15);
        let most = if late { 3 * SECOND * u64::from(self.options.ttl_ms) / 1_000 } else { 40 * MS };
        self.random.random_range(MS / 10..most)
    }

    fn value(&mut self) -> [u8; 8] {
        *self.values += 1;
        self.values.to_le_bytes()
    }
}

/// One act. Says what it was, in words.
pub(crate) fn act(client: &mut Client, stage: &mut Stage<'_>) -> Option<String> {
    let is_stubborn = stage.options.taste.stubborn;
    let heeds = client.locks.iter().find(|(_, held)| {
        held.wanted.is_some() && held.doing == Doing::Holding && (!is_stubborn || client.is_free(held))
    });
    if let Some(lock) = heeds.map(|(lock, _)| *lock)
        && stage.chance(50)
    {
        return heed(client, stage, lock);
    }
    let room = client.locks.len() < stage.options.taste.locks_max;
    match stage.random.random_range(0..100) {
        0..32 if room => ask(client, stage),
        32..42 if room && stage.options.taste.paths => ask_path(client, stage),
        0..58 => convert(client, stage),
        58..83 => release(client, stage),
        83..93 if stage.options.taste.cancels => cancel(client, stage),
        93..96 => give_up(client, stage),
        _ => look(client),
    }
}

/// A lock that is doing this, drawn; of the stubborn only what they may touch while they wait.
fn some_lock(client: &Client, stage: &mut Stage<'_>, wanted: impl Fn(&Held) -> bool) -> Option<u64> {
    let is_stubborn = stage.options.taste.stubborn;
    let may = |held: &Held| wanted(held) && (!is_stubborn || client.is_free(held));
    client.locks.iter().filter(|(_, held)| may(held)).map(|(lock, _)| *lock).choose(stage.random)
}

fn flags(stage: &mut Stage<'_>) -> (Flags, Option<u32>) {
    let taste = &stage.options.taste;
    let (values, notices, timeouts, hints) = (taste.values, taste.notices, taste.timeouts, taste.hints);
    let persists = stage.options.ties.persists;
    let mut flags = Flags::NONE;
    if stage.chance(15) {
        flags |= Flags::NOQUEUE;
    }
    if values {
        flags |= Flags::VALBLK;
    }
    if notices && stage.chance(80) {
        flags |= Flags::BLKAST;
    }
    if hints {
        flags |= Flags::NODLCKWT.when(stage.chance(10)) | Flags::NODLCKBLK.when(stage.chance(10));
    }
    if persists {
        flags |= Flags::PERSISTENT.when(stage.chance(30));
    }
    let timeout = (timeouts && stage.chance(50)).then(|| stage.random.random_range(1..1_500));
    (flags, timeout)
}

/// Whose the next lock is. Who waits, and is stubborn, asks for another one only now and then.
fn some_owner(client: &Client, stage: &mut Stage<'_>) -> Option<Owner> {
    let token = stage.random.random_range(0..=stage.options.taste.owners);
    let is_busy = stage.options.taste.stubborn && client.waits(token);
    (!is_busy || stage.chance(20)).then_some(Owner { scope: 0, token })
}

fn priority(stage: &mut Stage<'_>) -> u8 {
    let taste = &stage.options.taste;
    let (priorities, hints) = (taste.priorities, taste.hints);
    if !priorities {
        return 0;
    }
    // A knot of those who are never refused and others may stay, whoever of the others could go.
    if !hints && stage.chance(15) { NEVER_REFUSED } else { stage.random.random_range(0..3) }
}

/// Whoever is never refused does not wait for ever.
fn patience(timeout_ms: Option<u32>, priority: u8) -> Option<u32> {
    timeout_ms.or((priority == NEVER_REFUSED).then_some(1_500))
}

fn ask(client: &mut Client, stage: &mut Stage<'_>) -> Option<String> {
    let place = stage.random.random_range(0..stage.options.resources);
    let (mode, (flags, timeout_ms)) = (stage.mode(), flags(stage));
    let (owner, priority) = (some_owner(client, stage)?, priority(stage));
    let timeout_ms = patience(timeout_ms, priority);
    let lock = client.next();
    let name = stage.places[place][0].as_bytes();
    let asked = client.peer.enq(lock, |handle| Enq {
        handle,
        lockspace: LockspaceId(0),
        parent: None,
        name,
        mode,
        flags,
        owner,
        timeout_ms,
        priority,
        reason: b"",
    });
    let ticket = asked.ok()?;
    client.locks.insert(lock, Held::asked(place, ticket, mode, flags, owner.token));
    Some(format!("asks for {mode} of place {place} as {lock} {flags}, {timeout_ms:?}"))
}

fn ask_path(client: &mut Client, stage: &mut Stage<'_>) -> Option<String> {
    let root = stage.options.resources;
    let depth = stage.random.random_range(2..=3);
    let (mode, (flags, timeout_ms)) = (stage.mode(), flags(stage));
    let (owner, priority) = (some_owner(client, stage)?, priority(stage));
    let timeout_ms = patience(timeout_ms, priority);
    // Levels are there for other leaves as well.
    let flags = flags.without(Flags::NODLCKBLK);
    let calls: Vec<u64> = (0..depth).map(|_| client.next()).collect();
    let lock = *calls.last()?;
    let path: Vec<&[u8]> = stage.places[root + depth - 1].iter().map(ResourceName::as_bytes).collect();
    let asked = client.peer.enq_path(calls, |handles| EnqPath {
        handles,
        lockspace: LockspaceId(0),
        path,
        mode,
        flags,
        owner,
        timeout_ms,
        priority,
        reason: b"",
    });
    let ticket = asked.ok()?;
    let levels = (root..root + depth - 1).collect();
    let place = root + depth - 1;
    let held = Held::asked(place, ticket, mode, flags, owner.token);
    client.locks.insert(lock, Held { path: levels, ..held });
    Some(format!("asks for {mode} of path {place} as {lock} {flags}, {timeout_ms:?}"))
}

fn convert(client: &mut Client, stage: &mut Stage<'_>) -> Option<String> {
    let lock = some_lock(client, stage, |held| held.doing == Doing::Holding && held.token.is_some())?;
    let wanted = stage.mode();
    convert_to(client, stage, lock, wanted)
}

fn convert_to(client: &mut Client, stage: &mut Stage<'_>, lock: u64, wanted: LockMode) -> Option<String> {
    let ((mut flags, timeout_ms), priority) = (flags(stage), priority(stage));
    let timeout_ms = patience(timeout_ms, priority);
    let may_demote = !flags.contains(Flags::NOQUEUE) && stage.chance(20);
    if may_demote {
        flags |= Flags::CONVDEADLK;
    }
    let bytes = stage.value();
    let held = client.locks.get_mut(&lock)?;
    // A lock that converts shows what it had and what it asks for as one; so it asks for what it had.
    flags = flags.without(Flags::NODLCKBLK) | Flags::NODLCKBLK.when(held.gives_way);
    let value = flags.contains(Flags::VALBLK).then_some(&bytes[..]);
    let handle = held.ticket.handle;
    let convert = Convert { handle, mode: wanted, flags, timeout_ms, priority, value };
    client.peer.convert(held.ticket, convert).ok()?;
    held.cancelled = false;
    held.asked = flags;
    held.doing = Doing::Converting { meanwhile: meanwhile(held.mode, wanted, may_demote) };
    Some(format!("converts {lock} from {} to {wanted} {flags}, {timeout_ms:?}", held.mode))
}

fn release(client: &mut Client, stage: &mut Stage<'_>) -> Option<String> {
    let lock = some_lock(client, stage, |held| held.doing == Doing::Holding)?;
    release_it(client, stage, lock)
}

pub(crate) fn release_it(client: &mut Client, stage: &mut Stage<'_>, lock: u64) -> Option<String> {
    let bytes = stage.value();
    let stores = stage.options.taste.values && stage.chance(80);
    let held = client.locks.get_mut(&lock)?;
    let flags = if stores { Flags::VALBLK } else { Flags::NONE };
    let deq = Deq { handle: held.ticket.handle, flags, value: stores.then_some(&bytes[..]) };
    match client.peer.release(held.ticket, deq) {
        Ok(()) => {
            held.doing = Doing::Releasing;
            Some(format!("releases {lock}"))
        }
        Err(_) => None,
    }
}

fn cancel(client: &mut Client, stage: &mut Stage<'_>) -> Option<String> {
    let lock = some_lock(client, stage, |held| held.is_asked() && !held.cancelled)?;
    cancel_it(client, lock)
}

pub(crate) fn cancel_it(client: &mut Client, lock: u64) -> Option<String> {
    let held = client.locks.get_mut(&lock)?;
    held.cancelled = true;
    client.peer.cancel(held.ticket);
    Some(format!("cancels {lock}"))
}

fn give_up(client: &mut Client, stage: &mut Stage<'_>) -> Option<String> {
    let lock = some_lock(client, stage, |held| held.doing != Doing::Releasing)?;
    // A guard that others stand on as well outlives its application, with what was asked of it.
    let converts = client.locks.get(&lock).is_some_and(|held| matches!(held.doing, Doing::Converting { .. }));
    if converts && client.levels.contains_key(&lock) {
        return None;
    }
    client.give_up(lock);
    Some(format!("gives {lock} up"))
}

/// Something that is outside the stream.
fn look(client: &mut Client) -> Option<String> {
    let call = client.next();
    client.peer.look(&Look::Ping, call).ok()?;
    client.looks.insert(call);
    Some("pings".into())
}

/// Somebody wants what it has: it lets go, or goes down.
fn heed(client: &mut Client, stage: &mut Stage<'_>, lock: u64) -> Option<String> {
    let held = client.locks.get_mut(&lock)?;
    let wanted = held.wanted.take()?;
    let mut down =
        LockMode::ALL.into_iter().filter(|mode| mode.is_compatible(wanted) && held.mode.covers(*mode));
    let down = down.next_back().filter(|_| held.token.is_some());
    match down.filter(|_| stage.chance(50)) {
        Some(mode) => convert_to(client, stage, lock, mode),
        None => release_it(client, stage, lock),
    }
}

/// The first act after a grant, and writes after it. Nothing is sent unless the lock is believed to be held.
pub(crate) fn errand(client: &Client, stage: &mut Stage<'_>, lock: u64, deed: Deed) -> Option<Errand> {
    if !client.believes(stage.now) {
        return None;
    }
    let held = client.locks.get(&lock).filter(|held| held.doing == Doing::Holding)?;
    let token = held.token?;
    Some(Errand { place: held.place, lock, token, deed, takes: stage.delay() })
}

/// How long an application waits between two acts.
pub(crate) fn pause(stage: &mut Stage<'_>) -> Duration {
    let (least, most) = stage.options.taste.act_each;
    if stage.options.taste.bursts && stage.chance(70) {
        return Duration::ZERO;
    }
    Duration::from_nanos(stage.random.random_range(least..=most))
}
