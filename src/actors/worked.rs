//! What a task did between two seals, as plain numbers: travels with the sealed values, and counts once they are committed.
//!
//! Filled by the partition actor, a few additions a batch; read by the committer thread. Knows no metric.
//! Invariant: it has a bound, however many batches a transaction holds.

use std::time::{Duration, Instant};
use tidemill_topology::{Batch, Counts, Task};

/// Batches whose arrivals are kept apart; those beyond share the last place.
const ARRIVALS: usize = 64;

#[derive(Debug, Default)]
pub struct Worked {
    /// When batches came, and how many records each had.
    pub arrivals: Vec<(Instant, u64)>,
    /// Timestamp of the last record, ms since 1970.
    pub newest: Option<i64>,
    /// Dead letters by code.
    pub dead: Vec<(&'static str, u64)>,
    /// The task's counts at the seal before, and at this one.
    pub counts: (Counts, Counts),
    /// Entries that were asked for: in memory, and not.
    pub lookups: (u64, u64),
    /// Buckets of ids that dedupes have forgotten for want of room.
    pub forgotten: u64,
    /// Memory of the task's values, bytes.
    pub memory: usize,
    /// What the seal took.
    pub seal: Duration,
}

/// What a task has counted since it was opened, or since it first ran.
#[derive(Debug, Clone, Copy)]
pub struct Counted {
    counts: Counts,
    lookups: (u64, u64),
    forgotten: u64,
}

impl Counted {
    pub fn of(task: &Task) -> Counted {
        Counted { counts: task.counts(), lookups: task.lookups(), forgotten: task.forgotten() }
    }
}

impl Worked {
    pub fn batch(&mut self, batch: &Batch, began: Instant) {
        if batch.is_empty() {
            return;
        }
        self.newest = batch.newest().filter(|ms| *ms > 0).or(self.newest);
        let records = batch.len() as u64;
        let full = self.arrivals.len() == ARRIVALS;
        match self.arrivals.last_mut().filter(|_| full) {
            Some((_, count)) => *count += records,
            None => self.arrivals.push((began, records)),
        }
    }

    /// The seal is over: what the task itself has counted. `before`: what it had at the seal before.
    pub fn sealed(&mut self, task: &mut Task, before: &mut Counted, seal: Duration) {
        let now = Counted::of(task);
        let was = std::mem::replace(before, now);
        self.dead = task.take_dead();
        self.counts = (was.counts, now.counts);
        self.lookups = (now.lookups.0 - was.lookups.0, now.lookups.1 - was.lookups.1);
        self.forgotten = now.forgotten - was.forgotten;
        self.memory = task.memory_bytes();
        self.seal = seal;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_batches_take_no_more_places_and_lose_no_record() {
        let mut worked = Worked::default();
        let mut batch = Batch::new("t".into(), 0, 1, 0);
        batch.push(0, 99, None, None);
        batch.push(1, 100, None, None);
        for _ in 0..1000 {
            worked.batch(&batch, Instant::now());
        }
        assert_eq!((worked.arrivals.len(), worked.newest), (ARRIVALS, Some(100)));
        assert_eq!(worked.arrivals.iter().map(|(_, n)| n).sum::<u64>(), 2000);
    }
}
