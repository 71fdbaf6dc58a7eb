//! A scenario file as lines: which are operations, which ask for a dump, which make a table, and what each must give.
//!
//! Nothing here knows what an operation means. What is not understood is kept as it stands.

/// A part of a scenario file.
pub(crate) enum Part {
    /// A comment or an empty line.
    Plain(String),
    /// An operation and the outputs it must give.
    Act {
        /// Where it begins.
        line: usize,
        /// The operation, as written.
        text: String,
        /// What stands behind `=>`, in one line; none if there is no `=>`.
        expected: Option<String>,
        /// All its lines, as written.
        written: Vec<String>,
    },
    /// Something to look at, and the lines it must give.
    Look {
        /// Where it begins.
        line: usize,
        /// What to look at, as written.
        text: String,
        /// The dump below `----`.
        expected: Vec<String>,
    },
    /// A story told once for every row and column.
    Table(Table),
}

/// A table: see `tests/scenarios/README.md`.
#[derive(Default)]
pub(crate) struct Table {
    /// Where it begins.
    pub(crate) line: usize,
    /// The operations, the last of which gives the cell.
    pub(crate) story: Vec<String>,
    /// What ROW stands for.
    pub(crate) rows: Vec<String>,
    /// What COLUMN stands for.
    pub(crate) columns: Vec<String>,
    /// What EACH stands for.
    pub(crate) each: Vec<String>,
    /// Short words for outcomes.
    pub(crate) say: Vec<(String, String)>,
    /// Everything above `----`, as written.
    pub(crate) head: Vec<String>,
    /// The table below `----`.
    pub(crate) expected: Vec<String>,
}

/// The line above a dump.
pub(crate) const RULER: &str = "----";

/// Words that ask for a dump.
const LOOKS: [&str; 3] = ["show", "why", "blocking"];

/// Cuts a file into its parts.
pub(crate) fn read(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut lines = text.lines().zip(1..).peekable();
    while let Some((line, at)) = lines.next() {
        let first = line.split_whitespace().next();
        match first {
            None => parts.push(Part::Plain(line.into())),
            Some(word) if word.starts_with('#') => parts.push(Part::Plain(line.into())),
            Some("table") => {
                let mut head = vec![line.to_owned()];
                while let Some((line, _)) = lines.next_if(|(line, _)| *line != RULER && !line.is_empty()) {
                    head.push(line.into());
                }
                let expected = read_dump(&mut lines);
                parts.push(Part::Table(read_table(at, head, expected)?));
            }
            Some(word) if LOOKS.contains(&word) => {
                let expected = read_dump(&mut lines);
                parts.push(Part::Look { line: at, text: line.trim().into(), expected });
            }
            Some(_) => {
                let mut written = vec![line.to_owned()];
                let outcome_follows = |(line, _): &(&str, usize)| line.trim_start().starts_with("=>");
                written.extend(lines.next_if(outcome_follows).map(|(line, _)| line.into()));
                while written.last().is_some_and(|last| last.ends_with(';')) {
                    let (line, _) = lines.next().ok_or(format!("{at}: the file ends after `;`"))?;
                    written.push(line.into());
                }
                let whole = written.join(" ");
                let (text, expected) = match whole.split_once("=>") {
                    Some((text, expected)) => (text, Some(squeeze(expected))),
                    None => (whole.as_str(), None),
                };
                parts.push(Part::Act { line: at, text: text.trim().into(), expected, written });
            }
        }
    }
    Ok(parts)
}

/// The lines after a ruler, to the next empty line.
fn read_dump<'a>(lines: &mut std::iter::Peekable<impl Iterator<Item = (&'a str, usize)>>) -> Vec<String> {
    let mut dump = Vec::new();
    if lines.next_if(|(line, _)| *line == RULER).is_some() {
        while let Some((line, _)) = lines.next_if(|(line, _)| !line.is_empty()) {
            dump.push(line.trim_end().into());
        }
    }
    dump
}

fn read_table(line: usize, head: Vec<String>, expected: Vec<String>) -> Result<Table, String> {
    let mut table = Table { line, head, expected, ..Table::default() };
    for (text, at) in table.head.iter().zip(line..).skip(1) {
        let words = || text.split_whitespace().skip(1).map(String::from);
        match text.split_whitespace().next() {
            Some(_) if text.starts_with(' ') => table.story.push(text.trim().into()),
            Some("rows") => table.rows = words().collect(),
            Some("columns") => table.columns = words().collect(),
            Some("each") => table.each = words().collect(),
            Some("say") => {
                let short = words().next().ok_or(format!("{at}: say what?"))?;
                table.say.push((short, words().skip(1).collect::<Vec<_>>().join(" ")));
            }
            _ => return Err(format!("{at}: no word of a table: {text}")),
        }
    }
    if table.story.is_empty() || table.rows.is_empty() {
        return Err(format!("{line}: a table has a story and rows"));
    }
    Ok(table)
}

/// One blank between words.
pub(crate) fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Writes an operation with what it gave: as it was written where it gave what it must.
pub(crate) fn write_act(written: &[String], text: &str, expected: Option<&str>, actual: &str) -> Vec<String> {
    if expected.unwrap_or("nothing") == actual {
        return written.to_vec();
    }
    let first = written.first().map_or("", String::as_str);
    let operation = first.split_once("=>").map_or(format!("{text:<32} "), |(before, _)| before.into());
    let indent = " ".repeat(operation.chars().count() + 3);
    let mut lines = vec![format!("{operation}=>")];
    for (output, at) in actual.split_inclusive(';').map(str::trim).zip(0..) {
        let last = lines.last_mut().expect("it begins with one line");
        if at > 0 && last.chars().count() + output.chars().count() > 100 {
            lines.push(format!("{indent}{output}"));
        } else {
            last.push(' ');
            last.push_str(output);
        }
    }
    lines
}
