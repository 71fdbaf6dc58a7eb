//! A lock, and the list it stands in. A request is a lock from the moment it is queued.

use super::image::{Bad, Image, Reader, Writer, fields, variants};
use super::resource::Resource;
use super::shard::Attendance;
use super::slab::{Slab, Slot};
use super::time::Instant;
use enq_protocol::vocabulary::{Fence, Flags, Handle, LockMode, ModeSet, Owner, Queue, Seq, Stamp};

pub(super) type LockSlot = Slot<Lock>;
pub(super) type ResourceSlot = Slot<Resource>;
pub(super) type SessionSlot = Slot<Attendance>;

/// Where a lock is, and with which modes.
///
/// ```text
///             granted                 convert, cannot be granted
///  Waiting ------------> Granted <-----------------------------> Converting
///     |                     |        granted, cancelled, timed      |
///     +----------> gone <---+------------ out, refused -------------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// In the waiting queue, holding nothing.
    Waiting { requested: LockMode },
    /// In the granted queue.
    Granted { granted: LockMode },
    /// In the conversion queue, still holding what it had.
    Converting { granted: LockMode, requested: LockMode },
}

impl At {
    /// What the lock holds.
    pub(super) fn held(self) -> Option<LockMode> {
        match self {
            At::Waiting { .. } => None,
            At::Granted { granted } | At::Converting { granted, .. } => Some(granted),
        }
    }

    /// What the lock waits for.
    pub(super) fn wanted(self) -> Option<LockMode> {
        match self {
            At::Granted { .. } => None,
            At::Waiting { requested } | At::Converting { requested, .. } => Some(requested),
        }
    }

    /// Which of the three queues it is in.
    pub(super) fn queue(self) -> Queue {
        match self {
            At::Waiting { .. } => Queue::Waiting,
            At::Granted { .. } => Queue::Granted,
            At::Converting { .. } => Queue::Conversion,
        }
    }
}

variants! {
    At {
        0 => Waiting { requested },
        1 => Granted { granted },
        2 => Converting { granted, requested },
    }
}

/// A lock; what is seldom there (reasons, deadlines, values of queued conversions) is kept beside, by slot.
#[derive(Clone, Debug)]
pub(super) struct Lock {
    pub(super) at: At,
    /// Deadlock priority; the lowest on a cycle is refused.
    pub(super) priority: u8,
    /// B1: the modes its holder was told in this grant.
    pub(super) told: ModeSet,
    pub(super) marks: Marks,
    /// The flags of the request that waits; meaningless while the lock is granted.
    pub(super) request: Flags,
    /// R8: PERSISTENT, NODLCKBLK, BLKAST as the last grant set them.
    pub(super) lasting: Flags,
    pub(super) handle: Handle,
    pub(super) resource: ResourceSlot,
    /// None for an orphan.
    pub(super) session: Option<SessionSlot>,
    pub(super) parent: Option<LockSlot>,
    /// T4: how many locks name this one as their parent.
    pub(super) sublocks: u32,
    /// E3: how many of these are orphans, for which it stays too.
    pub(super) orphans: u32,
    /// Neighbours in the resource's queue.
    pub(super) in_queue: Links,
    /// Neighbours among the session's locks of one depth in this shard, oldest first.
    pub(super) in_session: Links,
    pub(super) owner: Owner,
    /// When it entered its queue.
    pub(super) stamp: Stamp,
    pub(super) since: Instant,
    pub(super) seq: Seq,
    pub(super) fence: Fence,
}

// Its session and its neighbours follow from the lists that it is in.
fields! {
    Lock {
        at, priority, told, marks, request, lasting, handle, resource, parent, owner, stamp, since, seq, fence;
        session: None, sublocks: 0, orphans: 0, in_queue: Links::default(), in_session: Links::default()
    }
}

/// What else may be true of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// P6: a path request made it as an intent.
    Intent,
    /// P3: a path request waits for it.
    Path,
    /// P5: path requests that wait stand on it.
    Pinned,
    /// C5: its held mode was dropped to NL while it converts.
    Demoted,
    /// C5: a demotion took away what its seq stands for, until the next grant.
    Spent,
    /// U7: it has a deadline, kept in `deadlines`.
    Deadline,
    /// A handle that the session register does not know yet leads here.
    ByHandle,
    /// It has a reason, kept beside.
    Reason,
    /// Its queued conversion brought a value, kept beside.
    Value,
    /// E4: its session has died, and its lock-delay goes on.
    Delayed,
}

/// What else is true of a lock, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks(u16);

impl Marks {
    pub(super) fn has(self, mark: Mark) -> bool {
        self.0 & 1 << mark as u16 != 0
    }

    /// Sets it or takes it away; says whether it was there.
    pub(super) fn put(&mut self, mark: Mark, is: bool) -> bool {
        let before = self.has(mark);
        self.0 = self.0 & !(1 << mark as u16) | u16::from(is) << mark as u16;
        before
    }

    /// All others say of a lock that it is in one of the tables beside.
    const IN_IMAGE: [Mark; 5] = [Mark::Intent, Mark::Demoted, Mark::Spent, Mark::ByHandle, Mark::Delayed];

    /// Is any of these there?
    pub(super) fn any<const N: usize>(self, marks: [Mark; N]) -> bool {
        self.only(marks) != Marks::default()
    }

    /// These of them.
    pub(super) fn only<const N: usize>(self, marks: [Mark; N]) -> Marks {
        Marks(self.0 & marks.into_iter().fold(0, |bits, mark| bits | 1 << mark as u16))
    }

    /// Takes it away; says whether it was there.
    pub(super) fn take(&mut self, mark: Mark) -> bool {
        self.put(mark, false)
    }
}

/// Those that nothing else says.
impl Image for Marks {
    fn write(&self, to: &mut Writer) {
        self.only(Marks::IN_IMAGE).0.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Marks, Bad> {
        let marks = Marks(u16::read(from)?);
        from.ensure(marks == marks.only(Marks::IN_IMAGE), "marks that there are not")?;
        Ok(marks)
    }
}

impl Lock {
    /// Does the flag count for this lock now: as a property, or as asked by the request that waits?
    pub(super) fn has(&self, flag: Flags) -> bool {
        match self.at {
            At::Waiting { .. } => self.request.contains(flag),
            At::Granted { .. } | At::Converting { .. } => self.lasting.contains(flag),
        }
    }

    /// Does the request that waits carry this flag?
    pub(super) fn asks(&self, flag: Flags) -> bool {
        self.request.contains(flag)
    }
}

/// The two neighbours of a lock in a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Links {
    pub(super) before: Option<LockSlot>,
    pub(super) after: Option<LockSlot>,
}

/// Which of a lock's two lists is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// The queue of its resource.
    Queue,
    /// The list of its session.
    Session,
}

impl Lock {
    fn links(&mut self, which: Which) -> &mut Links {
        match which {
            Which::Queue => &mut self.in_queue,
            Which::Session => &mut self.in_session,
        }
    }

    /// The next lock in that list.
    pub(super) fn after(&self, which: Which) -> Option<LockSlot> {
        match which {
            Which::Queue => self.in_queue.after,
            Which::Session => self.in_session.after,
        }
    }
}

/// A doubly linked list of locks, threaded through their slab.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    pub(super) head: Option<LockSlot>,
    tail: Option<LockSlot>,
}

impl List {
    pub(super) fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    pub(super) fn push_back(&mut self, locks: &mut Slab<Lock>, which: Which, slot: LockSlot) {
        *locks[slot].links(which) = self.end();
        self.extend(locks, which, slot);
    }

    /// The neighbours that the next one has which is put at the end.
    pub(super) fn end(&self) -> Links {
        Links { before: self.tail, after: None }
    }

    /// A lock that knows that it stands at the end does so from now on.
    pub(super) fn extend(&mut self, locks: &mut Slab<Lock>, which: Which, slot: LockSlot) {
        match self.tail.replace(slot) {
            Some(tail) => locks[tail].links(which).after = Some(slot),
            None => self.head = Some(slot),
        }
    }

    pub(super) fn push_front(&mut self, locks: &mut Slab<Lock>, which: Which, slot: LockSlot) {
        *locks[slot].links(which) = Links { before: None, after: self.head };
        match self.head.replace(slot) {
            Some(head) => locks[head].links(which).before = Some(slot),
            None => self.tail = Some(slot),
        }
    }

    pub(super) fn remove(&mut self, locks: &mut Slab<Lock>, which: Which, slot: LockSlot) {
        let links = std::mem::take(locks[slot].links(which));
        self.join(locks, which, links);
    }

    /// Whoever stood between these two does so no more.
    pub(super) fn join(&mut self, locks: &mut Slab<Lock>, which: Which, Links { before, after }: Links) {
        match before {
            Some(before) => locks[before].links(which).after = after,
            None => self.head = after,
        }
        match after {
            Some(after) => locks[after].links(which).before = before,
            None => self.tail = before,
        }
    }

    /// Is this lock in it? It must be in no other list of that sort.
    pub(super) fn has(self, locks: &Slab<Lock>, which: Which, slot: LockSlot) -> bool {
        let lock = &locks[slot];
        let links = match which {
            Which::Queue => lock.in_queue,
            Which::Session => lock.in_session,
        };
        links.before.is_some() || self.head == Some(slot)
    }

    /// The locks in order.
    pub(super) fn iter(self, locks: &Slab<Lock>, which: Which) -> impl Iterator<Item = LockSlot> {
        std::iter::successors(self.head, move |slot| locks[*slot].after(which))
    }
}
