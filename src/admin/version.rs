//! `enq version`: which command this is.

use serde_json::json;

use super::{args::Format, exit::Failure, render};

/// Prints it.
pub(super) fn version(format: Format) -> Result<(), Failure> {
    let release = env!("CARGO_PKG_VERSION");
    match format {
        Format::Json => render::object("enq", &json!({ "release": release })),
        Format::Name => render::print(&format!("{release}\n")),
        Format::Table | Format::Wide => render::print(&format!("enq {release}\n")),
    }
}
