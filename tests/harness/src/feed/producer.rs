//! Sends a feed in a thread of its own, as fast as it is allowed to. Knows rdkafka; the driver sets the pace.
//! Invariant: it ends well only when every record was acknowledged by all replicas in sync.

use super::{Feed, FeedRecord, Plan};
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How far the feeder may go, and how far it went.
#[derive(Debug, Default)]
pub struct Pace {
    allowed: AtomicU64,
    sent: AtomicU64,
    failed: AtomicU64,
    is_cancelled: AtomicBool,
}

impl Pace {
    /// Records that may have been sent by now; never fewer than before.
    pub fn allow(&self, records: u64) {
        self.allowed.fetch_max(records, Ordering::Relaxed);
    }

    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

struct Reports(Arc<Pace>);

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

pub struct Feeder {
    pub pace: Arc<Pace>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Feeder {
    pub fn start(bootstrap: &str, topic: &str, plan: Plan) -> Feeder {
        let pace = Arc::new(Pace::default());
        let work = (bootstrap.to_owned(), topic.to_owned(), pace.clone());
        let thread = std::thread::spawn(move || run(&work.0, &work.1, plan, &work.2));
        Feeder { pace, thread: Some(thread) }
    }

    /// All was sent, or it failed: `finish` says which.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Sends the rest without a pace and waits for it.
    pub fn finish(mut self) -> Result<(), String> {
        self.pace.allow(u64::MAX);
        let thread = self.thread.take().expect("taken here only");
        thread.join().map_err(|_| "the feeder panicked".to_owned())?
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.pace.is_cancelled.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn run(bootstrap: &str, topic: &str, plan: Plan, pace: &Arc<Pace>) -> Result<(), String> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("client.id", "feed").set("enable.idempotence", "true");
    // Without limit: a record given up in the middle would make the input another one than the seed says.
    config.set("message.timeout.ms", "0").set("linger.ms", "5").set("compression.type", "lz4");
    let producer: ThreadedProducer<Reports> =
        config.create_with_context(Reports(pace.clone())).map_err(|e| format!("feed: {e}"))?;
    for record in Feed::new(plan) {
        while record.number >= pace.allowed.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
            if pace.is_cancelled.load(Ordering::Relaxed) {
                return Err("feed: cancelled".to_owned());
            }
        }
        send(&producer, topic, &record, pace)?;
        pace.sent.fetch_add(1, Ordering::Relaxed);
    }
    producer.flush(Duration::from_secs(120)).map_err(|e| format!("feed: not all records arrived: {e}"))?;
    match pace.failed.load(Ordering::Relaxed) {
        0 => Ok(()),
        n => Err(format!("feed: {n} records were refused")),
    }
}

fn send(producer: &ThreadedProducer<Reports>, topic: &str, record: &FeedRecord, pace: &Pace) -> Result<(), String> {
    let number = record.number.to_string();
    let headers = OwnedHeaders::new().insert(Header { key: "number", value: Some(&number) });
    let mut message = BaseRecord::to(topic).partition(record.partition).headers(headers);
    if let Some(key) = &record.key {
        message = message.key(key);
    }
    if let Some(value) = &record.value {
        message = message.payload(value);
    }
    loop {
        match producer.send(message) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => message = back,
            Err((error, _)) => return Err(format!("feed: record {}: {error}", record.number)),
        }
        if pace.is_cancelled.load(Ordering::Relaxed) {
            return Err("feed: cancelled".to_owned());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
