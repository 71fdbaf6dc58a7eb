//! Random histories: chosen step by step from a seed, played to engine and model, drained at the end, and cut as
//! short as they can be when the two differ.

use crate::compare::{Options, Pair, Wrong};
use crate::words::{Command, End, Step, Which};
use enq::engine::Planted;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::cell::Cell;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// Steps of a history, before everything is released.
const STEPS: usize = 60;

/// Every so many steps all resources are looked at on both sides.
const LOOK_EACH: usize = 5;

/// How much was seen, to know that a campaign was worth its time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    pub(crate) steps: u64,
    words: std::collections::BTreeMap<&'static str, u64>,
}

impl Marks {
    /// Counts the words that tell that something rare was reached.
    fn read(&mut self, said: &str) {
        for word in MARKS {
            let times = u64::try_from(said.matches(word).count()).unwrap_or(0);
            *self.words.entry(word).or_default() += times;
        }
    }

    pub(crate) fn add(&mut self, other: &Marks) {
        self.steps += other.steps;
        for (word, times) in &other.words {
            *self.words.entry(word).or_default() += times;
        }
    }

    /// Words that never came: a campaign that did not see them all shows nothing.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        MARKS.into_iter().filter(|word| self.words.get(word).is_none_or(|times| *times == 0)).collect()
    }
}

thread_local! {
    /// Panics of this thread are expected and not to be printed.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Panics print as always, save on a thread that tries shorter histories.
fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                loud(panic);
            }
        }));
    });
}

/// Does something whose panics are expected.
pub(crate) fn quietly<T>(act: impl FnOnce() -> T) -> T {
    hush();
    let before = QUIET.replace(true);
    let result = act();
    QUIET.set(before);
    result
}

/// What a campaign must have seen the engine say.
const MARKS: [&str; 41] = [
    "Granted(",
    "GrantedLater",
    "PathGranted {",
    "PathGrantedLater",
    "Queued",
    "DONE",
    "CANCELGRANT",
    "Released",
    "NOTQUEUED",
    "DEADLOCK",
    "CANCELLED",
    "ABORTED",
    "TIMEOUT",
    "FORCED",
    "Revoked",
    "Blocking",
    "Gone",
    "Demoted",
    "NOTGRANTED",
    "PARENTNOTGRANTED",
    "HASSUBLOCKS",
    "NOSUCHLOCK",
    "BADPARAM",
    "DENIED",
    "NOSUCHSPACE",
    "LIMIT",
    "RESOURCE_EXHAUSTED",
    "CHANGED",
    "RECOVERING",
    "some are delayed",
    "synchronous: true",
    "alternate: true",
    "demoted: true",
    "stored: true",
    "valid: false",
    "holds: Some",
    "adopted a root",
    "adopted a sublock",
    "NOSUCHORPHAN",
    "WRONGMODE",
    "Purged { released: 2",
];

/// A history that shows a difference.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) options: Options,
    pub(crate) steps: Vec<Step>,
    pub(crate) wrong: Wrong,
}

/// The options of a seed: sometimes the queues are short, sometimes the server was restarted.
fn options(random: &mut StdRng, hash_seed: u64, planted: Planted) -> Options {
    let waiting_a_resource = if random.random_ratio(1, 4) { 3 } else { 10_000 };
    let recovering_ms = if random.random_ratio(1, 6) { random.random_range(1..200) } else { 0 };
    Options { waiting_a_resource, hash_seed, recovering_ms, planted, images: false }
}

/// Plays a random history; `Ok` has what was seen and what the engine said.
pub(crate) fn play(seed: u64, hash_seed: u64, planted: Planted) -> Result<(Marks, String), Box<Failure>> {
    let mut random = StdRng::seed_from_u64(seed);
    let options = options(&mut random, hash_seed, planted);
    play_with(&mut random, options)
}

/// Plays the same history to an engine that is made anew of its image after each step.
pub(crate) fn play_from_images(seed: u64) -> Result<(), Box<Failure>> {
    let mut random = StdRng::seed_from_u64(seed);
    let options = Options { images: true, ..options(&mut random, 1, Planted::NONE) };
    play_with(&mut random, options).map(|_| ())
}

/// What is there after a random history, before everything is released.
pub(crate) fn middle(seed: u64) -> Pair {
    let mut random = StdRng::seed_from_u64(seed);
    let options = options(&mut random, 1, Planted::NONE);
    let (mut pair, mut steps) = (Pair::new(options), Vec::new());
    choose_and_play(&mut random, &mut pair, &mut steps).expect("engine and model agree");
    pair
}

fn choose_and_play(random: &mut StdRng, pair: &mut Pair, steps: &mut Vec<Step>) -> Result<(), Wrong> {
    let mut taste = crate::choose::Taste::new(random);
    for number in 1..=STEPS {
        let step = taste.step(random, pair);
        steps.push(step.clone());
        one(pair, &step, number % LOOK_EACH == 0)?;
    }
    Ok(())
}

fn play_with(random: &mut StdRng, options: Options) -> Result<(Marks, String), Box<Failure>> {
    let (mut pair, mut steps) = (Pair::new(options), Vec::new());
    let fail = |steps: &Vec<Step>, wrong| Box::new(Failure { options, steps: steps.clone(), wrong });
    choose_and_play(random, &mut pair, &mut steps).map_err(|wrong| fail(&steps, wrong))?;
    drain(&mut pair).map_err(|wrong| fail(&steps, wrong))?;
    let mut marks = Marks { steps: u64::try_from(steps.len()).unwrap_or(0), ..Marks::default() };
    marks.read(&pair.said);
    Ok((marks, pair.said))
}

/// Plays recorded steps.
fn replay(options: Options, steps: &[Step]) -> Result<(), Wrong> {
    let mut pair = Pair::new(options);
    for step in steps {
        one(&mut pair, step, true)?;
    }
    drain(&mut pair)
}

/// One step, perhaps with all looks; a panic of the engine is a difference too.
fn one(pair: &mut Pair, step: &Step, look: bool) -> Result<(), Wrong> {
    let both = AssertUnwindSafe(|| {
        pair.step(step)?;
        for at in pair.model.resources().iter().filter(|_| look) {
            pair.compare_views(at)?;
        }
        Ok(())
    });
    match catch_unwind(both) {
        Ok(result) => result,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| String::from(*text)));
            Err(format!("a panic: {}", text.unwrap_or_default()))
        }
    }
}

/// Ends all sessions and takes the orphans away; nothing may be left.
fn drain(pair: &mut Pair) -> Result<(), Wrong> {
    let mut given = Vec::new();
    let mut give = |pair: &mut Pair, command| {
        given.push(format!("  at the end {command:?}"));
        one(pair, &Step { after_ms: 0, command }, false)
    };
    drain_with(&mut give, pair).map_err(|wrong| format!("{wrong}\n{}", given.join("\n")))
}

type Give<'a> = &'a mut dyn FnMut(&mut Pair, Command) -> Result<(), Wrong>;

/// Gives Continue until no end is under way.
fn go_on(one: Give<'_>, pair: &mut Pair) -> Result<(), Wrong> {
    for _ in 0..1_000 {
        if !pair.model.has_ending() && !pair.shard.has_ending() {
            return Ok(());
        }
        one(pair, Command::Continue)?;
    }
    Err("ends never come to an end".into())
}

fn drain_with(one: Give<'_>, pair: &mut Pair) -> Result<(), Wrong> {
    go_on(one, pair)?;
    let sessions: std::collections::BTreeSet<u64> =
        pair.known.keys().map(|name| name.0).filter(|session| !pair.over.contains(session)).collect();
    for session in sessions {
        let end = match session % 3 {
            0 => End::Died,
            1 => End::Closed,
            _ => End::ReleasedAll { invalidate: false },
        };
        one(pair, Command::EndSession { session, end })?;
    }
    go_on(one, pair)?;
    for _ in 0..1_000 {
        let Some(lock) = pair.model.locks.iter().max_by_key(|lock| lock.at.1.len()) else { break };
        let Some((name, _)) = pair.known.iter().find(|(_, id)| **id == lock.id) else { break };
        let lock = Which { name: *name, by_handle: false };
        one(pair, Command::ForceRelease { lock, stale: false, by: 999 })?;
    }
    let left = pair.shard.statistics();
    let ours = pair.model.counts();
    if (left.locks, left.resources, left.converting, left.waiting) != (0, 0, 0, 0) || ours.0 != 0 {
        return Err(format!("left behind: {} locks and {} resources", left.locks, left.resources));
    }
    Ok(())
}

/// Leaves out steps as long as the two still differ.
pub(crate) fn shrink(failure: &mut Failure) {
    hush();
    QUIET.set(true);
    for _ in 0..5 {
        let before = failure.steps.len();
        for at in (0..before).rev() {
            let mut fewer = failure.steps.clone();
            fewer.remove(at);
            if let Err(wrong) = replay(failure.options, &fewer)
                && wrong.get(..12) == failure.wrong.get(..12)
            {
                (failure.steps, failure.wrong) = (fewer, wrong);
            }
        }
        if failure.steps.len() == before {
            break;
        }
    }
    QUIET.set(false);
}

/// The history, the difference, and the command that shows it again.
pub(crate) fn report(seed: u64, failure: &Failure) -> String {
    let mut text = format!("seed {seed}, {:?}\n", failure.options);
    for step in &failure.steps {
        let _ = writeln!(text, "  +{} ms {:?}", step.after_ms, step.command);
    }
    let _ = writeln!(text, "{}", failure.wrong);
    let test = if failure.options.images { "random_histories_go_on" } else { "random_histories_end" };
    let _ = write!(
        text,
        "replay: ENQ_SIM_SEED={seed} ENQ_SIM_HISTORIES=1 cargo test --test sim {test} -- --nocapture"
    );
    text
}
