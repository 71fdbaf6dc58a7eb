//! What is measured, in which order: what was asked for, or the rows of the project's own table.

use super::super::{args::Bench, exit::Failure};
use crate::load::{Mix, Names, Point, Rate, Work, Workload};

/// Points, works and rivals that belong into one table.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) title: String,
    pub(super) points: Vec<Point>,
    /// What takes turns at each point. The others are compared with the first.
    pub(super) works: Vec<Workload>,
    /// Other locks that are held meanwhile, one number after the other.
    pub(super) held: Vec<u32>,
    pub(super) rate: Option<Rate>,
    /// Do floor and peer take part, if they know the work?
    pub(super) has_rivals: bool,
}

/// The points of the project's own table.
const POINTS: [(u32, u32); 6] = [(1, 1), (16, 1), (16, 16), (64, 1), (64, 16), (64, 64)];
/// How many want the one lock that is handed on.
const CONTENDERS: [(u32, u32); 4] = [(2, 1), (16, 1), (64, 1), (1_000, 1)];

/// All that these arguments ask for.
pub(super) fn of(bench: &Bench) -> Result<Vec<Section>, Failure> {
    let asked = bench.points.is_some()
        || bench.connections.is_some()
        || bench.depth.is_some()
        || bench.work.is_some()
        || bench.rate.is_some()
        || bench.held.is_some();
    let sections = if asked { vec![one(bench)?] } else { preset(bench)? };
    if !bench.floor && sections.iter().any(|section| matches!(section.rate, Some(Rate::OfFloor(_)))) {
        return Err(Failure::usage("a rate in percent of the floor's", "add --floor"));
    }
    Ok(sections)
}

/// One section, as it was asked for.
fn one(bench: &Bench) -> Result<Section, Failure> {
    let works = bench.work.clone().unwrap_or_else(|| vec![Work::Pair]);
    let works: Vec<Workload> =
        works.into_iter().map(|work| workload(bench, work)).collect::<Result<_, _>>()?;
    let points = points(bench);
    if works.iter().any(Workload::is_handoff) {
        if works.len() > 1 {
            return Err(Failure::usage("a hand-off is compared with no other work", "--work handoff"));
        }
        if points.iter().any(|point| point.depth > 1) || bench.rate.is_some() {
            let hint = "without --rate, and with a depth of 1";
            return Err(Failure::usage("who waits for the one lock can do nothing else meanwhile", hint));
        }
    }
    if !bench.peer.is_empty() && !works.iter().any(Workload::is_plain) {
        let hint = "without --peer, or with pairs of EX on names of their own, or --work handoff";
        return Err(Failure::usage("the peer knows nothing like that", hint));
    }
    Ok(Section {
        title: String::from("As asked"),
        points,
        works,
        held: bench.held.clone().unwrap_or_else(|| vec![0]),
        rate: bench.rate,
        has_rivals: true,
    })
}

/// The rows of the project's own table.
fn preset(bench: &Bench) -> Result<Vec<Section>, Failure> {
    let section = |title: &str, points: &[(u32, u32)], works: Vec<Workload>| Section {
        title: title.into(),
        points: points
            .iter()
            .map(|(connections, depth)| Point { connections: *connections, depth: *depth })
            .collect(),
        works,
        held: vec![0],
        rate: None,
        has_rivals: true,
    };
    let pair = workload(bench, Work::Pair)?;
    let mut sections = vec![section("Pairs that nobody is in the way of", &POINTS, vec![pair.clone()])];
    if bench.floor {
        let title = "The same at half of the floor's rate: latencies";
        let rate = Some(Rate::OfFloor(0.5));
        sections.push(Section { rate, ..section(title, &[(16, 1)], vec![pair.clone()]) });
    }
    if pair != Workload::plain(Work::Pair) {
        return Ok(sections);
    }
    let plain = Workload::plain;
    let path = |work| Workload { tree_depth: bench.tree_depth, ..plain(work) };
    let title = "One exclusive lock, handed on";
    sections.push(section(title, &CONTENDERS, vec![plain(Work::Handoff)]));
    let title = "Conversions NL to PR and back of a lock that is kept, beside pairs";
    let works = vec![pair, plain(Work::Convert)];
    sections.push(Section { has_rivals: false, ..section(title, &[(16, 1), (16, 16)], works) });
    let title = format!("A path of {} levels in one request, beside a request a level", bench.tree_depth);
    let works = vec![path(Work::PipelinedPath), path(Work::Path)];
    sections.push(Section { has_rivals: false, ..section(&title, &[(16, 1), (16, 16)], works) });
    Ok(sections)
}

fn workload(bench: &Bench, work: Work) -> Result<Workload, Failure> {
    let plain = Workload::plain(work);
    let workload = Workload {
        modes: bench.modes.clone().unwrap_or_else(|| Mix::clone(&plain.modes)),
        names: bench.names.map_or(Names::Own, |count| Names::Shared { count, exponent: bench.zipf }),
        tree_depth: bench.tree_depth,
        value_len: bench.value_blocks,
        ..plain
    };
    workload.check().map_err(|why| Failure::usage(why, "enq bench --help"))?;
    // A number that plays no part makes no other work.
    let tree_depth = Workload::plain(work).tree_depth;
    let is_tree = matches!(work, Work::Path | Work::PipelinedPath);
    Ok(if is_tree { workload } else { Workload { tree_depth, ..workload } })
}

fn points(bench: &Bench) -> Vec<Point> {
    if let Some(points) = &bench.points {
        return points.clone();
    }
    let connections = bench.connections.clone().unwrap_or_else(|| vec![16]);
    let depths = bench.depth.clone().unwrap_or_else(|| vec![1]);
    let with_each = |connections: u32| {
        depths.iter().map(move |depth| Point { connections, depth: *depth }).collect::<Vec<_>>()
    };
    connections.into_iter().flat_map(with_each).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::admin::args::{Enq, Verb};

    fn sections(words: &str) -> Result<Vec<Section>, Failure> {
        let words = ["enq", "bench"].into_iter().chain(words.split_whitespace());
        let Ok(Enq { verb: Verb::Bench(bench), .. }) = Enq::try_parse_from(words) else {
            panic!("the words are understood")
        };
        of(&bench)
    }

    fn points_of(section: &Section) -> Vec<String> {
        section.points.iter().map(Point::to_string).collect()
    }

    #[test]
    fn without_options_it_is_the_projects_own_table() {
        let table = sections("--floor --peer redis://127.0.0.1:6379").unwrap();
        assert_eq!(points_of(&table[0]), ["1x1", "16x1", "16x16", "64x1", "64x16", "64x64"]);
        assert_eq!(table.len(), 5);
        assert!(table.iter().flat_map(|section| &section.works).all(|work| work.check().is_ok()));
        assert_eq!(sections("").unwrap().len(), 4, "there is no half of a floor that is not there");
    }

    #[test]
    fn connections_and_depths_are_crossed() {
        let asked = sections("--connections 1,16 --depth 1,4").unwrap();
        assert_eq!(points_of(&asked[0]), ["1x1", "1x4", "16x1", "16x4"]);
        assert_eq!(points_of(&sections("--points 3x5 --held 10,20").unwrap()[0]), ["3x5"]);
        assert_eq!(sections("--held 10,20").unwrap()[0].held, [10, 20]);
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        for words in [
            "--rate 50%",
            "--work handoff,pair",
            "--work handoff --depth 2",
            "--work handoff --rate 5",
            "--work convert --names 5",
            "--work path --peer redis://127.0.0.1:6379",
            "--tree-depth 40 --work path",
        ] {
            assert_eq!(sections(words).map(|_| ()).map_err(|failure| failure.exit), Err(64), "{words}");
        }
        assert!(sections("--rate 50% --floor --value-blocks --modes PW").is_ok());
    }
}
