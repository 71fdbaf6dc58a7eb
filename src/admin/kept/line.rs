//! What a verb and the keeper say to each other: a line of JSON each way, and `taken` when a grant was printed.
//!
//! The lines have a version, because the keeper of a session can be older than the program that asks it. They are
//! private to this program: no other one is to speak them.

use std::io;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::admin::exit::{self, Failure};

/// The version of the lines.
const VERSION: u32 = 2;

/// The longest line: a path of 128 names of 255 bytes, each byte of which may be escaped, with room to spare.
const LEN_MAX: u64 = 256 << 10;

/// What a verb asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub(super) enum Ask {
    Lock {
        /// The lockspace.
        space: String,
        /// The path in its printable form; a root alone is a path of one name.
        path: String,
        /// Are intents wanted on the levels above?
        is_path: bool,
        mode: String,
        wait: Wait,
        reason: String,
        /// The deadlock priority.
        priority: u8,
    },
    Convert {
        id: String,
        mode: String,
        wait: Wait,
        /// The deadlock priority.
        priority: u8,
        /// The bytes to store, as hexadecimal digits.
        value: Option<String>,
    },
    Deq {
        id: String,
        value: Option<String>,
        invalidate: bool,
    },
    Cancel {
        id: String,
    },
    /// Which session is it?
    Show,
    Close,
    /// The grant that was answered was printed.
    Taken,
}

/// How long a request may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Wait {
    Forever,
    No,
    UpToMs(u64),
}

/// What the keeper answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub(super) enum Answer {
    Granted(Box<Grant>),
    Done,
    Session(About),
    Failed { code: String, cause: String, details: String, hint: String, exit: u8 },
}

/// A grant, as scripts see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Grant {
    pub(super) id: String,
    pub(super) resource: String,
    pub(super) mode: String,
    pub(super) seq: String,
    pub(super) fence: String,
    pub(super) session: String,
    /// Did it have to wait?
    pub(super) waited: bool,
    /// The value block, unless the conversion stored it.
    pub(super) value: Option<Value>,
}

/// A value block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Value {
    pub(super) hex: String,
    pub(super) text: String,
    pub(super) length: usize,
    pub(super) seq: String,
    pub(super) valid: bool,
}

/// The session that a keeper keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) id: String,
    /// The server it is connected to.
    pub(super) server: String,
    pub(super) ttl_ms: u64,
    /// The keeper's process.
    pub(super) pid: u32,
    /// Its socket: what ENQ_SESSION is to be.
    pub(super) socket: String,
}

impl Answer {
    /// The answer that a failure is.
    pub(super) fn failed(failure: Failure) -> Answer {
        let Failure { code, cause, details, hint, exit } = failure;
        Answer::Failed { code, cause, details, hint, exit }
    }

    /// The answer, if it is no failure.
    pub(super) fn into_result(self) -> Result<Answer, Failure> {
        match self {
            Answer::Failed { code, cause, details, hint, exit } => {
                Err(Failure { code, cause, details, hint, exit })
            }
            answer => Ok(answer),
        }
    }
}

/// A line with its version.
#[derive(Serialize, Deserialize)]
struct Line<T> {
    version: u32,
    #[serde(flatten)]
    said: T,
}

/// The version alone, which every version has.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// The line that says it, with its end.
pub(super) fn to_line<T: Serialize>(said: T) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&Line { version: VERSION, said }).map_err(io::Error::other)?;
    line.push(b'\n');
    Ok(line)
}

/// What a line says.
///
/// # Errors
/// If it is of another version, or none of ours.
pub(super) fn of_line<T: DeserializeOwned>(line: &[u8]) -> Result<T, Failure> {
    let strange = |what: String| {
        let hint = "the session was opened by another version of enq: close it and open a new one";
        Failure::new("PROTOCOL", what, hint, exit::SOFTWARE)
    };
    match serde_json::from_slice::<Version>(line) {
        Ok(Version { version: VERSION }) => {}
        Ok(Version { version }) => {
            return Err(strange(format!("the line is of version {version}, not {VERSION}")));
        }
        Err(error) => return Err(strange(format!("the line is none of ours: {error}"))),
    }
    let line: Result<Line<T>, _> = serde_json::from_slice(line);
    line.map(|line| line.said).map_err(|error| strange(format!("the line cannot be read: {error}")))
}

/// Says it.
pub(super) async fn say<T: Serialize>(out: &mut (impl AsyncWrite + Unpin), said: T) -> io::Result<()> {
    out.write_all(&to_line(said)?).await?;
    out.flush().await
}

/// The next line, without which the other side has gone.
pub(super) async fn next(input: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    input.take(LEN_MAX).read_until(b'\n', &mut line).await?;
    Ok(line.ends_with(b"\n").then_some(line))
}

/// Bytes from hexadecimal digits.
pub(super) fn from_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    let byte =
        |pair: &[u32]| pair.iter().try_fold(0_u8, |byte, digit| Some(byte << 4 | u8::try_from(*digit).ok()?));
    digits.chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::render::hexadecimal;

    #[test]
    fn what_is_said_is_understood() {
        let asked = Ask::Lock {
            space: "default".into(),
            path: "a\\/b".into(),
            is_path: false,
            mode: "EX".into(),
            wait: Wait::UpToMs(5),
            reason: "why\n".into(),
            priority: 255,
        };
        let line = to_line(asked).unwrap();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "one line");
        assert!(matches!(of_line(&line), Ok(Ask::Lock { wait: Wait::UpToMs(5), .. })));
    }

    #[test]
    fn another_version_is_told_so() {
        let later = of_line::<Ask>(b"{\"version\":3,\"ask\":\"sing\"}\n").unwrap_err();
        assert!(later.cause.contains("version 3"), "{}", later.cause);
        assert!(of_line::<Ask>(b"{\"version\":2,\"ask\":\"sing\"}\n").is_err());
        assert!(of_line::<Ask>(b"GET / HTTP/1.1\r\n").is_err());
    }

    #[test]
    fn bytes_survive_as_digits() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(from_hexadecimal(&hexadecimal(&bytes)), Some(bytes));
        assert_eq!(from_hexadecimal(""), Some(Vec::new()));
        assert!(from_hexadecimal("a").is_none() && from_hexadecimal("0x").is_none());
    }
}
