//! What the flight recorders of the shards have kept, put together; and who sessions were that are gone.
//!
//! A look holds one shard's mutex at a time, for a walk through its ring. The descriptions of ended sessions are few and
//! small: the one that ended first makes room.

use super::{Memory, Pool, SessionCell, Share, Table, listing::WEIGHT_MAX};
use crate::engine::{Instant, Recorded};
use enq_protocol::vocabulary::{
    Happened, HistoryCursor, HistoryOf, HistoryPart, HistoryView, PastSession, SessionId,
};
use parking_lot::Mutex;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

/// Ended sessions that are remembered.
const PAST_MAX: usize = 4_096;

/// About how many bytes they may take together.
const PAST_WEIGHT_MAX: usize = 1_024 * 1_024;

/// Entries a part.
const ENTRIES_MAX: usize = 500;

/// A session that has ended.
#[derive(Debug)]
struct Ended {
    name: Box<str>,
    purpose: Box<str>,
    host: Box<str>,
    pid: u32,
    opened: Instant,
    ended: Instant,
    died: bool,
}

impl Ended {
    fn weight(&self) -> usize {
        size_of::<Ended>() + 64 + self.name.len() + self.purpose.len() + self.host.len()
    }

    fn show(&self, now: Instant, session: SessionId) -> PastSession {
        PastSession {
            session,
            name: self.name.to_string(),
            purpose: self.purpose.to_string(),
            host: self.host.to_string(),
            pid: self.pid,
            age_ms: now.ms_since(self.opened),
            ended_ms: Some(now.ms_since(self.ended)),
            died: self.died,
        }
    }
}

/// The sessions that ended last.
#[derive(Debug)]
pub(super) struct Past {
    kept: Mutex<Kept>,
    share: Share,
    /// Does anybody record, so that somebody will ask?
    is_on: bool,
}

#[derive(Debug, Default)]
struct Kept {
    sessions: BTreeMap<SessionId, Ended>,
    /// In the order in which they ended.
    order: VecDeque<SessionId>,
    weight: usize,
}

impl Kept {
    fn keep(&mut self, session: SessionId, ended: Ended) {
        self.weight += ended.weight();
        self.order.push_back(session);
        self.sessions.insert(session, ended);
        while self.order.len() > PAST_MAX || self.weight > PAST_WEIGHT_MAX {
            let first = self.order.pop_front().and_then(|session| self.sessions.remove(&session));
            self.weight -= first.map_or(0, |ended| ended.weight());
        }
    }
}

impl Past {
    /// Of nobody yet.
    pub(super) fn new(memory: &Arc<Memory>, is_on: bool) -> Past {
        Past { kept: Mutex::default(), share: Share::new(memory, Pool::Sessions), is_on }
    }

    /// Remembers who this session was that ends now.
    pub(super) fn note(&self, now: Instant, cell: &SessionCell, died: bool) {
        if !self.is_on {
            return;
        }
        let about = &cell.about;
        let ended = Ended {
            name: about.name.as_str().into(),
            purpose: about.purpose.as_str().into(),
            host: about.host.as_str().into(),
            pid: about.pid,
            opened: cell.opened,
            ended: now,
            died,
        };
        let mut kept = self.kept.lock();
        kept.keep(cell.id, ended);
        self.share.count(kept.weight);
    }

    fn show(&self, now: Instant, session: SessionId) -> Option<PastSession> {
        self.kept.lock().sessions.get(&session).map(|ended| ended.show(now, session))
    }
}

impl Table {
    /// A part of the history of a resource or a session, the newest first: as much as fits into an answer. None if
    /// nothing is recorded.
    #[must_use]
    pub fn show_history(
        &self,
        now: Instant,
        of: &HistoryOf,
        before: Option<HistoryCursor>,
        max: u32,
    ) -> Option<HistoryPart> {
        if self.limits.history == 0 {
            return None;
        }
        let max = usize::try_from(max).unwrap_or(usize::MAX).clamp(1, ENTRIES_MAX);
        let shards = match of {
            HistoryOf::Resource { lockspace, path } => {
                let number = self.shard_of(*lockspace, path.first()?);
                number..=number
            }
            HistoryOf::Session(_) => 0..=u8::MAX,
        };
        let mut found: Vec<Recorded> = Vec::new();
        let mut begins = None;
        for number in shards {
            let shard = self.cell(number).shard.lock();
            // One more than is shown, to know whether there are more.
            found.extend(shard.show_history(now, of, before, max + 1));
            begins = begins.max(shard.history_begins());
            drop(shard);
            found.sort_unstable_by_key(|recorded| Reverse(recorded.cursor));
            found.truncate(max + 1);
        }
        let mut part = HistoryPart {
            complete_ms: now.ms_since(begins.unwrap_or(Instant::START)),
            since_start: begins.is_none(),
            ..HistoryPart::default()
        };
        self.fill(now, of, found, max, &mut part);
        Some(part)
    }

    /// Takes as many as may be shown and fit, with the sessions they name.
    fn fill(&self, now: Instant, of: &HistoryOf, found: Vec<Recorded>, max: usize, part: &mut HistoryPart) {
        let mut known = BTreeSet::new();
        let mut weight = 0;
        let mut last = None;
        let asked = match of {
            HistoryOf::Session(session) => Some(*session),
            HistoryOf::Resource { .. } => None,
        };
        let described = asked.and_then(|session| self.past_session(now, session));
        known.extend(asked);
        weight += described.as_ref().map_or(0, session_weight);
        part.sessions.extend(described);
        for Recorded { cursor, mut view } in found {
            self.make_whole(of, &mut view);
            let by = (view.happened == Happened::Forced).then_some(SessionId(view.detail));
            let whose: BTreeSet<SessionId> = view.session.into_iter().chain(by).collect();
            let new: Vec<PastSession> =
                whose.difference(&known).filter_map(|session| self.past_session(now, *session)).collect();
            weight += entry_weight(&view) + new.iter().map(session_weight).sum::<usize>();
            if part.entries.len() == max || (weight > WEIGHT_MAX && !part.entries.is_empty()) {
                part.next = last;
                return;
            }
            known.extend(whose);
            part.sessions.extend(new);
            part.entries.push(view);
            last = Some(cursor);
        }
    }

    /// Puts the whole path in the place of what was kept of it, as far as anybody knows it.
    fn make_whole(&self, of: &HistoryOf, view: &mut HistoryView) {
        if !view.is_cut {
            return;
        }
        let whole = match of {
            HistoryOf::Resource { path, .. } => Some(path.clone()),
            HistoryOf::Session(_) => {
                view.lock.and_then(|lock| self.cell(lock.shard()).shard.lock().path_of_lock(lock))
            }
        };
        if let Some(path) = whole {
            (view.path, view.is_cut) = (path, false);
        }
    }

    /// A session that is there, or that is remembered.
    fn past_session(&self, now: Instant, session: SessionId) -> Option<PastSession> {
        let there = self.session(session).map(|cell| PastSession {
            session,
            name: cell.about.name.clone(),
            purpose: cell.about.purpose.clone(),
            host: cell.about.host.clone(),
            pid: cell.about.pid,
            age_ms: now.ms_since(cell.opened),
            ended_ms: None,
            died: false,
        });
        there.or_else(|| self.past.show(now, session))
    }
}

/// About how many bytes an entry takes to show; rather too many.
fn entry_weight(view: &HistoryView) -> usize {
    80 + view.path.iter().map(|name| name.as_bytes().len() + 2).sum::<usize>()
}

/// About how many bytes a session takes to show; rather too many.
fn session_weight(past: &PastSession) -> usize {
    64 + past.name.len() + past.purpose.len() + past.host.len()
}
