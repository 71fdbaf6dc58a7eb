//! `enq modes`: the six modes and rule M1, as everybody who locks should have it beside the keyboard.

use std::fmt::Write as _;

use enq_protocol::vocabulary::LockMode;
use serde_json::json;

use super::{args::Format, exit::Failure, render};

/// Prints them.
pub(super) fn modes(format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => {
            let of = |mode: LockMode, is: fn(LockMode, LockMode) -> bool| {
                LockMode::ALL
                    .into_iter()
                    .filter(|other| is(mode, *other))
                    .map(LockMode::letters)
                    .collect::<Vec<_>>()
            };
            let modes: Vec<_> = LockMode::ALL
                .into_iter()
                .map(|mode| {
                    json!({
                        "mode": mode.letters(),
                        "meaning": mode.meaning(),
                        "compatible": of(mode, LockMode::is_compatible),
                        "covers": of(mode, LockMode::covers),
                        "fenced": mode.is_fenced(),
                    })
                })
                .collect();
            render::object("modes", &json!(modes))
        }
        Format::Name => render::print(&LockMode::ALL.map(|mode| format!("{mode}\n")).concat()),
        Format::Table | Format::Wide => render::print(&table()),
    }
}

fn table() -> String {
    let mut text = String::from("May a lock be granted beside another? (rule M1; - is no)\n\n");
    let heads = LockMode::ALL.map(LockMode::letters).join("  ");
    text.push_str(&render::heading(&format!("                     {heads}")));
    text.push('\n');
    for mode in LockMode::ALL {
        let cells = LockMode::ALL.map(|other| if mode.is_compatible(other) { "yes" } else { " - " });
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{mode} {:<17} {}", mode.meaning(), cells.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_table_is_that_of_rule_m1() {
        let table = super::table();
        assert!(table.contains("PW protected write   yes yes  -   -   -   - "), "{table}");
    }
}
