//! What must be true of settings together, each with its formula. A server does not start with values that contradict
//! each other, for it would have to guess which of them is meant.

use super::settings::{FRAME_FIRST_MAX, FRAME_MAX, KEYS, NAME_MAX, Settings, VALUE_MAX};
use std::time::Duration;

/// The least memory that a server can do something with.
const MEMORY_MIN: usize = 16 << 20;

/// The shortest first frame that says who one is.
const FIRST_FRAME_LEN: usize = 256;

/// The shortest frame that a path of some levels fits into.
const FRAME_LEN: usize = 4 << 10;

/// The longest lease there is.
const TTL_MAX: Duration = Duration::from_secs(3_600);

/// What a renewal may take to arrive and be answered.
const ROUND_TRIP: Duration = Duration::from_millis(200);

/// What a client takes off the end of its lease: 1 % for its clock and 1 % for the server's, and this.
const MARGIN: Duration = Duration::from_millis(100);

/// The deepest tree.
const DEPTH_MAX: u8 = 127;

/// The rules that are broken, in words.
pub(super) fn broken(settings: &Settings) -> Vec<String> {
    let mut judge = Judge { settings, broken: Vec::new() };
    judge.connections();
    judge.times();
    judge.sizes();
    judge.locks();
    judge.memory();
    judge.journal();
    judge.broken
}

struct Judge<'a> {
    settings: &'a Settings,
    broken: Vec<String>,
}

impl Judge<'_> {
    /// Notes a rule that is broken: its formula, with the values of the settings it names.
    fn must(&mut self, is_kept: bool, formula: &str, why: &str) {
        if is_kept {
            return;
        }
        let words: Vec<&str> = formula.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        let named = KEYS.iter().filter(|key| words.contains(&key.name));
        let values: Vec<String> =
            named.map(|key| format!("{} is {}", key.name, key.value(self.settings))).collect();
        self.broken.push(format!("{formula}: {why}; {}", values.join(", ")));
    }

    fn connections(&mut self) {
        let s = self.settings;
        self.must(!s.listen.is_empty(), "listen: at least one address", "nobody could reach the server");
        self.must(s.connections_max >= 1, "connections_max >= 1", "nobody could come in");
        self.must(
            s.connections_kept_percent < 100,
            "connections_kept_percent < 100",
            "somebody must be able to open a session",
        );
        self.must(s.connections_a_source_max >= 1, "connections_a_source_max >= 1", "nobody could come in");
        self.must(
            s.connections_unauthenticated_max >= 1,
            "connections_unauthenticated_max >= 1",
            "everybody is a stranger at first",
        );
    }

    fn times(&mut self) {
        let s = self.settings;
        self.must(!s.first_frame_timeout.is_zero(), "first_frame_timeout > 0ms", "nobody is that fast");
        self.must(
            s.handshake_timeout >= s.first_frame_timeout,
            "handshake_timeout >= first_frame_timeout",
            "the whole first frame takes no less than its first byte",
        );
        self.must(
            s.write_timeout >= s.outbox_timeout,
            "write_timeout >= outbox_timeout",
            "who has far too much unread is given less time, not more",
        );
        self.must(!s.frame_timeout.is_zero(), "frame_timeout > 0ms", "a frame may come in two pieces");
        self.must(s.keepalive >= Duration::from_secs(1), "keepalive >= 1s", "the system counts in seconds");
        self.must(s.ttl_max >= s.ttl_min, "ttl_max >= ttl_min", "no lease would be allowed");
        self.must(s.ttl_max <= TTL_MAX, "ttl_max <= 1h", "so long would the locks of the dead stand");
        // The second renewal of a lease must be answered before its client gives up.
        let deadline = (s.ttl_min * 99 / 101).saturating_sub(MARGIN);
        self.must(
            s.ttl_min * 2 / 3 + ROUND_TRIP <= deadline,
            "ttl_min x 2/3 + 200ms <= ttl_min x 0.99/1.01 - 100ms",
            "two renewals, one each third of a lease, and a round trip must fit before a client stops believing, \
             which is from 957ms on",
        );
    }

    fn journal(&mut self) {
        let s = self.settings;
        self.must(
            s.data_dir.is_none() || !s.no_survivors,
            "data_dir without no_survivors",
            "what a journal has survives, and nobody may assert that it does not",
        );
        self.must(
            s.snapshot_every.0 >= 64 << 10,
            "snapshot_every >= 64KiB",
            "a snapshot is written for less than it saves",
        );
        self.must(
            (2 << 20..=1 << 30).contains(&s.segment_size.0) && s.segment_size.0.is_multiple_of(4 << 10),
            "2MiB <= segment_size <= 1GiB, in steps of 4KiB",
            "the longest batch must fit, and a start looks through all of the last segment",
        );
    }

    fn sizes(&mut self) {
        let s = self.settings;
        self.must(
            (FRAME_LEN..=FRAME_MAX).contains(&s.frame_max.0),
            "4KiB <= frame_max <= 64KiB",
            "a request must fit, and the protocol has no longer frames",
        );
        self.must(
            (FIRST_FRAME_LEN..=FRAME_FIRST_MAX).contains(&s.frame_first_max.0),
            "256B <= frame_first_max <= 4KiB",
            "a greeting must fit, and the protocol has no longer ones",
        );
        self.must(s.outbox_soft.0 >= FRAME_MAX, "outbox_soft >= 64KiB", "an answer of any length must fit");
        self.must(
            s.outbox_hard.0 >= s.outbox_soft.0,
            "outbox_hard >= outbox_soft",
            "a client is asked to read before it is sent away",
        );
        self.must(s.window_requests >= 1, "window_requests >= 1", "no request would be allowed");
        self.must(s.window_bytes.0 >= FRAME_MAX, "window_bytes >= 64KiB", "a request of any length must fit");
        self.must(
            u32::try_from(s.window_bytes.0).is_ok(),
            "window_bytes < 4GiB",
            "the protocol says it in 32 bits",
        );
    }

    fn memory(&mut self) {
        let is_enough = self.settings.memory_max.is_none_or(|size| size.0 >= MEMORY_MIN);
        self.must(is_enough, "memory_max >= 16MiB", "each of 256 shards takes its part before anybody comes");
    }

    fn locks(&mut self) {
        let s = self.settings;
        self.must(s.waiting_a_session_max >= 1, "waiting_a_session_max >= 1", "nobody could wait");
        self.must(s.waiting_a_resource_max >= 1, "waiting_a_resource_max >= 1", "nobody could wait");
        let name_fits = (1..=NAME_MAX).contains(&usize::from(s.name_max));
        self.must(name_fits, "1 <= name_max <= 255", "the protocol has no longer names");
        self.must(s.depth_max <= DEPTH_MAX, "depth_max <= 127", "the protocol has no deeper trees");
        let value_fits = usize::from(s.value_max) <= VALUE_MAX;
        self.must(value_fits, "value_max <= 1024", "the protocol has no longer value blocks");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_keep_all_rules() {
        assert_eq!(broken(&Settings::default()), Vec::<String>::new());
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_the_formula() {
        let second = Duration::from_secs(1);
        let wrong = Settings { handshake_timeout: second, ..Settings::default() };
        let said = broken(&wrong).concat();
        assert!(said.contains("handshake_timeout >= first_frame_timeout"), "{said}");
        assert!(said.contains("first_frame_timeout is 2s, handshake_timeout is 1s"), "{said}");
        let short = Settings { ttl_min: Duration::from_millis(956), ..Settings::default() };
        assert!(broken(&short).concat().contains("ttl_min x 2/3"), "a lease too short to be renewed twice");
        let just = Settings { ttl_min: Duration::from_millis(957), ..Settings::default() };
        assert_eq!(broken(&just), Vec::<String>::new());
        let several = Settings { ttl_max: second / 2, window_requests: 0, ..Settings::default() };
        assert_eq!(broken(&several).len(), 2, "all that is wrong is said at once");
    }
}
