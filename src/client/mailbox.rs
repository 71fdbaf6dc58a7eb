//! Where the driver of a connection leaves what concerns one lock, or one look, and its guard finds it.
//!
//! A mailbox holds one outcome, since a lock has one call under way at a time; the modes that others want, each once;
//! and why the lock is lost, for good. Delivering never waits.

use super::{
    error::{LockLost, LossCause},
    lock::Hold,
    peer::{Happening, Outcome},
};
use enq_protocol::vocabulary::{LockMode, ModeSet};
use parking_lot::Mutex;
use std::{
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

#[derive(Default)]
struct Inside {
    outcome: Option<Outcome>,
    waker: Option<Waker>,
    wanted: ModeSet,
    lost: Option<LockLost>,
    stop: Option<CancellationToken>,
    hold: Weak<Hold>,
}

/// See the front page.
#[derive(Default)]
pub(super) struct Mailbox {
    inside: Mutex<Inside>,
    noticed: Notify,
    /// For a level above the leaf of a path: the leaf's mailbox, which is told what the level blocks.
    leaf: Option<Weak<Mailbox>>,
}

impl Mailbox {
    pub(super) fn new() -> Arc<Mailbox> {
        Arc::default()
    }

    /// One mailbox for each level of a path, root first.
    pub(super) fn for_path(levels: usize) -> Vec<Arc<Mailbox>> {
        let leaf = Mailbox::new();
        let above = (1..levels)
            .map(|_| Arc::new(Mailbox { leaf: Some(Arc::downgrade(&leaf)), ..Mailbox::default() }));
        let mut all: Vec<Arc<Mailbox>> = above.collect();
        all.push(leaf);
        all
    }

    pub(super) fn deliver(&self, outcome: Outcome) {
        let waker = {
            let mut inside = self.inside.lock();
            if matches!(outcome, Outcome::Granted { .. }) {
                // B2: after a grant the holder is told anew what it still blocks.
                inside.wanted = ModeSet::EMPTY;
            }
            inside.outcome = Some(outcome);
            inside.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn happen(&self, happening: Happening) {
        match happening {
            Happening::Blocking(mode) => match self.leaf.as_ref().and_then(Weak::upgrade) {
                Some(leaf) => leaf.happen(Happening::Blocking(mode)),
                None => {
                    let mut inside = self.inside.lock();
                    inside.wanted = inside.wanted.with(mode);
                    drop(inside);
                    self.noticed.notify_one();
                }
            },
            // The completion of the conversion says so too.
            Happening::Demoted => {}
            Happening::Revoked { by, reason } => self.lose(LockLost::Revoked { by, reason }),
            Happening::Lapsed => self.lapse(),
        }
    }

    /// The lease ran out while the lock was held. It is lost, even if its session goes on.
    pub(super) fn lapse(&self) {
        self.lose(LockLost::Session(LossCause::Expired));
    }

    /// The lock is lost, and stays so.
    fn lose(&self, lost: LockLost) {
        let stop = {
            let mut inside = self.inside.lock();
            inside.lost.get_or_insert(lost);
            inside.stop.take()
        };
        if let Some(stop) = stop {
            stop.cancel();
        }
        self.noticed.notify_one();
    }

    pub(super) fn lost(&self) -> Option<LockLost> {
        self.inside.lock().lost.clone()
    }

    /// A token that is cancelled when the lock is lost, or its session's token is.
    pub(super) fn stop(&self, session: &CancellationToken) -> CancellationToken {
        let mut inside = self.inside.lock();
        let token = match inside.stop.take() {
            Some(token) if !token.is_cancelled() => token,
            _ => session.child_token(),
        };
        if inside.lost.is_some() {
            token.cancel();
        }
        inside.stop = Some(token.clone());
        token
    }

    /// The outcome of the call under way.
    pub(super) fn poll_outcome(&self, context: &mut Context<'_>) -> Poll<Outcome> {
        let mut inside = self.inside.lock();
        match inside.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                if !inside.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                    inside.waker = Some(context.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    /// The outcome of the call under way, when it is there.
    pub(super) async fn outcome(&self) -> Outcome {
        std::future::poll_fn(|context| self.poll_outcome(context)).await
    }

    /// The most restrictive mode that somebody wants and was not taken from here yet.
    pub(super) async fn wanted(&self) -> Result<LockMode, LockLost> {
        loop {
            {
                let mut inside = self.inside.lock();
                if let Some(lost) = &inside.lost {
                    return Err(lost.clone());
                }
                if let Some(mode) = inside.wanted.iter().last() {
                    inside.wanted = ModeSet::EMPTY;
                    return Ok(mode);
                }
            }
            self.noticed.notified().await;
        }
    }

    pub(super) fn hold(&self) -> Option<Arc<Hold>> {
        self.inside.lock().hold.upgrade()
    }

    pub(super) fn set_hold(&self, hold: &Arc<Hold>) {
        self.inside.lock().hold = Arc::downgrade(hold);
    }
}
