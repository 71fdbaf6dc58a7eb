//! Reads the layouts of `PROTOCOL.md` and walks frames by them, without knowing the codec: what a stranger would do.
//!
//! A walk gives one line a field, with its bytes and what they mean. That is how the vectors are written, so the
//! document, the vectors and the codec cannot say different things.

use enq_protocol::vocabulary::{Flags, LockMode, Status};
use enq_protocol::wire::Kind;
use std::collections::BTreeMap;

/// The whole document.
pub(crate) const DOCUMENT: &str = include_str!("../../PROTOCOL.md");

/// The fields of each message and type, in order: name and type.
pub(crate) struct Layouts<'a>(BTreeMap<&'a str, Vec<(&'a str, &'a str)>>);

/// One field of a frame.
pub(crate) struct Line {
    pub(crate) field: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) meaning: String,
    depth: usize,
}

/// The rows of the table under this heading, without its head; cells trimmed.
pub(crate) fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = DOCUMENT.split_once(&format!("\n### {heading}\n")).unwrap();
    section
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

/// The fenced blocks whose first line begins with this word: the rest of that line, and the lines.
pub(crate) fn blocks(word: &str) -> Vec<(&'static str, Vec<&'static str>)> {
    let fence = format!("```{word}");
    let mut blocks = Vec::new();
    let mut lines = DOCUMENT.lines();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix(&fence) {
            blocks.push((rest.trim(), lines.by_ref().take_while(|line| *line != "```").collect()));
        }
    }
    blocks
}

impl Layouts<'static> {
    pub(crate) fn read() -> Layouts<'static> {
        let mut layouts = BTreeMap::new();
        for (_, lines) in blocks("layout") {
            let (title, fields) = lines.split_first().unwrap();
            let name = match title.split_once(' ').unwrap() {
                ("type", name) => name,
                ("message", name) => {
                    let (name, number) = name.split_once(" 0x").unwrap();
                    let kind = Kind(u8::from_str_radix(number, 16).unwrap());
                    assert_eq!(kind.to_string(), name, "{title}");
                    name
                }
                _ => panic!("a layout is of a message or of a type: {title}"),
            };
            let fields = fields.iter().map(|line| {
                let mut columns = line.split("  ").map(str::trim).filter(|column| !column.is_empty());
                let field = (columns.next().unwrap(), columns.next().unwrap());
                assert!(columns.next().is_some(), "each field says what it is: {line}");
                field
            });
            assert!(layouts.insert(name, fields.collect()).is_none(), "{name} has two layouts");
        }
        Layouts(layouts)
    }

    /// Is there a layout of this name?
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Every field of a frame, down to its last byte.
    pub(crate) fn walk(&self, frame: &[u8]) -> Vec<Line> {
        let kind = Kind(frame[4]).to_string();
        let mut walk = Walk { layouts: self, rest: frame, lines: Vec::new(), outcome: 0 };
        walk.fields("header", 0);
        walk.fields(&kind, 0);
        walk.extensions();
        assert!(walk.rest.is_empty(), "{kind}: {} bytes are in no layout", walk.rest.len());
        walk.lines
    }
}

struct Walk<'a> {
    layouts: &'a Layouts<'static>,
    rest: &'a [u8],
    lines: Vec<Line>,
    /// The bits of the last grant, which say whether its value block follows.
    outcome: u8,
}

impl Walk<'_> {
    fn fields(&mut self, name: &str, depth: usize) {
        let fields = self.layouts.0.get(name).unwrap_or_else(|| panic!("{name} has no layout"));
        for (field, of) in fields {
            // The document says so in words: only if outcome has the bit VALUE.
            if (name, *field) == ("grant", "value block") && self.outcome & 0x10 == 0 {
                continue;
            }
            self.field(field, of, depth);
        }
    }

    fn field(&mut self, field: &str, of: &str, depth: usize) {
        match of {
            "u8" | "u16" | "u32" | "u64" => {
                let bits: usize = of[1..].parse().unwrap();
                let bytes = self.take(bits / 8);
                let value = bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
                if field == "outcome" {
                    self.outcome = bytes[0];
                }
                self.line(field, bytes, number(field, value), depth);
            }
            "bool" => {
                let bytes = self.take(1);
                let meaning = if bytes[0] == 0 { "no" } else { "yes" };
                self.line(field, bytes, meaning.into(), depth);
            }
            "bytes" | "text" | "name" => {
                let len = usize::from(u16::from_le_bytes([self.rest[0], self.rest[1]]));
                let bytes = self.take(2 + len);
                let meaning = format!("{:?}", String::from_utf8_lossy(&bytes[2..]));
                self.line(field, bytes, meaning, depth);
            }
            "4 bytes" | "16 bytes" => {
                let len = of.split_once(' ').unwrap().0.parse().unwrap();
                let bytes = self.take(len);
                self.line(field, bytes, of.into(), depth);
            }
            _ => match of.split_once(' ') {
                Some(("option", of)) => {
                    let bytes = self.take(1);
                    let there = bytes[0] == 1;
                    self.line(field, bytes, if there { "follows" } else { "none" }.into(), depth);
                    if there {
                        self.field(field, of, depth + 1);
                    }
                }
                Some(("list", of)) => {
                    let bytes = self.take(2);
                    let count = u16::from_le_bytes([bytes[0], bytes[1]]);
                    self.line(field, bytes, format!("{count} of them"), depth);
                    for _ in 0..count {
                        self.field(field, of, depth + 1);
                    }
                }
                _ => self.fields(of, depth + 1),
            },
        }
    }

    /// The list with which every body ends.
    fn extensions(&mut self) {
        let bytes = self.take(2);
        let len = usize::from(u16::from_le_bytes([bytes[0], bytes[1]]));
        self.line("extensions", bytes, format!("{len} bytes"), 0);
        assert_eq!(self.rest.len(), len);
        while !self.rest.is_empty() {
            self.field("extension type", "u16", 1);
            self.field("extension bytes", "bytes", 1);
        }
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        let (bytes, rest) = self.rest.split_at(len);
        self.rest = rest;
        bytes.to_vec()
    }

    fn line(&mut self, field: &str, bytes: Vec<u8>, meaning: String, depth: usize) {
        self.lines.push(Line { field: field.into(), bytes, meaning, depth });
    }
}

/// A number, in the words of the field it stands in.
fn number(field: &str, value: u64) -> String {
    let small = u32::try_from(value).unwrap_or(u32::MAX);
    match field {
        "kind" => Kind(u8::try_from(value).unwrap()).to_string(),
        "mode" | "level mode" | "granted" | "requested" | "holds" | "held" if value == 255 => "none".into(),
        "mode" | "level mode" | "granted" | "requested" | "holds" | "held" => {
            LockMode::from_number(u8::try_from(value).unwrap()).unwrap().to_string()
        }
        "status" => Status(u16::try_from(value).unwrap()).to_string(),
        "flags" if value != 0 => Flags(small).to_string(),
        "timeout" if small == u32::MAX => "for ever".into(),
        "place" if value != u64::MAX => format!("shard {}, serial {}", value >> 48, value & 0xFFFF_FFFF_FFFF),
        "outcome" | "modes" => format!("{value:#04x}"),
        "session" | "by" => format!("{}.{}", value >> 40, value & 0xFF_FFFF_FFFF),
        "lock" | "blocker" | "parent" | "level lock" if value > u64::from(u32::MAX) => format!("#{value:x}"),
        _ => value.to_string(),
    }
}

/// The text of a vector.
pub(crate) fn text(title: &str, lines: &[Line]) -> String {
    let mut text = format!("# {title}\n");
    for Line { field, bytes, meaning, depth } in lines {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        text += &format!("\n{:<24} # {:indent$}{field}: {meaning}", hex.join(" "), "", indent = depth * 2);
    }
    text + "\n"
}

/// The bytes of a vector, or of a block of the document.
pub(crate) fn bytes<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<u8> {
    lines
        .flat_map(|line| line.split('#').next().unwrap().split_whitespace())
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}
