//! Reads topics, ends and group offsets as any consumer would, and creates topics. Knows rdkafka; called by the driver
//! and by tests. Invariant: a topic is read to its end, committed records alone, each partition in order. Where brokers
//! are killed, what is committed is read from their files, since what they say of it may be wrong (`crate::segments`).

use super::Row;
use crate::segments::{Aborted, Segments};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);
/// The longest silence of a topic that is being read.
const SILENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub struct Broker {
    bootstrap: String,
    segments: Option<Segments>,
}

fn row_of(message: &BorrowedMessage<'_>) -> Row {
    let headers = message.headers().map(|headers| {
        let own =
            |header: rdkafka::message::Header<'_, &[u8]>| (header.key.to_owned(), header.value.map(<[u8]>::to_vec));
        headers.iter().map(own).collect()
    });
    Row {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
    }
}

fn created_all(results: Vec<rdkafka::admin::TopicResult>) -> Result<(), String> {
    results.into_iter().try_for_each(|result| match result {
        Ok(_) => Ok(()),
        Err((name, code)) => Err(format!("{name}: {code}")),
    })
}

impl Broker {
    pub fn new(bootstrap: &str) -> Broker {
        Broker { bootstrap: bootstrap.to_owned(), segments: None }
    }

    /// The same, with the brokers' own files to say what was aborted.
    pub fn by(self, segments: Segments) -> Broker {
        Broker { segments: Some(segments), ..self }
    }

    fn config(&self, isolation: &str, group: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("group.id", group).set("isolation.level", isolation);
        config.set("enable.auto.commit", "false").set("enable.partition.eof", "true").set("check.crcs", "true");
        config.set("fetch.wait.max.ms", "50");
        config
    }

    fn consumer(&self, isolation: &str, group: &str) -> Result<BaseConsumer, String> {
        self.config(isolation, group).create().map_err(|e| format!("{}: {e}", self.bootstrap))
    }

    pub fn create_topic(&self, name: &str, partitions: i32, replication: i32) -> Result<(), String> {
        let admin: AdminClient<DefaultClientContext> =
            self.config("read_committed", "harness").create().map_err(|e| format!("{name}: {e}"))?;
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replication));
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
        // A broker that has only just started may leave a request without an answer; whether it was carried out is asked.
        let deadline = Instant::now() + SILENCE;
        loop {
            let created = futures_executor::block_on(admin.create_topics([&topic], &options));
            let Err(error) = created else {
                created_all(created.unwrap_or_default())?;
                return self.wait_for_leaders(name, partitions, deadline);
            };
            if self.partitions(name).is_ok() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{name}: {error}"));
            }
        }
    }

    /// The controller answers before every broker has heard of a new topic.
    fn wait_for_leaders(&self, topic: &str, partitions: i32, deadline: Instant) -> Result<(), String> {
        while self.leaders(topic)?.values().filter(|leader| **leader >= 0).count() < partitions as usize {
            if Instant::now() > deadline {
                return Err(format!("{topic}: created, and not every partition has a leader"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub fn partitions(&self, topic: &str) -> Result<Vec<i32>, String> {
        let metadata = self.consumer("read_committed", "harness")?.fetch_metadata(Some(topic), PATIENCE);
        let metadata = metadata.map_err(|e| format!("{topic}: {e}"))?;
        let topics = metadata.topics().iter().flat_map(|topic| topic.partitions());
        let mut partitions: Vec<i32> = topics.map(|partition| partition.id()).collect();
        partitions.sort_unstable();
        match partitions.is_empty() {
            true => Err(format!("{topic}: no such topic")),
            false => Ok(partitions),
        }
    }

    /// The broker that leads each partition, by its id.
    pub fn leaders(&self, topic: &str) -> Result<BTreeMap<i32, i32>, String> {
        let metadata = self.consumer("read_committed", "harness")?.fetch_metadata(Some(topic), PATIENCE);
        let metadata = metadata.map_err(|e| format!("{topic}: {e}"))?;
        let topics = metadata.topics().iter().flat_map(|topic| topic.partitions());
        Ok(topics.map(|partition| (partition.id(), partition.leader())).collect())
    }

    /// Returns once the topic is gone.
    pub fn delete_topic(&self, name: &str) -> Result<(), String> {
        let admin: AdminClient<DefaultClientContext> =
            self.config("read_committed", "harness").create().map_err(|e| format!("{name}: {e}"))?;
        let deleted = futures_executor::block_on(admin.delete_topics(&[name], &AdminOptions::new()));
        deleted.map_err(|e| format!("{name}: {e}"))?;
        let deadline = Instant::now() + PATIENCE;
        while self.partitions(name).is_ok() {
            if Instant::now() > deadline {
                return Err(format!("{name}: still there {PATIENCE:?} after it was deleted"));
            }
        }
        Ok(())
    }

    /// Each partition's end: the last stable offset where `is_committed`, else behind the last record.
    pub fn ends(&self, topic: &str, is_committed: bool) -> Result<BTreeMap<i32, i64>, String> {
        let consumer = self.consumer(if is_committed { "read_committed" } else { "read_uncommitted" }, "harness")?;
        let partitions = self.partitions(topic)?.into_iter();
        let end = |partition| match consumer.fetch_watermarks(topic, partition, PATIENCE) {
            Ok((_, end)) => Ok((partition, end)),
            Err(e) => Err(format!("{topic}/{partition}: {e}")),
        };
        partitions.map(end).collect()
    }

    /// Offsets that a group has committed; a partition without one is missing.
    pub fn group_offsets(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>, String> {
        let mut asked = TopicPartitionList::new();
        for partition in self.partitions(topic)? {
            asked.add_partition(topic, partition);
        }
        let offsets = self.consumer("read_committed", group)?.committed_offsets(asked, PATIENCE);
        let offsets = offsets.map_err(|e| format!("group {group}, {topic}: {e}"))?;
        let found = offsets.elements().into_iter().filter_map(|element| match element.offset() {
            Offset::Offset(offset) => Some((element.partition(), offset)),
            _ => None,
        });
        Ok(found.collect())
    }

    /// Waits until no transaction is open on these topics; what is still open then.
    pub fn wait_settled(&self, topics: &[&str], within: Duration) -> Result<(), String> {
        let deadline = Instant::now() + within;
        loop {
            let mut open = Vec::new();
            for topic in topics {
                let (stable, end) = (self.ends(topic, true)?, self.ends(topic, false)?);
                let differs = |(partition, stable): (&i32, &i64)| {
                    (end.get(partition) != Some(stable)).then(|| format!("{topic}/{partition} at {stable}"))
                };
                open.extend(stable.iter().filter_map(differs));
            }
            if open.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("transactions are still open after {within:?}: {}", open.join(", ")));
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// By the files of each partition's leader; nothing for a reader that believes the brokers.
    fn aborted(&self, topic: &str) -> Result<BTreeMap<i32, Aborted>, String> {
        let Some(segments) = &self.segments else {
            return Ok(BTreeMap::new());
        };
        let leaders = self.leaders(topic)?.into_iter();
        leaders.map(|(partition, leader)| Ok((partition, segments.aborted(leader, topic, partition)?))).collect()
    }

    /// Every committed record, each partition in order. By the brokers' files, the topic must have settled.
    pub fn committed(&self, topic: &str, mut take: impl FnMut(&Row)) -> Result<(), String> {
        let aborted = self.aborted(topic)?;
        let stands = |row: &Row| !aborted.get(&row.partition).is_some_and(|aborted| aborted.has(row.offset));
        let isolation = if self.segments.is_some() { "read_uncommitted" } else { "read_committed" };
        let consumer = self.consumer(isolation, "harness")?;
        let mut left: BTreeSet<i32> = self.partitions(topic)?.into_iter().collect();
        let mut all = TopicPartitionList::new();
        for partition in &left {
            all.add_partition_offset(topic, *partition, Offset::Beginning).map_err(|e| format!("{topic}: {e}"))?;
        }
        consumer.assign(&all).map_err(|e| format!("{topic}: {e}"))?;
        let mut heard = Instant::now();
        while !left.is_empty() {
            match consumer.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => Some(row_of(&message)).filter(stands).iter().for_each(&mut take),
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(left.remove(&partition)),
                // Connections may break while a broker comes back; librdkafka goes on by itself.
                Some(Err(_)) | None => {
                    if heard.elapsed() > SILENCE {
                        return Err(format!("{topic}: no record for {SILENCE:?}; not at the end of {left:?}"));
                    }
                    continue;
                }
            }
            heard = Instant::now();
        }
        Ok(())
    }

    /// Records of the largest committed transaction on each partition of a changelog. Between two transactions lies a
    /// control record, which a consumer sees as a hole.
    pub fn largest_transactions(&self, topic: &str) -> Result<BTreeMap<i32, u64>, String> {
        let mut runs: BTreeMap<i32, (i64, u64, u64)> = BTreeMap::new();
        self.committed(topic, |row| {
            let (last, length, largest) = runs.entry(row.partition).or_insert((-2, 0, 0));
            *length = if row.offset == *last + 1 { *length + 1 } else { 1 };
            *largest = (*largest).max(*length);
            *last = row.offset;
        })?;
        Ok(runs.into_iter().map(|(partition, (_, _, largest))| (partition, largest)).collect())
    }
}
