//! What has been read from between two stages is deleted: once a minute, below the reader's committed offsets.
//!
//! Told by committer threads, works on a thread of its own. Knows nothing of tasks. Invariant: only offsets that were
//! committed are told, so nothing is deleted that a recovery could ask for.

use super::broker::{self, Brokers};
use super::errors::Fault;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// See the module.
pub struct Purge {
    /// Repartition topics.
    topics: BTreeSet<String>,
    committed: Mutex<BTreeMap<(String, i32), i64>>,
}

impl Purge {
    /// Deletes in the background as long as the process lives; without such topics there is nothing to do.
    ///
    /// # Errors
    /// No thread.
    pub fn start(brokers: &Brokers, topics: BTreeSet<String>, every: Duration) -> Result<Arc<Purge>, Fault> {
        let purge = Arc::new(Purge { topics, committed: Mutex::default() });
        if purge.topics.is_empty() {
            return Ok(purge);
        }
        let (brokers, own) = (brokers.clone(), purge.clone());
        let work = move || {
            loop {
                std::thread::sleep(every);
                own.delete(&brokers);
            }
        };
        let thread = std::thread::Builder::new().name("purge".into()).spawn(work);
        thread.map_err(|e| Fault::failed(format!("no thread for deleting what was read: {e}")))?;
        Ok(purge)
    }

    /// The group has committed `offset`.
    pub fn note(&self, topic: &str, partition: i32, offset: i64) {
        if self.topics.contains(topic) {
            let mut committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
            committed.insert((topic.to_owned(), partition), offset);
        }
    }

    fn delete(&self, brokers: &Brokers) {
        let committed = std::mem::take(&mut *self.committed.lock().unwrap_or_else(PoisonError::into_inner));
        if committed.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::new();
        for ((topic, partition), offset) in &committed {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset)).expect("a position is an offset");
        }
        // What is not deleted now is deleted with what comes next.
        match futures_executor::block_on(brokers.admin.delete_records(&list, &broker::options())) {
            Ok(_) => tracing::debug!(partitions = committed.len(), "deleted what was read between stages"),
            Err(error) => {
                tracing::warn!(%error, "deleting what was read between stages; does this user have the right to delete there?")
            }
        }
    }
}
