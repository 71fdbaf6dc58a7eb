//! `enq`, the command: one file a verb, on the client library alone.
//!
//! `args` says what can be asked, and help, completions and man pages follow from it; `render` and `words` say how
//! answers look; `exit` how it ends. A verb looks, prints and goes: nothing is kept between two runs, and nothing is
//! retried behind the user's back. `run` is the one verb that stays, and has a room of its own; so have the verbs that
//! use a session which a process in the background keeps, `kept`. `bench` drives servers with the room next door, `load`.
//! `journal` works on a server's files, without a server.

pub mod args;
mod ask;
mod bench;
mod blockers;
mod chain;
mod check_token;
mod completion;
mod date;
mod deadlocks;
mod duration;
pub mod exit;
mod force_release;
mod graph;
mod history;
mod journal;
mod kept;
mod ls;
pub mod man;
mod modes;
mod orphans;
mod ping;
mod render;
mod run;
mod sda;
mod session;
mod show;
mod space;
mod stats;
mod tree;
mod version;
mod why;
mod words;

use std::{env, ffi::OsString, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _, error::ErrorKind, parser::ValueSource};

use self::{
    args::{Enq, Reach, Verb},
    exit::Failure,
};

/// The whole command: arguments to exit code.
#[must_use]
pub fn main() -> ExitCode {
    let words: Vec<OsString> = env::args_os().collect();
    if let [_, word, inner @ ..] = words.as_slice()
        && word == run::INNER
    {
        return match inner {
            [step] if step == kept::STEP => kept::keep(),
            [step] if step == bench::FLOOR => bench::floor(),
            _ => run::inner(inner),
        };
    }
    let done = match parse(words) {
        Ok(Enq { verb: Verb::Run(run), .. }) => return run::run(&run).into(),
        Ok(Enq { reach, verb }) => carry_out(&reach, &verb),
        Err(error) => misunderstood(&error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            failure.exit.into()
        }
    }
}

/// What the words say, and whether they or the environment say where the server is.
fn parse(words: Vec<OsString>) -> Result<Enq, clap::Error> {
    let matches = Enq::command().try_get_matches_from(words)?;
    let mut asked = Enq::from_arg_matches(&matches)?;
    asked.reach.is_named = matches.value_source("servers") != Some(ValueSource::DefaultValue);
    Ok(asked)
}

/// The verbs that ask, print and go.
fn carry_out(reach: &Reach, verb: &Verb) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::system(error.to_string()))?;
    runtime.block_on(async {
        match verb {
            Verb::Run(_) => Ok(()),
            Verb::Lock(lock) => kept::lock(reach, lock).await,
            Verb::Try(ask) => kept::try_now(reach, ask).await,
            Verb::Convert(convert) => kept::convert(convert).await,
            Verb::Deq(deq) => kept::deq(deq).await,
            Verb::Cancel(cancel) => kept::cancel(cancel.id).await,
            Verb::Ls(ls) => ls::ls(reach, ls).await,
            Verb::Show(show) => show::show(reach, show).await,
            Verb::Tree(tree) => tree::tree(reach, tree).await,
            Verb::Blockers(blockers) => blockers::blockers(reach, blockers).await,
            Verb::Graph(graph) => graph::graph(reach, graph).await,
            Verb::Why(why) => why::why(reach, why).await,
            Verb::Space(space) => space::space(reach, &space.verb).await,
            Verb::Session(session) => session::session(reach, &session.verb).await,
            Verb::Deadlocks(deadlocks) => deadlocks::deadlocks(reach, &deadlocks.verb).await,
            Verb::History(asked) => history::history(reach, asked).await,
            Verb::Orphans(orphans) => orphans::orphans(reach, &orphans.verb).await,
            Verb::ForceRelease(release) => force_release::force_release(reach, release).await,
            Verb::CheckToken(check) => check_token::check_token(reach, check).await,
            Verb::Snapshot(snapshot) => journal::snapshot(&snapshot.verb).await,
            Verb::Journal(asked) => journal::journal(&asked.verb).await,
            Verb::Ping(output) => ping::ping(reach, output.format).await,
            Verb::Stats(output) => stats::stats(reach, output.format).await,
            Verb::Bench(asked) => bench::bench(reach, asked).await,
            Verb::Modes(output) => modes::modes(output.format),
            Verb::Version(output) => version::version(output.format),
            Verb::Completion(completion) => completion::completion(completion.shell),
        }
    })
}

/// Arguments that are none: help and version are no failures, the rest is said in our own shape.
fn misunderstood(error: &clap::Error) -> Result<(), Failure> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader that has gone wants no help.
            let _ = error.print();
            Ok(())
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            Err(Failure::usage("a verb is missing", "enq --help"))
        }
        _ => {
            let text = error.to_string();
            let (cause, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
            let cause = cause.strip_prefix("error: ").unwrap_or(cause);
            let cause = cause.split_whitespace().collect::<Vec<_>>().join(" ");
            let hint = rest
                .lines()
                .map(str::trim)
                .find(|line| line.starts_with("tip:") || line.starts_with("Usage:"));
            Err(Failure::usage(cause, hint.unwrap_or("enq --help")))
        }
    }
}
