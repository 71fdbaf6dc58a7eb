//! `enq session open`: starts a keeper, waits until it has its session, and prints the way to it.
//!
//! A shell that evaluates what is printed gets the exit code of a failure too, and no session instead of an outer one.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use nix::unistd::{Pid, User, getuid};
use serde_json::json;

use super::{
    STEP, VARIABLE,
    keeper::Opening,
    line::{self, About, Answer},
    verbs::quoted,
};
use crate::admin::{
    args::{Open, OpenFormat, Reach},
    duration::ms,
    exit::Failure,
    render,
    run::{INNER, own_program},
};

/// Opens a session and prints where it is.
pub(in crate::admin) fn open(reach: &Reach, open: &Open) -> Result<(), Failure> {
    let opened = opening(reach, open).and_then(|opening| start(&opening));
    match (&opened, open.format) {
        (Ok(about), OpenFormat::Shell) => {
            render::print(&format!("{VARIABLE}={}; export {VARIABLE};\n", quoted(&about.socket)))
        }
        (Ok(about), OpenFormat::Name) => render::print(&format!("{}\n", about.socket)),
        (Ok(about), OpenFormat::Json) => render::object("session", &json!(about)),
        (Err(failure), OpenFormat::Shell) => {
            render::print(&format!("unset {VARIABLE}; (exit {});\n", failure.exit))?;
            Err(failure.clone())
        }
        (Err(failure), OpenFormat::Json | OpenFormat::Name) => Err(failure.clone()),
    }
}

fn opening(reach: &Reach, open: &Open) -> Result<Opening, Failure> {
    let parent = match open.parent {
        Some(0) => None,
        Some(pid) => Some(i32::try_from(pid).map_err(|_| Failure::usage("no process has that number", ""))?),
        None => Some(Pid::parent().as_raw()),
    };
    if parent.is_none() && open.on_lost.is_some() {
        return Err(Failure::usage("--on-lost needs a process to send the signal to", "--parent $$"));
    }
    let user = User::from_uid(getuid()).ok().flatten().map(|user| user.name);
    let name = open.name.clone().or(user).unwrap_or_else(|| String::from("enq session"));
    let purpose = open.purpose.clone().unwrap_or_else(|| match parent {
        Some(pid) => format!("enq session of process {pid}"),
        None => String::from("enq session"),
    });
    Ok(Opening {
        servers: reach.servers.clone(),
        timeout_ms: ms(reach.timeout),
        name,
        purpose,
        ttl_ms: ms(open.ttl),
        parent,
        on_lost: open.on_lost,
    })
}

/// Starts a keeper and waits for its word.
fn start(opening: &Opening) -> Result<About, Failure> {
    let system =
        |error: std::io::Error| Failure::system(format!("cannot start the session's keeper: {error}"));
    let told = serde_json::to_vec(opening).map_err(|error| system(error.into()))?;
    let mut command = Command::new(own_program());
    command.arg0("enq-session").args([INNER, STEP]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut keeper = command.spawn().map_err(system)?;
    if let Some(mut into) = keeper.stdin.take() {
        into.write_all(&told).map_err(system)?;
    }
    let mut said = Vec::new();
    if let Some(out) = keeper.stdout.take() {
        BufReader::new(out).read_until(b'\n', &mut said).map_err(system)?;
    }
    if said.is_empty() {
        return Err(Failure::system("the session's keeper ended without a word"));
    }
    match line::of_line::<Answer>(&said)?.into_result()? {
        // The keeper lives on; this process is not the one to wait for it.
        Answer::Session(about) => Ok(about),
        Answer::Granted(_) | Answer::Done | Answer::Failed { .. } => {
            Err(Failure::system("the session's keeper said something else"))
        }
    }
}
