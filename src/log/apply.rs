//! What becomes of records: the table, one record after the other, in the order of their positions.
//!
//! There is one place where a logged input changes the table, and it reads the record from its bytes; a start and a server
//! that serves go through it alike. Nothing in here depends on when or where it runs. Whoever waits for what a record
//! brings is told, if he is there.

use super::{
    journal::{Attempts, Audience, Batch, Failure},
    keeper::Chore,
    measures::{Measures, Moments},
    planted::may_abort,
    promise::{Outcome, Pledge},
    record::{Act, BadRecord, Record, Room},
};
use crate::{
    engine::{Instant, Local, Mistake, session::Call},
    table::{Request, Scratch, SessionCell, Table, Terms},
};
use enq_protocol::vocabulary::{SessionId, Status};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::Sender,
    },
    task::Waker,
};

/// Why a log serves no more.
pub type Stopped = Box<dyn Fn(&str) + Send>;

/// What those who append and the one who applies have in common.
pub(super) struct Common {
    pub(super) table: Table,
    /// Who waits for what becomes of which position.
    pub(super) pledges: Mutex<BTreeMap<u64, Pledge>>,
    /// Refusals that are on their way.
    pub(super) refusals: AtomicUsize,
    /// That time passes is on its way.
    pub(super) passes: AtomicBool,
    /// Sessions that began and that nobody looks after yet.
    pub(super) opened: Mutex<Vec<SessionId>>,
    /// The moment of the last record that was applied.
    pub(super) now: AtomicU64,
    /// A snapshot is being written.
    pub(super) is_taking_snapshot: AtomicBool,
    /// Bytes of records that were applied since the last snapshot.
    pub(super) since_snapshot: AtomicUsize,
    pub(super) measures: Measures,
}

impl Common {
    /// The state as bytes, with the moment it is of. Nobody applies anything meanwhile.
    pub(super) fn image(&self) -> Vec<u8> {
        super::recover::image(&self.table, Instant(self.now.load(Ordering::Relaxed)))
    }
}

/// The state that records are applied to while nobody is served: there is none before the first record.
pub(super) struct Machine {
    pub(super) table: Option<Table>,
    pub(super) now: Instant,
    /// The bytes of the image it was made of.
    pub(super) image_bytes: usize,
    local: Local,
    hands: Hands,
}

/// Room that is used again from record to record.
#[derive(Default)]
struct Hands {
    room: Room,
    scratch: Scratch,
    /// The session of the last request.
    last: Option<Arc<SessionCell>>,
    /// Who is to be told that something was done for him.
    woken: Vec<Waker>,
}

impl Machine {
    /// Nothing yet, or what a snapshot has.
    pub(super) fn new(table: Option<Table>, now: Instant, image_bytes: usize, local: Local) -> Machine {
        Machine { table, now, image_bytes, local, hands: Hands::default() }
    }

    /// Applies a record.
    pub(super) fn apply(&mut self, bytes: &[u8]) -> Result<(), BadRecord> {
        let mut room = std::mem::take(&mut self.hands.room);
        let record = Record::read(bytes, &mut room)?;
        self.now = self.now.max(record.now);
        match (&mut self.table, record.act) {
            (none @ None, Act::Start(terms)) => *none = Some(Table::of_log(&terms, &self.local)),
            (Some(table), Act::Start(terms)) => table.start_anew(self.now, &terms, &self.local),
            (Some(table), act) => {
                self.hands.apply(table, self.now, act);
            }
            (None, _) => return Err(BadRecord),
        }
        self.hands.room = room;
        Ok(())
    }

    /// What the next start says, whose epoch this is; the key is drawn for the first.
    pub(super) fn terms(&self, terms: Terms) -> Terms {
        let route_key = self.table.as_ref().map_or(terms.route_key, Table::route_key);
        Terms { route_key, ..terms }
    }
}

impl Hands {
    /// Applies what one record says, all but a start. Says what those learn who wait for it.
    fn apply(&mut self, table: &Table, now: Instant, act: Act<'_>) -> Option<Outcome> {
        let scratch = &mut self.scratch;
        match act {
            Act::Start(_) => unreachable!("nobody starts a server that serves"),
            Act::Open(about) => return Some(Outcome::Opened(table.open_session(now, about))),
            Act::Request { session, request, acked, call } => {
                may_abort(&call);
                self.execute(table, now, session, (request, acked, call));
            }
            Act::Kill(session) => {
                let status = table.session(session).map_or(Status::NoSuchSession, |cell| {
                    let mut register = cell.in_half.lock();
                    table.kill(now, (&cell, &mut register), scratch);
                    Status::Done
                });
                return Some(Outcome::Answered(status));
            }
            Act::Pass => table.visit(now, scratch),
            Act::Refuse(refusal) => _ = table.refuse(now, &refusal, scratch),
            Act::ForceRelease { lock, version, by, reason } => {
                let status = table.force_release(now, lock, version, (by, reason), scratch);
                return Some(Outcome::Answered(status));
            }
            Act::SetPriority { lock, priority } => {
                return Some(Outcome::Answered(table.set_priority(now, lock, priority, scratch)));
            }
        }
        None
    }

    fn execute(
        &mut self,
        table: &Table,
        now: Instant,
        session: SessionId,
        (request, acked, call): (Request, u64, Call<'_>),
    ) {
        if self.last.as_ref().is_none_or(|last| last.id != session) {
            self.last = table.session(session);
        }
        let Some(cell) = &self.last else { return };
        let mut register = cell.in_half.lock();
        // What was under way when its session ended is done for nobody.
        if register.ended().is_some() {
            return;
        }
        if !table.bounds().planted.is(Mistake::AcknowledgementsAreNotApplied) {
            register.arrived(acked, &mut cell.out_half.lock().outgoing);
        }
        table.execute(now, (cell, &mut register), request, call, &mut self.scratch);
        drop(register);
        let mut half = cell.out_half.lock();
        half.executed = request.number;
        self.woken.extend(half.waker.take());
    }
}

/// Applies what has become durable, for a server that serves.
pub struct Applier {
    common: Arc<Common>,
    hands: Hands,
    attempts: Attempts,
    chores: Option<Sender<Chore>>,
    /// As many bytes of records are between two snapshots, at least.
    snapshot_every: usize,
    /// The bytes of the last one: as many are between two of them, too, so that a great table is not written again and
    /// again for a few records.
    snapshot_bytes: usize,
    stopped: Stopped,
    /// What says the moment, if it is measured how long the disk takes.
    moments: Option<Moments>,
    /// When the batch that is being written began to be.
    began: u64,
}

impl Applier {
    pub(super) fn new(
        common: Arc<Common>,
        attempts: Attempts,
        (snapshot_every, snapshot_bytes): (usize, usize),
        stopped: Stopped,
    ) -> Applier {
        let (hands, chores, moments) = (Hands::default(), None, None);
        Applier {
            common,
            hands,
            attempts,
            chores,
            snapshot_every,
            snapshot_bytes,
            stopped,
            moments,
            began: 0,
        }
    }

    /// Who takes the snapshots.
    pub(super) fn send_chores(&mut self, to: Sender<Chore>) {
        self.chores = Some(to);
    }

    /// From now on it is measured how long the disk takes.
    pub(super) fn measure_by(&mut self, moments: Moments) {
        self.moments = Some(moments);
    }

    /// Applies a batch that is durable, and wakes those whose requests were in it.
    pub fn apply(&mut self, batch: Batch<'_>) {
        let (first, last) = (batch.first(), batch.next() - 1);
        let mut noted = self.attempts.applying(first, last);
        let mut bytes = 0;
        for (position, record) in batch.records() {
            bytes += record.len();
            self.apply_one(position, record);
        }
        noted = noted.and_then(|()| self.attempts.applied(last));
        for waker in self.hands.woken.drain(..) {
            waker.wake();
        }
        if let Err(error) = noted {
            (self.stopped)(&format!("what is being applied cannot be noted: {error}"));
        }
        let since = self.common.since_snapshot.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if since >= self.snapshot_every.max(self.snapshot_bytes) {
            self.take_snapshot(last);
        }
    }

    fn apply_one(&mut self, position: u64, bytes: &[u8]) {
        let Applier { common, hands, .. } = self;
        let mut room = std::mem::take(&mut hands.room);
        let record = Record::read(bytes, &mut room).expect("it was written by this process");
        let now = Instant(common.now.load(Ordering::Relaxed)).max(record.now);
        common.now.store(now.0, Ordering::Relaxed);
        let (passes, refuses) = (matches!(record.act, Act::Pass), matches!(record.act, Act::Refuse(_)));
        let is_done = matches!(record.act, Act::Request { .. })
            && common.table.bounds().planted.is(Mistake::AppliedBeforeDurable);
        let outcome = if is_done { None } else { hands.apply(&common.table, now, record.act) };
        hands.room = room;
        if passes {
            common.passes.store(false, Ordering::Relaxed);
        }
        if refuses {
            common.refusals.fetch_sub(1, Ordering::Relaxed);
        }
        let Some(outcome) = outcome else { return };
        if let Outcome::Opened(cell) = &outcome {
            common.opened.lock().push(cell.id);
        }
        let pledge = common.pledges.lock().remove(&position);
        if let Some(pledge) = pledge {
            pledge.keep(outcome);
        }
    }

    /// Hands on an image of everything, unless one is still being written.
    fn take_snapshot(&mut self, position: u64) {
        let Some(chores) = &self.chores else { return };
        if self.common.is_taking_snapshot.swap(true, Ordering::Relaxed) {
            return;
        }
        self.common.since_snapshot.store(0, Ordering::Relaxed);
        let image = self.common.image();
        self.snapshot_bytes = image.len();
        // Nobody takes it when the server stops.
        let _ = chores.send(Chore::Snapshot(position, image));
    }

    /// The state as bytes, with the moment it is of.
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        self.common.image()
    }
}

impl Audience for Applier {
    fn writing(&mut self, _: Batch<'_>) {
        self.began = self.moments.as_ref().map_or(0, |moments| moments());
    }

    fn durable(&mut self, batch: Batch<'_>) {
        let took_ns = self.moments.as_ref().map(|moments| moments().saturating_sub(self.began));
        self.common.measures.wrote(&batch, took_ns);
        self.apply(batch);
    }

    fn failed(&mut self, failure: &Failure) {
        (self.stopped)(&failure.to_string());
    }
}
