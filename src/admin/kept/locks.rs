//! The locks of a kept session: asked for, converted, released and withdrawn, each by another process.
//!
//! A lock is known by its id, and to nobody but this keeper. While it converts it cannot be released, and the other way
//! round: whoever comes second is told so. What is lost stays here with the cause of its loss, so that whoever asks for it
//! hears LOST and not that there never was such a lock.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use enq_protocol::vocabulary::{Handle, LockId, LockMode, Queue, ResourceName, Status};
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::line::{self, Ask, Grant, Value};
use crate::{
    admin::{
        args::Reach,
        ask,
        exit::{self, Failure},
        render::{hexadecimal, printable},
        run::{Wanted, explain},
        words,
    },
    client::{Lock, LockState, NotGranted, Refused, Session, Wait},
};

/// See the front page.
pub(super) struct Locks {
    pub(super) session: Session,
    /// How the session's server is reached, and how long an answer may take.
    reach: Reach,
    inside: Mutex<Inside>,
    /// A lock is lost, or about to be.
    pub(super) alarm: Arc<Notify>,
}

#[derive(Default)]
struct Inside {
    kept: BTreeMap<LockId, Kept>,
    waiting: BTreeMap<u64, Waiting>,
    waiting_next: u64,
}

/// A lock that was granted.
struct Kept {
    state: State,
    path: Vec<ResourceName>,
    is_path: bool,
    space: String,
    /// Ends the watch for its loss.
    _watch: DropGuard,
}

enum State {
    Held(Lock),
    /// Somebody converts it, and can be told to stop.
    Converting(CancellationToken),
    Releasing,
}

/// A request that waits for its first grant.
struct Waiting {
    path: Vec<ResourceName>,
    is_path: bool,
    handle: Arc<OnceLock<Handle>>,
    cancel: CancellationToken,
}

/// Strikes a request off when it is answered.
struct Struck<'a> {
    locks: &'a Locks,
    number: u64,
}

impl Drop for Struck<'_> {
    fn drop(&mut self) {
        self.locks.inside().waiting.remove(&self.number);
    }
}

impl Locks {
    pub(super) fn new(session: Session, reach: Reach) -> Locks {
        // Each verb is answered by a task of the keeper; whoever uses the session is one.
        let session = session.owner(0);
        Locks { session, reach, inside: Mutex::default(), alarm: Arc::default() }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // Nothing in here can be left half done.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Is the session still there?
    pub(super) async fn alive(&self) -> Result<(), Failure> {
        if self.session.state() != LockState::Lost {
            return Ok(());
        }
        let cause = tokio::time::timeout(Duration::from_secs(1), self.session.lost()).await;
        Err(lost(cause.map_or_else(|_| String::from("its lease ran out"), |cause| cause.to_string())))
    }

    /// Asks for a lock and keeps it. When `cancel` is cancelled the request is withdrawn.
    pub(super) async fn lock(&self, ask: Ask, cancel: CancellationToken) -> Result<Grant, Failure> {
        let Ask::Lock { space, path, is_path, mode, wait, reason, priority } = ask else {
            return Err(nonsense());
        };
        self.alive().await?;
        let path = ResourceName::path_from_printable(&path).map_err(|_| nonsense())?;
        let wanted = Wanted { path: path.clone(), mode: of_letters(&mode)?, is_first: true };
        let reach = Reach { space: space.clone(), ..self.reach.clone() };
        let handle = Arc::new(OnceLock::new());
        let request = Request {
            names: path.iter().map(ResourceName::as_bytes).collect(),
            is_path,
            mode: wanted.mode,
            wait: of_line(wait),
            reason: reason.as_bytes(),
            priority,
            handle: handle.clone(),
            cancel: cancel.clone(),
        };
        let granted = {
            let _struck = self.note(Waiting { path: path.clone(), is_path, handle, cancel });
            request.ask(&reach, &self.session).await?
        };
        match granted {
            Ok(lock) => {
                let grant = self.grant(&path, &lock);
                let watch = self.watch(&lock);
                let kept = Kept { path, is_path, space, _watch: watch, state: State::Held(lock) };
                let id = kept.id();
                self.inside().kept.extend(id.map(|id| (id, kept)));
                Ok(grant)
            }
            Err(why) => Err(explain(&reach, is_path, &self.session, &wanted, &why).await),
        }
    }

    fn note(&self, waiting: Waiting) -> Struck<'_> {
        let mut inside = self.inside();
        let number = inside.waiting_next;
        inside.waiting_next += 1;
        inside.waiting.insert(number, waiting);
        Struck { locks: self, number }
    }

    /// Sounds the alarm when the lock is lost, or about to be, until what this returns is dropped.
    fn watch(&self, lock: &Lock) -> DropGuard {
        let (released, stop, alarm) = (CancellationToken::new(), lock.cancellation(), self.alarm.clone());
        let guard = released.clone().drop_guard();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = released.cancelled() => {}
                () = stop.cancelled() => alarm.notify_one(),
            }
        });
        guard
    }

    fn grant(&self, path: &[ResourceName], lock: &Lock) -> Grant {
        Grant {
            id: lock.id().to_string(),
            resource: words::name(path),
            mode: lock.mode().to_string(),
            seq: lock.seq().to_string(),
            fence: lock.fence().to_string(),
            session: self.session.id().to_string(),
            waited: lock.has_waited(),
            value: lock.value().map(|value| Value {
                hex: hexadecimal(&value.bytes),
                text: printable(&value.bytes),
                length: value.bytes.len(),
                seq: value.seq.to_string(),
                valid: value.valid,
            }),
        }
    }

    /// Takes a lock out of its place, which `state` has until it is put back.
    fn take_out(&self, id: LockId, state: State) -> Result<Lock, Failure> {
        let mut inside = self.inside();
        let Some(kept) = inside.kept.get_mut(&id) else {
            return Err(Failure::status(Status::NoSuchLock).about(id));
        };
        match &kept.state {
            State::Held(lock) => match lock.loss() {
                Some(loss) => Err(lost(loss.to_string()).about(id)),
                None => match std::mem::replace(&mut kept.state, state) {
                    State::Held(lock) => Ok(lock),
                    State::Converting(_) | State::Releasing => Err(nonsense()),
                },
            },
            State::Converting(_) => Err(Failure::new(
                &Status::NotGranted.to_string(),
                format!("{id} is being converted"),
                format!("withdraw that first, with enq cancel '{id}'"),
                exit::SOFTWARE,
            )),
            State::Releasing => Err(Failure::status(Status::NoSuchLock).about(id)),
        }
    }

    fn put_back(&self, id: LockId, lock: Lock) {
        if let Some(kept) = self.inside().kept.get_mut(&id) {
            kept.state = State::Held(lock);
        }
    }

    /// Converts a lock. When `cancel` is cancelled the conversion is withdrawn, and the lock stays as it was.
    pub(super) async fn convert(&self, ask: Ask, cancel: CancellationToken) -> Result<Grant, Failure> {
        let Ask::Convert { id, mode, wait, priority, value } = ask else { return Err(nonsense()) };
        self.alive().await?;
        let (id, mode) = (of_id(&id)?, of_letters(&mode)?);
        let value = of_digits(value)?;
        let lock = self.take_out(id, State::Converting(cancel.clone()))?;
        let stores = is_stored(lock.mode(), mode);
        if value.is_some() && !stores {
            let cause = format!("a conversion from {} to {mode} stores no value", lock.mode());
            self.put_back(id, lock);
            return Err(Failure::usage(cause, "the value block is stored when a lock leaves PW or EX"));
        }
        let conversion = lock.convert(mode).wait(of_line(wait)).priority(priority).cancel_on(cancel);
        let conversion = match value {
            Some(value) => conversion.store(value),
            // V1: a cell that stores needs a value; every other one reads, or does nothing.
            None if stores => conversion,
            None => conversion.read_value(),
        };
        let (path, is_path, space) = {
            let inside = self.inside();
            let kept = inside.kept.get(&id).ok_or_else(nonsense)?;
            (kept.path.clone(), kept.is_path, kept.space.clone())
        };
        match conversion.await {
            Ok(lock) => {
                let grant = self.grant(&path, &lock);
                self.put_back(id, lock);
                Ok(grant)
            }
            Err(Refused { lock, why }) => {
                self.put_back(id, lock);
                let reach = Reach { space, ..self.reach.clone() };
                let wanted = Wanted { path, mode, is_first: true };
                Err(explain(&reach, is_path, &self.session, &wanted, &why).await)
            }
        }
    }

    /// Releases a lock.
    pub(super) async fn deq(&self, ask: Ask) -> Result<(), Failure> {
        let Ask::Deq { id, value, invalidate } = ask else { return Err(nonsense()) };
        self.alive().await?;
        let (id, value) = (of_id(&id)?, of_digits(value)?);
        let lock = self.take_out(id, State::Releasing)?;
        let writes = matches!(lock.mode(), LockMode::Pw | LockMode::Ex);
        if value.is_some() && !writes {
            let cause = format!("a lock in {} stores no value", lock.mode());
            self.put_back(id, lock);
            return Err(Failure::usage(cause, "the value block is stored by a lock in PW or EX"));
        }
        let released = match value {
            Some(value) => lock.release_with(value).await,
            None if invalidate => lock.release_invalidating().await,
            None => lock.release().await,
        };
        match released {
            Ok(()) => {
                let kept = self.inside().kept.remove(&id);
                drop(kept);
                Ok(())
            }
            Err(Refused { lock, why: NotGranted::SessionLost(cause) }) => {
                self.put_back(id, lock);
                Err(lost(cause.to_string()).about(id))
            }
            Err(Refused { lock, why }) => {
                self.put_back(id, lock);
                Err(Failure { cause: format!("{id}: {why}"), ..Failure::status(why.status()) })
            }
        }
    }

    /// Releases a grant that nobody took.
    pub(super) async fn give_back(&self, id: &str) {
        // If it cannot be released it is lost, or will be with its session.
        let _ = self.deq(Ask::Deq { id: id.into(), value: None, invalidate: false }).await;
    }

    /// Withdraws a conversion, or a request that waits.
    pub(super) async fn cancel(&self, id: &str) -> Result<(), Failure> {
        self.alive().await?;
        let id = of_id(id)?;
        {
            let inside = self.inside();
            match inside.kept.get(&id).map(|kept| &kept.state) {
                Some(State::Converting(cancel)) => {
                    cancel.cancel();
                    return Ok(());
                }
                Some(State::Held(_) | State::Releasing) => {
                    let hint = format!("a lock that is granted is released, with enq deq '{id}'");
                    let status = Status::CancelGrant;
                    let cause = status.sentence();
                    return Err(Failure::new(&status.to_string(), cause, hint, exit::SOFTWARE).about(id));
                }
                None => {}
            }
        }
        let none = || Failure::status(Status::NoSuchLock).about(id);
        let seen = ask::within(&self.reach, self.session.show_lock(id)).await.map_err(|_| none())?;
        if seen.session != Some(self.session.id()) || seen.queue != Queue::Waiting {
            return Err(none());
        }
        let inside = self.inside();
        // A path waits at one of its levels, which has a handle of its own.
        let is_it = |waiting: &&Waiting| {
            waiting.handle.get() == Some(&seen.handle)
                || (waiting.is_path && waiting.path.starts_with(&seen.path))
        };
        let waiting = inside.waiting.values().find(is_it).ok_or_else(none)?;
        waiting.cancel.cancel();
        Ok(())
    }
}

impl Kept {
    fn id(&self) -> Option<LockId> {
        match &self.state {
            State::Held(lock) => Some(lock.id()),
            State::Converting(_) | State::Releasing => None,
        }
    }
}

/// One request for a lock, in the client library's words.
struct Request<'a> {
    names: Vec<&'a [u8]>,
    is_path: bool,
    mode: LockMode,
    wait: Wait,
    reason: &'a [u8],
    priority: u8,
    handle: Arc<OnceLock<Handle>>,
    cancel: CancellationToken,
}

impl Request<'_> {
    /// Asks; the value block always comes along.
    async fn ask(self, reach: &Reach, session: &Session) -> Result<Result<Lock, NotGranted>, Failure> {
        let space = match reach.space.as_str() {
            "default" => None,
            name => {
                Some(ask::within(reach, session.space(name)).await.map_err(|failure| failure.about(name))?)
            }
        };
        macro_rules! ask {
            ($request:expr) => {{
                let request = $request.mode(self.mode).reason(self.reason).wait(self.wait).read_value();
                request.priority(self.priority).tell_handle(self.handle).cancel_on(self.cancel).await
            }};
        }
        Ok(match (space, self.is_path) {
            (Some(space), true) => ask!(space.lock_path(self.names)),
            (None, true) => ask!(session.lock_path(self.names)),
            (space, false) => {
                let name = self.names.first().copied().unwrap_or_default();
                match space {
                    Some(space) => ask!(space.lock(name)),
                    None => ask!(session.lock(name)),
                }
            }
        })
    }
}

/// V1: does a conversion from here to there store the caller's value?
fn is_stored(from: LockMode, to: LockMode) -> bool {
    from == LockMode::Ex || (from == LockMode::Pw && to != LockMode::Ex)
}

fn lost(cause: impl std::fmt::Display) -> Failure {
    let hint = "nothing may be done under it any more; begin anew with another session: enq session close, then open";
    Failure::new("LOST", format!("the lock is lost: {cause}"), hint, exit::LOST)
}

/// Only the same program speaks here, so this is seen by nobody.
fn nonsense() -> Failure {
    Failure::system("the session's keeper was asked what it does not understand")
}

fn of_line(wait: line::Wait) -> Wait {
    match wait {
        line::Wait::Forever => Wait::Forever,
        line::Wait::No => Wait::No,
        line::Wait::UpToMs(ms) => Wait::UpTo(Duration::from_millis(ms)),
    }
}

fn of_letters(mode: &str) -> Result<LockMode, Failure> {
    LockMode::from_letters(mode).ok_or_else(nonsense)
}

fn of_id(id: &str) -> Result<LockId, Failure> {
    id.parse().map_err(|_| nonsense())
}

fn of_digits(value: Option<String>) -> Result<Option<Vec<u8>>, Failure> {
    value.map(|digits| line::from_hexadecimal(&digits).ok_or_else(nonsense)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use LockMode::{Cr, Ex, Nl, Pr, Pw};

    #[test]
    fn a_value_is_stored_where_rule_v1_says_so() {
        for to in LockMode::ALL {
            assert!(is_stored(Ex, to), "EX to {to}");
            assert_eq!(is_stored(Pw, to), to != Ex, "PW to {to}");
            assert!(![Nl, Cr, LockMode::Cw, Pr].iter().any(|from| is_stored(*from, to)), "to {to}");
        }
    }
}
