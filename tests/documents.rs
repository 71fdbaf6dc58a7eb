//! What the documents say about the repository is true: links lead somewhere, verbs exist, the gate runs what the README
//! names.
//!
//! Only what a machine can see. Whether a sentence is right, and worth reading, it cannot.

use enq::{
    client::Session,
    server::{Config, KEYS, Server, Settings},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Every document of the repository; what cargo builds is none.
fn documents() -> Vec<PathBuf> {
    let mut folders = vec![PathBuf::from(ROOT)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository can be read") {
            let path = entry.expect("what is in it can be named").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(found.len() > 10, "documents: {found:?}");
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// The anchor that a heading gets: lower case, blanks to hyphens, no punctuation.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().chars();
    kept.filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-' || *c == '_')
        .map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() })
        .collect()
}

#[test]
fn every_link_within_the_repository_leads_somewhere() {
    let mut broken = Vec::new();
    for document in documents() {
        let text = read(&document);
        let targets =
            text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
        for target in targets.filter(|target| !target.contains("://")) {
            let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
            let there =
                if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
            let leads = there.exists()
                && (fragment.is_empty()
                    || read(&there).lines().any(|line| line.starts_with('#') && anchor(line) == fragment));
            if !leads {
                broken.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_limit_has_a_setting_a_counter_and_a_line_in_the_table() {
    let text = read(&Path::new(ROOT).join("docs/operating.md"));
    let section = text.split("\n## Limits\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let cell = |cell: &str| cell.trim().trim_matches('`').to_owned();
    let rows: Vec<(String, String)> = section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let mut cells = line.split('|').skip(1).map(cell);
            (cells.next().unwrap(), cells.next().unwrap())
        })
        .collect();
    let defaults = Settings::default();
    for (name, default) in &rows {
        let key = KEYS.iter().find(|key| key.name == name).unwrap_or_else(|| panic!("{name} is no setting"));
        assert_eq!(key.value(&defaults), *default, "{name}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let counters = runtime.block_on(async {
        let server = Server::start(Config::for_tests()).await.unwrap();
        let client = Session::builder("documents").connect(&[server.local_addr().to_string()]).await.unwrap();
        client.counters().await.unwrap().1
    });
    let prefix = "enq_limit_reached_total{limit=\"";
    let counted =
        counters.iter().filter_map(|counter| counter.name.strip_prefix(prefix)?.strip_suffix("\"}"));
    let mut counted: Vec<&str> = counted.collect();
    let mut told: Vec<&str> = rows.iter().map(|(name, _)| name.as_str()).collect();
    counted.sort_unstable();
    told.sort_unstable();
    assert_eq!(counted, told, "counters and the table of docs/operating.md");
    let gauges = [
        "enq_connections",
        "enq_connections_unauthenticated",
        "enq_outbox_bytes_max",
        "enq_memory_max_bytes",
    ];
    for gauge in gauges {
        assert!(section.contains(gauge) && counters.iter().any(|counter| counter.name == gauge), "{gauge}");
    }
}

/// The verbs that the text uses as commands: after `enq ` at the start of a code span, a code line or a prompt.
fn verbs(text: &str) -> Vec<String> {
    let starts = ["`enq ", "\n    enq ", "$ enq "];
    let mut found: Vec<String> = starts
        .iter()
        .flat_map(|start| text.split(start).skip(1))
        .map(|rest| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect())
        .filter(|verb: &String| verb.chars().any(|c| c.is_ascii_lowercase()))
        .collect();
    found.sort();
    found.dedup();
    found
}

#[test]
fn every_verb_that_a_document_uses_is_one_of_the_command() {
    let mut unknown = Vec::new();
    // The language of the stories has an `enq` of its own.
    let stories = Path::new(ROOT).join("tests");
    for document in documents().into_iter().filter(|document| !document.starts_with(&stories)) {
        for verb in verbs(&read(&document)) {
            let help =
                Command::new(env!("CARGO_BIN_EXE_enq")).args([verb.as_str(), "--help"]).output().unwrap();
            if !help.status.success() {
                unknown.push(format!("{}: enq {verb}", document.display()));
            }
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
    let tour = verbs(&read(&Path::new(ROOT).join("README.md")));
    assert!(tour.iter().any(|verb| verb == "run") && tour.len() >= 4, "the README's tour uses {tour:?}");
}

#[test]
fn the_gate_ends_with_the_test_command_that_the_readme_names() {
    let readme = read(&Path::new(ROOT).join("README.md"));
    let gate = read(&Path::new(ROOT).join(".ci/run"));
    let last = gate.lines().rfind(|line| !line.trim().is_empty()).unwrap();
    let command = last.strip_prefix("exec ").expect("the gate's last line hands over to the tests");
    assert!(readme.contains(&format!("\n{command}\n")), "the README does not name `{command}`");
    assert!(readme.contains("\ncargo build --release\n") && gate.contains(" cargo build --release "));
}

/// What may differ from run to run is a number or the id of a lock, and how wide a table is.
fn masked(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let words = line.split_whitespace().map(|word| {
            if word.starts_with('#') && word.len() > 2 {
                return String::from("#N");
            }
            let mut masked = String::new();
            for c in word.chars().map(|c| if c.is_ascii_digit() { 'N' } else { c }) {
                if c != 'N' || !masked.ends_with('N') {
                    masked.push(c);
                }
            }
            masked
        });
        lines.push(words.collect::<Vec<_>>().join(" "));
    }
    lines.join("\n")
}

/// `UPDATE=1` writes the transcript; the difference is read.
#[test]
fn the_restore_goes_as_the_document_says() {
    let bins = Path::new(env!("CARGO_BIN_EXE_enq")).parent().expect("binaries are in a folder");
    assert_eq!(Path::new(env!("CARGO_BIN_EXE_enqd")).parent(), Some(bins));
    let mut path = vec![bins.to_path_buf()];
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let output = Command::new("sh")
        .arg(Path::new(ROOT).join("docs/examples/restore.sh"))
        .env("PATH", std::env::join_paths(path).expect("folders without colons"))
        .env_remove("ENQ_SERVERS")
        .env_remove("ENQ_SPACE")
        .env_remove("ENQ_SESSION")
        .output()
        .expect("there is a shell");
    let said = String::from_utf8(output.stdout).expect("it prints text");
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let document = Path::new(ROOT).join("docs/examples/restore.md");
    let mut text = read(&document);
    let begin = text.find("```console\n").expect("the transcript is there") + "```console\n".len();
    let end = begin + text[begin..].find("```").expect("it has an end");
    if std::env::var_os("UPDATE").is_some() {
        text.replace_range(begin..end, &said);
        fs::write(&document, &text).expect("the document is writable");
        return;
    }
    assert_eq!(masked(&text[begin..end]), masked(&said), "docs/examples/restore.md: UPDATE=1 writes it anew");
}
