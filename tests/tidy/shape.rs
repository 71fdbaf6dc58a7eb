//! Front pages, lengths, names of modules, and what may fail.

use super::none;
use super::source::{Source, sources};

/// Everything that is written in Rust.
const ALL: [&str; 6] = ["src", "protocol/src", "protocol/tests", "tests", "examples", "benches"];

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

#[test]
fn every_file_opens_with_its_front_page() {
    let mut wrong = Vec::new();
    for source in sources(&ALL) {
        let is_page = source.lines.first().is_some_and(|line| line.comment.starts_with('!'));
        if !is_page {
            wrong.push(format!("{}: no `//!`", source.at(1)));
        }
    }
    none(&wrong, "CONTRIBUTING.md, rule 1: a file opens with its front page");
}

#[test]
fn files_and_functions_can_be_read_at_one_sitting() {
    let mut wrong = Vec::new();
    for source in sources(&ALL) {
        if source.lines.len() > FILE_LINES_MAX {
            wrong.push(format!("{}: {} lines", source.at(FILE_LINES_MAX + 1), source.lines.len()));
        }
        for (line, name, length) in functions(&source) {
            if length > FUNCTION_LINES_MAX {
                wrong.push(format!("{}: {name} has {length} lines of code", source.at(line)));
            }
        }
    }
    none(&wrong, "CONTRIBUTING.md, rule 1: 500 lines a file, 70 a function");
}

/// Line, name and lines of code of each function: between its `fn` and the brace that stands as far in.
fn functions(source: &Source) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for (at, line) in source.lines.iter().enumerate() {
        let indent = line.code.len() - line.code.trim_start().len();
        let mut words = line.code.split_whitespace();
        let is_qualifier = |word: &&str| ["pub", "const", "async"].contains(word) || word.starts_with("pub(");
        let is_function = words.clone().find(|word| !is_qualifier(word)) == Some("fn");
        if !is_function || line.code.trim_end().ends_with([';', '}']) {
            continue;
        }
        let name = words.find(|word| word.contains('(') && !word.starts_with("pub")).unwrap_or_default();
        let name = name.split(['(', '<']).next().unwrap_or_default();
        let closing = format!("{}}}", " ".repeat(indent));
        let body = source.lines[at + 1..].iter().take_while(|line| line.code.trim_end() != closing);
        found.push((line.number, name.into(), body.filter(|line| !line.code.trim().is_empty()).count()));
    }
    found
}

#[test]
fn no_room_is_called_after_nothing() {
    let names =
        ["util", "utils", "common", "helper", "helpers", "types", "prelude", "misc", "manager", "shared"];
    let mut wrong = Vec::new();
    for source in sources(&ALL) {
        if names.contains(&source.stem()) || source.path.split('/').any(|folder| names.contains(&folder)) {
            wrong.push(format!("{}: a name that says nothing", source.at(1)));
        }
        for line in &source.lines {
            let name = line.code.trim().trim_start_matches("pub ").strip_prefix("mod ");
            let name = name.map(|name| name.trim_end_matches([';', '{', ' ']));
            if name.is_some_and(|name| names.contains(&name)) {
                wrong.push(format!("{}: a name that says nothing", source.at(line.number)));
            }
        }
    }
    none(&wrong, "CONTRIBUTING.md: no modules called util, common, helpers, types or prelude");
}

#[test]
fn what_must_be_true_says_why() {
    let mut wrong = Vec::new();
    for source in sources(&["src", "protocol/src", "examples"]) {
        for line in source.lines_of_product() {
            let bare = [".unwrap()", ".unwrap_err()", "todo!(", "unimplemented!(", "dbg!("];
            if bare.iter().any(|bare| line.code.contains(bare)) {
                wrong.push(format!("{}: {}", source.at(line.number), line.code.trim()));
            }
        }
    }
    none(&wrong, "CONTRIBUTING.md, rule 12: no unwrap outside tests, `expect` with a sentence");
}
