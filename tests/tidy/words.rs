//! The words of the glossary, and those it does not know.
//!
//! Looked for where the words are law: in the engine and in the protocol's crate. A word inside a name counts: names are
//! cut at capitals and underlines. Written in capitals alone, as FORCEUNLOCK, a name is one word.

use super::none;
use super::source::{files, relative, sources};

/// Words that the glossary replaces, in code and comments, with what to say.
const NOT_OURS: [(&str, &str); 9] = [
    ("acquire", "ask for a lock"),
    ("acquired", "granted"),
    ("unlock", "release"),
    ("upgrade", "up-conversion"),
    ("downgrade", "down-conversion"),
    ("key", "resource name"),
    ("waiter", "waiting lock"),
    ("waiters", "waiting locks"),
    ("pending", "waiting or converting"),
];

/// Words that say nothing in a name.
const NOT_IN_NAMES: [&str; 8] = ["manager", "handler", "helper", "util", "utils", "info", "data", "context"];

/// Where such a word is right all the same: what the line must contain, and why.
const RIGHT: [(&str, &str); 5] = [
    ("PhantomData", "the standard library's name"),
    ("_by_key(", "the standard library's name"),
    ("first_key_value(", "the standard library's name"),
    ("orphan key", "the wire's word for what finds an orphan again"),
    ("orphan_key", "the same, in names"),
];

#[test]
fn the_engine_and_the_protocol_speak_the_glossary() {
    let mut wrong = Vec::new();
    for source in sources(&["src/engine", "protocol/src"]) {
        for line in source.lines_of_product() {
            let whole = format!("{} {}", line.code, line.comment);
            if RIGHT.iter().any(|(right, _)| whole.to_lowercase().contains(&right.to_lowercase())) {
                continue;
            }
            for word in words(&whole) {
                if let Some((_, say)) = NOT_OURS.iter().find(|(not_ours, _)| *not_ours == word) {
                    wrong.push(format!("{}: not `{word}`: say {say}", source.at(line.number)));
                }
            }
            for word in words(&line.code).filter(|word| NOT_IN_NAMES.contains(&word.as_str())) {
                wrong.push(format!("{}: `{word}` in a name says nothing", source.at(line.number)));
            }
            // The register of a session is the engine's only room where the other end of the wire is spoken of.
            let is_register =
                source.path.starts_with("src/engine/session") || line.comment.contains("register");
            if source.path.starts_with("src/engine")
                && !is_register
                && words(&whole).any(|word| word == "client")
            {
                wrong.push(format!("{}: not `client`: the engine knows sessions", source.at(line.number)));
            }
        }
    }
    none(&wrong, "docs/glossary.md: words we do not use");
}

/// The words of a text, names cut at capitals and underlines, in lower case.
fn words(text: &str) -> impl Iterator<Item = String> {
    let mut found = vec![String::new()];
    let mut before = ' ';
    for c in text.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && before.is_lowercase()) {
            found.push(String::new());
        }
        if let (true, Some(word)) = (c.is_alphanumeric(), found.last_mut()) {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    found.into_iter()
}

#[test]
fn names_are_cut_into_words() {
    let cut: Vec<String> =
        words("fn lockManager_of(x: WAIT, FORCEUNLOCK)").filter(|word| !word.is_empty()).collect();
    assert_eq!(cut, ["fn", "lock", "manager", "of", "x", "wait", "forceunlock"]);
}

#[test]
fn nothing_is_left_for_later_in_a_comment() {
    // Put together here, so that this file does not find itself.
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X"].concat()];
    let mut wrong = Vec::new();
    let folders = ["src", "protocol", "tests", "examples", "benches", "fuzz", "docs", "man", ".ci"];
    for path in files(&folders, &["rs", "md", "txt", "toml", "sh"]) {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        for (line, number) in text.lines().zip(1..) {
            if line.split(|c: char| !c.is_alphanumeric()).any(|word| marks.iter().any(|mark| mark == word)) {
                wrong.push(format!("{}:{number}: {}", relative(&path), line.trim()));
            }
        }
    }
    none(&wrong, "what is not done is said in the README, not in a comment");
}
