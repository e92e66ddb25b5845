//! One transactional producer and what is known of it: deliveries, and signs that a request may come late.
//!
//! Owned by a committer, which reads what the producer says between its own calls: no other thread is woken for it.
//! Invariant: a producer is clean only if its last transaction committed at the first try and no connection or request
//! of it failed meanwhile. librdkafka shows that in its debug log alone, so the log is read, in order, up to the line
//! that every EndTxn ends with; without that line a producer is not clean.

use super::native::{Events, Message, Said};
use super::statistics::Seen;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use std::time::{Duration, Instant};

/// How long the log may lag behind the call that it speaks of.
const LOG_PATIENCE: Duration = Duration::from_secs(1);
/// What is waited for is looked at so often, whatever is said.
const LOOK: Duration = Duration::from_millis(100);

/// A message that is no checkpoint.
pub(super) const PLAIN: usize = 0;

pub(super) type Client = BaseProducer<Deaf>;

/// What rust-rdkafka itself would tell: only while a producer is dropped, when nothing counts any more.
#[derive(Clone, Copy)]
pub(super) struct Deaf;

impl ClientContext for Deaf {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn stats_raw(&self, _: &[u8]) {}

    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext for Deaf {
    type DeliveryOpaque = usize;

    fn delivery(&self, _: &DeliveryResult<'_>, _: usize) {}
}

/// What a producer has said, and where it says more.
pub(super) struct Watch {
    events: Events,
    told: Told,
}

/// Everything that it told.
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
    seen: Seen,
}

impl Watch {
    /// Of a producer, which must outlive it; `None` if its log cannot be read.
    pub fn new(client: &Client, seen: Seen) -> Option<Watch> {
        Some(Watch { events: Events::of(client.client())?, told: Told { seen, ..Told::default() } })
    }

    /// Hears of what was sent; waits for it, but no longer than so.
    pub fn serve(&mut self, wait: Duration) {
        let told = &mut self.told;
        self.events.serve(wait, |said| told.hear(said));
    }

    /// Reads the log; waits for a line, but no longer than so.
    pub fn serve_log(&mut self, wait: Duration) {
        let told = &mut self.told;
        self.events.serve_log(wait, |said| told.hear(said));
    }

    /// Before the first send of a transaction with so many checkpoints.
    pub fn expect(&mut self, checkpoints: usize) {
        self.told.reports = 0;
        self.told.failed = None;
        self.told.landed = vec![(-1, 0); checkpoints];
    }

    /// WAIT: until all `sent` messages have their report. The first failure, if any did.
    pub fn wait(&mut self, sent: u64) -> Result<(), (KafkaError, String)> {
        while self.told.reports < sent {
            self.serve(LOOK);
        }
        self.told.failed.take().map_or(Ok(()), Err)
    }

    /// Offset and append time of each checkpoint, in the order of the tags.
    pub fn landed(&self) -> Vec<(i64, i64)> {
        self.told.landed.clone()
    }

    /// How often a request met the previous transaction's control records, since the last time asked.
    pub fn take_concurrent(&mut self) -> u64 {
        std::mem::take(&mut self.told.concurrent)
    }

    /// Why the producer must be recycled; asked after its `ended`-th EndTxn was answered, whose line is awaited first.
    pub fn trouble(&mut self, ended: u64) -> Option<String> {
        let until = Instant::now() + LOG_PATIENCE;
        self.serve_log(Duration::ZERO);
        while self.told.lacks(ended) && Instant::now() < until {
            self.serve_log(LOOK);
        }
        self.serve(Duration::ZERO);
        self.told.trouble(ended)
    }
}

/// CONCURRENT_TRANSACTIONS: AddOffsets logs its name, AddPartitions its description.
fn met_the_last_one(text: &str) -> bool {
    text.contains("CONCURRENT_TRANSACTIONS") || text.contains("another concurrent operation")
}

impl Told {
    fn hear(&mut self, said: Said<'_>) {
        match said {
            Said::Report(message, tag) => self.report(&message, tag),
            Said::Log(level, facility, text) => self.log(level, facility, text),
            Said::Statistics(json) => self.seen.statistics(json.as_bytes()),
            Said::Error(code, reason) => {
                let error = KafkaError::Global(code);
                self.seen.produce_error();
                self.in_trouble(&format!("{error}: {reason}"));
                tracing::warn!(target: "librdkafka", %error, "{reason}");
            }
        }
    }

    fn report(&mut self, message: &Message<'_>, tag: usize) {
        self.reports += 1;
        if let Some(code) = message.error() {
            self.seen.produce_error();
            self.failed.get_or_insert_with(|| (KafkaError::MessageProduction(code.into()), message.topic()));
        } else if tag != PLAIN
            && let Some(place) = self.landed.get_mut(tag - 1)
        {
            *place = (message.offset(), message.timestamp().max(0));
        }
    }

    fn log(&mut self, level: i32, facility: &str, text: &str) {
        match facility {
            "ENDTXN" if text.contains("NO_ERROR") => self.ended += 1,
            // FAIL: a connection was lost, whatever was on it. REQTMOUT: a request was given up, its answer may come.
            // The connection that the client began with makes room for the brokers that it found: no request of a
            // transaction ever went over it.
            "FAIL" if text.contains("/bootstrap") && text.contains("_DESTROY_BROKER") => {}
            // The coordinator was found while its connection was being opened without an address: nothing was on it.
            "FAIL" if text.contains("nodename change") && text.contains("in state TRY_CONNECT") => {}
            "ENDTXN" | "FAIL" | "REQTMOUT" => self.in_trouble(&format!("{facility}: {text}")),
            "ADDPARTS" | "ADDOFFSETS" if met_the_last_one(text) => self.concurrent += 1,
            _ => {}
        }
        if level <= RDKafkaLogLevel::Warning as i32 {
            tracing::warn!(target: "librdkafka", facility, "{text}");
        } else {
            tracing::trace!(target: "librdkafka", facility, "{text}");
        }
    }

    fn in_trouble(&mut self, cause: &str) {
        self.trouble.get_or_insert_with(|| cause.to_owned());
    }

    /// Whether the line of the `ended`-th EndTxn is yet to come, and there is no trouble.
    fn lacks(&self, ended: u64) -> bool {
        self.ended < ended && self.trouble.is_none()
    }

    fn trouble(&self, ended: u64) -> Option<String> {
        let silent = || "librdkafka's log did not say how EndTxn ended".to_owned();
        if self.lacks(ended) { Some(silent()) } else { self.trouble.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as librdkafka 2.12 writes them.
    const COMMITTED: &str = "[thrd:main]: EndTxn returned NO_ERROR in state CommittingTransaction (may_retry=false)";
    const LOST: &str = "[thrd:main]: EndTxn returned _TRANSPORT in state CommittingTransaction (may_retry=true)";

    const DEBUG: i32 = RDKafkaLogLevel::Debug as i32;

    fn told(facility: &str, text: &str) -> Told {
        let mut told = Told::default();
        told.log(DEBUG, facility, text);
        told
    }

    #[test]
    fn an_end_without_trouble_leaves_a_producer_clean() {
        assert_eq!(told("ENDTXN", COMMITTED).trouble(1), None);
    }

    #[test]
    fn an_end_that_had_to_be_sent_again_is_trouble_though_the_next_try_commits() {
        let mut heard = told("ENDTXN", LOST);
        heard.log(DEBUG, "ENDTXN", COMMITTED);
        assert!(heard.trouble(1).is_some_and(|cause| cause.contains("_TRANSPORT")));
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
            let mut heard = told(facility, "[thrd:127.0.0.1:9092/1]: 127.0.0.1:9092/1: something happened");
            heard.log(DEBUG, "ENDTXN", COMMITTED);
            assert!(heard.trouble(1).is_some(), "{facility}");
        }
        let mut heard = told("FAIL", "[thrd:b/bootstrap]: b/bootstrap: Closing connection (_DESTROY_BROKER)");
        heard.log(DEBUG, "ENDTXN", COMMITTED);
        assert_eq!(heard.trouble(1), None);
    }

    #[test]
    fn requests_that_met_control_records_are_counted_once() {
        let mut heard = told("ADDPARTS", "AddPartitionsToTxn response: partition \"t\" [0]: CONCURRENT_TRANSACTIONS");
        heard.log(DEBUG, "ADDOFFSETS", "AddOffsetsToTxn failed: CONCURRENT_TRANSACTIONS");
        assert_eq!(heard.concurrent, 2);
    }
}
