//! Simulated time: one true time, and clocks of machines that run a little fast or slow.
//!
//! True time is in nanoseconds from the beginning of the world. A machine that is stopped misses moments, its clock does
//! not.

/// True time, in nanoseconds.
pub(crate) type Time = u64;

pub(crate) const MS: Time = 1_000_000;
pub(crate) const SECOND: Time = 1_000 * MS;

const MILLION: i128 = 1_000_000;

/// A machine's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// What it showed at the beginning, if it ran then.
    offset: i128,
    /// Parts in a million that it runs fast.
    ppm: i64,
}

impl Clock {
    pub(crate) fn new(offset: u64, ppm: i64) -> Clock {
        Clock { offset: offset.into(), ppm }
    }

    /// The same clock, which does not run for a while and then goes on from there.
    pub(crate) fn showing(self, time: Time, shown: u64) -> Clock {
        Clock { offset: i128::from(shown) - self.run(time), ..self }
    }

    fn run(self, time: Time) -> i128 {
        i128::from(time) * (MILLION + i128::from(self.ppm)) / MILLION
    }

    /// What it shows.
    pub(crate) fn shows(self, time: Time) -> u64 {
        u64::try_from(self.offset + self.run(time)).expect("clocks run forwards")
    }

    /// The first moment at which it shows that, or more.
    pub(crate) fn when(self, shown: u64) -> Time {
        let run = (i128::from(shown) - self.offset).max(0);
        let time = (run * MILLION).div_euclid(MILLION + i128::from(self.ppm));
        let time = u64::try_from(time).expect("clocks run forwards");
        (time..).find(|time| self.shows(*time) >= shown).expect("clocks go on")
    }
}

#[test]
fn a_clock_shows_a_moment_when_it_says() {
    for ppm in [-10_000, -3, 0, 7, 10_000] {
        let clock = Clock::new(5_000_000, ppm);
        for shown in [0, 5_000_000, 5_000_001, 9_999_999_999, 123_456_789_012] {
            let when = clock.when(shown);
            assert!(clock.shows(when) >= shown, "{ppm} {shown}");
            assert!(when == 0 || clock.shows(when - 1) < shown, "{ppm} {shown}");
        }
    }
}
