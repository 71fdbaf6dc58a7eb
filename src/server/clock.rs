//! The one door by which time enters the server.
//!
//! The engine's moments are nanoseconds since the server's start, from a clock that never goes back. Nothing else in
//! the server asks what time it is.

use crate::engine::Instant;
use std::time::Duration;

/// The server's clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: std::time::Instant,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one door by which time enters the server")]
    pub fn start() -> Clock {
        Clock { start: std::time::Instant::now() }
    }

    /// The moment it is.
    #[must_use]
    pub fn now(&self) -> Instant {
        // 2^64 nanoseconds are 584 years.
        Instant(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// The moment so far from now, for a timer of the runtime.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one door by which time enters the server")]
pub(super) fn timer_in(after: Duration) -> tokio::time::Instant {
    tokio::time::Instant::now() + after
}
