//! One record through a stage: evaluate everything, then write everything, or leave only a dead letter.
//!
//! Called by [`Task::process`]. Knows nothing of seals. Invariant: a record that fails anywhere changes no entry, no
//! stream time and no output but its dead letter; `input = output + filtered + duplicate + dead` after every record.

use super::{Task, TaskError};
use crate::dead_letters;
use crate::event_time::{self, EventTime};
use crate::expr::Lookup;
use crate::failure::{Failure, Stop};
use crate::formats::scan::Scratch;
use crate::formats::{Document, FormatError};
use crate::graph::Stage;
use crate::operators::{Flow, Pass};
use crate::record::{Batch, Record};
use crate::view::{Changes, View};
use crate::windows::{Fold, Place, Target};
use tidemill_state::StoreError;

/// What an evaluation found.
struct Verdict {
    flow: Flow,
    /// Event time, where the record has one.
    time: Option<i64>,
}

/// So many values are read before the first of them is worked: what will be asked of their ids is fetched from memory together.
pub(crate) const AHEAD: usize = 8;

/// What a record's value says, if it can be read.
type Read<'a> = Result<Document<'a>, FormatError>;

impl Task {
    pub(super) fn work_all(
        &mut self,
        stage: &Stage,
        batch: &Batch,
        scratches: &mut [Scratch],
    ) -> Result<(), TaskError> {
        let reading = stage.reading().expect("a stage of partials has no records");
        let mut records = batch.iter();
        for first in (0..batch.len()).step_by(AHEAD) {
            let mut values: [Option<Read<'_>>; AHEAD] = [const { None }; AHEAD];
            for ((place, scratch), at) in values.iter_mut().zip(scratches.iter_mut()).zip(first..batch.len()) {
                *place = Some(reading.value(batch.value(at), scratch));
            }
            for (dedupe, set) in stage.dedupes.iter().zip(&self.sets) {
                dedupe.expect((set, self.stream_time), reading, (batch, first), &values);
            }
            for (value, record) in values.iter_mut().map_while(Option::take).zip(&mut records) {
                self.work(stage, &record, value, batch.arrived)?;
                self.position = record.offset + 1;
                self.moved = true;
            }
        }
        Ok(())
    }

    /// `arrived`: wall clock at the arrival of its batch, ms.
    fn work(&mut self, stage: &Stage, record: &Record<'_>, value: Read<'_>, arrived: i64) -> Result<(), TaskError> {
        self.fold.clear();
        let mark = self.outputs.mark();
        let every = self.enter(record);
        let evaluated = self.evaluate(stage, record, value, arrived);
        if every.is_some() {
            self.outputs.carry(None);
        }
        match evaluated {
            Ok(verdict) => {
                self.accept(stage, record, &verdict)?;
                self.note_origin(stage, every);
            }
            Err(Stop::Failure(failure)) => {
                self.outputs.truncate(mark);
                self.counts.dead += 1;
                self.count_dead(failure.code);
                self.dead_letter(stage, record, &failure.to_string());
                self.note_failure(record, failure.code);
            }
            Err(Stop::Store(cause)) => {
                self.outputs.truncate(mark);
                return Err(TaskError::Store { task: self.id.clone(), cause });
            }
        }
        self.counts.input += 1;
        Ok(())
    }

    fn evaluate(&mut self, stage: &Stage, record: &Record<'_>, value: Read<'_>, arrived: i64) -> Result<Verdict, Stop> {
        let reading = stage.reading().expect("a stage of partials has no records");
        let value = value.map_err(|e| Failure::format("value", &e))?;
        let key = match reading.key_needed {
            true => reading.key_format.read(record.key).map_err(|e| Failure::format("key", &e))?,
            false => Document::NULL,
        };
        let (topic, partition) = (&*self.id.topic, self.id.partition);
        let mut view =
            View { record: *record, topic, partition, key, value, time: 0, arrived, changes: Changes::default() };
        let time = event_time_of(stage, &view)?;
        view.time = time.unwrap_or(0);
        let mut pass = Pass {
            groups: &stage.groups,
            states: &mut self.groups,
            hops: &stage.hops,
            partials: &self.partials,
            sets: &self.sets,
            store: &*self.store,
            outputs: &mut self.outputs,
            fold: &mut self.fold,
            stream_time: self.stream_time,
            task: &self.header,
            max_record: stage.max_record,
        };
        let flow = stage.root.evaluate(&mut view, &mut pass)?;
        Ok(Verdict { flow, time })
    }

    /// Writes what the evaluation computed. The entries are in memory since then, so the store is not asked again.
    fn accept(&mut self, stage: &Stage, record: &Record<'_>, verdict: &Verdict) -> Result<(), TaskError> {
        self.write(stage).map_err(|cause| TaskError::Store { task: self.id.clone(), cause })?;
        if !self.fold.late.is_empty() {
            self.late(stage, record);
        }
        match verdict.flow {
            Flow::On => self.counts.output += 1,
            Flow::Duplicate => self.counts.duplicate += 1,
            Flow::Filtered => self.counts.filtered += 1,
        }
        self.stream_time = self.stream_time.max(verdict.time.unwrap_or(i64::MIN));
        Ok(())
    }

    fn write(&mut self, stage: &Stage) -> Result<(), StoreError> {
        let Fold { pending, values, ids, keys, seen, .. } = &mut self.fold;
        for entry in pending.iter() {
            let key = &keys[entry.key.clone()];
            let ids = &ids[entry.ids.clone()];
            match entry.target {
                Target::Entries(i) => {
                    let (group, state) = (&stage.groups[i], &mut self.groups[i]);
                    let values = &mut values[entry.from..entry.from + group.aggregates.len()];
                    state.add_ids(&*self.store, Place { start: entry.start, key }, (ids, values))?;
                    state.put(&*self.store, (entry.start, key), values, group.owes())?;
                }
                Target::Partials(i) => {
                    let group = &stage.hops[i].group;
                    let values = &values[entry.from..entry.from + group.aggregates.len()];
                    self.partials[i].put((entry.found, entry.start, key), values, ids);
                }
            }
        }
        for seen in seen.iter() {
            self.sets[seen.set].insert(seen.bucket, seen.print);
        }
        Ok(())
    }

    fn late(&mut self, stage: &Stage, record: &Record<'_>) {
        self.counts.late += 1;
        if stage.dead_letters.late {
            let steps: Vec<&str> = self.fold.late.iter().map(|target| stage.step_of(*target)).collect();
            let text = format!("late: its window is closed in step {}", steps.join(", "));
            self.count_dead("late");
            self.dead_letter(stage, record, &text);
        }
    }

    fn count_dead(&mut self, code: &'static str) {
        match self.dead.iter_mut().find(|(known, _)| *known == code) {
            Some((_, count)) => *count += 1,
            None => self.dead.push((code, 1)),
        }
    }

    fn dead_letter(&mut self, stage: &Stage, record: &Record<'_>, reason: &str) {
        let about = (&self.id, stage.max_record);
        dead_letters::write(&mut self.outputs, &stage.dead_letters, about, record, reason);
    }
}

/// `None`: the record has no time and the stage can do without.
fn event_time_of(stage: &Stage, view: &View<'_>) -> Result<Option<i64>, Failure> {
    let reading = stage.reading().expect("a stage of partials has no records");
    let time = match &reading.time {
        Some(EventTime::Field(field)) => Some(field.read(&view.get(&field.path))?),
        Some(EventTime::Timestamp) | None => event_time::check(view.record.timestamp).filter(|ms| *ms >= 0),
    };
    let ahead = |ms: i64| reading.max_ahead.is_some_and(|most| ms > view.arrived.saturating_add(most));
    match time {
        None if stage.time_needed() => Err(Failure::new("time-missing", "the record has no timestamp")),
        Some(ms) if ahead(ms) && stage.time_needed() => {
            let most = reading.max_ahead.unwrap_or_default();
            let text = format!("its time is further ahead of its arrival than max_ahead, {most} ms");
            Err(Failure::new("time-ahead", text))
        }
        // Nobody needs it, and it must not move time.
        Some(ms) if ahead(ms) => Ok(None),
        time => Ok(time),
    }
}
