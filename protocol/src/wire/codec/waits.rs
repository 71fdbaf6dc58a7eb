//! Who waits for whom, and what would follow from an end.

use super::{
    reader::{Read, Reader},
    view::LOCK_VIEW_LEN_MIN,
    writer::Writer,
};
use crate::vocabulary::{ForeseenGrant, ForeseenView, LockId, StandingView, WaitLine, WaitsView};

/// A lock with its place.
const STANDING_LEN_MIN: usize = LOCK_VIEW_LEN_MIN + 8;

/// A wait: two ids, why, and a number.
const WAIT_LINE_LEN: usize = 21;

/// A lock with a mode and a time.
const FORESEEN_LEN_MIN: usize = LOCK_VIEW_LEN_MIN + 9;

impl Reader<'_> {
    pub(super) fn waits_view(&mut self) -> Read<WaitsView> {
        Ok(WaitsView {
            locks: self.list("locks", STANDING_LEN_MIN, |r| {
                Ok(StandingView {
                    lock: r.lock_view()?,
                    position: r.u32("position")?,
                    queued: r.u32("queued")?,
                })
            })?,
            sessions: self.session_views()?,
            waits: self.list("waits", WAIT_LINE_LEN, |r| {
                Ok(WaitLine {
                    lock: LockId(r.u64("lock")?),
                    blocker: LockId(r.u64("blocker")?),
                    why: r.why()?,
                    deadlock: r.u32("deadlock")?,
                })
            })?,
            is_complete: self.bool("complete")?,
        })
    }

    pub(super) fn foreseen_view(&mut self) -> Read<ForeseenView> {
        Ok(ForeseenView {
            grants: self.list("grants", FORESEEN_LEN_MIN, |r| {
                Ok(ForeseenGrant {
                    lock: r.lock_view()?,
                    mode: r.mode("mode")?,
                    after_ms: r.u64("after_ms")?,
                })
            })?,
            total: self.u32("total")?,
            sessions: self.session_views()?,
            looked_at: self.u32("looked_at")?,
            is_complete: self.bool("complete")?,
        })
    }
}

impl Writer<'_> {
    pub(super) fn waits_view(&mut self, view: &WaitsView) {
        self.list(view.locks.iter(), |w, standing| {
            w.lock_view(&standing.lock);
            w.u32(standing.position);
            w.u32(standing.queued);
        });
        self.session_views(&view.sessions);
        self.list(view.waits.iter(), |w, wait| {
            w.u64(wait.lock.0);
            w.u64(wait.blocker.0);
            w.u8(wait.why as u8);
            w.u32(wait.deadlock);
        });
        self.bool(view.is_complete);
    }

    pub(super) fn foreseen_view(&mut self, view: &ForeseenView) {
        self.list(view.grants.iter(), |w, grant| {
            w.lock_view(&grant.lock);
            w.mode(grant.mode);
            w.u64(grant.after_ms);
        });
        self.u32(view.total);
        self.session_views(&view.sessions);
        self.u32(view.looked_at);
        self.bool(view.is_complete);
    }
}
