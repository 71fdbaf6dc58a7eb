//! The numbered rules of `docs/locking.md`: each is in the document, in the code and among the scenarios.

use super::none;
use super::source::{files, relative, root, sources};
use std::collections::BTreeSet;

/// The rules of the document, in its order.
fn rules() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("docs/locking.md")).expect("the rules are readable");
    let bold = text.split("**").skip(1).step_by(2);
    let rules: Vec<String> = bold.filter(|word| is_rule(word)).map(String::from).collect();
    assert!(rules.len() > 50, "the rules are found: {rules:?}");
    rules
}

/// A letter of a section and a number.
fn is_rule(word: &str) -> bool {
    let (letter, number) = word.split_at(word.len().min(1));
    "MRGCVTUBDEFOPQ".contains(letter) && number.parse::<u8>().is_ok_and(|number| number > 0)
}

#[test]
fn every_rule_has_one_number() {
    let rules = rules();
    let numbers: BTreeSet<&String> = rules.iter().collect();
    assert_eq!(numbers.len(), rules.len(), "docs/locking.md: a number stands for two rules");
}

#[test]
fn every_rule_is_cited_where_it_is_kept_and_no_other() {
    let rules = rules();
    let mut cited = BTreeSet::new();
    let mut wrong = Vec::new();
    for source in sources(&["src/engine", "protocol/src/vocabulary"]) {
        for line in source.lines_of_product() {
            for word in line.comment.split(|c: char| !c.is_alphanumeric()).filter(|word| is_rule(word)) {
                if !rules.iter().any(|rule| rule == word) {
                    wrong.push(format!("{}: there is no rule {word}", source.at(line.number)));
                }
                cited.insert(word.to_owned());
            }
        }
    }
    for rule in rules.iter().filter(|rule| !cited.contains(*rule)) {
        wrong.push(format!(
            "docs/locking.md: {rule} is cited nowhere in src/engine or protocol/src/vocabulary"
        ));
    }
    none(&wrong, "CONTRIBUTING.md, rule 3: the code cites a rule at the place that keeps it");
}

#[test]
fn every_rule_has_a_story_and_every_story_a_rule() {
    let rules = rules();
    let mut told = BTreeSet::new();
    let mut wrong = Vec::new();
    for path in files(&["tests/scenarios"], &["txt"]) {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let start = name.split('_').next().unwrap_or_default();
        let (letter, number) = start.split_at(start.len().min(1));
        let rule = format!("{}{}", letter.to_uppercase(), number.trim_start_matches('0'));
        if rules.contains(&rule) {
            told.insert(rule);
        } else {
            wrong.push(format!("{}: there is no rule {rule}", relative(&path)));
        }
    }
    for rule in rules.iter().filter(|rule| !told.contains(*rule)) {
        wrong.push(format!("docs/locking.md: {rule} has no story in tests/scenarios"));
    }
    none(&wrong, "CONTRIBUTING.md, rule 3: a story has the number of its rule in its name");
}

/// The tables of the document are the tables of the stories, which the engine is held to.
#[test]
fn the_tables_of_the_rules_are_those_of_the_stories() {
    let document = std::fs::read_to_string(root().join("docs/locking.md")).expect("the rules are readable");
    for (rule, story) in [
        ("M1", "m01_who_may_stand_beside_whom"),
        ("C3", "c03_the_pairs_of_quecvt"),
        ("V1", "v01_what_a_conversion_does_with_the_value"),
    ] {
        let section = document.split(&format!("**{rule}**")).nth(1).expect("the rule is there");
        let rows = section
            .lines()
            .skip_while(|line| !line.starts_with('|'))
            .take_while(|line| line.starts_with('|'));
        // Two lines of heading; the row of new locks has a story of its own.
        let rows = rows.skip(2).filter(|row| !row.contains("(new)")).map(|row| row.replace('|', " "));
        let text =
            std::fs::read_to_string(root().join(format!("tests/scenarios/{story}.txt"))).expect("the story");
        let table = text.split("----\n").nth(1).expect("the story has a table").split("\n\n").next();
        let table = table.unwrap_or_default().lines().skip(1).map(String::from);
        let squeeze = |line: String| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let (rows, table): (Vec<_>, Vec<_>) = (rows.map(squeeze).collect(), table.map(squeeze).collect());
        assert_eq!(rows.len(), 6, "{rule}: the table of the document is found");
        assert_eq!(rows, table, "docs/locking.md, {rule}, and tests/scenarios/{story}.txt");
    }
}
