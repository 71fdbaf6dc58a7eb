//! What a session is to be told, as frames.
//!
//! An output is kept in the words of the engine until its connection has room for it, and encoded straight into the
//! write buffer.

use crate::engine::{
    Said,
    session::{Entry, Told},
};
use bytes::BytesMut;
use enq_protocol::{
    vocabulary::Status,
    wire::{Answer, EncodeError, Event, Reply, SpaceReply},
};

/// Encoded output beyond which no more is encoded before some is written.
pub(super) const ENCODED: usize = 64 * 1024;

/// Appends one output as a frame that acknowledges the requests up to `told`.
pub(super) fn encode(entry: &Entry, told: u64, out: &mut BytesMut) {
    let result = match &entry.told {
        Told::Answer { request, said: Said::Granted(grant) } => {
            Answer::encode_granted((*request, entry.place), grant, entry.number, told, out)
        }
        Told::Answer { request, said: Said::Released { .. } } => {
            Answer::encode_done((*request, entry.place), Status::Released, entry.number, told, out)
        }
        Told::Answer { request, said } => {
            let answer = Answer { request: *request, place: entry.place, reply: reply(said) };
            answer.encode(entry.number, told, out)
        }
        Told::Space { request, space, changed } => {
            let reply = Reply::Space(SpaceReply { space: (**space).clone(), changed: *changed });
            Answer { request: *request, place: entry.place, reply }.encode(entry.number, told, out)
        }
        Told::Event(said) => event(said).encode(entry.place, entry.number, told, out),
    };
    assert!(
        !matches!(result, Err(EncodeError::TooLong { .. } | EncodeError::NotSent)),
        "every output fits into a frame: {entry:?}"
    );
}

/// With what an output refuses a request, if it does.
pub(super) fn refusal(entry: &Entry) -> Option<Status> {
    match &entry.told {
        Told::Answer { said: Said::Refused { status, .. }, .. } => Some(*status),
        Told::Answer { .. } | Told::Space { .. } | Told::Event(_) => None,
    }
}

/// An answer in the words of the wire.
fn reply(said: &Said) -> Reply {
    match said {
        Said::Granted(grant) => Reply::Granted(grant.clone()),
        Said::PathGranted { leaf, levels } => {
            Reply::PathGranted { leaf: leaf.clone(), levels: levels.to_vec() }
        }
        Said::Queued { handle, lock } => Reply::Queued { handle: *handle, lock: *lock },
        Said::Done(status) => Reply::Done { status: *status },
        Said::Released { .. } => Reply::Done { status: Status::Released },
        Said::Refused { status, blocker, waiting } => {
            Reply::Refused { status: *status, blocker: *blocker, detail: *waiting }
        }
        Said::Purged { released, .. } => Reply::Purged { released: *released },
        Said::GrantedLater(_)
        | Said::PathGrantedLater { .. }
        | Said::Ended { .. }
        | Said::Gone { .. }
        | Said::Demoted { .. }
        | Said::Revoked { .. }
        | Said::Blocking { .. } => unreachable!("an event answers no request: {said:?}"),
    }
}

/// An event in the words of the wire.
fn event(said: &Said) -> Event {
    match said {
        Said::GrantedLater(grant) => Event::Granted(grant.clone()),
        Said::PathGrantedLater { leaf, levels } => {
            Event::PathGranted { leaf: leaf.clone(), levels: levels.to_vec() }
        }
        Said::Ended { handle, status, holds, record } => {
            Event::Ended { handle: *handle, status: *status, holds: *holds, record: *record }
        }
        Said::Demoted { handle } => Event::Demoted { handle: *handle },
        Said::Revoked { handle, by, reason } => {
            let reason = reason.as_ref().into();
            Event::Revoked { handle: *handle, status: Status::Forced, by: *by, reason }
        }
        Said::Blocking { handle, seq, mode } => Event::Blocking { handle: *handle, seq: *seq, mode: *mode },
        Said::Granted(_)
        | Said::PathGranted { .. }
        | Said::Queued { .. }
        | Said::Done(_)
        | Said::Released { .. }
        | Said::Refused { .. }
        | Said::Purged { .. }
        | Said::Gone { .. } => unreachable!("an answer is no event: {said:?}"),
    }
}
