//! Who decides when: the supervisor, one actor a lane, one a partition, and each lane's committer thread.
//!
//! Only this room and `runtime` name actix. Actors are shells: what a task does is `topology::Task`, what a lane does
//! after an outcome is `exactly_once::Cycle`, what recovery asks is `exactly_once::Recovery`.
//! Invariant: a message is a batch, never a record; and nothing on an arbiter blocks.

mod committer;
mod ends;
mod kept;
mod lane;
mod messages;
mod pace;
mod partition;
mod supervisor;
mod tally;
mod worked;

pub use ends::Ends;
pub use lane::LaneSettings;
pub use messages::{Heard, Stop};
pub use partition::MAILBOX;
pub use supervisor::{Plan, Supervisor};
pub use tally::Tally;
