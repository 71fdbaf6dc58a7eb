//! `enq bench`: the load generator, asked by the command line and answered in tables.
//!
//! What is driven, and how, is the business of `crate::load`; here it is decided which servers take part, what is measured in
//! which order, and what is made of it. Servers that were started for the run end with it.

mod report;
mod sections;

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use enq_protocol::vocabulary::Status;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use self::{report::Row, sections::Section};
use super::{
    args::{Bench, Format, Peer, PeerKind, Reach},
    duration,
    exit::{self, Failure},
    render,
    run::{INNER, own_program},
};
use crate::{
    client,
    load::{
        self, Contest, Contestant, Held, LoadError, Machine, Point, Rate, Server, Standing, Work, Workload,
        words::Root,
    },
};

/// The step of this program that is the floor.
pub(super) const FLOOR: &str = "echo";

/// Runs the floor.
pub(super) fn floor() -> std::process::ExitCode {
    match load::floor::serve() {
        Ok(()) => exit::DONE.into(),
        Err(error) => {
            Failure::system(error.to_string()).print();
            exit::SOFTWARE.into()
        }
    }
}

/// Measures and prints. A signal ends it after the turn at hand, so that nothing that it started stays.
pub(super) async fn bench(reach: &Reach, bench: &Bench) -> Result<(), Failure> {
    if bench.output.format == Format::Name {
        return Err(Failure::usage("figures have no names", "-o table, wide or json"));
    }
    let sections = sections::of(bench)?;
    let signals = |kind| signal(kind).map_err(|error| Failure::system(error.to_string()));
    let (mut interrupt, mut terminate) =
        (signals(SignalKind::interrupt())?, signals(SignalKind::terminate())?);
    let stop = Arc::new(AtomicBool::new(false));
    let run = {
        let (reach, bench, stop) = (reach.clone(), bench.clone(), Arc::clone(&stop));
        move || measure(&reach, &bench, &sections, &stop)
    };
    let mut running = tokio::task::spawn_blocking(run);
    let number = tokio::select! {
        done = &mut running => return done.map_err(|error| Failure::system(error.to_string()))?,
        _ = interrupt.recv() => 2,
        _ = terminate.recv() => 15,
    };
    stop.store(true, Ordering::Relaxed);
    let _ = running.await;
    let cause = "ended by a signal; figures of rounds that are not all there are none";
    Err(Failure::new("INTERRUPTED", cause, "", exit::of_signal(number)))
}

/// The servers that take part.
struct Field {
    floor: Option<Server>,
    enqd: Server,
    peers: Vec<Server>,
}

impl Field {
    fn gather(reach: &Reach, bench: &Bench) -> Result<Field, Failure> {
        let floor = || {
            let mut command = Command::new(own_program());
            command.args([INNER, FLOOR]);
            Server::floor(command)
        };
        let enqd = if reach.is_named {
            let address = reach.servers.first().cloned().unwrap_or_default();
            Server::enqd(address, bench.server_pid)
        } else {
            let own = std::env::current_exe().map_err(|error| Failure::system(error.to_string()))?;
            let program = own.with_file_name("enqd");
            if !program.is_file() {
                let cause = format!("there is no server to start: {}", program.display());
                return Err(Failure::usage(cause, "name one that runs with --server HOST:PORT"));
            }
            Server::start_enqd(&program, bench.journal.as_deref()).map_err(failure)?
        };
        Ok(Field {
            floor: bench.floor.then(floor).transpose().map_err(failure)?,
            enqd,
            peers: bench.peer.iter().map(gather_peer).collect::<Result<_, _>>()?,
        })
    }

    fn all(&self) -> impl Iterator<Item = &Server> {
        self.floor.iter().chain([&self.enqd]).chain(&self.peers)
    }
}

fn gather_peer(peer: &Peer) -> Result<Server, Failure> {
    let Peer { kind, address, pid } = peer;
    match kind {
        PeerKind::Redis => Server::redis(address, *pid).map_err(failure),
        PeerKind::Etcd => Ok(Server::etcd(address, *pid)),
    }
}

/// What a run has beside its arguments.
struct Run<'a> {
    bench: &'a Bench,
    field: &'a Field,
    root: Root,
    stop: &'a AtomicBool,
    /// Locks that are held beside the load, once some are wanted.
    held: Option<Held>,
    /// What the floor reached at full speed.
    floors: Vec<(Point, f64)>,
}

/// The whole run.
fn measure(reach: &Reach, bench: &Bench, sections: &[Section], stop: &AtomicBool) -> Result<(), Failure> {
    let format = bench.output.format;
    let most = sections.iter().flat_map(|section| &section.points).map(|point| point.connections).max();
    load::allow_connections(most.unwrap_or(0)).map_err(failure)?;
    let field = Field::gather(reach, bench)?;
    // Two runs on one server at a time differ in the nanosecond they began in.
    let run = (client::now().0 ^ (u64::from(std::process::id()) << 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let root = Root::of_run(u32::try_from(run >> 32).unwrap_or(0));
    if format != Format::Json {
        render::print(&heading(bench, &field, root))?;
    }
    let mut run = Run { bench, field: &field, root, stop, held: None, floors: Vec::new() };
    let mut done = Vec::new();
    for section in sections {
        let rows = run.section(section).map_err(failure)?;
        if format != Format::Json {
            render::print(&report::table_of(&section.title, &rows, format))?;
        }
        done.push((section.title.as_str(), rows));
    }
    if let Some(path) = &bench.hdr {
        let logs: Vec<_> =
            done.iter().flat_map(|(_, rows)| rows).map(|row| (row.tag(), row.standing.latencies())).collect();
        let logs: Vec<_> = logs.iter().map(|(tag, (all, time))| (tag.clone(), *time, all)).collect();
        let written = load::write_log(path, &format!("{}; nanoseconds", command_line()), &logs);
        written.map_err(|error| Failure::system(format!("{}: {error}", path.display())))?;
    }
    if format == Format::Json {
        render::object("bench", &json_of(bench, &field, root, &done))
    } else {
        Ok(())
    }
}

impl Run<'_> {
    fn section(&mut self, section: &Section) -> Result<Vec<Row>, LoadError> {
        let mut rows = Vec::new();
        for count in &section.held {
            self.hold(*count)?;
            for point in &section.points {
                let rate = match section.rate {
                    Some(rate) => Some(rate.pairs(self.floor_at(rate, *point, &section.works)?)),
                    None => None,
                };
                rows.extend(self.at_point(section, *count, *point, rate)?);
            }
        }
        // A section that holds nothing is not to find what an earlier one has held.
        self.held.take().map_or(Ok(()), Held::release)?;
        Ok(rows)
    }

    fn hold(&mut self, count: u32) -> Result<(), LoadError> {
        if count == 0 {
            return Ok(());
        }
        if self.held.is_none() {
            self.held = Some(Held::none(&self.field.enqd, self.root)?);
        }
        self.held.as_ref().map_or(Ok(()), |held| held.grow_to(count))
    }

    /// What the floor reaches there at full speed, measured if it was not yet; without meaning for an absolute rate.
    fn floor_at(&mut self, rate: Rate, point: Point, works: &[Workload]) -> Result<f64, LoadError> {
        let known = self.floors.iter().find(|(at, _)| *at == point).map(|(_, floor)| *floor);
        if let (Some(floor), _) | (None, Rate::Pairs(floor)) = (known, rate) {
            return Ok(floor);
        }
        let (Some(server), Some(workload)) = (&self.field.floor, works.first()) else { return Ok(0.0) };
        let standings = self.contest(point, vec![Contestant { server, workload }], None)?;
        let floor = standings.first().and_then(Standing::rate).map_or(0.0, |rate| rate.median);
        self.floors.push((point, floor));
        Ok(floor)
    }

    fn contest(
        &self,
        point: Point,
        contestants: Vec<Contestant<'_>>,
        rate: Option<f64>,
    ) -> Result<Vec<Standing>, LoadError> {
        let Bench { turn: time, rounds, threads, .. } = *self.bench;
        Contest { point, contestants, rate, time, rounds, threads, root: self.root }.hold(self.stop)
    }

    fn at_point(
        &mut self,
        section: &Section,
        held: u32,
        point: Point,
        rate: Option<f64>,
    ) -> Result<Vec<Row>, LoadError> {
        let mut contestants = Vec::new();
        for workload in &section.works {
            let takes_part = |server: &&Server| {
                std::ptr::eq(*server, &raw const self.field.enqd)
                    || section.has_rivals && server.knows(workload)
            };
            contestants
                .extend(self.field.all().filter(takes_part).map(|server| Contestant { server, workload }));
        }
        let standings = self.contest(point, contestants.clone(), rate)?;
        let rows = compare(point, held, rate, &contestants, standings);
        let floor = rows.iter().find(|row| row.server == "floor" && row.workload.work == Work::Pair);
        if let (Some(floor), None) = (floor.and_then(|row| row.standing.rate()), rate) {
            self.floors.push((point, floor.median));
        }
        Ok(rows)
    }
}

/// The rows of one point, each compared with the others.
fn compare(
    point: Point,
    held: u32,
    asked: Option<f64>,
    contestants: &[Contestant<'_>],
    standings: Vec<Standing>,
) -> Vec<Row> {
    let figures: Vec<(&str, &Workload, Option<f64>, Option<f64>)> = contestants
        .iter()
        .zip(&standings)
        .map(|(contestant, standing)| {
            let median = |spread: Option<load::Spread>| spread.map(|spread| spread.median);
            let (rate, processor) = (median(standing.rate()), median(standing.processor_us()));
            (contestant.server.name, contestant.workload, rate, processor)
        })
        .collect();
    let of = |server: &str, workload: &Workload| {
        figures.iter().find(|(name, work, ..)| *name == server && *work == workload)
    };
    let first = figures.first().map(|(_, workload, ..)| *workload);
    let ratio = |one: Option<f64>, other: Option<f64>| Some(one? / other?);
    let mut rows = Vec::new();
    for (figure, standing) in figures.iter().zip(standings) {
        let (server, workload, rate, processor) = *figure;
        let floor = of("floor", workload).filter(|_| server != "floor");
        let peers = ["redis", "etcd"].map(|name| (name, of(name, workload).filter(|_| server == "enqd")));
        let first = first.filter(|first| *first != workload).and_then(|first| of(server, first));
        // At a rate that is kept, everybody does the same: only what it costs is compared.
        let times = |other: Option<&(&str, &Workload, Option<f64>, Option<f64>)>| {
            if asked.is_some() { None } else { ratio(rate, other.and_then(|(_, _, rate, _)| *rate)) }
        };
        rows.push(Row {
            point,
            held,
            server: contestants
                .iter()
                .find(|one| one.server.name == server)
                .map_or("", |one| one.server.name),
            workload: workload.clone(),
            asked,
            standing,
            times_floor: times(floor),
            times_peers: peers.into_iter().filter_map(|(name, peer)| Some((name, times(peer)?))).collect(),
            times_first: times(first),
            above_floor_us: processor.zip(floor.and_then(|floor| floor.3)).map(|(own, floor)| own - floor),
        });
    }
    rows
}

/// The command line that this is the outcome of.
fn command_line() -> String {
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    format!("enq {}", words.join(" "))
}

/// What a reader has to know before he reads figures.
fn heading(bench: &Bench, field: &Field, root: Root) -> String {
    let turn = duration::show_ms(duration::ms(bench.turn));
    let mut text = format!("{}\n{}\n", command_line(), Machine::this());
    for server in field.all() {
        let pid = server.pid.map_or_else(|| "not known".into(), |pid| pid.to_string());
        text.push_str(&format!("{}: {}, {}, process {pid}\n", server.name, server.address, server.about));
    }
    text.push_str(&format!(
        "medians of {} rounds of {turn}; SPREAD is from the least to the most; CPU us is the server's processor time a pair, \
         ABOVE what of it is above the floor\n",
        bench.rounds
    ));
    if !field.enqd.is_own() {
        text.push_str(&format!("names begin with {}\n", root.prefix()));
    }
    text
}

fn json_of(bench: &Bench, field: &Field, root: Root, done: &[(&str, Vec<Row>)]) -> Value {
    let machine = Machine::this();
    let servers: Vec<Value> = field
        .all()
        .map(|server| {
            json!({
                "name": server.name,
                "address": server.address,
                "pid": server.pid,
                "about": server.about,
                "own": server.is_own(),
            })
        })
        .collect();
    json!({
        "command": command_line(),
        "machine": {
            "cores": machine.cores,
            "model": machine.model,
            "kernel": machine.kernel,
            "debug": machine.is_debug,
        },
        "rounds": bench.rounds,
        "turn_ms": duration::ms(bench.turn),
        "threads": bench.threads,
        "names": root.prefix(),
        "servers": servers,
        "sections": done.iter().map(|(title, rows)| report::json_of(title, rows)).collect::<Vec<_>>(),
    })
}

/// What went wrong, as the command says it.
fn failure(error: LoadError) -> Failure {
    let said = error.to_string();
    match error {
        LoadError::Lost { .. } | LoadError::Silent { .. } => Failure::unreachable(said),
        LoadError::Refused { status, .. } => Failure::status(status).about(said),
        LoadError::Nonsense { .. } => Failure::new(&Status::Protocol.to_string(), said, "", exit::SOFTWARE),
        LoadError::Impossible(_) => Failure::usage(said, "enq bench --help"),
        LoadError::System { .. } | LoadError::Stopped => Failure::system(said),
    }
}
