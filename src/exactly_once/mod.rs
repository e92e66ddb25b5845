//! The exactly-once protocol as pure code: what a lane and a task do next, never how.
//!
//! Knows no Kafka, no RocksDB, no thread and no actor. `kafka/` carries its questions and transactions out, `actors/`
//! decide when; the simulation in `tests/` drives the very same values through thousands of seeded schedules.
//! Invariant: a task's state, its outputs and its input offsets move together or not at all.
//!
//! | step | what | where |
//! |---|---|---|
//! | SEAL | every task that the newest assignment snapshot owns, under the same number, hands over its values | [`Assignment::owns`] |
//! | SEND, WAIT, OFFSETS, COMMIT | one Kafka transaction | [`Committer`] |
//! | APPLY | the same bytes go into the stores | [`apply`] |
//! | abort, left out, sent again | the lane's cycle after an outcome | [`Cycle`] |
//! | RECOVER | start, takeover and unknown outcome, all the same | [`Recovery`] |
//!
//! `tests/model` checks these steps, under these names, in every interleaving within small bounds.

mod assignment;
mod cycle;
mod outcome;
mod protections;
mod recovery;
#[cfg(test)]
mod tests;

pub use assignment::{Assignment, Kept, Member, Membership};
pub use cycle::{Cycle, Step};
pub use outcome::{Committer, Landed, Outcome, Refusal, apply};
pub use protections::{NAMES as PROTECTIONS, Protections};
pub use recovery::{Action, Answer, Facts, Halt, Ready, Recovery, Why};

/// The steps of one transaction and of recovery, by the names that DESIGN, model and logs share.
pub const STEPS: &[&str] = &["SEAL", "SEND", "WAIT", "OFFSETS", "COMMIT", "APPLY", "RECOVER"];
