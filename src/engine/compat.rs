//! May this mode stand beside what others hold? (rules M1, G5 of `docs/locking.md`)
//!
//! Looks at the summaries of a resource, never at its queues. Nothing here changes anything.

use super::resource::Resource;
use enq_protocol::vocabulary::{Flags, LockMode};

/// A mode that can be granted, and whether it is an alternate of the one asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fit {
    pub(super) mode: LockMode,
    pub(super) alternate: bool,
}

/// M1: does some *other* lock hold a mode that is incompatible with this one? `own` is what the asking lock holds.
pub(super) fn clashes(resource: &Resource, own: Option<LockMode>, mode: LockMode) -> bool {
    !resource.held_besides(own).intersection(mode.conflicts()).is_empty()
}

/// The mode asked for if it does not clash, else the first alternate that does not.
pub(super) fn fit(resource: &Resource, own: Option<LockMode>, mode: LockMode, flags: Flags) -> Option<Fit> {
    if !clashes(resource, own, mode) {
        return Some(Fit { mode, alternate: false });
    }
    // G5: PR before CW.
    [(Flags::ALTPR, LockMode::Pr), (Flags::ALTCW, LockMode::Cw)]
        .into_iter()
        .find(|(flag, alternate)| flags.contains(*flag) && !clashes(resource, own, *alternate))
        .map(|(_, mode)| Fit { mode, alternate: true })
}
