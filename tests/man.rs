//! The man pages in `man/` are those that the argument definitions make. `UPDATE=1 cargo test --test man` rewrites them;
//! the diff is read.

use std::{collections::BTreeSet, env, fs, path::PathBuf};

use clap::CommandFactory as _;

/// Pages that are written by hand.
const BY_HAND: [&str; 1] = ["enq.7"];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("man")
}

#[test]
fn the_committed_pages_are_those_of_the_definitions() {
    let mut pages = enq::admin::man::pages();
    let enqd = enq::server::Args::command().after_help("");
    pages.push((String::from("enqd.8"), enq::admin::man::page(&enqd, "enqd", 8)));
    let update = env::var_os("UPDATE").is_some();
    for (name, page) in &pages {
        let path = folder().join(name);
        if update {
            fs::write(&path, page).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == *page, "man/{name} is out of date: UPDATE=1 cargo test --test man");
    }
    let made: BTreeSet<String> =
        pages.into_iter().map(|(name, _)| name).chain(BY_HAND.map(String::from)).collect();
    let there: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(there, made, "a page without a definition, or the reverse");
}

#[test]
fn every_page_that_is_named_is_there() {
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for line in text.lines().filter(|line| line.starts_with(".BR enq")) {
            let mut words = line.trim_start_matches(".BR ").split(' ');
            let (name, section) = (words.next().unwrap(), words.next().unwrap());
            let section: String = section.chars().filter(char::is_ascii_digit).collect();
            let file = format!("{name}.{section}");
            assert!(folder().join(&file).exists(), "{} names {file}", path.display());
        }
    }
}
