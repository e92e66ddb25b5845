//! The consumer's context: what a rebalance callback may do, and no more.
//!
//! Runs on the consumer thread, inside its poll. On revoke: unassign, note, return; never commit or wait here, for the
//! whole consumer stands still meanwhile.
//! Invariant: every assignment of a task gets a number that was never used before in this process.

use super::native::{self, QueueRef, forward};
use super::statistics::Seen;
use crate::exactly_once::Protections;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidemill_topology::TaskId;

/// Numbers of assignments: one sequence for the process, whatever consumers it opens.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

/// What callbacks have noted since the last look.
#[derive(Default)]
pub(super) struct Noted {
    pub owned: BTreeMap<TaskId, u64>,
    pub assigned: Vec<(TaskId, u64)>,
    pub revoked: Vec<(TaskId, u64)>,
    /// A rebalance was served: a snapshot is due, also when nothing of ours moved.
    pub served: bool,
    /// Our member id when the last one was served; empty: none.
    pub served_as: String,
    /// The consumer is of no use any more.
    pub fatal: Option<String>,
}

impl Noted {
    /// Gives all tasks back that were not just assigned, and takes them again, each under a new number.
    pub fn take_again(&mut self) -> Vec<TaskId> {
        let known = |(task, number): (&TaskId, &u64)| {
            let fresh = self.assigned.iter().any(|(t, n)| (t, n) == (task, number));
            (!fresh).then(|| (task.clone(), *number))
        };
        let doubtful: Vec<_> = self.owned.iter().filter_map(known).collect();
        for (task, number) in &doubtful {
            let next = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
            self.owned.insert(task.clone(), next);
            self.assigned.push((task.clone(), next));
            self.revoked.push((task.clone(), *number));
        }
        doubtful.into_iter().map(|(task, _)| task).collect()
    }
}

/// Shared with the reader, which owns the consumer.
pub(super) struct Group {
    /// The stage that reads each topic.
    stages: BTreeMap<Arc<str>, Arc<str>>,
    queue: Mutex<Option<QueueRef>>,
    noted: Mutex<Noted>,
    protections: Protections,
    seen: Seen,
}

impl Group {
    pub fn new(stages: BTreeMap<Arc<str>, Arc<str>>, protections: Protections, seen: Seen) -> Group {
        Group { stages, queue: Mutex::new(None), noted: Mutex::default(), protections, seen }
    }

    pub fn forward_to(&self, queue: QueueRef) {
        *self.queue.lock().unwrap_or_else(PoisonError::into_inner) = Some(queue);
    }

    pub fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tasks(&self, list: &TopicPartitionList) -> Vec<TaskId> {
        let elements = list.elements();
        let task = |topic: &str, partition| {
            let (topic, stage) = self.stages.get_key_value(topic)?;
            Some(TaskId { stage: stage.clone(), topic: topic.clone(), partition })
        };
        elements.iter().filter_map(|e| task(e.topic(), e.partition())).collect()
    }

    fn assign(&self, consumer: &BaseConsumer<Group>, list: &mut TopicPartitionList) {
        let queue = *self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let tasks = self.tasks(list);
        if let Some(queue) = queue {
            for task in &tasks {
                forward(consumer, queue, &task.topic, task.partition);
            }
        }
        // An explicit offset and a pause: nothing is fetched until recovery has said where the task stands.
        let mut at = TopicPartitionList::new();
        for task in &tasks {
            let added = at.add_partition_offset(&task.topic, task.partition, Offset::Offset(0));
            added.expect("an offset of 0 is valid");
        }
        let done =
            consumer.incremental_assign(&at).and_then(|()| if tasks.is_empty() { Ok(()) } else { consumer.pause(&at) });
        let mut noted = self.noted();
        if let Err(e) = done {
            noted.fatal = Some(format!("assigning {} tasks failed: {e}", tasks.len()));
        }
        noted.served |= !tasks.is_empty() || self.protections.on("publish_empty");
        for task in tasks {
            let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
            noted.owned.insert(task.clone(), number);
            noted.assigned.push((task, number));
        }
    }

    fn revoke(&self, consumer: &BaseConsumer<Group>, list: &TopicPartitionList) {
        let done = consumer.incremental_unassign(list);
        let mut noted = self.noted();
        if let Err(e) = done {
            noted.fatal = Some(format!("giving {} tasks back failed: {e}", list.count()));
        }
        noted.served = true;
        for task in self.tasks(list) {
            if let Some(number) = noted.owned.remove(&task) {
                noted.revoked.push((task, number));
            }
        }
    }
}

impl ClientContext for Group {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        if (level as i32) <= RDKafkaLogLevel::Warning as i32 {
            tracing::warn!(target: "librdkafka", facility, "{text}");
        } else {
            tracing::debug!(target: "librdkafka", facility, "{text}");
        }
    }

    fn stats_raw(&self, json: &[u8]) {
        self.seen.statistics(json);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.seen.consume_error();
        tracing::warn!(target: "librdkafka", %error, "{reason}");
    }
}

impl ConsumerContext for Group {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        // Before the client may join anew, which it does once this one is answered.
        self.noted().served_as = native::member(consumer).map(|(_, id)| id).unwrap_or_default();
        match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, list),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.revoke(consumer, list),
            other => self.noted().fatal = Some(format!("rebalance failed: {other:?}")),
        }
    }
}
