//! How long brokers that do not answer are asked again.
//!
//! Used where something must be known before anything runs. Knows nothing of what is asked. Invariant: a process that stood still,
//! as one that was stopped or a machine that slept, still asks a few times before it gives up.

use std::time::{Duration, Instant};

/// Questions at least, however late it has become meanwhile.
const QUESTIONS: u32 = 4;

pub(super) struct Patience {
    until: Instant,
    asked: u32,
}

impl Patience {
    /// Begins now.
    pub fn of(time: Duration) -> Patience {
        Patience { until: Instant::now() + time, asked: 0 }
    }

    /// One more question was not answered: whether it was the last one.
    pub fn is_over(&mut self) -> bool {
        self.is_over_at(Instant::now())
    }

    fn is_over_at(&mut self, now: Instant) -> bool {
        self.asked += 1;
        self.asked >= QUESTIONS && now > self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stood_still_asks_again_and_who_did_not_gives_up_in_time() {
        let late = Instant::now() + Duration::from_secs(3_600);
        let mut stopped = Patience::of(Duration::from_secs(10));
        assert_eq!([(); 4].map(|()| stopped.is_over_at(late)), [false, false, false, true]);
        let mut patient = Patience::of(Duration::from_secs(10));
        let begun = Instant::now();
        assert!((0..90).all(|second| !patient.is_over_at(begun + Duration::from_secs(second) / 10)));
        assert!(patient.is_over_at(begun + Duration::from_secs(11)));
    }
}
