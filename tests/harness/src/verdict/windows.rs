//! Windows: updates that only grow, one final for each that closed, nothing behind it. Called with the committed rows of
//! the topic in the order of each partition. Invariant: every window's last word is its whole history, or it is counted.

use super::rows::{Said, Sequences, utc};
use super::{Row, Tally};
use crate::oracle::{First, WINDOW, Window};
use std::collections::{BTreeSet, HashMap};

#[derive(Default)]
struct Seen {
    updates: BTreeSet<u64>,
    last: u64,
    finals: u32,
    partition: Option<i32>,
}

pub struct Windows<'a> {
    topic: &'a str,
    expected: &'a HashMap<(String, i64), Window>,
    seen: HashMap<(String, i64), Seen>,
    sequences: Sequences,
}

/// Key and window start of `[key@start/end]`, if the row says the same.
fn key_of(row: &Row, said: &Said) -> Option<(String, i64)> {
    let (key, times) = row.key_text()?.strip_prefix('[')?.strip_suffix(']')?.rsplit_once('@')?;
    let (start, end) = times.split_once('/')?;
    let (start, end): (i64, i64) = (start.parse().ok()?, end.parse().ok()?);
    let is_same = key == said.key && end == start + WINDOW && said.window == Some((utc(start), utc(end)));
    is_same.then(|| (key.to_owned(), start))
}

impl<'a> Windows<'a> {
    pub fn new(topic: &'a str, first: &'a First) -> Windows<'a> {
        Windows { topic, expected: &first.windows, seen: HashMap::new(), sequences: Sequences::default() }
    }

    pub fn take(&mut self, row: &Row, tally: &mut Tally) {
        let place = format!("{}/{}/{}", self.topic, row.partition, row.offset);
        self.sequences.take(self.topic, row, tally);
        let found = Said::read(row).and_then(|said| Some((key_of(row, &said)?, said)));
        let Some((entry, said)) = found else {
            let value = row.value.as_deref().map(String::from_utf8_lossy);
            return tally.wrong(|| format!("{place}: unreadable: {:?} {value:?}", row.key_text()));
        };
        let Some(window) = self.expected.get(&entry) else {
            return tally.wrong(|| format!("{place}: {entry:?} should not be there"));
        };
        let n = said.sums.n;
        let seen = self.seen.entry(entry.clone()).or_default();
        let is_elsewhere = *seen.partition.get_or_insert(row.partition) != row.partition;
        let is_again = if said.is_final { seen.finals > 0 } else { !seen.updates.insert(n) };
        seen.finals += u32::from(said.is_final);
        if is_again {
            return tally.duplicated(|| format!("{place}: {entry:?} at {n} again, final: {}", said.is_final));
        }
        let expected = (n > 0).then(|| window.history.get(n as usize - 1)).flatten();
        let is_whole = n == window.history.len() as u64;
        if expected != Some(&said.sums) || (said.is_final && !(is_whole && window.is_closed)) {
            let (records, closed) = (window.history.len(), window.is_closed);
            tally.wrong(|| {
                format!("{place}: {entry:?}: {said:?}, expected {expected:?} ({records} records, closed: {closed})")
            });
        } else if n < seen.last || is_elsewhere || (!said.is_final && seen.finals > 0) {
            tally.wrong(|| {
                format!("{place}: {entry:?} at {n} behind {}, its final, or on another partition", seen.last)
            });
        }
        seen.last = seen.last.max(n);
    }

    pub fn finish(self, tally: &mut Tally) {
        let mut entries: Vec<_> = self.expected.iter().collect();
        entries.sort_unstable_by_key(|(entry, _)| *entry);
        for (entry, window) in entries {
            let seen = self.seen.get(entry);
            let last = seen.map_or(0, |seen| seen.last);
            if window.is_closed && seen.is_none_or(|seen| seen.finals == 0) {
                tally.lost(|| format!("{}: the final of {entry:?}", self.topic));
            } else if !window.is_closed && last < window.history.len() as u64 {
                tally.lost(|| {
                    format!("{}: the last update of {entry:?}: {last} of {}", self.topic, window.history.len())
                });
            }
        }
    }
}
