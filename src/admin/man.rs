//! The man pages, made from the argument definitions; `man/` in the repository holds what comes out.
//!
//! What definitions cannot say - environment, the status line, what cannot be promised - stands here as sections of
//! their own. `enq.7`, the concepts, is written by hand.

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use super::args::{EXIT_CODES, Enq};

/// Every page of the command: file name and text.
#[must_use]
pub fn pages() -> Vec<(String, String)> {
    let mut command = Enq::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add(&command, "enq", &mut pages);
    pages
}

fn add(command: &Command, name: &str, pages: &mut Vec<(String, String)>) {
    let spoken = name.replace('-', " ");
    let spoken = ["force-release", "check-token"]
        .into_iter()
        .fold(spoken, |spoken, verb| spoken.replace(&verb.replace('-', " "), verb));
    let titled =
        command.clone().name(name.to_owned()).display_name(name.to_owned()).bin_name(spoken).after_help("");
    pages.push((format!("{name}.1"), page(&titled, name, 1)));
    for verb in command.get_subcommands() {
        add(verb, &format!("{name}-{}", verb.get_name()), pages);
    }
}

/// One page from one definition, with the sections that every page has.
#[must_use]
pub fn page(command: &Command, name: &str, section: u8) -> String {
    let man = Man::new(command.clone()).section(section.to_string()).manual("enq").date("");
    let mut page = Vec::new();
    // Writing to a vector cannot fail.
    let _ = man.render_title(&mut page);
    let _ = man.render_name_section(&mut page);
    let usage = command.clone().render_usage().to_string();
    page.extend_from_slice(b".SH SYNOPSIS\n");
    page.extend_from_slice(usage.trim_start_matches("Usage: ").replace('-', "\\-").as_bytes());
    page.push(b'\n');
    let _ = man.render_description_section(&mut page);
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        let _ = man.render_options_section(&mut page);
    }
    if command.has_subcommands() {
        let _ = man.render_subcommands_section(&mut page);
    }
    let mut page = String::from_utf8_lossy(&page).into_owned();
    if section == 1 {
        match name {
            "enq-run" => page.push_str(RUN),
            "enq-bench" => page.push_str(BENCH),
            "enq-session-open" => page.push_str(SESSION_OPEN),
            "enq-lock" | "enq-try" | "enq-convert" => page.push_str(GRANT),
            "enq-deq" | "enq-cancel" | "enq-session-close" => page.push_str(KEPT),
            _ => {}
        }
        page.push_str(".SH \"EXIT STATUS\"\n");
        page.push_str(EXIT_CODES.split_once(": ").map_or(EXIT_CODES, |(_, codes)| codes));
        page.push('\n');
    }
    if name == "enqd" {
        page.push_str(ENQD);
    }
    page.push_str(".SH \"SEE ALSO\"\n");
    page.push_str(match (section, name) {
        (1, "enq-lock" | "enq-try" | "enq-convert" | "enq-deq" | "enq-cancel" | "enq-session-close") => {
            ".BR enq-session-open (1),\n.BR enq (1),\n.BR enq (7),\n.BR enqd (8)\n"
        }
        (1, "enq-session-open") => {
            ".BR enq-lock (1),\n.BR enq-convert (1),\n.BR enq-deq (1),\n.BR enq-session-close (1),\n\
             .BR enq-run (1),\n.BR enq (1),\n.BR enq (7),\n.BR enqd (8)\n"
        }
        (1, name) if name.starts_with("enq-snapshot") => ".BR enq-journal (1),\n.BR enq (1),\n.BR enqd (8)\n",
        (1, name) if name.starts_with("enq-journal") => ".BR enq-snapshot (1),\n.BR enq (1),\n.BR enqd (8)\n",
        (1, "enq") => ".BR enq-run (1),\n.BR enq (7),\n.BR enqd (8)\n",
        (1, _) => ".BR enq (1),\n.BR enq (7),\n.BR enqd (8)\n",
        _ => ".BR enqd.toml (5),\n.BR enq (1),\n.BR enq (7)\n",
    });
    page
}

/// What a server says of itself, and when it ends.
const ENQD: &str = r#".SH OUTPUT
The first line on standard output is
.RI "listening on " ADDR ,
one for each address, as soon as requests are answered. Everything else goes to standard error.
.SH SIGNALS
TERM and INT end the server in order; a second one ends it at once.
.SH "EXIT STATUS"
0 it was stopped in order; 64 bad arguments; 74 the disk of its journal has failed; 78 it cannot start as it is told: its
configuration, its address, its state file, or a journal that is damaged, in use or of another version. A start that is refused has
changed nothing.
.SH NOTES
Without
.B \-\-data\-dir
locks, queues, value blocks, sessions and lockspaces end with the server. Only the epoch of its boot is kept, so that the
numbers of grants rise from one life of the server to the next, and how long clients may believe in their locks.
.PP
With
.B \-\-data\-dir
all of them are on disk before anybody is told of them, and survive its end, by whatever cause, as long as the disk does. The
directory belongs to one server and to nothing else. What is in it is shown by
.BR enq-journal (1);
.BR enq-snapshot (1)
saves, verifies and restores it. When the disk is full, new locks are refused and releases are not. At the first error of the disk the
server ends.
.PP
There is no authentication: whoever reaches the port can take, see and end every lock.
"#;

/// What `enq run` promises, finds, leaves and cannot do.
const RUN: &str = r#".SH SIGNALS AND TERMINAL
INT, TERM, HUP, QUIT, USR1, USR2, TSTP and CONT are passed on to the command, which runs in a process group of its own;
a signal that was ignored at the start stays ignored.
A signal that arrives while
.B enq run
waits for the lock ends the wait.
On a terminal the command has the foreground, from its first moment if standard input and output are the terminal,
otherwise when it asks for it; stopping it stops the job as the shell expects, and
.I the lock stays held
while it is stopped.
.PP
When
.B enq run
dies, of SIGKILL too, everything it started is killed and then the lock is free.
.SH ENVIRONMENT
The command finds
.BR ENQ_LOCK_NAME ,
.BR ENQ_LOCK_MODE ,
.BR ENQ_LOCK_ID ,
.BR ENQ_FENCE ,
.BR ENQ_SEQ ,
.BR ENQ_SESSION_ID ,
.BR ENQ_SERVERS ,
.B ENQ_SPACE
and
.BR ENQ_LEASE_TTL_MS .
They replace those of an outer
.BR "enq run" .
Hand
.B ENQ_FENCE
to what the lock protects, and have it refuse a smaller one than it has seen; see
.BR enq (7).
.SH "STATUS LINE"
Exit codes 64 to 79 can be the command's own. The line that
.B \-\-status\-fd
gets tells them apart: JSON with
.IR version ,
.I outcome
(exited, signalled, not_found, cannot_execute, lost, not_granted, interrupted, failed),
.IR exit ,
.IR waited_ms ,
.I held_ms
and, if it was granted,
.I lock
with name, mode, id, seq, fence and session.
.SH "WHAT IT CANNOT PROMISE"
The command and everything below it is dead before the lease ends, with these exceptions: the whole machine (or both
processes of
.BR "enq run" )
is frozen past the end of the lease; both are killed in the same moment; a program below it runs as another user, such as
.BR sudo (8),
and may not be signalled; a process hangs in the kernel and cannot die. For these there are fences.
"#;

/// What the figures of a load mean, and how some are had.
const BENCH: &str = r#".SH FIGURES
.TP
.B PAIRS/s
Pairs a second: the median of the rounds. SPREAD is how far the rounds lie apart, from the least to the most, in percent of it.
.TP
.BR "x FLOOR" ", " "x PEER" ", " "x FIRST"
The same as a multiple of the floor's, of the peer's, and of what the first of the works reached.
.TP
.BR "CPU us" ", " ABOVE
Microseconds of processor time of the server a pair, and how many of them are above the floor's.
.TP
.BR "P50 us" ", " "P99 us"
Microseconds until the grant, of half and of 99 in 100 requests. At full speed this says how long the generator's own queue was;
a latency that means something is had with
.BR \-\-rate .
.TP
.B FIFO
Whether the lock was handed on in the order in which it was asked for.
.TP
.B GENERATOR
In the wide table: how much of one core the generator took. Near 100 % without
.BR \-\-rate ,
it is the generator that is measured.
.SH EXAMPLES
.nf
enq bench \-\-floor \-\-peer redis://127.0.0.1:6379
enq bench \-\-floor \-\-connections 1,16,64 \-\-depth 1,16
enq bench \-\-floor \-\-points 16x1 \-\-rate 50% \-\-hdr latencies.hlog
enq bench \-\-names 1000 \-\-zipf 1.1 \-\-modes PR:80,EX:20
enq bench \-\-floor \-\-points 16x16 \-\-held 10000,1000000
enq bench \-\-work handoff \-\-connections 2,16,64,1000
.fi
"#;

/// What a session for scripts is, and when it ends.
const SESSION_OPEN: &str = r#".SH NOTES
A process in the background, the
.IR keeper ,
holds the session, renews its lease and holds its locks. It has no terminal and no open file of whoever started it.
.PP
The session ends, in order, with
.BR "enq session close" ,
or when the process of
.B \-\-parent
has ended. That is the process that calls
.BR "enq session open" :
the shell, in
.RS
.PP
eval "$(enq session open)"
.RE
.PP
In a pipeline or a list it may be a subshell that ends at once: then say
.BR "\-\-parent $$" .
.PP
A keeper that is killed leaves the session to its lease. A session that is lost is not opened again: every verb that uses
it exits with 76 from then on.
.PP
With
.B \-o shell
a failure is printed too, as a line that unsets ENQ_SESSION and has the shell see the exit code.
.SH ENVIRONMENT
.TP
.B ENQ_SESSION
The keeper's socket. It lies in a directory that is this user's alone, in
.B XDG_RUNTIME_DIR
or else in
.BR TMPDIR ,
and answers this user only. Child processes inherit it and share the session.
"#;

/// What the verbs that print a grant have in common.
const GRANT: &str = r#".SH NOTES
The lock belongs to the session that
.BR enq-session-open (1)
has opened for this shell, and is held until it is released with
.BR enq-deq (1)
or the session ends. Nothing is re-entrant: who asks twice waits for himself. If
.B enq
is interrupted while it waits, the request is withdrawn; a conversion leaves the lock as it was. A grant counts once it has
been printed.
.PP
With
.B \-o shell
the variables
.BR ENQ_LOCK_NAME ,
.BR ENQ_LOCK_MODE ,
.BR ENQ_LOCK_ID ,
.BR ENQ_FENCE ,
.BR ENQ_SEQ ,
.BR ENQ_SESSION_ID ,
.B ENQ_VALUE
and
.B ENQ_VALUE_VALID
(yes or no) are set and exported; after a failure they are unset, and the shell sees the exit code.
.SH ENVIRONMENT
.TP
.B ENQ_SESSION
Where the session's keeper is, as
.B enq session open
printed it.
"#;

/// The same for those that print nothing.
const KEPT: &str = r#".SH ENVIRONMENT
.TP
.B ENQ_SESSION
Where the session's keeper is, as
.B enq session open
printed it.
"#;
