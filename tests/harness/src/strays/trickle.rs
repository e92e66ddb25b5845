//! A steady input, numbered: each tick one record to every partition of both topics. Knows rdkafka only; an `App` owns it.
//! Invariant: partition after partition holds the numbers 0, 1, 2, … once and in order, up to the counts that `stop` gives.

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Keys of a partition.
pub const KEYS: u64 = 3;
pub const PARTITIONS: i32 = 2;
const TICK: Duration = Duration::from_millis(15);

pub fn key(partition: i32, number: u64) -> String {
    format!("{partition}-{}", number % KEYS)
}

pub struct Trickle {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<u64, String>>>,
}

impl Trickle {
    pub fn start(bootstrap: &str, topics: [String; 2]) -> Trickle {
        let is_over = Arc::new(AtomicBool::new(false));
        let work = (bootstrap.to_owned(), is_over.clone());
        let thread = std::thread::spawn(move || run(&work.0, &topics, &work.1));
        Trickle { is_over, thread: Some(thread) }
    }

    /// Records on each partition of each topic.
    pub fn stop(mut self) -> Result<u64, String> {
        self.is_over.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("taken here only");
        thread.join().map_err(|_| "the trickle panicked".to_owned())?
    }
}

impl Drop for Trickle {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn run(bootstrap: &str, topics: &[String; 2], is_over: &AtomicBool) -> Result<u64, String> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("client.id", "trickle").set("enable.idempotence", "true");
    config.set("message.timeout.ms", "0").set("linger.ms", "0");
    let producer: ThreadedProducer<DefaultProducerContext> = config.create().map_err(|e| format!("trickle: {e}"))?;
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        let value = format!("{{\"n\":{number}}}");
        for (topic, partition) in topics.iter().flat_map(|topic| (0..PARTITIONS).map(move |p| (topic, p))) {
            let key = key(partition, number);
            let record = BaseRecord::to(topic).partition(partition).key(&key).payload(&value);
            producer.send(record).map_err(|(e, _)| format!("trickle: {topic}/{partition}: {e}"))?;
        }
        number += 1;
        std::thread::sleep(TICK);
    }
    producer.flush(Duration::from_secs(60)).map_err(|e| format!("trickle: not all records arrived: {e}"))?;
    Ok(number)
}
