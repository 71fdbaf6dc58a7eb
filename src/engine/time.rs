//! Time as the engine knows it: nanoseconds since its world began, brought in by every input, read from nowhere.

/// A moment. The engine never sees one go back: a step clamps it to the last it saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Instant(pub u64);

impl Instant {
    /// The first moment.
    pub const START: Instant = Instant(0);

    /// So many milliseconds later, or the end of time.
    #[must_use]
    pub const fn after_ms(self, ms: u32) -> Instant {
        Instant(self.0.saturating_add(ms as u64 * 1_000_000))
    }

    /// How many whole milliseconds ago that was; 0 if it is still to come.
    #[must_use]
    pub const fn ms_since(self, earlier: Instant) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000_000
    }

    /// The milliseconds until then, the last one counted whole.
    #[must_use]
    pub const fn ms_until(self, later: Instant) -> u64 {
        later.0.saturating_sub(self.0).div_ceil(1_000_000)
    }
}
