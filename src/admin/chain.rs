//! Who waits for whom, as a graph of parties: what `enq why`, `enq blockers --tree` and `enq graph` have in common.
//!
//! A party is an owner of a session, or a lock without session. It waits for its requests, and a request for the locks
//! that are in its way. A *root* is in somebody's way and waits for nobody: there everything hangs. What makes a deadlock
//! is the server's word; nothing here looks for rings.

use std::collections::BTreeMap;

use enq_protocol::vocabulary::{
    EdgeWhy, LockId, LockView, Owner, Queue, SessionId, StandingView, WaitLine, WaitsView,
};
use serde_json::{Value, json};

use super::{duration::show_ms, render::printable, words};

/// Who waits or is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Party {
    /// An owner of a session.
    Owner(SessionId, u16, u64),
    /// A lock that belongs to no session.
    Lock(LockId),
}

impl Party {
    /// That of a lock.
    pub(super) fn of(lock: &LockView) -> Party {
        let Owner { scope, token } = lock.owner;
        match lock.session {
            Some(session) => Party::Owner(session, scope.into(), token),
            None => Party::Lock(lock.lock),
        }
    }
}

/// The graph, with its ways in both directions.
pub(super) struct Chain<'a> {
    pub(super) view: &'a WaitsView,
    at: BTreeMap<LockId, usize>,
    /// The requests of each party, in the order of the picture.
    requests: BTreeMap<Party, Vec<LockId>>,
}

impl<'a> Chain<'a> {
    /// Reads a picture.
    pub(super) fn new(view: &'a WaitsView) -> Chain<'a> {
        let mut requests: BTreeMap<Party, Vec<LockId>> = BTreeMap::new();
        for standing in view.locks.iter().filter(|standing| standing.lock.requested.is_some()) {
            requests.entry(Party::of(&standing.lock)).or_default().push(standing.lock.lock);
        }
        let at = view.locks.iter().enumerate().map(|(at, standing)| (standing.lock.lock, at)).collect();
        Chain { view, at, requests }
    }

    /// A lock of the picture.
    pub(super) fn standing(&self, lock: LockId) -> Option<&'a StandingView> {
        self.at.get(&lock).and_then(|at| self.view.locks.get(*at))
    }

    /// What a party waits for.
    pub(super) fn requests(&self, party: Party) -> &[LockId] {
        self.requests.get(&party).map_or(&[], Vec::as_slice)
    }

    /// What is in the way of a request: what is held before what is ahead.
    pub(super) fn blockers(&self, request: LockId) -> Vec<&'a WaitLine> {
        let mut lines: Vec<_> = self.view.waits.iter().filter(|wait| wait.lock == request).collect();
        lines.sort_by_key(|wait| wait.why);
        lines
    }

    /// The requests that a party is in the way of, and why; each once, what it holds before where it is ahead.
    pub(super) fn blocked(&self, party: Party) -> Vec<&'a WaitLine> {
        let is_its = |lock| self.standing(lock).is_some_and(|standing| Party::of(&standing.lock) == party);
        let mut lines: Vec<_> = self.view.waits.iter().filter(|wait| is_its(wait.blocker)).collect();
        lines.sort_by_key(|wait| (wait.lock, wait.why));
        lines.dedup_by_key(|wait| wait.lock);
        lines.sort_by_key(|wait| {
            let at = self.standing(wait.lock);
            (wait.why, at.map(|standing| (&standing.lock.path, standing.position)))
        });
        lines
    }

    /// Those who are in somebody's way and wait for nobody: a lock of each.
    pub(super) fn roots(&self) -> Vec<&'a LockView> {
        let mut roots: BTreeMap<Party, &LockView> = BTreeMap::new();
        for blocker in self.view.waits.iter().filter_map(|wait| self.standing(wait.blocker)) {
            let party = Party::of(&blocker.lock);
            if self.requests(party).is_empty() {
                roots.entry(party).or_insert(&blocker.lock);
            }
        }
        roots.into_values().collect()
    }

    /// Is it part of a deadlock?
    pub(super) fn is_stuck(&self, request: LockId) -> bool {
        self.view.waits.iter().any(|wait| wait.lock == request && wait.deadlock > 0)
    }

    /// How many deadlocks there are.
    pub(super) fn deadlocks(&self) -> u32 {
        self.view.waits.iter().map(|wait| wait.deadlock).max().unwrap_or(0)
    }

    /// How many requests would move on, one after the other, if this party went: all that wait for it, through others too.
    pub(super) fn crowd(&self, root: Party) -> usize {
        let mut seen: BTreeMap<LockId, ()> = BTreeMap::new();
        let mut next = vec![root];
        while let Some(party) = next.pop() {
            for wait in self.blocked(party) {
                if seen.insert(wait.lock, ()).is_none()
                    && let Some(standing) = self.standing(wait.lock)
                {
                    next.push(Party::of(&standing.lock));
                }
            }
        }
        seen.len()
    }

    /// Whose lock that is, with its session and the lease that is left.
    pub(super) fn who(&self, lock: &LockView) -> String {
        let whose = words::whose(lock, &self.view.sessions);
        match (lock.session, words::session_of(lock, &self.view.sessions)) {
            (Some(id), Some(session)) => {
                let (owner, left) = (owner(lock), show_ms(session.lease_left_ms));
                format!("{whose} (session {id}{owner}, lease {left})")
            }
            _ => whose,
        }
    }

    /// The picture as JSON.
    pub(super) fn json(&self) -> Value {
        let sessions = &self.view.sessions;
        let lock = |standing: &StandingView| {
            let mut json = words::lock_json(&standing.lock, sessions);
            json["position"] = json!(standing.position);
            json["queued"] = json!(standing.queued);
            json
        };
        let wait = |wait: &WaitLine| {
            json!({
                "waiting": wait.lock.to_string(),
                "blocker": wait.blocker.to_string(),
                "why": words::why(wait.why),
                "deadlock": wait.deadlock,
            })
        };
        json!({
            "locks": self.view.locks.iter().map(lock).collect::<Vec<_>>(),
            "waits": self.view.waits.iter().map(wait).collect::<Vec<_>>(),
            "roots": self.roots().iter().map(|lock| root_name(lock)).collect::<Vec<_>>(),
            "deadlocks": self.deadlocks(),
            "complete": self.view.is_complete,
        })
    }
}

/// The owner of a lock, if it is not the session itself: a task of the client library, or a number that somebody chose.
pub(super) fn owner(lock: &LockView) -> String {
    match lock.owner.task() {
        _ if lock.owner == Owner::default() => String::new(),
        Some(task) => format!(" task {task}"),
        None => format!(" owner {}", lock.owner.token),
    }
}

/// What a root is called where nothing else is said: its session, or the lock if it has none.
pub(super) fn root_name(lock: &LockView) -> String {
    lock.session.map_or_else(|| lock.lock.to_string(), |session| session.to_string())
}

/// What a request wants and where it stands: `wants EX on accounts since 12s, 2 of 5 in the queue`.
pub(super) fn wish(standing: &StandingView) -> String {
    let lock = &standing.lock;
    let wanted = lock.requested.map_or("-", |mode| mode.letters());
    let (name, since) = (words::name(&lock.path), show_ms(lock.age_ms));
    let has = match lock.granted {
        Some(granted) => format!(", has {granted} and converts"),
        None => String::new(),
    };
    let StandingView { position, queued, .. } = standing;
    format!("wants {wanted} on {name} since {since}{has}, {position} of {queued} in the queue{}", said(lock))
}

/// Why a lock is in the way: `held in EX since 3m`, `ahead in the queue, wants PW since 2s`.
pub(super) fn obstacle(why: EdgeWhy, lock: &LockView) -> String {
    let (since, wanted) = (show_ms(lock.age_ms), lock.requested.map_or("-", |mode| mode.letters()));
    let held = lock.granted.map_or("-", |mode| mode.letters());
    match (why, lock.queue) {
        (EdgeWhy::Held, Queue::Conversion) => {
            format!("held in {held} by a conversion to {wanted}, since {since},")
        }
        (EdgeWhy::Held, _) => format!("held in {held} since {since}"),
        (EdgeWhy::Ahead, Queue::Conversion) => {
            format!("behind a conversion {held}->{wanted}, since {since},")
        }
        (EdgeWhy::Ahead, _) => format!("behind a request for {wanted}, since {since},"),
    }
}

/// The reason that was given for a lock, in quotation marks; nothing if there is none.
pub(super) fn said(lock: &LockView) -> String {
    if lock.reason.is_empty() { String::new() } else { format!(": \"{}\"", printable(&lock.reason)) }
}
