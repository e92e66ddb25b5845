//! A task: one stage at work on one input partition.
//!
//! Knows nothing of Kafka or threads. Driven by a partition actor, the tester, the simulation or a benchmark.
//! Invariant: `position` moves only with what a record did, so a seal is always a whole prefix of the input.

mod bundle;
mod error;
mod idle;
mod open;
mod record;
mod seal;
mod traces;

pub use error::TaskError;
pub(crate) use record::AHEAD;

use crate::checkpoint::{Counts, StateEntry};
use crate::formats::scan::Scratch;
use crate::graph::Stage;
use crate::record::Batch;
use crate::sealed::{Outputs, TaskId};
use crate::trace::Traces;
use crate::windows::{Fold, GroupState, Partials};
use std::sync::Arc;
use tidemill_state::{IdRoom, IdSet, StateStore};

/// Memory that the ids of all tasks of a process share; without end, if nobody says otherwise.
#[derive(Debug, Clone, Default)]
pub struct IdRooms {
    /// Of `dedupe`: when it is full, the largest sets forget their oldest bucket.
    pub seen: IdRoom,
    /// Of `count_distinct`: when it is full, groups go on with a sketch, and say so.
    pub counted: IdRoom,
}

/// What a task is told when it is opened.
#[derive(Debug, Clone)]
pub struct TaskSetup {
    pub partition: i32,
    /// Partitions of the input topic now.
    pub partitions: i32,
    pub assignment: u64,
    /// The store's id if there is no checkpoint: made once, random.
    pub store_id: u128,
    /// Where to begin: the next offset to read.
    pub position: i64,
    /// Memory for values that the store has too, bytes.
    pub cache_bytes: usize,
}

/// See the module.
pub struct Task {
    id: TaskId,
    stage: Arc<Stage>,
    setup: TaskSetup,
    store: Arc<dyn StateStore>,
    store_id: u128,
    /// Of the last seal, or of the checkpoint that it was opened with.
    sequence: u64,
    position: i64,
    /// Something has changed since the last seal, be it only the time.
    moved: bool,
    /// Partials have come since the last seal: not a mere time that closes nothing, nor the end of a transaction.
    heard: bool,
    stream_time: i64,
    /// Behind a repartition: the stream time of every task in front of it, by its partition.
    upstream: Vec<i64>,
    /// Since when it has been at the end of its input, ms of wall time.
    at_end_since: Option<i64>,
    /// Not to be asked again before, ms of wall time: the end was looked at, and it has moved.
    idle_after: i64,
    counts: Counts,
    /// Every state that the task ever had, by id.
    states: Vec<StateEntry>,
    /// In the order of the stage's groups.
    groups: Vec<GroupState>,
    /// In the order of the stage's hops.
    partials: Vec<Partials>,
    /// In the order of the stage's dedupes.
    sets: Vec<IdSet>,
    outputs: Outputs,
    fold: Fold,
    /// Where the fields of a record stand, and what records have in common.
    scratches: Vec<Scratch>,
    /// `task/sequence` of the seal to come, for the header of aggregates.
    header: Vec<u8>,
    /// Dead letters since they were last taken, by code.
    dead: Vec<(&'static str, u64)>,
    /// Of how many entries a seal may speak.
    slice: usize,
    /// Where results come from; none: nobody wants to know.
    traces: Option<Box<Traces>>,
}

impl Task {
    pub fn id(&self) -> &TaskId {
        &self.id
    }

    pub fn assignment(&self) -> u64 {
        self.setup.assignment
    }

    /// The next offset to read.
    pub fn position(&self) -> i64 {
        self.position
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Dead letters since the last call, by the code of their reason; late ones that were copied count as `late`.
    pub fn take_dead(&mut self) -> Vec<(&'static str, u64)> {
        std::mem::take(&mut self.dead)
    }

    /// Entries that its groupings asked for since they were opened: those that were in memory, and those that were not.
    pub fn lookups(&self) -> (u64, u64) {
        let each = self.groups.iter().map(GroupState::lookups);
        each.fold((0, 0), |(hits, misses), (h, m)| (hits + h, misses + m))
    }

    /// Buckets of ids that its dedupes have forgotten before their time since they were opened, for want of room:
    /// duplicates of what was in them pass.
    pub fn forgotten(&self) -> u64 {
        self.sets.iter().map(IdSet::dropped).sum()
    }

    /// Whether it takes partials, and so seals as soon as some came.
    pub fn takes_partials(&self) -> bool {
        self.stage.takes_partials()
    }

    /// Highest accepted event time, or that of the slowest task in front, ms since 1970; `i64::MIN` before the first. Accepted is what is no dead letter: a
    /// record that every branch filtered out moves time too, so windows close although few records pass.
    pub fn stream_time(&self) -> i64 {
        self.stream_time
    }

    /// Other slices than the product's, so that few records show what slices do.
    pub(crate) fn set_slice(&mut self, entries: usize) {
        self.slice = entries;
    }

    /// Works a batch whole.
    ///
    /// # Errors
    /// The batch is of another assignment, topic or partition, or does not begin at the position: nothing was done.
    /// Or the store failed: the task stands behind the last record that was worked whole.
    pub fn process(&mut self, batch: &Batch) -> Result<(), TaskError> {
        self.admit(batch)?;
        self.look(batch);
        let stage = Arc::clone(&self.stage);
        if stage.takes_partials() {
            for record in batch.iter() {
                self.take(&stage, &record)?;
                self.position = record.offset + 1;
                self.moved = true;
            }
        } else {
            let mut scratches = std::mem::take(&mut self.scratches);
            let worked = self.work_all(&stage, batch, &mut scratches);
            self.scratches = scratches;
            worked?;
        }
        self.moved |= self.position != batch.next;
        self.position = batch.next;
        self.note_end(batch);
        Ok(())
    }

    fn admit(&self, batch: &Batch) -> Result<(), TaskError> {
        let same = batch.assignment == self.setup.assignment
            && batch.partition == self.id.partition
            && batch.topic == self.id.topic;
        if same && batch.from == self.position && batch.next >= batch.from {
            return Ok(());
        }
        Err(TaskError::Refused {
            task: self.id.clone(),
            position: self.position,
            assignment: self.setup.assignment,
            given: format!(
                "{}/{} from {} to {} under assignment {}",
                batch.topic, batch.partition, batch.from, batch.next, batch.assignment
            ),
        })
    }
}
