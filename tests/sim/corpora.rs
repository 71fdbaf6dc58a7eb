//! The corpora of the fuzz targets `sequence` and `steps`, through the functions of the targets: what once was found stays
//! found, on a stable compiler.

#[expect(unreachable_pub, reason = "public for the targets, which are another crate")]
#[path = "../../fuzz/src/sequence.rs"]
mod sequence;
#[expect(unreachable_pub, reason = "public for the targets, which are another crate")]
#[path = "../../fuzz/src/steps.rs"]
mod steps;

use std::{fs, path::Path};

/// Every file of a corpus, by name.
fn files(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(folder).expect("the corpus is there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(paths.len() >= 5, "the corpus of {target} holds {} files", paths.len());
    paths.iter().map(|path| fs::read(path).expect("a file of the corpus is readable")).collect()
}

#[test]
fn sequences_of_frames_harm_nobody() {
    for bytes in files("sequence") {
        sequence::sequence(&bytes);
        for cut in (0..bytes.len()).step_by(7) {
            sequence::sequence(&bytes[..cut]);
            sequence::sequence(&bytes[cut..]);
        }
    }
}

#[test]
fn steps_end_alike_in_engine_and_model() {
    for bytes in files("steps") {
        steps::steps(&bytes);
        for cut in 0..40.min(bytes.len()) {
            steps::steps(&bytes[cut..]);
        }
    }
}
