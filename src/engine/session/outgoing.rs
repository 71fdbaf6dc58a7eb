//! The out-half: what a session is to be told, in the order in which it came to pass.
//!
//! Whoever appends holds the mutex of the shard that spoke, so this is the engine's order. Blocking notices have no
//! number and are dropped while nobody is there to hear them: they can be derived from the locks at any time.

use super::super::Said;
use enq_protocol::vocabulary::{Handle, LockspaceView, Place};
use std::{
    collections::{BTreeSet, VecDeque},
    mem,
};

/// What one output says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The answer to the request with this number.
    Answer {
        /// The request.
        request: u64,
        /// The answer.
        said: Said,
    },
    /// The answer to a request about a lockspace.
    Space {
        /// The request.
        request: u64,
        /// The lockspace as it is now, or was last.
        space: Box<LockspaceView>,
        /// Did the request change anything?
        changed: bool,
    },
    /// Something that happened.
    Event(Said),
}

/// One output for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the session's stream; 0 for a blocking notice, which has none and is not kept.
    pub number: u64,
    /// The step that made it.
    pub place: Place,
    /// How long the request was that it answers: room in the window that its acknowledgement gives back.
    pub request_len: u32,
    /// What it says.
    pub told: Told,
}

/// How much there may be to say before notices are dropped, to be derived anew when all else is said.
pub(super) const NOTICES_WEIGHT_MAX: usize = 256 * 1024;

impl Entry {
    /// The request that it answers, if it answers one.
    #[must_use]
    #[inline]
    pub fn request(&self) -> Option<u64> {
        match &self.told {
            Told::Answer { request, .. } | Told::Space { request, .. } => Some(*request),
            Told::Event(_) => None,
        }
    }

    /// About how many bytes it takes to say.
    #[must_use]
    #[inline]
    pub fn weight(&self) -> usize {
        const FIXED: usize = 64;
        const LEVEL: usize = 16;
        match &self.told {
            Told::Space { space, .. } => 2 * FIXED + space.name.as_bytes().len(),
            Told::Answer { said, .. } | Told::Event(said) => {
                FIXED
                    + match said {
                        Said::Granted(grant) | Said::GrantedLater(grant) => value_len(grant),
                        Said::PathGranted { leaf, levels } | Said::PathGrantedLater { leaf, levels } => {
                            value_len(leaf) + LEVEL * levels.len()
                        }
                        Said::Revoked { reason, .. } => reason.len(),
                        Said::Queued { .. }
                        | Said::Done(_)
                        | Said::Released { .. }
                        | Said::Refused { .. }
                        | Said::Purged { .. }
                        | Said::Ended { .. }
                        | Said::Gone { .. }
                        | Said::Demoted { .. }
                        | Said::Blocking { .. } => 0,
                    }
            }
        }
    }
}

fn value_len(grant: &enq_protocol::vocabulary::Grant) -> usize {
    grant.value.as_ref().map_or(0, |value| value.bytes.len() + 16)
}

/// The out-half of a session's register.
#[derive(Debug, Default)]
pub struct Outgoing {
    pub(super) last: u64,
    pub(super) unsent: VecDeque<Entry>,
    pub(super) unsent_weight: usize,
    pub(super) ended: Vec<Handle>,
    pub(super) waiting: u32,
    pub(super) heard: bool,
}

impl Outgoing {
    /// The number of the last output.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Is somebody there to hear notices? If not, those that come are dropped.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.heard
    }

    /// A notice that is said twice is said once.
    pub fn drop_repeated_notices(&mut self) {
        let mut said = BTreeSet::new();
        self.unsent.retain(|entry| match entry.told {
            Told::Event(Said::Blocking { handle, seq, mode }) => said.insert((handle, seq, mode as u8)),
            Told::Event(_) | Told::Answer { .. } | Told::Space { .. } => true,
        });
        self.unsent_weight = self.unsent.iter().map(Entry::weight).sum();
    }

    /// Somebody is there to hear notices, or is not; those that nobody heard are dropped.
    pub fn set_heard(&mut self, heard: bool) {
        self.heard = heard;
        if !heard {
            self.unsent.retain(|entry| entry.number != 0);
            self.unsent_weight = self.unsent.iter().map(Entry::weight).sum();
        }
    }

    /// The answer to a request, or a lockspace's.
    #[inline]
    pub fn append_answer(&mut self, place: Place, request_len: u32, told: Told) {
        if matches!(told, Told::Answer { said: Said::Queued { .. }, .. }) {
            self.waiting += 1;
        }
        self.append(place, request_len, told);
    }

    /// An event that somebody else's step made: what it frees, the in-half learns when it asks.
    pub fn append_foreign(&mut self, place: Place, said: Said) {
        self.ended.extend(said.frees());
        self.append_event(place, said);
    }

    /// An event; its caller has told the in-half what it frees.
    pub fn append_event(&mut self, place: Place, said: Said) {
        match said {
            Said::Blocking { .. } => {
                if self.heard && self.unsent_weight > NOTICES_WEIGHT_MAX {
                    self.set_heard(false);
                }
                if self.heard {
                    self.push(Entry { number: 0, place, request_len: 0, told: Told::Event(said) });
                }
                return;
            }
            Said::GrantedLater(_) | Said::PathGrantedLater { .. } | Said::Ended { .. } => {
                self.waiting = self.waiting.checked_sub(1).expect("a completion was queued for");
            }
            Said::Gone { .. } => return,
            Said::Demoted { .. } | Said::Revoked { .. } => {}
            Said::Granted(_)
            | Said::PathGranted { .. }
            | Said::Queued { .. }
            | Said::Done(_)
            | Said::Released { .. }
            | Said::Refused { .. }
            | Said::Purged { .. } => unreachable!("an answer is no event"),
        }
        self.append(place, 0, Told::Event(said));
    }

    /// The handles that others' steps freed since this was last asked.
    pub fn take_ended(&mut self) -> Vec<Handle> {
        mem::take(&mut self.ended)
    }

    /// How many handles others' steps freed since the in-half last asked.
    #[must_use]
    pub fn ended_len(&self) -> u32 {
        u32::try_from(self.ended.len()).unwrap_or(u32::MAX)
    }

    /// Moves all that is unsent behind what is already there.
    pub(super) fn take_unsent(&mut self, into: &mut VecDeque<Entry>) {
        self.unsent_weight = 0;
        if into.is_empty() {
            mem::swap(into, &mut self.unsent);
        } else {
            into.append(&mut self.unsent);
        }
    }

    /// Is there anything to send?
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// About how many bytes what is unsent here takes to say.
    #[must_use]
    pub fn unsent_weight(&self) -> usize {
        self.unsent_weight
    }

    /// The bytes that are allocated for all that, and set aside for completions that are still to come.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> usize {
        let waiting = usize::try_from(self.waiting).unwrap_or(usize::MAX);
        let entries = self.unsent.capacity().max(waiting) * size_of::<Entry>();
        entries + self.unsent_weight + self.ended.capacity() * size_of::<Handle>()
    }

    /// How many requests of the session wait or convert.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.waiting
    }

    #[inline]
    fn append(&mut self, place: Place, request_len: u32, told: Told) {
        self.last += 1;
        self.push(Entry { number: self.last, place, request_len, told });
    }

    #[inline]
    fn push(&mut self, entry: Entry) {
        self.unsent_weight += entry.weight();
        self.unsent.push_back(entry);
    }
}
