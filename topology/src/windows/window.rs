//! Windows: tumbling, side by side, or hopping, one over the other; beginning at 1970.
//!
//! Called by groupings. Knows nothing of records. Invariant: every time lies in exactly one pane, also before 1970, and a
//! window is a whole number of panes.

/// All in ms, 1 or more but for grace. A pane is as long as the hop; where windows tumble, it is the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub size: i64,
    /// From one window's start to the next; divides `size`.
    pub hop: i64,
    pub grace: i64,
}

impl Window {
    pub fn tumbles(&self) -> bool {
        self.hop == self.size
    }

    /// Start of the pane that `time` lies in; it is the start of the last window that holds it too.
    pub fn pane_of(&self, time: i64) -> i64 {
        time.div_euclid(self.hop).saturating_mul(self.hop)
    }

    /// The first ms behind the window that begins at `start`.
    pub fn end_of(&self, start: i64) -> i64 {
        start.saturating_add(self.size)
    }

    /// Whether the window that begins at `start` is closed at this stream time: nothing is counted in it any more. Where
    /// it is, so is every other one that the pane at `start` lies in.
    pub fn closed(&self, start: i64, stream_time: i64) -> bool {
        stream_time >= self.end_of(start).saturating_add(self.grace)
    }

    /// The start of the first window that is open at this stream time.
    pub fn first_open(&self, stream_time: i64) -> i64 {
        let behind = stream_time.saturating_sub(self.grace).saturating_sub(self.size);
        self.pane_of(behind).saturating_add(self.hop)
    }

    /// The stream time at which the next window closes, be there records in it or not.
    pub fn next_close(&self, stream_time: i64) -> i64 {
        self.end_of(self.first_open(stream_time)).saturating_add(self.grace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_lies_in_one_pane_also_before_1970() {
        let w = Window { size: 10, hop: 10, grace: 5 };
        let starts: Vec<i64> = [-11, -10, -1, 0, 9, 10].iter().map(|t| w.pane_of(*t)).collect();
        assert_eq!(starts, [-20, -10, -10, 0, 0, 10]);
    }

    #[test]
    fn a_window_closes_at_its_end_plus_grace() {
        let w = Window { size: 10, hop: 10, grace: 5 };
        assert!(!w.closed(0, 14));
        assert!(w.closed(0, 15));
        assert!(!w.closed(0, i64::MIN), "before the first record nothing is closed");
    }

    #[test]
    fn the_first_open_window_is_the_first_that_is_not_closed() {
        for w in [Window { size: 10, hop: 10, grace: 5 }, Window { size: 30, hop: 10, grace: 0 }] {
            for time in -100..100 {
                let first = w.first_open(time);
                assert!(!w.closed(first, time) && w.closed(first - w.hop, time), "{w:?} at {time}");
                assert!(w.next_close(time) > time && w.closed(first, w.next_close(time)), "{w:?} at {time}");
            }
        }
    }
}
