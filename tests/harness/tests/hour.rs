//! The hourly job in small, on a real broker: twelve partitions on two lanes, partials through a repartition, a SIGKILL in
//! the middle, producers that stop, and the whole topic worked again. Knows the product from outside. Invariant: every
//! window has one final row, which is what a loop over the input says.

// A test file as a whole: the lint's own exception knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};
use tidemill_harness::cluster::Cluster;
use tidemill_harness::process::{Process, Start, program, run};
use tidemill_harness::verdict::Broker;

const LONG: Duration = Duration::from_secs(90);
const PARTITIONS: i32 = 12;
const WINDOW: i64 = 2_000;
/// Grace and idle, which a final may take behind its window's end, ms.
const GRACE_AND_IDLE: i64 = 3_000;
/// What a busy machine may add: commits, two hops, and the look of this test.
const SLACK: i64 = 10_000;

/// By start and kind: records, different users, hundredths.
type Windows = BTreeMap<(i64, String), (u64, BTreeSet<u64>, u64)>;

struct Mill {
    env: Vec<(String, String)>,
    topology: String,
    scratch: tempfile::TempDir,
}

impl Mill {
    fn new(cluster: &Cluster) -> Mill {
        let topology = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies/hour.yaml").display().to_string();
        let env = vec![("KAFKA_BOOTSTRAP_SERVERS".to_owned(), cluster.bootstrap.clone())];
        Mill { env, topology, scratch: tempfile::tempdir().unwrap() }
    }

    fn command(&self, args: &[&str]) -> Result<String, String> {
        run(&program("TIDEMILL_BIN", "tidemill"), args, &self.env)
    }

    fn start(&self, log: &str) -> Process {
        let state = self.scratch.path().join("state").display().to_string();
        let args = ["run", &self.topology, "--instance", "only", "--state", &state].map(str::to_owned).into();
        let (program, log) = (program("TIDEMILL_BIN", "tidemill"), self.scratch.path().join(log));
        let process = Process::start(&Start { program, args, env: self.env.clone(), log }).unwrap();
        let ready = process.wait_message("all tasks ready", LONG);
        assert!(ready.is_some(), "it did not become ready; it said last:\n{}", process.last_words());
        process
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64
}

/// Events of now, each fifth one sent twice, and none on the last two partitions.
fn produce(producer: &ThreadedProducer<DefaultProducerContext>, numbers: std::ops::Range<u64>, windows: &mut Windows) {
    for number in numbers {
        let (at, kind, user) = (now(), ["click", "view", "buy"][(number % 3) as usize], number * 7 % 13);
        let value = format!(
            r#"{{"id":"e{number}","at":{at},"kind":"{kind}","user":"u{user}","amount":{}.{:02}}}"#,
            number % 50,
            number % 100
        );
        let partition = (number % (PARTITIONS as u64 - 2)) as i32;
        for _ in 0..if number.is_multiple_of(5) { 2 } else { 1 } {
            let record: BaseRecord<'_, [u8], str> = BaseRecord::to("hour-events").partition(partition);
            producer.send(record.payload(&value)).unwrap();
        }
        let window = windows.entry((at.div_euclid(WINDOW) * WINDOW, kind.to_owned())).or_default();
        window.0 += 1;
        window.1.insert(user);
        window.2 += number % 50 * 100 + number % 100;
        std::thread::sleep(Duration::from_millis(6));
    }
    producer.flush(LONG).unwrap();
}

/// Final rows as `kind@start n users total mean`, in the order of their coming.
fn finals(broker: &Broker) -> Vec<String> {
    let mut rows = Vec::new();
    broker
        .committed("hour-rows", |row| {
            let row: Value = serde_json::from_slice(row.value.as_deref().unwrap()).unwrap();
            if row["result"] == "final" {
                let start = row["window"]["start"].as_str().unwrap();
                let text = |name: &str| row[name].to_string();
                let kind = row["kind"].as_str().unwrap();
                rows.push(format!("{kind}@{start} {} {} {} {}", text("n"), text("users"), text("total"), text("mean")));
            }
        })
        .unwrap();
    rows
}

fn time_text(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).unwrap().to_string()
}

/// Hundredths as JSON writes them.
fn decimal(hundredths: u64) -> String {
    let text = format!("{}.{:02}", hundredths / 100, hundredths % 100);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn expected(windows: &Windows) -> Vec<String> {
    let row = |((start, kind), (n, users, total)): (&(i64, String), &(u64, BTreeSet<u64>, u64))| {
        let start = time_text(*start);
        let mean = (total * 2 + n) / (n * 2);
        format!("{kind}@{start} {n} {} {} {}", users.len(), decimal(*total), decimal(mean))
    };
    let mut rows: Vec<String> = windows.iter().map(row).collect();
    rows.sort();
    rows
}

fn wait_for_finals(broker: &Broker, process: &mut Process, count: usize) -> Vec<String> {
    let deadline = Instant::now() + LONG;
    loop {
        let rows = finals(broker);
        if rows.len() >= count {
            return rows;
        }
        let ended = process.ended();
        assert!(
            ended.is_none() && Instant::now() < deadline,
            "{count} final rows do not come, but {rows:#?}; the process ({ended:?}) said last:\n{}",
            process.last_words()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn when_producers_stop_every_hour_ends_once_and_a_reset_says_the_same_again() {
    let cluster = Cluster::start(1, &[], &[]);
    let (broker, mill) = (Broker::new(&cluster.bootstrap), Mill::new(&cluster));
    broker.create_topic("hour-events", PARTITIONS, 1).unwrap();
    mill.command(&["topics", "create", &mill.topology]).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let producer: ThreadedProducer<_> =
        ClientConfig::new().set("bootstrap.servers", &cluster.bootstrap).set("linger.ms", "0").create().unwrap();
    let mut windows = Windows::new();
    // given: events of two windows and more, and a SIGKILL among them
    let mut process = mill.start("first.log");
    produce(&producer, 0..300, &mut windows);
    process.kill();
    produce(&producer, 300..350, &mut windows);
    process = mill.start("second.log");
    produce(&producer, 350..600, &mut windows);
    // when: nothing comes any more
    let last = windows.keys().map(|(start, _)| start + WINDOW).max().unwrap();
    let rows = wait_for_finals(&broker, &mut process, windows.len());
    // then: the last window is not late by more than its grace and the idle time
    let behind = now() - last;
    assert!(behind <= GRACE_AND_IDLE + SLACK, "the last final came {behind} ms behind its window's end");
    let mut sorted = rows.clone();
    sorted.sort();
    assert_eq!(sorted, expected(&windows));
    // and when the topic is worked again from its start
    process.terminate();
    process.wait(LONG).expect("it ends");
    let refused = mill.command(&["reset", &mill.topology, "--to", "earliest"]);
    assert!(refused.as_ref().is_err_and(|e| e.contains("members")), "its session is not over yet: {refused:?}");
    let deadline = Instant::now() + LONG;
    while mill.command(&["reset", &mill.topology, "--to", "earliest"]).is_err() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(500));
    }
    let said = mill.command(&["reset", &mill.topology, "--to", "earliest", "--apply"]).unwrap();
    assert_eq!(said.lines().count(), 2 * PARTITIONS as usize, "{said}");
    let mut again = mill.start("third.log");
    let mut both = wait_for_finals(&broker, &mut again, 2 * windows.len());
    both.sort();
    let mut twice: Vec<String> = expected(&windows).into_iter().flat_map(|row| [row.clone(), row]).collect();
    twice.sort();
    assert_eq!(both, twice);
}
