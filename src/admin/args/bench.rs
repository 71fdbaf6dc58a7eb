//! The arguments of `enq bench`.

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::Args;

use super::{Output, duration};
use crate::load::{Mix, Point, Rate, Work};

pub(super) const ABOUT: &str = "\
Drives a server and says how many pairs a second it does, what they cost its processor, and how long its answers take. A \
pair is: ask for one lock, get the answer, release it, get the answer; or what --work says.\n\n\
Without --server and ENQ_SERVERS it starts an enqd of its own for the run, on a free port. On a server that runs already it uses names \
below bench/ and a number of the run's own, and all its locks are gone when it ends, however it ends; what else the server \
does meanwhile becomes slower, and the figures mean less.\n\n\
Only ratios inside one run mean anything: with --floor and --peer, the servers take turns, round after round, and what is \
printed are the medians of the rounds. Without any of --points, --connections, --depth, --work, --rate and --held it measures what the \
project's own table has: pairs at six points, latency at half of the floor's rate, the hand-off of one lock, \
conversions, paths.";

/// `enq bench`.
#[derive(Args, Clone, Debug)]
pub struct Bench {
    /// Connections, and requests in flight on each: 1x1,16x16,64x64
    #[arg(long, value_name = "CxD,..", value_delimiter = ',', conflicts_with_all = ["connections", "depth"])]
    pub points: Option<Vec<Point>>,
    /// Connections, each with each of --depth
    #[arg(long, value_name = "N,..", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=25_000))]
    pub connections: Option<Vec<u32>>,
    /// Requests in flight a connection
    #[arg(long, value_name = "N,..", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub depth: Option<Vec<u32>>,
    /// What a pair is, of pair, convert, path, pipelined-path, handoff; several take turns and are compared with the first
    #[arg(long, value_name = "WORK,..", value_delimiter = ',')]
    pub work: Option<Vec<Work>>,
    /// The modes of new locks, with weights: PR:80,EX:20 [default: EX]
    #[arg(long, value_name = "MODE:N,..")]
    pub modes: Option<Mix>,
    /// Draw from so many names that all connections share, and wait for each other [default: each has its own]
    #[arg(long, value_name = "N")]
    pub names: Option<u32>,
    /// How much the first of these names are preferred: the exponent of a Zipf distribution
    #[arg(long, value_name = "S", default_value = "0", requires = "names")]
    pub zipf: f64,
    /// Levels of a path, its leaf included
    #[arg(long, value_name = "N", default_value = "4")]
    pub tree_depth: u32,
    /// Have each release write a value block, of 64 bytes unless said otherwise
    #[arg(long, value_name = "BYTES", num_args = 0..=1, require_equals = true, default_missing_value = "64")]
    pub value_blocks: Option<usize>,
    /// Hold so many other locks meanwhile; several numbers, one after the other, to see what they cost
    #[arg(long, value_name = "N,..", value_delimiter = ',')]
    pub held: Option<Vec<u32>>,
    /// Keep to a rate, in pairs a second or in percent of what the floor reaches, and measure latencies from when each
    /// request should have been sent [default: as fast as it goes]
    #[arg(long, value_name = "N|P%")]
    pub rate: Option<Rate>,
    /// How often each server has its turn
    #[arg(long, value_name = "N", default_value = "7", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rounds: u32,
    /// How long a turn is, at most 30s
    #[arg(long, value_name = "DUR", default_value = "400ms", value_parser = turn)]
    pub turn: Duration,
    /// Threads of the generator
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: u32,
    /// Compare with a do-nothing echo of the same bytes, which no server can beat by much
    #[arg(long)]
    pub floor: bool,
    /// Compare with a server that runs there, driven as its manual recommends for locks; more than once for several. The
    /// process, for its processor time, is known of a Redis on loopback
    #[arg(long, value_name = "redis|etcd://HOST:PORT[,PID]")]
    pub peer: Vec<Peer>,
    /// Have the server that is started for the run keep a journal, below this directory
    #[arg(long, value_name = "DIR")]
    pub journal: Option<PathBuf>,
    /// The process of the server, for its processor time [default: known if it was started for the run]
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Write all latencies to this file, in the log format of HdrHistogram, in nanoseconds
    #[arg(long, value_name = "FILE")]
    pub hdr: Option<PathBuf>,
    /// How it is printed.
    #[command(flatten)]
    pub output: Output,
}

/// The longest turn: more rounds say more than longer turns.
const TURN_MAX: Duration = Duration::from_secs(30);

fn turn(text: &str) -> Result<Duration, String> {
    let turn = duration::parse(text)?;
    let fits = !turn.is_zero() && turn <= TURN_MAX;
    if fits { Ok(turn) } else { Err(String::from("a turn is more than nothing and at most 30s")) }
}

/// A server to compare with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What it is.
    pub kind: PeerKind,
    /// Where it is.
    pub address: String,
    /// Its process, if that was said.
    pub pid: Option<u32>,
}

/// What can be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerKind {
    /// A Redis.
    Redis,
    /// An etcd.
    Etcd,
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Peer, String> {
        let wrong =
            || String::from("a peer is redis://HOST:PORT or etcd://HOST:PORT; others cannot be driven");
        let (place, pid) = match text.split_once(',') {
            Some((place, pid)) => (place, Some(pid.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let kinds = [("redis://", PeerKind::Redis, 6_379), ("etcd://", PeerKind::Etcd, 2_379)];
        let (address, kind, port) = kinds
            .into_iter()
            .find_map(|(scheme, kind, port)| Some((place.strip_prefix(scheme)?, kind, port)))
            .ok_or_else(wrong)?;
        let address = address.trim_end_matches('/');
        let address = match address.rsplit_once(':') {
            _ if address.is_empty() || address.contains(['/', '@']) => return Err(wrong()),
            Some((_, port)) => port.parse::<u16>().map(|_| address.into()).map_err(|_| wrong())?,
            None => format!("{address}:{port}"),
        };
        Ok(Peer { kind, address, pid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_and_turns_are_read() {
        let peer = |kind, address: &str, pid| Ok(Peer { kind, address: address.into(), pid });
        assert_eq!("redis://127.0.0.1:6379/".parse(), peer(PeerKind::Redis, "127.0.0.1:6379", None));
        assert_eq!("redis://there".parse(), peer(PeerKind::Redis, "there:6379", None));
        assert_eq!("etcd://there,17".parse(), peer(PeerKind::Etcd, "there:2379", Some(17)));
        for text in [
            "there:6379",
            "redis://",
            "redis://a:b",
            "redis://user@there",
            "redis://there/1",
            "http://there",
            "etcd://there,",
        ] {
            assert!(text.parse::<Peer>().is_err(), "{text}");
        }
        assert_eq!(turn("250ms"), Ok(Duration::from_millis(250)));
        assert!(turn("0").is_err() && turn("31s").is_err());
    }
}
