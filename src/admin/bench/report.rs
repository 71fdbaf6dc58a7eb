//! How the figures are printed: a table for people, JSON with stable keys for programs.
//!
//! Every figure is the median of the rounds. A column of which nobody has a figure is left out of the table; in JSON it
//! is null.

use serde_json::{Value, json};

use super::super::{
    args::Format,
    render::{self, Column, Item},
};
use crate::load::{Point, Spread, Standing, Workload};

/// One contestant at one point, with what it is compared with.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) point: Point,
    pub(super) held: u32,
    pub(super) server: &'static str,
    pub(super) workload: Workload,
    /// Pairs a second that were asked for.
    pub(super) asked: Option<f64>,
    pub(super) standing: Standing,
    pub(super) times_floor: Option<f64>,
    /// Against each peer that took part, by its name.
    pub(super) times_peers: Vec<(&'static str, f64)>,
    /// Against the first work of the section.
    pub(super) times_first: Option<f64>,
    /// Microseconds of the server a pair, beyond the floor's.
    pub(super) above_floor_us: Option<f64>,
}

/// Percentiles, and whether only the wide table has them.
const PERCENTILES: [(&str, &str, f64, bool); 5] = [
    ("p50", "P50 us", 0.5, false),
    ("p90", "P90 us", 0.9, true),
    ("p99", "P99 us", 0.99, false),
    ("p999", "P99.9 us", 0.999, true),
    ("max", "MAX us", 1.0, true),
];

impl Row {
    /// What it is called in a log of latencies.
    pub(super) fn tag(&self) -> String {
        let Row { server, point, workload, held, .. } = self;
        format!(
            "{server}-{}-{point}{}",
            workload.work,
            if *held > 0 { format!("-held{held}") } else { String::new() }
        )
    }

    fn times_peer(&self, name: &str) -> Option<f64> {
        self.times_peers.iter().find(|(peer, _)| *peer == name).map(|(_, times)| *times)
    }

    /// Heading, cell, and whether only the wide table has it.
    fn cells(&self) -> Vec<(&'static str, String, bool)> {
        let rate = self.standing.rate();
        let times = |times: Option<f64>| times.map_or_else(String::new, |times| format!("{times:.2}"));
        let processor = self.standing.processor_us().map(|spread| spread.median);
        let mut cells = vec![
            ("POINT", self.point.to_string(), false),
            ("HELD", if self.held > 0 { self.held.to_string() } else { String::new() }, false),
            ("SERVER", self.server.to_owned(), false),
            ("WORK", self.workload.work.to_string(), false),
            ("PAIRS/s", rate.map_or_else(String::new, |rate| thousands(rate.median)), false),
            ("SPREAD", rate.map_or_else(String::new, |rate| format!("{:.0}%", rate.width() * 100.0)), false),
            ("x FLOOR", times(self.times_floor), false),
            ("x REDIS", times(self.times_peer("redis")), false),
            ("x ETCD", times(self.times_peer("etcd")), false),
            ("x FIRST", times(self.times_first), false),
            ("CPU us", processor.map_or_else(String::new, |us| format!("{us:.2}")), false),
            ("ABOVE", self.above_floor_us.map_or_else(String::new, |us| format!("{us:+.2}")), false),
        ];
        for (_, heading, quantile, is_wide) in PERCENTILES {
            let value = self.standing.latency_us(quantile);
            cells.push((heading, value.map_or_else(String::new, |us| format!("{:.0}", us.median)), is_wide));
        }
        let load = self.standing.generator_load();
        cells.push((
            "GENERATOR",
            load.map_or_else(String::new, |load| format!("{:.0}%", load.median * 100.0)),
            true,
        ));
        let order = self.standing.order();
        let fifo = |order: crate::load::Order| match order.out_of_order {
            0 => String::from("exact"),
            count => format!("{count} of {} overtook", order.grants),
        };
        cells.push(("FIFO", order.map_or_else(String::new, fifo), false));
        cells
    }

    fn json(&self) -> Value {
        let latency: serde_json::Map<String, Value> = PERCENTILES
            .iter()
            .map(|(name, _, quantile, _)| ((*name).into(), spread(self.standing.latency_us(*quantile))))
            .collect();
        let order = self.standing.order();
        json!({
            "connections": self.point.connections,
            "depth": self.point.depth,
            "held": self.held,
            "server": self.server,
            "work": self.workload.work.to_string(),
            "modes": self.workload.modes.to_string(),
            "value_len": self.workload.value_len,
            "rate_asked": self.asked,
            "pairs": self.standing.pairs(),
            "pairs_per_second": spread(self.standing.rate()),
            "times_floor": self.times_floor,
            "times_redis": self.times_peer("redis"),
            "times_etcd": self.times_peer("etcd"),
            "times_first": self.times_first,
            "processor_us_per_pair": spread(self.standing.processor_us()),
            "above_floor_us_per_pair": self.above_floor_us,
            "latency_us": latency,
            "generator_load": spread(self.standing.generator_load()),
            "handoffs": order.map(|order| json!({ "grants": order.grants, "out_of_order": order.out_of_order })),
        })
    }
}

/// A section as JSON.
pub(super) fn json_of(title: &str, rows: &[Row]) -> Value {
    json!({ "title": title, "rows": rows.iter().map(Row::json).collect::<Vec<_>>() })
}

/// A section as a table.
pub(super) fn table_of(title: &str, rows: &[Row], format: Format) -> String {
    let lines: Vec<Vec<(&str, String, bool)>> = rows.iter().map(Row::cells).collect();
    let width = lines.first().map_or(0, Vec::len);
    let shown: Vec<usize> =
        (0..width).filter(|at| lines.iter().any(|line| !line[*at].1.is_empty())).collect();
    let columns: Vec<Column> = shown
        .iter()
        .filter_map(|at| lines.first()?.get(*at))
        .map(|(heading, _, is_wide)| Column(heading, *is_wide))
        .collect();
    let items: Vec<Item> = lines
        .iter()
        .map(|line| Item {
            name: String::new(),
            json: Value::Null,
            cells: shown.iter().filter_map(|at| line.get(*at)).map(|(_, cell, _)| cell.clone()).collect(),
        })
        .collect();
    format!("\n{title}\n{}", render::table(&columns, &items, format == Format::Wide))
}

fn spread(spread: Option<Spread>) -> Value {
    spread.map_or(
        Value::Null,
        |spread| json!({ "median": spread.median, "min": spread.least, "max": spread.most }),
    )
}

/// A number of pairs with its thousands apart, as people read it.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        for (number, wanted) in [(0.4, "0"), (999.0, "999"), (1_000.0, "1,000"), (2_871_234.0, "2,871,234")] {
            assert_eq!(thousands(number), wanted);
        }
    }
}
