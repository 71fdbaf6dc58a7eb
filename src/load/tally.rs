//! What lines count: pairs, latencies, the order of a hand-off.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::Path,
    time::{Duration, SystemTime},
};

use hdrhistogram::{
    Histogram,
    serialization::{
        V2DeflateSerializer,
        interval_log::{IntervalLogWriterBuilder, Tag},
    },
};

use super::words::Handed;
use crate::client::{Moment, wall_ms};

/// The longest latency that is told apart from longer ones: a minute.
const LATENCY_MAX: Duration = Duration::from_secs(60);

/// An empty histogram of nanoseconds, three digits exact.
pub(super) fn histogram() -> Histogram<u64> {
    let most = u64::try_from(LATENCY_MAX.as_nanos()).unwrap_or(u64::MAX);
    Histogram::new_with_bounds(1, most, 3).expect("one to a minute is a range, and three digits are allowed")
}

/// The count of one thread.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) pairs: u64,
    /// When the last answer came.
    pub(super) last: Moment,
    pub(super) latencies: Histogram<u64>,
    pub(super) handed: Vec<Handed>,
}

impl Tally {
    pub(super) fn new() -> Tally {
        Tally { pairs: 0, last: Moment::default(), latencies: histogram(), handed: Vec::new() }
    }

    pub(super) fn count(&mut self, pairs: u64) {
        self.pairs += pairs;
    }

    pub(super) fn heard_at(&mut self, at: Moment) {
        self.last = self.last.max(at);
    }

    pub(super) fn latency(&mut self, latency: Duration) {
        self.latencies.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX).max(1));
    }

    pub(super) fn hand(&mut self, handed: Vec<Handed>) {
        self.handed.extend(handed);
    }

    /// Adds what another thread has counted.
    pub(super) fn join(&mut self, other: Tally) {
        self.pairs += other.pairs;
        self.last = self.last.max(other.last);
        self.latencies += other.latencies;
        self.handed.extend(other.handed);
    }
}

/// Was the lock handed on in the order in which it was asked for?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Grants that were looked at.
    pub grants: u64,
    /// Of these, how many came before one that was asked for earlier.
    pub out_of_order: u64,
}

impl Order {
    /// From the places and numbers that the server has given.
    pub(super) fn of(mut handed: Vec<Handed>) -> Order {
        handed.sort_unstable();
        let early = handed.windows(2).filter(|pair| pair[1].granted < pair[0].granted).count();
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Order { grants: count(handed.len()), out_of_order: count(early) }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Order) -> Order {
        Order { grants: self.grants + other.grants, out_of_order: self.out_of_order + other.out_of_order }
    }
}

/// Writes latencies in the log format of HdrHistogram, in nanoseconds, an interval for each of them, with its tag.
///
/// # Errors
/// What the system says.
pub fn write_log(
    path: &Path,
    comment: &str,
    intervals: &[(String, Duration, &Histogram<u64>)],
) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    let written_at = SystemTime::UNIX_EPOCH + Duration::from_millis(wall_ms());
    builder.add_comment(comment).with_start_time(written_at).with_base_time(written_at);
    let mut log = builder.begin_log_with(&mut file, &mut serializer)?;
    let mut from = Duration::ZERO;
    for (tag, duration, latencies) in intervals {
        let written = log.write_histogram(latencies, from, *duration, Tag::new(tag));
        written.map_err(|error| io::Error::other(format!("{error:?}")))?;
        from += *duration;
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;

    #[test]
    fn who_overtakes_is_seen() {
        let handed = |asked, granted| Handed { asked, granted };
        let fair = vec![handed(3, 30), handed(1, 10), handed(2, 20)];
        assert_eq!(Order::of(fair), Order { grants: 3, out_of_order: 0 });
        let unfair = vec![handed(1, 10), handed(2, 30), handed(3, 20)];
        assert_eq!(Order::of(unfair), Order { grants: 3, out_of_order: 1 });
        assert_eq!(Order::of(Vec::new()), Order::default());
    }

    #[test]
    fn what_is_longer_than_all_counts_as_the_longest() {
        let mut tally = Tally::new();
        tally.latency(Duration::ZERO);
        tally.latency(Duration::from_micros(50));
        tally.latency(Duration::from_secs(3_600));
        assert_eq!(tally.latencies.len(), 3);
        let middle = tally.latencies.value_at_quantile(0.5) as f64;
        assert!((middle / 50_000.0 - 1.0).abs() < 0.001, "{middle}");
        assert!(tally.latencies.max() >= 60_000_000_000);
    }

    #[test]
    fn the_log_can_be_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.hlog");
        let mut latencies = histogram();
        latencies.record_n(50_000, 9).unwrap();
        let interval = ("enqd-pair-1x1".into(), Duration::from_millis(400), &latencies);
        write_log(&path, "enq bench", &[interval]).unwrap();
        let log = std::fs::read(&path).unwrap();
        let read: Vec<_> = IntervalLogIterator::new(&log).filter_map(Result::ok).collect();
        let Some(LogEntry::Interval(interval)) = read.last() else { panic!("no interval: {read:?}") };
        assert_eq!(interval.tag().map(|tag| tag.as_str()), Some("enqd-pair-1x1"));
        assert_eq!(interval.duration(), Duration::from_millis(400));
    }
}
