//! The simulation: real tasks and the pure protocol over a fake cluster, one seeded step at a time.
//!
//! Knows no Kafka, no thread, no clock. Called by `tests/simulation.rs`.
//! Invariant: a seed, a shape and the protections are a run, on every machine.

pub mod broker;
pub mod group;
pub mod input;
pub mod lane;
pub mod oracle;
pub mod process;
pub mod recover;
pub mod rng;
pub mod steps;
pub mod world;
