//! Drives the real stages of a topology in memory, without Kafka: topics are lists, a commit is an apply.
//!
//! Used by unit tests, by `tests:` blocks and by whoever tries a topology. Knows nothing of threads or time: the wall
//! clock is a number that only [`Tester::advance`] moves. Invariant: tasks, stores and checkpoints are the real ones, and
//! a restart forgets everything that was not sealed.

use crate::checkpoint::{Checkpoint, Counts};
use crate::graph::Topology;
use crate::query::{Ask, Part, Refusal};
use crate::record::Batch;
use crate::sealed::{OutRecord, Sealed};
use crate::task::{Task, TaskError, TaskSetup};
use crate::trace::{Emitted, Failed};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidemill_state::{MemoryStore, Meta, StateStore};
use xxhash_rust::xxh3::xxh3_64;

/// See the module.
///
/// ```
/// use tidemill_topology::{Tester, parse};
/// use tidemill_topology::tester::Message;
/// let text = "
/// app: totals
/// kafka: { brokers: localhost }
/// sources:
///   events: { topic: events, key_format: string }
/// steps:
///   running: { from: events, group_by: record.key, aggregate: { n: count() }, emit: every }
/// outputs:
///   counts: { from: running }
/// ";
/// let mut tester = Tester::new(parse(text, "totals.yaml", &|_| None).unwrap().topology);
/// tester.feed("events", Message::new("a", "{}").at(1_000));
/// tester.run().unwrap();
/// assert_eq!(tester.take("counts")[0].value_text(), r#"{"key":"a","n":1,"result":"update"}"#);
/// ```
pub struct Tester {
    topology: Arc<Topology>,
    partitions: i32,
    /// By topic, then by partition.
    logs: BTreeMap<String, Vec<Vec<Message>>>,
    /// How far [`Tester::take`] has come, by topic and partition.
    taken: BTreeMap<(String, i32), usize>,
    running: Vec<Running>,
    assignment: u64,
    now: i64,
    slice: Option<usize>,
    /// Tasks keep samples of trace contexts, with this seed.
    seed: Option<u64>,
    emitted: Vec<Emitted>,
}

/// Where the wall clock stands at first: 2100-01-01, so that no event of a test is ahead of its arrival.
const CLOCK: i64 = 4_102_444_800_000;

/// One task, and what survives it.
struct Running {
    task: Task,
    store: MemoryStore,
    /// Committed offset and checkpoint.
    position: i64,
    checkpoint: Option<Vec<u8>>,
}

/// A record, owning its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// None in what is fed: by the key.
    pub partition: Option<i32>,
    /// ms since 1970.
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Message {
    pub fn new(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Message {
        Message {
            partition: None,
            timestamp: 1,
            key: Some(key.as_ref().to_vec()),
            value: Some(value.as_ref().to_vec()),
            headers: Vec::new(),
        }
    }

    /// The same at another timestamp, ms since 1970.
    pub fn at(self, timestamp: i64) -> Message {
        Message { timestamp, ..self }
    }

    /// The same with one more header.
    pub fn with(mut self, header: &str, value: &str) -> Message {
        self.headers.push((header.to_owned(), Some(value.as_bytes().to_vec())));
        self
    }

    pub fn key_text(&self) -> String {
        String::from_utf8_lossy(self.key.as_deref().unwrap_or_default()).into_owned()
    }

    pub fn value_text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }

    /// The value of the last header of this name, as a text.
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().rev().find(|(n, _)| n == name)?;
        Some(String::from_utf8_lossy(value.as_deref().unwrap_or_default()).into_owned())
    }

    fn of(record: &OutRecord<'_>) -> Message {
        let own = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        Message {
            partition: record.partition,
            timestamp: record.timestamp,
            key: own(record.key),
            value: own(record.value),
            headers: record.headers.iter().map(|(n, v)| ((*n).to_owned(), own(*v))).collect(),
        }
    }
}

impl Tester {
    /// Every topic has one partition.
    pub fn new(topology: Arc<Topology>) -> Tester {
        Tester::with_partitions(topology, 1)
    }

    pub fn with_partitions(topology: Arc<Topology>, partitions: i32) -> Tester {
        let mut tester = Tester {
            topology: topology.clone(),
            partitions,
            logs: BTreeMap::new(),
            taken: BTreeMap::new(),
            running: Vec::new(),
            assignment: 1,
            now: CLOCK,
            slice: None,
            seed: None,
            emitted: Vec::new(),
        };
        for stage in &topology.stages {
            for partition in 0..partitions {
                let store = MemoryStore::new();
                let setup = tester.setup(partition, 0);
                let task = Task::open(stage.clone(), setup, Arc::new(store.clone()), None);
                let task = task.expect("an empty store opens");
                tester.running.push(Running { task, store, position: 0, checkpoint: None });
            }
        }
        tester
    }

    fn setup(&self, partition: i32, position: i64) -> TaskSetup {
        TaskSetup {
            partition,
            partitions: self.partitions,
            assignment: self.assignment,
            store_id: 7,
            position,
            cache_bytes: 0,
        }
    }

    /// Lets a seal speak of at most so many entries (1 or more), also behind restarts, so that few records show what
    /// slices do.
    pub fn slice(&mut self, entries: usize) {
        self.slice = Some(entries);
        self.running.iter_mut().for_each(|r| r.task.set_slice(entries));
    }

    /// Has tasks keep samples of trace contexts from now on, also behind restarts.
    ///
    /// # Errors
    /// A store failed.
    pub fn trace(&mut self, seed: u64) -> Result<(), TaskError> {
        self.seed = Some(seed);
        let all = std::mem::take(&mut self.running).into_iter();
        self.running =
            all.map(|r| Ok(Running { task: r.task.traced(seed)?, ..r })).collect::<Result<_, TaskError>>()?;
        Ok(())
    }

    /// The results with a trace context that were committed since the last call.
    pub fn take_emitted(&mut self) -> Vec<Emitted> {
        std::mem::take(&mut self.emitted)
    }

    /// The records that failed since the last call, over all tasks.
    pub fn take_failed(&mut self) -> Vec<Failed> {
        self.running.iter_mut().flat_map(|r| r.task.take_failed()).collect()
    }

    /// Appends a record to a topic.
    pub fn feed(&mut self, topic: &str, message: Message) {
        let by_key = (xxh3_64(message.key.as_deref().unwrap_or_default()) % self.partitions as u64) as i32;
        let partition = message.partition.unwrap_or(by_key);
        let (count, topic) = (self.partitions as usize, topic.to_owned());
        let log = self.logs.entry(topic).or_insert_with(|| vec![Vec::new(); count]);
        log[partition as usize].push(Message { partition: Some(partition), ..message });
    }

    /// Moves the wall clock, ms; back too, before the first record.
    pub fn advance(&mut self, ms: i64) {
        self.now += ms;
    }

    /// Lets every task work what lies in its topic. Seals nothing.
    ///
    /// # Errors
    /// A task stopped.
    pub fn process(&mut self) -> Result<(), TaskError> {
        for running in &mut self.running {
            let id = running.task.id().clone();
            let from = running.task.position();
            let mut batch = Batch::new(id.topic.clone(), id.partition, running.task.assignment(), from);
            batch.arrived = self.now;
            let log = self.logs.get(&*id.topic).map(|partitions| &partitions[id.partition as usize]);
            for (offset, message) in log.into_iter().flatten().enumerate().skip(from as usize) {
                batch.push(offset as i64, message.timestamp, message.key.as_deref(), message.value.as_deref());
                for (name, value) in &message.headers {
                    batch.push_header(name.as_bytes(), value.as_deref());
                }
            }
            batch.at_end = true;
            running.task.process(&batch)?;
            let end = running.task.position();
            if running.task.idle_check().is_some_and(|at| at <= self.now) {
                running.task.idle(end, self.now);
            }
        }
        Ok(())
    }

    /// Seals every task that is due, once, and commits: outputs are in their topics and changes in the stores. True if
    /// anything was sealed.
    ///
    /// # Errors
    /// A task stopped.
    pub fn commit(&mut self) -> Result<bool, TaskError> {
        let mut all = Vec::new();
        for running in &mut self.running {
            let Some(sealed) = running.task.seal(self.now)? else { continue };
            running.commit(&sealed)?;
            all.push(sealed);
        }
        for sealed in &all {
            self.emitted.extend_from_slice(&sealed.traces);
            for record in sealed.outputs.iter() {
                self.feed(record.topic, Message::of(&record));
            }
        }
        Ok(!all.is_empty())
    }

    /// Works and commits until nothing is due any more, over all stages.
    ///
    /// # Errors
    /// A task stopped.
    pub fn run(&mut self) -> Result<(), TaskError> {
        loop {
            self.process()?;
            if !self.commit()? {
                return Ok(());
            }
        }
    }

    /// Drops the memory of every task, and opens each again from what was committed.
    ///
    /// # Errors
    /// A task does not open.
    pub fn restart(&mut self) -> Result<(), TaskError> {
        self.restart_as(self.topology.clone())
    }

    /// As [`Tester::restart`], with another version of the topology; stages that are new begin empty.
    ///
    /// # Errors
    /// A task does not open: say, a state changed its shape.
    pub fn restart_as(&mut self, topology: Arc<Topology>) -> Result<(), TaskError> {
        self.assignment += 1;
        let mut before = std::mem::take(&mut self.running);
        for stage in &topology.stages {
            for partition in 0..self.partitions {
                let id = stage.task(partition);
                let old = before.iter().position(|r| *r.task.id() == id).map(|index| before.swap_remove(index));
                let (store, position, checkpoint) =
                    old.map_or((MemoryStore::new(), 0, None), |r| (r.store, r.position, r.checkpoint));
                let read = checkpoint.as_deref().map(Checkpoint::decode).transpose()?;
                let setup = self.setup(partition, position);
                let mut task = Task::open(stage.clone(), setup, Arc::new(store.clone()), read.as_ref())?;
                if let Some(seed) = self.seed {
                    task = task.traced(seed)?;
                }
                if let Some(entries) = self.slice {
                    task.set_slice(entries);
                }
                self.running.push(Running { task, store, position, checkpoint });
            }
        }
        self.topology = topology;
        Ok(())
    }

    /// What came into a topic since the last call, partition by partition.
    pub fn take(&mut self, topic: &str) -> Vec<Message> {
        let mut out = Vec::new();
        for (partition, log) in self.logs.get(topic).into_iter().flatten().enumerate() {
            let taken = self.taken.entry((topic.to_owned(), partition as i32)).or_default();
            out.extend_from_slice(&log[*taken..]);
            *taken = log.len();
        }
        out
    }

    /// The task of the stage that reads `topic`, on one partition.
    pub fn task(&self, topic: &str, partition: i32) -> Option<&Task> {
        let of = |r: &&Running| &*r.task.id().topic == topic && r.task.id().partition == partition;
        self.running.iter().find(of).map(|r| &r.task)
    }

    /// The store of that task: what is committed.
    pub fn store(&self, topic: &str, partition: i32) -> Option<&dyn StateStore> {
        let of = |r: &&Running| &*r.task.id().topic == topic && r.task.id().partition == partition;
        self.running.iter().find(of).map(|r| &r.store as &dyn StateStore)
    }

    /// What became of the records of a topic, over all partitions.
    pub fn counts(&self, topic: &str) -> Counts {
        let tasks = self.running.iter().filter(|r| &*r.task.id().topic == topic);
        tasks.fold(Counts::default(), |sum, running| {
            let c = running.task.counts();
            Counts {
                input: sum.input + c.input,
                output: sum.output + c.output,
                filtered: sum.filtered + c.filtered,
                duplicate: sum.duplicate + c.duplicate,
                late: sum.late + c.late,
                dead: sum.dead + c.dead,
            }
        })
    }

    /// What is committed answers to a question: a part of each partition that may hold the answer.
    ///
    /// # Errors
    /// What is wrong with the question, or with a store.
    pub fn ask(&self, ask: &Ask<'_>) -> Result<Vec<Part>, String> {
        let question = self.topology.question(ask).map_err(|refusal| match refusal {
            Refusal::NoStep(text) | Refusal::Wrong(text) => text,
        })?;
        let asked = question.partitions(self.partitions);
        let holds =
            |r: &&Running| r.task.id().topic == question.stage().topic && asked.contains(&r.task.id().partition);
        let parts = self.running.iter().filter(holds).map(|r| question.answer(&r.store, &|| true));
        parts.collect::<Result<_, _>>().map_err(|e| e.to_string())
    }

    /// Wall clock, ms.
    pub fn now(&self) -> i64 {
        self.now
    }
}

impl Running {
    fn commit(&mut self, sealed: &Sealed) -> Result<(), TaskError> {
        let checkpoint = sealed.checkpoint.encode();
        let meta = Meta { checkpoint: checkpoint.clone(), position: sealed.sequence as i64, append_time: 0 };
        self.store
            .apply(&sealed.changes, &meta)
            .map_err(|cause| TaskError::Store { task: sealed.task.clone(), cause })?;
        self.task.applied(sealed.sequence)?;
        self.position = self.task.position();
        // A stage without state has no changelog, so nothing but its offsets survives it.
        self.checkpoint = sealed.changelog.as_ref().map(|_| checkpoint);
        Ok(())
    }
}
