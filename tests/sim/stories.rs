//! The stories of `tests/scenarios`, told to an engine with a mistake in it.

#[path = "../story/cast.rs"]
mod cast;
#[path = "../story/look.rs"]
mod look;
#[path = "../story/orphans.rs"]
mod orphans;
#[path = "../story/play.rs"]
mod play;
#[path = "../story/quotas.rs"]
mod quotas;
#[path = "../story/script.rs"]
mod script;
#[path = "../story/search.rs"]
mod search;
#[path = "../story/stage.rs"]
mod stage;
#[path = "../story/table.rs"]
mod table;
#[path = "../story/tell.rs"]
mod tell;
#[path = "../story/words.rs"]
mod words;

use enq::engine::Planted;

/// The first story that ends otherwise than the rules say.
pub(crate) fn first_wrong(planted: Planted) -> Option<String> {
    play::files().into_iter().find_map(|file| {
        let name = file.file_name().expect("a file has a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).expect("a scenario is readable");
        match play::act_out(&name, &text, planted) {
            Ok(outcome) => outcome.wrong.into_iter().next(),
            Err(why) => Some(why),
        }
    })
}
