//! The tables and examples of `PROTOCOL.md` are those of the code.

use super::layout::{DOCUMENT, blocks, bytes, table};
use enq_protocol::vocabulary::{Flags, LockMode, Status};
use enq_protocol::wire::Kind;
use std::{fs, path::Path};

#[test]
fn the_statuses_of_the_document_are_those_of_the_code() {
    let code: Vec<Vec<String>> = Status::TABLE
        .iter()
        .map(|row| {
            let (number, exit) = (row.number.to_string(), row.exit.to_string());
            vec![number, row.name.into(), row.vms.into(), row.linux.into(), exit, row.sentence.into()]
        })
        .collect();
    assert_eq!(table("Statuses"), code);
}

#[test]
fn the_flags_of_the_document_are_those_of_the_code() {
    let calls = [
        ("ENQ", Flags::OF_ENQ),
        ("CONVERT", Flags::OF_CONVERT),
        ("DEQ", Flags::OF_DEQ),
        ("DEQ_ALL", Flags::OF_DEQ_ALL),
        ("CANCEL", Flags::OF_CANCEL),
        ("ADOPT", Flags::OF_ADOPT),
    ];
    let code: Vec<[String; 3]> = Flags::TABLE
        .iter()
        .map(|(flag, name)| {
            let on = calls.iter().filter(|call| call.1.contains(*flag)).map(|call| call.0);
            [(*name).into(), format!("{:#x}", flag.0), on.collect::<Vec<_>>().join(" ")]
        })
        .collect();
    let document: Vec<Vec<&str>> = table("Flags").into_iter().map(|row| row[..3].to_vec()).collect();
    assert_eq!(document, code);
}

#[test]
fn the_modes_of_the_document_are_those_of_the_code() {
    let code: Vec<[String; 4]> = LockMode::ALL
        .into_iter()
        .map(|mode| {
            let beside = LockMode::ALL.into_iter().filter(|other| mode.is_compatible(*other));
            let beside: Vec<&str> = beside.map(LockMode::letters).collect();
            [mode.letters().into(), (mode as u8).to_string(), mode.meaning().into(), beside.join(" ")]
        })
        .collect();
    assert_eq!(table("Modes"), code);
}

#[test]
fn value_blocks_move_as_the_rules_of_locking_say() {
    let rules = include_str!("../../../docs/locking.md");
    let cells = |document: &'static str| -> Vec<Vec<&'static str>> {
        let rows = document.lines().skip_while(|line| !line.starts_with("| held before"));
        let rows = rows.take_while(|line| line.starts_with('|'));
        rows.skip(2).map(|row| row.trim_matches('|').split('|').skip(1).map(str::trim).collect()).collect()
    };
    assert_eq!(cells(rules).len(), 7, "a row for a new lock and one for each mode");
    assert_eq!(cells(DOCUMENT), cells(rules));
}

#[test]
fn the_kinds_of_the_document_are_those_of_the_code() {
    let document: Vec<(String, &str, bool)> = table("Kinds")
        .into_iter()
        .map(|row| (row[0].to_owned(), row[1], !row[2].starts_with("Set aside")))
        .collect();
    let code: Vec<(String, &str, bool)> =
        Kind::TABLE.iter().map(|row| (format!("0x{:02X}", row.number), row.name, row.spoken)).collect();
    assert_eq!(document, code);
}

#[test]
fn the_examples_of_the_document_are_vectors() {
    let examples = blocks("hex");
    assert!(examples.len() > 10, "the document shows some exchanges");
    for (name, lines) in examples {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(format!("{name}.hex"));
        let vector = fs::read_to_string(&path).unwrap();
        assert_eq!(bytes(lines.into_iter()), bytes(vector.lines()), "{name}");
    }
}
