//! What a server counts besides the table's own counters, by the names of its metrics.

use super::{House, metrics::Limit};
use crate::log::{LogKind, Measured, WRITE_US};
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
            ("enq_look_rests_total", &metrics.rests),
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
        say("enq_journaled", u64::from(self.log.kind() == LogKind::Journal));
        if let Some(measured) = self.log.measured() {
            say_journal(&measured, &mut say);
        }
        say("enq_look_locks_max", table.longest_look() as u64);
        let of_server = Limit::ALL.iter().map(|limit| (limit.name(), metrics.reached(*limit)));
        for (limit, count) in of_server.chain(table.reached().all()) {
            say(&format!("enq_limit_reached_total{{limit=\"{limit}\"}}"), count);
        }
        all
    }
}

/// What the journal has done. The parts of a histogram are cumulative, as Prometheus has them.
fn say_journal(measured: &Measured, say: &mut impl FnMut(&str, u64)) {
    for (name, value) in [
        ("enq_journal_position", measured.position),
        ("enq_journal_batches_total", measured.batches),
        ("enq_journal_records_total", measured.records),
        ("enq_journal_record_bytes_total", measured.bytes),
        ("enq_journal_write_us_sum", measured.write_us_sum),
        ("enq_journal_write_us_count", measured.write_us.iter().sum()),
        ("enq_journal_write_us_max", measured.write_us_max),
        ("enq_journal_snapshots_total", measured.snapshots),
        ("enq_journal_snapshots_failed_total", measured.snapshots_failed),
        ("enq_journal_snapshot_bytes", measured.snapshot_bytes),
        ("enq_journal_snapshot_position", measured.snapshot_position),
        ("enq_journal_recovery_ms", measured.recovery_ms),
        ("enq_journal_recovered_records", measured.recovered_records),
    ] {
        say(name, value);
    }
    let bounds = WRITE_US.iter().map(u64::to_string).chain(["+Inf".into()]);
    let mut so_far = 0;
    for (bound, count) in bounds.zip(measured.write_us) {
        so_far += count;
        say(&format!("enq_journal_write_us_bucket{{le=\"{bound}\"}}"), so_far);
    }
    let Some(room) = measured.room else { return };
    say("enq_journal_segments", room.segments as u64);
    say("enq_journal_segment_bytes", (room.segments * room.segment_bytes) as u64);
    say("enq_journal_spares", room.spares as u64);
    say("enq_journal_room_bytes", room.bytes as u64);
    say("enq_journal_room_short", room.is_short.into());
}
