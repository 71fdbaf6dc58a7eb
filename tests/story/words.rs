//! The words of one operation, taken one after the other.
//!
//! A word that is not understood is an error; nothing is skipped.

use enq_protocol::vocabulary::{Flags, LockMode, SessionId};

/// What is left of an operation.
pub(crate) struct Words<'a>(std::collections::VecDeque<&'a str>);

/// What may follow mode and flags.
#[derive(Default)]
pub(crate) struct Options<'a> {
    /// The flags; BLKAST unless `deaf`.
    pub(crate) flags: Flags,
    /// `value WORD`, `""` for no bytes.
    pub(crate) value: Option<&'a [u8]>,
    /// `timeout 500ms`.
    pub(crate) timeout_ms: Option<u32>,
    /// `priority N`.
    pub(crate) priority: u8,
    /// `owner N`.
    pub(crate) owner: u64,
    /// `reason WORD`.
    pub(crate) reason: &'a [u8],
    /// `as sN`: the session that asks, where it is not the lock's.
    pub(crate) session: Option<SessionId>,
    /// `version N`.
    pub(crate) version: Option<u64>,
    /// `key WORD`: an orphan key.
    pub(crate) orphan_key: &'a [u8],
}

impl<'a> Words<'a> {
    /// The words of this text.
    pub(crate) fn of(text: &'a str) -> Words<'a> {
        Words(text.split_whitespace().collect())
    }

    /// The next word, which must be there.
    pub(crate) fn take(&mut self, what: &str) -> Result<&'a str, String> {
        self.0.pop_front().ok_or(format!("{what} is missing"))
    }

    /// The next word, if there is one.
    pub(crate) fn take_any(&mut self) -> Option<&'a str> {
        self.0.pop_front()
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), String> {
        self.0.front().map_or(Ok(()), |word| Err(format!("one word too many: {word}")))
    }

    /// A mode.
    pub(crate) fn mode(&mut self) -> Result<LockMode, String> {
        let word = self.take("a mode")?;
        LockMode::from_letters(word).ok_or(format!("no mode: {word}"))
    }

    /// A session, `s1`.
    pub(crate) fn session(&mut self) -> Result<SessionId, String> {
        session(self.take("a session")?)
    }

    /// `+500ms`, in milliseconds.
    pub(crate) fn span(&mut self) -> Result<u32, String> {
        let word = self.take("a time")?;
        let number = word.strip_prefix('+').and_then(|word| word.strip_suffix("ms"));
        number.and_then(|number| number.parse().ok()).ok_or(format!("no time: {word}"))
    }

    /// Flags and options, to the end.
    pub(crate) fn options(mut self, told: bool) -> Result<Options<'a>, String> {
        let mut options = Options { flags: Flags::BLKAST.when(told), ..Options::default() };
        while let Some(word) = self.0.pop_front() {
            match word {
                "deaf" if told => options.flags = options.flags.without(Flags::BLKAST),
                "value" => {
                    let value = self.take("a value")?;
                    options.value = Some(if value == "\"\"" { b"" } else { value.as_bytes() });
                }
                "timeout" => options.timeout_ms = Some(self.number_of("ms")?),
                "priority" => options.priority = self.number_of("")?,
                "owner" => options.owner = self.number_of("")?,
                "reason" => options.reason = self.take("a reason")?.as_bytes(),
                "version" => options.version = Some(self.number_of("")?),
                "key" => options.orphan_key = self.take("a key")?.as_bytes(),
                "as" => options.session = Some(self.session()?),
                flag => {
                    options.flags |= Flags::from_name(flag).ok_or(format!("no flag or option: {flag}"))?
                }
            }
        }
        Ok(options)
    }

    fn number_of<N: std::str::FromStr>(&mut self, unit: &str) -> Result<N, String> {
        let word = self.take("a number")?;
        let number = word.strip_suffix(unit).and_then(|number| number.parse().ok());
        number.ok_or(format!("no number: {word}"))
    }
}

/// A session, `s1`.
pub(crate) fn session(word: &str) -> Result<SessionId, String> {
    let number = word.strip_prefix('s').and_then(|number| number.parse().ok());
    number.map(SessionId).ok_or(format!("no session: {word}"))
}
