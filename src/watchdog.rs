//! Ends the process when a transaction takes far too long; the call itself is never given up.
//!
//! Told by committers when they are busy; looks ten times a second on a thread of its own.
//! Invariant: time is counted in its own ticks, so a process that was stopped is not taken for a slow one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const TICK: Duration = Duration::from_millis(100);
/// Not busy.
const IDLE: u32 = u32::MAX;

/// Ticks that each lane's transaction has taken so far.
pub struct Watchdog {
    lanes: Vec<AtomicU32>,
}

/// A transaction under way; over when dropped.
pub struct Busy<'a>(&'a AtomicU32);

impl Watchdog {
    /// Watches that many lanes; `late` is called once with the lane that has been busy for `limit`.
    pub fn start(lanes: usize, limit: Duration, late: impl Fn(usize) + Send + 'static) -> Arc<Watchdog> {
        let dog = Arc::new(Watchdog { lanes: (0..lanes).map(|_| AtomicU32::new(IDLE)).collect() });
        let (watched, limit) = (dog.clone(), (limit.as_millis() / TICK.as_millis()) as u32);
        let look = move || {
            loop {
                std::thread::sleep(TICK);
                for (lane, ticks) in watched.lanes.iter().enumerate() {
                    let count = |t: u32| (t != IDLE).then(|| t.saturating_add(1).min(IDLE - 1));
                    let before = ticks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
                    if before == Ok(limit) {
                        late(lane);
                    }
                }
            }
        };
        std::thread::Builder::new().name("watchdog".into()).spawn(look).expect("a thread at start");
        dog
    }

    /// From now until the answer is dropped, the lane is busy.
    pub fn busy(&self, lane: usize) -> Busy<'_> {
        let ticks = &self.lanes[lane];
        ticks.store(0, Ordering::Relaxed);
        Busy(ticks)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(IDLE, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_lane_that_stays_busy_is_named_once_and_an_idle_one_never() {
        let (tell, told) = channel();
        let dog = Watchdog::start(2, TICK * 2, move |lane| tell.send(lane).expect("the test listens"));
        drop(dog.busy(0));
        let _busy = dog.busy(1);
        assert_eq!(told.recv_timeout(TICK * 20), Ok(1));
        assert!(told.recv_timeout(TICK * 5).is_err());
    }
}
