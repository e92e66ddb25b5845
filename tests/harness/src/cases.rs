//! Runs named cases side by side on one world, and says what became of each. Called by test files whose cases mostly
//! wait for servers. Invariant: a case that fails does not keep the others from running.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A name, and what it does in its world.
pub type Case<W> = (&'static str, fn(&W));

/// Runs the cases whose name has the word in the environment variable `chosen`, at most `at_once` at a time; the names of
/// those that failed. Panics if the word is in no name: a run of nothing would pass.
pub fn run<W: Sync>(chosen: &str, cases: &[Case<W>], at_once: usize, world: &W) -> Vec<&'static str> {
    let wanted = std::env::var(chosen).unwrap_or_default();
    let cases: Vec<_> = cases.iter().filter(|(name, _)| name.contains(&*wanted)).collect();
    assert!(!cases.is_empty(), "no case is called '{wanted}'");
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..at_once.min(cases.len()) {
            scope.spawn(|| {
                while let Some((name, case)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let began = Instant::now();
                    let passed = catch_unwind(AssertUnwindSafe(|| case(world))).is_ok();
                    let how = if passed { "ok" } else { "FAILED" };
                    println!("{:6.1} s  {how}  {name}", began.elapsed().as_secs_f32());
                    if !passed {
                        failed.lock().unwrap_or_else(PoisonError::into_inner).push(*name);
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner)
}
