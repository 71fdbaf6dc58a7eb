//! What the server counts: connections that came, why they went, and what was refused.

use crate::engine::Instant;
use enq_protocol::vocabulary::Status;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Statuses there is a counter for.
const STATUSES: usize = 128;

/// How long a log of misbehaviour stays quiet after a line.
const QUIET_NS: u64 = 1_000_000_000;

macro_rules! limits {
    ($($limit:ident $name:literal $meaning:literal)+) => {
        /// A limit that the server keeps; those of the table count themselves.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Limit {
            $(#[doc = $meaning] $limit,)+
        }

        impl Limit {
            /// All of them.
            pub const ALL: &'static [Limit] = &[$(Limit::$limit),+];

            /// The name of its setting.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Limit::$limit => $name,)+
                }
            }
        }
    };
}

limits! {
    Connections "connections_max" "Turned away at the door, or let in to a kept place only."
    KeptPlaces "connections_kept_percent" "Wanted to open a session at a place that is kept for others."
    ASource "connections_a_source_max" "Turned away at the door, for there were too many from that address."
    Strangers "connections_unauthenticated_max" "Closed to make room for another stranger."
    FirstFrameTimeout "first_frame_timeout" "Closed, for it said nothing."
    HandshakeTimeout "handshake_timeout" "Closed, for it did not say who it is, or what it wants at a kept place."
    FrameTimeout "frame_timeout" "Closed in the middle of a frame."
    WriteTimeout "write_timeout" "Closed, for it did not read."
    OutboxSoft "outbox_soft" "A request was put aside until its peer reads."
    OutboxHard "outbox_hard" "Closed, for it had far too much unread."
    FirstFrame "frame_first_max" "Closed for the length of its first frame."
    Frame "frame_max" "Closed for the length of a frame."
    WindowRequests "window_requests" "Closed for too many requests in flight."
    WindowBytes "window_bytes" "Closed for too many bytes of requests in flight."
    ShortestLease "ttl_min" "A session asked for a shorter lease."
    LongestLease "ttl_max" "A session asked for a longer lease."
}

/// The counters.
#[derive(Debug)]
pub struct Metrics {
    /// Connections that were accepted.
    pub accepted: AtomicU64,
    /// Connections that were not, for there were too many.
    pub turned_away: AtomicU64,
    /// Connections that are there.
    pub open: AtomicU64,
    /// Of these, connections that have not sent a whole first frame.
    pub strangers: Arc<AtomicU64>,
    /// Strangers that had to go, for there were too many.
    pub evicted: AtomicU64,
    /// Connections that their peers ended.
    pub closed_by_peer: AtomicU64,
    /// Sessions that another connection went on with. (Refused attempts are counted as connections ended with SESSION,
    /// connections that had the session before as ended with SUPERSEDED.)
    pub resumed: AtomicU64,
    /// Answers and events that were sent before and sent again then.
    pub sent_again: AtomicU64,
    /// Requests that were put aside, because their peers did not read.
    pub parked: AtomicU64,
    /// How often a connection rested for what it had looked at.
    pub rests: AtomicU64,
    /// Sessions whose leases ran out.
    pub leases_ended: AtomicU64,
    /// How often the server did not run for so long that leases were extended.
    pub stalls: AtomicU64,
    /// For how long it did not, in milliseconds.
    pub stalled_ms: AtomicU64,
    /// The most that a peer ever left unread.
    pub most_unread: AtomicU64,
    /// Connections that were ended with an ERROR frame or silently, by status.
    closed: [AtomicU64; STATUSES],
    /// Requests that were refused, by status.
    refused: [AtomicU64; STATUSES],
    /// How often each limit was reached.
    reached: [AtomicU64; Limit::ALL.len()],
    quiet_until: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            accepted: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
            open: AtomicU64::new(0),
            strangers: Arc::default(),
            most_unread: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            closed_by_peer: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
            sent_again: AtomicU64::new(0),
            parked: AtomicU64::new(0),
            rests: AtomicU64::new(0),
            leases_ended: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            stalled_ms: AtomicU64::new(0),
            closed: [const { AtomicU64::new(0) }; STATUSES],
            refused: [const { AtomicU64::new(0) }; STATUSES],
            reached: [const { AtomicU64::new(0) }; Limit::ALL.len()],
            quiet_until: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    /// A connection was ended for this.
    pub fn count_closed(&self, status: Status) {
        if let Some(counter) = self.closed.get(usize::from(status.0)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many connections were ended for this.
    #[must_use]
    pub fn closed(&self, status: Status) -> u64 {
        self.closed.get(usize::from(status.0)).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// A request or a look was refused with this.
    pub fn count_refused(&self, status: Status) {
        if let Some(counter) = self.refused.get(usize::from(status.0)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many requests and looks were refused with this.
    #[must_use]
    pub fn refused(&self, status: Status) -> u64 {
        self.refused.get(usize::from(status.0)).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// A peer has left so much unread.
    pub fn note_unread(&self, bytes: usize) {
        self.most_unread.fetch_max(bytes as u64, Ordering::Relaxed);
    }

    /// A limit was reached: somebody was refused or closed for it.
    pub fn reach(&self, limit: Limit) {
        if let Some(counter) = self.reached.get(limit as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often this limit was reached.
    #[must_use]
    pub fn reached(&self, limit: Limit) -> u64 {
        self.reached.get(limit as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// May a line about somebody's misbehaviour be logged? One a second may.
    pub fn may_log(&self, now: Instant) -> bool {
        let until = self.quiet_until.load(Ordering::Relaxed);
        let next = now.0.saturating_add(QUIET_NS);
        now.0 >= until
            && self.quiet_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}
