//! The machine of a client: the peer of the library, what it has to write, and what its application knows of its locks.
//!
//! What the application is told is checked as it is told: each call has one outcome, no lock is heard of that was given
//! up, and nothing is granted that was not asked for.

use super::clock::{Clock, Time};
use super::register::Token;
use super::server::ConnectionId;
use crate::museum::Plant;
use bytes::{Bytes, BytesMut};
use enq::client::peer::{Happening, Outcome, Peer, Ticket, Told};
use enq::client::{LockState, LossCause, Moment, NotGranted};
use enq_protocol::vocabulary::{Flags, Grant, LockMode, PathLevel, SessionId, Status};
use std::collections::{BTreeMap, BTreeSet};

/// What a lock is doing, as its application sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// It is asked for.
    Asking,
    /// It is granted.
    Holding,
    /// It is granted, and another mode was asked for; the mode that may be counted on meanwhile.
    Converting { meanwhile: LockMode },
    /// Its release was asked for.
    Releasing,
}

/// One lock of an application.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) place: usize,
    pub(crate) ticket: Ticket,
    pub(crate) doing: Doing,
    /// What it holds, once it does.
    pub(crate) mode: LockMode,
    /// The numbers of its grant; levels above the leaf of a path are not told theirs.
    pub(crate) token: Option<Token>,
    /// What it waits for was cancelled once; again would change nothing.
    pub(crate) cancelled: bool,
    /// The lease ran out under it: it is lost for good.
    pub(crate) lapsed: bool,
    /// It was told of somebody in its way since its last grant.
    pub(crate) noticed: bool,
    /// A mode that others want and it is in the way of.
    pub(crate) wanted: Option<LockMode>,
    /// The levels of the path it is the leaf of, root first: place of each.
    pub(crate) path: Vec<usize>,
    /// The task it was asked for by.
    pub(crate) owner: u64,
    /// What its last request was asked with.
    pub(crate) asked: Flags,
    /// It is given up when somebody wants it (NODLCKBLK).
    pub(crate) gives_way: bool,
}

impl Held {
    /// It is asked for, with these flags, by this task.
    pub(crate) fn asked(place: usize, ticket: Ticket, mode: LockMode, flags: Flags, owner: u64) -> Held {
        Held {
            place,
            ticket,
            doing: Doing::Asking,
            mode,
            token: None,
            cancelled: false,
            lapsed: false,
            noticed: false,
            wanted: None,
            path: Vec::new(),
            owner,
            asked: flags,
            gives_way: flags.contains(Flags::NODLCKBLK),
        }
    }

    /// Something was asked that has no outcome yet.
    pub(crate) fn is_asked(&self) -> bool {
        matches!(self.doing, Doing::Asking | Doing::Converting { .. })
    }

    /// Its task does not wait for it (NODLCKWT).
    fn runs_on(&self) -> bool {
        self.is_asked() && self.asked.contains(Flags::NODLCKWT)
    }

    fn is_held(&self) -> bool {
        matches!(self.doing, Doing::Holding | Doing::Converting { .. })
    }
}

/// A level above the leaf of a path: it stays as long as one of the leaves that stand on it.
#[derive(Clone, Debug)]
pub(crate) struct Level {
    pub(crate) place: usize,
    pub(crate) ticket: Ticket,
    /// What may be counted on.
    pub(crate) mode: LockMode,
    leaves: BTreeSet<u64>,
}

/// What was wrong.
pub(crate) type Wrong = String;

/// What the world should know about something that was told.
#[derive(Clone, Debug)]
pub(crate) enum News {
    /// A lock is granted, at once or later, or converted.
    Granted { lock: u64, grant: Box<Grant>, waited: bool, crossed: bool },
    /// A request ended without.
    Refused(NotGranted),
    /// The lease ran out under a lock.
    Lapsed,
}

/// See the front page.
pub(crate) struct Client {
    pub(crate) number: usize,
    /// How many processes there were before this one.
    pub(crate) life: u32,
    pub(crate) clock: Clock,
    pub(crate) peer: Peer<u64>,
    pub(crate) plant: Plant,
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) inbox: BytesMut,
    pub(crate) outbox: Bytes,
    pub(crate) locks: BTreeMap<u64, Held>,
    pub(crate) levels: BTreeMap<u64, Level>,
    /// Locks whose application went away; nothing more may be said about them.
    given_up: BTreeSet<u64>,
    /// Looks, and what travels like them.
    pub(crate) looks: BTreeSet<u64>,
    next: u64,
    /// The call that opens or closes the session.
    pub(crate) opening: Option<u64>,
    pub(crate) closing: Option<u64>,
    pub(crate) closed: bool,
    /// An administrator has ended the session: the clock promises nothing any more.
    pub(crate) expelled: bool,
    pub(crate) bound: bool,
    /// When its driver wakes up by itself, and whether its application does.
    pub(crate) drive_at: Option<Time>,
    pub(crate) acting: bool,
}

impl Client {
    pub(crate) fn new(number: usize, life: u32, clock: Clock, plant: Plant) -> Client {
        let mut peer = Peer::new("a world");
        peer.plant(plant.client());
        Client {
            number,
            life,
            clock,
            peer,
            plant,
            connection: None,
            inbox: BytesMut::new(),
            outbox: Bytes::new(),
            locks: BTreeMap::new(),
            levels: BTreeMap::new(),
            given_up: BTreeSet::new(),
            looks: BTreeSet::new(),
            next: 0,
            opening: None,
            closing: None,
            closed: false,
            expelled: false,
            bound: false,
            drive_at: None,
            acting: false,
        }
    }

    pub(crate) fn now(&self, time: Time) -> Moment {
        Moment(self.clock.shows(time))
    }

    /// A number for the next call or lock.
    pub(crate) fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn session(&self) -> Option<SessionId> {
        self.peer.opened().map(|opened| opened.session)
    }

    /// Is there a session in which things can be asked?
    pub(crate) fn is_open(&self) -> bool {
        self.session().is_some() && self.closing.is_none() && self.peer.lost().is_none()
    }

    /// Does this task wait for something?
    pub(crate) fn waits(&self, owner: u64) -> bool {
        self.locks.values().any(|held| held.owner == owner && held.is_asked() && !held.runs_on())
    }

    /// May the application let go of this, or stop waiting for it, although it waits for as long as it takes?
    pub(crate) fn is_free(&self, held: &Held) -> bool {
        held.gives_way || held.runs_on() || !self.waits(held.owner)
    }

    /// Does the library answer "held" now?
    pub(crate) fn believes(&self, time: Time) -> bool {
        self.is_open() && self.peer.state(self.now(time)) != LockState::Lost
    }

    /// What the library says is held, if it is asked now: place and mode.
    pub(crate) fn beliefs(&self, time: Time) -> Vec<(usize, LockMode)> {
        if !self.believes(time) {
            return Vec::new();
        }
        let held = self.locks.values().filter(|held| !held.lapsed);
        let held = held.filter_map(|held| match held.doing {
            Doing::Holding => Some((held.place, held.mode)),
            Doing::Converting { meanwhile } => Some((held.place, meanwhile)),
            Doing::Asking | Doing::Releasing => None,
        });
        let mut all: Vec<(usize, LockMode)> = held.collect();
        let stands = |leaf: &u64| self.locks.get(leaf).is_some_and(|held| held.is_held() && !held.lapsed);
        let levels = self
            .levels
            .iter()
            .filter(|(lock, level)| !self.locks.contains_key(lock) && level.leaves.iter().any(stands));
        all.extend(levels.map(|(_, level)| (level.place, level.mode)));
        all
    }

    /// A lock whose application goes away.
    pub(crate) fn give_up(&mut self, lock: u64) {
        if let Some(held) = self.locks.remove(&lock) {
            // Somebody else's leaf may stand on it.
            if !self.levels.contains_key(&lock) {
                self.peer.abandon(held.ticket);
                self.given_up.insert(lock);
            }
            self.leave_levels(lock);
        }
    }

    /// Something that the peer tells.
    pub(crate) fn hear(&mut self, told: Told<u64>) -> Result<Option<News>, Wrong> {
        match told {
            Told::Outcome(call, outcome) if self.opening == Some(call) => {
                self.opening = None;
                match outcome {
                    Outcome::Seen(_) | Outcome::Lost(_) => Ok(None),
                    other => Err(format!("OPEN ends with {other:?}")),
                }
            }
            Told::Outcome(call, outcome) if self.closing == Some(call) => {
                self.closing = None;
                self.closed = true;
                match outcome {
                    Outcome::Done(Status::Done) | Outcome::Lost(_) => Ok(None),
                    other => Err(format!("CLOSE ends with {other:?}")),
                }
            }
            Told::Outcome(call, _) if self.looks.remove(&call) => Ok(None),
            Told::Outcome(lock, outcome) => self.outcome(lock, outcome),
            Told::Happened(lock, happening) => self.happened(lock, &happening),
        }
    }

    fn outcome(&mut self, lock: u64, outcome: Outcome) -> Result<Option<News>, Wrong> {
        if self.given_up.contains(&lock) {
            return Err(format!("lock {lock} was given up, and ends with {outcome:?}"));
        }
        let Some(held) = self.locks.get_mut(&lock) else {
            return Err(format!("nothing was asked of lock {lock}, and it ends with {outcome:?}"));
        };
        match (held.doing, outcome) {
            (Doing::Holding, outcome) => {
                Err(format!("lock {lock} was asked nothing, and ends with {outcome:?}"))
            }
            (_, Outcome::Lost(_)) => {
                self.gone(lock);
                self.given_up.insert(lock);
                Ok(None)
            }
            (Doing::Asking | Doing::Converting { .. }, Outcome::Granted { grant, levels, waited }) => {
                let crossed = std::mem::take(&mut held.cancelled);
                held.doing = Doing::Holding;
                held.mode = grant.mode;
                held.gives_way = held.asked.contains(Flags::NODLCKBLK);
                if let Some(level) = self.levels.get_mut(&lock) {
                    level.mode = grant.mode;
                }
                (held.wanted, held.noticed) = (None, false);
                held.token = Some(Token { mode: grant.mode, seq: grant.seq, fence: grant.fence });
                self.take_over(lock, &levels);
                Ok(Some(News::Granted { lock, grant: Box::new(grant), waited, crossed }))
            }
            (Doing::Asking, Outcome::Ended { why, gone: true, .. }) => {
                self.gone(lock);
                Ok(Some(News::Refused(why)))
            }
            (_, Outcome::Ended { why, gone: true, .. }) => {
                self.gone(lock);
                Ok(Some(News::Refused(why)))
            }
            (Doing::Converting { .. }, Outcome::Ended { why, holds, gone: false }) => {
                held.doing = Doing::Holding;
                if let Some(holds) = holds.filter(|holds| *holds != held.mode) {
                    // It was demoted on the way: the grant it had is over.
                    held.mode = holds;
                    held.token = None;
                }
                Ok(Some(News::Refused(why)))
            }
            (Doing::Releasing, Outcome::Done(Status::Released)) => {
                self.gone(lock);
                Ok(None)
            }
            (Doing::Releasing, Outcome::Ended { why, gone: false, .. }) => {
                held.doing = Doing::Holding;
                // Its lease ran out meanwhile: it is lost for good, and the library goes on releasing it.
                if held.lapsed {
                    self.gone(lock);
                    self.given_up.insert(lock);
                }
                Ok(Some(News::Refused(why)))
            }
            (doing, outcome) => Err(format!("lock {lock}, {doing:?}, ends with {outcome:?}")),
        }
    }

    /// The application answers for the levels of a path as well, from now on.
    fn take_over(&mut self, leaf: u64, levels: &[PathLevel]) {
        let Some(held) = self.locks.get(&leaf) else { return };
        let (ticket, path) = (held.ticket, held.path.clone());
        if levels.is_empty() {
            return;
        }
        for ((ticket, lock), place) in self.peer.take_over(ticket, levels).into_iter().zip(path) {
            let mode = levels.iter().find(|level| level.handle == ticket.handle).map(|level| level.mode);
            let Some(mode) = mode else { continue };
            // One that was given up may be on its way down: it is there to stand on, and for nothing else.
            let mode = if self.given_up.remove(&lock) { LockMode::Nl } else { mode };
            let level = Level { place, ticket, mode, leaves: BTreeSet::new() };
            self.levels.entry(lock).or_insert(level).leaves.insert(leaf);
        }
    }

    /// A lock is gone; levels that nothing stands on any more are given up.
    fn gone(&mut self, lock: u64) {
        if self.locks.remove(&lock).is_some() {
            self.leave_levels(lock);
        }
    }

    fn leave_levels(&mut self, leaf: u64) {
        // From the leaf upwards.
        for level in self.levels.keys().rev().copied().collect::<Vec<_>>() {
            let Some(known) = self.levels.get_mut(&level) else { continue };
            if known.leaves.remove(&leaf) && known.leaves.is_empty() {
                let ticket = known.ticket;
                self.levels.remove(&level);
                if !self.locks.contains_key(&level) {
                    self.peer.abandon(ticket);
                    self.given_up.insert(level);
                }
            }
        }
    }

    fn happened(&mut self, lock: u64, happening: &Happening) -> Result<Option<News>, Wrong> {
        let level = if *happening == Happening::Lapsed { self.levels.remove(&lock) } else { None };
        if level.is_some() && !self.locks.contains_key(&lock) {
            self.given_up.insert(lock);
        }
        if let Some(held) = self.locks.get_mut(&lock) {
            match happening {
                Happening::Blocking(mode) => (held.wanted, held.noticed) = (Some(*mode), true),
                Happening::Demoted => {
                    let demoted = matches!(held.doing, Doing::Converting { .. });
                    if !demoted {
                        return Err(format!("lock {lock} is demoted, and does not convert"));
                    }
                    held.doing = Doing::Converting { meanwhile: LockMode::Nl };
                    // Others stand on it as it is.
                    if let Some(level) = self.levels.get_mut(&lock) {
                        level.mode = LockMode::Nl;
                    }
                }
                Happening::Revoked { .. } => {
                    self.gone(lock);
                }
                Happening::Lapsed => {
                    held.lapsed = true;
                    if held.doing == Doing::Holding {
                        self.gone(lock);
                        self.given_up.insert(lock);
                    }
                    return Ok(Some(News::Lapsed));
                }
            }
        }
        Ok(None)
    }

    /// Nothing can be heard in this session any more.
    pub(crate) fn lose(&mut self, cause: LossCause) -> Vec<Told<u64>> {
        let mut told = Vec::new();
        self.peer.lose(cause, &mut told);
        self.inbox.clear();
        self.outbox.clear();
        told
    }
}

/// What may be counted on while a lock converts from a mode to another: what it keeps in any case.
pub(crate) fn meanwhile(held: LockMode, wanted: LockMode, may_demote: bool) -> LockMode {
    match () {
        () if may_demote => LockMode::Nl,
        () if wanted.covers(held) => held,
        () if held.covers(wanted) => wanted,
        () => LockMode::Nl,
    }
}
