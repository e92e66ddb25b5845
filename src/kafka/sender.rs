//! A plain producer: keyed records to one topic, each acknowledged by all replicas, in order, none twice.
//!
//! Called by `cli/simulate.rs`. Has nothing to do with lanes and their transactions.
//! Invariant: `flush` is Ok only if every record that was sent is in the topic.

use super::broker;
use super::client::Connection;
use super::errors::Fault;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);
const FLUSH: Duration = Duration::from_secs(60);
/// How long a full queue is served before it is tried again.
const FULL: Duration = Duration::from_millis(10);

/// The first delivery that failed, and who hears of every error.
struct Deliveries(Mutex<Option<KafkaError>>, Box<dyn Fn() + Send + Sync>);

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(target: "librdkafka", ?level, facility, "{text}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        (self.1)();
        tracing::warn!(target: "librdkafka", %error, "{reason}");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, report: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = report {
            (self.1)();
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.clone());
        }
    }
}

/// A producer for one topic.
pub struct Sender {
    producer: BaseProducer<Deliveries>,
    topic: String,
}

impl Sender {
    /// `errors` is called at each error.
    ///
    /// # Errors
    /// No broker answers, a property is wrong, or the topic is not there: it is never created here.
    pub fn open(connection: &Connection, topic: &str, errors: Box<dyn Fn() + Send + Sync>) -> Result<Sender, Fault> {
        broker::reach(connection)?;
        let wrong = |e: KafkaError| Fault::configuration(format!("{e}; check the properties"));
        let producer: BaseProducer<Deliveries> =
            connection.plain_producer().create_with_context(Deliveries(Mutex::default(), errors)).map_err(wrong)?;
        let metadata = producer.client().fetch_metadata(Some(topic), PATIENCE);
        let metadata = metadata.map_err(|e| Fault::failed(format!("metadata of {topic}: {e}; is the broker up?")))?;
        if metadata.topics().iter().all(|t| t.error().is_some() || t.partitions().is_empty()) {
            let remedy = format!("create it: kafka-topics --create --topic {topic} --partitions 3");
            let cause = format!("topic {topic} is not there at {}", connection.brokers);
            return Err(Fault::configuration(format!("{cause}; {remedy}, or name another")));
        }
        Ok(Sender { producer, topic: topic.to_owned() })
    }

    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Takes a record; waits while the queue is full. `timestamp` in ms since 1970, and headers.
    ///
    /// # Errors
    /// This record, or an earlier one, cannot be delivered.
    pub fn send(&self, key: &[u8], value: &[u8], (timestamp, headers): (i64, &[(&str, &str)])) -> Result<(), Fault> {
        loop {
            // 0 would mean "now" to librdkafka.
            let mut record = BaseRecord::to(&self.topic).key(key).payload(value).timestamp(timestamp.max(1));
            if !headers.is_empty() {
                let all = OwnedHeaders::new_with_capacity(headers.len());
                let all = headers.iter().fold(all, |h, (key, value)| h.insert(Header { key, value: Some(*value) }));
                record = record.headers(all);
            }
            match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => self.producer.poll(FULL),
                Err((error, _)) => return Err(self.undelivered(&error)),
            };
        }
        self.serve(Duration::ZERO)
    }

    /// Serves deliveries for a while.
    ///
    /// # Errors
    /// A record cannot be delivered.
    pub fn serve(&self, wait: Duration) -> Result<(), Fault> {
        self.producer.poll(wait);
        let failed = self.producer.context().0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        failed.map_or(Ok(()), |error| Err(self.undelivered(&error)))
    }

    /// Waits until everything is delivered.
    ///
    /// # Errors
    /// Something was not.
    pub fn flush(&self) -> Result<(), Fault> {
        self.producer.flush(FLUSH).map_err(|e| self.undelivered(&e))?;
        self.serve(Duration::ZERO)
    }

    fn undelivered(&self, error: &KafkaError) -> Fault {
        let remedy = "check the topic, this user's rights and the brokers; records before it may be there";
        Fault::failed(format!("a record for {} was not delivered: {error}; {remedy}", self.topic))
    }
}
