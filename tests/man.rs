//! The man pages in `man/` are those that the argument definitions make. `UPDATE=1 cargo test --test man` rewrites them;
//! the diff is read.

use std::{collections::BTreeSet, env, fs, path::PathBuf};

use enq::server::{KEYS, Settings, command};

/// Pages that are written by hand.
const BY_HAND: [&str; 1] = ["enq.7"];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("man")
}

#[test]
fn the_committed_pages_are_those_of_the_definitions() {
    let mut pages = enq::admin::man::pages();
    let enqd = command();
    pages.push((String::from("enqd.8"), enq::admin::man::page(&enqd, "enqd", 8)));
    pages.push((String::from("enqd.toml.5"), settings_page()));
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

/// The page about the file: what every setting is called, means, and is when nobody says anything.
fn settings_page() -> String {
    let escaped = |text: &str| text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    let mut page = String::from(
        ".TH enqd.toml 5 \"\" enq\n.SH NAME\nenqd.toml \\- settings of the server of enq\n.SH DESCRIPTION\nA file in TOML \
         that\n.BR enqd (8)\nreads when it is started with\n.B \\-\\-config\nor\n.BR ENQ_CONFIG .\nEach line is a \
         setting. The same names, with\n.B ENQ_\nin front and in capitals, are read from the environment, which goes \
         before the file;\nwith hyphens, from the command line, which goes before both.\n.PP\nA name that nobody knows \
         and values that contradict each other are errors: the server says which and does not start.\n.B enqd \
         \\-\\-check\\-config\nsays whether a configuration is good,\n.B enqd \\-\\-show\\-config\nshows every \
         setting with where it comes from.\n.PP\nA TIME is a number with\n.BR ms ,\n.BR s ,\n.B m\nor\n.BR h ;\na \
         SIZE a number of bytes, or with\n.BR KiB ,\n.B MiB\nor\n.BR GiB .\nBoth stand in quotation marks. Several \
         addresses are a list.\n.SH SETTINGS\n",
    );
    let defaults = Settings::default();
    for key in KEYS {
        let default = key.value(&defaults);
        let default = match (default.as_str(), key.is_bare) {
            ("", _) => String::from("(none)"),
            (value, true) => value.into(),
            (value, false) => format!("\"{value}\""),
        };
        let (name, place, about) = (key.name, key.place, escaped(key.about()));
        page.push_str(&format!(
            ".TP\n\\fB{name}\\fR = \\fI{place}\\fR, default {}\n{about}\n",
            escaped(&default)
        ));
    }
    page.push_str(
        ".SH EXAMPLE\n.nf\nlisten = [\"127.0.0.1:21065\", \"10.0.0.7:21065\"]\nconnections_max = 5000\nttl_max = \
         \"30s\"\n.fi\n.SH \"SEE ALSO\"\n.BR enqd (8),\n.BR enq (7)\n",
    );
    page
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
