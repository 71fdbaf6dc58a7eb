//! Damage of a journal at rest: every byte, every sector, every record, every file. It is refused with its place, or nothing
//! is lost by it; there is nothing in between.
//!
//! A journal that ended in order says in its head how far it came. One that was killed does not: of such a one, and only of
//! it, the last batch cannot be told from a torn one, and may be cut off.

use crate::{
    book::{Book, Wrong},
    disk::{Model, State, Told},
    run::{Ended, Run},
};
use enq::log::journal::{Contents, OpenError, Planted, Tail, Walked};
use std::collections::BTreeMap;

/// How the starts from damaged states came out, by kind of file.
type Verdicts = BTreeMap<(&'static str, &'static str), u64>;

/// A journal at rest.
struct Rest {
    book: Book,
    told: Told,
    state: State,
    planted: Planted,
    verdicts: Verdicts,
}

/// What kind of file it is.
fn kind(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("segment") => "segment",
        Some("spare") => "spare",
        Some("snapshot") => "snapshot",
        Some("head") => "head",
        _ => "other",
    }
}

impl Rest {
    fn new(planted: Planted) -> Result<Rest, String> {
        Rest::after(Run::play, planted)
    }

    fn after(play: fn(&mut Run) -> Ended, planted: Planted) -> Result<Rest, String> {
        let mut run = Run::new(Model::default(), planted);
        match play(&mut run) {
            Ended::Whole => {}
            ended @ (Ended::NotStarted(_) | Ended::Failed(_)) => return Err(format!("{ended:?}")),
        }
        let state = run.disk.view();
        for (ending, least) in [(".segment", 2), (".snapshot", 2), (".spare", 1)] {
            let count = state.keys().filter(|name| name.ends_with(ending)).count();
            if planted == Planted::NONE {
                assert!(count >= least, "{count} files with {ending}: {:?}", state.keys());
            }
        }
        Ok(Rest { book: run.book, told: run.told, state, planted, verdicts: Verdicts::new() })
    }

    /// Starts with one file changed, or without it. Either it is refused, and the file is named, or all is there.
    fn judge(&mut self, name: &str, bytes: Option<Vec<u8>>, what: &str) -> Result<(), String> {
        let mut state = self.state.clone();
        match bytes {
            Some(bytes) => state.insert(name.into(), bytes),
            None => state.remove(name),
        };
        let verdict = match self.book.start(&state, self.told, self.planted) {
            Ok(found) if found.last == self.book.last() => "nothing lost",
            Ok(found) => {
                return Err(format!("{name}, {what}: {} instead of {}", found.last, self.book.last()));
            }
            Err(Wrong::Content(wrong)) => return Err(format!("{name}, {what}: {wrong}")),
            Err(Wrong::Refused(error)) => {
                let text = error.to_string();
                let is_damage = matches!(error, OpenError::Damaged(_));
                if !is_damage || !text.contains(name) {
                    return Err(format!("{name}, {what}: refused as {text}"));
                }
                "refused"
            }
        };
        *self.verdicts.entry((kind(name), verdict)).or_default() += 1;
        Ok(())
    }

    /// Where the batches of each segment begin, and which of them have records.
    fn batches(&self) -> BTreeMap<String, Vec<(usize, u32)>> {
        let disk = Model::new(self.state.clone());
        let contents = Contents::look(&disk).unwrap();
        let numbers: Vec<u64> = contents.segments().map(|(number, _)| number).collect();
        let mut batches = BTreeMap::new();
        for number in numbers {
            let mut walk = contents.walk(number).unwrap().unwrap();
            let mut begins = Vec::new();
            while let Walked::Batch(offset, _, batch) = walk.step() {
                begins.push((usize::try_from(offset).unwrap(), batch.count()));
            }
            batches.insert(format!("{number:020}.segment"), begins);
        }
        batches
    }
}

/// What is wrong with some verdict.
pub(crate) fn first_wrong(planted: Planted) -> Result<u64, String> {
    let mut rest = Rest::new(planted)?;
    let files: Vec<(String, Vec<u8>)> = rest.state.clone().into_iter().collect();
    for (name, bytes) in &files {
        rest.judge(name, None, "removed")?;
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            rest.judge(name, Some(flipped), &format!("byte {at}"))?;
        }
        for sector in (0..bytes.len()).step_by(512) {
            let mut zeroed = bytes.clone();
            let end = bytes.len().min(sector + 512);
            zeroed[sector..end].fill(0);
            rest.judge(name, Some(zeroed), &format!("zeros from {sector} to {end}"))?;
            let is_cut = sector > 0 || kind(name) != "other";
            if is_cut {
                rest.judge(name, Some(bytes[..sector].to_vec()), &format!("cut at {sector}"))?;
            }
        }
    }
    for (name, batches) in rest.batches() {
        for (at, _) in batches {
            let cut = rest.state[&name][..at].to_vec();
            rest.judge(&name, Some(cut), &format!("cut at the batch at {at}"))?;
            let mut zeroed = rest.state[&name].clone();
            zeroed[at..].fill(0);
            rest.judge(&name, Some(zeroed), &format!("zeros from the batch at {at} on"))?;
        }
    }
    let mut killed = Rest::after(Run::play_until_killed, planted)?;
    for name in killed.state.clone().into_keys() {
        killed.judge(&name, None, "removed from a journal that was killed")?;
    }
    let mut started = Rest::after(Run::play_and_start, planted)?;
    let head = started.state["head"].clone();
    for at in (0..64).chain(4096..4096 + 64) {
        let mut flipped = head.clone();
        flipped[at] ^= 1;
        started.judge("head", Some(flipped), &format!("byte {at} of a journal that has just started"))?;
    }
    let all = rest.verdicts.values().sum();
    println!("{all} damaged journals: {:?}", rest.verdicts);
    Ok(all)
}

#[test]
fn damage_is_refused_or_loses_nothing() {
    first_wrong(Planted::NONE).unwrap_or_else(|wrong| panic!("{wrong}"));
}

#[test]
fn what_was_written_behind_the_snapshot_is_refused_at_every_byte() {
    let mut rest = Rest::new(Planted::NONE).unwrap();
    let (newest, batches) = rest.batches().pop_last().unwrap();
    assert!(!batches.is_empty(), "there is a batch behind the snapshot");
    let begin = batches[0].0;
    let end = {
        let disk = Model::new(rest.state.clone());
        let contents = Contents::look(&disk).unwrap();
        let (number, _) = contents.segments().last().unwrap();
        let mut walk = contents.walk(number).unwrap().unwrap();
        loop {
            if let Walked::End(offset, wrong) = walk.step() {
                assert_eq!(wrong, None);
                break usize::try_from(offset).unwrap();
            }
        }
    };
    let bytes = rest.state[&newest].clone();
    for at in begin..end {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        rest.judge(&newest, Some(flipped), &format!("byte {at}")).unwrap();
    }
    let refused = rest.verdicts[&("segment", "refused")];
    let padding = rest.verdicts.get(&("segment", "nothing lost")).copied().unwrap_or(0);
    assert_eq!(refused + padding, (end - begin) as u64);
    assert!(padding <= 7 * batches.len() as u64, "{padding} bytes are of no batch");
}

/// The last record of a journal that was killed: cut off with a word about it, and nothing else is.
#[test]
fn a_torn_batch_is_cut_off_and_said_and_nothing_else_is() {
    let mut run = Run::new(Model::default(), Planted::NONE);
    run.start().unwrap();
    for turn in [0, 1, 2, 3] {
        run.turn(turn).unwrap();
    }
    let (state, before) = (run.disk.view(), run.book.last());
    let rest = Rest {
        book: run.book,
        told: run.told,
        state: state.clone(),
        planted: Planted::NONE,
        verdicts: Verdicts::new(),
    };
    let (name, batches) = rest.batches().pop_last().unwrap();
    let (last, count) = *batches.last().unwrap();
    let promised = Told { durable: before - u64::from(count), ..rest.told };
    for at in last..last + 48 + 4 {
        let mut flipped = state.clone();
        flipped.get_mut(&name).unwrap()[at] ^= 1;
        let found = rest
            .book
            .start(&flipped, promised, Planted::NONE)
            .unwrap_or_else(|wrong| panic!("{at}: {wrong}"));
        assert_eq!(found.last, promised.durable, "byte {at}");
        let signed = !(last..last + 4).contains(&at) && !(last + 8..last + 16).contains(&at);
        match &found.report().tail {
            Tail::Torn { offset, position, .. } => {
                assert_eq!((*offset, *position), (last as u64, promised.durable + 1), "byte {at}");
            }
            Tail::Clean => assert!(!signed, "byte {at} of a header that is still signed"),
        }
    }
}
