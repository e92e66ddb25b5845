//! Bad input and the life cycle, on real Kafka and the real binary: every refusal says what, where and what to do, ends
//! with its code, and loses nothing. Knows the product only from outside. `REFUSALS=word` runs the cases whose name has
//! it. Invariant: whatever a case broke, the run after it goes on exactly where the one before it stood.

// A test file as a whole: the lint's own exception knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

#[path = "refusals/mod.rs"]
mod cases;

use cases::world::World;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Most of a case is waiting for brokers and groups.
const AT_ONCE: usize = 6;

#[test]
fn every_refusal_is_clear_and_nothing_is_lost() {
    let wanted = std::env::var("REFUSALS").unwrap_or_default();
    let cases: Vec<_> = cases::CASES.iter().filter(|(name, _)| name.contains(&*wanted)).collect();
    assert!(!cases.is_empty(), "no case is called '{wanted}'");
    let world = World::start();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(cases.len()) {
            scope.spawn(|| {
                while let Some((name, case)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let began = Instant::now();
                    let passed = catch_unwind(AssertUnwindSafe(|| case(&world))).is_ok();
                    println!(
                        "{:6.1} s  {}  {name}",
                        began.elapsed().as_secs_f32(),
                        if passed { "ok" } else { "FAILED" }
                    );
                    if !passed {
                        failed.lock().unwrap().push(*name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    if !failed.is_empty() {
        panic!("failed: {failed:?}; the panics are above, logs and states in {}", world.keep().display());
    }
}
