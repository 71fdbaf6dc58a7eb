//! How many pairs a second: so many, or a part of what the floor reaches.

use std::{fmt, str::FromStr};

/// A rate that is to be kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// Pairs a second, of all connections together.
    Pairs(f64),
    /// A part of what the floor reaches at the same point in the same run.
    OfFloor(f64),
}

impl Rate {
    /// In pairs a second, when the floor reaches this many.
    #[must_use]
    pub fn pairs(self, floor: f64) -> f64 {
        match self {
            Rate::Pairs(pairs) => pairs,
            Rate::OfFloor(part) => part * floor,
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        let wrong = || {
            String::from(
                "a rate is pairs a second, such as 20000 or 20k, or a part of the floor's, such as 50%",
            )
        };
        let number = |text: &str| {
            let number: f64 = text.parse().map_err(|_| wrong())?;
            if number.is_finite() && number > 0.0 { Ok(number) } else { Err(wrong()) }
        };
        match text.strip_suffix('%') {
            Some(part) => Ok(Rate::OfFloor(number(part)? / 100.0)),
            None => match text.strip_suffix('k') {
                Some(thousands) => Ok(Rate::Pairs(number(thousands)? * 1_000.0)),
                None => Ok(Rate::Pairs(number(text)?)),
            },
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rate::Pairs(pairs) => write!(f, "{pairs}"),
            Rate::OfFloor(part) => write!(f, "{}%", part * 100.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_numbers_or_parts() {
        assert_eq!("50%".parse(), Ok(Rate::OfFloor(0.5)));
        assert_eq!("20k".parse(), Ok(Rate::Pairs(20_000.0)));
        assert_eq!("1500".parse(), Ok(Rate::Pairs(1_500.0)));
        assert_eq!(Rate::OfFloor(0.5).pairs(60_000.0), 30_000.0);
        for text in ["", "0", "-5", "%", "fast", "inf", "nan%", "5m"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
