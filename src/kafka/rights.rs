//! Whether this user may do what `run` will do: read as the group, and begin transactions under the application's names.
//!
//! Called by `cli/doctor.rs`. Writes nothing: a transaction that was never begun leaves nothing to be seen.
//! Invariant: no name of a running process is used, or it would be fenced.

use super::client::Connection;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, Producer};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// What was tried, and what came of it. `topic`: one that the group reads.
pub fn rights(connection: &Connection, topic: &str) -> Vec<(String, Result<(), String>)> {
    let offsets = || -> Result<(), KafkaError> {
        let reader: BaseConsumer = connection.stable().create()?;
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, 0);
        reader.committed_offsets(list, PATIENCE).map(drop)
    };
    let transactions = || -> Result<(), KafkaError> {
        let producer: BaseProducer = connection.producer(0).create()?;
        producer.init_transactions(PATIENCE)
    };
    let said = |done: Result<(), KafkaError>| done.map_err(|e| e.to_string());
    vec![
        (format!("read offsets of group {}", connection.group), said(offsets())),
        (format!("begin transactions as {}-*", connection.app), said(transactions())),
    ]
}
