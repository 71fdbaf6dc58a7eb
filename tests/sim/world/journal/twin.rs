//! The state of a server that was read from a journal against that of the server that wrote it.
//!
//! They must be equal but for what the one who writes learns outside of the log: acknowledgements that came in frames
//! without a request, closed sessions whose answers all arrived, and what a holder was told again when his session was
//! resumed. The first two are made up for, whereupon the images are equal, byte by byte; where notices are asked for, what
//! is seen of all resources is equal, and what is kept for each session.

use super::super::clock::MS;
use super::super::judges::Wrong;
use super::super::server::{Make, Server};
use super::start::local;
use enq::engine::Instant;
use enq::engine::image::Bad;
use enq::table::{Table, Terms};
use enq_protocol::vocabulary::SessionId;

/// A start, as the log says it.
#[derive(Clone, Debug)]
pub(crate) struct Beginning {
    pub(super) now: Instant,
    pub(super) terms: Terms,
}

/// A table like this one.
fn copy(table: &Table, make: &Make) -> Result<Table, Bad> {
    let mut image = Vec::new();
    table.put_image(&mut image);
    Table::from_image(&image, &local(make, MS))
}

/// Compares the server of before with what was made of its journal; in between there were these starts.
pub(super) fn compare(
    before: &Server,
    again: &Server,
    beginnings: &[Beginning],
    (make, is_exact): (&Make, bool),
    sessions: impl Iterator<Item = SessionId>,
) -> Result<(), Wrong> {
    let unreadable = |bad: Bad| format!("a state that cannot be read: {bad}");
    let mut before = copy(before.table(), make).map_err(unreadable)?;
    for Beginning { now, terms } in beginnings {
        before.start_anew(*now, terms, &local(make, MS));
    }
    let again = copy(again.table(), make).map_err(unreadable)?;
    for session in sessions {
        let known = before.session(session).or_else(|| before.resumable(Instant::START, session));
        let Some(known) = known else {
            again.forget_closed(session);
            continue;
        };
        let Some(found) = again.session(session).or_else(|| again.resumable(Instant::START, session)) else {
            return Err(format!("recovery: session {session} is lost"));
        };
        let acked = known.in_half.lock().acked();
        let mut register = found.in_half.lock();
        if register.acked() > acked {
            return Err(format!("recovery: {session} has acknowledged {}, not {acked}", register.acked()));
        }
        register.arrived(acked, &mut found.out_half.lock().outgoing);
    }
    let count = |table: &Table| table.statistics();
    let (one, other) = (count(&before), count(&again));
    if (one.locks, one.resources, before.session_count())
        != (other.locks, other.resources, again.session_count())
    {
        return Err(format!("recovery: there was {one:?}, and is {other:?}"));
    }
    if is_exact && before.state_hash() != again.state_hash() {
        return Err("recovery: what was read from the journal is not the state that wrote it".into());
    }
    before.check()?;
    again.check()
}
