//! Rolls a store forward: committed changelog records from a position to an end, in write batches with their position.
//!
//! Called by `recovery.rs` (step 6). Knows nothing of why.
//! Invariant: a store's position never passes a record that it does not hold.

use super::errors::Fault;
use super::readers::Readers;
use crate::stop_points::{self, Point};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::time::Duration;
use tidemill_state::keys::CHECKPOINT_KEY;
use tidemill_state::{Changes, Meta, RocksStore, StateStore};
use tidemill_topology::Checkpoint;

const POLL: Duration = Duration::from_millis(100);
/// Bytes of one write batch.
const WRITE: usize = 4 << 20;

/// Part of a changelog partition.
pub(super) struct Span<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub from: i64,
    /// The end as a read_uncommitted handle saw it; nothing that matters stands behind it.
    pub end: i64,
}

/// Between two reports of progress, records.
const REPORT: u64 = 128;

/// Whether it was cancelled, and who hears how far it is: from, at, end.
pub(super) type Watch<'a> = (&'a dyn Fn() -> bool, &'a dyn Fn((i64, i64, i64)));

struct Roller<'a> {
    store: &'a RocksStore,
    changes: Changes,
    meta: Meta,
    found: Option<Checkpoint>,
    records: u64,
}

/// The last checkpoint read, if any, and how many records were read; `None` when it was cancelled.
///
/// # Errors
/// The store fails, a checkpoint cannot be read, or the changelog cannot.
pub(super) fn roll_forward(
    readers: &Readers,
    store: &RocksStore,
    span: &Span<'_>,
    watch: Watch<'_>,
) -> Result<Option<(Option<Checkpoint>, u64)>, Fault> {
    let known = store.meta().map_err(|e| Fault::failed(e.to_string()))?;
    let meta = known.unwrap_or(Meta { checkpoint: Vec::new(), position: span.from, append_time: 0 });
    // Behind a committed checkpoint stands its control record: a single offset holds nothing to read.
    let behind = if meta.checkpoint.is_empty() { span.from } else { span.from + 1 };
    if behind >= span.end {
        return Ok(Some((None, 0)));
    }
    let mut roller = Roller { store, changes: Changes::new(), meta, found: None, records: 0 };
    let whole = readers.lend(|reader| read(reader, span, &mut roller, watch))?;
    roller.write()?;
    Ok(whole.then_some((roller.found, roller.records)))
}

/// False when it was cancelled before the end.
fn read(
    reader: &BaseConsumer,
    span: &Span<'_>,
    roller: &mut Roller<'_>,
    (cancelled, told): Watch<'_>,
) -> Result<bool, Fault> {
    let name = format!("{}/{}", span.topic, span.partition);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(span.topic, span.partition, Offset::Offset(span.from))
        .and_then(|()| reader.assign(&list))
        .map_err(|e| unreadable(&name, &e))?;
    while !cancelled() {
        match reader.poll(POLL) {
            Some(Ok(record)) if (record.topic(), record.partition()) == (span.topic, span.partition) => {
                roller.take(&record)?;
                if roller.records.is_multiple_of(REPORT) {
                    told((span.from, record.offset(), span.end));
                    stop_points::reached(Point::Restore);
                }
            }
            None | Some(Ok(_)) => {}
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(true),
            Some(Err(e)) if e.rdkafka_error_code().is_some_and(super::errors::is_configuration) => {
                return Err(unreadable(&name, &e));
            }
            Some(Err(error)) => tracing::warn!(%error, "reading {name} again"),
        }
    }
    Ok(false)
}

fn unreadable(name: &str, error: &KafkaError) -> Fault {
    Fault::configuration(format!("changelog {name}: {error}; run 'tidemill topics check'"))
}

impl Roller<'_> {
    fn take(&mut self, record: &BorrowedMessage<'_>) -> Result<(), Fault> {
        self.records += 1;
        let (key, value) = (record.key().unwrap_or_default(), record.payload());
        if key == CHECKPOINT_KEY {
            let bytes = value.unwrap_or_default();
            let place = || format!("{}/{} offset {}", record.topic(), record.partition(), record.offset());
            let checkpoint = Checkpoint::decode(bytes)
                .map_err(|e| Fault::failed(format!("checkpoint at {}: {e}; run the version that wrote it", place())))?;
            self.found = Some(checkpoint);
            self.meta.checkpoint = bytes.to_vec();
            self.meta.append_time = record.timestamp().to_millis().unwrap_or(0);
        } else {
            self.changes.push(key, value);
        }
        self.meta.position = record.offset() + 1;
        if self.changes.bytes() >= WRITE { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), Fault> {
        if self.records == 0 {
            return Ok(());
        }
        self.store.apply(&self.changes, &self.meta).map_err(|e| Fault::failed(e.to_string()))?;
        self.changes.clear();
        Ok(())
    }
}
