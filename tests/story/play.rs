//! A file of `scenarios/` acted out on one shard, and what it would have to say.

use super::{
    look,
    script::{self, Part, RULER, squeeze, write_act},
    stage, table,
};
use enq::engine::Planted;
use std::path::{Path, PathBuf};

/// A file acted out: what it would have to say, and where it says something else.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) text: String,
    pub(crate) wrong: Vec<String>,
}

impl Outcome {
    fn push(&mut self, lines: &[String]) {
        for line in lines {
            self.text.push_str(line);
            self.text.push('\n');
        }
    }

    fn dump(&mut self, place: &str, head: &[String], expected: &[String], actual: &[String]) {
        self.push(head);
        self.push(&[RULER.into()]);
        self.push(actual);
        if expected.iter().map(|line| squeeze(line)).ne(actual.iter().map(|line| squeeze(line))) {
            let must = expected.join("\n    ");
            let was = actual.join("\n    ");
            self.wrong.push(format!("{place}: {}\n  must be\n    {must}\n  was\n    {was}", head[0]));
        }
    }
}

/// Acts out a file. A word that is not understood, or a broken invariant, ends it.
pub(crate) fn act_out(name: &str, text: &str, planted: Planted) -> Result<Outcome, String> {
    let mut outcome = Outcome::default();
    let mut stage = stage::Stage::new(planted);
    for part in script::read(text).map_err(|why| format!("{name}:{why}"))? {
        match part {
            Part::Plain(line) => outcome.push(&[line]),
            Part::Act { line, text, expected, written } => {
                let actual = stage.act(&text).map_err(|why| format!("{name}:{line}: {text}: {why}"))?;
                outcome.push(&write_act(&written, &text, expected.as_deref(), &actual));
                let must = expected.as_deref().unwrap_or("nothing");
                if must != actual {
                    outcome
                        .wrong
                        .push(format!("{name}:{line}: {text}\n  must be  {must}\n  was      {actual}"));
                }
            }
            Part::Look { line, text, expected } => {
                let actual =
                    look::look(&mut stage, &text).map_err(|why| format!("{name}:{line}: {text}: {why}"))?;
                outcome.dump(&format!("{name}:{line}"), &[text], &expected, &actual);
            }
            Part::Table(table) => {
                let place = format!("{name}:{}", table.line);
                let actual = table::tabulate(&table, planted).map_err(|why| format!("{place}: {why}"))?;
                outcome.dump(&place, &table.head, &table.expected, &actual);
            }
        }
    }
    Ok(outcome)
}

/// Every file of the folder, by name.
pub(crate) fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let entries = std::fs::read_dir(&folder).expect("the folder of the scenarios is there");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    files
}
