//! The checkpoint: the last changelog record of a task in a transaction.
//!
//! It says which input positions the state stands for. Written by [`Task::seal`](crate::Task), read by recovery.
//! Invariant: a committed checkpoint's positions equal the group's committed offsets of the same transaction.

use serde::{Deserialize, Serialize};

/// Version of the encoding below; see `tidemill_state::codec`.
pub const VERSION: u8 = 1;

/// Which prefix of its inputs a task's state stands for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Whose it is: the task's changelog partition, `topic/partition`.
    pub task: String,
    /// Made once, when the task first ran; the same in every store and changelog of the task.
    pub store: u128,
    /// One more than that of the transaction before.
    pub sequence: u64,
    pub positions: Vec<Position>,
    /// Partitions of the input topic when it was written; a different count now means that keys have moved.
    pub partitions: i32,
    pub counts: Counts,
    /// Highest accepted event time, ms since 1970.
    pub stream_time: i64,
    pub states: Vec<StateEntry>,
}

/// The next offset of one input partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

/// What became of the records of a task since it first ran: `in = out + filtered + duplicate + dead`, late beside it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub input: u64,
    pub output: u64,
    pub filtered: u64,
    pub duplicate: u64,
    pub late: u64,
    pub dead: u64,
}

/// A named state, its number for ever, and the shape that it had when it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateEntry {
    pub id: u16,
    pub name: String,
    /// Words that change when old entries could not be read as new ones.
    pub shape: String,
}

impl Checkpoint {
    /// The changelog value: a version byte, then bincode.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        tidemill_state::codec::encode(VERSION, self, &mut out);
        out
    }

    /// Reads a changelog value of this version or an older one.
    ///
    /// # Errors
    /// A newer version (the process must halt: an old binary runs on new state), or bytes that are no checkpoint.
    pub fn decode(bytes: &[u8]) -> Result<Checkpoint, tidemill_state::codec::CodecError> {
        tidemill_state::codec::decode(VERSION, bytes).map(|(_, c)| c)
    }

    /// The committed position of one input partition, if the checkpoint names it.
    pub fn position(&self, topic: &str, partition: i32) -> Option<i64> {
        self.positions.iter().find(|p| p.topic == topic && p.partition == partition).map(|p| p.offset)
    }
}
