//! Dead letters: one for each record that failed or came late, whole, with its source. Called with the committed rows of
//! their topic. Invariant: each expected letter is found once, or counted.

use super::{Row, Tally};
use crate::oracle::First;
use std::collections::{BTreeMap, HashMap};

/// Key and value as they came.
type Bytes = (Option<Vec<u8>>, Option<Vec<u8>>);

pub struct DeadLetters<'a> {
    topic: &'a str,
    input: &'a str,
    expected: &'a BTreeMap<(i32, i64), &'static str>,
    originals: &'a HashMap<(i32, i64), Bytes>,
    seen: HashMap<(i32, i64), u32>,
}

impl<'a> DeadLetters<'a> {
    /// `originals`: the input records that must be there.
    pub fn new(
        first: &'a First,
        originals: &'a HashMap<(i32, i64), Bytes>,
        topic: &'a str,
        input: &'a str,
    ) -> DeadLetters<'a> {
        DeadLetters { topic, input, expected: &first.dead, originals, seen: HashMap::new() }
    }

    pub fn take(&mut self, row: &Row, tally: &mut Tally) {
        let place = || format!("{}/{}/{}", self.topic, row.partition, row.offset);
        let reason = row.header("tidemill-reason").unwrap_or("no reason");
        let Some(source) = row.source(self.input) else {
            return tally.wrong(|| format!("{}: no source in {}, {reason}", place(), self.input));
        };
        let Some(code) = self.expected.get(&source) else {
            return tally.wrong(|| format!("{}: {source:?} should not be there: {reason}", place()));
        };
        let times = self.seen.entry(source).or_default();
        *times += 1;
        if *times > 1 {
            return tally.duplicated(|| format!("{}: {source:?} again: {reason}", place()));
        }
        let is_right_code = reason.contains(": ") && (*code == "late") == reason.starts_with("late:");
        let original = self.originals.get(&source);
        let is_whole = original.is_some_and(|(key, value)| *key == row.key && *value == row.value);
        if !is_right_code || !is_whole || row.header("tidemill-attempt") != Some("1") {
            tally.wrong(|| format!("{}: {source:?}: reason {reason:?}, whole: {is_whole}", place()));
        }
    }

    pub fn finish(self, tally: &mut Tally) {
        for (source, code) in self.expected.iter().filter(|(source, _)| !self.seen.contains_key(source)) {
            tally.lost(|| format!("{}: the dead letter of {source:?} {code}", self.topic));
        }
    }
}
