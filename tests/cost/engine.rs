//! The engine alone, without Kafka: batches of prepared events through the tasks of one partition, sealed and applied as a
//! lane would. For profilers and instruction counts; `cargo run --profile fast --example engine-cost -- w1 1000000`.
//!
//! Prints CPU time per event. Knows nothing of brokers. Invariant: the same arguments do the same work.
#![allow(clippy::unwrap_used, reason = "a tool for developers: a panic is its report")]

mod work;

use std::time::Instant;
use tidemill_topology::Batch;
use tidemill_topology::formats::{FieldReader, Fields, Spelled};
use tidemill_topology::sinks::FieldPath;
use work::{Dice, Worker, batch, topology};

const BATCH: usize = 1_000;
/// Events between two seals: 100 ms of a task that works 200 000 a second.
const SEAL: usize = 20_000;

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
    if workload == "rows" {
        return rows(events, users);
    }
    let topology = topology(&workload);
    let mut workers: Vec<Worker> = topology.stages.iter().map(Worker::new).collect();
    let mut dice = Dice(1);
    let (mut spent, mut bytes, mut said, mut behind) = (0, 0, 0, 0);
    let began = Instant::now();
    for from in (0..events).step_by(BATCH) {
        let to = (from + BATCH).min(events);
        let batch = batch(&topology.stages[0].topic, (from, to), (&mut dice, users), |_, _| ());
        let start = cpu_ns();
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

/// What a sink looks for in each record: the columns of the table `raw_events`.
fn rows(events: usize, users: u64) {
    let columns = ["event_id", "user_id", "event_type", "event_data", "duration_seconds", "timestamp"];
    let fields = Fields::new(columns.map(|name| FieldPath::from(vec![Box::from(name)])).to_vec());
    let (mut dice, mut spent, mut bytes) = (Dice(1), 0, 0);
    for from in (0..events).step_by(BATCH) {
        let batch = batch(&"in".into(), (from, (from + BATCH).min(events)), (&mut dice, users), |_, _| ());
        let start = cpu_ns();
        bytes += read_rows(&batch, &mut fields.reader(), columns.len());
        spent += cpu_ns() - start;
    }
    println!("rows: {:.0} ns of CPU an event, {bytes} bytes of cells, {events} events", spent as f64 / events as f64);
}

/// Bytes of the fields that a batch has. By name, so that instructions can be counted here alone.
#[inline(never)]
fn read_rows(batch: &Batch, reader: &mut FieldReader<'_>, columns: usize) -> usize {
    let mut bytes = 0;
    for record in batch.iter() {
        let found = reader.read(record.value.unwrap()).unwrap();
        for column in 0..columns {
            bytes += match found.get(column) {
                Spelled::Number(text) | Spelled::Text(text) | Spelled::Json(text) => text.len(),
                Spelled::Missing | Spelled::Null | Spelled::Flag(_) => 0,
            };
        }
    }
    bytes
}
