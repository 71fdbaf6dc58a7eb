//! The corpora of the fuzz targets, and the vectors, through the functions of the targets: what once was found stays
//! found, on a stable compiler, in a second.

use super::{fuzz, layout};
use std::{fs, path::Path};

/// Every file of a folder, by name.
fn files(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.display().to_string(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

/// The bytes as they are, from each place on, and up to each place.
fn feed(bytes: &[u8], target: fn(&[u8])) {
    target(bytes);
    for at in 0..bytes.len() {
        target(&bytes[at..]);
        target(&bytes[..at]);
    }
}

#[test]
fn the_corpora_are_replayed() {
    for (folder, target) in
        [("../fuzz/corpus/client", fuzz::client as fn(&[u8])), ("../fuzz/corpus/server", fuzz::server)]
    {
        let files = files(folder);
        assert!(files.len() >= 5, "{folder} holds {} files", files.len());
        files.iter().for_each(|(_, bytes)| feed(bytes, target));
    }
}

#[test]
fn the_vectors_are_frames_of_either_side() {
    let mut burst = Vec::new();
    for folder in ["vectors", "vectors/refused"] {
        for (name, text) in files(folder) {
            let text = String::from_utf8(text).unwrap_or_else(|_| panic!("{name} is text"));
            let bytes = layout::bytes(text.lines());
            feed(&bytes, fuzz::client);
            feed(&bytes, fuzz::server);
            burst.extend(bytes);
        }
    }
    // And all of them in one read, from each of 4,096 places.
    for at in 0..4_096 {
        fuzz::client(&burst[at..]);
        fuzz::server(&burst[at..]);
    }
}
