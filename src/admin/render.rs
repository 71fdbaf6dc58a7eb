//! How data is printed: one shape for tables, one for JSON, one for names.
//!
//! Every JSON answer is an object with `"version": 1` and one list or object under a name that does not change. Bytes
//! are printed in their printable form everywhere. Colour is used on a terminal only, and never when NO_COLOR is set.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
};

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use serde_json::{Value, json};

use super::{args::Format, exit::Failure};

/// The version of the JSON that is printed. Keys are added without a new one, never changed.
pub(super) const JSON_VERSION: u32 = 1;

/// One thing that is printed, in all its forms.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// What `-o name` prints.
    pub(super) name: String,
    /// What `-o json` prints.
    pub(super) json: Value,
    /// The cells, one for each column.
    pub(super) cells: Vec<String>,
}

/// A column: its heading, and whether only the wide table has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column(pub(super) &'static str, pub(super) bool);

/// Prints a list.
pub(super) fn list(format: Format, key: &str, columns: &[Column], items: &[Item]) -> Result<(), Failure> {
    match format {
        Format::Json => {
            let items: Vec<&Value> = items.iter().map(|item| &item.json).collect();
            json_line(&json!({ "version": JSON_VERSION, key: items }))
        }
        Format::Name => print(&items.iter().map(|item| format!("{}\n", item.name)).collect::<String>()),
        Format::Table => print(&table(columns, items, false)),
        Format::Wide => print(&table(columns, items, true)),
    }
}

/// Prints one object.
pub(super) fn object(key: &str, value: &Value) -> Result<(), Failure> {
    json_line(&json!({ "version": JSON_VERSION, key: value }))
}

pub(super) fn json_line(value: &Value) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::system(error.to_string()))?;
    print(&format!("{text}\n"))
}

/// The list as a table, without a frame, as ps(1) prints.
#[must_use]
pub(super) fn table(columns: &[Column], items: &[Item], wide: bool) -> String {
    let shown: Vec<usize> =
        columns.iter().enumerate().filter(|(_, column)| wide || !column.1).map(|(at, _)| at).collect();
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(shown.iter().filter_map(|at| columns.get(*at)).map(|column| column.0));
    for item in items {
        table.add_row(shown.iter().map(|at| item.cells.get(*at).cloned().unwrap_or_default()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2)).set_constraint(ColumnConstraint::ContentWidth);
    }
    let mut text = String::new();
    for (at, line) in table.lines().enumerate() {
        let line = line.trim_end();
        text.push_str(&if at == 0 { heading(line) } else { String::from(line) });
        text.push('\n');
    }
    text
}

/// Bold on a terminal.
#[must_use]
pub(super) fn heading(text: &str) -> String {
    if is_coloured() { format!("\x1b[1m{text}\x1b[0m") } else { String::from(text) }
}

fn is_coloured() -> bool {
    let forbidden = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !forbidden && env::var_os("TERM").is_none_or(|term| term != "dumb") && io::stdout().is_terminal()
}

/// Writes to standard output. A reader that has gone (`enq ls | head`) is no failure.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::system(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Bytes in their printable form: text as it is, everything that could confuse a terminal escaped.
#[must_use]
pub(super) fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() { text.extend(c.escape_default()) } else { text.push(c) }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// Bytes as hexadecimal digits.
#[must_use]
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_one_line_an_item_and_only_the_wide_one_has_all_columns() {
        let columns = [Column("LOCK", false), Column("MODE", false), Column("OWNER", true)];
        let cells = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        let items = [
            Item { name: "a".into(), json: json!({}), cells: cells(&["#1f", "EX", "7"]) },
            Item { name: "b".into(), json: json!({}), cells: cells(&["#2", "PR->EX", ""]) },
        ];
        assert_eq!(table(&columns, &items, false), "LOCK  MODE\n#1f   EX\n#2    PR->EX\n");
        assert_eq!(table(&columns, &items, true), "LOCK  MODE    OWNER\n#1f   EX      7\n#2    PR->EX\n");
        assert_eq!(table(&columns, &[], false), "LOCK  MODE\n");
    }

    #[test]
    fn what_others_wrote_cannot_steer_the_terminal() {
        assert_eq!(printable(b"plain \xff\x1b[2Jtext\n"), "plain \\xff\\u{1b}[2Jtext\\n");
        assert_eq!(hexadecimal(&[0, 255]), "00ff");
    }
}
