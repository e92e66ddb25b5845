//! Bad input and the life cycle, on real Kafka and the real binary: every refusal says what, where and what to do, ends
//! with its code, and loses nothing. Knows the product only from outside. `REFUSALS=word` runs the cases whose name has
//! it. Invariant: whatever a case broke, the run after it goes on exactly where the one before it stood.

// A test file as a whole: the lint's own exception knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

#[path = "refusals/mod.rs"]
mod cases;

use cases::world::World;
use tidemill_harness::cases::run;

/// Most of a case is waiting for brokers and groups.
const AT_ONCE: usize = 6;

#[test]
fn every_refusal_is_clear_and_nothing_is_lost() {
    let world = World::start();
    let failed = run("REFUSALS", cases::CASES, AT_ONCE, &world);
    if !failed.is_empty() {
        panic!("failed: {failed:?}; the panics are above, logs and states in {}", world.keep().display());
    }
}
