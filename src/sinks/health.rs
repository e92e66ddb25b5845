//! Whether a sink works or waits, said once at each change, and how long to wait.
//!
//! Shared by a sink's writers. Knows no database. Invariant: a line when the first writer begins to wait, a line when
//! none waits any more, and none between.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

pub struct Health {
    sink: Arc<str>,
    /// Writers that wait, and since when.
    waiting: Mutex<BTreeMap<usize, Instant>>,
}

impl Health {
    pub fn new(sink: Arc<str>) -> Health {
        Health { sink, waiting: Mutex::default() }
    }

    /// Whether the sink begins to wait.
    pub fn ill(&self, writer: usize, cause: &str) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = waiting.is_empty();
        if begins {
            tracing::warn!(sink = %self.sink, cause, "sink waits");
        } else {
            tracing::debug!(sink = %self.sink, writer, cause, "sink still waits");
        }
        waiting.entry(writer).or_insert_with(Instant::now);
        begins
    }

    /// How long the writer that has waited longest has.
    pub fn waiting(&self) -> Duration {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.values().min().map_or(Duration::ZERO, Instant::elapsed)
    }

    pub fn well(&self, writer: usize) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(since) = waiting.remove(&writer) else { return };
        if waiting.is_empty() {
            tracing::info!(sink = %self.sink, ms = since.elapsed().as_millis() as u64, "sink goes on");
        }
    }
}

/// Twice as long each time, up to a bound; a little different for each writer, so that they do not come together.
pub struct Backoff {
    next: Duration,
    writer: u32,
}

impl Backoff {
    pub fn new(writer: usize) -> Backoff {
        Backoff { next: FIRST, writer: writer as u32 }
    }

    pub fn reset(&mut self) {
        self.next = FIRST;
    }

    pub fn after(&mut self) -> Duration {
        let wait = self.next + self.next * (self.writer % 8) / 32;
        self.next = (self.next * 2).min(LONGEST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_begin_anew() {
        let mut backoff = Backoff::new(0);
        let waits: Vec<_> = (0..8).map(|_| backoff.after()).collect();
        assert_eq!((waits[0], waits[1], waits[7]), (FIRST, FIRST * 2, LONGEST));
        backoff.reset();
        assert_eq!(backoff.after(), FIRST);
    }
}
