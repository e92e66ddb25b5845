//! Tumbling windows: of one size, side by side, beginning at 1970.
//!
//! Called by groupings. Knows nothing of records. Invariant: every time lies in exactly one window, also before 1970.

/// Size and grace in ms; `size` is 1 or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tumbling {
    pub size: i64,
    pub grace: i64,
}

impl Tumbling {
    /// Start of the window that `time` lies in.
    pub fn start_of(&self, time: i64) -> i64 {
        time.div_euclid(self.size).saturating_mul(self.size)
    }

    /// The first ms behind the window.
    pub fn end_of(&self, start: i64) -> i64 {
        start.saturating_add(self.size)
    }

    /// Whether the window is closed at this stream time: nothing is counted in it any more.
    pub fn closed(&self, start: i64, stream_time: i64) -> bool {
        stream_time >= self.end_of(start).saturating_add(self.grace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_lies_in_one_window_also_before_1970() {
        let w = Tumbling { size: 10, grace: 5 };
        let starts: Vec<i64> = [-11, -10, -1, 0, 9, 10].iter().map(|t| w.start_of(*t)).collect();
        assert_eq!(starts, [-20, -10, -10, 0, 0, 10]);
    }

    #[test]
    fn a_window_closes_at_its_end_plus_grace() {
        let w = Tumbling { size: 10, grace: 5 };
        assert!(!w.closed(0, 14));
        assert!(w.closed(0, 15));
        assert!(!w.closed(0, i64::MIN), "before the first record nothing is closed");
    }
}
