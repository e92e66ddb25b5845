//! State of several times what a process is given, with all that comes with it: fetched records, transactions, the store's own.
//! Knows the product from outside, and the kernel's account of it. Invariant: `memory` is what the process holds at its peak.

// A test file as a whole: the lint's own exception knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use std::time::{Duration, Instant};
use tidemill_harness::cluster::Cluster;
use tidemill_harness::process::{Process, Start, program, run};
use tidemill_harness::verdict::Broker;

const LONG: Duration = Duration::from_secs(180);
const INPUT: &str = "sums";
const PARTITIONS: i32 = 4;
const RECORDS: u64 = 2_500_000;
/// Each is an entry of some hundred bytes in memory, and of forty in the store.
const KEYS: u64 = 2_000_000;
const MIB: u64 = 256;
const TOPOLOGY: &str = r#"
app: inside
kafka: { brokers: "${KAFKA_BOOTSTRAP_SERVERS}" }
memory: 256MiB
topics: { replication: 1, min_insync_replicas: 1 }
sources:
  events: { topic: sums, key_format: string, format: json, start: earliest }
steps:
  running: { from: events, group_by: record.key, aggregate: { n: count(), sum: sum(amount) }, emit: { updates: 24h } }
outputs:
  sums-out: { from: running }
"#;

fn feed(bootstrap: &str) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("linger.ms", "50");
    let producer: ThreadedProducer<DefaultProducerContext> = config.create().unwrap();
    for n in 0..RECORDS {
        // Far apart, so that what is asked for is seldom what was asked for last.
        let (key, value) = (format!("key-{}", n * 7_919 % KEYS), format!("{{\"amount\":{}}}", n % 97));
        let mut record = BaseRecord::to(INPUT).key(&key).payload(&value);
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    std::thread::sleep(Duration::from_millis(5));
                    record = again;
                }
                Err((e, _)) => panic!("{e}"),
            }
        }
    }
    producer.flush(LONG).unwrap();
}

/// The most that the process held at any time, MiB.
fn peak(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn a_process_stays_inside_its_memory_with_state_of_several_times_as_much() {
    let cluster = Cluster::start(1, &[], &[]);
    let broker = Broker::new(&cluster.bootstrap);
    let scratch = tempfile::tempdir().unwrap();
    let topology = scratch.path().join("inside.yaml");
    std::fs::write(&topology, TOPOLOGY).unwrap();
    let topology = topology.display().to_string();
    let env = vec![("KAFKA_BOOTSTRAP_SERVERS".to_owned(), cluster.bootstrap.clone())];
    broker.create_topic(INPUT, PARTITIONS, 1).unwrap();
    run(&program("TIDEMILL_BIN", "tidemill"), &["topics", "create", &topology], &env).unwrap();
    feed(&cluster.bootstrap);
    let state = scratch.path().join("state").display().to_string();
    let args = ["run", &topology, "--instance", "one", "--state", &state].map(str::to_owned).into();
    let (program, log) = (program("TIDEMILL_BIN", "tidemill"), scratch.path().join("log"));
    let began = Instant::now();
    let mut process = Process::start(&Start { program, args, env, log }).unwrap();
    while broker.group_offsets("inside", INPUT).unwrap() != broker.ends(INPUT, false).unwrap() {
        assert!(process.ended().is_none() && began.elapsed() < LONG, "{}", process.last_words());
        std::thread::sleep(Duration::from_millis(200));
    }
    let held = peak(&process);
    println!("{held} MiB at its peak, of {MIB}; {:?}", began.elapsed());
    process.terminate();
    assert!(process.wait(LONG).is_some_and(|status| status.success()), "{}", process.last_words());
    assert!(held <= MIB, "{held} MiB at its peak, of {MIB}");
}
