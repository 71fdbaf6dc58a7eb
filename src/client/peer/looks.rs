//! The looks under way, by tag.
//!
//! A look is outside the session's stream and not kept by the server. Its bytes are kept here until it is answered, so
//! that it can be said again, under its tag, when the session goes on elsewhere. So a look may be carried out twice, and
//! every one of them bears that; a look of which that were not true would have to be a request.

use super::Moment;
use bytes::{Bytes, BytesMut};
use enq_protocol::{
    vocabulary::{SessionId, Status},
    wire::{Administer, Look, Resume},
};
use std::{collections::BTreeMap, mem};

/// Which session a look begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begins {
    /// None.
    None,
    /// A new one.
    New { bound: bool },
    /// One that an earlier process had.
    Past { session: SessionId, secret: [u8; 16] },
}

/// A look under way.
pub(super) struct Looking<L> {
    /// Nobody, for a renewal, and for the RESUME of a session that is known.
    pub(super) to: Option<L>,
    pub(super) sent: Option<Moment>,
    pub(super) begins: Begins,
    frame: Bytes,
    /// It can be said again on another connection.
    again: bool,
}

/// See the front page.
pub(super) struct Looks<L> {
    under_way: BTreeMap<u32, Looking<L>>,
    next_tag: u32,
    unsent: Vec<u32>,
}

impl<L> Looks<L> {
    pub(super) fn new() -> Looks<L> {
        Looks { under_way: BTreeMap::new(), next_tag: 1, unsent: Vec::new() }
    }

    /// Encodes a look under the next tag.
    pub(super) fn begin(&mut self, look: &Look, ack: u64, to: Option<L>) -> Result<u32, Status> {
        let tag = self.next_tag;
        let mut frame = BytesMut::new();
        look.encode(tag, ack, &mut frame).map_err(|_| Status::FrameTooLarge)?;
        self.next_tag = self.next_tag.wrapping_add(1).max(1);
        let begins = match look {
            Look::Open(session) => Begins::New { bound: session.bind_connection },
            Look::Resume(Resume { session, secret, .. }) => {
                Begins::Past { session: *session, secret: *secret }
            }
            _ => Begins::None,
        };
        let (frame, again) = (frame.freeze(), may_be_said_again(look));
        self.under_way.insert(tag, Looking { to, sent: None, begins, frame, again });
        Ok(tag)
    }

    /// Puts a look among what is to be sent next.
    pub(super) fn say(&mut self, tag: u32, aside: &mut BytesMut) {
        if let Some(looking) = self.under_way.get(&tag) {
            aside.extend_from_slice(&looking.frame);
            self.unsent.push(tag);
        }
    }

    /// What was to be sent has been. Was there anything?
    pub(super) fn sent(&mut self, now: Moment) -> bool {
        let any = !self.unsent.is_empty();
        for tag in self.unsent.drain(..) {
            if let Some(looking) = self.under_way.get_mut(&tag) {
                looking.sent = Some(now);
            }
        }
        any
    }

    /// A look is answered.
    pub(super) fn end(&mut self, tag: u32) -> Option<Looking<L>> {
        self.under_way.remove(&tag)
    }

    /// Is an answer due to something that was sent?
    pub(super) fn is_due(&self) -> bool {
        self.under_way.values().any(|looking| looking.sent.is_some())
    }

    /// The connection is gone. What is not said again is forgotten; it concerned nothing but that connection.
    pub(super) fn disconnected(&mut self) {
        self.unsent.clear();
        self.under_way.retain(|_, looking| looking.again);
        self.under_way.values_mut().for_each(|looking| looking.sent = None);
    }

    /// Says everything again that is under way, in the order in which it was asked.
    pub(super) fn say_all(&mut self, aside: &mut BytesMut) {
        for (tag, looking) in &self.under_way {
            aside.extend_from_slice(&looking.frame);
            self.unsent.push(*tag);
        }
    }

    /// There will be no answers: who waits for one.
    pub(super) fn lose(&mut self) -> impl Iterator<Item = L> + use<L> {
        self.unsent.clear();
        mem::take(&mut self.under_way).into_values().filter_map(|looking| looking.to)
    }
}

/// Does a look bear being carried out twice?
fn may_be_said_again(look: &Look) -> bool {
    match look {
        // They change nothing.
        Look::Ping
        | Look::Lock(_)
        | Look::Resource { .. }
        | Look::Blockers(_)
        | Look::Blocked(_)
        | Look::Page { .. }
        | Look::Session(_)
        | Look::Sessions { .. }
        | Look::Spaces
        | Look::OpenSpace(_)
        | Look::Statistics
        | Look::CheckToken { .. }
        | Look::Deadlocks { .. }
        | Look::History { .. }
        | Look::Waits { .. }
        | Look::WhatIf(_) => true,
        Look::Administer(act) => match act {
            // No session has its id ever again, so the second time nothing ends. It is then answered NOSUCHSESSION.
            Administer::ExpireSession { .. } => true,
            // It names the grant that is taken away; another one is not touched. The second time NOSUCHLOCK or CHANGED.
            Administer::ForceRelease { .. } => true,
            // It says what the priority is to be, not by how much it changes.
            Administer::SetPriority { .. } => true,
            // What the first one has broken is gone. The second time it finds what came since, and the records have both.
            Administer::Scan => true,
        },
        // They are about the connection that they were said on.
        Look::Open(_) | Look::Resume(_) | Look::Renew => false,
    }
}
