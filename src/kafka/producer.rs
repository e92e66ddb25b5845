//! One transactional producer and what is known of it: deliveries, and signs that a request may come late.
//!
//! Owned by a committer; its callbacks run on rdkafka's polling thread.
//! Invariant: a producer is clean only if its last transaction committed at the first try and no connection or request
//! of it failed meanwhile. librdkafka shows that in its debug log alone, so the log is read, in order, up to the line
//! that every EndTxn ends with; without that line a producer is not clean.

use super::statistics::Seen;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{ProducerContext, ThreadedProducer};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the log may lag behind the call that it speaks of.
const LOG_PATIENCE: Duration = Duration::from_secs(1);

/// A message that is no checkpoint.
pub(super) const PLAIN: usize = 0;

pub(super) type Client = ThreadedProducer<Watch>;

/// Everything that callbacks tell.
#[derive(Default)]
struct Told {
    reports: u64,
    failed: Option<(KafkaError, String)>,
    /// Offset and append time of each checkpoint, by its tag less one.
    landed: Vec<(i64, i64)>,
    /// EndTxn answers without an error.
    ended: u64,
    /// Why this producer is not clean.
    trouble: Option<String>,
    concurrent: u64,
}

/// The context of a producer: shared with its callbacks.
#[derive(Clone, Default)]
pub(super) struct Watch(Arc<(Mutex<Told>, Condvar)>, Seen);

impl Watch {
    pub fn new(seen: Seen) -> Watch {
        Watch(Arc::default(), seen)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before the first send of a transaction with so many checkpoints.
    pub fn expect(&self, checkpoints: usize) {
        let mut told = self.told();
        told.reports = 0;
        told.failed = None;
        told.landed = vec![(-1, 0); checkpoints];
    }

    /// WAIT: until all `sent` messages have their report. The first failure, if any did.
    pub fn wait(&self, sent: u64) -> Result<(), (KafkaError, String)> {
        let mut told = self.told();
        while told.reports < sent {
            told = self.0.1.wait(told).unwrap_or_else(PoisonError::into_inner);
        }
        told.failed.take().map_or(Ok(()), Err)
    }

    /// Offset and append time of each checkpoint, in the order of the tags.
    pub fn landed(&self) -> Vec<(i64, i64)> {
        self.told().landed.clone()
    }

    /// How often a request met the previous transaction's control records, since the last time asked.
    pub fn take_concurrent(&self) -> u64 {
        std::mem::take(&mut self.told().concurrent)
    }

    /// Why the producer must be recycled; asked after its `ended`-th EndTxn was answered, whose line is awaited first.
    pub fn trouble(&self, ended: u64) -> Option<String> {
        let until = Instant::now() + LOG_PATIENCE;
        let mut told = self.told();
        while told.ended < ended && told.trouble.is_none() {
            let Some(left) = until.checked_duration_since(Instant::now()) else {
                return Some("librdkafka's log did not say how EndTxn ended".to_owned());
            };
            told = self.0.1.wait_timeout(told, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        told.trouble.clone()
    }

    fn note_trouble(&self, cause: &str) {
        self.told().trouble.get_or_insert_with(|| cause.to_owned());
        self.0.1.notify_all();
    }
}

/// CONCURRENT_TRANSACTIONS: AddOffsets logs its name, AddPartitions its description.
fn met_the_last_one(text: &str) -> bool {
    text.contains("CONCURRENT_TRANSACTIONS") || text.contains("another concurrent operation")
}

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        match facility {
            "ENDTXN" if text.contains("NO_ERROR") => {
                self.told().ended += 1;
                self.0.1.notify_all();
            }
            // FAIL: a connection was lost, whatever was on it. REQTMOUT: a request was given up, its answer may come.
            // The connection that the client began with makes room for the brokers that it found: no request of a
            // transaction ever went over it.
            "FAIL" if text.contains("/bootstrap") && text.contains("_DESTROY_BROKER") => {}
            // The coordinator was found while its connection was being opened without an address: nothing was on it.
            "FAIL" if text.contains("nodename change") && text.contains("in state TRY_CONNECT") => {}
            "ENDTXN" | "FAIL" | "REQTMOUT" => self.note_trouble(&format!("{facility}: {text}")),
            "ADDPARTS" | "ADDOFFSETS" if met_the_last_one(text) => self.told().concurrent += 1,
            _ => {}
        }
        if (level as i32) <= RDKafkaLogLevel::Warning as i32 {
            tracing::warn!(target: "librdkafka", facility, "{text}");
        } else {
            tracing::trace!(target: "librdkafka", facility, "{text}");
        }
    }

    fn stats_raw(&self, json: &[u8]) {
        self.1.statistics(json);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.1.produce_error();
        self.note_trouble(&format!("{error}: {reason}"));
        tracing::warn!(target: "librdkafka", %error, "{reason}");
    }
}

impl ProducerContext for Watch {
    type DeliveryOpaque = usize;

    fn delivery(&self, report: &DeliveryResult<'_>, tag: usize) {
        let mut told = self.told();
        match report {
            Ok(message) => {
                if tag != PLAIN
                    && let Some(place) = told.landed.get_mut(tag - 1)
                {
                    *place = (message.offset(), message.timestamp().to_millis().unwrap_or(0));
                }
            }
            Err((error, message)) => {
                self.1.produce_error();
                let topic = message.topic().to_owned();
                told.failed.get_or_insert_with(|| (error.clone(), topic));
            }
        }
        told.reports += 1;
        self.0.1.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as librdkafka 2.12 writes them.
    const COMMITTED: &str = "[thrd:main]: EndTxn returned NO_ERROR in state CommittingTransaction (may_retry=false)";
    const LOST: &str = "[thrd:main]: EndTxn returned _TRANSPORT in state CommittingTransaction (may_retry=true)";

    fn told(facility: &str, text: &str) -> Watch {
        let watch = Watch::default();
        watch.log(RDKafkaLogLevel::Debug, facility, text);
        watch
    }

    #[test]
    fn an_end_without_trouble_leaves_a_producer_clean() {
        assert_eq!(told("ENDTXN", COMMITTED).trouble(1), None);
    }

    #[test]
    fn an_end_that_had_to_be_sent_again_is_trouble_though_the_next_try_commits() {
        let watch = told("ENDTXN", LOST);
        watch.log(RDKafkaLogLevel::Debug, "ENDTXN", COMMITTED);
        assert!(watch.trouble(1).is_some_and(|cause| cause.contains("_TRANSPORT")));
    }

    #[test]
    fn a_log_without_the_line_of_the_end_is_trouble() {
        // The line of the first transaction does not speak for the second.
        assert!(told("ENDTXN", COMMITTED).trouble(2).is_some());
        assert!(told("EOS", COMMITTED).trouble(1).is_some());
    }

    #[test]
    fn lost_connections_and_late_requests_are_trouble() {
        for facility in ["FAIL", "REQTMOUT"] {
            let watch = told(facility, "[thrd:127.0.0.1:9092/1]: 127.0.0.1:9092/1: something happened");
            watch.log(RDKafkaLogLevel::Debug, "ENDTXN", COMMITTED);
            assert!(watch.trouble(1).is_some(), "{facility}");
        }
        let watch = told("FAIL", "[thrd:b/bootstrap]: b/bootstrap: Closing connection (_DESTROY_BROKER)");
        watch.log(RDKafkaLogLevel::Debug, "ENDTXN", COMMITTED);
        assert_eq!(watch.trouble(1), None);
    }

    #[test]
    fn requests_that_met_control_records_are_counted_once() {
        let watch = told("ADDPARTS", "AddPartitionsToTxn response: partition \"t\" [0]: CONCURRENT_TRANSACTIONS");
        watch.log(RDKafkaLogLevel::Debug, "ADDOFFSETS", "AddOffsetsToTxn failed: CONCURRENT_TRANSACTIONS");
        assert_eq!((watch.take_concurrent(), watch.take_concurrent()), (2, 0));
    }
}
