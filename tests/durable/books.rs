//! The books: what the clients know of each lock, so what the table of a server that was started anew may show of it.
//!
//! A change is entered as possible before it is sent, and as certain when its answer is there. So at any moment the books
//! say what must be on disk: exactly that, or one of two things for what is under way. Beside that they are balanced all
//! the time: nobody is granted what conflicts with what another one believes to hold, and seqs and fences rise.

use enq::client::{
    Fence, FenceGate, Grant, LockId, LockMode, LockView, Queue, Seq, SeqGate, SessionId, SessionView,
};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What the table may show of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Face {
    /// Nothing.
    Absent,
    /// It waits for its first grant.
    Waits(SessionId, LockMode),
    /// It holds this, by this grant, unless nobody has heard of the grant yet. An orphan has no session.
    Holds(Option<SessionId>, LockMode, Option<(Seq, Fence)>),
    /// It holds the first mode, and waits for the second.
    Converts(SessionId, LockMode, LockMode),
}

impl Face {
    fn is_of(self, view: &LockView) -> bool {
        match self {
            Face::Absent => false,
            Face::Waits(session, mode) => {
                (view.session, view.granted, view.requested) == (Some(session), None, Some(mode))
            }
            Face::Holds(session, mode, numbers) => {
                (view.session, view.granted, view.requested) == (session, Some(mode), None)
                    && numbers.is_none_or(|numbers| numbers == (view.seq, view.fence))
            }
            Face::Converts(session, held, wanted) => {
                (view.session, view.granted, view.requested) == (Some(session), Some(held), Some(wanted))
            }
        }
    }
}

/// What is known of one lock.
#[derive(Clone, Debug)]
struct Entry {
    name: String,
    /// Its id; nobody knows it before the first grant.
    id: Option<LockId>,
    faces: Vec<Face>,
    /// The mode that its holder counts on.
    counts_on: Option<LockMode>,
}

/// One lock in the books.
pub(crate) type Page = u64;

/// A number that is kept in a value block.
#[derive(Clone, Copy, Debug, Default)]
struct Stored {
    /// The last one that is certain.
    certain: u64,
    /// The last one that was sent.
    sent: u64,
}

/// All of them; see the front page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books {
    entries: BTreeMap<Page, Entry>,
    next: Page,
    sessions: BTreeSet<SessionId>,
    counters: BTreeMap<String, Stored>,
    gates: BTreeMap<String, (SeqGate, FenceGate)>,
    seqs: HashSet<(String, Seq)>,
    /// Who waits for the lock of this name, in the order in which they were seen to.
    pub(crate) queue: Vec<LockId>,
    /// Answers that were heard.
    pub(crate) answers: u64,
}

/// The resource on which [`Books::queue`] waits.
pub(crate) const QUEUE: &str = "queue";

impl Books {
    pub(crate) fn session_opened(&mut self, session: SessionId) {
        self.sessions.insert(session);
    }

    /// From here on it may be there or not.
    pub(crate) fn session_closes(&mut self, session: SessionId) {
        self.sessions.remove(&session);
    }

    /// A lock is about to be asked for.
    pub(crate) fn asks(&mut self, session: SessionId, name: &str, mode: LockMode) -> Page {
        let faces = vec![Face::Absent, Face::Waits(session, mode), Face::Holds(Some(session), mode, None)];
        self.next += 1;
        self.entries.insert(self.next, Entry { name: name.into(), id: None, faces, counts_on: None });
        self.next
    }

    /// It holds what this grant says.
    pub(crate) fn granted(&mut self, page: Page, session: SessionId, grant: &Grant) {
        self.answers += 1;
        let entry = self.entries.get_mut(&page).unwrap();
        let Grant { lock, mode, seq, fence, .. } = *grant;
        entry.id = Some(lock);
        entry.faces = vec![Face::Holds(Some(session), mode, Some((seq, fence)))];
        entry.counts_on = Some(mode);
        let name = entry.name.clone();
        for (other, entry) in &self.entries {
            let Some(held) = entry.counts_on.filter(|_| entry.name == name && *other != page) else {
                continue;
            };
            assert!(held.is_compatible(mode), "two hold {name}: {mode} granted beside {entry:?}");
        }
        let (seqs, fences) = self.gates.entry(name.clone()).or_default();
        let passed = seqs.pass(mode, seq);
        assert!(passed.is_ok(), "{name}: a later grant has a lower seq: {passed:?}");
        if fence != Fence::UNFENCED && mode == LockMode::Ex {
            let passed = fences.pass(fence);
            assert!(passed.is_ok(), "{name}: a later grant has a lower fence: {passed:?}");
        }
        assert!(self.seqs.insert((name, seq)), "a seq is given twice: {grant:?}");
    }

    /// It was refused, and is not there.
    pub(crate) fn refused(&mut self, page: Page) {
        self.gone(page);
    }

    /// It is about to be converted.
    pub(crate) fn converts(&mut self, page: Page, session: SessionId, to: LockMode) {
        let entry = self.entries.get_mut(&page).unwrap();
        let held = entry.counts_on.expect("who converts holds something");
        entry.faces.push(Face::Converts(session, held, to));
        entry.faces.push(Face::Holds(Some(session), to, None));
        if held.covers(to) {
            // What is given up may belong to somebody else before its old holder hears of it.
            entry.counts_on = Some(to);
        }
    }

    /// The conversion was refused: it holds what it held.
    pub(crate) fn not_converted(&mut self, page: Page) {
        self.answers += 1;
        self.entries.get_mut(&page).unwrap().faces.truncate(1);
    }

    /// It is about to be released.
    pub(crate) fn releases(&mut self, page: Page) {
        let entry = self.entries.get_mut(&page).unwrap();
        entry.faces.push(Face::Absent);
        entry.counts_on = None;
    }

    /// It is released.
    pub(crate) fn gone(&mut self, page: Page) {
        self.answers += 1;
        self.entries.remove(&page);
    }

    /// Its session is about to end, and it to be an orphan.
    pub(crate) fn leaves(&mut self, page: Page) {
        let entry = self.entries.get_mut(&page).unwrap();
        if let Face::Holds(_, mode, numbers) = entry.faces[0] {
            entry.faces.push(Face::Holds(None, mode, numbers));
        }
    }

    /// It is an orphan.
    pub(crate) fn orphaned(&mut self, page: Page) {
        self.answers += 1;
        let entry = self.entries.get_mut(&page).unwrap();
        entry.faces.remove(0);
        entry.counts_on = None;
    }

    /// Somebody is about to adopt it.
    pub(crate) fn is_adopted(&mut self, page: Page, session: SessionId, mode: LockMode) {
        self.entries.get_mut(&page).unwrap().faces.push(Face::Holds(Some(session), mode, None));
    }

    /// Whoever holds this counter in EX has read this, and is about to store the next number. Says which.
    pub(crate) fn counts(&mut self, name: &str, read: u64) -> u64 {
        let stored = self.counters.entry(name.into()).or_default();
        assert_eq!(read, stored.sent, "{name}: each store once, and every one");
        *stored = Stored { certain: read, sent: read + 1 };
        read + 1
    }

    /// This number has been stored.
    pub(crate) fn counted(&mut self, name: &str, number: u64) {
        let stored = self.counters.get_mut(name).unwrap();
        stored.certain = stored.certain.max(number);
    }

    /// What there must be one of, by name.
    pub(crate) fn counters(&self) -> impl Iterator<Item = &str> {
        self.counters.keys().map(String::as_str)
    }

    /// Does a counter say what it may?
    pub(crate) fn check_counter(&self, name: &str, shown: u64) {
        let Stored { certain, sent } = self.counters[name];
        assert!((certain..=sent).contains(&shown), "{name} is {shown}, not {certain} to {sent}");
    }

    /// Is every session there that must be?
    pub(crate) fn check_sessions(&self, shown: &[SessionView]) {
        let shown: BTreeSet<SessionId> = shown.iter().map(|view| view.session).collect();
        let lost: Vec<_> = self.sessions.difference(&shown).collect();
        assert!(lost.is_empty(), "sessions are lost: {lost:?}");
    }

    /// Is every lock as it must be, and none there that must not be?
    pub(crate) fn check_locks(&self, shown: Vec<LockView>) {
        let order = shown.iter().filter(|view| view.queue == Queue::Waiting && name(view) == QUEUE);
        let mut order: Vec<_> = order.map(|view| (view.stamp, view.lock)).collect();
        order.sort();
        let order: Vec<LockId> = order.into_iter().map(|(_, lock)| lock).collect();
        assert!(order.starts_with(&self.queue), "they waited as {:?}, now {order:?}", self.queue);

        let mut shown: BTreeMap<LockId, LockView> = shown.into_iter().map(|view| (view.lock, view)).collect();
        let (known, asked): (Vec<_>, Vec<_>) = self.entries.values().partition(|entry| entry.id.is_some());
        for entry in known {
            match shown.remove(&entry.id.unwrap()) {
                Some(view) => {
                    let is_right =
                        name(&view) == entry.name && entry.faces.iter().any(|face| face.is_of(&view));
                    assert!(is_right, "{entry:?} is shown as {view:?}");
                }
                None => assert!(entry.faces.contains(&Face::Absent), "a lock is lost: {entry:?}"),
            }
        }
        for entry in asked {
            let is_it = |view: &&LockView| {
                name(view) == entry.name && entry.faces.iter().any(|face| face.is_of(view))
            };
            if let Some(id) = shown.values().find(is_it).map(|view| view.lock) {
                shown.remove(&id);
            }
        }
        assert!(shown.is_empty(), "released or never asked for, and there: {:?}", shown.values());
    }
}

fn name(view: &LockView) -> &str {
    std::str::from_utf8(view.path[0].as_bytes()).unwrap()
}
