//! Records that come while the group rebalances, to tasks that stay where they are and had read their partition to its
//! end: none may be skipped. Knows the product from outside. Invariant: every input record has its copy, once.

// A test file as a whole: the lint's own exception knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use std::path::Path;
use std::time::{Duration, Instant};
use tidemill_harness::cluster::Cluster;
use tidemill_harness::oracle::First;
use tidemill_harness::process::{Process, Start, program, run};
use tidemill_harness::verdict::{Broker, Copies, Tally};

const LONG: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 4;

struct Mills {
    env: Vec<(String, String)>,
    topology: String,
    scratch: tempfile::TempDir,
}

impl Mills {
    fn new(cluster: &Cluster) -> Mills {
        let topology = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies/torture.yaml").display().to_string();
        let env = vec![("KAFKA_BOOTSTRAP_SERVERS".to_owned(), cluster.bootstrap.clone())];
        Mills { env, topology, scratch: tempfile::tempdir().unwrap() }
    }

    fn start(&self, name: &str) -> Process {
        let path = |suffix: &str| self.scratch.path().join(format!("{name}{suffix}"));
        let state = path("-disk").display().to_string();
        let args = ["run", &self.topology, "--instance", name, "--state", &state].map(str::to_owned).into();
        let program = program("TIDEMILL_BIN", "tidemill");
        Process::start(&Start { program, args, env: self.env.clone(), log: path(".log") }).unwrap()
    }
}

/// One record to each partition, and then a pause in which a reader reaches the end.
fn trickle(producer: &ThreadedProducer<DefaultProducerContext>, until: Instant) {
    let mut number = 0;
    while Instant::now() < until {
        for partition in 0..PARTITIONS {
            // A time in ms, not a number that can only be seconds.
            let at = 1_767_261_600_000i64 + number;
            let value = format!("{{\"at\":{at},\"kind\":\"view\",\"size\":50,\"amount\":1}}");
            let key = format!("key-{partition}");
            producer.send(BaseRecord::to("torture-input").partition(partition).key(&key).payload(&value)).unwrap();
        }
        number += 1;
        producer.flush(LONG).unwrap();
        std::thread::sleep(Duration::from_millis(60));
    }
}

fn wait_for_the_end(broker: &Broker, topic: &str) {
    let deadline = Instant::now() + LONG;
    while broker.group_offsets("torture", topic).unwrap() != broker.ends(topic, false).unwrap() {
        assert!(Instant::now() < deadline, "the group does not reach the end of {topic}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Starts one that has ended again, so that the run goes on; why it ended.
fn revive(mills: &Mills, first: &mut Process) -> Option<String> {
    first.ended()?;
    let cause = first.journal(|journal| journal.lines.last().and_then(|line| line.text("cause").map(str::to_owned)));
    *first = mills.start("first");
    first.wait_message("all tasks ready", LONG).expect("the first process becomes ready again");
    Some(cause.unwrap_or_default())
}

#[test]
fn records_that_come_during_a_rebalance_are_not_skipped() {
    let cluster = Cluster::start(1, &[], &["log.retention.ms=-1"]);
    let (broker, mills) = (Broker::new(&cluster.bootstrap), Mills::new(&cluster));
    broker.create_topic("torture-input", PARTITIONS, 1).unwrap();
    run(&program("TIDEMILL_BIN", "tidemill"), &["topics", "create", &mills.topology], &mills.env).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let producer: ThreadedProducer<_> =
        ClientConfig::new().set("bootstrap.servers", &cluster.bootstrap).set("linger.ms", "0").create().unwrap();
    let mut first = mills.start("first");
    first.wait_message("all tasks ready", LONG).expect("the first process becomes ready");
    trickle(&producer, Instant::now() + Duration::from_secs(2));
    wait_for_the_end(&broker, "torture-input");
    let (mut others, mut exits) = (Vec::new(), Vec::new());
    for name in ["second", "third", "fourth"] {
        others.push(mills.start(name));
        trickle(&producer, Instant::now() + Duration::from_secs(4));
        exits.extend(revive(&mills, &mut first));
    }
    for topic in ["torture-input", "torture-kept"] {
        wait_for_the_end(&broker, topic);
    }
    let (mut expected, mut tally) = (First::default(), Tally::default());
    broker.committed("torture-input", |row| expected.take(row)).unwrap();
    let mut copies = Copies::new(&expected, "torture-kept", "torture-input");
    broker.committed("torture-kept", |row| copies.take(row, &mut tally)).unwrap();
    copies.finish(&mut tally);
    assert!(tally.is_clean() && exits.is_empty(), "{:#?}\n{exits:#?}", tally.examples);
}
