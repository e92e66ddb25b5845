//! What a sink shows: what became of its records, where its partitions stand, and its connections.
//!
//! Told by writers once a database transaction, asked by the process's meter once a second.
//! Invariant: rows count once they are committed, and a lag is told of partitions whose row was read.

use super::health::Health;
use super::postgres::{Failure, Written};
use crate::clock;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tidemill_observability::metrics::{Metrics, SinkNow};
use tidemill_topology::TaskId;
use tidemill_topology::sinks::Mode;

pub struct Seen {
    metrics: Metrics,
    sink: String,
    table: String,
    upsert: bool,
    /// The next offset of each partition that is here.
    positions: Mutex<BTreeMap<TaskId, i64>>,
}

/// An open connection, until it is dropped.
pub struct Open(Metrics, String);

impl Seen {
    pub fn new(metrics: &Metrics, sink: &str, table: &str, mode: Mode) -> Seen {
        metrics.sinks.begin(sink);
        metrics.seeds.inserts.add(&[table], 0);
        for error in ["connection", "database", "conflict", "refused", "unknown", "row"] {
            metrics.seeds.insert_errors.add(&[table, error], 0);
        }
        let (sink, table, upsert) = (sink.to_owned(), table.to_owned(), mode == Mode::Upsert);
        Seen { metrics: metrics.clone(), sink, table, upsert, positions: Mutex::default() }
    }

    pub fn connected(&self) -> Open {
        self.metrics.sinks.connections.add(&[&self.sink], 1.0);
        self.metrics.seeds.connections.add(&[], 1.0);
        Open(self.metrics.clone(), self.sink.clone())
    }

    /// A transaction, or a connection, did not end well and is done again.
    pub fn failed(&self, reason: &str) {
        self.metrics.sinks.retries.add(&[&self.sink, reason], 1);
        self.metrics.seeds.insert_errors.add(&[&self.table, reason], 1);
    }

    /// The writers begin to wait.
    pub fn waits(&self) {
        self.metrics.sinks.waits.add(&[&self.sink], 1);
    }

    /// A transaction is committed. `took`: from its begin, and from the arrival of its first record.
    pub fn wrote(&self, written: &Written, (took, since): (Duration, Duration)) {
        let Written { records, rows, folded, skipped, dead } = *written;
        let (sinks, seeds, sink) = (&self.metrics.sinks, &self.metrics.seeds, &*self.sink);
        for (fate, count) in [("written", rows), ("folded", folded), ("skipped", skipped), ("dead", dead)] {
            sinks.records.add(&[sink, fate], count);
        }
        sinks.batches.add(&[sink], 1);
        sinks.duration.observe(sink, took.as_secs_f64(), 1);
        sinks.latency.observe(sink, since.as_secs_f64(), 1);
        sinks.last_commit.set(&[sink], clock::now() as f64 / 1000.0);
        seeds.inserts.add(&[&self.table], rows);
        seeds.insert_errors.add(&[&self.table, "row"], dead);
        seeds.insert_duration.observe("", took.as_secs_f64(), 1);
        seeds.batch_size.observe("", records as f64, 1);
        seeds.dead.add(&["sink-row"], dead);
        if self.upsert {
            seeds.flushed.add(&[], rows);
        }
    }

    fn positions(&self) -> MutexGuard<'_, BTreeMap<TaskId, i64>> {
        self.positions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A partition stands here; `None`: it is not ours, or not for sure.
    pub fn stands(&self, task: &TaskId, position: Option<i64>) {
        match position {
            Some(position) => self.positions().insert(task.clone(), position),
            None => self.positions().remove(task),
        };
    }

    /// As it is now; `end` answers where a partition ends.
    pub fn now(&self, health: &Health, end: impl Fn(&TaskId) -> Option<i64>) -> SinkNow {
        let positions = self.positions().clone();
        let lag = |(task, position): (&TaskId, &i64)| Some((end(task)? - position).max(0));
        // One that is not known makes the sum unknown.
        let lag = positions.iter().map(lag).sum::<Option<i64>>();
        SinkNow { name: self.sink.clone(), lag, waiting: health.waiting().as_secs_f64() }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.sinks.connections.add(&[&self.1], -1.0);
        self.0.seeds.connections.add(&[], -1.0);
    }
}

/// A word for metrics.
pub fn reason(failure: &Failure) -> &'static str {
    match failure {
        Failure::Away(_) => "connection",
        Failure::Again(_) => "conflict",
        Failure::Row(_) => "row",
        Failure::Sick(_) | Failure::Split => "database",
    }
}
