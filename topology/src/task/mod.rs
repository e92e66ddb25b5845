//! A task: one stage at work on one input partition.
//!
//! Knows nothing of Kafka or threads. Driven by a partition actor, the tester, the simulation or a benchmark.
//! Invariant: `position` moves only with what a record did, so a seal is always a whole prefix of the input.

use crate::checkpoint::{Checkpoint, Counts};
use crate::graph::Stage;
use crate::record::Batch;
use crate::sealed::{Sealed, TaskId};
use std::sync::Arc;
use tidemill_state::{CodecError, StateStore, StoreError};

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
    /// Memory for values already in the store, bytes.
    pub cache_bytes: usize,
}

/// Why a task stops. Records never cause one: they become dead letters.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    #[error("task {task} stands at {stands} under assignment {assignment} and was given {given}: recover it")]
    Refused { task: TaskId, stands: i64, assignment: u64, given: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("state '{state}' of task {task} was '{was}' and is now '{now}': give the step a new name, or restore the old one")]
    Shape { task: TaskId, state: String, was: String, now: String },
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// See the module.
pub struct Task {
    id: TaskId,
    assignment: u64,
    position: i64,
}

#[allow(unused_variables)]
impl Task {
    /// Opens a task on a store that holds what `checkpoint` says.
    ///
    /// # Errors
    /// A state changed its shape, or the store failed.
    pub fn open(
        stage: Arc<Stage>,
        setup: TaskSetup,
        store: Arc<dyn StateStore>,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Task, TaskError> {
        Ok(Task { id: stage.task(setup.partition), assignment: setup.assignment, position: setup.position })
    }

    pub fn id(&self) -> &TaskId {
        &self.id
    }

    pub fn assignment(&self) -> u64 {
        self.assignment
    }

    /// The next offset to read.
    pub fn position(&self) -> i64 {
        self.position
    }

    pub fn counts(&self) -> Counts {
        Counts::default()
    }

    /// Highest accepted event time, ms since 1970; `i64::MIN` before the first.
    pub fn stream_time(&self) -> i64 {
        i64::MIN
    }

    /// Works a batch whole.
    ///
    /// # Errors
    /// The batch is of another assignment or does not begin at the position (nothing was done), or the store failed.
    pub fn process(&mut self, batch: &Batch) -> Result<(), TaskError> {
        unreachable!("body follows")
    }

    /// Whether a seal would carry something: input moved, or an update or a final is due. `now`: wall clock, ms.
    pub fn due(&self, now: i64) -> bool {
        unreachable!("body follows")
    }

    /// Whether an update or a final is due, so that the seal should not wait for the interval.
    pub fn urgent(&self, now: i64) -> bool {
        unreachable!("body follows")
    }

    /// About how many bytes a seal would carry now.
    pub fn pending_bytes(&self) -> usize {
        unreachable!("body follows")
    }

    /// Hands over everything since the last seal; `None` if nothing moved.
    ///
    /// # Errors
    /// The store failed; the task must be recovered.
    pub fn seal(&mut self, now: i64) -> Result<Option<Sealed>, TaskError> {
        unreachable!("body follows")
    }

    /// The store has what `seal` of this sequence gave: its entries may be evicted.
    pub fn applied(&mut self, sequence: u64) {
        unreachable!("body follows")
    }
}
