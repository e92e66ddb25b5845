//! What to compute: the graph, its YAML, and the engine that runs one stage on one partition.
//!
//! Knows nothing of Kafka, threads or actors: a [`Task`] takes a [`Batch`] and hands over [`Sealed`] values, and whoever
//! drives it (the actors, the tester, the simulation, a benchmark) decides when, and what becomes of them.
//! Invariant: operators are pure; wall time reaches them only as the arrival time of a batch.

pub mod cases;
pub mod checkpoint;
pub mod dead_letters;
pub mod decimal;
mod describe;
mod event_time;
pub mod expr;
mod failure;
pub mod formats;
#[cfg(test)]
mod golden;
pub mod graph;
pub mod headers;
mod inspect;
mod operators;
mod plan;
mod query;
pub mod record;
pub mod sealed;
pub mod sinks;
pub mod task;
pub mod tester;
pub mod trace;
mod view;
mod windows;
pub mod yaml;

pub use checkpoint::{Checkpoint, Counts, Position, StateEntry};
pub use event_time::parse_text as parse_time;
pub use graph::{DeadLetters, OutputTopic, Stage, Start, Topology};
pub use query::{Ask, Part, Question, Refusal, Unanswered};
pub use record::{Batch, Headers, Record};
pub use sealed::{OutRecord, Outputs, Sealed, TaskId};
pub use task::{IdRooms, Task, TaskError, TaskSetup};
pub use tester::Tester;
pub use yaml::builder;
pub use yaml::{Alerts, ConfigError, Http, Loaded, Peer, Settings, load, parse};
