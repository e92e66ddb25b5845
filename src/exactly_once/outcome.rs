//! What one transaction can come to, and what then goes into the stores.
//!
//! [`Committer`] has two implementers: Kafka (`kafka/committer.rs`) and the simulation's.
//! Invariant: nothing but these five outcomes can happen, and they are matched in one place, [`Cycle`](super::Cycle).

use super::Assignment;
use std::sync::Arc;
use tidemill_state::{Meta, StateStore, StoreError};
use tidemill_topology::Sealed;

/// Carries one transaction out: SEND, WAIT, OFFSETS, COMMIT.
pub trait Committer: Send {
    /// Blocks until the outcome is known, or known to be unknown. The sealed values are not changed.
    fn commit(&mut self, assignment: &Assignment, sealed: &[Sealed]) -> Outcome;
}

/// The vocabulary of failure.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Where each task's checkpoint landed, in the order of the sealed values.
    Committed(Vec<Landed>),
    /// Nothing of it will ever be visible.
    Aborted(Refusal),
    /// It may or may not be visible: memory is dropped and the log is asked.
    Unknown(String),
    /// Another producer has our identity.
    Fenced(String),
    /// A setting or a right is wrong; trying again would not help. Names the topic and the setting.
    Fatal(String),
}

/// Why a transaction was aborted.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// The group moved: OFFSETS was refused under the snapshot's metadata.
    GroupMoved(String),
    /// A broker or the network: the same values go again under whatever is newest.
    Trouble(String),
}

/// Where a checkpoint stands in its changelog partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Landed {
    /// The checkpoint's delivered offset plus one.
    pub position: i64,
    /// LogAppendTime of the checkpoint, ms since 1970.
    pub append_time: i64,
}

/// APPLY: the bytes that were committed go into the task's store, entries and meta in one write batch.
///
/// # Errors
/// The store's; the log has it all, so the caller may try again and then end the process.
pub fn apply(store: &Arc<dyn StateStore>, sealed: &Sealed, landed: Landed) -> Result<(), StoreError> {
    let meta =
        Meta { checkpoint: sealed.checkpoint.encode(), position: landed.position, append_time: landed.append_time };
    store.apply(&sealed.changes, &meta)
}
