//! What happens in a world, line by line: hashed always, kept when somebody wants to read it.

use super::clock::{MS, Time};
use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hasher as _};

/// The story of a world.
#[derive(Debug)]
pub(crate) struct Story {
    hash: DefaultHasher,
    kept: Option<String>,
    pub(crate) lines: u64,
}

struct Both<'a> {
    hash: &'a mut DefaultHasher,
    kept: Option<&'a mut String>,
}

impl Write for Both<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.hash.write(text.as_bytes());
        if let Some(kept) = &mut self.kept {
            kept.push_str(text);
        }
        Ok(())
    }
}

impl Story {
    pub(crate) fn new(keep: bool) -> Story {
        Story { hash: DefaultHasher::new(), kept: keep.then(String::new), lines: 0 }
    }

    /// One line.
    pub(crate) fn tell(&mut self, now: Time, what: fmt::Arguments<'_>) {
        self.lines += 1;
        let mut both = Both { hash: &mut self.hash, kept: self.kept.as_mut() };
        let (ms, ns) = (now / MS, now % MS);
        writeln!(both, "{ms:>7}.{ns:06} {what}").expect("text is written to memory");
    }

    /// The same in two worlds if the same happened in both.
    pub(crate) fn hash(&self) -> u64 {
        self.hash.clone().finish()
    }

    /// All of it, if it was kept.
    pub(crate) fn text(&self) -> &str {
        self.kept.as_deref().unwrap_or_default()
    }
}
