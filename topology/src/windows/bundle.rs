//! What travels through a repartition topic: the partials of one seal for one partition, and the sender's stream time.
//!
//! Written by [`Partials`](super::Partials), read by the stage behind. Knows nothing of topics. Invariant: the time stands
//! in the last bundle of a seal, so whoever has read it has read every partial that came before that time.

use super::aggregate::Value;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
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
    #[serde(with = "serde_bytes")]
    pub key: Vec<u8>,
    /// One for each aggregate, in the order of the step; distinct counts are empty.
    pub values: Vec<Value>,
    /// Of each distinct count, in the order of the step: the ids seen, each once, 8 bytes big-endian.
    pub ids: Vec<ByteBuf>,
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
pub(super) fn unpack(bytes: &[u8]) -> impl Iterator<Item = u64> + Clone + '_ {
    let (ids, _) = bytes.as_chunks::<8>();
    ids.iter().map(|id| u64::from_be_bytes(*id))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As bundles were first written: number by number.
    #[derive(Serialize)]
    struct First {
        upstream: u32,
        time: Option<i64>,
        partials: Vec<FirstPartial>,
    }

    #[derive(Serialize)]
    struct FirstPartial {
        start: i64,
        key: Vec<u8>,
        values: Vec<Value>,
        ids: Vec<Vec<u8>>,
    }

    #[test]
    fn bundles_of_version_1_read_and_write_as_ever() {
        let (key, values, ids) = (b"\0\0\0\x07\"click\"".to_vec(), vec![Value::Count(300)], vec![vec![7; 400], vec![]]);
        let first = FirstPartial { start: -1, key: key.clone(), values: values.clone(), ids: ids.clone() };
        let mut old = Vec::new();
        codec::encode(VERSION, &First { upstream: 300, time: Some(1 << 40), partials: vec![first] }, &mut old);
        let partial = Partial { start: -1, key, values, ids: ids.into_iter().map(ByteBuf::from).collect() };
        let bundle = Bundle { upstream: 300, time: Some(1 << 40), partials: vec![partial] };
        let mut new = Vec::new();
        bundle.encode(&mut new);
        assert_eq!(new, old);
        assert_eq!(Bundle::decode(&old).unwrap(), bundle);
    }
}
