//! What tracing costs an event, in instructions: the engine over batches in memory, and spans as a process makes them.
//!
//! Run under callgrind by `make trace-cost`, which subtracts two lengths of a run so that the start counts nothing. Arguments: `w1` (the
//! hourly count of `make bench`), `hourly` (the example, with its schema and all outputs) or `none` (the records are made, and that is
//! all), records, and the share of records whose context is sampled in 1/10 000. Tracing is on if an endpoint is named in the environment. Invariant: on or off, the records are the same.

#![allow(clippy::unwrap_used, reason = "a panic is the report")]

mod work;

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use tidemill::traces::{self, Traces};
use tidemill_topology::{Batch, Stage, Topology, load};
use work::{Dice, Worker};

/// As many as a task under load is handed at once.
const BATCH: usize = 4_000;
const USERS: u64 = 100_000;

fn topology(name: &str) -> Arc<Topology> {
    match name {
        "hourly" => {
            load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("topology/examples/hourly.yaml")).unwrap().topology
        }
        _ => work::topology(name),
    }
}

fn batch(topic: &Arc<str>, from: usize, dice: &mut Dice, sampled: u64) -> Batch {
    work::batch(topic, (from, from + BATCH), (dice, USERS), |batch, at| {
        let (n, spread) = (at as u64 + 1, (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let flags = u8::from(spread % 10_000 < sampled);
        let context = format!("00-{n:016x}{spread:016x}-{n:016x}-{flags:02x}");
        batch.push_header(b"traceparent", Some(context.as_bytes()));
        batch.push_header(b"correlation_id", Some(format!("{spread:032x}").as_bytes()));
    })
}

/// As an actor and a committer do it.
struct Mill {
    worker: Worker,
    traces: Option<Arc<Traces>>,
}

impl Mill {
    fn open(stage: &Arc<Stage>) -> Mill {
        let (mut worker, traces) = (Worker::new(stage), Traces::start("cost", "cost"));
        if let Some(traces) = &traces {
            worker.task = traces.open(worker.task).unwrap();
        }
        Mill { worker, traces }
    }

    fn work(&mut self, batch: &Batch) {
        let Mill { worker, traces } = self;
        let begun = traces.as_ref().and_then(|traces| traces.begin(&mut worker.task, batch));
        worker.task.process(batch).unwrap();
        if let (Some(traces), Some(begun)) = (traces, begun) {
            traces.end(&begun, &mut worker.task);
        }
        let began = SystemTime::now();
        if let Some(sealed) = worker.seal(batch.arrived) {
            traces::committed(std::slice::from_ref(&sealed), began);
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, records, sampled] = &args[..] else { panic!("w1|hourly|none RECORDS SAMPLED") };
    let (records, sampled): (usize, u64) = (records.parse().unwrap(), sampled.parse().unwrap());
    let (topic, mut dice) = ("in".into(), Dice(1));
    // Before anything else, so that they cost the same, whatever is measured.
    let batches: Vec<Batch> = (0..records).step_by(BATCH).map(|from| batch(&topic, from, &mut dice, sampled)).collect();
    if name == "none" {
        return;
    }
    tidemill_observability::start(true);
    let mut mill = Mill::open(&topology(name).stages[0]);
    batches.iter().for_each(|batch| mill.work(batch));
    tidemill_observability::trace::stop(std::time::Duration::from_secs(60));
    let (counts, task) = (tidemill_observability::trace::counts(), &mill.worker.task);
    println!("{records} records, at {}, {counts:?}, {:?}, {:?}", task.position(), task.trace_counts(), task.counts());
}
