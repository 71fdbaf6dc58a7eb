//! Engine and model side by side: one command goes to both, and everything that both say or show must be equal.
//!
//! Ids of locks are the engine's; the model is told them. Seqs are compared by their order and their epoch, because
//! how far the counter moves is nobody's promise. Handles must be freed by exactly one output.

use crate::model::Model;
use crate::translate::{self, Owned};
use crate::twin::Twin;
use crate::words::{Command, End, Event, Name, Place, Step, Under, What, Which};
use enq::engine::{Instant, LISTED_A_STEP, Limits, Output, Planted, Said, Shard};
use enq_protocol::vocabulary::{LockFilter, LockId, LockView};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The shard's number in these tests.
const SHARD: u8 = 3;

/// What the two sides are made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) waiting_a_resource: u32,
    pub(crate) hash_seed: u64,
    /// The mistake in the engine, if one is planted there.
    pub(crate) planted: Planted,
    /// How long both grant nothing (G10); 0 for not at all.
    pub(crate) recovering_ms: u32,
    /// Is the engine made anew of its image after each step?
    pub(crate) images: bool,
}

/// A difference, in words.
pub(crate) type Wrong = String;

/// Both sides.
pub(crate) struct Pair {
    pub(crate) shard: Shard,
    pub(crate) model: Model,
    /// In nanoseconds.
    now: u64,
    /// The last lock of each name.
    pub(crate) known: BTreeMap<Name, u64>,
    /// Handles that are not free.
    used: BTreeSet<Name>,
    /// Every id there ever was, to see that none comes again (Q3).
    ids: BTreeSet<u64>,
    /// Sessions that are over.
    pub(crate) over: BTreeSet<u64>,
    numbers: Numbers,
    twin: Option<Twin>,
    /// All that the engine said, if somebody wants to read it.
    pub(crate) said: String,
}

impl Pair {
    pub(crate) fn new(options: Options) -> Pair {
        let limits = Limits {
            waiting_a_resource: options.waiting_a_resource,
            planted: options.planted,
            // The flight recorder runs along and is overwritten; it must change nothing.
            history: 16,
            ..Limits::default()
        };
        let shard = Shard::new(SHARD, limits, 1, options.hash_seed);
        let shard = match options.recovering_ms {
            0 => shard,
            ms => shard.recovering_until(Instant::START.after_ms(ms)),
        };
        Pair {
            twin: options.images.then(|| Twin::new(shard.clone(), options.planted)),
            shard,
            model: Model::new(1, options.waiting_a_resource, options.recovering_ms),
            now: 0,
            known: BTreeMap::new(),
            used: BTreeSet::new(),
            ids: BTreeSet::new(),
            over: BTreeSet::new(),
            numbers: Numbers::default(),
            said: String::new(),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        Instant(self.now)
    }

    pub(crate) fn is_used(&self, name: Name) -> bool {
        self.used.contains(&name)
    }

    /// Can this command be given now? What cannot is left out of a history that was cut shorter.
    fn makes_sense(&self, command: &Command) -> bool {
        // A session asks for nothing while an end that it asked for is under way.
        let asks = |session: u64| !self.over.contains(&session) && !self.model.is_ending(session);
        let fresh = |session: u64, handle: u32| asks(session) && !self.is_used((session, handle));
        match command {
            Command::New { ask, handle, under: Under::Lock(parent), .. } => {
                fresh(ask.session, *handle) && self.may_name(ask.session, parent)
            }
            Command::New { ask, handle, .. } => fresh(ask.session, *handle),
            Command::Adopt { ask, handle, under, .. } => {
                let names_it = match under {
                    Under::Lock(parent) => self.may_name(ask.session, parent),
                    Under::Space(_) => true,
                };
                fresh(ask.session, *handle) && names_it
            }
            Command::Path { ask, handles, .. } => handles.iter().all(|handle| fresh(ask.session, *handle)),
            Command::Convert { session, lock, .. }
            | Command::Release { session, lock, .. }
            | Command::Cancel { session, lock, .. }
            | Command::ReleaseSublocks { session, lock, .. } => {
                asks(*session) && self.may_name(*session, lock)
            }
            Command::EndSession { session, end: End::ReleasedAll { .. } } => asks(*session),
            Command::EndSession { session, .. } => !self.over.contains(session),
            Command::SetPolicy { space, policy: None } => {
                *space != 0 && self.model.locks.iter().all(|lock| lock.at.0 != *space)
            }
            _ => true,
        }
    }

    /// A handle is its own session's, and stands only for a lock whose id the session has not been told.
    fn may_name(&self, session: u64, which: &Which) -> bool {
        let told = self.model.locks.iter().any(|lock| {
            (lock.session, lock.handle) == (Some(session), which.name.1) && !self.model.is_by_handle(lock.id)
        });
        !which.by_handle || (which.name.0 == session && !told)
    }

    /// One command to both.
    pub(crate) fn step(&mut self, step: &Step) -> Result<(), Wrong> {
        let command = &step.command;
        if !self.makes_sense(command) {
            return Ok(());
        }
        self.now += u64::from(step.after_ms) * 1_000_000;
        let mut outputs = Vec::new();
        let owned = Owned::new(command, &self.known, &self.shard, self.now());
        self.shard.step(self.now(), owned.input(command), &mut outputs);
        if let Some(twin) = &mut self.twin {
            twin.follow(&mut self.shard, Instant(self.now), owned.input(command), &outputs)?;
        }
        if let Command::New { ask, handle, .. } | Command::Adopt { ask, handle, .. } = command {
            self.used.insert((ask.session, *handle));
        }
        if let Command::Path { ask, handles, .. } = command {
            self.used.extend(handles.iter().map(|handle| (ask.session, *handle)));
        }
        if let Command::EndSession { session, end: End::Closed | End::Died } = command {
            self.over.insert(*session);
        }
        let _ = writeln!(self.said, "{outputs:?}");
        if self.shard.statistics().delayed > 0 {
            self.said.push_str("some are delayed\n");
        }
        if let (Command::Adopt { under, .. }, Some(Said::Granted(_))) =
            (command, outputs.first().map(|output| &output.said))
        {
            let word = if matches!(under, Under::Lock(_)) { "adopted a sublock" } else { "adopted a root" };
            let _ = writeln!(self.said, "{word}");
        }
        let named = self.named()?;
        let model = self.model.step(self.now, command, &self.known, &named);
        self.known.extend(named);
        self.compare(model, &outputs)?;
        self.free_handles(command, &outputs)?;
        self.shard.check().map_err(|wrong| format!("the engine's own check: {wrong}"))?;
        self.model.check().map_err(|wrong| format!("an invariant of the model: {wrong}"))?;
        self.compare_counts()
    }

    /// All locks of the engine.
    fn table(&self) -> Vec<LockView> {
        let mut views = Vec::new();
        let mut from = Some(0);
        while let Some(slot) = from {
            from = self.shard.show_page(self.now(), slot, LISTED_A_STEP, &LockFilter::default(), &mut views);
        }
        views
    }

    /// Names and ids of all locks of the engine that have a session.
    fn named(&mut self) -> Result<BTreeMap<Name, u64>, Wrong> {
        let mut named = BTreeMap::new();
        for view in self.table() {
            let Some(session) = view.session else { continue };
            let name = (session.0, view.handle.number());
            // O1: an orphan keeps its id, whoever adopts it.
            let was_orphan = self.model.lock(view.lock.0).is_some_and(|lock| lock.session.is_none());
            let is_known = was_orphan || self.known.get(&name) == Some(&view.lock.0);
            if !is_known && !self.ids.insert(view.lock.0) {
                return Err(format!("the id {} was used before", view.lock));
            }
            if named.insert(name, view.lock.0).is_some() {
                return Err(format!("two locks are named {name:?}"));
            }
        }
        Ok(named)
    }

    fn compare(&mut self, mut model: Vec<Event>, outputs: &[Output]) -> Result<(), Wrong> {
        let mut engine: Vec<Event> = outputs.iter().map(translate::event).collect();
        // Which handles are free is for the register alone: order does not matter.
        let is_gone = |event: &Event| matches!(event.what, What::Gone { .. });
        for events in [&mut model, &mut engine] {
            events.sort_by_key(|event| match event.what {
                What::Gone { handle } => (1, event.to, handle),
                _ => (0, 0, 0),
            });
        }
        let print = |events: &[Event]| {
            let lines: Vec<String> = events.iter().map(|event| format!("    {event:?}")).collect();
            if lines.is_empty() { String::from("    nothing") } else { lines.join("\n") }
        };
        let (said, shown) = (print(&model), print(&engine));
        let mut equal = model.len() == engine.len();
        for (ours, theirs) in model.iter_mut().zip(&mut engine) {
            for (a, b) in ours.numbers().into_iter().zip(theirs.numbers()) {
                if self.numbers.same(*a, *b) {
                    *a = *b;
                }
            }
            equal &= ours == theirs && is_gone(ours) == is_gone(theirs);
        }
        if equal { Ok(()) } else { Err(format!("the model says\n{said}\n  and the engine says\n{shown}")) }
    }

    /// Each handle is freed by exactly one output, and a refused request made none.
    fn free_handles(&mut self, command: &Command, outputs: &[Output]) -> Result<(), Wrong> {
        for event in outputs.iter().map(translate::event) {
            if let Some(handle) = event.frees().filter(|handle| !self.used.remove(&(event.to, *handle))) {
                return Err(format!("handle {handle} of session {} is freed twice", event.to));
            }
            if let What::Refused { .. } = event.what {
                match command {
                    Command::New { ask, handle, .. } | Command::Adopt { ask, handle, .. } => {
                        self.used.remove(&(ask.session, *handle));
                    }
                    Command::Path { ask, handles, .. } => {
                        self.used.retain(|name| name.0 != ask.session || !handles.contains(&name.1));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn compare_counts(&self) -> Result<(), Wrong> {
        let shown = self.shard.statistics();
        let shown = (shown.locks, shown.resources, shown.converting, shown.waiting, shown.delayed);
        let counted = self.model.counts();
        if shown == counted { Ok(()) } else { Err(format!("counts: model {counted:?}, engine {shown:?}")) }
    }

    /// Compares every view of a resource and of what its locks wait for.
    pub(crate) fn compare_views(&mut self, at: &Place) -> Result<(), Wrong> {
        let path = translate::path(&at.1);
        let view = self.shard.show_resource(self.now(), translate::space(at.0), &path);
        let mut ours = self.model.show(at);
        let theirs = view.as_ref().map(translate::resource);
        if let (Some(ours), Some(theirs)) = (&mut ours, &theirs) {
            for (a, b) in ours.locks.iter_mut().zip(&theirs.locks) {
                if self.model.lock(a.lock).is_some_and(|lock| lock.sealed) {
                    a.timeout_ms = b.timeout_ms; // It waits for its end, whatever its time.
                }
                for (a, b) in [(&mut a.seq, b.seq), (&mut a.fence, b.fence)] {
                    if self.numbers.same(*a, b) {
                        *a = b;
                    }
                }
            }
        }
        if ours != theirs {
            return Err(format!("{at:?} shows\n    {ours:?} in the model and\n    {theirs:?} in the engine"));
        }
        for id in ours.into_iter().flat_map(|view| view.locks).map(|lock| lock.lock) {
            let ours = self.model.blocked_by(id);
            let shown = self.shard.blocked_by(self.now(), LockId(id)).map(|(edges, _)| edges);
            let mut theirs = translate::edges(&shown.unwrap_or_default());
            theirs.sort_unstable();
            if ours != theirs {
                return Err(format!("{id:x} waits for {ours:x?} in the model, {theirs:x?} in the engine"));
            }
        }
        Ok(())
    }
}

/// Which number of the engine is which of the model: in one order (F1), of one epoch, and none is 0.
#[derive(Default)]
struct Numbers {
    pairs: BTreeMap<u64, u64>,
}

impl Numbers {
    fn same(&mut self, ours: u64, theirs: u64) -> bool {
        if ours == 0 || theirs == 0 {
            return ours == theirs;
        }
        if let Some(known) = self.pairs.get(&ours) {
            return *known == theirs;
        }
        let below = self.pairs.range(..ours).next_back().is_none_or(|(_, below)| *below < theirs);
        let above = self.pairs.range(ours..).next().is_none_or(|(_, above)| *above > theirs);
        let fits = below && above && ours >> 40 == theirs >> 40;
        if fits {
            self.pairs.insert(ours, theirs);
        }
        fits
    }
}
