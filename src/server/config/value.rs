//! The values of settings, as they are written: counts, sizes ("256KiB"), durations ("15s"), addresses, words.
//!
//! One way to write a value for the file, the environment and the command line. What has a unit says it; a bare number
//! where a time is meant is refused, for nobody could tell what it counts.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// What a setting can hold.
pub(super) trait Value: Sized {
    /// The placeholder in help texts.
    const PLACE: &'static str;

    /// Reads it.
    fn read(text: &str) -> Result<Self, String>;

    /// Writes it so that it is read back.
    fn write(&self) -> String;

    /// Does the file hold it without quotation marks?
    const BARE: bool = false;
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub usize);

impl Size {
    /// So many kibibytes.
    #[must_use]
    pub const fn kib(number: usize) -> Size {
        Size(number * 1_024)
    }
}

/// The units of sizes, the greatest first.
const SIZES: [(&str, usize); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// The units of durations in milliseconds, the greatest first.
const DURATIONS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A number and what stands behind it.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

impl Value for Size {
    const PLACE: &'static str = "SIZE";

    fn read(text: &str) -> Result<Size, String> {
        let read = || {
            let (number, unit) = number_and_unit(text)?;
            let unit = if unit.is_empty() { "B" } else { unit };
            let (_, bytes) = SIZES.iter().find(|(name, _)| *name == unit)?;
            usize::try_from(number).ok()?.checked_mul(*bytes).map(Size)
        };
        read().ok_or_else(|| format!("{text:?} is no size: write 4096, 256KiB, 64MiB or 2GiB"))
    }

    fn write(&self) -> String {
        let fits = |bytes: usize| self.0 >= bytes && self.0.is_multiple_of(bytes);
        match SIZES.iter().find(|(_, bytes)| fits(*bytes)) {
            Some((unit, bytes)) => format!("{}{unit}", self.0 / bytes),
            None => "0B".into(),
        }
    }
}

/// A size, or what the machine has room for.
impl Value for Option<Size> {
    const PLACE: &'static str = "SIZE";

    fn read(text: &str) -> Result<Option<Size>, String> {
        if text == "auto" { Ok(None) } else { Size::read(text).map(Some) }
    }

    fn write(&self) -> String {
        self.map_or_else(|| "auto".into(), |size| size.write())
    }
}

impl Value for Duration {
    const PLACE: &'static str = "TIME";

    fn read(text: &str) -> Result<Duration, String> {
        let read = || {
            let (number, unit) = number_and_unit(text)?;
            let (_, ms) = DURATIONS.iter().find(|(name, _)| *name == unit)?;
            number.checked_mul(*ms).filter(|ms| u32::try_from(*ms).is_ok()).map(Duration::from_millis)
        };
        read().ok_or_else(|| format!("{text:?} is no time: write 250ms, 15s, 2m or 1h"))
    }

    fn write(&self) -> String {
        let ms = self.as_millis();
        let fits = |unit: u128| ms >= unit && ms.is_multiple_of(unit);
        match DURATIONS.iter().find(|(_, unit)| fits((*unit).into())) {
            Some((name, unit)) => format!("{}{name}", ms / u128::from(*unit)),
            None => "0ms".into(),
        }
    }
}

/// A count.
macro_rules! counts {
    ($($count:ty)+) => {$(
        impl Value for $count {
            const PLACE: &'static str = "N";
            const BARE: bool = true;

            fn read(text: &str) -> Result<$count, String> {
                text.trim().parse().map_err(|_| format!("{text:?} is no number from 0 to {}", <$count>::MAX))
            }

            fn write(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

counts! { u8 u16 u32 }

impl Value for bool {
    const PLACE: &'static str = "BOOL";
    const BARE: bool = true;

    fn read(text: &str) -> Result<bool, String> {
        text.trim().parse().map_err(|_| format!("{text:?} is neither true nor false"))
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    const PLACE: &'static str = "FILTER";

    fn read(text: &str) -> Result<String, String> {
        Ok(text.into())
    }

    fn write(&self) -> String {
        self.clone()
    }
}

/// A directory, or the usual one.
impl Value for Option<PathBuf> {
    const PLACE: &'static str = "DIR";

    fn read(text: &str) -> Result<Option<PathBuf>, String> {
        Ok(Some(text).filter(|text| !text.is_empty()).map(PathBuf::from))
    }

    fn write(&self) -> String {
        self.as_ref().map_or_else(String::new, |path| path.display().to_string())
    }
}

/// Addresses, with commas between them.
impl Value for Vec<SocketAddr> {
    const PLACE: &'static str = "ADDR";

    fn read(text: &str) -> Result<Vec<SocketAddr>, String> {
        let read = |word: &str| {
            word.trim().parse().map_err(|_| format!("{word:?} is no address with a port, as 127.0.0.1:21065"))
        };
        text.split(',').map(read).collect()
    }

    fn write(&self) -> String {
        self.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for size in ["0B", "1B", "4KiB", "4095B", "1MiB", "3GiB"] {
            assert_eq!(Size::read(size).unwrap().write(), size);
        }
        assert_eq!(Size::read("65536").unwrap().write(), "64KiB");
        for time in ["0ms", "1ms", "1500ms", "2s", "90s", "2m", "1h"] {
            assert_eq!(Duration::read(time).unwrap().write(), time);
        }
        assert_eq!(Option::<Size>::read("auto"), Ok(None));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for size in ["", "x", "-1", "1kb", "1.5MiB", "99999999999999999999", "18446744073709551615KiB"] {
            assert!(Size::read(size).is_err(), "{size}");
        }
        for time in ["", "15", "s", "-1s", "1d", "5000h", "18446744073709551615h"] {
            assert!(Duration::read(time).is_err(), "{time}");
        }
        assert!(u32::read("4294967296").is_err() && u32::read("1e3").is_err());
        assert!(bool::read("yes").is_err());
        assert!(Vec::<SocketAddr>::read("localhost:1").is_err());
    }
}
