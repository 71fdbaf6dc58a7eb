//! The policy of a lockspace: what its operator decided for all resources in it.

use super::{LockMode, ModeSet, VALUE_LEN_DEFAULT};

/// The longest lock-delay.
pub const LOCK_DELAY_MS_MAX: u32 = 60_000;

/// A request with this deadlock priority is never refused to break a deadlock (rule D4).
pub const NEVER_REFUSED: u8 = u8::MAX;

/// When a conversion deadlock on one resource is refused (rule D1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConversionDeadlock {
    /// At once, when the second conversion arrives.
    #[default]
    Immediate,
    /// By the deadlock search, as VMS does: both conversions queue.
    Timed,
}

/// What a lockspace says of the victims among its requests (rule D4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VictimRule {
    /// The lowest priority, and of those the youngest request.
    #[default]
    Youngest,
    /// The lowest priority, and of those the one whose session has the fewest locks.
    FewestLocks,
    /// None: deadlocks are told and not broken.
    ReportOnly,
}

/// What an operator decides for a lockspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The longest value block, 0 to 1024 bytes.
    pub value_len_max: u16,
    /// Conversions queue behind conversions: implies QUECVT for every conversion to which it is legal.
    pub fair: bool,
    /// When a conversion deadlock is refused.
    pub conversion_deadlock: ConversionDeadlock,
    /// How long a request waits before a deadlock search starts for it; 10 ms to 1 h, 0 for never.
    pub deadlock_wait_ms: u32,
    /// The longest time a request may wait; 0 for no limit.
    pub wait_ms_max: u32,
    /// The modes that may be asked for.
    pub modes: ModeSet,
    /// A request without a REASON extension is refused DENIED.
    pub reason_required: bool,
    /// How long the locks of a session that died go on blocking (rule E4): 0 to 60 s.
    pub lock_delay_ms: u32,
    /// Which request is refused to break a deadlock (rule D4).
    pub deadlock_victim: VictimRule,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            value_len_max: VALUE_LEN_DEFAULT,
            fair: false,
            conversion_deadlock: ConversionDeadlock::Immediate,
            deadlock_wait_ms: 1_000,
            wait_ms_max: 0,
            modes: LockMode::ALL.into_iter().fold(ModeSet::EMPTY, ModeSet::with),
            reason_required: false,
            lock_delay_ms: 0,
            deadlock_victim: VictimRule::Youngest,
        }
    }
}
