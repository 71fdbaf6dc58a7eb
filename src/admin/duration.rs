//! Durations as people write and read them: `15s`, `500ms`, `2m`, `1h30m`; a bare number is seconds.

use std::{fmt::Write as _, time::Duration};

/// The longest duration that is taken: more is a slip of the finger.
const DAYS_MAX: u64 = 366;

/// The units, largest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a duration.
///
/// # Errors
/// A sentence that says what a duration looks like.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || String::from("a duration is a number with ms, s, m, h or d, such as 15s or 1h30m");
    if let Ok(seconds) = text.parse::<f64>() {
        let seconds = Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
        return bounded(seconds);
    }
    let mut total = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|at| *at > 0).ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let (_, ms) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        total = number.checked_mul(*ms).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = after;
    }
    if text.is_empty() { Err(wrong()) } else { bounded(Duration::from_millis(total)) }
}

fn bounded(duration: Duration) -> Result<Duration, String> {
    if duration > Duration::from_secs(DAYS_MAX * 86_400) {
        return Err(format!("a duration is at most {DAYS_MAX} days"));
    }
    Ok(duration)
}

/// The duration in its two largest units: `850ms`, `12s`, `3m5s`, `2d4h`.
#[must_use]
pub(super) fn show_ms(ms: u64) -> String {
    let mut text = String::new();
    let mut rest = ms;
    let mut parts = 0;
    for (unit, size) in UNITS {
        let count = rest / size;
        if count > 0 && !(unit == "ms" && parts > 0) {
            // Writing to a string cannot fail.
            let _ = write!(text, "{count}{unit}");
            rest %= size;
        }
        // Two units, counted from the first that is not zero.
        parts += usize::from(count > 0 || parts > 0);
        if parts == 2 {
            break;
        }
    }
    if text.is_empty() { String::from("0s") } else { text }
}

/// The duration in whole milliseconds.
#[must_use]
pub(super) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read() {
        for (text, wanted) in
            [("15", 15_000), ("0.5", 500), ("500ms", 500), ("1h30m", 5_400_000), ("0", 0), ("2m", 120_000)]
        {
            assert_eq!(parse(text).map(ms), Ok(wanted), "{text}");
        }
        for text in ["", "s", "-1", "1 s", "1y", "1h30", "99999999999999999999s", "400d", "inf", "nan"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_has_two_units_at_most() {
        for (ms, wanted) in [
            (0, "0s"),
            (850, "850ms"),
            (12_345, "12s"),
            (185_000, "3m5s"),
            (187_200_000, "2d4h"),
            (86_400_001, "1d"),
        ] {
            assert_eq!(show_ms(ms), wanted);
        }
    }
}
