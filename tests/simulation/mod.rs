//! The simulation: real tasks and the pure protocol over a fake cluster, one seeded step at a time.
//!
//! Knows no Kafka, no thread, no clock. Called by `tests/simulation.rs`.
//! Invariant: a seed, a shape and the protections are a run, on every machine.

pub mod broker;
pub mod controls;
pub mod group;
pub mod input;
pub mod lane;
pub mod oracle;
pub mod process;
pub mod recover;
pub mod rng;
pub mod steps;
pub mod world;

use std::panic::AssertUnwindSafe;
use world::{Violation, World};

/// A whole run; a panic of the protocol or of a task is a violation too.
pub fn run(world: &mut World) -> Result<(), Violation> {
    let caught = std::panic::catch_unwind(AssertUnwindSafe(|| world.run()));
    caught.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).into()));
        Err(Violation::new("panic", text.unwrap_or_default()))
    })
}
