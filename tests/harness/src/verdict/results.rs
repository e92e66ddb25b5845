//! Results that speak at every record: for each key its whole history, once and in order. Called with the committed rows
//! of the topic in the order of each partition. Invariant: every step of every history is found once, or counted.

use super::rows::{Said, Sequences};
use super::{Row, Tally};
use crate::oracle::History;
use std::collections::{BTreeSet, HashMap};

/// How the record key says the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// `{"key":"k"}`
    Json,
    /// The key itself.
    Plain,
}

#[derive(Default)]
struct Seen {
    times: Vec<u32>,
    last: u64,
    partition: Option<i32>,
}

pub struct Results<'a> {
    topic: &'a str,
    form: KeyForm,
    expected: &'a HashMap<String, History>,
    seen: HashMap<&'a str, Seen>,
    sequences: Sequences,
}

impl<'a> Results<'a> {
    pub fn json(topic: &'a str, expected: &'a HashMap<String, History>) -> Results<'a> {
        Results { topic, form: KeyForm::Json, expected, seen: HashMap::new(), sequences: Sequences::default() }
    }

    pub fn plain(topic: &'a str, expected: &'a HashMap<String, History>) -> Results<'a> {
        Results { form: KeyForm::Plain, ..Results::json(topic, expected) }
    }

    /// The row's key, if the record key says the same.
    fn key_of(&self, row: &Row, said: &Said) -> Option<&'a str> {
        let key = match self.form {
            KeyForm::Plain => row.key_text()?.to_owned(),
            KeyForm::Json => {
                let value: serde_json::Value = serde_json::from_slice(row.key.as_deref()?).ok()?;
                (value.as_object()?.len() == 1).then(|| value.get("key")?.as_str().map(str::to_owned))??
            }
        };
        let (known, _) = self.expected.get_key_value(&key)?;
        (key == said.key).then_some(known.as_str())
    }

    pub fn take(&mut self, row: &Row, tally: &mut Tally) {
        let place = format!("{}/{}/{}", self.topic, row.partition, row.offset);
        self.sequences.take(self.topic, row, tally);
        let said = Said::read(row).filter(|said| said.window.is_none() && !said.is_final);
        let found = said.and_then(|said| Some((self.key_of(row, &said)?, said)));
        let Some((key, said)) = found else {
            let value = row.value.as_deref().map(String::from_utf8_lossy);
            return tally.wrong(|| format!("{place}: unreadable, or an unknown key: {value:?}"));
        };
        let history = &self.expected[key];
        let n = said.sums.n;
        if n == 0 || n > history.len() as u64 {
            return tally.wrong(|| format!("{place}: {key} at {n}, the input has {} records", history.len()));
        }
        let seen = self.seen.entry(key).or_default();
        seen.times.resize(history.len(), 0);
        let times = &mut seen.times[n as usize - 1];
        *times += 1;
        if *times > 1 {
            return tally.duplicated(|| format!("{place}: {key} at {n} again"));
        }
        if said.sums != history[n as usize - 1] {
            tally.wrong(|| format!("{place}: {key}: {:?}, expected {:?}", said.sums, history[n as usize - 1]));
        } else if n <= seen.last || *seen.partition.get_or_insert(row.partition) != row.partition {
            tally.wrong(|| format!("{place}: {key} at {n} behind {}, or on another partition", seen.last));
        }
        seen.last = seen.last.max(n);
    }

    pub fn finish(self, tally: &mut Tally) {
        let keys: BTreeSet<&String> = self.expected.keys().collect();
        for key in keys {
            let times = self.seen.get(key.as_str()).map_or(&[][..], |seen| &seen.times);
            for n in 0..self.expected[key].len() {
                if times.get(n).is_none_or(|times| *times == 0) {
                    tally.lost(|| format!("{}: {key} at {}", self.topic, n + 1));
                }
            }
        }
    }
}
