//! Why a task stops. Records never cause it: they become dead letters.
//!
//! Matched by whoever drives tasks. Invariant: one line each: what, where, what to do.

use crate::sealed::TaskId;
use tidemill_state::{CodecError, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A batch that does not belong here: drop it; the task is as it was.
    #[error(
        "task {task} stands at {position} under assignment {assignment} and was given {given}: seek, or recover it"
    )]
    Refused { task: TaskId, position: i64, assignment: u64, given: String },
    /// The store failed: recover, unless the error says more.
    #[error("task {task}: {cause}")]
    Store { task: TaskId, cause: StoreError },
    /// Halt: a setting is the remedy.
    #[error(
        "state '{state}' of task {task} was '{was}' and is now '{now}': give the step a new name, or restore the old one"
    )]
    Shape { task: TaskId, state: String, was: String, now: String },
    /// Halt: entries of an earlier configuration do not fit an output of this one.
    #[error("task {task} cannot say what its state holds ({cause}): give the output its old format, or a wider one")]
    Output { task: TaskId, cause: String },
    /// Halt: the store does not stand where the task is to begin.
    #[error("task {task} has a checkpoint at {checkpoint} and is to begin at {position}: recover it")]
    Position { task: TaskId, checkpoint: i64, position: i64 },
    /// Halt: a bundle of partials that is none of ours.
    #[error(
        "task {task}: what lies at offset {offset} was not written by this application ({cause}): only tidemill may write into that topic"
    )]
    Foreign { task: TaskId, offset: i64, cause: String },
    #[error("task {task} has no state id left: drop states that are gone")]
    Full { task: TaskId },
    #[error(transparent)]
    Codec(#[from] CodecError),
}
