//! The cluster that all cases share, and what an administrator does to it. Knows the harness and rdkafka.
//! Invariant: one broker, open, with a password, and behind a proxy: three ways to the same topics. `guest` has a password and
//! no rights.

use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tidemill_harness::cluster::Cluster;
use tidemill_harness::proxy::Proxy;

/// They may do everything; whoever has no password is nobody.
const ALL: &str = "super.users=User:ANONYMOUS;User:admin";
/// As a broker keeps records that nobody has told otherwise, ms.
const WEEK: &str = "log.retention.ms=604800000";

pub struct World {
    pub bootstrap: String,
    pub sasl: String,
    pub proxy: Proxy,
    admin: AdminClient<DefaultClientContext>,
    scratch: tempfile::TempDir,
    _cluster: Cluster,
}

/// Asks until it is so; panics with `what` after half a minute.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within 30 s");
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl World {
    pub fn start() -> World {
        let bound = Proxy::bind(1).unwrap();
        let guarded = ["authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", ALL, WEEK];
        let cluster = Cluster::start(1, &bound.ports(), &[&["--sasl"], &guarded[..]].concat());
        let proxy = bound.upstream(&cluster.upstreams);
        let bootstrap = cluster.bootstrap.clone();
        let sasl = cluster.sasl.clone().expect("started with --sasl");
        let admin = ClientConfig::new().set("bootstrap.servers", &bootstrap).create().unwrap();
        let scratch = tempfile::tempdir().unwrap();
        World { bootstrap, sasl, proxy, admin, scratch, _cluster: cluster }
    }

    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }

    /// Ends the cluster, and leaves what the cases wrote.
    pub fn keep(self) -> PathBuf {
        self.scratch.keep()
    }

    pub fn create_topic(&self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        let new = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let new = config.iter().fold(new, |topic, (key, value)| topic.set(key, value));
        let made = futures_executor::block_on(self.admin.create_topics([&new], &options())).unwrap();
        made.into_iter().next().unwrap().unwrap();
        until(name, || (self.partitions(name) == partitions as usize).then_some(()));
    }

    pub fn delete_topic(&self, name: &str) {
        let gone = futures_executor::block_on(self.admin.delete_topics(&[name], &options())).unwrap();
        gone.into_iter().next().unwrap().unwrap();
        until(name, || (self.partitions(name) == 0).then_some(()));
    }

    pub fn widen_topic(&self, name: &str, partitions: usize) {
        let new = NewPartitions::new(name, partitions);
        let done = futures_executor::block_on(self.admin.create_partitions([&new], &options())).unwrap();
        done.into_iter().next().unwrap().unwrap();
        until(name, || (self.partitions(name) == partitions).then_some(()));
    }

    /// Replaces all settings that are not defaults.
    pub fn set_topic(&self, name: &str, config: &[(&str, &str)]) {
        let alter = AlterConfig::new(ResourceSpecifier::Topic(name));
        let alter = config.iter().fold(alter, |alter, (key, value)| alter.set(key, value));
        let done = futures_executor::block_on(self.admin.alter_configs([&alter], &options())).unwrap();
        done.into_iter().next().unwrap().unwrap();
    }

    fn partitions(&self, name: &str) -> usize {
        let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &self.bootstrap).create().unwrap();
        let metadata = client.fetch_metadata(Some(name), Duration::from_secs(10)).unwrap();
        metadata.topics().iter().find(|t| t.error().is_none()).map_or(0, |t| t.partitions().len())
    }

    /// What `kafka-consumer-groups --reset-offsets` does: waits until the group has no member, as that tool demands.
    pub fn move_offset(&self, group: &str, topic: &str, partition: i32, to: i64) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("group.id", group);
        let client: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(to)).unwrap();
        until("the group to be empty", || client.commit(&list, CommitMode::Sync).ok());
    }

    pub fn committed_offset(&self, group: &str, topic: &str, partition: i32) -> i64 {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("group.id", group);
        let client: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        let found = client.committed_offsets(list, Duration::from_secs(10)).unwrap();
        match found.elements()[0].offset() {
            Offset::Offset(at) => at,
            other => panic!("{group} on {topic}/{partition}: {other:?}"),
        }
    }

    pub fn delete_group(&self, group: &str) {
        until("the group to be deleted", || {
            let done = futures_executor::block_on(self.admin.delete_groups(&[group], &options())).unwrap();
            done.into_iter().next().unwrap().ok()
        });
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(Duration::from_secs(20)))
}
