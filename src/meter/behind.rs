//! Since when a task has been behind: from the ends of its input as they were seen, a look a second.
//!
//! Pure; the meter tells it ends and asks. Invariant: an offset's age is counted from the look that first saw it, so it is
//! right to the distance of two looks, or to a hundredth where that is more; what was there before the first look is as old
//! as the record worked last.

use std::collections::VecDeque;

/// Looks that are kept; with more, those that lie close together become one.
const KEPT: usize = 512;

/// One task's input.
#[derive(Debug, Default)]
pub struct Trail {
    /// When an end was first seen, seconds, and where it was; both grow.
    ends: VecDeque<(f64, i64)>,
    highest: Option<i64>,
    /// Looks closer than this, seconds, are one; it grows with the time that is behind.
    apart: f64,
    /// When the last of `ends` was first written.
    opened: f64,
    /// What stands before the first of `ends` was there already at the first look.
    unknown: bool,
}

impl Trail {
    /// The input ended at `end` when it was looked at, at the time `now`.
    pub fn note(&mut self, now: f64, end: i64) {
        self.unknown |= self.highest.is_none();
        if self.highest.is_some_and(|highest| end <= highest) {
            return;
        }
        self.highest = Some(end);
        // The first alone says what was there already.
        let grows = self.ends.len() > 1 && now - self.opened < self.apart;
        match self.ends.back_mut().filter(|_| grows) {
            Some(last) => *last = (now, end),
            None => {
                self.ends.push_back((now, end));
                self.opened = now;
            }
        }
        if self.ends.len() > KEPT {
            let mut at = 0;
            self.ends.retain(|_| {
                at += 1;
                at == 1 || at % 2 == 0
            });
            self.apart = (2.0 * self.apart).max(2.0);
        }
    }

    /// For how many seconds the offset at `position` has been there; 0: it is not there yet. `newest`: the timestamp of the
    /// last record that was worked, seconds since 1970.
    pub fn behind(&mut self, now: f64, position: i64, newest: Option<f64>) -> f64 {
        while self.ends.front().is_some_and(|(_, end)| *end <= position) {
            self.ends.pop_front();
            self.unknown = false;
        }
        let Some((seen, _)) = self.ends.front() else {
            self.apart = 0.0;
            return 0.0;
        };
        let since = match newest.filter(|_| self.unknown) {
            Some(newest) => newest.min(*seen),
            None => *seen,
        };
        (now - since).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_as_old_as_the_look_that_saw_it() {
        let mut trail = Trail::default();
        trail.note(0.0, 100);
        assert_eq!(trail.behind(0.0, 100, None), 0.0);
        // Silent for an hour, then ten records: the last one that was worked says nothing about them.
        trail.note(3600.0, 110);
        assert_eq!(trail.behind(3600.0, 100, Some(0.0)), 0.0);
        trail.note(3601.0, 120);
        assert_eq!(trail.behind(3605.0, 100, Some(0.0)), 5.0);
        assert_eq!(trail.behind(3605.0, 110, Some(3600.0)), 4.0);
        assert_eq!(trail.behind(3605.0, 120, Some(3605.0)), 0.0);
    }

    #[test]
    fn a_backlog_that_was_there_is_as_old_as_its_records() {
        let mut trail = Trail::default();
        trail.note(10_000.0, 500);
        assert_eq!(trail.behind(10_001.0, 0, None), 1.0, "no record was worked yet");
        assert_eq!(trail.behind(10_002.0, 200, Some(6_400.0)), 3_602.0);
        assert_eq!(trail.behind(10_003.0, 500, Some(9_999.0)), 0.0);
    }

    #[test]
    fn years_of_looks_take_no_more_room_and_lose_no_age() {
        let mut trail = Trail::default();
        (0..100_000).for_each(|i| trail.note(f64::from(i), i64::from(i) + 1));
        assert!(trail.ends.len() <= KEPT);
        assert_eq!(trail.behind(100_000.0, 0, None), 100_000.0);
        let half = trail.behind(100_000.0, 50_000, None);
        assert!((49_000.0..=50_000.0).contains(&half), "never older than it is: {half}");
    }
}
