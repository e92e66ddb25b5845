//! librdkafka's own figures: its statistics, read for the few that are shown, and its errors, counted.
//!
//! Held by the contexts of clients, whose callbacks bring both. Knows nothing of what clients do.
//! Invariant: a client without a name is shown to nobody, and costs nothing.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tidemill_observability::metrics::{Count, Figures, Metrics};

/// Between two statistics.
pub(super) const EVERY_MS: &str = "5000";

/// Where a client's figures and errors go.
#[derive(Clone, Debug, Default)]
pub struct Seen(Option<Arc<Named>>);

#[derive(Debug)]
struct Named {
    metrics: Metrics,
    client: String,
    before: Mutex<Figures>,
}

/// What is read of the JSON.
#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    msg_cnt: u64,
    #[serde(default)]
    msg_size: u64,
    #[serde(default)]
    brokers: BTreeMap<String, Broker>,
    #[serde(default)]
    topics: BTreeMap<String, Topic>,
}

#[derive(Deserialize)]
struct Broker {
    nodeid: i64,
    state: String,
    #[serde(default)]
    outbuf_cnt: i64,
    #[serde(default)]
    waitresp_cnt: i64,
    #[serde(default)]
    txerrs: u64,
    #[serde(default)]
    rxerrs: u64,
    #[serde(default)]
    req_timeouts: u64,
    #[serde(default)]
    disconnects: u64,
    #[serde(default)]
    rtt: Window,
}

/// Microseconds.
#[derive(Deserialize, Default)]
struct Window {
    #[serde(default)]
    avg: u64,
}

#[derive(Deserialize)]
struct Topic {
    #[serde(default)]
    partitions: BTreeMap<String, Partition>,
}

#[derive(Deserialize)]
struct Partition {
    #[serde(default)]
    fetchq_cnt: u64,
    #[serde(default)]
    fetchq_size: u64,
}

impl Seen {
    /// A client of this name is shown.
    pub fn new(metrics: &Metrics, client: impl Into<String>) -> Seen {
        Seen(Some(Arc::new(Named { metrics: metrics.clone(), client: client.into(), before: Mutex::default() })))
    }

    /// Another client of the same process.
    pub(super) fn of(&self, client: String) -> Seen {
        self.0.as_ref().map_or_else(Seen::default, |named| Seen::new(&named.metrics, client))
    }

    pub(super) fn statistics(&self, json: &[u8]) {
        let Some(named) = &self.0 else { return };
        let Ok(statistics) = serde_json::from_slice::<Statistics>(json) else { return };
        let now = statistics.figures();
        let before = std::mem::replace(&mut *named.before.lock().unwrap_or_else(PoisonError::into_inner), now);
        named.metrics.clients.show(&named.client, &now, &before);
    }

    pub(super) fn produce_error(&self) {
        self.count(|metrics| &metrics.seeds.produce_errors);
    }

    pub(super) fn consume_error(&self) {
        self.count(|metrics| &metrics.seeds.consume_errors);
    }

    fn count(&self, which: impl Fn(&Metrics) -> &Count) {
        self.0.iter().for_each(|named| which(&named.metrics).add(&[], 1));
    }

    /// Partitions that wait for a place in a mailbox.
    pub(super) fn paused(&self, partitions: usize) {
        self.0.iter().for_each(|named| named.metrics.tasks.paused.set(&[&named.client], partitions as f64));
    }
}

impl Statistics {
    fn figures(&self) -> Figures {
        let partitions = || self.topics.values().flat_map(|topic| topic.partitions.values());
        // The connections that a client begins with, and that to its coordinator, have no number of their own.
        let real = || self.brokers.values().filter(|broker| broker.nodeid >= 0);
        let sum = |of: fn(&Broker) -> u64| self.brokers.values().map(of).sum();
        Figures {
            brokers_up: real().filter(|broker| broker.state == "UP").count() as u64,
            requests: sum(|b| (b.outbuf_cnt.max(0) + b.waitresp_cnt.max(0)) as u64),
            round_trip: real().map(|b| b.rtt.avg).max().unwrap_or(0) as f64 / 1e6,
            queued: self.msg_cnt + partitions().map(|p| p.fetchq_cnt).sum::<u64>(),
            queued_bytes: self.msg_size + partitions().map(|p| p.fetchq_size).sum::<u64>(),
            timeouts: sum(|b| b.req_timeouts),
            errors: sum(|b| b.txerrs + b.rxerrs),
            disconnects: sum(|b| b.disconnects),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_what_librdkafka_writes() {
        let json = r#"{ "name": "c", "msg_cnt": 2, "msg_size": 20, "unknown": [1],
            "brokers": { "b/1": { "nodeid": 1, "state": "UP", "outbuf_cnt": 1, "waitresp_cnt": 3, "txerrs": 1, "rxerrs": 2,
                "req_timeouts": 4, "disconnects": 5, "rtt": { "min": 1, "avg": 1500 } },
              "b/bootstrap": { "nodeid": -1, "state": "UP", "outbuf_cnt": -1, "rtt": { "avg": 99000000 } } },
            "topics": { "t": { "partitions": { "0": { "fetchq_cnt": 7, "fetchq_size": 70 }, "-1": { "fetchq_cnt": 0 } } } } }"#;
        let wanted = Figures {
            brokers_up: 1,
            requests: 4,
            round_trip: 0.0015,
            queued: 9,
            queued_bytes: 90,
            timeouts: 4,
            errors: 3,
            disconnects: 5,
        };
        assert_eq!(serde_json::from_str::<Statistics>(json).unwrap().figures(), wanted);
    }
}
