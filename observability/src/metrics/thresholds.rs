//! What counts as too much: thresholds, as gauges that the alert rules read.
//!
//! Set once at the start, from the topology's section `alerts`. Invariant: a rule holds no number that a user would want
//! to change; it reads it here.

use super::kinds::{Level, Maker, NONE};

/// As the section `alerts` says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    pub error_rate: f64,
    pub consumer_lag: f64,
    /// Seconds, as all of the following.
    pub processing_latency: f64,
    pub freshness: f64,
    /// Share of time in which that must hold.
    pub objective: f64,
    pub restore: f64,
    pub clock_skew: f64,
    pub sink: f64,
    /// A share of all records.
    pub dead_letters: f64,
}

pub(super) fn export(m: &mut Maker, limits: &Limits) {
    m.subject("Thresholds (the section alerts of the topology)");
    let all: [(&'static str, f64, &'static str); 9] = [
        (
            "tidemill_alert_error_rate_threshold",
            limits.error_rate,
            "Share of failed records above which HighErrorRate fires.",
        ),
        (
            "tidemill_alert_consumer_lag_threshold",
            limits.consumer_lag,
            "Offsets behind above which HighConsumerLag fires.",
        ),
        (
            "tidemill_alert_processing_latency_threshold_seconds",
            limits.processing_latency,
            "Latency above which HighProcessingLatency fires.",
        ),
        ("tidemill_freshness_target_seconds", limits.freshness, "A task further behind is stale."),
        ("tidemill_freshness_objective_ratio", limits.objective, "Share of looks at which tasks are to be fresh."),
        ("tidemill_restore_threshold_seconds", limits.restore, "A restore that takes longer fires RestoreTooLong."),
        ("tidemill_clock_skew_threshold_seconds", limits.clock_skew, "A larger difference of clocks fires ClockSkew."),
        ("tidemill_sink_stalled_threshold_seconds", limits.sink, "A sink that waits longer fires SinkStalled."),
        (
            "tidemill_dead_letter_ratio_threshold",
            limits.dead_letters,
            "Share of dead letters above which DeadLetterSurge fires.",
        ),
    ];
    for (name, value, help) in all {
        let gauge: Level = m.level(name, NONE, help);
        gauge.set(NONE, value);
    }
}
