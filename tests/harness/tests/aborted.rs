//! A fault of Kafka's that the verdict must not fall for: a broker hands aborted records to a reader of committed ones.
//! Knows three brokers and a producer; the product is not here. Invariant: what is brought about is checked, so that the
//! test speaks up when Kafka has mended it.

// A test file as a whole: the lint's own exception knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use std::time::Duration;
use tidemill_harness::cluster::Cluster;
use tidemill_harness::verdict::Broker;

const TOPIC: &str = "aborted";
const PATIENCE: Duration = Duration::from_secs(30);
/// More than `log.index.interval.bytes`: each batch has its entry in the offset index, where a fetch can end.
const RECORD: usize = 8192;
/// The replica that takes all of it in one fetch, and leads afterwards.
const LATE: usize = 2;

/// By replica order the first one leads, and the second one after it.
fn create(bootstrap: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
    let replicas: &[&[i32]] = &[&[1, LATE as i32, 3]];
    let topic = NewTopic::new(TOPIC, 1, TopicReplication::Variable(replicas));
    let created = futures_executor::block_on(admin.create_topics([&topic], &AdminOptions::new())).unwrap();
    created.into_iter().for_each(|result| drop(result.unwrap()));
}

fn producer(bootstrap: &str, id: &str) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("transactional.id", id).set("linger.ms", "0");
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer
}

/// A transaction of so many batches.
fn transaction(producer: &BaseProducer, name: &str, batches: usize, is_committed: bool) {
    producer.begin_transaction().unwrap();
    for _ in 0..batches {
        let value = name.repeat(RECORD / name.len());
        producer.send(BaseRecord::<(), _>::to(TOPIC).partition(0).payload(&value)).map_err(|(e, _)| e).unwrap();
        producer.flush(PATIENCE).unwrap();
    }
    let ended = if is_committed { producer.commit_transaction(PATIENCE) } else { producer.abort_transaction(PATIENCE) };
    ended.unwrap();
}

/// A batch a fetch, as the broker tells it; the first letter of each record.
fn as_told(bootstrap: &str) -> String {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", "reader").set("isolation.level", "read_committed");
    config
        .set("enable.partition.eof", "true")
        .set("fetch.message.max.bytes", "1000")
        .set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut start = TopicPartitionList::new();
    start.add_partition_offset(TOPIC, 0, Offset::Beginning).unwrap();
    consumer.assign(&start).unwrap();
    let mut told = String::new();
    loop {
        match consumer.poll(PATIENCE).expect("the topic is read to its end") {
            Ok(message) => told.push(message.payload().unwrap()[0] as char),
            Err(KafkaError::PartitionEOF(_)) => return told,
            Err(_) => {}
        }
    }
}

/// What stands committed, as the verdict reads it.
fn stands(broker: &Broker) -> String {
    let mut found = String::new();
    broker.committed(TOPIC, |row| found.push(row.value.as_ref().unwrap()[0] as char)).unwrap();
    found
}

#[test]
fn what_a_broker_hides_of_an_abort_does_not_change_the_verdict() {
    let cluster = Cluster::start(3, &[], &[]);
    create(&cluster.bootstrap);
    let broker = Broker::new(&cluster.bootstrap).by(cluster.segments());
    let (one, other) = (producer(&cluster.bootstrap, "one"), producer(&cluster.bootstrap, "other"));
    transaction(&one, "0", 1, true);
    assert!(cluster.wait_whole(PATIENCE), "the topic's replicas are not in sync");
    cluster.stop(LATE).unwrap();
    transaction(&one, "a", 1, false);
    transaction(&one, "b", 2, false);
    transaction(&other, "c", 1, true);
    let settled = broker.wait_settled(&[TOPIC], PATIENCE);
    settled.unwrap();
    assert_eq!(
        (as_told(&cluster.bootstrap), stands(&broker)),
        ("0c".to_owned(), "0c".to_owned()),
        "by the first leader"
    );

    cluster.restart(LATE).unwrap();
    assert!(cluster.wait_whole(PATIENCE), "the replica that was away does not catch up");
    cluster.stop(1).unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while broker.leaders(TOPIC).ok().and_then(|leaders| leaders.get(&0).copied()) != Some(LATE as i32) {
        assert!(std::time::Instant::now() < deadline, "broker {LATE} does not come to lead");
        std::thread::sleep(Duration::from_millis(50));
    }
    let hidden =
        |node| cluster.segments().hidden(node).unwrap().into_iter().filter(|hidden| hidden.place.starts_with(TOPIC));
    assert_eq!(hidden(1).count(), 0, "the index of the broker that took one request at a time");
    assert_eq!(hidden(LATE as i32).count(), 1, "the index of the broker that took all at once: has Kafka mended it?");
    assert_eq!(as_told(&cluster.bootstrap), "0bbc", "has Kafka mended it? Then src/segments.rs is not needed any more");
    assert_eq!(stands(&broker), "0c");
}
