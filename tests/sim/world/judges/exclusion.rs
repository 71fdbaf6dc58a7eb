//! X1: at every point of a resource's history the granted modes of its locks are pairwise compatible. No clocks, always.

use super::{Seen, Wrong};
use crate::model::beside;

pub(crate) fn look(seen: &Seen) -> Result<(), Wrong> {
    for (one, mode) in seen.holding() {
        for (other, another) in seen.holding() {
            if one.lock != other.lock && !beside(mode, another) {
                return Err(format!("X1: lock {} holds {mode}, and lock {} {another}", one.lock, other.lock));
            }
        }
    }
    Ok(())
}
