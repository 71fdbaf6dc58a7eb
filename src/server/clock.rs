//! The one door by which time enters the server.
//!
//! The engine's moments are nanoseconds since the server's start, or since the first start of its journal without the time
//! in between, from a clock that never goes back. Nothing else in the server asks what time it is.

use crate::engine::Instant;
use std::time::Duration;

/// The server's clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: std::time::Instant,
    /// The moment that the start was.
    from: Instant,
}

impl Clock {
    /// A clock that starts now, at this moment.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one door by which time enters the server")]
    pub fn start(from: Instant) -> Clock {
        Clock { start: std::time::Instant::now(), from }
    }

    /// The moment it is.
    #[must_use]
    pub fn now(&self) -> Instant {
        // 2^64 nanoseconds are 584 years.
        let since = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Instant(self.from.0.saturating_add(since))
    }
}

/// The moment so far from now, for a timer of the runtime.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one door by which time enters the server")]
pub(super) fn timer_in(after: Duration) -> tokio::time::Instant {
    tokio::time::Instant::now() + after
}
