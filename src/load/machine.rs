//! The machine on which all this happens: figures without it are worth nothing.

use std::{fmt, fs, thread};

/// What a reader has to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Processors that this program may use.
    pub cores: usize,
    /// What the processor calls itself.
    pub model: String,
    /// The kernel's version.
    pub kernel: String,
    /// Is this program compiled without optimization? Then figures are for the sake of tests.
    pub is_debug: bool,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn this() -> Machine {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let model = read("/proc/cpuinfo").lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == "model name").then(|| value.trim().to_owned())
        });
        Machine {
            cores: thread::available_parallelism().map_or(1, Into::into),
            model: model.unwrap_or_else(|| std::env::consts::ARCH.into()),
            kernel: read("/proc/sys/kernel/osrelease").trim().into(),
            is_debug: cfg!(debug_assertions),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { cores, model, kernel, is_debug } = self;
        write!(f, "{cores} cores, {model}, Linux {kernel}")?;
        if *is_debug { f.write_str("; compiled for debugging, figures mean nothing") } else { Ok(()) }
    }
}
