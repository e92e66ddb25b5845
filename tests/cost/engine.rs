//! The engine alone, without Kafka: batches of prepared events through the tasks of one partition, sealed and applied as a
//! lane would. For profilers and instruction counts; `cargo run --profile fast --example engine-cost -- w1 1000000`.
//!
//! Prints CPU time per event. Knows nothing of brokers. Invariant: the same arguments do the same work.
#![allow(clippy::unwrap_used, reason = "a tool for developers: a panic is its report")]

use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;
use tidemill_state::{MemoryStore, Meta, StateStore};
use tidemill_topology::{Batch, Sealed, Stage, Task, TaskSetup, Topology, parse};

const BATCH: usize = 1_000;
/// Events between two seals: 100 ms of a task that works 200 000 a second.
const SEAL: usize = 20_000;

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

fn topology(workload: &str) -> Arc<Topology> {
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
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// An event of the shape that the hourly job takes, about 360 bytes; its user.
fn event(dice: &mut Dice, at: usize, users: u64, out: &mut String) -> u64 {
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
struct Worker {
    task: Task,
    store: Arc<dyn StateStore>,
}

impl Worker {
    fn new(stage: &Arc<Stage>) -> Worker {
        let store: Arc<dyn StateStore> = Arc::new(MemoryStore::default());
        let setup =
            TaskSetup { partition: 0, partitions: 1, assignment: 1, store_id: 1, position: 0, cache_bytes: 256 << 20 };
        Worker { task: Task::open(stage.clone(), setup, store.clone(), None).unwrap(), store }
    }

    fn seal(&mut self, now: i64) -> Option<Sealed> {
        let sealed = self.task.seal(now).unwrap()?;
        let meta = Meta { checkpoint: sealed.checkpoint.encode(), position: sealed.sequence as i64, append_time: 0 };
        self.store.apply(&sealed.changes, &meta).unwrap();
        self.task.applied(sealed.sequence).unwrap();
        Some(sealed)
    }
}

fn cpu_ns() -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock writes into a place of ours.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

fn main() {
    let mut args = std::env::args().skip(1);
    let workload = args.next().unwrap_or_else(|| "w1".to_owned());
    let events: usize = args.next().map_or(1_000_000, |n| n.parse().unwrap());
    let users: u64 = args.next().map_or(100_000, |n| n.parse().unwrap());
    let topology = topology(&workload);
    let mut workers: Vec<Worker> = topology.stages.iter().map(Worker::new).collect();
    let (mut dice, mut text) = (Dice(1), String::new());
    let (mut spent, mut bytes, mut said, mut behind) = (0, 0, 0, 0);
    let began = Instant::now();
    for from in (0..events).step_by(BATCH) {
        let mut batch = Batch::new(topology.stages[0].topic.clone(), 0, 1, from as i64);
        for at in from..(from + BATCH).min(events) {
            let user = event(&mut dice, at, users, &mut text);
            batch.push(
                at as i64,
                1_795_255_200_000 + at as i64 * 5,
                Some(format!("user_{user:06}").as_bytes()),
                Some(text.as_bytes()),
            );
        }
        let start = cpu_ns();
        batch.arrived = 1_795_255_200_000;
        workers[0].task.process(&batch).unwrap();
        if (from + BATCH).is_multiple_of(SEAL) || from + BATCH >= events {
            let now = from as i64;
            let sealed = workers[0].seal(now).unwrap();
            (bytes, said) = (bytes + sealed.changes.bytes(), said + sealed.outputs.len());
            for worker in &mut workers[1..] {
                let mut hop = Batch::new(worker.task.id().topic.clone(), 0, 1, behind);
                for record in sealed.outputs.iter().filter(|r| **r.topic == *worker.task.id().topic) {
                    hop.push(behind, record.timestamp, record.key, record.value);
                    behind += 1;
                    bytes += record.value.map_or(0, <[u8]>::len);
                }
                worker.task.process(&hop).unwrap();
                if let Some(sealed) = worker.seal(now) {
                    (bytes, said) = (bytes + sealed.changes.bytes(), said + sealed.outputs.len());
                }
            }
        }
        spent += cpu_ns() - start;
    }
    let n = events as f64;
    println!(
        "{workload}: {:.0} ns of CPU an event, {:.1} bytes of state and partials, {said} records said, {events} events, {:.1} s in all",
        spent as f64 / n,
        bytes as f64 / n,
        began.elapsed().as_secs_f64()
    );
    for worker in &workers {
        println!("{}: {:?}", worker.task.id(), worker.task.counts());
    }
}
