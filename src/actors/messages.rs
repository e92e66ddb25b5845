//! What actors and threads of this room say to each other, sender to receiver, down and up.
//!
//! Knows no actor, so that those who talk need not know each other.
//! Invariant: a message is a batch, a decision, or a word that there is one; never a record.

use super::worked::Worked;
use crate::exactly_once::Assignment;
use crate::kafka::Event;
use crate::memory::Weight;
use actix::Message;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tidemill_state::StateStore;
use tidemill_topology::{Batch, Sealed, Task, TaskId};

/// A batch of the task's own partition, and the memory that it counts for until it is worked.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Work(pub Batch, pub Weight);

/// A batch was worked: is a seal due? While there is work, an arbiter's timers and what other threads send have their turn only
/// after dozens of batches; what one of its own actors sends has it next.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Look;

/// What a task hands over at a seal: its values, the store that follows them, and what it did for them.
pub type Handed = (Sealed, Arc<dyn StateStore>, Worked);

/// A look at what the lane has put into the task's `Pulse`: a task sees it before the next batch that waits, and by this message
/// if none does. `in_turn`: what was asked was to wait for this message, behind the batches that came before.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Asked {
    pub in_turn: bool,
}

/// Where the task's input ends.
#[derive(Message)]
#[rtype(result = "()")]
pub struct InputEnd {
    /// `None`: the broker did not say.
    pub end: Option<i64>,
    /// When it was asked, ms of wall time: what was written since is not counted.
    pub asked: i64,
}

/// Let go of task and store.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Close;

/// A recovered task, to be run from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Adopt {
    pub task: Box<Task>,
    pub store: Arc<dyn StateStore>,
}

/// A task that is not ours any more.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Release(pub TaskId);

/// Work off what has arrived, commit it, close every task, and say so.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Drain;

/// What became of a job.
#[derive(Message)]
#[rtype(result = "()")]
pub enum Finished {
    /// In the stores: these tasks, with these sequences.
    Applied { tasks: Vec<(TaskId, u64)>, totals: Totals },
    /// Nobody knows: the memory of every task here is to be dropped.
    Unknown { totals: Totals },
}

/// Sealed values on their way to one transaction, and the stores that follow it.
pub struct Job {
    pub assignment: Arc<Assignment>,
    pub sealed: Vec<Sealed>,
    pub stores: BTreeMap<TaskId, Arc<dyn StateStore>>,
    /// What each task did for its values.
    pub worked: BTreeMap<TaskId, Worked>,
    /// What the seal took.
    pub seal: Duration,
}

/// What this thread did, for the line at the end.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    pub committed: u64,
    pub aborted: u64,
    pub unknown: u64,
    pub recycled: u64,
}

/// From the consumer thread.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Heard(pub Event);

/// A lane closed this task, and no job holds its store.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LetGo(pub TaskId);

/// An outcome is unknown: these tasks' memory is being dropped, and they are to be recovered.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Lost(pub Vec<TaskId>);

/// A lane has committed all that it had.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Drained(pub usize, pub Totals);

/// SIGTERM or SIGINT.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop(pub &'static str);
