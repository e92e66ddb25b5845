//! One bundle of partials into a stage behind a repartition.
//!
//! Called by [`Task::process`]. Knows nothing of the records that were folded. Invariant: nothing is dropped and nothing is
//! late here; time is that of the slowest task in front.

use super::{Task, TaskError};
use crate::graph::Stage;
use crate::record::Record;
use crate::windows::Bundle;

impl Task {
    pub(super) fn take(&mut self, stage: &Stage, record: &Record<'_>) -> Result<(), TaskError> {
        let foreign = |cause: String| TaskError::Foreign { task: self.id.clone(), offset: record.offset, cause };
        let bundle = Bundle::decode(record.value.unwrap_or_default()).map_err(|e| foreign(e.to_string()))?;
        let upstream = bundle.upstream as usize;
        if upstream >= self.upstream.len() {
            let count = self.upstream.len();
            return Err(foreign(format!("it is from partition {upstream} of a source that has {count}")));
        }
        self.heard |= !bundle.partials.is_empty();
        let (group, entries) = (&stage.groups[0], &mut self.groups[0]);
        for partial in &bundle.partials {
            if partial.values.len() != group.aggregates.len() {
                return Err(foreign("it has other aggregates than the step".to_owned()));
            }
            let merged = entries.merge(&*self.store, group, partial);
            merged.map_err(|cause| TaskError::Store { task: self.id.clone(), cause })?;
        }
        if let Some(traces) = &mut self.traces {
            let place = |at: u32| bundle.partials.get(at as usize).map(|p| (p.start, p.key.to_vec()));
            traces.merge(group, record.offset, place);
        }
        if let Some(time) = bundle.time {
            self.upstream[upstream] = self.upstream[upstream].max(time);
            let slowest = self.upstream.iter().copied().min().unwrap_or(i64::MIN);
            self.stream_time = self.stream_time.max(slowest);
        }
        self.counts.input += 1;
        self.counts.output += 1;
        Ok(())
    }
}
