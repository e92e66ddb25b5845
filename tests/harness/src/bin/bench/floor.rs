//! The least that a transaction costs on this broker: a bare librdkafka producer that does what the protocol needs and no
//! more. Called by `commit.rs`. Invariant: its calls stand in the program's order (records, all delivered, offsets,
//! commit) and under the same settings, or the comparison says nothing.

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

#[derive(Clone, Default)]
struct Reports(Arc<(Mutex<u64>, Condvar)>, Arc<AtomicU64>);

impl ClientContext for Reports {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, text: &str) {
        // AddOffsets logs the error's name, AddPartitions its description.
        let met = text.contains("CONCURRENT_TRANSACTIONS") || text.contains("another concurrent operation");
        if met && matches!(facility, "ADDPARTS" | "ADDOFFSETS") {
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.1.notify_all();
    }
}

/// One transaction, ms.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    pub whole: f64,
    pub wait: f64,
    pub offsets: f64,
    pub commit: f64,
    pub concurrent: bool,
}

/// A consumer of the input and a transactional producer, nothing between them.
pub struct Floor {
    producer: ThreadedProducer<Reports>,
    reports: Reports,
    consumer: Arc<BaseConsumer>,
    input: String,
    output: String,
    partitions: i32,
    positions: Arc<Mutex<BTreeMap<i32, i64>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Floor {
    /// Waits until the consumer has the whole input and the producer is ready.
    pub fn open(bootstrap: &str, (input, output): (&str, &str), partitions: i32) -> Result<Floor, String> {
        let failed = |e: rdkafka::error::KafkaError| format!("floor: {e}");
        let mut reading = ClientConfig::new();
        reading.set("bootstrap.servers", bootstrap).set("group.id", "floor").set("enable.auto.commit", "false");
        reading.set("isolation.level", "read_committed");
        let consumer: Arc<BaseConsumer> = Arc::new(reading.create().map_err(failed)?);
        consumer.subscribe(&[input]).map_err(failed)?;
        let mut writing = ClientConfig::new();
        writing.set("bootstrap.servers", bootstrap).set("transactional.id", "floor").set("linger.ms", "0");
        writing.set("retry.backoff.ms", "1").set("compression.type", "lz4").set("debug", "eos,broker");
        writing.set_log_level(RDKafkaLogLevel::Debug);
        let reports = Reports::default();
        let producer: ThreadedProducer<Reports> = writing.create_with_context(reports.clone()).map_err(failed)?;
        producer.init_transactions(Timeout::Never).map_err(failed)?;
        let (over, positions) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::default()));
        let thread = std::thread::spawn({
            let (consumer, over, positions) = (consumer.clone(), over.clone(), positions.clone());
            move || read(&consumer, &over, &positions)
        });
        let (input, output) = (input.to_owned(), output.to_owned());
        Ok(Floor { producer, reports, consumer, input, output, partitions, positions, over, thread: Some(thread) })
    }

    /// Whether every partition of the input has given a record.
    pub fn is_reading(&self) -> bool {
        self.positions.lock().unwrap_or_else(PoisonError::into_inner).len() == self.partitions as usize
    }

    /// # Errors
    /// Any step that fails: a floor with failures is none.
    pub fn transaction(&self) -> Result<Timing, String> {
        let failed = |e: rdkafka::error::KafkaError| format!("floor: {e}");
        let mut offsets = TopicPartitionList::new();
        for (partition, next) in self.positions.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            offsets.add_partition_offset(&self.input, *partition, Offset::Offset(*next)).map_err(failed)?;
        }
        let group = self.consumer.group_metadata().ok_or("floor: no group metadata")?;
        let met = self.reports.1.load(Ordering::Relaxed);
        *self.reports.0.0.lock().unwrap_or_else(PoisonError::into_inner) = 0;
        let began = Instant::now();
        self.producer.begin_transaction().map_err(failed)?;
        for partition in 0..self.partitions {
            let record = BaseRecord::to(&self.output).partition(partition).key("key").payload(&[7; 200]);
            self.producer.send(record).map_err(|(e, _)| failed(e))?;
        }
        let sent = Instant::now();
        let reports = self.reports.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = |count: &mut u64| *count < self.partitions as u64;
        drop(self.reports.0.1.wait_while(reports, missing).unwrap_or_else(PoisonError::into_inner));
        let delivered = Instant::now();
        self.producer.send_offsets_to_transaction(&offsets, &group, Timeout::Never).map_err(failed)?;
        let accepted = Instant::now();
        while self.producer.in_flight_count() > 0 {
            std::thread::yield_now();
        }
        self.producer.commit_transaction(Timeout::Never).map_err(failed)?;
        let ms = |from: Instant, to: Instant| (to - from).as_secs_f64() * 1000.0;
        let over = Instant::now();
        Ok(Timing {
            whole: ms(began, over),
            wait: ms(sent, delivered),
            offsets: ms(delivered, accepted),
            commit: ms(accepted, over),
            concurrent: self.reports.1.load(Ordering::Relaxed) > met,
        })
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn read(consumer: &BaseConsumer, over: &AtomicBool, positions: &Mutex<BTreeMap<i32, i64>>) {
    while !over.load(Ordering::Relaxed) {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) {
            let mut positions = positions.lock().unwrap_or_else(PoisonError::into_inner);
            positions.insert(message.partition(), message.offset() + 1);
        }
    }
}
