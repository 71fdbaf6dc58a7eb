//! What becomes of an input that somebody waits for: known at once, or when its log has come to it.

use crate::table::SessionCell;
use enq_protocol::vocabulary::Status;
use parking_lot::Mutex;
use std::{sync::Arc, task::Waker};

/// What became of an input.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The session began.
    Opened(Arc<SessionCell>),
    /// An administrator's request is answered.
    Answered(Status),
}

/// What will become of an input, for who waits.
#[derive(Debug)]
pub struct Promise(Arc<Mutex<State>>);

/// What will become of an input, for who brings it about. Dropped without a word, the promise is never kept: the process
/// is about to end.
#[derive(Debug)]
pub(super) struct Pledge(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    outcome: Option<Outcome>,
    waker: Option<Waker>,
}

impl Promise {
    /// It is known already.
    pub(super) fn kept(outcome: Outcome) -> Promise {
        Promise(Arc::new(Mutex::new(State { outcome: Some(outcome), waker: None })))
    }

    /// It is not known yet.
    pub(super) fn open() -> (Promise, Pledge) {
        let state = Arc::default();
        (Promise(Arc::clone(&state)), Pledge(state))
    }

    /// Is it known? If not, `waker` is woken when it is.
    #[must_use]
    pub fn is_kept(&self, waker: &Waker) -> bool {
        let mut state = self.0.lock();
        if state.outcome.is_none() {
            state.waker = Some(waker.clone());
        }
        state.outcome.is_some()
    }

    /// What became of it, if that is known; once.
    #[must_use]
    pub fn take(&self) -> Option<Outcome> {
        self.0.lock().outcome.take()
    }
}

impl Pledge {
    /// It is known now.
    pub(super) fn keep(self, outcome: Outcome) {
        let mut state = self.0.lock();
        state.outcome = Some(outcome);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
