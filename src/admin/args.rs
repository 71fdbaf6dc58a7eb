//! The arguments of `enq`: help, completions and man pages are made from these definitions.
//!
//! Nothing here acts. What is said here is what a user reads, so each sentence is written for him; a verb that is not
//! there is not named.

mod bench;
mod deadlocks;
mod graph;
mod history;
mod journal;
mod orphans;
mod run;
mod script;
mod why;

use std::{ffi::OsString, time::Duration};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use enq_protocol::vocabulary::{LockId, LockMode, SessionId};

use super::duration;

pub use bench::{Bench, Peer, PeerKind};
pub use deadlocks::{Deadlocks, DeadlocksVerb};
pub use graph::Graph;
pub use history::History;
pub use journal::{Journal, JournalVerb, Snapshot, SnapshotVerb};
pub use orphans::{Orphans, OrphansVerb};
pub use run::{Also, Run};
pub use script::{Ask, Cancel, CheckToken, Convert, Deq, GrantFormat, Lock, Open, OpenFormat};
pub use why::{Why, WhyOf};

/// Where a server is looked for when nothing says otherwise.
pub const SERVER_DEFAULT: &str = "127.0.0.1:21065";

/// `enq`, the command.
#[derive(Debug, Parser)]
#[command(
    name = "enq",
    version,
    about = "Locks in the OpenVMS tradition, for the network",
    long_about = "Runs commands under a lock, and shows who holds what and who waits for whom. Concepts - modes, \
                  queues, value blocks, leases, fences - are explained in enq(7).",
    after_help = EXIT_CODES,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Enq {
    /// Where the servers are.
    #[command(flatten)]
    pub reach: Reach,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The exit codes of every verb, as help and man pages print them.
pub const EXIT_CODES: &str = "\
Exit codes: 0 done (run: the command's own); 64 bad arguments; 65 a journal or a backup is damaged, or is none; 69 no server \
reachable; 70 the server refused it; 74 a file cannot be read or written; 75 not granted: conflict or timeout (or -E); 76 the lock was lost, or the token is not live; 77 denied or over quota; \
78 bad configuration; 79 deadlock victim; 126, 127 the command cannot be executed, was not found; 128+n it died of \
signal n.";

/// Options of every verb.
#[derive(Args, Clone, Debug)]
pub struct Reach {
    /// A server, HOST:PORT; may be given several times, the first that answers serves
    #[arg(
        long = "server",
        value_name = "ADDR",
        global = true,
        env = "ENQ_SERVERS",
        value_delimiter = ',',
        default_value = SERVER_DEFAULT,
        hide_env_values = true
    )]
    pub servers: Vec<String>,
    /// Did anybody say where, or is it the default?
    #[arg(skip)]
    pub is_named: bool,
    /// The lockspace in which names are looked up
    #[arg(
        long,
        value_name = "NAME",
        global = true,
        env = "ENQ_SPACE",
        default_value = "default",
        hide_env_values = true
    )]
    pub space: String,
    /// How long to wait for a server to answer
    #[arg(long, value_name = "DUR", global = true, value_parser = duration::parse, default_value = "5s")]
    pub timeout: Duration,
}

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people.
    Table,
    /// A table with every column.
    Wide,
    /// JSON with stable keys and a version; ids and tokens are strings.
    Json,
    /// Only the names or ids, one a line.
    Name,
}

/// The option of verbs that print data.
#[derive(Args, Clone, Copy, Debug)]
pub struct Output {
    /// How data is printed
    #[arg(short = 'o', long = "output", value_enum, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run a command while holding a lock
    #[command(long_about = run::ABOUT)]
    Run(Box<Run>),
    /// Take a lock in the session that this shell has open, and wait for it
    #[command(long_about = script::LOCK_ABOUT)]
    Lock(Lock),
    /// Take a lock in the session that this shell has open, if it is granted at once
    Try(Ask),
    /// Change the mode of a lock without letting it go
    Convert(Convert),
    /// Release a lock
    Deq(Deq),
    /// Withdraw a request, or a conversion, that waits in another process of this session
    Cancel(Cancel),
    /// List locks
    Ls(Ls),
    /// Show one resource: its queues, its value block, who holds it and who waits
    Show(Show),
    /// Show a resource and what is below it, indented, with modes
    Tree(Tree),
    /// Show who waits for whom, and why
    Blockers(Blockers),
    /// Say why a lock or a session waits, down to the root, and what its end would bring
    #[command(long_about = why::ABOUT)]
    Why(Why),
    /// Draw who waits for whom
    #[command(long_about = graph::ABOUT)]
    Graph(Graph),
    /// Create, list, show, change and remove lockspaces
    Space(Space),
    /// Open and close a session for scripts; list, show and end sessions
    Session(SessionVerb),
    /// List and show the deadlocks that were found, and search for them now
    #[command(long_about = deadlocks::ABOUT)]
    Deadlocks(Deadlocks),
    /// Show what happened to a resource, or to the locks of a session
    #[command(long_about = history::ABOUT)]
    History(History),
    /// List and purge locks that have outlived their sessions
    #[command(long_about = orphans::ABOUT)]
    Orphans(Orphans),
    /// Take a granted lock away from its holder
    ForceRelease(ForceRelease),
    /// Ask whether the grant with this seq is live: exit code 0 if it is, 76 if not
    CheckToken(CheckToken),
    /// Save, verify and restore backups of a server's journal, without a server
    #[command(long_about = journal::SNAPSHOT_ABOUT)]
    Snapshot(Snapshot),
    /// Look into a server's journal, without a server
    #[command(long_about = journal::JOURNAL_ABOUT)]
    Journal(Journal),
    /// Ask each server whether it answers, and how fast
    Ping(Output),
    /// Print the server's counters, by the names of MONITOR LOCK
    Stats(Output),
    /// Drive a server with load: how fast, at what cost, beside a do-nothing echo and a peer
    #[command(long_about = bench::ABOUT)]
    Bench(Box<Bench>),
    /// Print the lock modes and which of them go together
    Modes(Output),
    /// Print the version of this command
    Version(Output),
    /// Print a completion script for a shell
    Completion(Completion),
}

/// The mode that these options ask for.
fn mode_of(mode: Option<LockMode>, is_shared: bool) -> LockMode {
    mode.unwrap_or(if is_shared { LockMode::Pr } else { LockMode::Ex })
}

/// `enq ls`.
#[derive(Args, Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "one field a flag of the command line")]
pub struct Ls {
    /// Only resources whose root name starts with this
    pub prefix: Option<OsString>,
    /// Only granted locks
    #[arg(long, conflicts_with_all = ["converting", "waiting"])]
    pub granted: bool,
    /// Only locks that convert
    #[arg(long, conflicts_with = "waiting")]
    pub converting: bool,
    /// Only locks that wait
    #[arg(long)]
    pub waiting: bool,
    /// Only locks whose session has ended
    #[arg(long)]
    pub orphan: bool,
    /// Only locks that have been where they are for at least this long
    #[arg(long, value_name = "DUR", value_parser = duration::parse)]
    pub older_than: Option<Duration>,
    /// How it is printed.
    #[command(flatten)]
    pub output: Output,
}

/// `enq show`.
#[derive(Args, Clone, Debug)]
pub struct Show {
    /// The resource
    pub name: OsString,
    /// The name is a path: a/b/c is c below b below a
    #[arg(long)]
    pub path: bool,
    /// How it is printed.
    #[command(flatten)]
    pub output: Output,
}

/// `enq tree`.
#[derive(Args, Clone, Debug)]
pub struct Tree {
    /// The root resource
    pub name: OsString,
    /// How it is printed.
    #[command(flatten)]
    pub output: Output,
}

/// `enq blockers`.
#[derive(Args, Clone, Debug)]
pub struct Blockers {
    /// Only this resource [default: every resource on which somebody waits]
    pub name: Option<OsString>,
    /// The name is a path: a/b/c is c below b below a
    #[arg(long, requires = "name")]
    pub path: bool,
    /// Show the whole lockspace as trees: on top whoever waits for nobody, below him those who wait for him
    #[arg(long, conflicts_with_all = ["name", "roots"])]
    pub tree: bool,
    /// Show only those who wait for nobody and whom all others wait for
    #[arg(long, conflicts_with = "name")]
    pub roots: bool,
    /// Look at most at so many locks that wait
    #[arg(long, value_name = "N", default_value = "100")]
    pub limit: usize,
    /// How it is printed.
    #[command(flatten)]
    pub output: Output,
}

/// `enq space`.
#[derive(Args, Clone, Debug)]
pub struct Space {
    /// What to do with lockspaces.
    #[command(subcommand)]
    pub verb: SpaceVerb,
}

/// What to do with lockspaces.
#[derive(Clone, Debug, Subcommand)]
pub enum SpaceVerb {
    /// Create a lockspace; it is no error if it exists with this policy
    Create {
        /// Its name
        name: OsString,
        /// Refuse if it exists
        #[arg(long)]
        exclusive: bool,
        /// What differs from the default policy
        #[command(flatten)]
        policy: PolicyArgs,
        /// How it is printed
        #[command(flatten)]
        output: Output,
    },
    /// List the lockspaces
    Ls(Output),
    /// Show a lockspace and its policy
    Show {
        /// Its name
        name: OsString,
        /// How it is printed
        #[command(flatten)]
        output: Output,
    },
    /// Change the policy of a lockspace; what is not named stays as it is
    Set {
        /// Its name
        name: OsString,
        /// What changes
        #[command(flatten)]
        policy: PolicyArgs,
        /// How it is printed
        #[command(flatten)]
        output: Output,
    },
    /// Remove a lockspace that has no locks
    Remove {
        /// Its name
        name: OsString,
        /// Release the locks that are in it
        #[arg(long)]
        force: bool,
    },
}

/// The policy of a lockspace, as far as it is named.
#[derive(Args, Clone, Debug)]
pub struct PolicyArgs {
    /// The longest value block, 0 to 1024 bytes
    #[arg(long, value_name = "BYTES")]
    pub value_len: Option<u16>,
    /// Conversions queue behind conversions
    #[arg(long, value_name = "BOOL", action = ArgAction::Set)]
    pub fair: Option<bool>,
    /// When a conversion deadlock is refused: at once, or by the search as on VMS
    #[arg(long, value_name = "WHEN", value_enum)]
    pub conversion_deadlock: Option<WhenRefused>,
    /// How long a request waits before a deadlock search starts for it, 10ms to 1h; 0 for never
    #[arg(long, value_name = "DUR", value_parser = duration::parse)]
    pub deadlock_wait: Option<Duration>,
    /// The longest time a request may wait; 0 for no limit
    #[arg(long, value_name = "DUR", value_parser = duration::parse)]
    pub wait_max: Option<Duration>,
    /// The modes that may be asked for
    #[arg(long, value_name = "MODE,..", value_delimiter = ',', value_parser = mode)]
    pub modes: Option<Vec<LockMode>>,
    /// Refuse requests that give no reason
    #[arg(long, value_name = "BOOL", action = ArgAction::Set)]
    pub reason_required: Option<bool>,
    /// How long the locks of a session that died go on blocking, at most 60s; 0 for not at all
    #[arg(long, value_name = "DUR", value_parser = duration::parse)]
    pub lock_delay: Option<Duration>,
    /// Which request of a deadlock is refused, after the lowest deadlock priority
    #[arg(long, value_name = "WHO", value_enum)]
    pub deadlock_victim: Option<Victim>,
}

/// Which request of a deadlock is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Victim {
    /// The one that began to wait last.
    Youngest,
    /// That of the session with the fewest locks.
    FewestLocks,
    /// None: the deadlock is recorded and stays.
    ReportOnly,
}

/// When a conversion deadlock is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WhenRefused {
    /// At once, when the second conversion arrives.
    Immediate,
    /// By the deadlock search.
    Timed,
}

/// `enq session`.
#[derive(Args, Clone, Debug)]
pub struct SessionVerb {
    /// What to do with sessions.
    #[command(subcommand)]
    pub verb: SessionAct,
}

/// What to do with sessions.
#[derive(Clone, Debug, Subcommand)]
pub enum SessionAct {
    /// Open a session that a process in the background keeps for this shell
    #[command(long_about = script::OPEN_ABOUT)]
    Open(Open),
    /// Close the session that this shell has open; its locks are released
    Close,
    /// List the sessions
    Ls(Output),
    /// Show a session and its locks
    Show {
        /// Its id, as `enq session ls` prints it [default: the session that this shell has open]
        #[arg(value_parser = session_id)]
        id: Option<SessionId>,
        /// How it is printed
        #[command(flatten)]
        output: Output,
    },
    /// End a session as if its lease had run out; its locks are released
    Expire {
        /// Its id, as `enq session ls` prints it
        #[arg(value_parser = session_id)]
        id: SessionId,
        /// Why, for the server's log
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

/// `enq force-release`.
#[derive(Args, Clone, Debug)]
pub struct ForceRelease {
    /// The lock's id, as `enq ls` prints it
    #[arg(value_parser = lock_id)]
    pub id: LockId,
    /// The seq of its grant, as `enq show` prints it: if it has changed since, nothing is done
    #[arg(long, value_name = "N")]
    pub token: u64,
    /// Why, for the server's log and the holder
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// `enq completion`.
#[derive(Args, Clone, Debug)]
pub struct Completion {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// A shell with completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash(1)
    Bash,
    /// zsh(1)
    Zsh,
    /// fish(1)
    Fish,
}

fn mode(text: &str) -> Result<LockMode, String> {
    LockMode::from_letters(text).ok_or_else(|| String::from("a mode is one of NL CR CW PR PW EX"))
}

fn lock_id(text: &str) -> Result<LockId, String> {
    text.parse().map_err(|_| String::from("a lock id is hexadecimal digits, such as #1f00000002"))
}

fn session_id(text: &str) -> Result<SessionId, String> {
    text.parse().map_err(|_| String::from("a session id is two numbers with a dot between, such as 3.17"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Enq::command().debug_assert();
    }
}
