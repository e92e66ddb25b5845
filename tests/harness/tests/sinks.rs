//! The PostgreSQL sink, on real Kafka and real PostgreSQL: rows and offsets move together, whoever is killed, and when;
//! bad rows are dead letters, a sick database is waited for. Knows the product only from outside. `SINKS=word` runs the
//! cases whose name has it. Invariant: every committed record is in the table once, or a dead letter.

// A test file as a whole: the lint's own exception knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

#[path = "sinks/mod.rs"]
mod cases;

use cases::world::World;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Most of a case is waiting.
const AT_ONCE: usize = 4;

#[test]
fn rows_are_in_the_table_once_whatever_happens() {
    let wanted = std::env::var("SINKS").unwrap_or_default();
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
                    let how = if passed { "ok" } else { "FAILED" };
                    println!("{:6.1} s  {how}  {name}", began.elapsed().as_secs_f32());
                    if !passed {
                        failed.lock().unwrap().push(*name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    if !failed.is_empty() {
        panic!("failed: {failed:?}; the panics are above, logs in {}", world.keep().display());
    }
}
