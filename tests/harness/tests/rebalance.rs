//! Records that come while the group rebalances, to tasks that stay where they are, had read their partition to its end,
//! and were paused there because a mailbox was full: none may be skipped. Knows the product from outside.
//! Invariant: every input record has its copy, once; and a run in which no task stayed or none was paused fails too.

// A test file as a whole: the lint's own exception knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use std::path::Path;
use std::time::{Duration, Instant};
use tidemill_harness::cluster::Cluster;
use tidemill_harness::observed::{Scrape, free_port};
use tidemill_harness::oracle::First;
use tidemill_harness::process::{Line, Process, Start, program, run};
use tidemill_harness::verdict::{Broker, Copies, Tally};

const LONG: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 4;
/// So little fits between two commits that each burst fills mailboxes, and finds its partition paused at its end.
const TIGHT: &str = "commit: { interval: 20ms, bytes: 1KiB }\nhttp: { listen: \"127.0.0.1:${PORT:-8002}\" }\n";
/// Bursts go on so long after a process has its tasks.
const ON: Duration = Duration::from_millis(700);

struct Mills {
    env: Vec<(String, String)>,
    topology: String,
    scratch: tempfile::TempDir,
}

impl Mills {
    fn new(cluster: &Cluster) -> Mills {
        let scratch = tempfile::tempdir().unwrap();
        let loose = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies/torture.yaml");
        let topology = scratch.path().join("tight.yaml");
        std::fs::write(&topology, std::fs::read_to_string(loose).unwrap() + TIGHT).unwrap();
        let env = vec![("KAFKA_BOOTSTRAP_SERVERS".to_owned(), cluster.bootstrap.clone())];
        Mills { env, topology: topology.display().to_string(), scratch }
    }

    fn start(&self, name: &str, port: u16) -> Process {
        let path = |suffix: &str| self.scratch.path().join(format!("{name}{suffix}"));
        let state = path("-disk").display().to_string();
        let args = ["run", &self.topology, "--instance", name, "--state", &state].map(str::to_owned).into();
        let program = program("TIDEMILL_BIN", "tidemill");
        let env = [&self.env[..], &[("PORT".to_owned(), port.to_string())]].concat();
        Process::start(&Start { program, args, env, log: path(".log") }).unwrap()
    }
}

/// One record to each partition, now and then some, and each time a pause in which a reader reaches the end.
fn trickle(producer: &ThreadedProducer<DefaultProducerContext>, mut is_over: impl FnMut() -> bool) {
    let (mut number, deadline) = (0, Instant::now() + LONG);
    while !is_over() {
        assert!(Instant::now() < deadline, "a process has no tasks {LONG:?} after its start");
        for n in 0..if number % 3 == 0 { 20 } else { 1 } {
            for partition in 0..PARTITIONS {
                // A time in ms, not a number that can only be seconds.
                let at = 1_767_261_600_000i64 + number;
                let value = format!("{{\"at\":{at},\"kind\":\"view\",\"size\":50,\"amount\":{n}}}");
                let key = format!("key-{partition}");
                producer.send(BaseRecord::to("torture-input").partition(partition).key(&key).payload(&value)).unwrap();
            }
        }
        number += 1;
        producer.flush(LONG).unwrap();
        std::thread::sleep(Duration::from_millis(60));
    }
}

/// Tasks that a process has by its log: given, less taken away.
fn tasks(process: &Process) -> (u64, u64) {
    let sum = |message: &str, lines: &[Line]| {
        lines.iter().filter(|line| line.message == message).filter_map(|line| line.number("tasks")).sum()
    };
    process.journal(|journal| (sum("assigned", &journal.lines), sum("revoked", &journal.lines)))
}

fn wait_for_the_end(broker: &Broker, topic: &str) {
    let deadline = Instant::now() + LONG;
    while broker.group_offsets("torture", topic).unwrap() != broker.ends(topic, false).unwrap() {
        assert!(Instant::now() < deadline, "the group does not reach the end of {topic}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Why a process has ended, if it has.
fn cause(process: &mut Process) -> Option<String> {
    process.ended()?;
    let cause = process.journal(|journal| journal.lines.last().and_then(|line| line.text("cause").map(str::to_owned)));
    Some(cause.unwrap_or_else(|| process.last_words()))
}

#[test]
fn records_that_come_during_a_rebalance_are_not_skipped() {
    let cluster = Cluster::start(1, &[], &[]);
    let (broker, mills) = (Broker::new(&cluster.bootstrap), Mills::new(&cluster));
    broker.create_topic("torture-input", PARTITIONS, 1).unwrap();
    run(&program("TIDEMILL_BIN", "tidemill"), &["topics", "create", &mills.topology], &mills.env).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let producer: ThreadedProducer<_> =
        ClientConfig::new().set("bootstrap.servers", &cluster.bootstrap).set("linger.ms", "0").create().unwrap();
    let port = free_port();
    let mut first = mills.start("first", port);
    first.wait_message("all tasks ready", LONG).expect("the first process becomes ready");
    let until = Instant::now() + ON;
    trickle(&producer, || Instant::now() > until);
    wait_for_the_end(&broker, "torture-input");
    let mut others = Vec::new();
    for name in ["second", "third", "fourth"] {
        let other = mills.start(name, free_port());
        let mut ready = None;
        trickle(&producer, || {
            ready = ready.or_else(|| Some(other.wait_message("all tasks ready", Duration::ZERO)?.at));
            cause(&mut first).is_some() || ready.is_some_and(|ready| ready.elapsed() > ON)
        });
        assert_eq!(cause(&mut first), None, "the first process ended when the {name} joined");
        let (given, taken) = tasks(&first);
        assert!(given > taken && taken > 0, "no task stayed, or none went: {given} given, {taken} taken");
        others.push(other);
    }
    for topic in ["torture-input", "torture-kept"] {
        wait_for_the_end(&broker, topic);
    }
    let full = Scrape::of(port).unwrap().sum("tidemill_mailbox_full_total", &[]).unwrap();
    let (mut expected, mut tally) = (First::default(), Tally::default());
    broker.committed("torture-input", |row| expected.take(row)).unwrap();
    let mut copies = Copies::new(&expected, "torture-kept", "torture-input");
    broker.committed("torture-kept", |row| copies.take(row, &mut tally)).unwrap();
    copies.finish(&mut tally);
    println!("mailboxes were full {full} times, {:?} tasks given and taken", tasks(&first));
    assert!(tally.is_clean() && full > 20.0, "mailboxes were full {full} times; {:#?}", tally.examples);
}
