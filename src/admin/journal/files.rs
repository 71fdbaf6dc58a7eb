//! `enq journal ls`: the files of a journal, and whether they are whole.

use std::path::Path;

use serde_json::json;

use super::{directory, look_again, not_opened};
use crate::{
    admin::{
        args::Format,
        exit::{self, Failure},
        render::{self, Column, Item, json_line},
    },
    log::journal::{Contents, Entry, OpenError, Sort, Survey},
};

const COLUMNS: [Column; 5] = [
    Column("FILE", false),
    Column("IS", false),
    Column("POSITIONS", false),
    Column("BYTES", false),
    Column("STATE", false),
];

/// Lists them.
pub(super) async fn ls(dir: &Path, format: Format) -> Result<(), Failure> {
    let survey = survey(dir).await?;
    let items: Vec<Item> = survey.entries.iter().map(item).collect();
    match format {
        Format::Json => {
            let files: Vec<_> = items.iter().map(|item| &item.json).collect();
            json_line(&json!({
                "version": render::JSON_VERSION, "epoch": survey.epoch, "durable": survey.durable, "files": files,
            }))?;
        }
        Format::Name => render::list(format, "files", &COLUMNS, &items)?,
        Format::Table | Format::Wide => {
            let epoch = survey.epoch.map_or_else(|| String::from("unknown"), |epoch| epoch.to_string());
            render::print(&format!("epoch {epoch}, durable up to position {} at least\n\n", survey.durable))?;
            render::list(format, "files", &COLUMNS, &items)?;
        }
    }
    let wrong = wrong(&survey).next();
    wrong.map_or(Ok(()), |wrong| {
        let hint = format!("enq snapshot verify {} says whether a start gets by without it", dir.display());
        Err(Failure::new("DAMAGED", wrong, hint, exit::DAMAGED))
    })
}

/// Reads every file of a journal; again, if something seems wrong.
pub(super) async fn survey(dir: &Path) -> Result<Survey, Failure> {
    let disk = directory(dir)?;
    let look = || Contents::look_at_journal(&*disk)?.survey();
    // Damage is no failure of the survey, but it is looked at again, too.
    let surveyed = look_again(|| {
        let survey = look().map_err(Doubt::Failed)?;
        let wrong = wrong(&survey).next();
        match wrong {
            Some(wrong) => Err(Doubt::Wrong(survey, wrong)),
            None => Ok(survey),
        }
    });
    match surveyed.await {
        Ok(survey) | Err(Doubt::Wrong(survey, _)) => Ok(survey),
        Err(Doubt::Failed(error)) => Err(not_opened(error)),
    }
}

/// What may be different the next time.
enum Doubt {
    Wrong(Survey, String),
    Failed(OpenError),
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Doubt::Wrong(_, wrong) => f.write_str(wrong),
            Doubt::Failed(error) => error.fmt(f),
        }
    }
}

/// What is wrong, a line each.
pub(super) fn wrong(survey: &Survey) -> impl Iterator<Item = String> {
    let wrong = |entry: &Entry| entry.wrong.as_ref().map(|wrong| format!("{}: {wrong}", entry.name));
    survey.entries.iter().filter_map(wrong)
}

fn item(entry: &Entry) -> Item {
    let Entry { name, sort, positions, bytes, wrong, is_torn } = entry;
    let is = match sort {
        Sort::Head => "head",
        Sort::Attempts => "note of attempts",
        Sort::Segment => "segment",
        Sort::Spare => "spare segment",
        Sort::Snapshot => "snapshot",
        Sort::Unfinished => "not finished",
    };
    let state = match (wrong, sort) {
        (Some(wrong), _) => wrong.clone(),
        (None, _) if *is_torn => String::from("its last batch is torn, or being written"),
        (None, Sort::Segment | Sort::Snapshot | Sort::Head) => String::from("whole"),
        (None, Sort::Attempts | Sort::Spare | Sort::Unfinished) => String::from("-"),
    };
    let positions_text = positions.map_or(String::from("-"), |(first, last)| match sort {
        Sort::Snapshot => format!("up to {last}"),
        _ => format!("{first} to {last}"),
    });
    let bytes_text = bytes.map_or(String::from("-"), |bytes| bytes.to_string());
    let json = json!({
        "name": name, "is": is, "first": positions.map(|(first, _)| first), "last": positions.map(|(_, last)| last),
        "bytes": bytes, "torn": is_torn, "wrong": wrong,
    });
    Item { name: name.clone(), json, cells: vec![name.clone(), is.into(), positions_text, bytes_text, state] }
}
