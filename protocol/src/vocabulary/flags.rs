//! The flags of a request, by the names and bits the Linux kernel gave them; what it lacks has bits above.
//!
//! Flags are per call: nothing is inherited from an earlier call on the same lock (rule R8). Which flag is legal
//! where is rule R2 of `docs/locking.md`; an unknown bit is refused.

use alloc::vec::Vec;
use core::{fmt, ops};

/// A set of flags.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u32);

impl Flags {
    /// None.
    pub const NONE: Flags = Flags(0);
    /// Fail instead of waiting.
    pub const NOQUEUE: Flags = Flags(0x1);
    /// Read or store the value block with this call.
    pub const VALBLK: Flags = Flags(0x8);
    /// This conversion queues behind the conversions that wait.
    pub const QUECVT: Flags = Flags(0x10);
    /// Mark the value block not valid.
    pub const IVVALBLK: Flags = Flags(0x20);
    /// On a conversion deadlock, drop the granted mode to NL instead of failing.
    pub const CONVDEADLK: Flags = Flags(0x40);
    /// The lock outlives its session, as an orphan.
    pub const PERSISTENT: Flags = Flags(0x80);
    /// While it waits, this request does not count as its owner waiting.
    pub const NODLCKWT: Flags = Flags(0x100);
    /// This lock does not count as blocking others in the deadlock search.
    pub const NODLCKBLK: Flags = Flags(0x200);
    /// A new NL lock that skips both queues.
    pub const EXPEDITE: Flags = Flags(0x400);
    /// With NOQUEUE: tell the blockers although the request fails.
    pub const NOQUEUEBAST: Flags = Flags(0x800);
    /// Queue at the front.
    pub const HEADQUE: Flags = Flags(0x1000);
    /// Ignore the order of the queues, look at compatibility only.
    pub const NOORDER: Flags = Flags(0x2000);
    /// Accept PR if the mode asked for cannot be granted.
    pub const ALTPR: Flags = Flags(0x8000);
    /// Accept CW if the mode asked for cannot be granted.
    pub const ALTCW: Flags = Flags(0x1_0000);
    /// Release whatever the lock's state is. A plain release does that too; the flag is accepted for its users' sake.
    pub const FORCEUNLOCK: Flags = Flags(0x2_0000);
    /// Say SYNC in the answer if the request was granted at once.
    pub const SYNCSTS: Flags = Flags(0x10_0000);
    /// Tell this lock's holder when it blocks somebody: the lock has a blocking routine, as VMS would say.
    pub const BLKAST: Flags = Flags(0x20_0000);
    /// Answer this release only if it fails.
    pub const NOACK: Flags = Flags(0x40_0000);
    /// Release the intent locks above this lock too, where a path request made them and nothing else needs them.
    pub const PATH: Flags = Flags(0x80_0000);

    /// Every flag with its name, in order of its bit.
    pub const TABLE: [(Flags, &'static str); 19] = [
        (Flags::NOQUEUE, "NOQUEUE"),
        (Flags::VALBLK, "VALBLK"),
        (Flags::QUECVT, "QUECVT"),
        (Flags::IVVALBLK, "IVVALBLK"),
        (Flags::CONVDEADLK, "CONVDEADLK"),
        (Flags::PERSISTENT, "PERSISTENT"),
        (Flags::NODLCKWT, "NODLCKWT"),
        (Flags::NODLCKBLK, "NODLCKBLK"),
        (Flags::EXPEDITE, "EXPEDITE"),
        (Flags::NOQUEUEBAST, "NOQUEUEBAST"),
        (Flags::HEADQUE, "HEADQUE"),
        (Flags::NOORDER, "NOORDER"),
        (Flags::ALTPR, "ALTPR"),
        (Flags::ALTCW, "ALTCW"),
        (Flags::FORCEUNLOCK, "FORCEUNLOCK"),
        (Flags::SYNCSTS, "SYNCSTS"),
        (Flags::BLKAST, "BLKAST"),
        (Flags::NOACK, "NOACK"),
        (Flags::PATH, "PATH"),
    ];

    /// The flags of a new request.
    pub const OF_ENQ: Flags = Flags(
        Self::NOQUEUE.0
            | Self::VALBLK.0
            | Self::PERSISTENT.0
            | Self::NODLCKWT.0
            | Self::NODLCKBLK.0
            | Self::EXPEDITE.0
            | Self::NOQUEUEBAST.0
            | Self::HEADQUE.0
            | Self::NOORDER.0
            | Self::ALTPR.0
            | Self::ALTCW.0
            | Self::SYNCSTS.0
            | Self::BLKAST.0,
    );

    /// The flags of a conversion.
    pub const OF_CONVERT: Flags =
        Flags((Self::OF_ENQ.0 & !Self::EXPEDITE.0) | Self::QUECVT.0 | Self::IVVALBLK.0 | Self::CONVDEADLK.0);

    /// The flags of a release.
    pub const OF_DEQ: Flags =
        Flags(Self::VALBLK.0 | Self::IVVALBLK.0 | Self::FORCEUNLOCK.0 | Self::NOACK.0 | Self::PATH.0);

    /// The flags of a release of a subtree or of everything.
    pub const OF_DEQ_ALL: Flags = Flags(Self::IVVALBLK.0);

    /// The flags of an adoption.
    pub const OF_ADOPT: Flags =
        Flags(Self::VALBLK.0 | Self::PERSISTENT.0 | Self::NODLCKBLK.0 | Self::SYNCSTS.0 | Self::BLKAST.0);

    /// The flags of a cancel.
    pub const OF_CANCEL: Flags = Flags::NONE;

    /// Are all of these set?
    #[must_use]
    pub const fn contains(self, flags: Flags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Is any of these set?
    #[must_use]
    pub const fn intersects(self, flags: Flags) -> bool {
        self.0 & flags.0 != 0
    }

    /// These without those.
    #[must_use]
    pub const fn without(self, flags: Flags) -> Flags {
        Flags(self.0 & !flags.0)
    }

    /// These where the condition holds, otherwise none.
    #[must_use]
    pub const fn when(self, condition: bool) -> Flags {
        if condition { self } else { Flags::NONE }
    }

    /// The flag with this name, upper or lower case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Flags> {
        Self::TABLE.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|row| row.0)
    }
}

impl ops::BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl ops::BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Flags) {
        self.0 |= other.0;
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set: Vec<&str> =
            Self::TABLE.iter().filter(|(flag, _)| self.contains(*flag)).map(|row| row.1).collect();
        f.write_str(&set.join(" "))
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
