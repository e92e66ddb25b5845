//! Tidemill: a Kafka-native stream processor. This crate ties the rooms together; see README.md for the map.
//!
//! The binary is `cli::main`. To embed it, load a topology and call [`runtime::run`].
//! Invariant: in the product only `kafka/` names rdkafka, only `actors/` and `runtime` name actix.

pub mod actors;
pub mod cli;
pub mod exactly_once;
pub mod http;
pub mod kafka;
pub mod roster;
pub mod runtime;
pub mod simulate;
pub mod sinks;
pub mod state_dir;
pub mod traces;

mod clock;
mod exits;
mod memory;
mod meter;
mod process;
mod stop_points;
mod watchdog;
