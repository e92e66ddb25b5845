//! Steady input: every few milliseconds a record to each partition. Called by both benchmarks, which may turn it to
//! another topic meanwhile. Invariant: the rate is the same whichever topic it goes to.

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, ThreadedProducer};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tidemill_harness::rng::Rng;

pub struct Plan {
    pub bootstrap: String,
    pub topics: Vec<String>,
    pub partitions: i32,
    /// Between two rounds; each sends `each` records to every partition.
    pub every: Duration,
    pub each: usize,
    /// Keys are drawn from 0 up to this; a key lives on the partition that is its number modulo their count.
    pub keys: u64,
}

pub struct Drip {
    topic: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

pub fn key(number: u64) -> String {
    format!("key-{number:010}")
}

impl Drip {
    pub fn start(plan: Plan) -> Drip {
        let (topic, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (to, ended) = (topic.clone(), over.clone());
        Drip { topic, over, thread: Some(std::thread::spawn(move || run(&plan, &to, &ended))) }
    }

    /// From now on to this topic of the plan.
    pub fn turn_to(&self, topic: usize) {
        self.topic.store(topic, Ordering::Relaxed);
    }

    pub fn stop(mut self) -> Result<(), String> {
        self.end()
    }

    fn end(&mut self) -> Result<(), String> {
        self.over.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().map_err(|_| "the input panicked".to_owned())?
    }
}

impl Drop for Drip {
    fn drop(&mut self) {
        drop(self.end());
    }
}

fn run(plan: &Plan, topic: &AtomicUsize, over: &AtomicBool) -> Result<(), String> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &plan.bootstrap).set("linger.ms", "0").set("compression.type", "lz4");
    let producer: ThreadedProducer<DefaultProducerContext> = config.create().map_err(|e| e.to_string())?;
    let mut rng = Rng::new(1);
    let per_partition = (plan.keys / plan.partitions as u64).max(1);
    let mut next = Instant::now();
    while !over.load(Ordering::Relaxed) {
        let to = &plan.topics[topic.load(Ordering::Relaxed)];
        for partition in (0..plan.partitions).flat_map(|p| std::iter::repeat_n(p, plan.each)) {
            let key = key(rng.below(per_partition) * plan.partitions as u64 + partition as u64);
            let record = BaseRecord::to(to).partition(partition).key(&key).payload("{\"n\":1}");
            producer.send(record).map_err(|(e, _)| format!("input: {e}"))?;
        }
        next += plan.every;
        // After a stall the rate goes on; what was missed is not made up in a burst.
        next = next.max(Instant::now());
        std::thread::sleep(next - Instant::now().min(next));
    }
    Ok(())
}
