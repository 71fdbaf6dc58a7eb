//! The arguments of `enq snapshot` and `enq journal`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Output;

pub(super) const SNAPSHOT_ABOUT: &str = "\
Saves what the journal of a server stands for as a backup in one file, verifies a backup or a journal, and makes a new journal of \
a backup. These verbs work on files, without a server; the journal that is saved or verified may be in use.

A backup has everything that a server gives back after a restart: sessions, locks, queues, value blocks, lockspaces. It has the \
secrets of sessions, too: whoever reads it can take them over.";

pub(super) const JOURNAL_ABOUT: &str = "\
Shows what the directory of a journal has: its files, or its records one by one. These verbs only read, and work on files without \
a server; the journal may be in use.";

/// `enq snapshot`.
#[derive(Args, Clone, Debug)]
pub struct Snapshot {
    /// What to do.
    #[command(subcommand)]
    pub verb: SnapshotVerb,
}

/// What to do with backups.
#[derive(Clone, Debug, Subcommand)]
pub enum SnapshotVerb {
    /// Save the state of a journal as a backup in one file
    #[command(long_about = "\
Reads the journal in DIR, makes its state in memory as a start of the server would, checks it, and writes it to FILE, which is \
replaced as a whole. Nothing in DIR is changed, and a server that uses it is not disturbed: the backup is of what was \
durable when DIR was read. It takes as much memory as the server does.")]
    Save {
        /// The directory of the journal, as the server's --data-dir names it
        dir: PathBuf,
        /// The backup that is written; not in DIR
        file: PathBuf,
        /// How it is printed
        #[command(flatten)]
        output: Output,
    },
    /// Read a backup, or the directory of a journal, to the last byte, and check the state that comes out
    #[command(long_about = "\
Reads a backup, or all files of the directory of a journal, makes the state in memory as a start of the server would, and checks \
it. Says what the state is of and how much is in it, or what is damaged and where, with exit code 65. What is being written by a \
server that runs, or was torn by a crash, is no damage.")]
    Verify {
        /// A backup, or the directory of a journal
        #[arg(value_name = "FILE|DIR")]
        path: PathBuf,
        /// How it is printed
        #[command(flatten)]
        output: Output,
    },
    /// Make a new journal of a backup, in a directory that is empty or not there
    #[command(long_about = "\
Makes a new journal in DIR, which must be empty or not be there, of the backup in FILE. What happened after the backup is not in \
it. Its epoch is 65,536 above that of the backup, so that seqs and fences that are given from now on are greater than all that \
were given after the backup, unless the server was started more often than that; with --after nobody has to guess.

Before a server is started on DIR, the leases of the old one must have ended: wait its ttl_max (a minute unless it was set) after \
it stopped.")]
    Restore {
        /// The backup
        file: PathBuf,
        /// The directory of the new journal
        dir: PathBuf,
        /// The directory that is given up, as far as it is still there: its epoch is taken into account
        #[arg(long, value_name = "OLD-DIR")]
        after: Option<PathBuf>,
        /// How it is printed
        #[command(flatten)]
        output: Output,
    },
}

/// `enq journal`.
#[derive(Args, Clone, Debug)]
pub struct Journal {
    /// What to look at.
    #[command(subcommand)]
    pub verb: JournalVerb,
}

/// What to look at in a journal.
#[derive(Clone, Debug, Subcommand)]
pub enum JournalVerb {
    /// List the files of a journal, with their positions, sizes, and whether they are whole
    Ls {
        /// The directory of the journal
        dir: PathBuf,
        /// How it is printed
        #[command(flatten)]
        output: Output,
    },
    /// Print the records of a journal, one a line
    #[command(long_about = "\
Prints the records of a journal, one a line: position, moment (how long servers had served by then), and what it says. Goes on \
behind what is damaged, if there is something whole, and ends with what is wrong at which offset of which file, and exit code \
65. Secrets are not printed. Records that a snapshot has replaced are not there any more.")]
    Dump {
        /// The directory of the journal
        dir: PathBuf,
        /// From this position on
        #[arg(long, value_name = "POSITION", default_value = "1", hide_default_value = true)]
        from: u64,
        /// Up to this position
        #[arg(long, value_name = "POSITION")]
        to: Option<u64>,
        /// Also tell where segments and batches begin
        #[arg(short, long)]
        verbose: bool,
        /// How it is printed; as JSON one object a line
        #[command(flatten)]
        output: Output,
    },
}
