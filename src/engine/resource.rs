//! A resource: a name with three queues, their summaries, and a value block.
//!
//! The summaries are what makes a grant cheap: how many locks hold each mode, how many want each mode. They are kept
//! by the few functions of this file that move a lock in or out, and nowhere else.

use super::image::{Bad, Image, Reader, Writer, fields};
use super::lock::{At, Links, List, Lock, LockSlot, ResourceSlot, Which};
use super::slab::Slab;
use enq_protocol::vocabulary::{Fence, Flags, LockMode, LockspaceId, ModeSet, ResourceName, ValueBlock};

/// A resource; it is there as long as it has a lock or a subresource.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    pub(super) name: ResourceName,
    pub(super) lockspace: LockspaceId,
    pub(super) parent: Option<ResourceSlot>,
    pub(super) depth: u8,
    /// It stands in the list of what this step has still to sweep.
    pub(super) to_sweep: bool,
    pub(super) granted: List,
    /// Locks that hold each mode, converting ones included.
    held: [u32; 6],
    pub(super) subresources: u32,
    /// There since the first lock had to wait or convert; most resources never need it.
    crowd: Option<Box<Crowd>>,
    /// F2: the fence that the fenced holders share, if there are any.
    pub(super) fence: Fence,
    /// E4: fenced holders that died, whose fence nobody joins.
    pub(super) delayed: u32,
    /// V3: none while nothing was ever stored or invalidated.
    pub(super) value: Option<Box<ValueBlock>>,
}

// Its queues and what is counted are made anew of its locks.
fields! {
    Resource {
        name, lockspace, parent, depth, fence, value;
        to_sweep: false, granted: List::default(), held: [0; 6], subresources: 0, crowd: None, delayed: 0
    }
}

/// Those that wait or convert, and what is counted of them.
#[derive(Clone, Debug, Default)]
struct Crowd {
    conversion: List,
    waiting: List,
    /// Locks that want each mode.
    wanted: [u32; 6],
    /// Locks that wait or convert.
    queued: u32,
    /// Locks in the conversion queue.
    converting: u32,
    /// Queued locks with NOORDER.
    disorderly: u32,
    /// Its place in the shard's list of resources where somebody waits or converts.
    contended_at: Option<u32>,
    /// Modes wanted when the notices were last sent.
    noticed: ModeSet,
}

impl Resource {
    /// What a resource takes beside itself once somebody has waited.
    pub(super) const CROWD_LEN: usize = size_of::<Crowd>();

    pub(super) fn new(
        name: ResourceName,
        lockspace: LockspaceId,
        parent: Option<ResourceSlot>,
        depth: u8,
    ) -> Resource {
        Resource {
            name,
            lockspace,
            parent,
            depth,
            to_sweep: false,
            granted: List::default(),
            held: [0; 6],
            subresources: 0,
            crowd: None,
            fence: Fence::UNFENCED,
            delayed: 0,
            value: None,
        }
    }

    /// How many locks hold this mode.
    pub(super) fn holding(&self, mode: LockMode) -> u32 {
        self.held[mode as usize]
    }

    /// The modes that some lock holds, one lock in `own` apart.
    pub(super) fn held_besides(&self, own: Option<LockMode>) -> ModeSet {
        let is_held = |mode: &LockMode| self.holding(*mode) > u32::from(own == Some(*mode));
        LockMode::ALL.into_iter().filter(is_held).fold(ModeSet::EMPTY, ModeSet::with)
    }

    /// Did anybody ever wait or convert?
    pub(super) fn has_crowd(&self) -> bool {
        self.crowd.is_some()
    }

    pub(super) fn conversion(&self) -> List {
        self.crowd.as_ref().map_or(List::default(), |crowd| crowd.conversion)
    }

    pub(super) fn waiting(&self) -> List {
        self.crowd.as_ref().map_or(List::default(), |crowd| crowd.waiting)
    }

    /// The modes that some lock wants.
    pub(super) fn wanted(&self) -> ModeSet {
        let Some(crowd) = &self.crowd else { return ModeSet::EMPTY };
        let is_wanted = |mode: &LockMode| crowd.wanted[*mode as usize] > 0;
        LockMode::ALL.into_iter().filter(is_wanted).fold(ModeSet::EMPTY, ModeSet::with)
    }

    /// Modes wanted when the notices were last sent; a mode that is not in it is news (B1).
    pub(super) fn noticed(&self) -> ModeSet {
        self.crowd.as_ref().map_or(ModeSet::EMPTY, |crowd| crowd.noticed)
    }

    /// Notices about these modes, and no others, are sent; says about which they were before.
    pub(super) fn notice(&mut self, modes: ModeSet) -> ModeSet {
        match &mut self.crowd {
            None if modes.is_empty() => ModeSet::EMPTY,
            crowd => std::mem::replace(&mut crowd.get_or_insert_default().noticed, modes),
        }
    }

    /// How many locks wait or convert.
    pub(super) fn queued(&self) -> u32 {
        self.crowd.as_ref().map_or(0, |crowd| crowd.queued)
    }

    /// Queued locks with NOORDER: while there are any, a sweep cannot stop at the heads.
    pub(super) fn disorderly(&self) -> u32 {
        self.crowd.as_ref().map_or(0, |crowd| crowd.disorderly)
    }

    /// Its place in the shard's list of resources where somebody waits or converts.
    pub(super) fn contended_at(&self) -> Option<u32> {
        self.crowd.as_ref()?.contended_at
    }

    /// It has this place there, or none.
    pub(super) fn list_contended(&mut self, at: Option<u32>) {
        if let Some(crowd) = &mut self.crowd {
            crowd.contended_at = at;
        }
    }

    /// Does anybody wait, or did anybody when it was last swept? If not, there is nothing to sweep.
    pub(super) fn is_contended(&self) -> bool {
        self.crowd.as_ref().is_some_and(|crowd| crowd.queued > 0 || !crowd.noticed.is_empty())
    }

    /// How many locks there are, in all three queues.
    pub(super) fn locks(&self) -> u32 {
        let waiting_or_converting = self.queued();
        let holding: u32 = self.held.iter().sum();
        // Converting locks are in both sums; those that only wait hold nothing.
        holding + waiting_or_converting - self.crowd.as_ref().map_or(0, |crowd| crowd.converting)
    }

    /// Is there neither a lock nor a subresource?
    pub(super) fn is_unused(&self) -> bool {
        self.granted.is_empty() && self.subresources == 0 && self.queued() == 0
    }

    /// Puts a lock into the queue that its `at` names; at the front if it asks so and waits.
    pub(super) fn admit(&mut self, locks: &mut Slab<Lock>, slot: LockSlot) {
        let lock = &locks[slot];
        let at = lock.at;
        let queued = at.wanted().is_some();
        let front = queued && lock.asks(Flags::HEADQUE);
        let disorderly = queued && lock.asks(Flags::NOORDER);
        self.count(at, disorderly, |count| *count += 1);
        let list = self.list(at);
        if front {
            list.push_front(locks, Which::Queue, slot);
        } else {
            list.push_back(locks, Which::Queue, slot);
        }
    }

    /// Puts a lock back into the queue that its `at` names: whoever calls this has the whole queue in its order.
    pub(super) fn readmit(&mut self, locks: &mut Slab<Lock>, slot: LockSlot) {
        let lock = &locks[slot];
        let at = lock.at;
        let disorderly = at.wanted().is_some() && lock.asks(Flags::NOORDER);
        self.count(at, disorderly, |count| *count += 1);
        self.list(at).push_back(locks, Which::Queue, slot);
    }

    /// Takes a lock out of the queue that its `at` names.
    pub(super) fn dismiss(&mut self, locks: &mut Slab<Lock>, slot: LockSlot) {
        let lock = &locks[slot];
        let at = lock.at;
        let disorderly = at.wanted().is_some() && lock.asks(Flags::NOORDER);
        self.count(at, disorderly, |count| *count -= 1);
        self.list(at).remove(locks, Which::Queue, slot);
    }

    /// Puts a lock that is in no queue into the granted one, in this mode.
    pub(super) fn admit_granted(&mut self, locks: &mut Slab<Lock>, slot: LockSlot, mode: LockMode) {
        let lock = &mut locks[slot];
        (lock.at, lock.in_queue) = (At::Granted { granted: mode }, self.granted.end());
        self.extend_granted(locks, slot, mode);
    }

    /// A lock that holds this mode, and knows that it stands at the end of the granted queue, does so from now on.
    pub(super) fn extend_granted(&mut self, locks: &mut Slab<Lock>, slot: LockSlot, mode: LockMode) {
        self.held[mode as usize] += 1;
        self.granted.extend(locks, Which::Queue, slot);
    }

    /// Takes a lock out of the granted queue that goes for good.
    pub(super) fn forget_granted(&mut self, locks: &mut Slab<Lock>, links: Links, mode: LockMode) {
        self.held[mode as usize] -= 1;
        self.granted.join(locks, Which::Queue, links);
    }

    /// Changes the held mode of a lock that stays in the granted queue, in its place.
    pub(super) fn exchange(&mut self, lock: &mut Lock, mode: LockMode) {
        if let Some(held) = lock.at.held() {
            self.held[held as usize] -= 1;
        }
        self.held[mode as usize] += 1;
        lock.at = At::Granted { granted: mode };
    }

    fn list(&mut self, at: At) -> &mut List {
        match at {
            At::Granted { .. } => &mut self.granted,
            At::Converting { .. } => &mut self.crowd.get_or_insert_default().conversion,
            At::Waiting { .. } => &mut self.crowd.get_or_insert_default().waiting,
        }
    }

    fn count(&mut self, at: At, disorderly: bool, change: impl Fn(&mut u32)) {
        if let Some(held) = at.held() {
            change(&mut self.held[held as usize]);
        }
        let Some(wanted) = at.wanted() else { return };
        let crowd = self.crowd.get_or_insert_default();
        change(&mut crowd.wanted[wanted as usize]);
        change(&mut crowd.queued);
        if matches!(at, At::Converting { .. }) {
            change(&mut crowd.converting);
        }
        if disorderly {
            change(&mut crowd.disorderly);
        }
    }
}
