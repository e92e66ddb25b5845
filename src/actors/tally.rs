//! What a committed transaction adds to the metrics: once a transaction and once a task in it, never once a record.
//!
//! Called by committer threads. Knows which topics hold results by `event_type`, and nothing else of the topology.
//! Invariant: what counts as processed, failed or dead is committed.

use super::kept::Kept;
use super::worked::Worked;
use crate::clock;
use crate::exactly_once::{Landed, Outcome};
use crate::kafka::Timings;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tidemill_observability::metrics::{Metrics, OUTCOMES};
use tidemill_topology::dead_letters::CODES;
use tidemill_topology::{Counts, Sealed, Topology};

/// What the keys of results by event type alone begin with.
const BY_EVENT_TYPE: &[u8] = b"{\"event_type\":\"";

pub struct Tally {
    /// Topics of results: those that hold no copies.
    results: BTreeSet<Arc<str>>,
    /// Topics between two stages.
    between: BTreeSet<Arc<str>>,
    kept: Kept,
}

impl Tally {
    /// What can happen stands at 0 from now on. `retention`: of outputs that brokers delete by time, ms.
    pub fn new(topology: &Topology, retention: BTreeMap<String, i64>, metrics: &Metrics) -> Tally {
        for stage in &topology.stages {
            OUTCOMES.iter().for_each(|outcome| metrics.tasks.records.add(&[&stage.name, outcome], 0));
            if !stage.takes_partials() {
                metrics.seeds.bytes.add(&["in", "consumer", &stage.topic], 0);
                CODES.iter().for_each(|code| metrics.seeds.failed.add(&[code, &stage.topic], 0));
            }
        }
        CODES.iter().chain(&["late", "sink-row"]).for_each(|code| metrics.seeds.dead.add(&[code], 0));
        topology.outputs.iter().for_each(|o| metrics.lanes.past_retention.add(&[&o.name], 0));
        let results = topology.outputs.iter().filter(|o| !o.copy).map(|o| o.name.clone()).collect();
        let between = topology.repartitions.iter().map(|r| r.topic.clone()).collect();
        Tally { results, between, kept: Kept::new(retention) }
    }

    /// However it ended.
    pub fn ended(&self, metrics: &Metrics, outcome: &Outcome, recycled: u64) {
        let word = match outcome {
            Outcome::Committed(_) => "committed",
            Outcome::Aborted(_) => "aborted",
            Outcome::Unknown(_) => "unknown",
            Outcome::Fenced(_) => "fenced",
            Outcome::Fatal(_) => "fatal",
        };
        metrics.lanes.transactions.add(&[word], 1);
        metrics.lanes.recycles.add(&[], recycled);
    }

    /// It committed: where its time went, and what it carried.
    pub fn transaction(&self, metrics: &Metrics, t: &Timings, sealed: &[Sealed], landed: &[Landed]) {
        let lanes = &metrics.lanes;
        for (phase, took) in [("send", t.send), ("wait", t.wait), ("offsets", t.offsets), ("commit", t.commit)] {
            lanes.phases.observe(phase, took.as_secs_f64(), 1);
        }
        lanes.concurrent.add(&[], t.concurrent);
        lanes.sent_records.add(&[], t.records);
        lanes.sent_bytes.add(&[], sealed.iter().map(Sealed::bytes).sum::<usize>() as u64);
        // The broker appended it between the first send and the last delivery.
        let ago = (t.send + t.wait) / 2 + t.offsets + t.commit;
        if let Some(appended) = landed.iter().map(|l| l.append_time).filter(|ms| *ms > 0).max() {
            lanes.skew.set(&[], skew(appended, clock::now(), ago));
        }
        sealed.iter().for_each(|task| self.kept.count(metrics, &task.outputs, clock::now()));
    }

    /// A task's values are in its store.
    pub fn task(&self, metrics: &Metrics, sealed: &Sealed, worked: &Worked) {
        let (stage, (before, now)) = (&*sealed.task.stage, worked.counts);
        let more = |of: fn(&Counts) -> u64| of(&now).saturating_sub(of(&before));
        let (input, dead) = (more(|c| c.input), more(|c| c.dead));
        let outcomes = [more(|c| c.output), more(|c| c.filtered), more(|c| c.duplicate), more(|c| c.late), dead];
        for (word, count) in ["out", "filtered", "duplicate", "late", "dead"].into_iter().zip(outcomes) {
            metrics.tasks.records.add(&[stage, word], count);
        }
        metrics.tasks.records.add(&[stage, "in"], input);
        metrics.tasks.cache.add(&["hit"], worked.lookups.0);
        metrics.tasks.cache.add(&["miss"], worked.lookups.1);
        metrics.tasks.forgotten.add(&[], worked.forgotten);
        metrics.seeds.aggregation.observe("", worked.seal.as_secs_f64(), 1);
        self.results_of(metrics, sealed);
        if self.between.contains(&sealed.task.topic) {
            return;
        }
        metrics.seeds.processed.add(&[], input.saturating_sub(dead));
        if input > 0 {
            metrics.seeds.last_event.set(&[], clock::now() as f64 / 1000.0);
        }
        for (code, count) in &worked.dead {
            metrics.seeds.dead.add(&[code], *count);
            if *code != "late" {
                metrics.seeds.failed.add(&[code, &sealed.task.topic], *count);
            }
        }
        for (arrived, records) in &worked.arrivals {
            metrics.seeds.processing.observe("", arrived.elapsed().as_secs_f64(), *records);
        }
    }

    fn results_of(&self, metrics: &Metrics, sealed: &Sealed) {
        for (topic, key) in sealed.outputs.keys() {
            let value = key.and_then(|key| key.strip_prefix(BY_EVENT_TYPE)).filter(|_| self.results.contains(topic));
            let Some(value) = value else { continue };
            let end = value.iter().position(|b| *b == b'"').unwrap_or(value.len());
            let label = metrics.label_of_event_type(&String::from_utf8_lossy(&value[..end]));
            metrics.seeds.created.add(&[&label], 1);
        }
    }
}

/// Seconds by which the broker's clock is ahead of ours, which says `now` so long after the broker's was read.
fn skew(appended: i64, now: i64, ago: Duration) -> f64 {
    (appended - now) as f64 / 1000.0 + ago.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_agree_have_no_skew() {
        assert!(skew(1_000_000, 1_000_030, Duration::from_millis(30)).abs() < 1e-9);
        assert!((skew(1_005_000, 1_000_000, Duration::ZERO) - 5.0).abs() < 1e-9);
    }
}
