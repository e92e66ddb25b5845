//! The PostgreSQL sink, on real Kafka and real PostgreSQL: rows and offsets move together, whoever is killed, and when;
//! bad rows are dead letters, a sick database is waited for. Knows the product only from outside. `SINKS=word` runs the
//! cases whose name has it. Invariant: every committed record is in the table once, or a dead letter.

// A test file as a whole: the lint's own exception knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

#[path = "sinks/mod.rs"]
mod cases;

use cases::world::World;
use tidemill_harness::cases::run;

/// Most of a case is waiting.
const AT_ONCE: usize = 6;

#[test]
fn rows_are_in_the_table_once_whatever_happens() {
    let world = World::start();
    let failed = run("SINKS", cases::CASES, AT_ONCE, &world);
    if !failed.is_empty() {
        panic!("failed: {failed:?}; the panics are above, logs in {}", world.keep().display());
    }
}
