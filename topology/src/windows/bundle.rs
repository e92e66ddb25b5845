//! What travels through a repartition topic: the partials of one seal for one partition, and the sender's stream time.
//!
//! Written by [`Partials`](super::Partials), read by the stage behind. Knows nothing of topics. Invariant: the time stands
//! in the last bundle of a seal, so whoever has read it has read every partial that came before that time.

use super::aggregate::Value;
use serde::{Deserialize, Serialize, Serializer};
use serde_bytes::Bytes;
use tidemill_state::codec::{self, CodecError};

/// Version of the encoding.
const VERSION: u8 = 1;

/// As it is read: keys and ids lie in the record.
#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct Bundle<'a> {
    /// The partition of the source that the sender works.
    pub upstream: u32,
    /// Its stream time at the seal, ms since 1970.
    pub time: Option<i64>,
    #[serde(borrow)]
    pub partials: Vec<Partial<'a>>,
}

/// What became of one group's records, in one window, between two seals.
#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct Partial<'a> {
    pub start: i64,
    #[serde(borrow, with = "serde_bytes")]
    pub key: &'a [u8],
    /// One for each aggregate, in the order of the step; distinct counts are empty.
    pub values: Vec<Value>,
    /// Of each distinct count, in the order of the step: the ids seen, each once, 8 bytes big-endian.
    #[serde(borrow)]
    pub ids: Vec<&'a Bytes>,
}

impl<'a> Bundle<'a> {
    /// # Errors
    /// A newer version, or bytes that are no bundle: somebody else wrote into the topic.
    pub fn decode(bytes: &'a [u8]) -> Result<Bundle<'a>, CodecError> {
        codec::borrow(VERSION, bytes)
    }
}

/// A bundle as it is written, partial by partial.
#[derive(Default)]
pub(super) struct Filling {
    /// Of the partials.
    body: Vec<u8>,
    partials: u32,
}

impl Filling {
    /// Adds a [`Partial`].
    pub fn push<'a>(
        &mut self,
        start: i64,
        key: &[u8],
        values: &[Value],
        ids: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
    ) {
        codec::append(&(start, Bytes::new(key), values, Lists(ids)), &mut self.body);
        self.partials += 1;
    }

    /// Partials so far.
    pub fn len(&self) -> u32 {
        self.partials
    }

    /// What they take, about.
    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    /// The [`Bundle`], encoded. What comes next is another one's.
    pub fn finish(&mut self, upstream: u32, time: Option<i64>) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() + 32);
        codec::encode(VERSION, &(upstream, time, self.partials), &mut out);
        out.append(&mut self.body);
        self.partials = 0;
        out
    }
}

struct Lists<I>(I);

impl<'a, I: ExactSizeIterator<Item = &'a [u8]> + Clone> Serialize for Lists<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone().map(Bytes::new))
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
        let of = |start| FirstPartial { start, key: key.clone(), values: values.clone(), ids: ids.clone() };
        let (mut old, mut filling) = (Vec::new(), Filling::default());
        let starts = -1..300;
        let first = First { upstream: 300, time: Some(1 << 40), partials: starts.clone().map(of).collect() };
        codec::encode(VERSION, &first, &mut old);
        starts.for_each(|start| filling.push(start, &key, &values, ids.iter().map(Vec::as_slice)));
        assert_eq!(filling.finish(300, Some(1 << 40)), old);
        let read = Bundle::decode(&old).unwrap();
        assert_eq!((read.upstream, read.time, read.partials.len()), (300, Some(1 << 40), 301));
        let lists = ids.iter().map(|ids| Bytes::new(ids)).collect();
        assert_eq!(read.partials[0], Partial { start: -1, key: &key, values, ids: lists });
    }

    #[test]
    fn a_bundle_that_is_done_leaves_nothing_to_the_next() {
        let mut filling = Filling::default();
        filling.push(0, b"a", &[], std::iter::empty());
        filling.finish(1, None);
        assert_eq!(
            Bundle::decode(&filling.finish(1, None)).unwrap(),
            Bundle { upstream: 1, time: None, partials: vec![] }
        );
    }
}
