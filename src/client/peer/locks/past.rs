//! Locks whose past is another: those whose lease ran out under their holders, and those that an earlier process left.

use super::{
    super::{Happening, Outcome, Told},
    Call, Entry, Locks, Release, Ticket, index,
};
use crate::client::error::LossCause;
use enq_protocol::vocabulary::{Handle, LockView, Queue};
use std::{cmp::Reverse, mem};

impl<L: Clone> Locks<L> {
    /// The lease has run out: what is held is held no more, for good, whatever the server thinks; the releases to send if
    /// the session goes on. Requests that wait hold nothing and wait on.
    pub(in super::super) fn lapse(&mut self, told: &mut Vec<Told<L>>) -> Vec<Handle> {
        // From above, since sublocks mostly have greater handles than their parent locks.
        let all: Vec<Handle> = (1..=self.entries.len()).rev().filter_map(handle).collect();
        let mut releases = Vec::new();
        for handle in all {
            let Some(entry) = self.entry(handle).filter(|entry| entry.is_held() && entry.answered_for) else {
                continue;
            };
            entry.lapsed = true;
            told.push(Told::Happened(entry.to.clone(), Happening::Lapsed));
            if entry.release == Release::Awaited {
                // Its answer is still to come, and tells.
                entry.answered_for = false;
                continue;
            }
            if matches!(entry.call, Call::Converting { .. }) {
                told.push(Told::Outcome(entry.to.clone(), Outcome::Lost(LossCause::Expired)));
            }
            for handle in mem::take(&mut entry.made).into_iter().rev() {
                if let Some(level) = self.entry(handle) {
                    level.lapsed = true;
                }
                self.releases_due.push(handle);
            }
            releases.extend(self.abandon(handle));
        }
        // The levels that a path made go after their leaf.
        releases.extend(self.take_releases_due());
        releases
    }

    /// What a session had when another process went on with it. There were no locks here before.
    pub(in super::super) fn find(&mut self, views: &[LockView], mut to: impl FnMut() -> L) {
        let last = views.iter().map(|view| view.handle.number()).max().unwrap_or(0).min(self.max);
        self.entries.resize_with(usize::try_from(last).unwrap_or(usize::MAX), || None);
        for view in views {
            self.births += 1;
            let born = self.births;
            if let Some(place) = self.entries.get_mut(index(view.handle)) {
                let call = match view.queue {
                    Queue::Granted => Call::Idle,
                    Queue::Conversion => Call::Converting { queued: true },
                    Queue::Waiting => Call::Asking { queued: true },
                };
                let mut entry = Entry::new(born, to());
                (entry.call, entry.seq, entry.unanswered, entry.answered_for) = (call, view.seq, 0, false);
                *place = Some(entry);
            }
        }
        let free = (1..).zip(&self.entries).filter(|(_, entry)| entry.is_none());
        self.free = free.map(|(number, _)| Reverse(number)).collect();
    }

    /// Somebody answers for this lock from now on, if it is granted and nobody did.
    pub(in super::super) fn claim(&mut self, handle: Handle) -> Option<(Ticket, L)> {
        let entry = self.entry(handle)?;
        let free = entry.call == Call::Idle && entry.is_held() && entry.release == Release::No;
        if !free || entry.answered_for || entry.lapsed {
            return None;
        }
        entry.answered_for = true;
        let claimed = (Ticket { handle, born: entry.born }, entry.to.clone());
        self.adrift.retain(|other| *other != handle);
        Some(claimed)
    }

    /// The releases of everything that nobody answers for and that is not being released.
    pub(in super::super) fn release_unclaimed(&mut self) -> Vec<Handle> {
        let all: Vec<Handle> = (1..=self.entries.len()).rev().filter_map(handle).collect();
        let unclaimed = |locks: &mut Self, handle: Handle| {
            locks.entry(handle).is_some_and(|entry| !entry.answered_for && !entry.is_of_a_path())
        };
        all.into_iter().filter(|h| unclaimed(self, *h) && self.releases_as(*h, Release::Quiet)).collect()
    }
}

impl<L> Entry<L> {
    /// Is it granted, as far as is known?
    fn is_held(&self) -> bool {
        !self.gone && matches!(self.call, Call::Idle | Call::Converting { .. })
    }

    /// Levels above a leaf are the leaf's business.
    fn is_of_a_path(&self) -> bool {
        self.level
    }
}

fn handle(number: usize) -> Option<Handle> {
    Handle::new(u32::try_from(number).ok()?)
}
