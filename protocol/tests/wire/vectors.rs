//! Every vector is a sample of the codec, walked by the layouts of the document, and the other way round.

use super::{
    layout::{self, Layouts, Line},
    refusals::{self, Refusal},
    said::{Said, frame},
    samples,
};
use enq_protocol::vocabulary::Status;
use enq_protocol::wire::{
    DecodeError, FRAME_LEN_MAX, Family, Fault, FromClient, FromServer, Kind, Look, Outcome, Request, cut,
};
use std::{collections::BTreeSet, env, fs, path::PathBuf};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// The file of that name has this text, or gets it.
fn compare(name: &str, text: &str) {
    let path = folder().join(format!("{name}.hex"));
    if env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(found, text, "{name}.hex");
}

/// The names of the files there are in a folder.
fn names(folder: PathBuf) -> BTreeSet<String> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "hex"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect()
}

/// What the document says a kind is for.
fn sentence(kind: &str) -> &'static str {
    layout::table("Kinds").into_iter().find(|row| row[1] == kind).unwrap()[2]
}

#[test]
fn a_vector_is_what_the_codec_writes_and_the_document_reads() {
    let layouts = Layouts::read();
    for (name, said) in samples::all() {
        let bytes = said.bytes().unwrap();
        let kind = Kind(bytes[4]).to_string();
        let title = format!("{kind}: {}", sentence(&kind));
        compare(name, &layout::text(&title, &layouts.walk(&bytes)));

        let vector = fs::read_to_string(folder().join(format!("{name}.hex"))).unwrap();
        let bytes = layout::bytes(vector.lines());
        assert_eq!(Said::read(&frame(&bytes)), Ok(said.clone()), "{name} is read");
        assert_eq!(said.bytes().unwrap(), bytes, "{name} is written");
    }
    let samples = samples::all().into_iter().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(names(folder()), samples, "a vector for each sample, and no others");
}

#[test]
fn every_kind_that_is_spoken_has_a_vector_a_refusal_and_a_layout() {
    let layouts = Layouts::read();
    let kind_of = |of: &str| {
        let (_, said) = samples::all().into_iter().find(|(name, _)| *name == of).unwrap();
        said.bytes().unwrap()[4]
    };
    let samples: BTreeSet<u8> = samples::all().iter().map(|(_, said)| said.bytes().unwrap()[4]).collect();
    let refused: BTreeSet<u8> = refusals::ALL.iter().map(|refusal| kind_of(refusal.of)).collect();
    for row in Kind::TABLE {
        assert_eq!(row.spoken, samples.contains(&row.number), "{} has a vector", row.name);
        assert_eq!(row.spoken, refused.contains(&row.number), "{} has a refusal", row.name);
        assert_eq!(row.spoken, layouts.has(row.name), "{} has a layout", row.name);
    }
}

/// The frame of a refusal, line by line, its length made right unless that is what is wrong.
fn lines(layouts: &Layouts<'static>, refusal: &Refusal) -> Vec<Line> {
    let (_, said) = samples::all().into_iter().find(|(name, _)| *name == refusal.of).unwrap();
    let mut lines = layouts.walk(&said.bytes().unwrap());
    let line = lines.iter_mut().find(|line| line.field == refusal.field).unwrap();
    line.bytes = refusal.bytes.to_vec();
    line.meaning = "wrong".into();
    if refusal.field != "length" {
        let len: usize = lines.iter().map(|line| line.bytes.len()).sum();
        lines[0].bytes = u32::try_from(len).unwrap().to_le_bytes().to_vec();
        lines[0].meaning = len.to_string();
    }
    lines
}

/// Class, status and error of the first frame; the reader of any frame must agree with that of its family.
fn verdict(bytes: &[u8]) -> String {
    let frame = match cut(bytes, FRAME_LEN_MAX) {
        Ok(frame) => frame.unwrap(),
        Err(error) => return told(&error),
    };
    let (header, body) = (&frame.header, frame.body);
    let whole = FromClient::decode(header, body);
    match header.kind.family() {
        Family::Request => {
            let error = Request::decode(header, body).unwrap_err();
            match error.outcome() {
                Outcome::Refuse => {
                    assert_eq!(whole, Ok(FromClient::Request(Request::Refused(error.status()))))
                }
                Outcome::Close => assert_eq!(whole, Err(error)),
            }
            told(&error)
        }
        Family::Look => {
            let error = Look::decode(header, body).unwrap_err();
            match error.outcome() {
                Outcome::Refuse => {
                    assert_eq!(whole, Ok(FromClient::Look { tag: 0x0102_0304, look: Err(error) }))
                }
                Outcome::Close => assert_eq!(whole, Err(error)),
            }
            told(&error)
        }
        _ if header.kind.is_from_client() => told(&whole.unwrap_err()),
        _ => {
            assert_eq!(whole.unwrap_err().status(), Status::State, "a server's kind from a client");
            told(&FromServer::decode(header, body).unwrap_err())
        }
    }
}

fn told(error: &DecodeError) -> String {
    // Who does not begin with the magic does not speak this protocol and would not understand an ERROR.
    let class = match (error.fault, error.outcome()) {
        (Fault::BadMagic, _) => 'S',
        (_, Outcome::Refuse) => 'E',
        (_, Outcome::Close) => 'C',
    };
    format!("{class} {} {error}", error.status())
}

#[test]
fn what_is_wrong_is_refused_with_message_field_and_offset() {
    let layouts = Layouts::read();
    let mut wrong = Vec::new();
    for refusal in refusals::ALL {
        let lines = lines(&layouts, refusal);
        let text = layout::text(&format!("refused: {}", refusal.says), &lines);
        let says = verdict(&layout::bytes(text.lines()));
        if says != refusal.says {
            wrong.push(format!("{}: {says}\n   not {}", refusal.name, refusal.says));
        } else {
            compare(&format!("refused/{}", refusal.name), &text);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let refusals = refusals::ALL.iter().map(|refusal| refusal.name.to_owned()).collect();
    assert_eq!(names(folder().join("refused")), refusals, "a vector for each refusal, and no others");
}
