//! The bytes of `docs/journal.md` are those that are written.
//!
//! A small journal is made, and the examples of the document are compared with its files. `UPDATE=1` writes them; the
//! difference is read.

use crate::disk::Model;
use enq::log::journal::{Backup, Planted, Recovery};
use std::sync::Arc;

/// Hexadecimal, sixteen bytes a line.
fn hex(bytes: &[u8]) -> String {
    let line = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    bytes.chunks(16).map(line).collect::<Vec<_>>().join("\n")
}

/// Where the block of code behind this heading begins and ends.
fn block(document: &str, heading: &str) -> (usize, usize) {
    let opening = format!("\nExample, {heading}:\n\n```hex\n");
    let begin = document.find(&opening).map(|at| at + opening.len());
    let begin = begin.unwrap_or_else(|| panic!("docs/journal.md: no example, {heading}"));
    (begin, begin + document[begin..].find("\n```").expect("a block of code has an end"))
}

#[test]
fn the_examples_of_the_document_are_what_is_written() {
    let disk = Model::default();
    let settings = crate::book::settings(Planted::NONE);
    let id = 0x0123_4567_89ab_cdef;
    let mut started = Recovery::open(Arc::new(disk.clone()), settings, id).unwrap().start().unwrap();
    let mut body = started.writer.body();
    body.push(b"first");
    body.push(b"");
    started.writer.write(&mut body).unwrap();
    started.writer.note().unwrap();
    let mut snapshot = started.writer.snapshot(2).unwrap();
    snapshot.add(b"everything").unwrap();
    snapshot.finish().unwrap();
    started.attempts.applying(1, 2).unwrap();
    let backup = Backup { id, position: 2, epoch: 1, made_ms: 1_764_439_200_123 };
    backup.write(&disk, (".backup.new", "backup"), b"everything").unwrap();
    let state = disk.view();
    let (segment, head) = (&state["00000000000000000001.segment"], &state["head"]);
    assert_eq!(head[..64], head[4096..], "both slots say the same");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/journal.md");
    let mut document = std::fs::read_to_string(path).expect("the document is readable");
    for (heading, bytes) in [
        ("a slot of the head", &head[..64]),
        ("the plate of a segment", &segment[..64]),
        ("a batch at offset 512", &segment[512..512 + 64]),
        ("a snapshot", &state["00000000000000000002.snapshot"]),
        ("the note of attempts", &state["attempts"]),
        ("a backup", &state["backup"]),
    ] {
        let (begin, end) = block(&document, heading);
        if std::env::var_os("UPDATE").is_some() {
            document.replace_range(begin..end, &hex(bytes));
        }
        let (begin, end) = block(&document, heading);
        assert_eq!(hex(bytes), document[begin..end], "{heading}");
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, document).expect("the document is writable");
    }
}
