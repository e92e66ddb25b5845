//! The Kafka edge: the only room that names rdkafka. Records leave it as our own [`Batch`](tidemill_topology::Batch).
//!
//! Called by `actors/` (data path, transactions, recovery) and `cli/` (topics). Decides nothing about exactly-once: it
//! carries out what `exactly_once/` asks, and reports what happened.
//! Invariant: one consumer thread polls; each transactional call is made on its lane's committer thread.

mod broker;
mod client;
mod committer;
mod ends;
mod errors;
mod flows;
mod native;
mod outlet;
mod patience;
mod producer;
mod purge;
mod reader;
mod readers;
mod rebalance;
mod recovery;
mod reset;
mod restore;
mod rights;
mod sender;
mod snapshots;
mod statistics;
mod topics;

pub use broker::Brokers;
pub use client::{Connection, librdkafka_version};
pub use committer::{KafkaCommitter, Timings};
pub use errors::Fault;
pub use flows::Full;
pub use outlet::Outlet;
pub use purge::Purge;
pub use reader::{Event, KnownEnds, Reader, ReaderHandle, Start};
pub use recovery::{Log, Place, Recovered};
pub use reset::{Reset, Target as ResetTo, partitions as partitions_of};
pub use rights::rights;
pub use sender::Sender;
pub use snapshots::Snapshots;
pub use statistics::Seen;
pub use topics::{Difference, TopicPlan, Topics};
