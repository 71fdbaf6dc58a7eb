//! Numbers that name things: locks, sessions, owners, grants, places in the order of a shard.
//!
//! Each is its own type, so that one can never be passed for another. Numbers that go into JSON go there as strings.

use core::{fmt, num::NonZeroU32};

/// A lock as views and administrators name it: shard 8 bits, slot 24 bits, generation 32 bits.
///
/// A slot is used again, its generation never: an id of a lock that has gone is refused, not mistaken (rule Q3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LockId(pub u64);

impl LockId {
    /// Slots a shard can have: 24 bits.
    pub const SLOT_MAX: u32 = 0x00FF_FFFF;

    /// Puts the three parts together; the slot's upper 8 bits are dropped.
    #[must_use]
    pub const fn new(shard: u8, slot: u32, generation: u32) -> LockId {
        LockId((shard as u64) << 56 | ((slot & Self::SLOT_MAX) as u64) << 32 | generation as u64)
    }

    /// Which of the 256 shards.
    #[must_use]
    pub const fn shard(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    /// Which slot of the shard's slab.
    #[must_use]
    pub const fn slot(self) -> u32 {
        let [_, a, b, c, ..] = self.0.to_be_bytes();
        u32::from_be_bytes([0, a, b, c])
    }

    /// Which life of the slot.
    #[must_use]
    pub const fn generation(self) -> u32 {
        let [_, _, _, _, a, b, c, d] = self.0.to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }
}

impl fmt::Display for LockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:x}", self.0)
    }
}

impl fmt::Debug for LockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:x}.{:x}.{:x}", self.shard(), self.slot(), self.generation())
    }
}

impl core::str::FromStr for LockId {
    type Err = core::num::ParseIntError;

    fn from_str(text: &str) -> Result<LockId, Self::Err> {
        u64::from_str_radix(text.strip_prefix('#').unwrap_or(text), 16).map(LockId)
    }
}

/// The client's own number for one of its locks: 1 to the session's lock quota, unique among its live locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(pub NonZeroU32);

impl Handle {
    /// The handle with this number; there is no handle 0.
    #[must_use]
    pub const fn new(number: u32) -> Option<Handle> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Handle(number)),
            None => None,
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who holds locks: epoch of the server's boot 24 bits, counter 40 bits. Printed `epoch.counter`.
///
/// The id is no secret and opens nothing; what opens a session is its secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 >> 40, self.0 & 0xFF_FFFF_FFFF)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::str::FromStr for SessionId {
    type Err = core::num::ParseIntError;

    fn from_str(text: &str) -> Result<SessionId, Self::Err> {
        let (epoch, counter) = text.split_once('.').unwrap_or(("0", text));
        Ok(SessionId(epoch.parse::<u64>()? << 40 | counter.parse::<u64>()? & 0xFF_FFFF_FFFF))
    }
}

/// A node of the waits-for graph within a session: scope 0 is the session's own space of tokens, token 0 the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// 0 always; other scopes are reserved for owners that span sessions.
    pub scope: u8,
    /// The caller's number for a task, thread or transaction.
    pub token: u64,
}

impl Owner {
    /// Clients that number their tasks themselves begin here, so that none is taken for an owner whose small number
    /// somebody chose. Programs that read numbers as floating point still read all of it.
    pub const TASKS: u64 = 1 << 48;

    /// The number of the task that this is, by that convention.
    #[must_use]
    pub fn task(self) -> Option<u64> {
        self.token.checked_sub(Owner::TASKS)
    }
}

/// A lockspace: a naming scope with a policy. 0 is `default`, which always exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LockspaceId(pub u32);

/// The number of a grant: epoch 23 bits, counter 40 bits. Strictly increasing for ever within one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seq(pub u64);

impl Seq {
    /// The last counter of an epoch.
    pub const COUNTER_MAX: u64 = (1 << 40) - 1;
    /// The last epoch.
    pub const EPOCH_MAX: u32 = (1 << 23) - 1;

    /// Puts the two parts together.
    #[must_use]
    pub const fn new(epoch: u32, counter: u64) -> Seq {
        Seq((epoch as u64) << 40 | counter & Self::COUNTER_MAX)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number a guarded resource checks (rule F1); 0 means unfenced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fence(pub u64);

impl Fence {
    /// What NL and CR carry.
    pub const UNFENCED: Fence = Fence(0);
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// When a request entered its queue: the order of queues, of deadlines that fall together and of ages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stamp(pub u64);

/// How many steps a shard has made: 48 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Serial(pub u64);

/// Where in the history of the locks something happened: the shard (16 bits) and the serial of its step (48 bits).
///
/// Sorting what was received by place gives the history of each shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place(pub u64);

impl Place {
    /// What no shard has to do with.
    pub const NOWHERE: Place = Place(u64::MAX);

    /// Puts the two parts together.
    #[must_use]
    pub const fn new(shard: u8, serial: Serial) -> Place {
        Place((shard as u64) << 48 | serial.0 & 0xFFFF_FFFF_FFFF)
    }

    /// Which shard.
    #[must_use]
    pub const fn shard(self) -> u64 {
        self.0 >> 48
    }

    /// Which of its steps.
    #[must_use]
    pub const fn serial(self) -> Serial {
        Serial(self.0 & 0xFFFF_FFFF_FFFF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn parts_of_ids_come_back() {
        let id = LockId::new(0xAB, 0x12_3456, 0xDEAD_BEEF);
        assert_eq!((id.shard(), id.slot(), id.generation()), (0xAB, 0x12_3456, 0xDEAD_BEEF));
        assert_eq!(id.to_string().parse::<LockId>().unwrap(), id);
        let session = SessionId(3 << 40 | 17);
        assert_eq!(session.to_string(), "3.17");
        assert_eq!("3.17".parse::<SessionId>().unwrap(), session);
        let place = Place::new(200, Serial(5));
        assert_eq!((place.shard(), place.serial()), (200, Serial(5)));
    }
}
