//! Acts operations out on one shard, one after the other.
//!
//! After every step the invariants of the shard are checked. A word that is not understood is an error.

use super::cast::{Cast, NO_LOCK};
use super::quotas::Quotas;
use super::tell::tell;
use super::words::{Options, Words, session};
use enq::engine::deadlock::Cycle;
use enq::engine::{Ask, End, Input, Instant, LISTED_A_STEP, Limits, LockRef, Planted, Shard, Under};
use enq_protocol::vocabulary::{
    Flags, Handle, LockFilter, LockId, LockMode, LockspaceId, Owner, ResourceName, SessionId,
};
use std::collections::{BTreeMap, BTreeSet};

/// One shard with its story.
pub(crate) struct Stage {
    pub(crate) shard: Shard,
    pub(crate) cast: Cast,
    pub(crate) now: Instant,
    /// Are seqs, fences and counts of stores told?
    pub(crate) numbers: bool,
    pub(crate) quotas: Quotas,
    /// What sessions said that their orphans are to be found by.
    pub(crate) orphan_keys: BTreeMap<SessionId, String>,
    /// Where the purge that is under way goes on.
    pub(crate) purging: Option<LockId>,
    pub(crate) found: Vec<Cycle>,
    /// Lockspaces that have no deadlocks looked for.
    pub(crate) never: BTreeSet<LockspaceId>,
    limits: Limits,
    pages: Option<Pages>,
    steps: u32,
}

/// A listing under way.
struct Pages {
    from: u32,
    at_start: BTreeSet<String>,
    seen: BTreeSet<LockId>,
}

/// Whose lock an operation is about.
struct Subject {
    session: SessionId,
    lock: LockRef,
}

impl Stage {
    /// An empty shard, perhaps with a mistake in its engine.
    pub(crate) fn new(planted: Planted) -> Stage {
        let limits = Limits { planted, ..Limits::default() };
        let shard = Shard::new(0, limits, 1, 7);
        let (cast, quotas) = (Cast::default(), Quotas::default());
        Stage {
            shard,
            cast,
            now: Instant::START,
            numbers: false,
            quotas,
            orphan_keys: BTreeMap::new(),
            purging: None,
            found: Vec::new(),
            never: BTreeSet::new(),
            limits,
            pages: None,
            steps: 0,
        }
    }

    /// Acts out one operation, `[a..b]` once for each number, and tells what came of it.
    pub(crate) fn act(&mut self, text: &str) -> Result<String, String> {
        let Some((before, range)) = text.split_once('[') else {
            return Ok(joined(&self.act_once(text)?));
        };
        let (range, after) = range.split_once(']').ok_or("`[` without `]`")?;
        let (first, last) = range.split_once("..").ok_or(format!("no range: {range}"))?;
        let number = |word: &str| word.parse::<u32>().map_err(|_| format!("no number: {word}"));
        let mut told: Option<String> = None;
        for at in number(first)?..=number(last)? {
            let after = after.replace("[]", &at.to_string()).replace("[-1]", &at.wrapping_sub(1).to_string());
            let now = joined(&self.act_once(&format!("{before}{at}{after}"))?);
            if told.as_ref().is_some_and(|told| *told != now) {
                return Err(format!("number {at} gives another answer: {now}"));
            }
            told = Some(now);
        }
        told.ok_or("an empty range".into())
    }

    fn act_once(&mut self, text: &str) -> Result<Vec<String>, String> {
        let mut words = Words::of(text);
        match words.take("an operation")? {
            "enq" => self.enq(words),
            "path" => self.path(words),
            "cvt" => self.cvt(words),
            "deq" => self.deq(words),
            "cancel" => {
                let name = words.take("a lock")?;
                let options = words.options(false)?;
                let Subject { session, lock } = self.subject(name, &options)?;
                self.step(Input::Cancel { session, lock, flags: options.flags }, None)
            }
            "deqall" => self.deqall(words),
            "die" => self.end_session(words, End::Died),
            "close" => self.end_session(words, End::Closed),
            "seal" => self.seal(words),
            "key" => self.orphan_key(words),
            "adopt" => self.adopt(words),
            "purge" => self.purge(words),
            "find" => self.find(words),
            "break" => self.break_found(words),
            "confirm" => self.confirm_found(words),
            "refuse" => self.refuse_found(words),
            "continue" => {
                words.end()?;
                self.step(Input::Continue, None)
            }
            "tick" => {
                self.pass(words)?;
                self.step(Input::Tick, None)
            }
            "wait" => {
                self.pass(words)?;
                Ok(Vec::new())
            }
            "space" => self.space(words),
            "force" => self.force(words),
            "priority" => {
                let lock = self.id_of(words.take("a lock")?)?;
                let options = words.options(false)?;
                self.step(Input::SetPriority { lock, priority: options.priority }, None)
            }
            "epoch" => {
                let epoch = words.take("an epoch")?.parse().map_err(|_| "no epoch")?;
                self.step(Input::RaiseEpoch { epoch }, None)
            }
            "limit" => self.limit(words),
            "recovering" => self.recovering(words),
            "numbers" => {
                self.numbers = true;
                words.end().map(|()| Vec::new())
            }
            "page" => {
                words.end()?;
                self.page().map(|told| vec![told])
            }
            verb => Err(format!("no operation: {verb}")),
        }
    }

    /// One step; a deadline or an end under way is left to the story.
    pub(crate) fn step(&mut self, input: Input<'_>, wanted: Option<LockMode>) -> Result<Vec<String>, String> {
        let mut outputs = Vec::new();
        let step = std::panic::AssertUnwindSafe(|| self.shard.step(self.now, input, &mut outputs));
        std::panic::catch_unwind(step).map_err(|_| "the engine is total, and panics here")?;
        self.steps += 1;
        // The check looks at everything there is, so a story of thousands of locks is checked now and then.
        if self.steps < 150 || self.steps.is_multiple_of(300) {
            self.shard.check()?;
        }
        tell(self, &outputs, wanted)
    }

    fn continue_to_end(&mut self, told: &mut Vec<String>) -> Result<(), String> {
        // No story has more than a million locks.
        for _ in 0..4_000 {
            if !self.shard.has_ending() {
                return Ok(());
            }
            told.extend(self.step(Input::Continue, None)?);
        }
        Err("E1: an end does not end".into())
    }

    pub(crate) fn ask<'a>(session: SessionId, mode: LockMode, options: &Options<'a>) -> Ask<'a> {
        Ask {
            session: options.session.unwrap_or(session),
            mode,
            flags: options.flags,
            owner: Owner { scope: 0, token: options.owner },
            timeout_ms: options.timeout_ms,
            priority: options.priority,
            reason: options.reason,
        }
    }

    fn enq(&mut self, mut words: Words<'_>) -> Result<Vec<String>, String> {
        let (name, place, mode) = (words.take("a lock")?, words.take("a resource")?, words.mode()?);
        let options = words.options(true)?;
        let ask = Self::ask(owner_of(name)?, mode, &options);
        let (under, resource) = match place.split_once('/') {
            Some((parent, resource)) => (Under::Parent(self.lock_ref(parent)?), resource),
            None => {
                let (space, resource) = self.place(place);
                (Under::Lockspace(space), resource)
            }
        };
        let resource = ResourceName::from_printable(resource).map_err(|why| why.to_string())?;
        let handle = self.cast.enter(name, ask.session, false)?;
        let told = match self.quotas.may_start(ask.session, &[handle]) {
            Ok(()) => self.step(Input::Enq { ask, handle, under, name: &resource }, Some(mode))?,
            Err(status) => vec![status.to_string()],
        };
        self.undo_if_refused(&told, ask.session, &[handle])?;
        Ok(told)
    }

    /// `path s1.a X/Y/Z MODE`: the levels above the leaf are called `s1.a@X`, `s1.a@Y`.
    fn path(&mut self, mut words: Words<'_>) -> Result<Vec<String>, String> {
        let (name, place, mode) = (words.take("a lock")?, words.take("a path")?, words.mode()?);
        let options = words.options(true)?;
        let ask = Self::ask(owner_of(name)?, mode, &options);
        let (lockspace, path) = self.place(place);
        let path = ResourceName::path_from_printable(path).map_err(|why| why.to_string())?;
        let mut handles = Vec::new();
        for level in path.iter().take(path.len() - 1) {
            handles.push(self.cast.enter(&format!("{name}@{level}"), ask.session, true)?);
        }
        handles.push(self.cast.enter(name, ask.session, true)?);
        let told =
            self.step(Input::EnqPath { ask, handles: &handles, lockspace, path: &path }, Some(mode))?;
        self.undo_if_refused(&told, ask.session, &handles)?;
        Ok(told)
    }

    /// A refused request made no lock: its handles were never used.
    pub(crate) fn undo_if_refused(
        &mut self,
        told: &[String],
        session: SessionId,
        handles: &[Handle],
    ) -> Result<(), String> {
        if told.first().is_some_and(|answer| is_refusal(answer)) {
            for handle in handles {
                self.cast.freed(session, *handle)?;
            }
        }
        Ok(())
    }

    fn cvt(&mut self, mut words: Words<'_>) -> Result<Vec<String>, String> {
        let (name, mode) = (words.take("a lock")?, words.mode()?);
        let options = words.options(true)?;
        let Subject { session, lock } = self.subject(name, &options)?;
        let Options { flags, timeout_ms, priority, value, .. } = options;
        self.step(Input::Convert { session, lock, mode, flags, timeout_ms, priority, value }, Some(mode))
    }

    fn deq(&mut self, mut words: Words<'_>) -> Result<Vec<String>, String> {
        let name = words.take("a lock")?;
        let options = words.options(false)?;
        let Subject { session, lock } = self.subject(name, &options)?;
        self.step(Input::Deq { session, lock, flags: options.flags, value: options.value }, None)
    }

    /// `deqall s1`: everything of a session; `deqall s1.a`: all sublocks of a lock.
    fn deqall(&mut self, mut words: Words<'_>) -> Result<Vec<String>, String> {
        let name = words.take("a session or a lock")?;
        let options = words.options(false)?;
        let mut told = if name.contains('.') {
            self.seal_sublocks(name, &options)?
        } else {
            let invalidate = options.flags.contains(Flags::IVVALBLK);
            let end = End::ReleasedAll { invalidate };
            self.seal_session(session(name)?, end)?
        };
        self.continue_to_end(&mut told)?;
        Ok(told)
    }

    fn end_session(&mut self, mut words: Words<'_>, end: End) -> Result<Vec<String>, String> {
        let session = words.session()?;
        words.end()?;
        self.cast.leave(session);
        let mut told = self.seal_session(session, end)?;
        self.continue_to_end(&mut told)?;
        Ok(told)
    }

    /// The first half of an end alone: `seal s1 died`, `seal s1 closed`, `seal s1 released`, `seal s1.a`.
    fn seal(&mut self, mut words: Words<'_>) -> Result<Vec<String>, String> {
        let name = words.take("a session or a lock")?;
        if name.contains('.') {
            return self.seal_sublocks(name, &words.options(false)?);
        }
        let session = session(name)?;
        let end = match words.take("an end")? {
            "died" => End::Died,
            "closed" => End::Closed,
            "released" => End::ReleasedAll { invalidate: false },
            word => return Err(format!("no end: {word}")),
        };
        words.end()?;
        if !matches!(end, End::ReleasedAll { .. }) {
            self.cast.leave(session);
        }
        self.seal_session(session, end)
    }

    fn seal_session(&mut self, session: SessionId, end: End) -> Result<Vec<String>, String> {
        let orphan_key = self.orphan_keys.get(&session).cloned().unwrap_or_default();
        self.step(Input::SealSession { session, end, orphan_key: orphan_key.as_bytes() }, None)
    }

    fn seal_sublocks(&mut self, name: &str, options: &Options<'_>) -> Result<Vec<String>, String> {
        let Subject { session, lock } = self.subject(name, options)?;
        let own = self.orphan_keys.get(&session).cloned().unwrap_or_default();
        let (flags, orphan_key) = (options.flags, own.as_bytes());
        self.step(Input::SealSublocks { session, lock, flags, orphan_key }, None)
    }

    fn pass(&mut self, mut words: Words<'_>) -> Result<(), String> {
        self.now = self.now.after_ms(words.span()?);
        words.end()
    }

    /// `force s1.a by s9 reason why [version N]`.
    fn force(&mut self, mut words: Words<'_>) -> Result<Vec<String>, String> {
        let name = words.take("a lock")?;
        let lock = self.id_of(name)?;
        let seq = self.cast.find(name).map_or(0, |actor| actor.seq.0);
        let options = words.options(false)?;
        let by = options.session.ok_or("as whom?")?;
        let reason = String::from_utf8_lossy(options.reason);
        let version = options.version.unwrap_or(seq);
        self.step(Input::ForceRelease { lock, version, by, reason: &reason }, None)
    }

    /// Moves a bound; the shard begins anew, so this stands first in a story.
    fn limit(&mut self, mut words: Words<'_>) -> Result<Vec<String>, String> {
        if self.cast.live().next().is_some() {
            return Err("a limit stands before the first lock".into());
        }
        let place = match words.take("a limit")? {
            "waiting_a_resource" => &mut self.limits.waiting_a_resource,
            "locks_a_session" => &mut self.limits.locks_a_session,
            word => return Err(format!("no limit: {word}")),
        };
        *place = words.take("a number")?.parse().map_err(|_| "no number")?;
        words.end()?;
        self.shard = Shard::new(0, self.limits, 1, 7);
        self.quotas.set(self.limits.locks_a_session);
        Ok(Vec::new())
    }

    /// G10: nothing is granted for so long; the shard begins anew, so this stands first in a story.
    fn recovering(&mut self, mut words: Words<'_>) -> Result<Vec<String>, String> {
        if self.cast.live().next().is_some() {
            return Err("the wait after a restart stands before the first lock".into());
        }
        let until = self.now.after_ms(words.span()?);
        words.end()?;
        self.shard = Shard::new(0, self.limits, 1, 7).recovering_until(until);
        Ok(Vec::new())
    }

    /// The next part of a listing of everything.
    fn page(&mut self) -> Result<String, String> {
        let live = || self.cast.live().map(String::from).collect::<BTreeSet<_>>();
        let mut pages =
            self.pages.take().unwrap_or_else(|| Pages { from: 0, at_start: live(), seen: BTreeSet::new() });
        let mut views = Vec::new();
        let next =
            self.shard.show_page(self.now, pages.from, LISTED_A_STEP, &LockFilter::default(), &mut views);
        for view in &views {
            if !pages.seen.insert(view.lock) {
                return Err(format!("Q4: {} is shown twice", self.cast.name_of_id(view.lock)));
            }
        }
        let Some(from) = next else {
            for name in pages.at_start.intersection(&live()) {
                if !self.id_of(name).is_ok_and(|id| pages.seen.contains(&id)) {
                    return Err(format!("Q4: {name} is not shown"));
                }
            }
            return Ok(format!("{} locks, the end", views.len()));
        };
        pages.from = from;
        self.pages = Some(pages);
        Ok(format!("{} locks, and more", views.len()))
    }

    /// A lockspace and what stands behind its colon.
    pub(crate) fn place<'a>(&mut self, place: &'a str) -> (LockspaceId, &'a str) {
        match place.split_once(':') {
            Some((space, resource)) => (self.cast.space(space), resource),
            None => (LockspaceId(0), place),
        }
    }

    fn subject(&self, name: &str, options: &Options<'_>) -> Result<Subject, String> {
        let session = options.session.map_or_else(|| owner_of(name), Ok)?;
        Ok(Subject { session, lock: self.lock_ref(name)? })
    }

    /// What the session register would say: an id, unless a path request may not have made the lock yet.
    pub(crate) fn lock_ref(&self, name: &str) -> Result<LockRef, String> {
        if name.ends_with(".nobody") {
            return Ok(LockRef::Id(NO_LOCK));
        }
        let actor = self.cast.named(name)?;
        Ok(match actor.id {
            Some(id) if !actor.by_path => LockRef::Id(id),
            _ => LockRef::Handle(actor.handle),
        })
    }

    pub(crate) fn id_of(&self, name: &str) -> Result<LockId, String> {
        if name.ends_with(".nobody") {
            Ok(NO_LOCK)
        } else {
            self.cast.named(name)?.id.ok_or(format!("{name} has no id"))
        }
    }

    /// Which level of a path waits, by the depth of its resource.
    pub(crate) fn learn_level(&mut self, leaf: &str, lock: LockId) -> Result<String, String> {
        let view = self.shard.show_lock(self.now, lock).ok_or("what waits is not there")?;
        let level = view.path.last().map(ToString::to_string).unwrap_or_default();
        let above = format!("{leaf}@{level}");
        let name = if view.handle == self.cast.named(leaf)?.handle { leaf } else { &above };
        let actor = self.cast.named(name)?;
        let (session, handle) = (actor.session, actor.handle);
        self.cast.learn(session, handle, lock)?;
        Ok(name.into())
    }
}

/// An output whose lock's name ends with a number: what stands before the number, it, and what stands behind it.
type Counted<'a> = (&'a str, u32, &'a str);

/// What a story says of a step. Three or more outputs that count up, as `gone s1.n1; gone s1.n2; ..`, are one.
fn joined(told: &[String]) -> String {
    if told.is_empty() {
        return "nothing".into();
    }
    let mut runs: Vec<(Option<Counted<'_>>, u32, usize)> = Vec::new();
    for (at, output) in told.iter().enumerate() {
        let counted = count_of(output);
        match (runs.last_mut(), counted) {
            (Some((Some((before, first, after)), length, _)), Some((now_before, number, now_after)))
                if (*before, *after, *first + *length) == (now_before, now_after, number) =>
            {
                *length += 1;
            }
            _ => runs.push((counted, 1, at)),
        }
    }
    let write = |(counted, length, at): &(Option<Counted<'_>>, u32, usize)| match counted {
        Some((before, first, after)) if *length > 2 => {
            format!("{before}[{first}..{}]{after}", first + length - 1)
        }
        _ => told[*at..*at + *length as usize].join("; "),
    };
    runs.iter().map(write).collect::<Vec<_>>().join("; ")
}

/// The number at the end of the first lock's name in an output, with what stands before and behind it.
fn count_of(output: &str) -> Option<Counted<'_>> {
    let name = output.find('.')? + 1;
    let start = name + output[name..].find(|c: char| c.is_ascii_digit())?;
    let end = output[start..].find(|c: char| !c.is_ascii_digit()).map_or(output.len(), |end| start + end);
    let is_name = output[name..start].chars().all(|c| c.is_ascii_lowercase());
    is_name.then_some((&output[..start], output[start..end].parse().ok()?, &output[end..]))
}

/// Refusals are written in capitals; so is CANCELGRANT, which refuses nothing that was made.
pub(crate) fn is_refusal(answer: &str) -> bool {
    answer.starts_with(|first: char| first.is_ascii_uppercase())
}

/// The session a lock's name begins with.
pub(crate) fn owner_of(name: &str) -> Result<SessionId, String> {
    let (owner, _) = name.split_once('.').ok_or(format!("no lock: {name}"))?;
    session(owner)
}
