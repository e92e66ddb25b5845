//! The checkpoint: the last changelog record of a task in a transaction.
//!
//! It says which input positions the state stands for. Written by [`Task::seal`](crate::Task), read by recovery.
//! Invariant: a committed checkpoint's positions equal the group's committed offsets of the same transaction.

use serde::{Deserialize, Serialize};
use tidemill_state::codec;

/// Version of the encoding below; see `tidemill_state::codec`. Version 1 ended before `upstream`.
pub const VERSION: u8 = 2;

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
    /// Behind a repartition: the stream time of every task in front of it, by its partition.
    pub upstream: Vec<i64>,
}

/// What version 1 held.
#[derive(Deserialize)]
struct First {
    task: String,
    store: u128,
    sequence: u64,
    positions: Vec<Position>,
    partitions: i32,
    counts: Counts,
    stream_time: i64,
    states: Vec<StateEntry>,
}

impl From<First> for Checkpoint {
    fn from(first: First) -> Checkpoint {
        let First { task, store, sequence, positions, partitions, counts, stream_time, states } = first;
        Checkpoint { task, store, sequence, positions, partitions, counts, stream_time, states, upstream: Vec::new() }
    }
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
        codec::encode(VERSION, self, &mut out);
        out
    }

    /// Reads a changelog value of this version or an older one.
    ///
    /// # Errors
    /// A newer version (the process must halt: an old binary runs on new state), or bytes that are no checkpoint.
    pub fn decode(bytes: &[u8]) -> Result<Checkpoint, codec::CodecError> {
        codec::decode_versioned(VERSION, bytes, |version, body| match version {
            1 => codec::body_as::<First>(version, body).map(Checkpoint::from),
            _ => codec::body_as(version, body),
        })
    }

    /// The committed position of one input partition, if the checkpoint names it.
    pub fn position(&self, topic: &str, partition: i32) -> Option<i64> {
        self.positions.iter().find(|p| p.topic == topic && p.partition == partition).map(|p| p.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_of_version_1_is_read_as_one_without_upstream() {
        let counts = Counts { input: 3, output: 2, dead: 1, ..Counts::default() };
        let positions = vec![Position { topic: "t".into(), partition: 2, offset: 9 }];
        let states = vec![StateEntry { id: 1, name: "n".into(), shape: "s".into() }];
        let task = "a-t-changelog/2".to_owned();
        let now = Checkpoint {
            task,
            store: 7,
            sequence: 4,
            positions,
            partitions: 3,
            counts,
            stream_time: -5,
            states,
            upstream: vec![],
        };
        let mut bytes = now.encode();
        // An empty list is one byte, at the end.
        bytes.pop();
        bytes[0] = 1;
        assert_eq!(Checkpoint::decode(&bytes).unwrap(), now);
        let newer = Checkpoint { upstream: vec![i64::MIN, 10], ..now };
        assert_eq!(Checkpoint::decode(&newer.encode()).unwrap(), newer);
    }
}
