//! Carries RECOVER out: each question of `exactly_once::Recovery` is one call to a broker or a store.
//!
//! Runs on a recovery thread, one task at a time on each; may block, and asks again for as long as a broker is away.
//! Invariant: committed offsets are read through a read_committed handle (a read_uncommitted one answers with the old
//! offset, silently), true ends through a read_uncommitted one.

use super::client::Connection;
use super::ends;
use super::errors::{Fault, is_configuration};
use super::readers::Readers;
use super::restore;
use crate::exactly_once::{Action, Answer, Facts, Protections, Ready, Recovery};
use crate::state_dir;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemill_state::{Changes, MemoryStore, Meta, RocksOptions, RocksStore, StateStore, StoreError};
use tidemill_topology::{Start, TaskId};

const PATIENCE: Duration = Duration::from_secs(2);
/// A time is looked for in a segment's index, which may be cold.
const FAR: Duration = Duration::from_secs(10);
/// Longest wait for an answer that is not needed.
const WARMING: Duration = Duration::from_millis(300);
const AFTER_AN_ERROR: Duration = Duration::from_millis(200);

/// Handles that look at logs and offsets; shared by every recovery of a process.
pub struct Log {
    connection: Connection,
    stable: BaseConsumer,
    raw: BaseConsumer,
    readers: Readers,
    protections: Protections,
}

/// A task that is ready to run, and its store.
pub struct Recovered {
    pub ready: Ready,
    pub store: Arc<dyn StateStore>,
    /// When its changelog began to be read; now if nothing had to be.
    pub reading: Instant,
}

/// What one recovery needs beyond its facts.
pub struct Place<'a> {
    pub folder: &'a Path,
    pub options: &'a RocksOptions,
    pub changelog: Option<&'a str>,
    /// True once the task was revoked: nobody waits for the result any more.
    pub cancelled: &'a dyn Fn() -> bool,
    /// Is told how far the changelog has been read: from, at, end.
    pub told: &'a dyn Fn((i64, i64, i64)),
}

impl Log {
    /// # Errors
    /// A setting that librdkafka refuses.
    pub fn open(connection: &Connection, protections: Protections) -> Result<Log, Fault> {
        let wrong = |e: KafkaError| Fault::configuration(format!("{e}; check kafka.properties"));
        let stable = if protections.on("stable") { connection.stable() } else { connection.raw() };
        let raw = if protections.on("raw_end") { connection.raw() } else { connection.stable() };
        Ok(Log {
            connection: connection.clone(),
            stable: stable.create().map_err(wrong)?,
            raw: raw.create().map_err(wrong)?,
            readers: Readers::new(connection),
            protections,
        })
    }

    /// What a recovery needs and may do before it asks its first question: connections to the brokers, whose answers
    /// count for nothing yet, and the store that lies in the task's folder. Whatever fails here is met again.
    pub fn prepare(&self, task: &TaskId, place: &Place<'_>) -> Option<Arc<RocksStore>> {
        let began = Instant::now();
        let mut list = TopicPartitionList::new();
        list.add_partition(&task.topic, task.partition);
        let offsets = self.stable.committed_offsets(list, WARMING).err();
        let end = |handle: &BaseConsumer| {
            let topic = place.changelog?;
            handle.fetch_watermarks(topic, task.partition, WARMING).err()
        };
        let errors = [offsets, end(&self.raw), end(&self.stable)];
        let connected = began.elapsed();
        let mut store = None;
        if place.changelog.is_some() {
            drop(open_store(place, &mut store));
        }
        let (us, all_us) = (connected.as_micros() as u64, began.elapsed().as_micros() as u64);
        tracing::debug!(%task, us, all_us, ?errors, store = store.is_some(), "recovery prepared");
        store
    }

    /// RECOVER(task) from the first question to ready; `None` when it was cancelled.
    ///
    /// # Errors
    /// A halt, a store that fails, or a right that is missing.
    pub fn recover(
        &self,
        facts: Facts,
        place: &Place<'_>,
        prepared: Option<Arc<RocksStore>>,
    ) -> Result<Option<Recovered>, Fault> {
        let task = facts.task.clone();
        let mut recovery = Recovery::new(facts, self.protections);
        let mut store: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
        let (mut opened, mut reading) = (prepared, None);
        let mut action = recovery.begin();
        loop {
            if (place.cancelled)() {
                return Ok(None);
            }
            let (asked, began) = (action.name(), Instant::now());
            let answer = match action {
                Action::Ready(ready) => {
                    return Ok(Some(Recovered { ready, store, reading: reading.unwrap_or_else(Instant::now) }));
                }
                Action::Halt(halt) => return Err(Fault { cause: halt.cause, configuration: halt.configuration }),
                Action::Wait(time) => {
                    std::thread::sleep(time);
                    Answer::Waited
                }
                Action::CommittedOffset => self.committed_offset(&task)?,
                Action::ChangelogEnds => {
                    let (start, end) = self.ends(&self.raw, changelog(place), task.partition)?;
                    Answer::Ends { start, end }
                }
                Action::LastStableOffset => {
                    let handle = &self.stable;
                    Answer::StableEnd(self.ends(handle, changelog(place), task.partition)?.1)
                }
                Action::OpenStore => open_store(place, &mut opened)?,
                Action::RollForward { from, end, rebuild } => {
                    reading.get_or_insert(began);
                    let at = restore::Span { topic: changelog(place), partition: task.partition, from, end };
                    let old = if rebuild { drop_store(&mut opened) } else { opened.clone() };
                    let Some((filled, answer)) = self.roll_forward(place, old, &at)? else { return Ok(None) };
                    store = filled.clone();
                    opened = Some(filled);
                    answer
                }
                Action::InputStart(start) => self.input_start(&task, start)?,
            };
            tracing::debug!(%task, asked, us = began.elapsed().as_micros() as u64, "recovery");
            action = recovery.answer(answer);
        }
    }

    /// Step 2. A pending transaction shows as a time-out and nothing else.
    fn committed_offset(&self, task: &TaskId) -> Result<Answer, Fault> {
        let mut list = TopicPartitionList::new();
        list.add_partition(&task.topic, task.partition);
        match self.stable.committed_offsets(list, PATIENCE) {
            Ok(found) => {
                let offset = found.elements().first().map(|e| e.offset());
                Ok(Answer::Offset(match offset {
                    Some(Offset::Offset(at)) => Some(at),
                    _ => None,
                }))
            }
            Err(KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut)) => Ok(Answer::OffsetPending),
            Err(e) => {
                self.again(&e, &format!("committed offset of {task}"))?;
                Ok(Answer::OffsetPending)
            }
        }
    }

    /// Where a partition ends now, open transactions included: behind it nobody has written anything. `None`: no answer.
    pub fn end(&self, topic: &str, partition: i32) -> Option<i64> {
        ends::ends(&self.raw, (topic, partition), PATIENCE).ok().map(|(_, end)| end)
    }

    /// First offset and end, as this handle sees them.
    fn ends(&self, handle: &BaseConsumer, topic: &str, partition: i32) -> Result<(i64, i64), Fault> {
        loop {
            match ends::ends(handle, (topic, partition), PATIENCE) {
                Ok(ends) => return Ok(ends),
                Err(e) => self.again(&e, &format!("the end of {topic}/{partition}"))?,
            }
        }
    }

    /// `None` when it was cancelled: then a store that was to be replaced is still there.
    fn roll_forward(
        &self,
        place: &Place<'_>,
        store: Option<Arc<RocksStore>>,
        span: &restore::Span<'_>,
    ) -> Result<Option<(Arc<RocksStore>, Answer)>, Fault> {
        let read = |into: &RocksStore| restore::roll_forward(&self.readers, into, span, (place.cancelled, place.told));
        if let Some(store) = store {
            let Some((checkpoint, records)) = read(&store)? else { return Ok(None) };
            return Ok(Some((store, Answer::Rolled { checkpoint, records })));
        }
        let rebuild = RocksStore::rebuild(place.folder, place.options).map_err(store_fault)?;
        let Some((checkpoint, records)) = read(rebuild.store())? else { return Ok(None) };
        if records == 0 {
            let nothing = Meta { checkpoint: Vec::new(), position: span.from, append_time: 0 };
            rebuild.store().apply(&Changes::new(), &nothing).map_err(store_fault)?;
        }
        let store = rebuild.finish().map_err(store_fault)?;
        Ok(Some((Arc::new(store), Answer::Rolled { checkpoint, records })))
    }

    fn input_start(&self, task: &TaskId, start: Start) -> Result<Answer, Fault> {
        if start == Start::Committed {
            let (group, topic) = (&self.connection.group, &task.topic);
            let cause = format!("task {task}: group {group} has no committed offset on {topic}/{}", task.partition);
            return Err(Fault::configuration(format!(
                "{cause}; set 'start: earliest' or 'latest', or name the right group"
            )));
        }
        let (first, end) = self.ends(&self.raw, &task.topic, task.partition)?;
        Ok(Answer::Offset(Some(match start {
            Start::Latest => end,
            Start::At(time) => self.offset_at(task, time)?.unwrap_or(end),
            Start::Earliest | Start::Committed => first,
        })))
    }

    fn offset_at(&self, task: &TaskId, time: i64) -> Result<Option<i64>, Fault> {
        loop {
            match ends::at_time(&self.raw, (&task.topic, task.partition), time, FAR) {
                Ok(offset) => return Ok(offset),
                Err(e) => self.again(&e, &format!("the offset of {task} at its start time"))?,
            }
        }
    }

    /// A broker that is away comes back; a missing right does not.
    fn again(&self, error: &KafkaError, what: &str) -> Result<(), Fault> {
        if error.rdkafka_error_code().is_some_and(is_configuration) {
            return Err(Fault::configuration(format!("{what}: {error}; check the topic and this user's rights")));
        }
        // What librdkafka says then sends people to look for a partition that is there.
        let leaderless = error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownPartition);
        let error = if leaderless { "no broker leads the partition now".to_owned() } else { error.to_string() };
        tracing::warn!(error, "asking again for {what}");
        std::thread::sleep(AFTER_AN_ERROR);
        Ok(())
    }
}

fn changelog<'a>(place: &Place<'a>) -> &'a str {
    place.changelog.expect("only a stage with state asks for its changelog")
}

/// Step 5. A store that is still open from an earlier turn of the same recovery is looked at again.
fn open_store(place: &Place<'_>, opened: &mut Option<Arc<RocksStore>>) -> Result<Answer, Fault> {
    if opened.is_none() {
        if !RocksStore::exists(place.folder).map_err(store_fault)? {
            return Ok(Answer::NoStore);
        }
        if let Some(cause) = state_dir::condemned(place.folder) {
            return Ok(Answer::Corrupt(cause));
        }
        if !place.folder.join("CURRENT").exists() {
            return Ok(Answer::Corrupt(format!("{} has files but no CURRENT", place.folder.display())));
        }
        match RocksStore::open(place.folder, place.options) {
            Ok(store) => *opened = Some(Arc::new(store)),
            Err(e) if e.is_corrupt() => return Ok(Answer::Corrupt(e.to_string())),
            Err(e) => return Err(store_fault(e)),
        }
    }
    let store = opened.as_ref().expect("opened above");
    match store.meta() {
        // A store that was made from an empty changelog has a position, but never had a transaction.
        Ok(meta) => Ok(Answer::Store(meta.filter(|m| !m.checkpoint.is_empty()))),
        Err(e) if e.is_corrupt() => Ok(Answer::Corrupt(e.to_string())),
        Err(e) => Err(store_fault(e)),
    }
}

/// Lets go of a store that is about to be replaced.
fn drop_store(opened: &mut Option<Arc<RocksStore>>) -> Option<Arc<RocksStore>> {
    *opened = None;
    None
}

fn store_fault(e: StoreError) -> Fault {
    Fault::failed(state_dir::condemn(&e))
}
