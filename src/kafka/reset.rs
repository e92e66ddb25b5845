//! A topology's topics are worked again from another place: positions move, state becomes empty, in one transaction.
//!
//! Called by `cli/reset.rs`. It writes what a task would write: tombstones for every live key of its changelog, then a
//! checkpoint at the new position, and the group's offsets. Stores on any disk roll forward over it as over any other
//! transaction. Invariant: positions, state and offsets move together or not at all.

use super::broker::Brokers;
use super::client::Connection;
use super::ends;
use super::errors::Fault;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tidemill_state::keys::CHECKPOINT_KEY;
use tidemill_topology::{Checkpoint, Counts, Position, Stage, TaskId, Topology};

const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);
/// The longest that brokers allow by default: all tombstones of all tasks are one transaction.
const TRANSACTION_MS: &str = "900000";

/// Where sources are to be worked from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Earliest,
    Latest,
    /// The first record of this timestamp or later, ms since 1970.
    Time(i64),
}

/// What a reset does to one task.
#[derive(Debug, Clone)]
pub struct Move {
    pub task: TaskId,
    /// What the group has committed; none: it never ran.
    pub from: Option<i64>,
    pub to: i64,
    /// Live keys that become tombstones.
    pub keys: usize,
}

/// A reset that has been looked at, and may be carried out.
pub struct Reset<'a> {
    connection: &'a Connection,
    stable: BaseConsumer,
    raw: BaseConsumer,
    tasks: Vec<(Move, Option<Written>)>,
}

/// What goes into a task's changelog.
struct Written {
    changelog: Arc<str>,
    tombstones: BTreeSet<Vec<u8>>,
    checkpoint: Checkpoint,
}

impl<'a> Reset<'a> {
    /// Looks at every task: where it stands, where it would go, what it would forget. Changes nothing.
    ///
    /// # Errors
    /// Somebody is in the group, or a topic cannot be read.
    pub fn plan(
        connection: &'a Connection,
        topology: &Topology,
        partitions: &BTreeMap<String, i32>,
        target: Target,
    ) -> Result<Reset<'a>, Fault> {
        let wrong = |e: KafkaError| Fault::configuration(format!("{e}; check kafka.properties"));
        let stable: BaseConsumer = connection.stable().create().map_err(wrong)?;
        let raw: BaseConsumer = connection.raw().create().map_err(wrong)?;
        let mut reset = Reset { connection, stable, raw, tasks: Vec::new() };
        reset.nobody_is_there()?;
        for stage in &topology.stages {
            for partition in 0..partitions.get(&*stage.topic).copied().unwrap_or(0) {
                reset.look(stage, partition, (target, partitions[&*stage.topic]))?;
            }
        }
        Ok(reset)
    }

    pub fn moves(&self) -> impl Iterator<Item = &Move> {
        self.tasks.iter().map(|(one, _)| one)
    }

    fn nobody_is_there(&self) -> Result<(), Fault> {
        let group = &self.connection.group;
        let failed = |e: KafkaError| Fault::failed(format!("group {group}: {e}; is the broker up?"));
        let list = self.stable.fetch_group_list(Some(group), PATIENCE).map_err(failed)?;
        let members = list.groups().iter().map(|g| g.members().len()).sum::<usize>();
        if members > 0 {
            let cause = format!("group {group} has {members} members");
            let remedy =
                "stop every process of the app, and wait until their sessions are over (session.timeout.ms, 45 s)";
            return Err(Fault::failed(format!("{cause}; {remedy}")));
        }
        Ok(())
    }

    fn look(&mut self, stage: &Arc<Stage>, partition: i32, (target, count): (Target, i32)) -> Result<(), Fault> {
        let task = stage.task(partition);
        let from = self.committed(&task)?;
        // What lies between two stages belongs to the state that goes.
        let to = self.position(&task, if stage.takes_partials() { Target::Latest } else { target })?;
        let written = match &stage.changelog {
            Some(changelog) => Some(self.read(stage, changelog.clone(), (&task, to, count))?),
            None => None,
        };
        let keys = written.as_ref().map_or(0, |w| w.tombstones.len());
        self.tasks.push((Move { task, from, to, keys }, written));
        Ok(())
    }

    fn committed(&self, task: &TaskId) -> Result<Option<i64>, Fault> {
        let mut list = TopicPartitionList::new();
        list.add_partition(&task.topic, task.partition);
        let failed = |e: KafkaError| Fault::failed(format!("committed offset of {task}: {e}; try again"));
        let found = self.stable.committed_offsets(list, PATIENCE).map_err(failed)?;
        Ok(found.elements().first().and_then(|e| e.offset().to_raw()).filter(|offset| *offset >= 0))
    }

    fn position(&self, task: &TaskId, target: Target) -> Result<i64, Fault> {
        let failed = |e: KafkaError| Fault::failed(format!("offsets of {}/{}: {e}", task.topic, task.partition));
        let at = (&*task.topic, task.partition);
        let (first, end) = ends::ends(&self.raw, at, PATIENCE).map_err(failed)?;
        let time = match target {
            Target::Earliest => return Ok(first),
            Target::Latest => return Ok(end),
            Target::Time(time) => time,
        };
        Ok(ends::at_time(&self.raw, at, time, PATIENCE).map_err(failed)?.unwrap_or(end))
    }

    /// The live keys of a changelog, and the checkpoint that is to follow its last one.
    fn read(
        &self,
        stage: &Stage,
        changelog: Arc<str>,
        (task, to, count): (&TaskId, i64, i32),
    ) -> Result<Written, Fault> {
        let place = format!("changelog {changelog}/{}", task.partition);
        let failed = |e: KafkaError| Fault::failed(format!("{place}: {e}; run 'tidemill topics check'"));
        let reader: BaseConsumer = self.connection.roller().create().map_err(failed)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&changelog, task.partition, Offset::Beginning).map_err(failed)?;
        reader.assign(&list).map_err(failed)?;
        let (_, end) = ends::ends(&self.raw, (&changelog, task.partition), PATIENCE).map_err(failed)?;
        let (mut tombstones, mut last): (BTreeSet<Vec<u8>>, Option<Checkpoint>) = (BTreeSet::new(), None);
        loop {
            match reader.poll(POLL) {
                Some(Ok(record)) => {
                    let (key, value) = (record.key().unwrap_or_default(), record.payload());
                    match (key == CHECKPOINT_KEY, value) {
                        (true, value) => {
                            let read = Checkpoint::decode(value.unwrap_or_default());
                            last = Some(read.map_err(|e| Fault::failed(format!("{place}: {e}")))?);
                        }
                        (false, Some(_)) => drop(tombstones.insert(key.to_vec())),
                        (false, None) => drop(tombstones.remove(key)),
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(e)) => return Err(failed(e)),
                None => {}
            }
        }
        let stood = reader.position().ok().and_then(|p| p.elements().first().and_then(|e| e.offset().to_raw()));
        if end > 0 && stood.is_some_and(|at| at >= 0 && at < end - 1) {
            let remedy = "wait until transaction.timeout.ms is over, and try again";
            return Err(Fault::failed(format!("{place}: a transaction is open at its end; {remedy}")));
        }
        let position = Position { topic: task.topic.to_string(), partition: task.partition, offset: to };
        let checkpoint = Checkpoint {
            task: stage.checkpoint_name(task.partition),
            store: match &last {
                Some(last) => last.store,
                None => random()?,
            },
            sequence: last.as_ref().map_or(0, |c| c.sequence) + 1,
            positions: vec![position],
            partitions: count,
            counts: Counts::default(),
            stream_time: i64::MIN,
            states: last.map_or(Vec::new(), |c| c.states),
            upstream: Vec::new(),
        };
        Ok(Written { changelog, tombstones, checkpoint })
    }

    /// Carries it out, in one transaction.
    ///
    /// # Errors
    /// The brokers refuse; then nothing has changed.
    pub fn apply(&self) -> Result<(), Fault> {
        let failed = |e: KafkaError| Fault::failed(format!("{e}; nothing has changed"));
        let mut config = self.connection.producer(0);
        config.set("transactional.id", format!("{}-reset", self.connection.transactional_id(0)));
        config.set("transaction.timeout.ms", TRANSACTION_MS);
        config.remove("debug");
        let producer: ThreadedProducer<DefaultProducerContext> = config.create().map_err(failed)?;
        producer.init_transactions(Timeout::After(PATIENCE * 3)).map_err(failed)?;
        self.nobody_is_there()?;
        producer.begin_transaction().map_err(failed)?;
        let done = self.send(&producer).and_then(|()| producer.commit_transaction(Timeout::Never).map_err(failed));
        if done.is_err() {
            drop(producer.abort_transaction(PATIENCE));
        }
        done
    }

    fn send(&self, producer: &ThreadedProducer<DefaultProducerContext>) -> Result<(), Fault> {
        let failed = |e: KafkaError| Fault::failed(format!("{e}; nothing has changed"));
        let mut offsets = TopicPartitionList::new();
        for (one, written) in &self.tasks {
            let TaskId { topic, partition, .. } = &one.task;
            offsets.add_partition_offset(topic, *partition, Offset::Offset(one.to)).map_err(failed)?;
            let Some(written) = written else { continue };
            for key in &written.tombstones {
                let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&written.changelog);
                producer.send(record.partition(*partition).key(key)).map_err(|(e, _)| failed(e))?;
            }
            let checkpoint = written.checkpoint.encode();
            let record = BaseRecord::to(&written.changelog).partition(*partition);
            producer.send(record.key(CHECKPOINT_KEY).payload(&checkpoint[..])).map_err(|(e, _)| failed(e))?;
        }
        producer.flush(Timeout::Never).map_err(failed)?;
        let nobody = || Fault::failed("the group's metadata cannot be had; nothing has changed");
        let group = self.stable.group_metadata().ok_or_else(nobody)?;
        producer.send_offsets_to_transaction(&offsets, &group, Timeout::After(PATIENCE)).map_err(failed)
    }
}

fn random() -> Result<u128, Fault> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| Fault::failed(format!("no randomness for a store's id: {e}")))?;
    Ok(u128::from_be_bytes(bytes))
}

/// Partitions of every topic that a stage reads.
///
/// # Errors
/// A source that is not there.
pub fn partitions(
    connection: &Connection,
    topology: &Topology,
    settings: &tidemill_topology::Settings,
) -> Result<BTreeMap<String, i32>, Fault> {
    super::topics::Topics::of(&Brokers::reach(connection)?, topology, settings).inputs()
}
