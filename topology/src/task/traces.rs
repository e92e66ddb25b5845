//! What a task does for traces: it looks at contexts, keeps samples, and reports; only if it was told to.
//!
//! Called by the task at work, and by whoever drives it. Knows nothing of spans. Invariant: a task that was not told to
//! looks at no header, and its records, states and checkpoints are what they would be without this file.

use super::open::number;
use super::{Task, TaskError};
use crate::graph::Stage;
use crate::record::{Batch, Record};
use crate::trace::{Brought, Context, Failed, Samples, TRACEPARENT, TraceCounts, Traces};

impl Task {
    /// Has the task keep samples of the contexts that its results come from. The same seed gives the same samples: use one
    /// for all tasks of an application. Reads the samples that the store holds.
    ///
    /// # Errors
    /// The store failed, or no number is left for the state.
    pub fn traced(mut self, seed: u64) -> Result<Task, TaskError> {
        let wanted: Vec<_> = self.stage.groups.iter().map(|group| Samples::state(group)).collect();
        let ids = number(&self.id, &wanted, &mut self.states)?;
        let open = |id: &u16| Samples::open(*id, seed, &*self.store);
        let samples = ids.iter().map(open).collect::<Result<Vec<_>, _>>();
        let samples = samples.map_err(|cause| TaskError::Store { task: self.id.clone(), cause })?;
        self.traces = Some(Box::new(Traces::new((seed, self.store_id), samples, &self.stage)));
        Ok(self)
    }

    /// Reads the contexts of a batch that is to be processed next; [`Task::process`] does it otherwise. `None`: the task was
    /// not told to, or has done so.
    pub fn look(&mut self, batch: &Batch) -> Option<Brought> {
        let traces = self.traces.as_mut()?;
        traces.look(batch, self.stage.takes_partials())
    }

    /// The context of whoever works the batch that was looked at: records go on in it if none of them has its own.
    pub fn continue_in(&mut self, own: Option<Context>) {
        if let Some(traces) = &mut self.traces {
            traces.continue_in(own);
        }
    }

    /// The records that failed since the last call.
    pub fn take_failed(&mut self) -> Vec<Failed> {
        self.traces.as_mut().map_or(Vec::new(), |traces| traces.take_failed())
    }

    /// The contexts, results and failures for which there was no room since the last call.
    pub fn take_left_out(&mut self) -> u64 {
        self.traces.as_mut().map_or(0, |traces| traces.take_left_out())
    }

    /// How much it holds, and what it could not.
    pub fn trace_counts(&self) -> TraceCounts {
        self.traces.as_ref().map_or(TraceCounts::default(), |traces| traces.counts())
    }

    /// The next record is at work; what its results by `emit: every` carry.
    #[inline]
    pub(super) fn enter(&mut self, record: &Record<'_>) -> Option<Context> {
        let traces = self.traces.as_mut().filter(|traces| !traces.is_silent(record.offset))?;
        let every = traces.enter(record.offset);
        self.outputs.carry(every);
        every
    }

    /// The record was accepted: what it has changed comes from it.
    #[inline]
    pub(super) fn note_origin(&mut self, stage: &Stage, every: Option<Context>) {
        let Some(traces) = self.traces.as_mut().filter(|traces| traces.has_context()) else { return };
        for entry in &self.fold.pending {
            traces.note(stage, entry, (&self.fold.keys[entry.key.clone()], every));
        }
    }

    /// The record is a dead letter, which was added last.
    pub(super) fn note_failure(&mut self, record: &Record<'_>, code: &'static str) {
        let context = self.traces.as_mut().and_then(|traces| traces.failed(record, code));
        if let Some(context) = context {
            self.outputs.push_header(TRACEPARENT, Some(&context.text()));
        }
    }
}
