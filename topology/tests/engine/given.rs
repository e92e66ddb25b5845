//! The helper of these tests: a topology from a few lines, and outputs as short texts.

use std::sync::Arc;
use tidemill_topology::tester::Message;
use tidemill_topology::{Counts, Tester, Topology, parse};

pub const HOUR: i64 = 3_600_000;
pub const MINUTE: i64 = 60_000;
/// 2026-01-01T10:00:00Z.
pub const TEN: i64 = 1_767_261_600_000;

/// The frame around `steps`, `outputs` and what else a test cares for.
pub fn topology(rest: &str) -> Arc<Topology> {
    let text = format!(
        "app: t\nkafka: {{ brokers: b }}\ndead_letters: {{ topic: dead, late: true }}\nmax_record: 64KiB\n{rest}"
    );
    parse(&text, "t.yaml", &|_| None).unwrap_or_else(|e| panic!("{e}")).topology
}

/// One source `events` from topic `in`, one grouping `g` and its output `out`.
pub fn grouping(window: &str, aggregate: &str, emit: &str, output: &str) -> Arc<Topology> {
    topology(&format!(
        "sources:\n  events: {{ topic: in, key_format: string, time: {{ field: at, unit: ms }} }}\nsteps:\n  g:\n    from: events\n    group_by: record.key\n    {window}\n    aggregate: {{ {aggregate} }}\n    emit: {emit}\noutputs:\n  out: {{ from: g{output} }}\n"
    ))
}

pub const WINDOW: &str = "window: { tumbling: 1h, grace: 10m }";

pub fn hourly(emit: &str) -> Tester {
    Tester::new(grouping(WINDOW, "n: count(), s: sum(x)", emit, ""))
}

/// A record of topic `in`: key, event time and the fields behind it.
pub fn event(key: &str, at: i64, fields: &str) -> Message {
    let comma = if fields.is_empty() { "" } else { "," };
    Message::new(key, format!("{{\"at\":{at}{comma}{fields}}}")).at(5)
}

pub fn feed(tester: &mut Tester, events: &[(&str, i64, &str)]) {
    for (key, at, fields) in events {
        tester.feed("in", event(key, *at, fields));
    }
}

/// `KEY n=1 s=2 update`, with the window's start in hours after [`TEN`] behind the key.
pub fn said(tester: &mut Tester) -> Vec<String> {
    tester.take("out").iter().map(short).collect()
}

pub fn short(message: &Message) -> String {
    let row: serde_json::Value = serde_json::from_slice(message.value.as_deref().unwrap()).unwrap();
    let row = row.as_object().unwrap();
    let mut text = row["key"].as_str().map_or(row["key"].to_string(), str::to_owned);
    if let Some(window) = row.get("window") {
        text += &format!("@{}", &window["start"].as_str().unwrap()[..16]);
    }
    for (name, value) in row.iter().filter(|(n, _)| !["key", "window", "result"].contains(&n.as_str())) {
        text += &format!(" {name}={value}");
    }
    text + " " + row["result"].as_str().unwrap()
}

pub fn reasons(tester: &mut Tester) -> Vec<String> {
    tester.take("dead").iter().map(|m| m.header("tidemill-reason").unwrap()).collect()
}

/// Every record is somewhere, once.
pub fn balanced(counts: Counts) -> bool {
    counts.input == counts.output + counts.filtered + counts.duplicate + counts.dead
}
