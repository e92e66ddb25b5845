//! Sealing: what a task hands over for one transaction, and when it is due.
//!
//! Called by the lane through its driver. Knows nothing of transactions. Invariant: a seal holds everything since the
//! last one, and its checkpoint stands for exactly that.

use super::{Task, TaskError};
use crate::checkpoint::{Checkpoint, Position};
use crate::sealed::Sealed;
use crate::windows::{Mute, SLICE, Said};
use std::io::Write;
use std::sync::Arc;
use tidemill_state::Changes;

impl Task {
    /// Whether a seal would carry something: input moved, or an update or a final is due. `now`: wall clock, ms.
    pub fn due(&self, now: i64) -> bool {
        self.position != self.sealed_position || self.urgent(now)
    }

    /// Whether an update or a final is due, so that the seal should not wait for the interval.
    pub fn urgent(&self, now: i64) -> bool {
        let mut groups = self.stage.groups.iter().zip(&self.groups);
        groups.any(|(group, state)| state.close_due(group, self.stream_time) || state.update_due(group, now))
    }

    /// About how many bytes a seal would carry now.
    pub fn pending_bytes(&self) -> usize {
        self.outputs.bytes() + self.groups.iter().map(|g| g.pending_bytes()).sum::<usize>()
    }

    /// Hands over everything since the last seal; `None` if nothing moved.
    ///
    /// # Errors
    /// The store failed, or state of an earlier configuration fits no output: the task must be recovered or halted.
    pub fn seal(&mut self, now: i64) -> Result<Option<Sealed>, TaskError> {
        if !self.due(now) {
            return Ok(None);
        }
        self.speak(now).map_err(|mute| match mute {
            Mute::Store(cause) => TaskError::Store { task: self.id.clone(), cause },
            Mute::Output(failure) => TaskError::Output { task: self.id.clone(), cause: failure.to_string() },
        })?;
        self.sequence += 1;
        self.sealed_position = self.position;
        let mut changes = Changes::new();
        for group in &mut self.groups {
            group.seal(self.sequence, &mut changes);
        }
        self.write_header();
        Ok(Some(Sealed {
            task: self.id.clone(),
            assignment: self.setup.assignment,
            sequence: self.sequence,
            outputs: std::mem::take(&mut self.outputs),
            changes,
            checkpoint: self.checkpoint(),
            changelog: self.stage.changelog.clone(),
        }))
    }

    /// The store has what `seal` of this sequence gave: its entries may be evicted.
    pub fn applied(&mut self, sequence: u64) {
        let share = self.setup.cache_bytes / self.groups.len().max(1);
        for group in &mut self.groups {
            group.applied(sequence, share);
        }
    }

    /// Closes windows, then says updates: a window that closes has its final as its last word, and only that.
    fn speak(&mut self, now: i64) -> Result<(), Mute> {
        let stage = Arc::clone(&self.stage);
        let mut room = SLICE;
        for (group, state) in stage.groups.iter().zip(&mut self.groups) {
            let mut said = Said {
                group,
                key_format: stage.reading.key_format,
                store: &*self.store,
                outputs: &mut self.outputs,
                stream_time: self.stream_time,
                task: &self.header,
                max_record: stage.max_record,
            };
            state.close(&mut said, &mut room)?;
            state.update(&mut said, now)?;
        }
        Ok(())
    }

    fn checkpoint(&self) -> Checkpoint {
        let topic = self.id.topic.to_string();
        Checkpoint {
            task: self.id.to_string(),
            store: self.store_id,
            sequence: self.sequence,
            positions: vec![Position { topic, partition: self.id.partition, offset: self.position }],
            partitions: self.setup.partitions,
            counts: self.counts,
            stream_time: self.stream_time,
            states: self.states.clone(),
        }
    }

    /// The header of the results that the next seal will carry.
    pub(super) fn write_header(&mut self) {
        self.header.clear();
        write!(self.header, "{}/{}", self.id, self.sequence + 1).expect("memory takes every byte");
    }
}
