//! What the processes said, added up: who held a task last, what restores read, what was aborted. Fed with the lines of
//! all processes in the order they came. Invariant: a restore is bounded only where the same directory held the task
//! last, so that what others committed meanwhile is not held against it.

use std::collections::BTreeMap;
use tidemill_harness::process::Line;

/// A state directory of an instance, and which start of the process in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    pub place: String,
    pub start: u64,
}

/// A restore that may read one transaction at most.
#[derive(Clone, Debug)]
pub struct Bounded {
    pub task: String,
    pub life: Life,
    pub records: u64,
}

#[derive(Default)]
pub struct Ledger {
    owners: BTreeMap<String, Life>,
    /// Lives that a SIGKILL ended.
    killed: Vec<Life>,
    pub bounded: Vec<Bounded>,
    pub restored: u64,
    pub restored_records: u64,
    pub rebuilds: Vec<String>,
    pub first_times: u64,
    pub aborted: u64,
    pub unknown: u64,
    pub recycled: u64,
    /// Exits that nobody asked for, by cause.
    pub exits: BTreeMap<String, u64>,
    pub slowest_ready_ms: u64,
}

impl Ledger {
    pub fn take(&mut self, life: &Life, line: &Line) {
        match line.message.as_str() {
            "task ready" => self.ready(life, line),
            "all tasks ready" => self.slowest_ready_ms = self.slowest_ready_ms.max(line.number("ms").unwrap_or(0)),
            "transaction aborted" => self.aborted += 1,
            "outcome unknown" => self.unknown += 1,
            "producer recycled" => self.recycled += 1,
            _ => {}
        }
    }

    fn ready(&mut self, life: &Life, line: &Line) {
        let Some(task) = line.text("task").map(str::to_owned) else { return };
        let (why, records) = (line.text("why").unwrap_or_default(), line.number("records").unwrap_or(0));
        let owner = self.owners.insert(task.clone(), life.clone());
        match why {
            "restored" => {
                self.restored += 1;
                self.restored_records += records;
                let was_killed = owner.is_some_and(|owner| owner.place == life.place && self.killed.contains(&owner));
                if was_killed {
                    self.bounded.push(Bounded { task, life: life.clone(), records });
                }
            }
            why if why.starts_with("rebuilt") => self.rebuilds.push(format!("{task} at {}: {why}", life.place)),
            _ => self.first_times += 1,
        }
    }

    pub fn was_killed(&mut self, life: &Life) {
        self.killed.push(life.clone());
    }

    pub fn exit(&mut self, cause: &str) {
        *self.exits.entry(cause.to_owned()).or_default() += 1;
    }

    /// The directory that held each task last.
    pub fn places(&self) -> impl Iterator<Item = (&str, &str)> {
        self.owners.iter().map(|(task, life)| (task.as_str(), life.place.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn ready(task: &str, why: &str, records: u64) -> Line {
        let fields = serde_json::json!({ "task": task, "why": why, "records": records });
        let fields = fields.as_object().expect("an object").clone();
        Line { at: Instant::now(), message: "task ready".to_owned(), fields }
    }

    fn life(place: &str, start: u64) -> Life {
        Life { place: place.to_owned(), start }
    }

    #[test]
    fn a_restore_is_bounded_only_where_nobody_else_held_the_task() {
        let mut ledger = Ledger::default();
        ledger.take(&life("a", 1), &ready("t", "first start", 0));
        ledger.was_killed(&life("a", 1));
        ledger.take(&life("a", 2), &ready("t", "restored", 5));
        assert_eq!(ledger.bounded.len(), 1);
        ledger.was_killed(&life("a", 2));
        ledger.take(&life("b", 1), &ready("t", "first time here", 900));
        ledger.take(&life("a", 3), &ready("t", "restored", 700));
        assert_eq!((ledger.bounded.len(), ledger.restored_records, ledger.first_times), (1, 705, 2));
        ledger.take(&life("a", 3), &ready("t", "rebuilt: damaged", 700));
        assert_eq!(ledger.rebuilds.len(), 1);
    }
}
