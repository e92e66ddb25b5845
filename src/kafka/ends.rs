//! Where a partition begins and ends, and which offset stands at a time: asked of the partition's leader.
//!
//! Used wherever this room looks at a log without reading it. Invariant: an answer is today's, or an error; a leader that was
//! away when a client last looked is looked for again at each question.

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use std::time::Duration;

/// First offset and end, as a handle of this isolation level sees them. May take three times `patience`.
///
/// # Errors
/// Nobody leads the partition now, or its leader does not answer.
pub(super) fn ends(
    handle: &BaseConsumer<impl ConsumerContext>,
    (topic, partition): (&str, i32),
    patience: Duration,
) -> Result<(i64, i64), KafkaError> {
    of_leader(handle, topic, patience, || handle.fetch_watermarks(topic, partition, patience))
}

/// The offset of the first record of this timestamp (ms since 1970) or later; `None`: there is none. May take three times
/// `patience`.
///
/// # Errors
/// Nobody leads the partition now, or its leader does not answer.
pub(super) fn at_time(
    handle: &BaseConsumer,
    (topic, partition): (&str, i32),
    time: i64,
    patience: Duration,
) -> Result<Option<i64>, KafkaError> {
    let found = of_leader(handle, topic, patience, || {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(time))?;
        handle.offsets_for_times(list, patience)
    })?;
    Ok(found.elements().first().and_then(|e| match e.offset() {
        Offset::Offset(at) => Some(at),
        _ => None,
    }))
}

/// librdkafka keeps what it heard last of a topic, for minutes. Where that was "no leader", it asks nobody and says
/// "unknown partition" (`rd_kafka_topic_partition_list_query_leaders`, 2.12), long after there is one again. It says so of a topic
/// that is gone, or that we may not see, too; the brokers say which.
fn of_leader<R>(
    handle: &BaseConsumer<impl ConsumerContext>,
    topic: &str,
    patience: Duration,
    ask: impl Fn() -> Result<R, KafkaError>,
) -> Result<R, KafkaError> {
    match ask() {
        Err(e) if e.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownPartition) => {
            let metadata = handle.fetch_metadata(Some(topic), patience)?;
            match metadata.topics().iter().find(|t| t.name() == topic).and_then(|t| t.error()) {
                Some(code) => Err(KafkaError::MetadataFetch(code.into())),
                None => ask(),
            }
        }
        answer => answer,
    }
}
