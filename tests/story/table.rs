//! A table: one story, told on a fresh shard for every row and column.

use super::script::{Table, squeeze};
use super::stage::{Stage, is_refusal};
use enq::engine::Planted;
use std::iter::once;

/// The table as it is.
pub(crate) fn tabulate(table: &Table, planted: Planted) -> Result<Vec<String>, String> {
    let one = [String::new()];
    let columns = if table.columns.is_empty() { &one[..] } else { &table.columns };
    let mut rows = vec![once(String::new()).chain(table.columns.iter().cloned()).collect::<Vec<_>>()];
    for row in &table.rows {
        let mut cells = vec![row.clone()];
        for column in columns {
            cells.push(cell((table, planted), row, column)?);
        }
        rows.push(cells);
    }
    let width = |at: usize| rows.iter().filter_map(|cells| cells.get(at)).map(String::len).max().unwrap_or(0);
    let line = |cells: &Vec<String>| {
        let cells = cells.iter().enumerate().map(|(at, cell)| format!("{cell:<width$}", width = width(at)));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    // A line of one column needs no heading.
    Ok(rows.iter().skip(usize::from(table.columns.is_empty())).map(line).collect())
}

/// All outcomes of the story with these words put in, each once.
fn cell((table, planted): (&Table, Planted), row: &str, column: &str) -> Result<String, String> {
    let one = [String::new()];
    let each = if table.each.is_empty() { &one[..] } else { &table.each };
    let mut outcomes: Vec<String> = Vec::new();
    for word in each {
        let put_in = |text: &String| text.replace("ROW", row).replace("COLUMN", column).replace("EACH", word);
        let story: Vec<String> = table.story.iter().map(put_in).collect();
        let outcome = tell_once(&story, planted).map_err(|why| format!("{row} {column} {word}: {why}"))?;
        let outcome = outcome.map(|outcome| say(table, &outcome));
        outcomes.extend(outcome.filter(|outcome| !outcomes.contains(outcome)));
    }
    outcomes.sort();
    Ok(if outcomes.is_empty() { "never".into() } else { say(table, &outcomes.join("/")) })
}

/// What the last operation gives; nothing if one before it is refused.
fn tell_once(story: &[String], planted: Planted) -> Result<Option<String>, String> {
    let mut stage = Stage::new(planted);
    let mut last = String::new();
    for (text, at) in story.iter().zip(1..) {
        last = stage.act(text)?;
        if at < story.len() && is_refusal(&last) {
            return Ok(None);
        }
    }
    Ok(Some(squeeze(&last)))
}

/// The short word for an outcome, or all of it.
fn say(table: &Table, outcome: &str) -> String {
    let matches = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => outcome.starts_with(start),
        None => outcome == pattern,
    };
    let short = table.say.iter().find(|(_, pattern)| matches(pattern));
    short.map_or(outcome, |(short, _)| short).into()
}
