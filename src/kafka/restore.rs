//! Rolls a store forward: committed changelog records from a position to an end, in write batches with their position.
//!
//! Called by `recovery.rs` (step 6). Knows nothing of why.
//! Invariant: a store's position never passes a record that it does not hold.

use super::errors::Fault;
use super::native::{self, DataQueue, Message};
use super::readers::Readers;
use crate::stop_points::{self, Point};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use std::ops::ControlFlow;
use std::time::Duration;
use tidemill_state::keys::CHECKPOINT_KEY;
use tidemill_state::{Changes, Meta, RocksStore, StateStore};
use tidemill_topology::Checkpoint;

const PATIENCE: Duration = Duration::from_secs(2);
/// Longest wait for records; a cancelled restore goes on as long.
const WAIT_MS: i32 = 100;
/// Most records of one read.
const READ: usize = 4_000;
/// Bytes of one write batch: few enough to lie in a processor's cache still when they are written.
const WRITE: usize = 256 << 10;

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
    // A client that has read before looks for the leaders of a new topic once a second and no sooner (rd_kafka_topic_scan_all, 2.12).
    if let Err(error) = reader.fetch_metadata(Some(span.topic), PATIENCE) {
        tracing::debug!(%error, "the leader of {name} is not known yet");
    }
    let mut queue = DataQueue::new(reader, READ);
    if !native::forward(reader, queue.reference(), span.topic, span.partition) {
        return Err(Fault::failed(format!("changelog {name}: librdkafka has no queue for it")));
    }
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(span.topic, span.partition, Offset::Offset(span.from))
        .and_then(|()| reader.assign(&list))
        .map_err(|e| unreadable(&name, &e))?;
    while !cancelled() {
        match reader.poll(Duration::ZERO) {
            None => {}
            Some(Err(error)) => heard(&error, &name)?,
            Some(Ok(_)) => {
                return Err(Fault::failed(format!("changelog {name}: a record came past its queue; start again")));
            }
        }
        let mut over = Ok(false);
        queue.read(WAIT_MS, |message| {
            over = roller.hear(&message, span, told);
            if matches!(over, Ok(false)) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if over? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A broker that is away comes back; a missing right does not.
fn heard(error: &KafkaError, name: &str) -> Result<(), Fault> {
    if error.rdkafka_error_code().is_some_and(super::errors::is_configuration) {
        return Err(unreadable(name, error));
    }
    tracing::warn!(%error, "reading {name} again");
    Ok(())
}

fn unreadable(name: &str, error: &KafkaError) -> Fault {
    Fault::configuration(format!("changelog {name}: {error}; run 'tidemill topics check'"))
}

impl Roller<'_> {
    /// True at the end.
    fn hear(&mut self, message: &Message<'_>, span: &Span<'_>, told: &dyn Fn((i64, i64, i64))) -> Result<bool, Fault> {
        match message.error() {
            None => {
                self.take(message, span)?;
                if self.records.is_multiple_of(REPORT) {
                    told((span.from, message.offset(), span.end));
                    stop_points::reached(Point::Restore);
                }
            }
            Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF) => return Ok(true),
            Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET) => {
                let gone = "records were deleted from it while it was read; start again";
                return Err(Fault::failed(format!("changelog {}/{}: {gone}", span.topic, span.partition)));
            }
            Some(code) => {
                heard(&KafkaError::MessageConsumption(code.into()), &format!("{}/{}", span.topic, span.partition))?;
            }
        }
        Ok(false)
    }

    fn take(&mut self, record: &Message<'_>, span: &Span<'_>) -> Result<(), Fault> {
        self.records += 1;
        let (key, value) = (record.key().unwrap_or_default(), record.value());
        if key == CHECKPOINT_KEY {
            let bytes = value.unwrap_or_default();
            let place = || format!("{}/{} offset {}", span.topic, span.partition, record.offset());
            let checkpoint = Checkpoint::decode(bytes)
                .map_err(|e| Fault::failed(format!("checkpoint at {}: {e}; run the version that wrote it", place())))?;
            self.found = Some(checkpoint);
            self.meta.checkpoint = bytes.to_vec();
            self.meta.append_time = record.timestamp().max(0);
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
