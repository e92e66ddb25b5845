//! Per-record copies: the exact sequence on the same partition, whole records. Called with the committed rows of the
//! topic in the order of each partition. Invariant: each expected copy is found once, or counted.

use super::{Row, Tally};
use crate::oracle::{First, print};
use std::collections::HashMap;

pub struct Copies<'a> {
    topic: &'a str,
    input: &'a str,
    expected: HashMap<(i32, i64), u64>,
    /// How often each source was seen.
    seen: HashMap<(i32, i64), u32>,
    last: HashMap<i32, i64>,
}

impl<'a> Copies<'a> {
    pub fn new(first: &First, topic: &'a str, input: &'a str) -> Copies<'a> {
        let all = first.copies.iter().flat_map(|(partition, copies)| copies.iter().map(move |copy| (*partition, copy)));
        let expected = all.map(|(partition, (offset, print))| ((partition, *offset), *print)).collect();
        Copies { topic, input, expected, seen: HashMap::new(), last: HashMap::new() }
    }

    pub fn take(&mut self, row: &Row, tally: &mut Tally) {
        let place = || format!("{}/{}/{}", self.topic, row.partition, row.offset);
        let Some(source) = row.source(self.input) else {
            return tally.wrong(|| format!("{}: no readable tidemill-source", place()));
        };
        let Some(expected) = self.expected.get(&source) else {
            return tally.wrong(|| format!("{}: {source:?} should not be there", place()));
        };
        let times = self.seen.entry(source).or_default();
        *times += 1;
        if *times > 1 {
            return tally.duplicated(|| format!("{}: {source:?} again", place()));
        }
        let last = self.last.entry(row.partition).or_insert(-1);
        let originals: Vec<_> = row.headers.iter().filter(|(name, _)| name != "tidemill-source").cloned().collect();
        if source.0 != row.partition || source.1 <= *last {
            tally.wrong(|| format!("{}: {source:?} behind offset {last}, or on another partition", place()));
        } else if print(row, &originals) != *expected {
            tally.wrong(|| format!("{}: {source:?} is not the record that came", place()));
        }
        *last = source.1.max(*last);
    }

    pub fn finish(self, tally: &mut Tally) {
        let mut missing: Vec<_> = self.expected.keys().filter(|source| !self.seen.contains_key(source)).collect();
        missing.sort_unstable();
        for source in missing {
            tally.lost(|| format!("{}: the copy of {source:?}", self.topic));
        }
    }
}
