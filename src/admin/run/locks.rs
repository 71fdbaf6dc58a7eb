//! The locks of `enq run`: asked for in one order, held by one session that ends with its connection.
//!
//! Several locks are taken in the order of their names, so that two runs with the same names never wait for each other in
//! a circle. A name that is there twice is refused: nothing is re-entrant.

use std::{
    cell::Cell,
    ffi::OsStr,
    future::{Future, poll_fn},
    os::unix::ffi::OsStrExt as _,
    pin::Pin,
    task::Poll,
    time::Duration,
};

use enq_protocol::vocabulary::{LockMode, ResourceName};

use super::{refusal, report::Grant};
use crate::{
    admin::{
        args::{Reach, Run},
        ask,
        duration::{ms, show_ms},
        exit::Failure,
        render::printable,
        words,
    },
    client::{self, Lock, LockLost, LockState, Lockspace, Moment, NotGranted, Session, Wait},
};

/// The longest reason.
pub(in crate::admin) const REASON_LEN_MAX: usize = 256;

/// The longest time between TERM and KILL that is chosen unless something is said.
const KILL_AFTER_DEFAULT_MAX: Duration = Duration::from_secs(10);

/// From TERM to KILL.
pub(super) fn kill_after(run: &Run) -> Duration {
    run.kill_after.unwrap_or_else(|| (run.ttl / 3).min(KILL_AFTER_DEFAULT_MAX))
}

/// What can be refused before a server is asked.
pub(super) fn check(run: &Run) -> Result<(), Failure> {
    let wanted = wanted(run)?;
    if let Some([first, _]) = wanted.array_windows().find(|[first, second]| first.path == second.path) {
        let name = words::name(&first.path);
        return Err(Failure::usage(
            format!("{name} is named twice"),
            "one lock a name: ask for the stronger mode",
        ));
    }
    if run.reason.as_ref().is_some_and(|reason| reason.len() > REASON_LEN_MAX) {
        return Err(Failure::usage(format!("a reason has at most {REASON_LEN_MAX} bytes"), "say it shorter"));
    }
    if kill_after(run) > run.ttl / 2 {
        return Err(Failure::usage(
            format!("--kill-after {} is more than half of the lease", show_ms(ms(kill_after(run)))),
            format!("the lease is {}: ask for a longer one with --ttl", show_ms(ms(run.ttl))),
        ));
    }
    Ok(())
}

/// One lock that is asked for.
pub(in crate::admin) struct Wanted {
    pub(in crate::admin) path: Vec<ResourceName>,
    pub(in crate::admin) mode: LockMode,
    /// Is it the one that the others come along with?
    pub(in crate::admin) is_first: bool,
}

/// What is asked for, in the order in which it is.
fn wanted(run: &Run) -> Result<Vec<Wanted>, Failure> {
    let others = run.also.iter().map(|also| (&also.name, also.mode, false));
    let mut wanted = Vec::new();
    for (name, mode, is_first) in others.chain([(&run.name, run.mode(), true)]) {
        wanted.push(Wanted { path: ask::path(name, run.path)?, mode, is_first });
    }
    wanted.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(wanted)
}

/// The locks that are held, and the session that holds them.
pub(super) struct Held {
    session: Session,
    /// The lock of NAME first.
    locks: Vec<Lock>,
    name: String,
    /// The last deadline that was known: a lost session has none any more, and what runs must be dead by then.
    last: Cell<Moment>,
}

/// Opens a session and takes the locks.
pub(super) async fn take(reach: &Reach, run: &Run) -> Result<Held, Failure> {
    let wanted = wanted(run)?;
    let session = open(reach, run).await?;
    let space = match reach.space.as_str() {
        "default" => None,
        name => Some(ask::within(reach, session.space(name)).await.map_err(|failure| failure.about(name))?),
    };
    let until = run.wait.map(|wait| client::now().plus(wait));
    let mut locks = Vec::new();
    for wanted in &wanted {
        let wait = match until {
            _ if run.no_wait => Wait::No,
            Some(until) => Wait::UpTo(until.since(client::now())),
            None => Wait::Forever,
        };
        match request(reach, run, &session, space.as_ref(), wanted, wait).await {
            Ok(lock) if wanted.is_first => locks.insert(0, lock),
            Ok(lock) => locks.push(lock),
            Err(why) => return Err(refusal::explain_to(run, reach, &session, wanted, &why).await),
        }
    }
    let name = wanted.iter().find(|wanted| wanted.is_first).map(|wanted| words::name(&wanted.path));
    Ok(Held { session, locks, name: name.unwrap_or_default(), last: Cell::default() })
}

/// Opens the session: it calls itself after the user, and ends with its connection.
async fn open(reach: &Reach, run: &Run) -> Result<Session, Failure> {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.name);
    let program = run.command.first().map(|program| printable(program.as_bytes())).unwrap_or_default();
    let purpose: String = format!("enq run {program}").chars().take(100).collect();
    let opening = Session::builder(user.unwrap_or_else(|| String::from("enq run")))
        .purpose(purpose)
        .ttl(run.ttl)
        .bind_connection(true)
        .connect_within(reach.timeout)
        .connect(&reach.servers);
    ask::connected(reach, opening).await.map_err(|failure| match failure.code.as_str() {
        "LIMIT" => failure.about(format!("a lease of {}", show_ms(ms(run.ttl)))),
        _ => failure,
    })
}

async fn request(
    reach: &Reach,
    run: &Run,
    session: &Session,
    space: Option<&Lockspace>,
    wanted: &Wanted,
    wait: Wait,
) -> Result<Lock, NotGranted> {
    let reason = run.reason.as_deref().unwrap_or_default();
    let path = wanted.path.iter().map(ResourceName::as_bytes);
    let mut asking: Pin<Box<dyn Future<Output = Result<Lock, NotGranted>> + Send>> = if run.path {
        let request = match space {
            Some(space) => space.lock_path(path),
            None => session.lock_path(path),
        };
        request.mode(wanted.mode).reason(reason).wait(wait).priority(run.deadlock_priority).into_future()
    } else {
        let name = wanted.path.first().map_or(&b""[..], ResourceName::as_bytes);
        let request = match space {
            Some(space) => space.lock(name),
            None => session.lock(name),
        };
        request.mode(wanted.mode).reason(reason).wait(wait).priority(run.deadlock_priority).into_future()
    };
    tokio::select! {
        biased;
        granted = &mut asking => return granted,
        () = refusal::say_for_whom(reach, run, session, wanted) => {}
    }
    asking.await
}

impl Held {
    /// The lease that the server gave.
    pub(super) fn ttl(&self) -> Duration {
        self.session.ttl()
    }

    /// When the lease ends unless it is renewed; when it would have ended, once it is lost.
    pub(super) fn deadline(&self) -> Moment {
        let deadline = self.locks.iter().map(Lock::deadline).max().unwrap_or_default();
        if deadline > Moment::default() {
            self.last.set(deadline);
        }
        self.last.get()
    }

    /// Returns when one of the locks is lost, with the cause.
    pub(super) async fn lost(&self) -> String {
        let mut losses: Vec<Pin<Box<dyn Future<Output = LockLost> + '_>>> =
            self.locks.iter().map(|lock| Box::pin(loss_of(lock)) as _).collect();
        let first = poll_fn(|context| {
            let found = losses.iter_mut().find_map(|loss| match loss.as_mut().poll(context) {
                Poll::Ready(loss) => Some(loss),
                Poll::Pending => None,
            });
            found.map_or(Poll::Pending, Poll::Ready)
        });
        first.await.to_string()
    }

    /// Why one of the locks is lost, if it is.
    pub(super) fn is_lost(&self) -> Option<String> {
        self.locks.iter().find_map(Lock::loss).map(|loss| loss.to_string())
    }

    /// The grant of NAME.
    pub(super) fn grant(&self) -> Grant {
        let first = self.locks.first();
        Grant {
            name: self.name.clone(),
            mode: first.map(|lock| lock.mode().to_string()).unwrap_or_default(),
            id: first.map(|lock| lock.id().to_string()).unwrap_or_default(),
            seq: first.map(|lock| lock.seq().to_string()).unwrap_or_default(),
            fence: first.map(|lock| lock.fence().to_string()).unwrap_or_default(),
            session: self.session.id().to_string(),
        }
    }

    /// Ends the session in order, which releases all of it.
    pub(super) async fn release(self) {
        // A server that cannot be told sees the connection close.
        let _ = self.session.clone().close().await;
    }
}

async fn loss_of(lock: &Lock) -> LockLost {
    loop {
        let state = lock.state();
        if state == LockState::Lost {
            return lock.loss().unwrap_or(LockLost::LeaseEnding);
        }
        lock.state_after(state).await;
    }
}

/// The name as a shell takes it back.
pub(super) fn quoted(name: &OsStr) -> String {
    let text = printable(name.as_bytes());
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::admin::args::{Enq, Verb};

    fn run(words: &[&str]) -> Box<Run> {
        let all = ["enq", "run"].iter().chain(words).chain(&["--", "true"]);
        match Enq::try_parse_from(all).map(|enq| enq.verb) {
            Ok(Verb::Run(run)) => run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn locks_are_taken_in_the_order_of_their_names_whatever_the_order_of_the_arguments() {
        let wanted = wanted(&run(&["m", "--also", "z:PR", "--also", "a:CR"])).unwrap();
        let names: Vec<_> =
            wanted.iter().map(|wanted| ResourceName::path_to_printable(&wanted.path)).collect();
        assert_eq!(names, ["a", "m", "z"]);
        assert_eq!(wanted.iter().map(|wanted| wanted.is_first).collect::<Vec<_>>(), [false, true, false]);
    }

    #[test]
    fn what_cannot_work_is_refused_before_anything_starts() {
        assert!(check(&run(&["m", "--also", "m:PR"])).is_err(), "a lock waits for itself");
        assert!(
            check(&run(&["m", "--ttl", "4s", "--kill-after", "3s"])).is_err(),
            "TERM comes before each renewal"
        );
        assert!(check(&run(&["m", "--ttl", "4s", "--kill-after", "2s"])).is_ok());
        assert!(check(&run(&["", "--ttl", "4s"])).is_err(), "a name has a byte");
        assert!(check(&run(&["a//b", "--path"])).is_err(), "each name of a path has a byte");
        assert!(check(&run(&["a//b"])).is_ok(), "a name is a name, byte for byte");
    }

    #[test]
    fn names_in_hints_can_be_pasted() {
        assert_eq!(quoted(OsStr::new("db/orders")), "db/orders");
        assert_eq!(quoted(OsStr::new("it's $HOME")), "'it'\\''s $HOME'");
    }
}
