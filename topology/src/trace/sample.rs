//! A bounded sample of contexts: those with the smallest rank under a seed.
//!
//! Kept by partials and by groups in windows. Knows nothing of where it is stored. Invariant: it is a function of the set
//! of contexts and the seed alone, so it does not matter in which order, how often or in which parts they came.

use super::context::Context;
use serde::{Deserialize, Serialize};
use tidemill_state::{CodecError, codec};

/// So many contexts at most.
pub const EACH: usize = 8;
/// Version of the encoding.
const VERSION: u8 = 1;

/// In the order of their ranks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sample(Vec<Context>);

impl Sample {
    /// Takes a context in. True if it is among the smallest and was not there.
    pub fn add(&mut self, seed: u64, context: Context) -> bool {
        let rank = context.rank(seed);
        if self.0.len() == EACH && self.0.last().is_some_and(|last| rank >= last.rank(seed)) {
            return false;
        }
        let at = self.0.partition_point(|held| held.rank(seed) < rank);
        if self.0[at..].contains(&context) {
            return false;
        }
        self.0.truncate(EACH - 1);
        self.0.insert(at, context);
        true
    }

    /// As [`Sample::add`], where nobody asks.
    pub fn take(&mut self, seed: u64, context: Context) {
        self.add(seed, context);
    }

    pub fn contexts(&self) -> &[Context] {
        &self.0
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        codec::encode(VERSION, self, out);
    }

    /// # Errors
    /// A newer version, or bytes that are no sample.
    pub fn decode(bytes: &[u8]) -> Result<Sample, CodecError> {
        codec::decode(VERSION, bytes).map(|(_, sample)| sample)
    }
}

/// The samples of a bundle's partials by their place in it, for the header that they travel in.
pub fn encode_many(samples: &[(u32, Sample)], out: &mut Vec<u8>) {
    codec::encode(VERSION, samples, out);
}

/// Nothing, if it is not ours: a header must not stop a task.
pub fn decode_many(bytes: &[u8]) -> Vec<(u32, Sample)> {
    codec::decode(VERSION, bytes).map_or(Vec::new(), |(_, samples)| samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(n: u8) -> Context {
        Context { trace: [n; 16], span: [n.wrapping_add(1); 8], flags: 1 }
    }

    fn of(seed: u64, numbers: impl Iterator<Item = u8>) -> Sample {
        let mut sample = Sample::default();
        numbers.for_each(|n| sample.take(seed, context(n)));
        sample
    }

    #[test]
    fn order_repetition_and_parts_do_not_matter_and_the_seed_does() {
        let whole = of(7, 1..200);
        assert_eq!(whole.contexts().len(), EACH);
        assert_eq!(of(7, (1..200).rev()), whole);
        assert_eq!(of(7, (1..200).chain(1..200)), whole);
        let mut merged = of(7, 1..50);
        of(7, 40..200).contexts().iter().for_each(|c| merged.take(7, *c));
        assert_eq!(merged, whole);
        assert_ne!(of(8, 1..200), whole);
    }

    #[test]
    fn it_says_whether_it_changed() {
        let mut sample = of(7, 1..200);
        let before = sample.clone();
        assert!((1..200).all(|n| !sample.add(7, context(n))) && sample == before);
        assert!(of(7, 1..5).add(7, context(9)));
    }

    #[test]
    fn samples_of_version_1_read_and_write_as_ever() {
        let examples = [Sample::default(), of(7, 1..3), of(7, 1..200)];
        let encoded = |sample: &Sample| {
            let mut out = Vec::new();
            sample.encode(&mut out);
            out
        };
        let golden = crate::golden::hold("sample.v1.hex", &examples.each_ref().map(encoded));
        for (bytes, sample) in golden.iter().zip(&examples) {
            assert_eq!(Sample::decode(bytes).as_ref(), Ok(sample));
        }
    }

    #[test]
    fn a_header_that_is_not_ours_is_nothing() {
        let mut out = Vec::new();
        encode_many(&[(3, of(7, 1..3))], &mut out);
        assert_eq!(decode_many(&out), [(3, of(7, 1..3))]);
        for wrong in [&b""[..], b"\xff", b"\x01\xff\xff", b"hello"] {
            assert_eq!(decode_many(wrong), []);
        }
    }
}
