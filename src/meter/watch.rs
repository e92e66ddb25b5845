//! A process's own look at four thresholds, as the pipeline before it looked: counted, and said in the log once a crossing.
//!
//! Called by the meter, once a second. Alerts for people are Prometheus's rules; these need nobody else.
//! Invariant: a crossing counts once, and again only after the figure was below in between.

use std::collections::VecDeque;
use tidemill_observability::metrics::{ALERTS, Metrics, Now};
use tidemill_topology::Alerts;

/// Seconds over which rates and latencies are taken.
const WINDOW: usize = 60;
/// A crossing counts once it has lasted so many looks: a figure that wavers about its limit is one alert, not many.
const HOLD: u32 = 5;
/// A database that is away for a moment is no news.
const AWAY: f64 = 10.0;

/// Sums so far: records that went through, that failed, and the seconds that all took.
#[derive(Clone, Copy, Default)]
struct Sums {
    processed: u64,
    failed: u64,
    latency: (u64, f64),
}

pub struct Watch {
    limits: Alerts,
    sums: VecDeque<Sums>,
    above: [bool; ALERTS.len()],
    /// For how many looks a figure has been on the other side.
    crossing: [u32; ALERTS.len()],
}

impl Watch {
    pub fn new(limits: Alerts) -> Watch {
        Watch { limits, sums: VecDeque::new(), above: [false; ALERTS.len()], crossing: [0; ALERTS.len()] }
    }

    pub fn look(&mut self, metrics: &Metrics, now: &Now) {
        let sums = Sums {
            processed: metrics.seeds.processed.value(&[]),
            failed: metrics.seeds.failed.total(),
            latency: metrics.seeds.processing.totals(""),
        };
        self.sums.push_back(sums);
        if self.sums.len() > WINDOW + 1 {
            self.sums.pop_front();
        }
        let first = self.sums.front().copied().unwrap_or_default();
        let values = self.values(&first, &sums, now);
        for (at, (value, limit)) in values.into_iter().enumerate() {
            let crosses = (value > limit) != self.above[at];
            self.crossing[at] = if crosses { self.crossing[at] + 1 } else { 0 };
            if self.crossing[at] >= HOLD {
                self.crossing[at] = 0;
                self.crossed(metrics, at, (value, limit));
            }
        }
    }

    /// In the order of [`ALERTS`]: a figure, and its limit.
    fn values(&self, first: &Sums, last: &Sums, now: &Now) -> [(f64, f64); ALERTS.len()] {
        let failed = (last.failed - first.failed) as f64;
        let all = failed + (last.processed - first.processed) as f64;
        let (records, seconds) = (last.latency.0 - first.latency.0, last.latency.1 - first.latency.1);
        let lag = now.tasks.iter().filter_map(|t| t.lag).max().unwrap_or(0) as f64;
        let waiting = now.sinks.iter().map(|s| s.waiting).fold(0.0, f64::max);
        let limits = &self.limits;
        [
            (failed / all.max(1.0), limits.error_rate),
            (lag, limits.consumer_lag),
            (seconds / records.max(1) as f64, limits.processing_latency.as_secs_f64()),
            (waiting, AWAY),
        ]
    }

    fn crossed(&mut self, metrics: &Metrics, at: usize, (value, limit): (f64, f64)) {
        let (kind, severity) = ALERTS[at];
        self.above[at] = value > limit;
        if self.above[at] {
            metrics.seeds.alerts.add(&[kind, severity], 1);
            tracing::warn!(alert = kind, severity, value, limit, "alert");
        } else {
            tracing::info!(alert = kind, value, limit, "alert is over");
        }
    }
}
