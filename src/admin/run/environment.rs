//! What the command finds in its environment: which lock it runs under, and where its server is.
//!
//! The values of an outer `enq run` are replaced. The secret of the session is never among them.

use std::ffi::OsString;

use super::locks::Held;
use crate::admin::{
    args::{Reach, Run},
    duration,
};

/// The variables, with their values.
pub(super) fn of(reach: &Reach, run: &Run, held: &Held) -> [(&'static str, OsString); 9] {
    let grant = held.grant();
    [
        ("ENQ_LOCK_NAME", run.name.clone()),
        ("ENQ_LOCK_MODE", grant.mode.into()),
        ("ENQ_LOCK_ID", grant.id.into()),
        ("ENQ_FENCE", grant.fence.into()),
        ("ENQ_SEQ", grant.seq.into()),
        ("ENQ_SESSION_ID", grant.session.into()),
        ("ENQ_SERVERS", reach.servers.join(",").into()),
        ("ENQ_SPACE", reach.space.clone().into()),
        ("ENQ_LEASE_TTL_MS", duration::ms(held.ttl()).to_string().into()),
    ]
}
