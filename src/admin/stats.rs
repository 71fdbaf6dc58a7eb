//! `enq stats`: the server's counters since its start, by the names of MONITOR LOCK and of the metrics.

use enq_protocol::vocabulary::{Counter, Statistics};
use serde_json::{Map, json};

use super::{
    args::{Format, Reach},
    ask,
    exit::Failure,
    render::{self, Column, Item},
};

/// Prints them.
pub(super) async fn stats(reach: &Reach, format: Format) -> Result<(), Failure> {
    let client = ask::client(reach).await?;
    let (statistics, others) = ask::within(reach, client.counters()).await?;
    let rows = rows(&statistics).map(|(metric, label, value)| (metric.to_owned(), label, value));
    let rows: Vec<_> = rows.into_iter().chain(others.into_iter().map(other)).collect();
    if format == Format::Json {
        let counters: Map<_, _> =
            rows.iter().map(|(metric, _, value)| (metric.clone(), json!(value))).collect();
        return render::object("statistics", &counters.into());
    }
    let items: Vec<Item> = rows
        .into_iter()
        .map(|(metric, label, value)| Item {
            name: format!("{metric} {value}"),
            json: json!(value),
            cells: vec![
                if label.is_empty() { metric.clone() } else { label.into() },
                value.to_string(),
                metric,
            ],
        })
        .collect();
    render::list(
        format,
        "statistics",
        &[Column("COUNTER", false), Column("VALUE", false), Column("METRIC", true)],
        &items,
    )
}

/// A counter that this server has besides: its metric is all the name it has.
fn other(counter: Counter) -> (String, &'static str, u64) {
    (counter.name, "", counter.value)
}

/// Metric, name, value.
#[rustfmt::skip]
fn rows(s: &Statistics) -> [(&'static str, &'static str, u64); 16] {
    [
        ("enq_new_total",             "New ENQ",              s.enq_new),
        ("enq_converted_total",       "Converted ENQ",        s.enq_converted),
        ("enq_deq_total",             "DEQ",                  s.deq),
        ("enq_blocking_ast_total",    "Blocking AST",         s.blocking_ast),
        ("enq_forced_to_wait_total",  "ENQs Forced To Wait",  s.enq_forced_to_wait),
        ("enq_not_queued_total",      "ENQs Not Queued",      s.enq_not_queued),
        ("enq_deadlock_search_total", "Deadlock Search",      s.deadlock_search),
        ("enq_deadlock_find_total",   "Deadlock Find",        s.deadlock_find),
        ("enq_timeout_total",         "Timeouts",             s.timeouts),
        ("enq_locks",                 "Total Locks",          s.locks),
        ("enq_resources",             "Total Resources",      s.resources),
        ("enq_converting",            "Converting Locks",     s.converting),
        ("enq_waiting",               "Waiting Locks",        s.waiting),
        ("enq_sessions",              "Sessions",             s.sessions),
        ("enq_delayed",               "Locks In Lock-Delay",  s.delayed),
        ("enq_recovering_ms",         "Recovering, ms Left",  s.recovering_ms),
    ]
}
