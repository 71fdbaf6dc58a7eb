//! Source files with code, comments and literals told apart, line by line.
//!
//! As much of the language as that takes, and no more. What a file says of its unit tests is known, because they may do
//! what the rest may not.

use std::path::{Path, PathBuf};

/// One line.
pub(crate) struct Line {
    /// Its number, from 1.
    pub(crate) number: usize,
    /// Its code; the contents of literals are left out.
    pub(crate) code: String,
    /// Its comments.
    pub(crate) comment: String,
    /// Is it part of unit tests?
    pub(crate) is_test: bool,
}

/// One file.
pub(crate) struct Source {
    /// Its path from the root of the repository.
    pub(crate) path: String,
    /// Its lines.
    pub(crate) lines: Vec<Line>,
}

impl Source {
    /// A place in it, as an editor understands it.
    pub(crate) fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path)
    }

    /// The name of the file without folder and ending.
    pub(crate) fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        name.split('.').next().unwrap_or(name)
    }

    /// Lines that are not unit tests.
    pub(crate) fn lines_of_product(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| !line.is_test)
    }
}

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below these folders whose name ends so, sorted.
pub(crate) fn files(folders: &[&str], endings: &[&str]) -> Vec<PathBuf> {
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            for entry in std::fs::read_dir(&path).expect("a folder of the repository is readable") {
                let entry = entry.expect("an entry").path();
                let name = entry.file_name().unwrap_or_default().to_string_lossy();
                if name != "target" && name != ".git" {
                    open.push(entry);
                }
            }
        } else if path.extension().is_some_and(|ending| endings.iter().any(|one| *one == ending)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The path from the root of the repository.
pub(crate) fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().into_owned()
}

/// All Rust sources below these folders.
pub(crate) fn sources(folders: &[&str]) -> Vec<Source> {
    let found: Vec<Source> = files(folders, &["rs"]).iter().map(|path| read(path)).collect();
    assert!(!found.is_empty(), "no sources below {folders:?}");
    found
}

fn read(path: &Path) -> Source {
    let text = std::fs::read_to_string(path).expect("a source is readable");
    let path = relative(path);
    let mut lines = cut(&text);
    if path.ends_with("/tests.rs") || path.contains("/tests/") {
        lines.iter_mut().for_each(|line| line.is_test = true);
    } else {
        mark_tests(&mut lines);
    }
    Source { path, lines }
}

/// Unit tests stand at the foot: everything from `#[cfg(test)]` on, if a module with a body follows.
fn mark_tests(lines: &mut [Line]) {
    for at in 0..lines.len() {
        if lines[at].code.trim() == "#[cfg(test)]" {
            let item = lines[at + 1..].iter().find(|line| !line.code.trim().starts_with("#["));
            let whole = item.is_some_and(|line| line.code.contains("mod ") && line.code.contains('{'));
            let end = if whole { lines.len() } else { (at + 3).min(lines.len()) };
            lines[at..end].iter_mut().for_each(|line| line.is_test = true);
        }
    }
}

/// Where the reading is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Code,
    LineComment,
    BlockComment,
    Text,
    RawText(usize),
}

fn cut(text: &str) -> Vec<Line> {
    let mut inside = Inside::Code;
    let mut lines = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let (mut code, mut comment) = (String::new(), String::new());
        let mut rest = line;
        if inside == Inside::LineComment {
            inside = Inside::Code;
        }
        while let Some(first) = rest.chars().next() {
            let step = match inside {
                Inside::Code => step_in_code(rest, &mut inside, &mut code),
                Inside::LineComment => {
                    comment.push_str(rest);
                    rest.len()
                }
                Inside::BlockComment if rest.starts_with("*/") => {
                    inside = Inside::Code;
                    2
                }
                Inside::BlockComment => {
                    comment.push(first);
                    first.len_utf8()
                }
                Inside::Text if first == '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
                Inside::Text => {
                    inside = if first == '"' { Inside::Code } else { inside };
                    first.len_utf8()
                }
                Inside::RawText(marks) if rest.starts_with(&format!("\"{}", "#".repeat(marks))) => {
                    inside = Inside::Code;
                    1 + marks
                }
                Inside::RawText(_) => first.len_utf8(),
            };
            rest = &rest[step..];
        }
        lines.push(Line { number, code, comment, is_test: false });
    }
    lines
}

/// One step of reading code: how many bytes it takes, and what begins with them.
fn step_in_code(rest: &str, inside: &mut Inside, code: &mut String) -> usize {
    let marks = rest[1..].chars().take_while(|c| *c == '#').count();
    let is_raw = rest.starts_with('r') && rest[1 + marks..].starts_with('"');
    let follows_a_word = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        *inside = Inside::LineComment;
        2
    } else if rest.starts_with("/*") {
        *inside = Inside::BlockComment;
        2
    } else if is_raw && (!follows_a_word || code.ends_with('b')) {
        *inside = Inside::RawText(marks);
        code.push('"');
        2 + marks
    } else if rest.starts_with('"') {
        *inside = Inside::Text;
        code.push('"');
        1
    } else if let Some(length) = char_literal(rest) {
        code.push_str("' '");
        length
    } else {
        let first = rest.chars().next().unwrap_or(' ');
        code.push(first);
        first.len_utf8()
    }
}

/// The length of a character literal, if the rest begins with one and not with a lifetime.
fn char_literal(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix('\'')?;
    if body.starts_with('\\') {
        return body[2..].find('\'').map(|end| end + 4);
    }
    let first = body.chars().next()?.len_utf8();
    body[first..].starts_with('\'').then_some(first + 2)
}

#[test]
fn code_comments_and_literals_are_told_apart() {
    let lines = cut(
        "let a = \"// no\"; // yes\nlet b = 'x'; /* in\nthe middle */ c::<'a>();\nr#\"tokio::\"# + b\"\\\"\" + '\\'';",
    );
    let code: Vec<&str> = lines.iter().map(|line| line.code.as_str()).collect();
    assert_eq!(code, ["let a = \"; ", "let b = ' '; ", " c::<'a>();", "\" + b\" + ' ';"]);
    let comments: Vec<&str> = lines.iter().map(|line| line.comment.as_str()).collect();
    assert_eq!(comments, [" yes", " in", "the middle ", ""]);
}
