//! What travels through a repartition topic: the partials of one seal for one partition, and the sender's stream time.
//!
//! Written by [`Partials`](super::Partials), read by the stage behind. Knows nothing of topics. Invariant: the time stands
//! in the last bundle of a seal, so whoever has read it has read every partial that came before that time.

use super::aggregate::Value;
use serde::{Deserialize, Serialize};
use tidemill_state::codec::{self, CodecError};

/// Version of the encoding.
const VERSION: u8 = 1;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Bundle {
    /// The partition of the source that the sender works.
    pub upstream: u32,
    /// Its stream time at the seal, ms since 1970.
    pub time: Option<i64>,
    pub partials: Vec<Partial>,
}

/// What became of one group's records, in one window, between two seals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Partial {
    pub start: i64,
    pub key: Vec<u8>,
    /// One for each aggregate, in the order of the step; distinct counts are empty.
    pub values: Vec<Value>,
    /// Of each distinct count, in the order of the step: the ids seen, each once, 8 bytes big-endian.
    pub ids: Vec<Vec<u8>>,
}

impl Bundle {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        codec::encode(VERSION, self, out);
    }

    /// # Errors
    /// A newer version, or bytes that are no bundle: somebody else wrote into the topic.
    pub fn decode(bytes: &[u8]) -> Result<Bundle, CodecError> {
        codec::decode(VERSION, bytes).map(|(_, bundle)| bundle)
    }
}

/// The ids of a partial.
pub(super) fn unpack(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    let (ids, _) = bytes.as_chunks::<8>();
    ids.iter().map(|id| u64::from_be_bytes(*id))
}
