//! The verbs that use a kept session: each asks its keeper one thing, prints the answer, and goes.

use std::{env, ffi::OsStr, io, os::unix::ffi::OsStrExt as _, time::Duration};

use enq_protocol::vocabulary::{LockId, ResourceName, SessionId};
use nix::unistd::Uid;
use serde_json::json;
use tokio::{
    io::BufReader,
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::{
    VARIABLE,
    line::{self, Answer, Ask, Grant, Wait},
};
use crate::admin::{
    args::{self, Convert, Deq, GrantFormat, Lock, Reach},
    ask,
    duration::ms,
    exit::{self, Failure},
    render::{self, hexadecimal},
    run::REASON_LEN_MAX,
};

/// A connection to the keeper of this shell's session.
struct Line {
    input: BufReader<OwnedReadHalf>,
    out: OwnedWriteHalf,
}

impl Line {
    async fn open() -> Result<Line, Failure> {
        let Some(path) = env::var_os(VARIABLE).filter(|path| !path.is_empty()) else {
            let hint = "open one with: eval \"$(enq session open)\"";
            return Err(Failure::usage(format!("no session is open here: {VARIABLE} is not set"), hint));
        };
        let foreign = || {
            let cause = format!("{VARIABLE} leads to the session of another user");
            Failure::usage(cause, "each user opens a session of his own")
        };
        let stream = UnixStream::connect(&path).await.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => foreign(),
            _ => gone(),
        })?;
        let owner = stream.peer_cred().map_err(|error| Failure::system(error.to_string()))?;
        if owner.uid() != Uid::effective().as_raw() {
            return Err(foreign());
        }
        let (input, out) = stream.into_split();
        Ok(Line { input: BufReader::new(input), out })
    }

    async fn ask(&mut self, ask: Ask) -> Result<Answer, Failure> {
        line::say(&mut self.out, ask).await.map_err(|_| gone())?;
        match line::next(&mut self.input).await {
            Ok(Some(said)) => line::of_line::<Answer>(&said)?.into_result(),
            Ok(None) | Err(_) => Err(gone()),
        }
    }

    async fn ask_for_grant(&mut self, ask: Ask) -> Result<Grant, Failure> {
        match self.ask(ask).await? {
            Answer::Granted(grant) => Ok(*grant),
            Answer::Done | Answer::Session(_) | Answer::Failed { .. } => Err(strange()),
        }
    }
}

fn gone() -> Failure {
    let hint = "it ends with the process it was opened for (enq session open --parent PID); open another one";
    Failure::new("LOST", "the session's keeper is not there any more", hint, exit::LOST)
}

fn strange() -> Failure {
    Failure::system("the session's keeper answered another question")
}

/// `enq lock`: waits for a lock.
pub(in crate::admin) async fn lock(reach: &Reach, lock: &Lock) -> Result<(), Failure> {
    take(reach, &lock.ask, wait(lock.no_wait, lock.wait)).await
}

/// `enq try`: a lock at once, or not at all.
pub(in crate::admin) async fn try_now(reach: &Reach, ask: &args::Ask) -> Result<(), Failure> {
    take(reach, ask, Wait::No).await
}

async fn take(reach: &Reach, asked: &args::Ask, wait: Wait) -> Result<(), Failure> {
    let taken = async {
        let path = ask::path(&asked.name, asked.path)?;
        let reason = asked.reason.clone().unwrap_or_default();
        if reason.len() > REASON_LEN_MAX {
            let cause = format!("a reason has at most {REASON_LEN_MAX} bytes");
            return Err(Failure::usage(cause, "say it shorter"));
        }
        let mut line = Line::open().await?;
        let grant = line
            .ask_for_grant(Ask::Lock {
                space: reach.space.clone(),
                path: ResourceName::path_to_printable(&path),
                is_path: asked.path,
                mode: asked.mode().to_string(),
                wait,
                reason,
                priority: asked.deadlock_priority,
            })
            .await?;
        print(asked.format, &grant)?;
        // Without this word the grant is given back. If it does not arrive, the keeper has gone and the lock with it.
        line::say(&mut line.out, Ask::Taken).await.map_err(|_| gone())
    };
    told(asked.format, taken.await)
}

/// `enq convert`: another mode for a lock that is held.
pub(in crate::admin) async fn convert(convert: &Convert) -> Result<(), Failure> {
    let converted = async {
        let mut line = Line::open().await?;
        let grant = line
            .ask_for_grant(Ask::Convert {
                id: convert.id.to_string(),
                mode: convert.mode.to_string(),
                wait: wait(convert.no_wait, convert.wait),
                priority: convert.deadlock_priority,
                value: digits(convert.value.as_deref()),
            })
            .await?;
        print(convert.format, &grant)
    };
    told(convert.format, converted.await)
}

/// `enq deq`: the end of a lock.
pub(in crate::admin) async fn deq(deq: &Deq) -> Result<(), Failure> {
    let id = deq.id.to_string();
    done(Ask::Deq { id, value: digits(deq.value.as_deref()), invalidate: deq.invalidate }).await
}

/// `enq cancel`: the end of a wait.
pub(in crate::admin) async fn cancel(id: LockId) -> Result<(), Failure> {
    done(Ask::Cancel { id: id.to_string() }).await
}

/// `enq session close`: the end of the session.
pub(in crate::admin) async fn close() -> Result<(), Failure> {
    done(Ask::Close).await
}

async fn done(ask: Ask) -> Result<(), Failure> {
    match Line::open().await?.ask(ask).await? {
        Answer::Done => Ok(()),
        Answer::Granted(_) | Answer::Session(_) | Answer::Failed { .. } => Err(strange()),
    }
}

/// This shell's own session, and how its server is reached.
pub(in crate::admin) async fn own(reach: &Reach) -> Result<(Reach, SessionId), Failure> {
    match Line::open().await?.ask(Ask::Show).await? {
        Answer::Session(about) => {
            let id = about.id.parse().map_err(|_| strange())?;
            Ok((Reach { servers: vec![about.server], ..reach.clone() }, id))
        }
        Answer::Granted(_) | Answer::Done | Answer::Failed { .. } => Err(strange()),
    }
}

fn wait(no_wait: bool, wait: Option<Duration>) -> Wait {
    match wait {
        _ if no_wait => Wait::No,
        Some(wait) => Wait::UpToMs(ms(wait)),
        None => Wait::Forever,
    }
}

fn digits(value: Option<&OsStr>) -> Option<String> {
    value.map(|value| hexadecimal(value.as_bytes()))
}

fn print(format: GrantFormat, grant: &Grant) -> Result<(), Failure> {
    match format {
        GrantFormat::Line => render::print(&format!("{} {}\n", grant.id, grant.fence)),
        GrantFormat::Name => render::print(&format!("{}\n", grant.id)),
        GrantFormat::Json => render::object("lock", &json!(grant)),
        GrantFormat::Shell => render::print(&shell(grant)),
    }
}

/// The variables of a grant: those that `enq run` sets, and the value block.
const VARIABLES: [&str; 8] = [
    "ENQ_LOCK_NAME",
    "ENQ_LOCK_MODE",
    "ENQ_LOCK_ID",
    "ENQ_FENCE",
    "ENQ_SEQ",
    "ENQ_SESSION_ID",
    "ENQ_VALUE",
    "ENQ_VALUE_VALID",
];

/// What a shell evaluates to know the grant.
fn shell(grant: &Grant) -> String {
    let (value, is_valid) = match &grant.value {
        Some(value) => (value.text.as_str(), if value.valid { "yes" } else { "no" }),
        None => ("", ""),
    };
    let values =
        [&grant.resource, &grant.mode, &grant.id, &grant.fence, &grant.seq, &grant.session, value, is_valid];
    let lines = VARIABLES.iter().zip(values).map(|(name, value)| format!("{name}={}\n", quoted(value)));
    lines.chain([format!("export {}\n", VARIABLES.join(" "))]).collect()
}

/// A shell that evaluates what is printed hears of a failure too, and keeps no values of an earlier grant.
fn told(format: GrantFormat, done: Result<(), Failure>) -> Result<(), Failure> {
    if let (GrantFormat::Shell, Err(failure)) = (format, &done) {
        render::print(&format!("unset {}; (exit {})\n", VARIABLES.join(" "), failure.exit))?;
    }
    done
}

/// A word that a shell takes as it is.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_evaluates_is_data() {
        let grant = Grant {
            id: "#1f".into(),
            resource: "it's; rm -rf $HOME".into(),
            mode: "EX".into(),
            seq: "9".into(),
            fence: "7".into(),
            session: "3.17".into(),
            waited: false,
            value: None,
        };
        let text = shell(&grant);
        assert!(text.starts_with("ENQ_LOCK_NAME='it'\\''s; rm -rf $HOME'\n"), "{text}");
        assert!(
            text.contains("\nENQ_FENCE='7'\n") && text.ends_with("ENQ_VALUE ENQ_VALUE_VALID\n"),
            "{text}"
        );
    }
}
