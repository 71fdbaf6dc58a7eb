//! `enq journal dump`: records as people read them, one a line.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{directory, not_opened};
use crate::{
    admin::{
        args::Format,
        exit::{self, Failure},
        render::{self, printable},
    },
    log::{
        Words,
        journal::{Contents, Seen, SegmentEnd},
    },
};

/// Prints them, as far as they can be read.
pub(super) fn dump(dir: &Path, (from, to): (u64, u64), verbose: bool, format: Format) -> Result<(), Failure> {
    let disk = directory(dir)?;
    let contents = Contents::look_at_journal(&*disk).map_err(not_opened)?;
    let mut lines = Lines { format, verbose, wrong: None, failed: None };
    contents.read_all((from, to), &mut |seen| lines.see(seen, (from, to))).map_err(not_opened)?;
    if let Some(failure) = lines.failed {
        return Err(failure);
    }
    let hint = "what a start would say to it: enq snapshot verify DIR";
    lines.wrong.map_or(Ok(()), |wrong| Err(Failure::new("DAMAGED", wrong, hint, exit::DAMAGED)))
}

struct Lines {
    format: Format,
    verbose: bool,
    /// The first thing that is damaged.
    wrong: Option<String>,
    /// Standard output cannot be written.
    failed: Option<Failure>,
}

impl Lines {
    fn see(&mut self, seen: Seen<'_>, (from, to): (u64, u64)) {
        match seen {
            Seen::Segment { name, first } if self.verbose => {
                self.say(
                    &format!("{name}, from position {first} on"),
                    json!({ "segment": name, "first": first }),
                );
            }
            Seen::Segment { .. } => {}
            Seen::Batch { offset, durable, batch } => {
                if self.verbose && batch.first() <= to && from < batch.next() {
                    let (first, last) = (batch.first(), batch.next() - 1);
                    let text =
                        format!("  batch at {offset}, positions {first} to {last}, durable before {durable}");
                    let value = json!({ "batch": offset, "first": first, "last": last, "durable": durable });
                    self.say(&text, value);
                }
                for (position, record) in batch.records().filter(|(at, _)| (from..=to).contains(at)) {
                    self.record(position, record);
                }
            }
            Seen::End { name, offset, next, end } => self.end(name, offset, next, end),
        }
    }

    fn record(&mut self, position: u64, bytes: &[u8]) {
        let Some(words) = Words::of(bytes) else {
            let text =
                format!("{position:>8}  a record of {} bytes that this enq does not know", bytes.len());
            return self.say(&text, json!({ "position": position, "bytes": bytes.len() }));
        };
        let mut text = format!("{position:>8}  {:>12}  {:<14}", moment(words.now_ns), words.what);
        let mut object = Map::new();
        object.insert("position".into(), json!(position));
        object.insert("moment_ns".into(), json!(words.now_ns));
        object.insert("what".into(), json!(words.what));
        for (key, value) in &words.fields {
            let value = printable(value);
            text.push_str(&format!(" {key}={}", quoted(&value)));
            object.insert((*key).into(), json!(value));
        }
        self.say(text.trim_end(), Value::Object(object));
    }

    fn end(&mut self, name: &str, offset: u64, next: Option<u64>, end: SegmentEnd) {
        let (word, why) = match end {
            SegmentEnd::Whole => return,
            SegmentEnd::Torn(why) => ("torn, or being written", why.to_owned()),
            SegmentEnd::Damaged(why) => ("damaged", why),
        };
        let place = next.map_or(String::new(), |next| format!(" at offset {offset}, position {next}"));
        let text = format!("{name} is {word}{place}: {why}");
        if word == "damaged" {
            self.wrong.get_or_insert(text.clone());
        }
        self.say(&text, json!({ "file": name, "is": word, "offset": offset, "next": next, "why": why }));
    }

    fn say(&mut self, text: &str, mut value: Value) {
        let line = match self.format {
            Format::Json => {
                value["version"] = json!(render::JSON_VERSION);
                value.to_string()
            }
            Format::Table | Format::Wide | Format::Name => text.to_owned(),
        };
        if self.failed.is_none() {
            self.failed = render::print(&format!("{line}\n")).err();
        }
    }
}

/// So long servers had served, in seconds.
fn moment(ns: u64) -> String {
    format!("{}.{:06}", ns / 1_000_000_000, ns / 1_000 % 1_000_000)
}

/// As it is if it is one word.
fn quoted(text: &str) -> String {
    if text.is_empty() || text.contains([' ', '=', '"']) { format!("{text:?}") } else { text.to_owned() }
}
