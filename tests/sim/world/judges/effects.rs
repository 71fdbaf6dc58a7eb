//! X2: once a conflicting later grant's token was accepted, no operation under the earlier grant is accepted any more.
//! And the other way round: an operation under a grant that is live is not refused.

use super::super::register::{Passed, Token};
use super::Wrong;
use crate::model::beside;
use enq_protocol::vocabulary::LockMode;

/// What one guarded resource has accepted, at each of its gates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effects {
    scalar: Vec<Token>,
    per_mode: Vec<Token>,
}

/// A later grant in a conflicting mode.
fn overtaken<'a>(accepted: &'a [Token], token: &Token) -> Option<&'a Token> {
    accepted.iter().find(|seen| seen.seq > token.seq && !beside(seen.mode, token.mode))
}

fn note(accepted: &mut Vec<Token>, token: Token) {
    match accepted.iter_mut().find(|seen| seen.mode == token.mode) {
        Some(seen) if seen.seq < token.seq => *seen = token,
        Some(_) => {}
        None => accepted.push(token),
    }
}

impl Effects {
    /// An operation came. Is its grant live, as the server sees it?
    pub(crate) fn look(&mut self, token: Token, passed: Passed, live: bool) -> Result<(), Wrong> {
        let gates =
            [("scalar", &mut self.scalar, passed.scalar), ("per-mode", &mut self.per_mode, passed.per_mode)];
        for (gate, accepted, passed) in gates {
            // The scalar gate is for modes that have a fence.
            if gate == "scalar" && !token.mode.is_fenced() {
                continue;
            }
            if passed {
                if let Some(later) = overtaken(accepted, &token) {
                    return Err(format!("X2: the {gate} gate accepted {token:?} after {later:?}"));
                }
                note(accepted, token);
            } else if live && token.mode != LockMode::Nl {
                return Err(format!("X2: the {gate} gate refused {token:?}, which is live"));
            }
        }
        Ok(())
    }
}
