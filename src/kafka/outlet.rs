//! What a sink needs of Kafka beside its [`Reader`](super::Reader): where its topic begins, and a producer for dead letters.
//!
//! Called by `sinks/`. Knows nothing of databases.
//! Invariant: `send` says yes only when every record is acknowledged by all replicas in sync.

use super::client::Connection;
use super::ends;
use super::errors::Fault;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tidemill_topology::Outputs;

const PATIENCE: Duration = Duration::from_secs(5);

/// Reports of one `send`.
#[derive(Default)]
struct Told {
    waiting: usize,
    failed: Option<String>,
}

#[derive(Clone, Default)]
struct Reports(Arc<(Mutex<Told>, Condvar)>);

impl Reports {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        if (level as i32) <= RDKafkaLogLevel::Warning as i32 {
            tracing::warn!(target: "librdkafka", facility, "{text}");
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, report: &DeliveryResult<'_>, (): ()) {
        let mut told = self.told();
        told.waiting = told.waiting.saturating_sub(1);
        if let Err((error, _)) = report {
            told.failed.get_or_insert_with(|| error.to_string());
        }
        self.0.1.notify_all();
    }
}

/// See the module. One for each sink, shared by its writers.
pub struct Outlet {
    log: BaseConsumer,
    producer: ThreadedProducer<Reports>,
    reports: Reports,
    /// One `send` at a time, so that reports are of one call.
    turn: Mutex<()>,
}

impl Outlet {
    /// # Errors
    /// A setting that librdkafka refuses.
    pub fn open(connection: &Connection) -> Result<Outlet, Fault> {
        let wrong = |e: KafkaError| Fault::configuration(format!("{e}; check kafka.properties"));
        let reports = Reports::default();
        let producer = connection.letters().create_with_context(reports.clone()).map_err(wrong)?;
        let log = connection.stable().create().map_err(wrong)?;
        Ok(Outlet { log, producer, reports, turn: Mutex::default() })
    }

    /// The first offset that is still there.
    ///
    /// # Errors
    /// The broker does not answer; ask again.
    pub fn first_offset(&self, topic: &str, partition: i32) -> Result<i64, String> {
        let ends = ends::ends(&self.log, (topic, partition), PATIENCE);
        ends.map(|(first, _)| first).map_err(|e| format!("kafka: the start of {topic}/{partition}: {e}"))
    }

    /// Sends these records and waits for them.
    ///
    /// # Errors
    /// One of them was not acknowledged: some may be there, so a repeated call may write them again.
    pub fn send(&self, records: &Outputs) -> Result<(), String> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut told = self.reports.told();
            *told = Told { waiting: records.len(), failed: None };
        }
        for out in records.iter() {
            let mut record = BaseRecord::to(out.topic).timestamp(out.timestamp);
            (record.partition, record.key, record.payload) = (out.partition, out.key, out.value);
            let headers = OwnedHeaders::new_with_capacity(out.headers.len());
            let all = out.headers.iter().fold(headers, |h, (key, value)| h.insert(Header { key, value: *value }));
            record.headers = Some(all);
            self.produce(record)?;
        }
        let mut told = self.reports.told();
        // Every record has its report in the end, for `delivery.timeout.ms` bounds its life.
        while told.waiting > 0 {
            told = self.reports.0.1.wait(told).unwrap_or_else(PoisonError::into_inner);
        }
        told.failed.take().map_or(Ok(()), |error| Err(format!("kafka: a dead letter was not taken: {error}")))
    }

    fn produce(&self, record: BaseRecord<'_, [u8], [u8]>) -> Result<(), String> {
        let mut record = record;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    std::thread::sleep(Duration::from_millis(1));
                    record = again;
                }
                Err((error, _)) => {
                    // What was sent before still has its reports to come: nobody may count them for the next call.
                    drop(self.producer.flush(PATIENCE * 8));
                    return Err(format!("kafka: a dead letter cannot be sent: {error}"));
                }
            }
        }
    }
}
