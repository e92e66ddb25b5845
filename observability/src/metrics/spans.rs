//! What became of the spans of this process: an exporter must not stall anybody, so it drops, and that is to be seen.
//!
//! Read from the tracer's own counters when gauges are written. Invariant: all fates stand at 0 from the start, tracing on
//! or off.

use super::kinds::{Count, Level, Maker, NONE};
use crate::trace;

const FATES: [&str; 4] = ["exported", "dropped", "failed", "left_out"];

#[derive(Clone)]
pub struct Spans {
    fates: Count,
    waiting: Level,
}

impl Spans {
    pub(super) fn new(m: &mut Maker) -> Spans {
        m.subject("Traces");
        let spans = Spans {
            fates: m.count("tidemill_trace_spans_total", &["fate"], "Spans: exported, dropped (the queue was full), failed (the collector did not take them), left_out (a bound was reached before one was made)."),
            waiting: m.level("tidemill_trace_spans_waiting", NONE, "Spans that wait for the collector."),
        };
        spans.look();
        spans
    }

    pub(super) fn look(&self) {
        let now = trace::counts();
        for (fate, count) in FATES.into_iter().zip([now.exported, now.dropped, now.failed, now.left_out]) {
            self.fates.add(&[fate], count.saturating_sub(self.fates.value(&[fate])));
        }
        self.waiting.set(NONE, now.waiting as f64);
    }
}
