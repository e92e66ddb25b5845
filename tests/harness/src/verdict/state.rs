//! What `tidemill state dump -o json` says about tasks, against the oracle. Called once all processes have ended.
//! Invariant: each entry of each task is there with the oracle's value and no other is, or it is counted.

use super::Tally;
use super::rows::sums;
use crate::oracle::{First, History, Second, Sums, TaskEnd};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// One task as a store holds it.
#[derive(Debug, Default)]
pub struct TaskState {
    pub checkpoint: Value,
    /// State, window start, key; or the words that could not be read.
    pub entries: BTreeMap<(String, Option<i64>, String), Result<Sums, String>>,
}

/// All tasks of one state directory, by name.
#[derive(Debug, Default)]
pub struct StateDump {
    pub tasks: BTreeMap<String, TaskState>,
}

impl StateDump {
    pub fn read(text: &str) -> Result<StateDump, String> {
        let mut dump = StateDump::default();
        for line in text.lines() {
            dump.line(line).ok_or_else(|| format!("state dump: cannot read: {line}"))?;
        }
        Ok(dump)
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let value: Value = serde_json::from_str(line).ok()?;
        let task = self.tasks.entry(value.get("task")?.as_str()?.to_owned()).or_default();
        if let Some(checkpoint) = value.get("checkpoint") {
            task.checkpoint = checkpoint.clone();
            return Some(());
        }
        let key = value.get("key")?.as_str()?.to_owned();
        let entry = (value.get("state")?.as_str()?.to_owned(), value.get("window").and_then(Value::as_i64), key);
        let read = value.get("value").and_then(sums).ok_or_else(|| line.to_owned());
        task.entries.insert(entry, read);
        Some(())
    }
}

impl TaskState {
    /// The position in the only input, as the checkpoint says.
    pub fn position(&self) -> Option<i64> {
        let positions = self.checkpoint.get("positions")?;
        let only = positions.as_array().and_then(|all| all.first()).unwrap_or(positions);
        only.get("offset")?.as_i64()
    }

    fn check_end(&self, task: &str, end: &TaskEnd, offset: i64, tally: &mut Tally) {
        let count =
            |name: &str| self.checkpoint.get("counts").and_then(|counts| counts.get(name)).and_then(Value::as_u64);
        let expected = [
            ("in", end.input),
            ("out", end.output),
            ("filtered", end.filtered),
            ("late", end.late),
            ("dead", end.dead),
        ];
        for (name, expected) in expected {
            let long = if name == "in" { "input" } else { "output" };
            let found = count(name).or_else(|| count(long).filter(|_| ["in", "out"].contains(&name)));
            if found.is_some_and(|found| found != expected) {
                tally.wrong(|| format!("state of {task}: counts.{name} {found:?}, expected {expected}"));
            }
        }
        let stream_time = self.checkpoint.get("stream_time").and_then(Value::as_i64);
        if stream_time.is_some_and(|time| time != end.stream_time) {
            tally.wrong(|| format!("state of {task}: stream time {stream_time:?}, expected {}", end.stream_time));
        }
        if self.position() != Some(offset) {
            tally.wrong(|| format!("state of {task}: position {:?}, the group committed {offset}", self.position()));
        }
    }

    fn check_entries(&self, task: &str, mut expected: Entries, tally: &mut Tally) {
        for (entry, found) in &self.entries {
            match (found, expected.remove(entry)) {
                (Err(line), _) => tally.wrong(|| format!("state of {task}: unreadable value: {line}")),
                (Ok(_), None) => tally.wrong(|| format!("state of {task}: {entry:?} should not be there")),
                (Ok(found), Some(sums)) if *found != sums => {
                    tally.wrong(|| format!("state of {task}: {entry:?}: {found:?}, expected {sums:?}"));
                }
                _ => {}
            }
        }
        for entry in expected.into_keys() {
            tally.lost(|| format!("state of {task}: {entry:?}"));
        }
    }
}

type Entries = BTreeMap<(String, Option<i64>, String), Sums>;

/// The last value of each key that lives on this partition.
fn running(state: &str, histories: &HashMap<String, History>, is_here: impl Fn(&str) -> bool) -> Entries {
    let here = histories.iter().filter(|(key, _)| is_here(key));
    here.filter_map(|(key, history)| Some(((state.to_owned(), None, key.clone()), *history.last()?))).collect()
}

/// One task against the oracle. `homes`: the partition of each key; `offset`: what the group has committed.
pub struct Expected<'a> {
    pub homes: &'a HashMap<String, i32>,
    pub partition: i32,
    pub offset: i64,
}

impl Expected<'_> {
    fn is_here(&self, key: &str) -> bool {
        self.homes.get(key) == Some(&self.partition)
    }

    pub fn check_first(&self, task: &str, state: &TaskState, first: &First, tally: &mut Tally) {
        let mut entries = running("running", &first.running, |key| self.is_here(key));
        for ((key, start), window) in
            first.windows.iter().filter(|((key, _), window)| self.is_here(key) && !window.is_closed)
        {
            if let Some(sums) = window.history.last() {
                entries.insert(("hourly".to_owned(), Some(*start), key.clone()), *sums);
            }
        }
        if let Some(end) = first.ends.get(&self.partition) {
            state.check_end(task, end, self.offset, tally);
        }
        state.check_entries(task, entries, tally);
    }

    pub fn check_second(&self, task: &str, state: &TaskState, second: &Second, tally: &mut Tally) {
        if let Some(end) = second.ends.get(&self.partition) {
            state.check_end(task, end, self.offset, tally);
        }
        state.check_entries(task, running("second", &second.running, |key| self.is_here(key)), tally);
    }
}
