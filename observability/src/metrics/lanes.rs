//! Lanes and their transactions: how long each phase takes, how each one ended, and whether one is stuck.
//!
//! Called by lane actors and committer threads, once a transaction. Invariant: a lane that works on a transaction says
//! since when, before it does anything that can block.

use super::kinds::{Count, Level, Maker, NONE, Spread};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

pub const STEPS: [&str; 6] = ["seal", "send", "wait", "offsets", "commit", "apply"];
pub const ENDS: [&str; 5] = ["committed", "aborted", "unknown", "fenced", "fatal"];
const DURATIONS: &[f64] =
    &[0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

#[derive(Clone)]
pub struct Lanes {
    pub phases: Spread,
    pub transactions: Count,
    pub recycles: Count,
    pub left_out: Count,
    pub concurrent: Count,
    pub sent_records: Count,
    pub sent_bytes: Count,
    pub past_retention: Count,
    pub skew: Level,
    pub rebalances: Count,
    pub stuck_threshold: Level,
    busy: Level,
    clocks: Arc<Clocks>,
}

/// Since when each lane has been at its transaction, ms after the beginning, plus one; 0: it rests.
struct Clocks {
    beginning: Instant,
    since: Mutex<Vec<Arc<AtomicU64>>>,
}

/// One lane at its transaction; over when dropped.
pub struct AtWork(Arc<AtomicU64>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

impl Lanes {
    pub(super) fn new(m: &mut Maker) -> Lanes {
        m.subject("Lanes and transactions");
        let lanes = Lanes {
            phases: m.spread("tidemill_commit_duration_seconds", &["phase"], DURATIONS, "Phases of committed transactions: seal, send, wait, offsets, commit, apply."),
            transactions: m.count("tidemill_transactions_total", &["outcome"], "Transactions by outcome: committed, aborted, unknown, fenced, fatal."),
            recycles: m.count("tidemill_recycles_total", NONE, "Producers that were dropped and made anew, after trouble."),
            left_out: m.count("tidemill_left_out_total", NONE, "Tasks' values that were not sent again, because the task is another process's."),
            concurrent: m.count("tidemill_concurrent_requests_total", NONE, "Requests that met the control records of the transaction before."),
            sent_records: m.count("tidemill_sent_records_total", NONE, "Records of committed transactions: outputs, dead letters, changelogs."),
            sent_bytes: m.count("tidemill_sent_bytes_total", NONE, "Bytes of their keys and values."),
            past_retention: m.count("tidemill_past_retention_total", &["topic"], "Results older than their topic keeps records, by its retention at the start: the broker deletes them."),
            skew: m.level("tidemill_clock_skew_seconds", NONE, "The broker's clock less ours, from the append time of the last checkpoint; known to half the time of its delivery."),
            rebalances: m.count("tidemill_rebalances_total", NONE, "Assignments that this process was told, empty ones too."),
            stuck_threshold: m.level("tidemill_lane_stuck_threshold_seconds", NONE, "A transaction that takes longer counts as stuck: two thirds of transaction.timeout.ms."),
            busy: m.level("tidemill_lane_busy_seconds", &["lane"], "How long a lane has been at its transaction, retries and waits included; 0: it rests."),
            clocks: Arc::new(Clocks { beginning: Instant::now(), since: Mutex::default() }),
        };
        lanes.phases.at_zero(&STEPS);
        ENDS.iter().for_each(|end| lanes.transactions.add(&[end], 0));
        lanes
    }

    fn since(&self, lane: usize) -> Arc<AtomicU64> {
        let mut all = self.clocks.since.lock().unwrap_or_else(PoisonError::into_inner);
        while all.len() <= lane {
            all.push(Arc::default());
        }
        all[lane].clone()
    }

    /// A transaction of this lane begins.
    pub fn works(&self, lane: usize) -> AtWork {
        let since = self.since(lane);
        since.store(self.clocks.beginning.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
        AtWork(since)
    }

    /// For how many seconds each lane has been at its transaction.
    pub fn busy(&self) -> Vec<f64> {
        let now = self.clocks.beginning.elapsed().as_millis() as u64 + 1;
        let all = self.clocks.since.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = |since: u64| if since == 0 { 0.0 } else { now.saturating_sub(since) as f64 / 1000.0 };
        all.iter().map(|since| seconds(since.load(Ordering::Relaxed))).collect()
    }

    pub(super) fn show(&self) {
        for (lane, seconds) in self.busy().into_iter().enumerate() {
            self.busy.set(&[&lane.to_string()], seconds);
        }
    }
}
