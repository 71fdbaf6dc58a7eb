//! What sessions have been told.

use super::super::output::Said;
use super::super::session::{Ended, Entry, Told};
use super::{Bad, Image, Reader, Writer, fields, variants};

variants! {
    Said {
        0 => Granted(grant),
        1 => PathGranted { leaf, levels },
        2 => Queued { handle, lock },
        3 => Done(status),
        4 => Released { handle, frees },
        5 => Refused { status, blocker, waiting },
        6 => Purged { released, next },
        7 => GrantedLater(grant),
        8 => PathGrantedLater { leaf, levels },
        9 => Ended { handle, status, holds, record },
        10 => Gone { handle },
        11 => Demoted { handle },
        12 => Revoked { handle, by, reason },
        13 => Blocking { handle, seq, mode },
    }
}
variants! {
    Told {
        0 => Answer { request, said },
        1 => Space { request, space, changed },
        2 => Event(said),
    }
}
variants! { Ended { 0 => Closed, 1 => Died } }

// The number of an entry follows from its place among the others.
fields! { Entry { place, request_len, told; number: 0 } }
