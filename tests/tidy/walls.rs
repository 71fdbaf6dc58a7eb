//! Which room may import what: the table of ARCHITECTURE.md, and the doors that exist once.
//!
//! Every path that code spells out is looked at, in `use` and elsewhere, save in unit tests.

use super::none;
use super::source::{Source, root, sources};

/// What a room may import. A crate or module named here stands for all below it; `super` and `self` stay in the room.
struct Room {
    folder: &'static str,
    may: &'static [&'static str],
}

/// Of the standard library, what neither waits nor asks the machine for anything.
macro_rules! plain_and {
    ($($path:literal)*) => {
        &[
            "core", "alloc", "std::cell", "std::cmp", "std::collections", "std::convert", "std::error", "std::fmt",
            "std::hash", "std::iter", "std::marker", "std::mem", "std::num", "std::ops", "std::slice", "std::str",
            $($path),*
        ]
    };
}

const ROOMS: [Room; 12] = [
    Room { folder: "protocol/src/vocabulary", may: &["core", "alloc"] },
    Room {
        folder: "protocol/src/wire",
        may: &["core", "alloc", "bytes", "crate::vocabulary", "crate::wire"],
    },
    Room { folder: "src/engine", may: plain_and!["enq_protocol::vocabulary" "hashbrown" "foldhash"] },
    Room {
        folder: "src/table",
        may: plain_and![
            "std::sync" "std::task" "std::time" "crate::table" "crate::engine" "enq_protocol::vocabulary" "parking_lot"
            "crossbeam_utils" "dashmap" "siphasher" "xxhash_rust"
        ],
    },
    Room {
        folder: "src/log",
        may: plain_and![
            "std::sync" "std::task" "std::thread" "std::panic" "std::process::abort" "std::fs" "std::io" "std::path"
            "std::env" "std::os" "crate::log" "crate::table" "crate::engine" "enq_protocol::vocabulary" "thiserror" "tracing" "nix" "parking_lot"
        ],
    },
    Room {
        folder: "src/log/journal",
        may: plain_and![
            "std::sync" "std::fs" "std::io" "std::path" "std::os" "std::thread" "std::time::Duration" "std::panic"
            "crate::log::journal" "thiserror" "nix" "parking_lot" "crc32c"
        ],
    },
    Room {
        folder: "src/server",
        may: &[
            "std",
            "core",
            "crate::server",
            "crate::log",
            "crate::table",
            "crate::engine",
            "enq_protocol",
            "tokio",
            "tokio_util",
            "bytes",
            "tracing",
            "parking_lot",
            "dashmap",
            "crossbeam_utils",
            "getrandom",
            "subtle",
            "nix",
            "socket2",
            "thiserror",
            "xxhash_rust",
            "clap",
            "serde",
            "serde_json",
            "toml",
        ],
    },
    Room {
        folder: "src/client",
        may: &[
            "std",
            "core",
            "crate::client",
            "enq_protocol",
            "tokio",
            "tokio_util",
            "bytes",
            "parking_lot",
            "nix",
            "socket2",
            "thiserror",
            "getrandom",
            "tracing",
        ],
    },
    Room {
        folder: "src/load",
        may: &[
            "std",
            "core",
            "crate::load",
            "crate::client",
            "enq_protocol",
            "tokio",
            "bytes",
            "parking_lot",
            "nix",
            "thiserror",
            "hdrhistogram",
        ],
    },
    Room {
        folder: "src/admin",
        may: &[
            "std",
            "core",
            "crate::admin",
            "crate::client",
            "crate::load",
            "enq_protocol::vocabulary",
            "tokio",
            "tokio_util",
            "clap",
            "clap_complete",
            "clap_mangen",
            "comfy_table",
            "layout",
            "serde",
            "serde_json",
            "nix",
            "anyhow",
            "thiserror",
        ],
    },
    // Decision 13: what is done with a journal's files, without a server.
    Room {
        folder: "src/admin/journal",
        may: &[
            "std",
            "crate::admin",
            "crate::client",
            "crate::log",
            "enq_protocol::vocabulary",
            "tokio",
            "serde_json",
            "getrandom",
        ],
    },
    Room {
        folder: "src/bin",
        may: &[
            "std",
            "enq::server",
            "enq::admin",
            "enq::log",
            "clap",
            "tokio",
            "tokio_util",
            "anyhow",
            "tracing",
            "tracing_subscriber",
            "mimalloc",
        ],
    },
];

/// A path that code spells out.
struct Spelled {
    line: usize,
    path: String,
}

#[test]
fn every_room_imports_only_what_it_may() {
    let mut wrong = Vec::new();
    let crates = crates();
    for room in &ROOMS {
        // A room within a room has a row of its own.
        let is_inner = |other: &Room| other.folder.len() > room.folder.len();
        let inner: Vec<&Room> = ROOMS.iter().filter(|other| is_inner(other)).collect();
        let is_own = |source: &Source| inner.iter().all(|other| !source.path.starts_with(other.folder));
        for source in sources(&[room.folder]).into_iter().filter(is_own) {
            for spelled in paths(&source) {
                let first = spelled.path.split("::").next().unwrap_or_default();
                let within = |may: &&str| {
                    spelled
                        .path
                        .strip_prefix(*may)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
                };
                if crates.iter().any(|known| known == first) && !room.may.iter().any(within) {
                    wrong.push(format!(
                        "{}: `{}` has no business in {}",
                        source.at(spelled.line),
                        spelled.path,
                        room.folder
                    ));
                }
            }
        }
    }
    none(&wrong, "ARCHITECTURE.md, code map: what a room may import");
}

#[test]
fn translate_alone_knows_requests_and_inputs() {
    let mut knows = Vec::new();
    for source in sources(&["src"]) {
        let paths = paths(&source);
        let knows_of = |room: &str, word: &str| {
            let is = |spelled: &Spelled| {
                spelled.path.contains(&format!("{room}::")) && spelled.path.ends_with(word)
            };
            paths.iter().any(is)
        };
        if knows_of("wire", "::Request") && knows_of("engine", "::Input") {
            knows.push(source.path);
        }
    }
    assert_eq!(knows, ["src/server/translate.rs"], "ARCHITECTURE.md: translate.rs alone sees both languages");
}

#[test]
fn time_enters_by_the_clocks_alone() {
    let mut wrong = Vec::new();
    for source in sources(&["src", "protocol/src"]) {
        if ["src/server/clock.rs", "src/client/clock.rs"].contains(&source.path.as_str()) {
            continue;
        }
        for line in source.lines_of_product() {
            if ["Instant::now", "SystemTime::now", "clock_gettime", "thread::sleep"]
                .iter()
                .any(|word| line.code.contains(word))
            {
                wrong.push(format!("{}: {}", source.at(line.number), line.code.trim()));
            }
        }
    }
    none(&wrong, "ARCHITECTURE.md, invariants: one door for time on each side");
}

#[test]
fn no_iteration_hides_behind_a_glob() {
    let mut wrong = Vec::new();
    for source in sources(&["src", "protocol/src"]) {
        for spelled in paths(&source).into_iter().filter(|spelled| spelled.path.ends_with("::*")) {
            wrong.push(format!(
                "{}: `{}` imports what nobody can see",
                source.at(spelled.line),
                spelled.path
            ));
        }
    }
    none(&wrong, "the walls are kept by names: no glob imports outside unit tests");
}

/// The first words of paths that leave the room: the standard library, this crate, and everything in `Cargo.toml`.
fn crates() -> Vec<String> {
    let mut known: Vec<String> =
        ["std", "core", "alloc", "crate", "enq", "enq_protocol"].map(String::from).into();
    for manifest in ["Cargo.toml", "protocol/Cargo.toml"] {
        let text = std::fs::read_to_string(root().join(manifest)).expect("a manifest is readable");
        let mut is_dependency = false;
        for line in text.lines() {
            if line.starts_with('[') {
                is_dependency = line.contains("dependencies");
            } else if let (true, Some((name, _))) =
                (is_dependency && !line.starts_with('#'), line.split_once('='))
            {
                known.push(name.trim().replace('-', "_"));
            }
        }
    }
    assert!(known.iter().any(|name| name == "tokio"), "the dependencies are found: {known:?}");
    known
}

/// All paths of a file; those of `use` with its braces opened.
fn paths(source: &Source) -> Vec<Spelled> {
    let mut words: Vec<(usize, String)> = Vec::new();
    for line in source.lines_of_product() {
        let mut rest = line.code.as_str();
        while let Some(first) = rest.chars().next() {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let length = match rest.find(|c| !is_word(c)).unwrap_or(rest.len()) {
                0 if rest.starts_with("::") => 2,
                0 => first.len_utf8(),
                word => word,
            };
            if !first.is_whitespace() {
                words.push((line.number, rest[..length].into()));
            }
            rest = &rest[length..];
        }
    }
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let (line, word) = &words[at];
        if word == "use" && next(&words, at + 1) != "<" {
            at = open_braces(&words, at + 1, "", &mut found);
        } else if word.starts_with(|c: char| c.is_alphabetic()) && next(&words, at + 1) == "::" {
            let mut path = word.clone();
            while next(&words, at + 1) == "::"
                && next(&words, at + 2).starts_with(|c: char| c.is_alphabetic())
            {
                path = format!("{path}::{}", words[at + 2].1);
                at += 2;
            }
            found.push(Spelled { line: *line, path });
            at += 1;
        } else {
            at += 1;
        }
    }
    found
}

fn next(words: &[(usize, String)], at: usize) -> &str {
    words.get(at).map_or("", |(_, word)| word)
}

/// Reads one tree of a `use` from here on and returns where it ends.
fn open_braces(words: &[(usize, String)], mut at: usize, before: &str, found: &mut Vec<Spelled>) -> usize {
    let mut path = before.to_owned();
    while let Some((line, word)) = words.get(at) {
        match word.as_str() {
            "{" => {
                at += 1;
                while !["}", ";", ""].contains(&next(words, at)) {
                    at = open_braces(words, at, &path, found);
                    at += usize::from(next(words, at) == ",");
                }
                return at + 1;
            }
            ";" | "," | "}" => {
                if path != before {
                    found.push(Spelled { line: *line, path });
                }
                return at;
            }
            "as" => at += 1,
            "self" if !before.is_empty() => path.truncate(path.trim_end_matches("::").len()),
            word => path.push_str(word),
        }
        at += 1;
    }
    at
}

#[test]
fn paths_are_found_in_braces_and_in_code() {
    let text = "use std::{collections::{BTreeMap, self}, fmt};\nuse a::b as c;\nlet x = tokio::time::sleep(x.y());\n";
    let lines = text.lines().zip(1..).map(|(code, number)| super::source::Line {
        number,
        code: code.into(),
        comment: String::new(),
        is_test: false,
    });
    let source = Source { path: "t.rs".into(), lines: lines.collect() };
    let found: Vec<String> = paths(&source).into_iter().map(|spelled| spelled.path).collect();
    assert_eq!(
        found,
        ["std::collections::BTreeMap", "std::collections", "std::fmt", "a::b", "tokio::time::sleep"]
    );
}
