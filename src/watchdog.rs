//! Ends the process when one step of a transaction takes far too long; the call itself is never given up.
//!
//! Told by committers what they wait for; looks ten times a second on a thread of its own.
//! Invariant: time is counted in its own ticks, so a process that was stopped is not taken for a slow one; and it counts
//! from the last step that ended, so brokers that are slow and do answer are not taken for brokers that do not.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const TICK: Duration = Duration::from_millis(100);

/// What each lane waits for, if it does.
pub struct Watchdog {
    lanes: Vec<Place>,
}

type Place = Mutex<Option<Step>>;

struct Step {
    name: &'static str,
    ticks: u32,
}

/// A transaction under way; over when dropped.
pub struct Busy<'a>(&'a Place);

impl Watchdog {
    /// Watches that many lanes; `late` is called once for a step that has taken `limit`, with its lane and name.
    pub fn start(lanes: usize, limit: Duration, late: impl Fn(usize, &'static str) + Send + 'static) -> Arc<Watchdog> {
        let dog = Arc::new(Watchdog { lanes: (0..lanes).map(|_| Place::default()).collect() });
        let (watched, limit) = (dog.clone(), (limit.as_millis() / TICK.as_millis()) as u32);
        let look = move || {
            loop {
                std::thread::sleep(TICK);
                for (lane, place) in watched.lanes.iter().enumerate() {
                    if let Some(name) = tick(place, limit) {
                        late(lane, name);
                    }
                }
            }
        };
        std::thread::Builder::new().name("watchdog".into()).spawn(look).expect("a thread at start");
        dog
    }

    /// From now until the answer is dropped, the lane is busy, first with `step`.
    pub fn busy(&self, lane: usize, step: &'static str) -> Busy<'_> {
        let busy = Busy(&self.lanes[lane]);
        busy.begins(step);
        busy
    }
}

/// One tick more; the step's name when that is the one at which it is late.
fn tick(place: &Place, limit: u32) -> Option<&'static str> {
    let mut place = locked(place);
    let step = place.as_mut()?;
    step.ticks = step.ticks.saturating_add(1);
    (step.ticks == limit).then_some(step.name)
}

fn locked(place: &Place) -> MutexGuard<'_, Option<Step>> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Busy<'_> {
    /// The step before has ended, and this one begins.
    pub fn begins(&self, step: &'static str) {
        *locked(self.0) = Some(Step { name: step, ticks: 0 });
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        *locked(self.0) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_lane_that_stays_busy_is_named_once_and_an_idle_one_never() {
        let (tell, told) = channel();
        let dog = Watchdog::start(2, TICK * 2, move |lane, step| tell.send((lane, step)).expect("the test listens"));
        drop(dog.busy(0, "SEND"));
        let _busy = dog.busy(1, "SEND");
        assert_eq!(told.recv_timeout(TICK * 20), Ok((1, "SEND")));
        assert!(told.recv_timeout(TICK * 5).is_err());
    }

    #[test]
    fn steps_that_end_in_time_are_not_added_up() {
        let watched = Watchdog { lanes: vec![Place::default()] };
        let busy = watched.busy(0, "WAIT");
        let ticks = |n: u32| (0..n).filter_map(|_| tick(&watched.lanes[0], 3)).collect::<Vec<_>>();
        assert_eq!(ticks(2), [""; 0]);
        busy.begins("OFFSETS");
        assert_eq!(ticks(2), [""; 0]);
        busy.begins("COMMIT");
        assert_eq!(ticks(9), ["COMMIT"]);
    }
}
