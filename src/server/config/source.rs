//! Where settings come from: the file, the environment, the command line, in rising precedence.
//!
//! A name that nobody knows is an error and answered with the nearest one that exists. Only variables of the environment
//! are not: others may set ENQ_ANYTHING for reasons of their own, so one that looks like a slip is warned of.

use super::{
    relations,
    settings::{KEYS, Key, Settings},
};
use clap::{Arg, ArgAction, ArgMatches, Command, parser::ValueSource};
use std::{env, ffi::OsString, fmt, fs, path::Path};

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// The file.
    File,
    /// The environment.
    Environment,
    /// The command line.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Origin::Default => "default",
            Origin::File => "file",
            Origin::Environment => "environment",
            Origin::CommandLine => "command line",
        })
    }
}

/// What the program was started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// To serve.
    Serve,
    /// To say whether its configuration is good.
    Check,
    /// To show its configuration.
    Show,
}

/// What was said, from all places together.
#[derive(Clone, Debug)]
pub struct Told {
    /// The settings.
    pub settings: Settings,
    /// Where each came from, in the order of [`KEYS`].
    pub origins: Vec<Origin>,
    /// What for.
    pub task: Task,
    /// Variables of the environment that look like a slip, with what may be meant.
    pub warnings: Vec<String>,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The command line cannot be understood, or asks for help.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
    /// The file cannot be read, or says what nobody understands.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// Values that do not go together, a line each.
    #[error("{}", .0.join("\n"))]
    Relations(Vec<String>),
}

/// The command line of `enqd`.
#[must_use]
pub fn command() -> Command {
    let file = Arg::new("config").long("config").value_name("FILE").env("ENQ_CONFIG").help(
        "File with settings, see enqd.toml(5). The environment goes before it, the command line before both",
    );
    let task = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).exclusive(false).help(help)
    };
    Command::new("enqd")
        .version(env!("CARGO_PKG_VERSION"))
        .about("The server of enq, a distributed lock manager")
        .arg(file)
        .arg(task("check-config", "Say whether the configuration is good, and do not serve"))
        .arg(
            task("show-config", "Show every setting with where it comes from, and do not serve")
                .conflicts_with("check-config"),
        )
        .args(KEYS.iter().map(argument))
}

/// One setting on the command line.
fn argument(key: &'static Key) -> Arg {
    let settings = Settings::default();
    let read = move |text: &str| (key.set)(&mut Settings::default(), text).map(|()| text.to_owned());
    let about = key.about().trim_end_matches('.');
    let default = key.value(&settings);
    let help = if default.is_empty() { about.to_owned() } else { format!("{about} [default: {default}]") };
    let argument = Arg::new(key.name)
        .long(key.flag())
        .value_name(key.place)
        .env(key.variable())
        .hide_env_values(true)
        .value_parser(read)
        .help(help);
    match key.place {
        "ADDR" => argument.action(ArgAction::Append).value_delimiter(','),
        "BOOL" => argument.num_args(0..=1).require_equals(true).default_missing_value("true"),
        _ => argument,
    }
}

impl Told {
    /// Reads everything: these arguments, the environment, and the file that one of them names.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn gather(arguments: impl IntoIterator<Item = OsString>) -> Result<Told, ConfigError> {
        let matches = command().try_get_matches_from(arguments)?;
        let mut told = Told {
            settings: Settings::default(),
            origins: vec![Origin::Default; KEYS.len()],
            task: task(&matches),
            warnings: slips(env::vars_os().filter_map(|(name, _)| name.into_string().ok())),
        };
        if let Some(path) = matches.get_one::<String>("config") {
            told.read_file(Path::new(path))?;
        }
        for source in [ValueSource::EnvVariable, ValueSource::CommandLine] {
            let origin = match source {
                ValueSource::CommandLine => Origin::CommandLine,
                _ => Origin::Environment,
            };
            for (key, place) in KEYS.iter().zip(&mut told.origins) {
                if matches.value_source(key.name) != Some(source) {
                    continue;
                }
                let words: Vec<&str> =
                    matches.get_many::<String>(key.name).unwrap_or_default().map(String::as_str).collect();
                // The command line has read each of these values once.
                if (key.set)(&mut told.settings, &words.join(",")).is_ok() {
                    *place = origin;
                }
            }
        }
        let broken = relations::broken(&told.settings);
        if broken.is_empty() { Ok(told) } else { Err(ConfigError::Relations(broken)) }
    }

    fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let wrong = |why: String| ConfigError::File { path: path.display().to_string(), why };
        let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        self.read_text(&text).map_err(wrong)
    }

    /// Takes what the text of a file says.
    fn read_text(&mut self, text: &str) -> Result<(), String> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
        for (name, value) in &table {
            let Some(at) = KEYS.iter().position(|key| key.name == name) else {
                return Err(format!(
                    "there is no setting {name}{}",
                    meant(name, KEYS.iter().map(|key| key.name))
                ));
            };
            let told = written(value).and_then(|text| (KEYS[at].set)(&mut self.settings, &text));
            told.map_err(|why| format!("{name}: {why}"))?;
            self.origins[at] = Origin::File;
        }
        Ok(())
    }

    /// Every setting as a line of a file, with where it comes from.
    #[must_use]
    pub fn show(&self) -> String {
        let line = |(key, origin): (&Key, &Origin)| {
            let value = key.value(&self.settings);
            let value = if key.is_bare { value } else { format!("{value:?}") };
            format!("{:<52} # {origin}\n", format!("{} = {value}", key.name))
        };
        KEYS.iter().zip(&self.origins).map(line).collect()
    }
}

fn task(matches: &ArgMatches) -> Task {
    match (matches.get_flag("check-config"), matches.get_flag("show-config")) {
        (true, _) => Task::Check,
        (false, true) => Task::Show,
        (false, false) => Task::Serve,
    }
}

/// A value of the file as the environment would say it.
fn written(value: &toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Boolean(is) => Ok(is.to_string()),
        toml::Value::Array(values) => {
            Ok(values.iter().map(written).collect::<Result<Vec<_>, _>>()?.join(","))
        }
        other => Err(format!("a {} is no value of a setting", other.type_str())),
    }
}

/// Variables that look like one of ours, misspelled.
fn slips(variables: impl Iterator<Item = String>) -> Vec<String> {
    /// Those that are somebody's: the command's, what it tells the commands it runs, and the name of the file.
    const OTHERS: [&str; 16] = [
        "ENQ_CONFIG",
        "ENQ_SERVERS",
        "ENQ_SPACE",
        "ENQ_TIMEOUT",
        "ENQ_LOCK_NAME",
        "ENQ_LOCK_MODE",
        "ENQ_LOCK_ID",
        "ENQ_FENCE",
        "ENQ_SEQ",
        "ENQ_SESSION_ID",
        "ENQ_SESSION",
        "ENQ_VALUE",
        "ENQ_VALUE_VALID",
        "ENQ_LEASE_TTL_MS",
        "ENQ_ORPHAN_KEY",
        "ENQ_PORT",
    ];
    let ours: Vec<String> = KEYS.iter().map(Key::variable).collect();
    let slip = |name: String| {
        let is_known = ours.contains(&name) || OTHERS.contains(&name.as_str()) || !name.starts_with("ENQ_");
        let near = if is_known { None } else { nearest(&name, ours.iter().map(String::as_str)) };
        near.map(|near| format!("{name} in the environment is no setting; {near} is"))
    };
    let mut found: Vec<String> = variables.filter_map(slip).collect();
    found.sort_unstable();
    found
}

/// What may be meant by an unknown name, as the end of a sentence.
fn meant<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    nearest(name, known).map_or_else(String::new, |near| format!("; {near} is one"))
}

/// The known name that is nearest to this one, if any is near.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.map(|known| (distance(name, known), known)).min()?;
    (near.0 <= name.len().max(3) / 3).then_some(near.1)
}

/// How many letters are to be put in, left out or changed to come from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, letter) in from.chars().enumerate() {
        let mut corner = at;
        row[0] = at + 1;
        for (column, other) in to.iter().enumerate() {
            let changed = corner + usize::from(letter != *other);
            corner = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(corner + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Told, String> {
        let mut told = Told {
            settings: Settings::default(),
            origins: vec![Origin::Default; KEYS.len()],
            task: Task::Serve,
            warnings: Vec::new(),
        };
        told.read_text(text).map(|()| told)
    }

    #[test]
    fn a_file_says_what_it_says() {
        let told =
            read("connections_max = 7\nkeepalive = \"3s\"\nlisten = [\"[::1]:1\", \"127.0.0.1:2\"]").unwrap();
        assert_eq!((told.settings.connections_max, told.settings.keepalive.as_secs()), (7, 3));
        assert_eq!(told.settings.listen.len(), 2);
        assert_eq!(told.origins.iter().filter(|origin| **origin == Origin::File).count(), 3);
        let again = read(&told.show()).unwrap();
        assert_eq!(again.settings, told.settings, "what is shown is a file");
    }

    #[test]
    fn what_nobody_knows_is_an_error_with_the_nearest_known_name() {
        let why = read("conections_max = 7").unwrap_err();
        assert!(why.contains("conections_max") && why.contains("; connections_max is one"), "{why}");
        assert!(!read("quux = 7").unwrap_err().contains("is one"));
        for (text, word) in [
            ("keepalive = 15", "no time"),
            ("[limits]\nconnections_max = 1", "no setting limits"),
            ("log_json = \"maybe\"", "neither true nor false"),
            ("connections_max = 1.5", "no value"),
            ("connections_max = -1", "no number"),
            ("connections_max = 1\nconnections_max = 2", "duplicate"),
            ("connections_max =", "line 1"),
        ] {
            let why = read(text).unwrap_err();
            assert!(why.contains(word), "{text}: {why}");
        }
    }

    #[test]
    fn a_slip_in_the_environment_is_warned_of() {
        let names = ["ENQ_CONECTIONS_MAX", "ENQ_SERVERS", "ENQ_SERVICE_HOST", "PATH", "ENQ_TTL_MAX"];
        let warned = slips(names.into_iter().map(String::from));
        assert_eq!(warned.len(), 1, "{warned:?}");
        assert!(warned[0].contains("ENQ_CONNECTIONS_MAX is"), "{warned:?}");
    }

    #[test]
    fn distances_are_counted_in_letters() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
