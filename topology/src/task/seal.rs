//! Sealing: what a task hands over for one transaction, and when it is due.
//!
//! Called by the lane through its driver. Knows nothing of transactions. Invariant: a seal holds everything since the
//! last one, and its checkpoint stands for exactly that; what groups say is held to a slice a seal.

use super::{Task, TaskError};
use crate::checkpoint::{Checkpoint, Position};
use crate::sealed::Sealed;
use crate::windows::{Mute, Room, SLICE, Said, Sender};
use std::io::Write;
use std::sync::Arc;
use tidemill_state::Changes;

impl Task {
    /// Whether a seal would carry something: input moved, or [`Task::urgent`]. `now`: wall clock, ms.
    pub fn due(&self, now: i64) -> bool {
        self.moved || self.urgent(now) || self.must_tell(now)
    }

    /// Whether what a seal would carry can wait: behind a repartition, no partials have come: a time that closes nothing, or the mark of a
    /// transaction.
    pub fn may_rest(&self, now: i64) -> bool {
        self.takes_partials() && !self.urgent(now) && !self.must_tell(now)
    }

    /// Whether a stage behind waits for the time.
    fn must_tell(&self, now: i64) -> bool {
        let mut hops = self.stage.hops.iter().zip(&self.partials);
        hops.any(|(hop, partials)| partials.must_tell(&hop.group, self.stream_time, now))
    }

    /// Whether an update or a final is due, or the store may still owe one, or partials have come, so that the seal
    /// should not wait for the interval.
    pub fn urgent(&self, now: i64) -> bool {
        if self.heard {
            return true;
        }
        let mut groups = self.stage.groups.iter().zip(&self.groups);
        groups.any(|(group, state)| state.close_due(group, self.stream_time) || state.update_due(group, now))
    }

    /// About how many bytes of state are in memory, of all groups; without ids, of which [`IdRooms`](super::IdRooms) tell.
    pub fn memory_bytes(&self) -> usize {
        let groups: usize = self.groups.iter().map(|g| g.cached()).sum();
        let travelling: usize = self.partials.iter().map(|p| p.bytes()).sum();
        let samples = self.traces.as_ref().map_or(0, |traces| traces.bytes());
        groups + travelling + samples
    }

    /// About how many bytes a seal would carry now: outputs and changed entries. What it will say beside them has its
    /// bound in the slice.
    pub fn pending_bytes(&self) -> usize {
        let travelling = self.partials.iter().map(|p| p.bytes()).sum::<usize>();
        let ids = self.sets.iter().map(|s| s.pending_bytes()).sum::<usize>();
        self.outputs.bytes() + travelling + ids + self.groups.iter().map(|g| g.pending_bytes()).sum::<usize>()
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
        self.moved = false;
        self.heard = false;
        self.send_partials(now);
        let traces = self.traces.as_mut().map_or(Vec::new(), |traces| traces.seal());
        let changes = self.changes();
        self.write_header();
        Ok(Some(Sealed {
            task: self.id.clone(),
            assignment: self.setup.assignment,
            sequence: self.sequence,
            outputs: std::mem::take(&mut self.outputs),
            changes,
            checkpoint: self.checkpoint(),
            changelog: self.stage.changelog.clone(),
            traces,
        }))
    }

    fn send_partials(&mut self, now: i64) {
        let sender = Sender {
            partition: self.id.partition,
            partitions: self.setup.partitions,
            stream_time: self.stream_time,
            now,
            task: &self.header,
            traces: None,
        };
        for (index, (hop, partials)) in self.stage.hops.iter().zip(&mut self.partials).enumerate() {
            let sender = Sender { traces: self.traces.as_ref().map(|traces| traces.parts(index)), ..sender };
            partials.seal(hop, &sender, &mut self.outputs);
        }
    }

    fn changes(&mut self) -> Changes {
        let mut changes = Changes::new();
        for (group, entries) in self.stage.groups.iter().zip(&mut self.groups) {
            entries.seal((group, self.stream_time), self.sequence, &mut changes);
        }
        for (dedupe, set) in self.stage.dedupes.iter().zip(&mut self.sets) {
            set.expire_before(dedupe.oldest(self.stream_time), SLICE, &mut changes);
            set.seal(self.sequence, &mut changes);
        }
        if let Some(traces) = &mut self.traces {
            for (samples, group) in traces.samples().iter_mut().zip(&self.groups) {
                samples.keep(group.open_windows(), SLICE);
                samples.seal(&mut changes);
            }
        }
        changes
    }

    /// The store has what `seal` of this sequence gave: its entries may be evicted. What a group does not need of its
    /// share, larger ones have.
    ///
    /// # Errors
    /// The store failed.
    pub fn applied(&mut self, sequence: u64) -> Result<(), TaskError> {
        let store = &*self.store;
        let groups = self.groups.iter_mut().map(|group| group.applied(sequence, store));
        let sets = self.sets.iter_mut().map(|set| {
            set.applied(sequence);
            set.reclaim(store)
        });
        let applied = groups.chain(sets).collect::<Result<Vec<()>, _>>();
        applied.map_err(|cause| TaskError::Store { task: self.id.clone(), cause })?;
        self.evict();
        Ok(())
    }

    fn evict(&mut self) {
        let mut groups: Vec<_> = self.groups.iter_mut().collect();
        groups.sort_by_key(|group| group.cached());
        let (mut left, count) = (self.setup.cache_bytes, groups.len());
        for (place, group) in groups.into_iter().enumerate() {
            group.evict(left / (count - place));
            left = left.saturating_sub(group.cached());
        }
    }

    /// Closes windows, then says updates: a window that closes has its final as its last word, and only that. Groups take
    /// turns at being the first, since all share one slice.
    fn speak(&mut self, now: i64) -> Result<(), Mute> {
        let stage = Arc::clone(&self.stage);
        let mut room = Room { rows: self.slice, looks: self.slice };
        let count = stage.groups.len();
        let latest = self.upstream.iter().copied().max().unwrap_or(i64::MIN).max(self.stream_time);
        let sequence = self.sequence + 1;
        let first = (self.sequence % count.max(1) as u64) as usize;
        for index in (first..count).chain(0..first) {
            let group = &stage.groups[index];
            let mut said = Said {
                group,
                key_format: stage.key_format(),
                store: &*self.store,
                outputs: &mut self.outputs,
                stream_time: self.stream_time,
                latest,
                task: &self.header,
                max_record: stage.max_record,
                traces: self.traces.as_mut().map(|traces| traces.emission(index, sequence)),
            };
            self.groups[index].close(&mut said, &mut room)?;
            self.groups[index].update(&mut said, now, &mut room)?;
        }
        Ok(())
    }

    fn checkpoint(&self) -> Checkpoint {
        let topic = self.id.topic.to_string();
        Checkpoint {
            task: self.stage.checkpoint_name(self.id.partition),
            store: self.store_id,
            sequence: self.sequence,
            positions: vec![Position { topic, partition: self.id.partition, offset: self.position }],
            partitions: self.setup.partitions,
            counts: self.counts,
            stream_time: self.stream_time,
            states: self.states.clone(),
            upstream: self.upstream.clone(),
        }
    }

    /// The header of the results that the next seal will carry.
    pub(super) fn write_header(&mut self) {
        self.header.clear();
        write!(self.header, "{}/{}", self.id, self.sequence + 1).expect("memory takes every byte");
    }
}
