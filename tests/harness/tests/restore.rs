//! Two changelogs of more partitions than there are readers for them, read from their beginnings: a reader that is lent again must begin
//! at once. Knows the product from outside. Invariant: every state is whole again, and no task waits for more than its turn.

// A test file as a whole: the lint's own exception knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use std::time::{Duration, Instant};
use tidemill_harness::cluster::Cluster;
use tidemill_harness::process::{Line, Process, Start, program, run};
use tidemill_harness::verdict::Broker;

const LONG: Duration = Duration::from_secs(60);
/// Of each source: together twice as many as there are readers.
const PARTITIONS: i32 = 4;
const SOURCES: [&str; 2] = ["views", "clicks"];
const EACH: u64 = 50;
/// A client looks for the leaders of topics that are new to it once a second, by itself.
const TURN: u64 = 600;
const TOPOLOGY: &str = r#"
app: restored
kafka: { brokers: "${KAFKA_BOOTSTRAP_SERVERS}" }
topics: { replication: 1, min_insync_replicas: 1 }
sources:
  views: { topic: views, key_format: string, format: json, time: at, start: earliest }
  clicks: { topic: clicks, key_format: string, format: json, time: at, start: earliest }
steps:
  viewed: { from: views, group_by: record.key, aggregate: { n: count() }, emit: every }
  clicked: { from: clicks, group_by: record.key, aggregate: { n: count() }, emit: every }
outputs:
  viewed: { from: viewed }
  clicked: { from: clicked }
"#;

fn feed(bootstrap: &str, topic: &str) {
    let producer: ThreadedProducer<DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
    for n in 0..EACH {
        for partition in 0..PARTITIONS {
            let (key, value) = (format!("{partition}-{n}"), format!("{{\"at\":{}}}", 1_767_261_600_000 + n));
            producer.send(BaseRecord::to(topic).partition(partition).key(&key).payload(&value)).unwrap();
        }
    }
    producer.flush(LONG).unwrap();
}

fn ready(process: &Process) -> Vec<Line> {
    assert!(process.wait_message("all tasks ready", LONG).is_some(), "{}", process.last_words());
    process.journal(|journal| journal.lines.iter().filter(|line| line.message == "task ready").cloned().collect())
}

#[test]
fn a_reader_that_is_lent_again_begins_at_once() {
    let cluster = Cluster::start(1, &[], &[]);
    let broker = Broker::new(&cluster.bootstrap);
    let scratch = tempfile::tempdir().unwrap();
    let topology = scratch.path().join("restored.yaml");
    std::fs::write(&topology, TOPOLOGY).unwrap();
    let topology = topology.display().to_string();
    let env = vec![("KAFKA_BOOTSTRAP_SERVERS".to_owned(), cluster.bootstrap.clone())];
    for source in SOURCES {
        broker.create_topic(source, PARTITIONS, 1).unwrap();
        feed(&cluster.bootstrap, source);
    }
    run(&program("TIDEMILL_BIN", "tidemill"), &["topics", "create", &topology], &env).unwrap();
    let start = |state: &str| {
        let args = ["run", &topology, "--instance", "one", "--state", state].map(str::to_owned).into();
        let (program, log) = (program("TIDEMILL_BIN", "tidemill"), scratch.path().join("log"));
        Process::start(&Start { program, args, env: env.clone(), log }).unwrap()
    };
    let place = |name: &str| scratch.path().join(name).display().to_string();
    let mut process = start(&place("disk"));
    ready(&process);
    let deadline = Instant::now() + LONG;
    let done = |source| broker.group_offsets("restored", source).unwrap() == broker.ends(source, false).unwrap();
    while !SOURCES.into_iter().all(done) {
        assert!(Instant::now() < deadline, "{}", process.last_words());
        std::thread::sleep(Duration::from_millis(100));
    }
    process.terminate();
    assert!(process.wait(LONG).is_some_and(|status| status.success()), "{}", process.last_words());
    let again = start(&place("other-disk"));
    let tasks = ready(&again);
    let took: Vec<u64> = tasks.iter().filter_map(|line| line.number("restore_ms")).collect();
    println!("a restore of each task: {took:?} ms");
    let all = SOURCES.len() * PARTITIONS as usize;
    assert_eq!((tasks.len(), took.len()), (all, all));
    for line in &tasks {
        assert_eq!(line.text("why"), Some("first time here"), "{line:?}");
        assert!(line.number("records").is_some_and(|records| records > EACH), "entries and checkpoints: {line:?}");
    }
    let (least, most) = (took.iter().min().unwrap(), took.iter().max().unwrap());
    assert!(most - least < TURN, "{took:?} ms");
}
