//! Moments as people read them: the date and the time of day in UTC.
//!
//! The server tells ages, because the clocks of two machines do not agree on a date. The date is this machine's.

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// The moment so many milliseconds after the beginning of 1970: `2026-11-21 19:24:57.042Z`.
#[must_use]
pub(super) fn utc(ms: u64) -> String {
    let (year, month, day) = civil(ms / DAY_MS);
    let of_day = ms % DAY_MS;
    let (hours, minutes) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (seconds, ms) = (of_day / 1_000 % 60, of_day % 1_000);
    format!("{year:04}-{month:02}-{day:02} {hours:02}:{minutes:02}:{seconds:02}.{ms:03}Z")
}

/// Year, month and day of so many days after the first one of 1970. The year begins in March here, so that the day that
/// only some years have is its last.
fn civil(days: u64) -> (u64, u64, u64) {
    // From the first of March of the year 0, in eras of 400 years.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_778, (2026, 11, 21)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(days), date, "{days}");
        }
    }

    #[test]
    fn a_moment_has_a_date_and_a_time() {
        assert_eq!(utc(0), "1970-01-01 00:00:00.000Z");
        assert_eq!(utc(20_778 * DAY_MS + 69_897_042), "2026-11-21 19:24:57.042Z");
    }
}
