//! The rules of locking as stories: every file of `scenarios/` is acted out on one shard and must give what it says.
//!
//! `UPDATE=1 cargo test --test scenarios` writes what the engine says now into the files; the difference is then read
//! line by line, for it is the rules that decide, not the engine. `scenarios/README.md` explains the language.

#[path = "story/cast.rs"]
mod cast;
#[path = "story/look.rs"]
mod look;
#[path = "story/orphans.rs"]
mod orphans;
#[path = "story/play.rs"]
mod play;
#[path = "story/quotas.rs"]
mod quotas;
#[path = "story/script.rs"]
mod script;
#[path = "story/search.rs"]
mod search;
#[path = "story/stage.rs"]
mod stage;
#[path = "story/table.rs"]
mod table;
#[path = "story/tell.rs"]
mod tell;
#[path = "story/words.rs"]
mod words;

use enq::engine::Planted;
use play::{Outcome, act_out as act_out_with, files};
use script::RULER;

/// A file acted out on the engine as it is.
fn act_out(name: &str, text: &str) -> Result<Outcome, String> {
    act_out_with(name, text, Planted::NONE)
}

#[test]
fn every_story_ends_as_the_rules_say() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    let mut parts = 0;
    for file in files() {
        let name = file.file_name().expect("a file has a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).expect("a scenario is readable");
        parts += text.lines().filter(|line| line.contains("=>") || *line == RULER).count();
        match act_out(&name, &text) {
            Ok(outcome) if update && outcome.text != text => {
                std::fs::write(&file, outcome.text).expect("a scenario is writable");
                println!("{name} is rewritten");
            }
            Ok(outcome) => wrong.extend(outcome.wrong),
            Err(why) => wrong.push(why),
        }
    }
    println!("{} stories with {parts} expectations", files().len());
    assert!(wrong.is_empty(), "{} expectations are not met\n{}", wrong.len(), wrong.join("\n"));
}

/// The first line names the rule that the file name begins with: `g04_...` begins `# G4. `.
#[test]
fn every_story_opens_with_its_rule() {
    for file in files() {
        let name = file.file_name().expect("a file has a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).expect("a scenario is readable");
        let first = text.lines().next().unwrap_or_default();
        let rule = name.split('_').next().unwrap_or_default();
        let (letter, number) = rule.split_at(1);
        let number: u8 =
            number.parse().unwrap_or_else(|_| panic!("{name}: a name begins with a rule, as g04_"));
        let start = format!("# {}{number}. ", letter.to_uppercase());
        assert!(first.starts_with(&start), "{name}:1: the first line begins `{start}`, not `{first}`");
    }
}

#[test]
fn what_is_not_understood_is_told_with_file_and_line() {
    for (text, why) in [
        ("# G1.\nenqueue s1.a X NL => granted", "t:2: enqueue s1.a X NL: no operation: enqueue"),
        ("enq s1.a X XX => granted", "t:1: enq s1.a X XX: no mode: XX"),
        ("enq s1.a X NL FAST => granted", "t:1: enq s1.a X NL FAST: no flag or option: FAST"),
        ("cvt s1.a NL => granted", "t:1: cvt s1.a NL: no lock: s1.a"),
        ("tick 5 => nothing", "t:1: tick 5: no time: 5"),
        ("enq a X NL => granted", "t:1: enq a X NL: no lock: a"),
        ("table\n    enq s1.a X ROW\n", "t:1: a table has a story and rows"),
        ("enq s1.a X NL => granted;", "t:1: the file ends after `;`"),
    ] {
        assert_eq!(act_out("t", text).err().as_deref(), Some(why), "{text}");
    }
}

#[test]
fn a_story_that_ends_otherwise_is_told_and_rewritten() {
    let text = "enq s1.a X PR  => granted\nenq s2.b X EX  => granted\nshow X\n----\nX  granted  s1.a EX\n";
    let outcome = act_out("t", text).expect("all words are known");
    assert_eq!(outcome.wrong.len(), 2, "{:?}", outcome.wrong);
    assert_eq!(
        outcome.text,
        "enq s1.a X PR  => granted\nenq s2.b X EX  => queued; blocking s1.a EX\nshow X\n----\n\
         X  granted     s1.a PR\n   waiting     s2.b EX\n"
    );
    assert!(act_out("t", &outcome.text).expect("all words are known").wrong.is_empty());
}
