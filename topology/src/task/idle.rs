//! The idle rule: at the end of its input, a task's stream time follows the clock, at a distance.
//!
//! Whoever drives the task asks [`Task::idle_check`] when it is time, fetches where the input ends *after* that, and says
//! so. Knows nothing of brokers. Invariant: time moves only where the end, fetched after the idle time was over, is the
//! task's position: no record that was there could then be called late that was not late already.

use super::Task;
use crate::record::Batch;

/// Between two looks at an end that has moved, or that no window waits for, ms.
const AGAIN: i64 = 1_000;

impl Task {
    /// The wall time at which the end of the input should be looked at; `None`: not as things are.
    pub fn idle_check(&self) -> Option<i64> {
        let idle = self.stage.reading()?.idle?;
        let since = self.at_end_since?;
        let windows = self.stage.groupings().filter_map(|g| g.window);
        // Only a move that closes a window is worth a checkpoint; from nowhere, every move is.
        let worth = windows.map(|w| w.next_close(self.stream_time)).min()?;
        let worth = if self.stream_time == i64::MIN { i64::MIN } else { worth.saturating_add(idle) };
        Some(since.saturating_add(idle).max(worth).max(self.idle_after))
    }

    /// The input ended at `end` when it was asked at the wall time `now`: the clock before the question, not at its answer,
    /// for what is written in between is not behind `end`. True if the stream time has moved.
    pub fn idle(&mut self, end: i64, now: i64) -> bool {
        let idle = self.stage.reading().and_then(|r| r.idle);
        let (Some(idle), Some(due)) = (idle, self.idle_check()) else { return false };
        if now < due {
            return false;
        }
        if end != self.position {
            self.idle_after = now + AGAIN;
            return false;
        }
        let time = now - idle;
        if time <= self.stream_time {
            return false;
        }
        self.stream_time = time;
        self.moved = true;
        true
    }

    pub(super) fn note_end(&mut self, batch: &Batch) {
        if !batch.at_end {
            self.at_end_since = None;
        } else if !batch.is_empty() || self.at_end_since.is_none() {
            self.at_end_since = Some(batch.arrived);
        }
    }
}
