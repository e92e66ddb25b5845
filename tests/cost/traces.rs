//! What tracing costs an event, in instructions: the engine over batches in memory, and spans as a process makes them.
//!
//! Run under callgrind by `make trace-cost`, which subtracts two lengths of a run so that the start counts nothing. Arguments: `plain`
//! (filter, count, sum), `hourly` (the hourly job, schema and all) or `none` (the records are made, and that is all), records, and the share of records whose context is
//! sampled in 1/10 000. Tracing is on if an endpoint is named in the environment. Invariant: on or off, the records are the same.

#![allow(clippy::unwrap_used, reason = "a panic is the report")]

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use tidemill::traces::{self, Traces};
use tidemill_state::{MemoryStore, Meta, StateStore};
use tidemill_topology::{Batch, Stage, Task, TaskSetup, Topology, load, parse};

const BATCH: u64 = 1_000;
const START: i64 = 1_767_261_600_000;

const PLAIN: &str = "
app: plain
kafka: { brokers: b }
sources:
  events: { topic: user-events, format: json, time: timestamp, max_ahead: never }
steps:
  large: { from: events, do: [ { filter: \"duration_seconds >= 0\" } ] }
  hourly:
    from: large
    group_by: [event_type]
    window: { tumbling: 1h, grace: 10m }
    aggregate: { n: count(), s: sum(duration_seconds) }
    emit: { final: true }
outputs:
  rows: { from: hourly }
";

fn topology(name: &str) -> Arc<Topology> {
    match name {
        "plain" => parse(PLAIN, "plain.yaml", &|_| None).unwrap().topology,
        _ => load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("topology/examples/hourly.yaml")).unwrap().topology,
    }
}

fn batch(from: u64, sampled: u64) -> Batch {
    let mut batch = Batch::new("user-events".into(), 0, 1, from as i64);
    for n in from..from + BATCH {
        let time = START + n as i64;
        let at = jiff::Timestamp::from_millisecond(time).unwrap();
        let (user, kind) = (n * 7 % 1_000, ["click", "page_view", "search", "login"][n as usize % 4]);
        let value = format!(
            r#"{{"event_id":"{kind}_{time}_{n}","user_id":"user_{user}","event_type":"{kind}","timestamp":"{at}","event_data":{{"session_id":"session_{n}","ip_address":"10.0.0.1","page_url":"/page/{n}"}},"duration_seconds":{}.5}}"#,
            n % 300
        );
        batch.push(n as i64, time, Some(format!("user_{user}").as_bytes()), Some(value.as_bytes()));
        let spread = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let flags = u8::from(spread % 10_000 < sampled);
        let context = format!("00-{:016x}{spread:016x}-{:016x}-{flags:02x}", n + 1, n + 1);
        batch.push_header(b"traceparent", Some(context.as_bytes()));
        batch.push_header(b"correlation_id", Some(format!("{spread:032x}").as_bytes()));
    }
    batch.arrived = START + (from + BATCH) as i64;
    batch
}

/// A task, and the store that follows it.
struct Mill {
    task: Task,
    store: Arc<MemoryStore>,
}

impl Mill {
    fn open(stage: &Arc<Stage>, traces: Option<&Traces>) -> Mill {
        let setup =
            TaskSetup { partition: 0, partitions: 1, assignment: 1, store_id: 1, position: 0, cache_bytes: 64 << 20 };
        let store = Arc::new(MemoryStore::new());
        let mut task = Task::open(stage.clone(), setup, store.clone(), None).unwrap();
        if let Some(traces) = traces {
            task = traces.open(task).unwrap();
        }
        Mill { task, store }
    }

    /// As an actor and a committer do it.
    fn work(&mut self, batch: &Batch, traces: Option<&Traces>) {
        let begun = traces.and_then(|traces| traces.begin(&mut self.task, batch));
        self.task.process(batch).unwrap();
        if let (Some(traces), Some(begun)) = (traces, begun) {
            traces.end(&begun, &mut self.task);
        }
        let began = SystemTime::now();
        let Some(sealed) = self.task.seal(batch.arrived).unwrap() else { return };
        let meta = Meta { checkpoint: sealed.checkpoint.encode(), position: sealed.sequence as i64, append_time: 0 };
        traces::committed(std::slice::from_ref(&sealed), began);
        self.store.apply(&sealed.changes, &meta).unwrap();
        self.task.applied(sealed.sequence).unwrap();
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, records, sampled] = &args[..] else { panic!("plain|hourly|none RECORDS SAMPLED") };
    let (records, sampled): (u64, u64) = (records.parse().unwrap(), sampled.parse().unwrap());
    // Before anything else, so that they cost the same, whatever is measured.
    let batches: Vec<Batch> = (0..records).step_by(BATCH as usize).map(|from| batch(from, sampled)).collect();
    if name == "none" {
        return;
    }
    tidemill_observability::start(true);
    let topology = topology(name);
    let traces = Traces::start("cost", "cost");
    let mut mill = Mill::open(&topology.stages[0], traces.as_deref());
    batches.iter().for_each(|batch| mill.work(batch, traces.as_deref()));
    tidemill_observability::trace::stop(std::time::Duration::from_secs(60));
    let counts = tidemill_observability::trace::counts();
    println!("{records} records, at {}, {counts:?}, {:?}", mill.task.position(), mill.task.trace_counts());
}
