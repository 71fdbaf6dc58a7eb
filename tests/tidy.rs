//! What a machine can see of the rules of the house (CONTRIBUTING.md): walls, words, rule numbers, shapes.
//!
//! Each failure names file, line and the rule that is broken. Whether a name is good, a file reads well or a comment is
//! true, nobody checks here.

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/shape.rs"]
mod shape;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/walls.rs"]
mod walls;
#[path = "tidy/words.rs"]
mod words;

/// All that is wrong at once, each with its place.
fn none(wrong: &[String], rule: &str) {
    assert!(wrong.is_empty(), "{rule}\n{}", wrong.join("\n"));
}
