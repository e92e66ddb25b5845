//! What the simulated application computes, and the records that it reads.
//!
//! Knows nothing of brokers. Called by `world` at the start of a run, and by `oracle`.
//! Invariant: a key lies in one partition, and offsets have holes as control records leave them.

use super::rng::Rng;
use std::sync::{Arc, OnceLock};
use tidemill_topology::{Batch, Stage};

const STATEFUL: &str = r#"
app: sim
kafka: { brokers: "localhost:1" }
sources:
  events: { topic: events, key_format: string, format: json, time: at, max_ahead: never, start: earliest }
steps:
  big:
    from: events
    do:
      - filter: "amount > 50"
  hourly:
    from: events
    group_by: record.key
    window: { tumbling: 1h, grace: 10m }
    aggregate: { n: count(), total: sum(amount) }
    emit: { updates: 5s, final: true }
  running:
    from: big
    group_by: record.key
    aggregate: { n: count(), total: sum(amount), low: min(amount), high: max(amount) }
    emit: every
outputs:
  copies: { from: big }
  hours: { from: hourly, key_format: text, format: json }
  totals: { from: running, key_format: string, format: json }
dead_letters: { topic: dead, late: true, keep: 14d }
"#;

const STATELESS: &str = r#"
app: sim
kafka: { brokers: "localhost:1" }
sources:
  events: { topic: events, key_format: string, format: json, time: at, max_ahead: never, start: earliest }
steps:
  big:
    from: events
    do:
      - filter: "amount > 50"
outputs:
  copies: { from: big }
dead_letters: { topic: dead, late: true, keep: 14d }
"#;

/// Where records go one by one, so that their order is known; `hours` alone coalesces.
pub const WINDOWS: &str = "hours";
pub const COPIES: &str = "copies";

pub struct Fixture {
    pub stage: Arc<Stage>,
}

/// The two applications, read once.
pub fn fixture(stateless: bool) -> &'static Fixture {
    static BOTH: [OnceLock<Fixture>; 2] = [OnceLock::new(), OnceLock::new()];
    BOTH[usize::from(stateless)].get_or_init(|| {
        let text = if stateless { STATELESS } else { STATEFUL };
        let loaded = tidemill_topology::parse(text, "simulation.yaml", &|_| None).expect("the simulation's topology");
        Fixture { stage: loaded.topology.stages[0].clone() }
    })
}

pub struct InRecord {
    offset: i64,
    timestamp: i64,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// One partition of the input topic.
pub struct Input {
    pub start: i64,
    pub end: i64,
    pub records: Vec<InRecord>,
}

impl Input {
    /// Ten o'clock and on, a few keys, late ones and poison.
    pub fn new(partition: usize, many: usize, rng: &mut Rng) -> Input {
        let start = rng.within(0, 3) * 10;
        let (mut offset, mut time) = (start, 1_767_261_600_000_i64);
        let pace = rng.within(1, 25);
        let keys = 1 + rng.below(4);
        let mut records = Vec::new();
        for _ in 0..many {
            time += rng.within(0, pace) * 60_000;
            let behind = if rng.once_in(4) { rng.within(0, 150) * 60_000 } else { 0 };
            let key = format!("p{partition}k{}", rng.below(keys)).into_bytes();
            let value = value(time - behind, rng).into_bytes();
            records.push(InRecord { offset, timestamp: time, key, value });
            offset += 1 + i64::from(rng.once_in(5));
        }
        Input { start, end: offset, records }
    }

    /// Up to `many` records from where the batch begins, or the end of the partition.
    pub fn fill(&self, batch: &mut Batch, many: usize, now: i64) {
        batch.arrived = now;
        let from = batch.from;
        for r in self.records.iter().filter(|r| r.offset >= from).take(many) {
            batch.push(r.offset, r.timestamp, Some(&r.key), Some(&r.value));
        }
        if self.records.last().is_none_or(|r| r.offset < batch.next) {
            batch.next = batch.next.max(self.end);
        }
    }
}

fn value(at: i64, rng: &mut Rng) -> String {
    let amount = rng.within(0, 120);
    match rng.below(14) {
        0 => "no json".into(),
        1 => format!(r#"{{"amount":{amount}}}"#),
        2 => format!(r#"{{"amount":"{amount}","at":{at}}}"#),
        3 => format!(r#"{{"at":{at}}}"#),
        4 => format!(r#"{{"amount":{amount}.25,"at":{at}}}"#),
        _ => format!(r#"{{"amount":{amount},"at":{at}}}"#),
    }
}
