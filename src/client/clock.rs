//! The one door by which time enters the client.
//!
//! Deadlines of leases are counted on `CLOCK_BOOTTIME`, which goes on while the machine sleeps: a laptop that was
//! closed for an hour must not believe that it still holds its locks. Everything pure takes a [`Moment`] as an
//! argument; only the driver of a connection and the guards read the clock.

use std::time::Duration;

/// A moment of this machine since it was started, sleep included, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// This much later; the end of time if that is beyond it.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is before it.
    #[must_use]
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Reads the clock.
#[must_use]
pub fn now() -> Moment {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let clock = nix::time::ClockId::CLOCK_BOOTTIME;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let clock = nix::time::ClockId::CLOCK_MONOTONIC;
    // These clocks are always there; if one were not, every lease would count as over, which is the safe side.
    let read = nix::time::clock_gettime(clock).map_or(Duration::MAX, Duration::from);
    Moment::default().plus(read)
}

/// What this machine's clock says of the date: milliseconds since 1970. It may be wrong and it may be set: for what people
/// read, and for nothing else.
#[must_use]
pub fn wall_ms() -> u64 {
    let read = nix::time::clock_gettime(nix::time::ClockId::CLOCK_REALTIME);
    read.map_or(0, |time| u64::try_from(Duration::from(time).as_millis()).unwrap_or(u64::MAX))
}

/// When this process started, in seconds since 1970 by its host's clock; with the process number it names the process
/// for ever. 0 where `/proc` does not tell.
pub(super) fn process_start() -> u64 {
    let born = || {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The command's name stands in parentheses and may hold anything; the 20th field after it is the start.
        let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
        let boot = std::fs::read_to_string("/proc/stat").ok()?;
        let boot: u64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
        Some(boot + ticks / 100)
    };
    born().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_add_and_subtract_without_wrapping() {
        let start = Moment(5);
        assert_eq!(start.plus(Duration::from_nanos(7)), Moment(12));
        assert_eq!(Moment(12).since(start), Duration::from_nanos(7));
        assert_eq!(start.since(Moment(12)), Duration::ZERO);
        assert_eq!(start.plus(Duration::MAX), Moment(u64::MAX));
        assert!(now() > Moment(0) && process_start() > 0);
    }
}
