//! What a server counts besides the table's own counters, by the names of its metrics.

use super::{House, metrics::Limit};
use enq_protocol::vocabulary::{Counter, Status};
use std::sync::atomic::Ordering;

impl House {
    /// Connections, refusals, limits, memory. What was never counted has no line, but every limit has one.
    #[must_use]
    pub fn counters(&self) -> Vec<Counter> {
        let metrics = &self.metrics;
        let table = self.log.table();
        let mut all = Vec::new();
        let mut say = |name: &str, value: u64| all.push(Counter { name: name.into(), value });
        for (name, counter) in [
            ("enq_connections", &metrics.open),
            ("enq_connections_unauthenticated", &metrics.strangers),
            ("enq_connections_accepted_total", &metrics.accepted),
            ("enq_connections_closed_total{why=\"peer\"}", &metrics.closed_by_peer),
            ("enq_connections_closed_total{why=\"evicted\"}", &metrics.evicted),
            ("enq_outbox_bytes_max", &metrics.most_unread),
            ("enq_requests_parked_total", &metrics.parked),
        ] {
            say(name, counter.load(Ordering::Relaxed));
        }
        for row in Status::TABLE {
            let status = Status(row.number);
            let labelled = [
                ("enq_connections_closed_total", "why", metrics.closed(status)),
                ("enq_refused_total", "status", metrics.refused(status)),
            ];
            for (name, label, count) in labelled.into_iter().filter(|(_, _, count)| *count > 0) {
                say(&format!("{name}{{{label}=\"{}\"}}", row.name), count);
            }
        }
        let memory = table.memory();
        say("enq_memory_bytes{of=\"table\"}", memory.table() as u64);
        say("enq_memory_bytes{of=\"sessions\"}", memory.sessions() as u64);
        say("enq_memory_max_bytes", memory.max() as u64);
        say("enq_look_locks_max", table.longest_look() as u64);
        let of_server = Limit::ALL.iter().map(|limit| (limit.name(), metrics.reached(*limit)));
        for (limit, count) in of_server.chain(table.reached().all()) {
            say(&format!("enq_limit_reached_total{{limit=\"{limit}\"}}"), count);
        }
        all
    }
}
