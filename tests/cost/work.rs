//! What engines are timed and counted with: topologies, prepared events, and a task with its store.
//!
//! Used by `engine.rs`, `traces.rs` and `micro.rs`. Knows nothing of clocks. Invariant: the same seed gives the same events.

use std::fmt::Write;
use std::sync::Arc;
use tidemill_state::{MemoryStore, Meta, StateStore};
use tidemill_topology::{Batch, Sealed, Stage, Task, TaskSetup, Topology, parse};

/// When the first event happened and every batch came, ms since 1970.
const ARRIVED: i64 = 1_795_255_200_000;

const HEAD: &str = "app: engine\nkafka: { brokers: none }\n";

/// Validate, dedupe, and per hour and type: count, exact distinct users, sum.
const W1: &str = r#"
sources:
  events: { topic: in, format: json, time: timestamp, max_ahead: never }
steps:
  clean:
    from: events
    do:
      - validate:
          event_id: "text >= 1 chars"
          user_id: "text >= 1 chars"
          event_type: "text in ['page_view', 'click', 'search', 'purchase', 'login', 'logout']"
          duration_seconds: "number >= 0"
      - dedupe: { name: seen, by: event_id, within: 1h }
  hourly:
    from: clean
    group_by: [event_type]
    window: { tumbling: 1h, grace: 10m }
    aggregate: { total: count(), users: count_distinct(user_id), seconds: sum(duration_seconds) }
    emit: { updates: 1s, final: true }
outputs:
  hours: { from: hourly }
"#;

const W1E: &str = "  enriched: { from: rich }\n";
const RICH: &str = "  rich: { from: clean, do: [ { set: { is_long: \"duration_seconds > 100\" } } ] }\n";

const W0: &str =
    "\nsources:\n  events: { topic: in, format: json, max_ahead: never }\noutputs:\n  out: { from: events }\n";

const W4: &str = "\nsources:\n  events: { topic: in, format: json, key_format: string, max_ahead: never }\nsteps:\n  keyed: { from: events, group_by: record.key, aggregate: { n: count(), seconds: sum(duration_seconds), most: max(duration_seconds) }, emit: { updates: 1s } }\noutputs:\n  out: { from: keyed, key_format: string }\n";

pub fn topology(workload: &str) -> Arc<Topology> {
    let text = match workload {
        "w0" => format!("{HEAD}{W0}"),
        "w1" => format!("{HEAD}{W1}"),
        "w1e" => format!("{HEAD}{}", W1.replace("outputs:\n", &format!("{RICH}outputs:\n{W1E}"))),
        "w4" => format!("{HEAD}{W4}"),
        other => panic!("no workload {other}; there are w0, w1, w1e, w4"),
    };
    parse(&text, "engine.yaml", &|_| None).map_err(|e| e.to_string()).unwrap().topology
}

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// An event of the shape that the hourly job takes, about 360 bytes; its user.
pub fn event(dice: &mut Dice, at: usize, users: u64, out: &mut String) -> u64 {
    const TYPES: [&str; 10] =
        ["page_view", "page_view", "page_view", "page_view", "click", "click", "click", "search", "purchase", "login"];
    let (a, b, user) = (dice.next(), dice.next(), dice.next() % users);
    let ty = TYPES[(b % 10) as usize];
    let (seconds, ms) = (at / 200, at % 200 * 5);
    let (hour, minute, second) = (10 + seconds / 3600, seconds / 60 % 60, seconds % 60);
    out.clear();
    write!(
        out,
        "{{\"event_id\":\"{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}\",\"user_id\":\"user_{user:06}\",\"event_type\":\"{ty}\",\
         \"timestamp\":\"2026-11-21T{hour:02}:{minute:02}:{second:02}.{ms:03}Z\",\"event_data\":{{\"session_id\":\"sess_{:08x}\",\
         \"ip_address\":\"10.{}.{}.{}\",\"user_agent\":\"Mozilla/5.0 (X11; Linux) Chrome/126\",\
         \"page_url\":\"https://shop.test/products/42\",\"referrer\":\"https://ref.test\"}},\"duration_seconds\":{}.{:02}}}",
        a >> 32, a & 0xffff, a >> 20 & 0xfff, b >> 48, b & 0xffff_ffff_ffff, b >> 16 & 0xffff_ffff,
        a & 255, b & 255, a >> 8 & 255, a % 300, b % 100,
    )
    .unwrap();
    user
}

/// One task, its store, and where its input stands.
pub struct Worker {
    pub task: Task,
    store: Arc<dyn StateStore>,
}

impl Worker {
    pub fn new(stage: &Arc<Stage>) -> Worker {
        let store: Arc<dyn StateStore> = Arc::new(MemoryStore::default());
        let setup =
            TaskSetup { partition: 0, partitions: 1, assignment: 1, store_id: 1, position: 0, cache_bytes: 256 << 20 };
        Worker { task: Task::open(stage.clone(), setup, store.clone(), None).unwrap(), store }
    }

    pub fn seal(&mut self, now: i64) -> Option<Sealed> {
        let sealed = self.task.seal(now).unwrap()?;
        let meta = Meta { checkpoint: sealed.checkpoint.encode(), position: sealed.sequence as i64, append_time: 0 };
        self.store.apply(&sealed.changes, &meta).unwrap();
        self.task.applied(sealed.sequence).unwrap();
        Some(sealed)
    }
}

/// Events `from..to` as a batch; `headers` may give each of them some.
pub fn batch(
    topic: &Arc<str>,
    (from, to): (usize, usize),
    (dice, users): (&mut Dice, u64),
    mut headers: impl FnMut(&mut Batch, usize),
) -> Batch {
    let (mut batch, mut text) = (Batch::new(topic.clone(), 0, 1, from as i64), String::new());
    for at in from..to {
        let user = event(dice, at, users, &mut text);
        let key = format!("user_{user:06}");
        batch.push(at as i64, ARRIVED + at as i64 * 5, Some(key.as_bytes()), Some(text.as_bytes()));
        headers(&mut batch, at);
    }
    batch.arrived = ARRIVED;
    batch
}
