//! What follows a change: the sweep (G8) and the blocking notices (B1).

use super::{Lock, Model, Queue, beside, covers};
use crate::words::{Place, What};
use enq_protocol::vocabulary::{Flags, LockMode};

impl Model {
    /// Sweeps every resource that was touched, and those that are touched meanwhile (E1).
    pub(super) fn sweep_touched(&mut self) {
        self.paths_go_on(); // Those that the sweep of a demotion let through (C5).
        while !self.touched.is_empty() {
            while !self.touched.is_empty() {
                let at = self.touched.remove(0);
                self.sweep(&at);
                self.blocking_notices(&at);
            }
            self.paths_go_on();
        }
    }

    /// P3: after the sweeps the path requests that they served go on, in the order of their grants.
    fn paths_go_on(&mut self) {
        for (id, grant) in std::mem::take(&mut self.going_on) {
            if let Some(path) = self.paths.iter().position(|path| path.waits == Some(id)) {
                self.path_goes_on(path, grant);
            }
        }
    }

    /// G8, without its last line.
    pub(super) fn sweep(&mut self, at: &Place) {
        while let Some((id, mode)) = self.grantable_conversion(at) {
            self.complete(id, mode);
        }
        for id in self.queue(at, Queue::Waiting).iter().map(|lock| lock.id).collect::<Vec<u64>>() {
            let lock = self.lock(id).expect("a sweep removes nobody");
            if let Some(mode) = self.may_leave_waiting(lock) {
                self.complete(id, mode);
            }
        }
    }

    fn grantable_conversion(&self, at: &Place) -> Option<(u64, LockMode)> {
        let queue = self.queue(at, Queue::Converting);
        queue.iter().enumerate().find_map(|(place, lock)| {
            let wish = lock.wish.as_ref()?;
            let mode = self.without_clash(lock)?;
            (place == 0 || wish.has(Flags::NOORDER)).then_some((lock.id, mode))
        })
    }

    fn may_leave_waiting(&self, lock: &Lock) -> Option<LockMode> {
        let wish = lock.wish.as_ref()?;
        let head = self.queue(&lock.at, Queue::Waiting).first().map(|head| head.id) == Some(lock.id);
        let in_turn = head && self.queue(&lock.at, Queue::Converting).is_empty();
        if in_turn || wish.has(Flags::NOORDER) { self.without_clash(lock) } else { None }
    }

    /// G5: the first of its modes that clashes with nobody. A sealed lock is never granted (E1), and none is
    /// while everybody waits (G10).
    pub(super) fn without_clash(&self, lock: &Lock) -> Option<LockMode> {
        let wish = lock.wish.as_ref().filter(|_| !lock.sealed && self.recovering.is_none())?;
        wish.modes().into_iter().find(|mode| self.clash(&lock.at, *mode, Some(lock.id)).is_none())
    }

    /// A queued request is granted.
    fn complete(&mut self, id: u64, mode: LockMode) {
        let lock = self.lock(id).expect("it was in its queue").clone();
        let wish = lock.wish.expect("a queued lock wants something");
        let grant = self.grant(id, mode, &wish);
        let path = self.paths.iter().position(|path| path.waits == Some(id));
        if let Some(path) = path {
            if self.paths[path].waits_for_leaf() {
                self.path_goes_on(path, grant); // Nowhere to go on to: its completion goes out in its turn.
            } else {
                self.going_on.push((id, grant));
            }
        } else if let Some(session) = lock.session {
            self.say(session, What::Granted { later: true, grant, levels: None });
        }
    }

    /// B1.
    fn blocking_notices(&mut self, at: &Place) {
        let mut listeners: Vec<Lock> = self.locks.iter().filter(|lock| lock.at == *at).cloned().collect();
        listeners.sort_by_key(|lock| lock.id);
        for lock in listeners {
            let Some((session, held)) = lock.session.zip(lock.held) else { continue };
            if lock.queue != Queue::Granted || !lock.blkast || lock.sealed {
                continue;
            }
            let news = self.untold(&lock, held);
            // The greatest under covers; if CW and PR both are, PR first.
            for mode in [LockMode::Ex, LockMode::Pw, LockMode::Pr, LockMode::Cw, LockMode::Cr, LockMode::Nl] {
                let greatest = news.iter().all(|other| *other == mode || !covers(*other, mode));
                if news.contains(&mode) && greatest {
                    self.say(session, What::Blocking { handle: lock.handle, seq: lock.seq, mode });
                    self.lock_mut(lock.id).told.push(mode);
                }
            }
        }
    }

    /// The modes that others want, that this lock blocks, and that it was not told.
    pub(super) fn untold(&self, lock: &Lock, held: LockMode) -> Vec<LockMode> {
        let others = self.locks.iter().filter(|other| other.at == lock.at && other.id != lock.id);
        others
            .filter_map(|other| other.wish.as_ref().map(|wish| wish.mode))
            .filter(|wanted| !beside(*wanted, held))
            .filter(|wanted| !lock.told.iter().any(|told| covers(*told, *wanted)))
            .collect()
    }
}
