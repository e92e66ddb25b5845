//! Which task this process has, how far its commits have come, and its store, lent to readers for a moment.
//!
//! Written by the supervisor and the committer threads, read by `http/`. Knows nothing of either.
//! Invariant: once a task was [withdrawn](Roster::withdraw) its store is lent to nobody any more, and who wants its folder
//! waits, off every arbiter, until the last loan is over.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tidemill_state::StateStore;
use tidemill_topology::{Checkpoint, Counts, TaskId};

/// How long a waiting thread goes without a look whether it is still wanted.
const LOOK: Duration = Duration::from_millis(50);

/// What a task's last committed transaction said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The next input offset.
    pub position: i64,
    /// ms since 1970; `i64::MIN` before the first record.
    pub stream_time: i64,
    pub counts: Counts,
    /// Bytes of its values in memory.
    pub memory: usize,
    /// Timestamp of the last record that was worked here, ms since 1970; `None`: none was.
    pub newest: Option<i64>,
}

/// Where a task is in its life here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Restoring,
    Running(Progress),
    /// It is going to another process.
    Leaving,
}

impl Phase {
    pub fn word(&self) -> &'static str {
        match self {
            Phase::Restoring => "restoring",
            Phase::Running(_) => "running",
            Phase::Leaving => "leaving",
        }
    }
}

/// One task, as it stood when it was asked for.
#[derive(Debug, Clone)]
pub struct Listed {
    pub task: TaskId,
    pub assignment: u64,
    pub phase: Phase,
    pub restore: Restore,
}

/// How far a restore has come, in offsets of the changelog; all 0 before it reads.
#[derive(Debug, Clone, Copy)]
pub struct Restore {
    pub began: Instant,
    pub from: i64,
    pub at: i64,
    pub end: i64,
}

struct Entry {
    number: u64,
    phase: Phase,
    restore: Restore,
    /// While it runs.
    store: Option<Arc<dyn StateStore>>,
}

#[derive(Default)]
struct Held {
    tasks: BTreeMap<TaskId, Entry>,
    /// Loans that are not over.
    lent: BTreeMap<TaskId, usize>,
    /// The group has said what this process has, be it nothing.
    joined: bool,
    stopping: bool,
}

/// See the module.
#[derive(Default)]
pub struct Roster {
    held: Mutex<Held>,
    returned: Condvar,
}

/// A store to read, and the position that it stands for as long as it has no checkpoint. To be short.
pub struct Loan {
    roster: Arc<Roster>,
    task: TaskId,
    /// The position of the last commit that was heard of.
    pub position: i64,
    store: Option<Arc<dyn StateStore>>,
}

impl Loan {
    pub fn store(&self) -> &dyn StateStore {
        &**self.store.as_ref().expect("given back at the drop alone")
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        // The handle goes first: who waits may open the folder at once.
        self.store = None;
        let mut held = self.roster.held();
        if let Some(lent) = held.lent.get_mut(&self.task) {
            *lent -= 1;
            if *lent == 0 {
                held.lent.remove(&self.task);
            }
        }
        drop(held);
        self.roster.returned.notify_all();
    }
}

impl Progress {
    fn of(checkpoint: &Checkpoint, position: i64) -> Progress {
        let Checkpoint { stream_time, counts, .. } = *checkpoint;
        Progress { position, stream_time, counts, memory: 0, newest: None }
    }

    /// What a task begins with.
    pub fn recovered(checkpoint: Option<&Checkpoint>, position: i64) -> Progress {
        let counts = Counts::default();
        let nothing = Progress { position, stream_time: i64::MIN, counts, memory: 0, newest: None };
        checkpoint.map_or(nothing, |c| Progress::of(c, position))
    }
}

impl Restore {
    fn begins() -> Restore {
        Restore { began: Instant::now(), from: 0, at: 0, end: 0 }
    }

    /// From 0 to 1.
    pub fn share(&self) -> f64 {
        match self.end - self.from {
            0 => 0.0,
            all => ((self.at - self.from) as f64 / all as f64).clamp(0.0, 1.0),
        }
    }
}

impl Roster {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The group has answered.
    pub fn joined(&self) {
        self.held().joined = true;
    }

    /// The process is about to end.
    pub fn stopping(&self) {
        self.held().stopping = true;
    }

    /// The task is being recovered under this assignment number.
    pub fn restoring(&self, task: &TaskId, number: u64) {
        self.set(task, Entry { number, phase: Phase::Restoring, restore: Restore::begins(), store: None });
    }

    /// Its restore has come so far.
    pub fn restored(&self, task: &TaskId, (from, at, end): (i64, i64, i64)) {
        if let Some(entry) = self.held().tasks.get_mut(task) {
            entry.restore = Restore { began: entry.restore.began, from, at, end };
        }
    }

    /// It runs, on this store.
    pub fn running(&self, task: &TaskId, number: u64, progress: Progress, store: Arc<dyn StateStore>) {
        let restore = Restore::begins();
        self.set(task, Entry { number, phase: Phase::Running(progress), restore, store: Some(store) });
    }

    fn set(&self, task: &TaskId, entry: Entry) {
        let before = self.held().tasks.insert(task.clone(), entry);
        drop(before); // may close a store: not under the lock
    }

    /// It runs no more, but leaves or begins again: nobody gets its store from now on.
    pub fn withdraw(&self, task: &TaskId, next: Phase) {
        let mut held = self.held();
        let store = held.tasks.get_mut(task).and_then(|entry| {
            entry.phase = next;
            entry.restore = Restore::begins();
            entry.store.take()
        });
        drop(held);
        drop(store);
    }

    /// It is not this process's any more.
    pub fn gone(&self, task: &TaskId) {
        let before = self.held().tasks.remove(task);
        drop(before);
    }

    /// Its transaction was committed and applied. `(memory, newest)`: as in [`Progress`].
    pub fn committed(
        &self,
        task: &TaskId,
        number: u64,
        checkpoint: &Checkpoint,
        (memory, newest): (usize, Option<i64>),
    ) {
        let mut held = self.held();
        let Some(entry) = held.tasks.get_mut(task).filter(|entry| entry.number == number) else { return };
        if let Phase::Running(progress) = &mut entry.phase {
            let position = checkpoint.position(&task.topic, task.partition).unwrap_or(progress.position);
            let newest = newest.or(progress.newest);
            *progress = Progress { memory, newest, ..Progress::of(checkpoint, position) };
        }
    }

    /// Lends the store of a task that runs.
    pub fn lend(self: &Arc<Roster>, task: &TaskId) -> Option<Loan> {
        let mut held = self.held();
        let Entry { phase: Phase::Running(progress), store: Some(store), .. } = held.tasks.get(task)? else {
            return None;
        };
        let (position, store) = (progress.position, Some(store.clone()));
        *held.lent.entry(task.clone()).or_default() += 1;
        Some(Loan { roster: self.clone(), task: task.clone(), position, store })
    }

    /// Waits until no loan of this task's store is left; `false`: `cancelled` said so before. Blocks.
    pub fn wait_unread(&self, task: &TaskId, cancelled: &dyn Fn() -> bool) -> bool {
        let mut held = self.held();
        while held.lent.contains_key(task) {
            if cancelled() {
                return false;
            }
            held = self.returned.wait_timeout(held, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Where the task is in its life here, if it is here.
    pub fn phase(&self, task: &TaskId) -> Option<Phase> {
        self.held().tasks.get(task).map(|entry| entry.phase)
    }

    /// All tasks, in order.
    pub fn list(&self) -> Vec<Listed> {
        let held = self.held();
        let listed = |(task, entry): (&TaskId, &Entry)| Listed {
            task: task.clone(),
            assignment: entry.number,
            phase: entry.phase,
            restore: entry.restore,
        };
        held.tasks.iter().map(listed).collect()
    }

    pub fn is_stopping(&self) -> bool {
        self.held().stopping
    }

    /// Why this process is not ready, a line each; empty: it is.
    pub fn unready(&self) -> Vec<String> {
        let held = self.held();
        if held.stopping {
            return vec!["the process is stopping".to_owned()];
        }
        if !held.joined {
            return vec!["the group has not said yet which tasks are here".to_owned()];
        }
        let waiting = held.tasks.iter().filter_map(|(task, entry)| match entry.phase {
            Phase::Running(_) | Phase::Leaving => None,
            Phase::Restoring => Some(format!("{task} is restoring")),
        });
        waiting.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tidemill_state::{RocksOptions, RocksStore};

    fn task() -> TaskId {
        TaskId { stage: "s".into(), topic: "t".into(), partition: 0 }
    }

    fn start() -> Progress {
        Progress::recovered(None, 7)
    }

    /// The rule that all of this is for: RocksDB refuses a folder that is still open.
    #[test]
    fn a_folder_is_free_once_its_loans_are_over_and_not_before() {
        let (dir, options) = (tempfile::tempdir().unwrap(), RocksOptions::new(8 << 20));
        let roster = Arc::new(Roster::default());
        roster.running(&task(), 1, start(), Arc::new(RocksStore::open(dir.path(), &options).unwrap()));
        let loan = roster.lend(&task()).unwrap();
        roster.withdraw(&task(), Phase::Leaving);
        assert!(roster.lend(&task()).is_none(), "withdrawn, so lent to nobody");
        assert!(RocksStore::open(dir.path(), &options).is_err(), "the loan still holds it");
        loan.store().meta().unwrap();
        let reader = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            drop(loan);
        });
        assert!(roster.wait_unread(&task(), &|| false));
        RocksStore::open(dir.path(), &options).unwrap();
        reader.join().unwrap();
    }

    #[test]
    fn who_waits_for_a_folder_may_lose_interest() {
        let roster = Arc::new(Roster::default());
        roster.running(&task(), 1, start(), Arc::new(tidemill_state::MemoryStore::new()));
        let _loan = roster.lend(&task()).unwrap();
        let cancelled = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| roster.wait_unread(&task(), &|| cancelled.load(Ordering::Relaxed)));
            cancelled.store(true, Ordering::Relaxed);
            assert!(!waiting.join().unwrap());
        });
    }

    #[test]
    fn ready_is_when_the_group_has_answered_and_every_task_runs() {
        let roster = Arc::new(Roster::default());
        assert_eq!(roster.unready().len(), 1);
        roster.joined();
        assert!(roster.unready().is_empty(), "a process without tasks is ready");
        roster.restoring(&task(), 1);
        assert_eq!(roster.unready(), ["s/t/0 is restoring"]);
        assert!(roster.lend(&task()).is_none() && roster.phase(&task()) == Some(Phase::Restoring));
        roster.running(&task(), 1, start(), Arc::new(tidemill_state::MemoryStore::new()));
        assert!(roster.unready().is_empty());
        assert_eq!(roster.lend(&task()).unwrap().position, 7);
    }

    #[test]
    fn commits_of_an_earlier_assignment_are_no_news() {
        let roster = Arc::new(Roster::default());
        roster.running(&task(), 2, start(), Arc::new(tidemill_state::MemoryStore::new()));
        let mut checkpoint = Checkpoint {
            task: String::new(),
            store: 0,
            sequence: 1,
            positions: vec![tidemill_topology::Position { topic: "t".into(), partition: 0, offset: 9 }],
            partitions: 1,
            counts: Counts::default(),
            stream_time: 5,
            states: Vec::new(),
            upstream: Vec::new(),
        };
        roster.committed(&task(), 2, &checkpoint, (64, Some(9)));
        checkpoint.stream_time = 6;
        roster.committed(&task(), 1, &checkpoint, (32, None));
        let Phase::Running(progress) = roster.list()[0].phase else { panic!() };
        assert_eq!((progress.position, progress.stream_time, progress.memory, progress.newest), (9, 5, 64, Some(9)));
    }
}
