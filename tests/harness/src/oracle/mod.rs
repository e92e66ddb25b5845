//! What `topologies/torture.yaml` must give, worked out again from the input topic as it lies in Kafka, one record after
//! the other. Its own code: it shares none with the product. The verdict compares. Invariant: it is slow and plain, and
//! its answer for a partition depends on that partition's records alone.

mod number;

pub use number::Number;

use crate::verdict::Row;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

/// `tumbling` of the step `hourly`, ms.
pub const WINDOW: i64 = 60_000;
/// Its `grace`, ms.
pub const GRACE: i64 = 10_000;

/// The four aggregates that every grouping of the topology has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub n: u64,
    pub total: Option<Number>,
    pub low: Option<Number>,
    pub high: Option<Number>,
}

impl Sums {
    fn add(&mut self, amount: Option<Number>) {
        self.n += 1;
        if let Some(amount) = amount {
            self.total = Some(self.total.map_or(amount, |total| total.plus(amount)));
            self.low = Some(self.low.map_or(amount, |low| low.min(amount)));
            self.high = Some(self.high.map_or(amount, |high| high.max(amount)));
        }
    }
}

/// A grouping's value for one key after its first, second, … record.
pub type History = Vec<Sums>;

/// The values of one key in one window, and whether stream time has closed it.
#[derive(Clone, Debug, Default)]
pub struct Window {
    pub partition: i32,
    pub history: History,
    pub is_closed: bool,
}

/// Where a partition's task must have come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskEnd {
    pub stream_time: i64,
    pub input: u64,
    pub output: u64,
    pub filtered: u64,
    pub late: u64,
    pub dead: u64,
}

/// All that the stage `events` must have done.
#[derive(Debug, Default)]
pub struct First {
    /// For each partition the input offsets that are copied, in order, with a print of the whole copy.
    pub copies: BTreeMap<i32, Vec<(i64, u64)>>,
    pub running: HashMap<String, History>,
    pub windows: HashMap<(String, i64), Window>,
    /// Partition and offset of each dead letter, with the code that its reason begins with: `late`, or empty for any.
    pub dead: BTreeMap<(i32, i64), &'static str>,
    pub ends: BTreeMap<i32, TaskEnd>,
    /// The partition that each key lives on; the feed never puts one on two.
    pub homes: HashMap<String, i32>,
}

/// All that the stage `again` must have done.
#[derive(Debug, Default)]
pub struct Second {
    pub running: HashMap<String, History>,
    pub ends: BTreeMap<i32, TaskEnd>,
}

/// A record that can be processed.
struct Event {
    key: String,
    time: i64,
    is_kept: bool,
    amount: Option<Number>,
}

/// `None`: a dead letter.
fn read(row: &Row) -> Option<Event> {
    let value: Value = serde_json::from_slice(row.value.as_deref()?).ok()?;
    let amount = match value.get("amount") {
        None | Some(Value::Null) => None,
        Some(Value::Number(number)) => Some(Number::parse(&number.to_string())?),
        Some(_) => return None,
    };
    let is_kept = value.get("kind")?.as_str()? != "noise" && value.get("size")?.as_i64()? >= 10;
    let key = String::from_utf8(row.key.clone()?).ok()?;
    Some(Event { key, time: value.get("at")?.as_i64()?, is_kept, amount })
}

/// Key, value, timestamp and headers in one number.
pub fn print(row: &Row, headers: &[(String, Option<Vec<u8>>)]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&row.key, &row.value, row.timestamp, headers).hash(&mut hasher);
    hasher.finish()
}

impl TaskEnd {
    fn new() -> TaskEnd {
        TaskEnd { stream_time: i64::MIN, input: 0, output: 0, filtered: 0, late: 0, dead: 0 }
    }
}

fn is_closed(window: i64, stream_time: i64) -> bool {
    stream_time >= window + WINDOW + GRACE
}

impl First {
    /// Takes the next record of its partition; partitions may come in any mixture.
    pub fn take(&mut self, row: &Row) {
        let end = self.ends.entry(row.partition).or_insert_with(TaskEnd::new);
        end.input += 1;
        let Some(event) = read(row) else {
            end.dead += 1;
            self.dead.insert((row.partition, row.offset), "");
            return;
        };
        let mut sums = self.running.get(&event.key).and_then(|history| history.last().copied()).unwrap_or_default();
        sums.add(event.amount);
        // The step `running` takes every record, so a filtered one is an output too.
        end.output += 1;
        if event.is_kept {
            self.copies.entry(row.partition).or_default().push((row.offset, print(row, &row.headers)));
            let start = event.time.div_euclid(WINDOW) * WINDOW;
            if is_closed(start, end.stream_time) {
                end.late += 1;
                self.dead.insert((row.partition, row.offset), "late");
            } else {
                let window = self.windows.entry((event.key.clone(), start)).or_default();
                window.partition = row.partition;
                let mut sums = window.history.last().copied().unwrap_or_default();
                sums.add(event.amount);
                window.history.push(sums);
            }
        }
        end.stream_time = end.stream_time.max(event.time);
        self.homes.entry(event.key.clone()).or_insert(row.partition);
        self.running.entry(event.key).or_default().push(sums);
    }

    /// After the last record: which windows the stream time of their partition has closed.
    pub fn close(&mut self) {
        for ((_, start), window) in &mut self.windows {
            let end = self.ends.get(&window.partition);
            window.is_closed = end.is_some_and(|end| is_closed(*start, end.stream_time));
        }
    }
}

impl Second {
    /// Takes the next committed record of the copies' topic.
    pub fn take(&mut self, row: &Row) {
        let end = self.ends.entry(row.partition).or_insert_with(TaskEnd::new);
        end.input += 1;
        let Some(event) = read(row) else {
            end.dead += 1;
            return;
        };
        end.output += 1;
        end.stream_time = end.stream_time.max(event.time);
        let history = self.running.entry(event.key).or_default();
        let mut sums = history.last().copied().unwrap_or_default();
        sums.add(event.amount);
        history.push(sums);
    }
}

#[cfg(test)]
mod tests;
