//! A changelog that nobody leads while a process starts: its broker is away, and comes back. Knows three brokers and the
//! product from outside. Invariant: the task waits, and is ready soon after its broker serves again.

// A test file as a whole: the lint's own exception knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::time::{Duration, Instant};
use tidemill_harness::cluster::Cluster;
use tidemill_harness::process::{Process, Start, program, run};

const LONG: Duration = Duration::from_secs(60);
/// Metadata is asked for anew after five minutes by itself (`topic.metadata.refresh.interval.ms`).
const SOON: Duration = Duration::from_secs(20);
const CHANGELOG: &str = "leaders-views-views-changelog";
/// The only one that has the changelog.
const AWAY: usize = 3;
const TOPOLOGY: &str = r#"
app: leaders
kafka: { brokers: "${KAFKA_BOOTSTRAP_SERVERS}" }
topics: { replication: 1, min_insync_replicas: 1 }
sources:
  views: { topic: views, key_format: string, format: json, time: at, start: earliest }
steps:
  counted:
    from: views
    group_by: record.key
    aggregate: { n: count() }
    emit: every
outputs:
  counted: { from: counted }
"#;

fn create(bootstrap: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
    let replicas = |ids: &'static [&'static [i32]]| TopicReplication::Variable(ids);
    let changelog = NewTopic::new(CHANGELOG, 1, replicas(&[&[AWAY as i32]]))
        .set("cleanup.policy", "compact")
        .set("message.timestamp.type", "LogAppendTime");
    let topics = [NewTopic::new("views", 1, replicas(&[&[1, 2, 3]])), changelog];
    let created = futures_executor::block_on(admin.create_topics(&topics, &AdminOptions::new())).unwrap();
    created.into_iter().for_each(|result| drop(result.unwrap()));
}

fn has_leader(bootstrap: &str, topic: &str) -> bool {
    let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
    let metadata = client.fetch_metadata(Some(topic), LONG).unwrap();
    metadata.topics()[0].partitions()[0].leader() >= 0
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} takes more than {LONG:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_task_is_ready_soon_after_the_broker_of_its_changelog_is_back() {
    let cluster = Cluster::start(3, &[], &[]);
    let scratch = tempfile::tempdir().unwrap();
    let topology = scratch.path().join("leaders.yaml");
    std::fs::write(&topology, TOPOLOGY).unwrap();
    let topology = topology.display().to_string();
    let env = vec![("KAFKA_BOOTSTRAP_SERVERS".to_owned(), cluster.bootstrap.clone())];
    create(&cluster.bootstrap);
    let tidemill = program("TIDEMILL_BIN", "tidemill");
    run(&tidemill, &["topics", "create", &topology], &env).unwrap();
    cluster.stop(AWAY).unwrap();
    wait_until("a changelog without a leader", || !has_leader(&cluster.bootstrap, CHANGELOG));
    let state = scratch.path().join("disk").display().to_string();
    let args = ["run", &topology, "--state", &state].map(str::to_owned).into();
    let process = Process::start(&Start { program: tidemill, args, env, log: scratch.path().join("log") }).unwrap();
    let asking = format!("asking again for the end of {CHANGELOG}/0");
    assert!(process.wait_message(&asking, LONG).is_some(), "{}", process.last_words());
    cluster.restart(AWAY).unwrap();
    wait_until("a leader", || has_leader(&cluster.bootstrap, CHANGELOG));
    let begun = Instant::now();
    assert!(process.wait_message("all tasks ready", SOON).is_some(), "{}", process.last_words());
    println!("ready {} ms after the changelog had a leader again", begun.elapsed().as_millis());
}
