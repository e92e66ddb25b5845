//! When a lane's next seal of all its tasks is due.
//!
//! Owned by the lane, which tells of each seal, and how long its transaction took. Knows nothing of what is sealed. Invariant: without a
//! backlog a seal is due at the interval.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// More has to come than is worked for so long before anything waits for longer than the interval: bursts pass.
const BACKLOG: Duration = Duration::from_millis(250);
/// With a backlog, transactions that take more than half of the interval follow one another after so many times what one takes. With many
/// partitions they cost far more than what they carry (each partition is a request to its broker), and nobody waits for what lies behind a
/// backlog.
const TIMES: u32 = 4;
/// They are never further apart than this.
const LONGEST: Duration = Duration::from_secs(1);

/// See the module.
pub struct Pace {
    interval: Duration,
    last: Instant,
    /// What the transaction of the last seal took, from the seal on.
    took: Duration,
    /// A batch found no room since the last seal.
    refused: Arc<AtomicBool>,
    /// Since when each seal has found that.
    behind_since: Option<Instant>,
}

impl Pace {
    pub fn new(interval: Duration, now: Instant) -> Pace {
        Pace { interval, last: now, took: Duration::ZERO, refused: Arc::default(), behind_since: None }
    }

    /// To be set by whoever finds no room for a batch.
    pub fn refused(&self) -> Arc<AtomicBool> {
        self.refused.clone()
    }

    /// How long until a seal is due; zero: it is.
    pub fn left(&self, now: Instant) -> Duration {
        let behind = self.behind_since.is_some_and(|since| now.duration_since(since) >= BACKLOG)
            && self.refused.load(Ordering::Relaxed);
        let wait = if behind && self.took > self.interval / 2 {
            (self.took * TIMES).min(LONGEST).max(self.interval)
        } else {
            self.interval
        };
        wait.saturating_sub(now.duration_since(self.last))
    }

    /// A seal of all tasks begins.
    pub fn sealed(&mut self, now: Instant) {
        self.behind_since = match self.refused.swap(false, Ordering::Relaxed) {
            true => self.behind_since.or(Some(self.last)),
            false => None,
        };
        self.last = now;
    }

    /// Its transaction is over.
    pub fn finished(&mut self, now: Instant) {
        self.took = now.duration_since(self.last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const INTERVAL: Duration = Duration::from_millis(100);

    /// Seals when it is due, each transaction taking so long; how far apart the last two were.
    fn apart(took: Duration, seals: usize, refused: impl Fn(usize) -> bool) -> Duration {
        let mut now = Instant::now();
        let mut pace = Pace::new(INTERVAL, now);
        let mut apart = Duration::ZERO;
        for at in 0..seals {
            pace.refused().store(refused(at), Ordering::Relaxed);
            let began = now;
            while pace.left(now) > Duration::ZERO {
                now += MS;
            }
            apart = now - began;
            pace.sealed(now);
            pace.finished(now + took);
        }
        apart
    }

    #[test]
    fn without_a_backlog_the_interval_is_kept_however_long_transactions_take() {
        assert_eq!(apart(90 * MS, 20, |_| false), INTERVAL);
    }

    #[test]
    fn a_backlog_has_long_transactions_follow_one_another_slowly_and_short_ones_at_the_interval() {
        assert_eq!(apart(90 * MS, 20, |_| true), 360 * MS);
        assert_eq!(apart(50 * MS, 20, |_| true), INTERVAL);
        assert_eq!(apart(5_000 * MS, 20, |_| true), LONGEST);
    }

    #[test]
    fn a_burst_changes_nothing_and_a_backlog_that_is_over_is_forgotten() {
        assert_eq!(apart(90 * MS, 20, |at| at % 2 == 0), INTERVAL);
        assert_eq!(apart(90 * MS, 2, |_| true), INTERVAL);
        assert_eq!(apart(90 * MS, 20, |at| at < 19), INTERVAL, "the first without one does not wait");
    }
}
