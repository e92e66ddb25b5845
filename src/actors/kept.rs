//! Results that their topic does not keep: brokers delete by the time that a record bears, and a result bears that of
//! its events. So an old event's result may be gone minutes after it was committed, and nobody else would say so.
//!
//! Called by committer threads through the tally. Knows what brokers said at the start about retention, never why.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tidemill_observability::metrics::Metrics;
use tidemill_topology::Outputs;

/// Of each output with a bound: how long it keeps records, and whether the log has been told that one is older.
#[derive(Debug, Default)]
pub struct Kept {
    topics: BTreeMap<String, (i64, AtomicBool)>,
    /// The least of them, ms.
    shortest: Option<i64>,
}

impl Kept {
    /// `retention`: ms by topic, of those that delete by their records' own times.
    pub fn new(retention: BTreeMap<String, i64>) -> Kept {
        let shortest = retention.values().copied().min();
        let topics = retention.into_iter().map(|(topic, ms)| (topic, (ms, AtomicBool::default()))).collect();
        Kept { topics, shortest }
    }

    /// What of these results was too old for its topic when it was committed; `now`: ms since 1970.
    pub fn count(&self, metrics: &Metrics, outputs: &Outputs, now: i64) {
        let Some(shortest) = self.shortest else { return };
        for (topic, time) in outputs.times().filter(|(_, time)| *time < now - shortest) {
            let Some((ms, told)) = self.topics.get(&**topic).filter(|(ms, _)| time < now - ms) else { continue };
            metrics.lanes.past_retention.add(&[topic], 1);
            if !told.swap(true, Ordering::Relaxed) {
                tell(topic, time, *ms);
            }
        }
    }
}

fn tell(topic: &Arc<str>, time: i64, retention_ms: i64) {
    let remedy = "set retention.ms=-1 on the topic, or 'topics: { keep: forever }' before it is made, and read them again with 'tidemill reset'";
    tracing::warn!(
        topic = &**topic,
        time,
        retention_ms,
        remedy,
        "results are older than their topic keeps: the broker deletes them"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter;
    use tidemill_observability::metrics::About;
    use tidemill_topology::Alerts;

    const DAY: i64 = 86_400_000;

    fn about() -> About {
        let empty = String::new;
        About { app: empty(), instance: empty(), version: empty(), librdkafka: empty(), rocksdb: empty() }
    }

    fn counted(retention: &[(&str, i64)], results: &[(&str, i64)]) -> Vec<u64> {
        let metrics = Metrics::new(&about(), &meter::limits(&Alerts::default()));
        let kept = Kept::new(retention.iter().map(|(t, ms)| ((*t).to_owned(), *ms)).collect());
        let mut outputs = Outputs::default();
        for (topic, time) in results {
            outputs.push((&Arc::from(*topic), None), *time, None, None);
        }
        kept.count(&metrics, &outputs, 100 * DAY);
        ["week", "day", "forever"].map(|topic| metrics.lanes.past_retention.value(&[topic])).to_vec()
    }

    #[test]
    fn each_topic_has_its_own_bound_and_one_kept_forever_has_none() {
        let results: Vec<(&str, i64)> =
            ["week", "day", "forever"].iter().flat_map(|t| [90, 95, 100].map(|day| (*t, day * DAY))).collect();
        assert_eq!(counted(&[("week", 7 * DAY), ("day", DAY)], &results), [1, 2, 0]);
        assert_eq!(counted(&[], &results), [0, 0, 0]);
    }

    #[test]
    fn what_is_as_old_as_the_bound_is_still_kept() {
        assert_eq!(counted(&[("week", 7 * DAY)], &[("week", 93 * DAY)]), [0, 0, 0]);
        assert_eq!(counted(&[("week", 7 * DAY)], &[("week", 93 * DAY - 1)]), [1, 0, 0]);
    }
}
