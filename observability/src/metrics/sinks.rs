//! Sinks: rows, their latency, what waits, and what was refused.
//!
//! Counters are added once a database transaction, gauges are written once a second by the process's meter.
//! Invariant: the label is a sink's name, of which a topology has as many as its file says.

use super::kinds::{Count, Level, Maker, Spread};

const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
/// What can become of a sink's record.
pub const FATES: [&str; 4] = ["written", "folded", "skipped", "dead"];
/// Why a transaction is done again.
pub const RETRIES: [&str; 5] = ["connection", "database", "conflict", "refused", "unknown"];

/// One sink, as it is now.
#[derive(Debug, Clone)]
pub struct SinkNow {
    pub name: String,
    /// Offsets of its topic that are not written, of the partitions that are here; none: not known.
    pub lag: Option<i64>,
    /// How long its writers have been waiting for the database; 0: they are not.
    pub waiting: f64,
}

#[derive(Clone)]
pub struct Sinks {
    pub records: Count,
    pub batches: Count,
    pub retries: Count,
    pub waits: Count,
    pub latency: Spread,
    pub duration: Spread,
    pub connections: Level,
    pub last_commit: Level,
    lag: Level,
    waiting: Level,
}

impl Sinks {
    pub(super) fn new(m: &mut Maker) -> Sinks {
        m.subject("Sinks");
        let (sink, fate, reason) = (&["sink"], &["sink", "fate"], &["sink", "reason"]);
        Sinks {
            records: m.count("tidemill_sink_records_total", fate, "Records of committed database transactions: written (rows), folded (their key came again later in the batch), skipped (the table had their unique key), dead (a bad row)."),
            batches: m.count("tidemill_sink_batches_total", sink, "Database transactions that were committed."),
            retries: m.count("tidemill_sink_retries_total", reason, "Database transactions, or connections, that did not end well and are done again: connection, database, conflict, refused (another owner), unknown (COMMIT was not answered)."),
            waits: m.count("tidemill_sink_waits_total", sink, "How often a sink began to wait for its database."),
            latency: m.spread("tidemill_sink_latency_seconds", sink, SECONDS, "From the arrival of a batch's first record to its commit in the database."),
            duration: m.spread("tidemill_sink_batch_duration_seconds", sink, SECONDS, "A database transaction, from its begin to its commit."),
            connections: m.level("tidemill_sink_connections", sink, "Connections that a sink has open."),
            last_commit: m.level("tidemill_sink_last_commit_unixtime", sink, "When a sink last committed rows, seconds since 1970; 0: not since the start."),
            lag: m.level("tidemill_sink_lag_records", sink, "Offsets of a sink's topic that are not in the database, of the partitions that are here."),
            waiting: m.level("tidemill_sink_waiting_seconds", sink, "How long a sink has been waiting for its database; 0: it works, or has nothing to do."),
        }
    }

    /// A sink is there, be it that nothing has happened yet.
    pub fn begin(&self, sink: &str) {
        FATES.iter().for_each(|fate| self.records.add(&[sink, fate], 0));
        RETRIES.iter().for_each(|reason| self.retries.add(&[sink, reason], 0));
        self.batches.add(&[sink], 0);
        self.waits.add(&[sink], 0);
        self.latency.at_zero(&[sink]);
        self.duration.at_zero(&[sink]);
        self.connections.set(&[sink], 0.0);
        self.last_commit.set(&[sink], 0.0);
    }

    pub(super) fn show(&self, all: &[SinkNow]) {
        self.lag.clear();
        for sink in all {
            self.waiting.set(&[&sink.name], sink.waiting);
            sink.lag.into_iter().for_each(|lag| self.lag.set(&[&sink.name], lag as f64));
        }
    }
}
