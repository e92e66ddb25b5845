//! A grouping's entries as a view of its store holds them: for whoever asks from outside, beside the task at work.
//!
//! Called by [`Question`](crate::Question). Knows nothing of memory: what no transaction has committed does not exist.
//! Invariant: it reads what a task would read after a restart, and changes nothing.

use super::aggregate::distinct;
use super::by::By;
use super::cell::Cell;
use super::group::Group;
use super::hopping::{self, Progress, Together};
use super::row::{KeyParts, Moment, Row};
use super::window::Window;
use crate::checkpoint::StateEntry;
use crate::formats::{Document, Format, FormatError};
use std::cell::Cell as Count;
use std::collections::{BTreeSet, HashMap, HashSet};
use tidemill_state::{IdSet, StateId, StoreError, View, Width, codec, keys};
use xxhash_rust::xxh3::xxh3_64;

/// Between two looks whether there is time left, entries or ids.
const STRIDE: u32 = 256;

/// Which groups are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Which {
    All,
    /// Those with one of these keys.
    Keys(Vec<Vec<u8>>),
    /// Those whose fields have one of these values each, as JSON; `None`: any.
    Fields(Vec<Option<Vec<Vec<u8>>>>),
}

/// Why a look ended before its end.
#[derive(Debug)]
pub(crate) enum Ended {
    Store(StoreError),
    /// It took too long.
    Late,
}

impl From<StoreError> for Ended {
    fn from(e: StoreError) -> Ended {
        Ended::Store(e)
    }
}

impl Which {
    fn has(&self, by: &By, key: &[u8]) -> bool {
        match self {
            Which::All => true,
            Which::Keys(keys) => keys.iter().any(|k| k == key),
            Which::Fields(wanted) => {
                let parts = by.parts(key);
                wanted
                    .iter()
                    .zip(parts)
                    .all(|(wanted, part)| wanted.as_ref().is_none_or(|values| values.iter().any(|value| value == part)))
            }
        }
    }
}

/// Takes the window's start, the group's key and its entry; answers whether to go on.
type Say<'s> = &'s mut dyn FnMut(i64, &[u8], &Cell) -> bool;

/// See the module.
pub(crate) struct Look<'a> {
    group: &'a Group,
    view: &'a dyn View,
    /// Those of [`Group::states`].
    ids: Vec<StateId>,
    in_time: &'a dyn Fn() -> bool,
    steps: Count<u32>,
}

impl<'a> Look<'a> {
    /// `None`: the store has never heard of this grouping, so there is nothing to see.
    pub fn new(
        group: &'a Group,
        view: &'a dyn View,
        states: &[StateEntry],
        in_time: &'a dyn Fn() -> bool,
    ) -> Option<Look<'a>> {
        let id = |name: &str| states.iter().find(|s| s.name == name).map(|s| s.id);
        let ids = group.states().iter().map(|(name, _)| id(name)).collect::<Option<Vec<_>>>()?;
        Some(Look { group, view, ids, in_time, steps: Count::new(0) })
    }

    /// Every entry that is asked for, by window and key; of all windows, if none is named.
    pub fn each(&self, which: &Which, window: Option<i64>, say: Say<'_>) -> Result<(), Ended> {
        if let Some(over) = self.group.window.filter(|w| !w.tumbles()) {
            return self.hopping(over, which, window, say);
        }
        let starts = window.map_or_else(|| self.buckets(), |start| Ok(vec![start]))?;
        for start in starts {
            let mut more = true;
            self.entries(start, which, &mut |key, cell| {
                more = say(start, key, cell);
                more
            })?;
            if !more {
                break;
            }
        }
        Ok(())
    }

    /// Puts windows together from their panes, one after the other.
    fn hopping(&self, over: Window, which: &Which, window: Option<i64>, say: Say<'_>) -> Result<(), Ended> {
        let panes = self.buckets()?;
        let said_before = self.said_before()?;
        let starts: BTreeSet<i64> = match window {
            Some(start) => BTreeSet::from([start]),
            None => panes.iter().flat_map(|pane| hopping::windows_over(over, *pane)).collect(),
        };
        for start in starts.into_iter().filter(|start| said_before.is_none_or(|next| *start >= next)) {
            let mut together = Together::new(self.group, start);
            for pane in panes.iter().filter(|pane| (start..over.end_of(start)).contains(pane)) {
                let ids = self.ids_by_key(*pane, self.hashes(over, *pane, which))?;
                self.entries(*pane, which, &mut |full, cell| {
                    together.add(full, cell, &ids);
                    true
                })?;
            }
            for (key, cell) in together.cells() {
                if !say(start, &key, &cell) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Where windows, or panes, begin that have entries: a seek each.
    fn buckets(&self) -> Result<Vec<i64>, Ended> {
        let mut found = Vec::new();
        let mut range = keys::state_range(self.ids[0]);
        loop {
            let mut first = None;
            self.view.scan(&range.start, &range.end, &mut |key, _| {
                first = keys::split(key).map(|(_, bucket, _)| bucket);
                false
            })?;
            let Some(bucket) = first else { return Ok(found) };
            found.push(bucket as i64);
            range.start = keys::bucket_range(self.ids[0], bucket).end;
            self.step()?;
        }
    }

    /// The entries of one window, or pane, with their whole keys.
    fn entries(&self, start: i64, which: &Which, each: &mut dyn FnMut(&[u8], &Cell) -> bool) -> Result<(), Ended> {
        let (id, bucket) = (self.ids[0], start as u64);
        let Which::Keys(wanted) = which else {
            let range = keys::bucket_range(id, bucket);
            return self.scan((&range.start, &range.end), which, each).map(drop);
        };
        for key in wanted.iter().flat_map(|key| self.stored(start, key)) {
            let mut from = Vec::with_capacity(keys::PREFIX + key.len() + 1);
            keys::key(id, bucket, &key, &mut from);
            let to = [&from[..], &[0]].concat();
            if !self.scan((&from, &to), which, each)? {
                break;
            }
        }
        Ok(())
    }

    /// The entries of a range; whether `each` has said to go on to the end.
    fn scan(
        &self,
        (from, to): (&[u8], &[u8]),
        which: &Which,
        each: &mut dyn FnMut(&[u8], &Cell) -> bool,
    ) -> Result<bool, Ended> {
        let mut ended = Ok(true);
        self.view.scan(from, to, &mut |key, value| {
            ended = self.step().and_then(|()| {
                let Some((id, bucket, rest)) = keys::split(key) else { return Ok(true) };
                if !which.has(&self.group.by, self.group.bare(rest)) {
                    return Ok(true);
                }
                let cell = Cell::read(value).map_err(|cause| StoreError::Value { id, bucket, cause })?;
                Ok(each(rest, &cell))
            });
            matches!(ended, Ok(true))
        })?;
        ended
    }

    /// The keys under which a group may stand in a window or a pane.
    fn stored(&self, start: i64, key: &[u8]) -> Vec<Vec<u8>> {
        match self.group.window.filter(|w| !w.tumbles()) {
            Some(over) => hopping::keys_in(over, start, key).collect(),
            None => vec![key.to_vec()],
        }
    }

    /// Hashes of the entries that are asked for, where they can be known beforehand.
    fn hashes(&self, over: Window, pane: i64, which: &Which) -> Option<HashSet<u64>> {
        let Which::Keys(wanted) = which else { return None };
        Some(wanted.iter().flat_map(|key| hopping::keys_in(over, pane, key)).map(|full| xxh3_64(&full)).collect())
    }

    /// The ids of a pane for each distinct count, by the hash of their entry's key.
    fn ids_by_key(&self, pane: i64, wanted: Option<HashSet<u64>>) -> Result<Vec<HashMap<u64, Vec<u64>>>, Ended> {
        let mut all = Vec::new();
        for (number, _) in self.group.distinct().enumerate() {
            let place = (self.ids[1 + 2 * number], distinct::bucket(pane));
            let mut of: HashMap<u64, Vec<u64>> = HashMap::new();
            let mut ended = Ok(());
            IdSet::read(self.view, place, Width::Wide, &mut |id| {
                let hash = (id >> 64) as u64;
                if wanted.as_ref().is_none_or(|wanted| wanted.contains(&hash)) {
                    of.entry(hash).or_default().push(id as u64);
                }
                ended = self.step();
                ended.is_ok()
            })?;
            ended?;
            all.push(of);
        }
        Ok(all)
    }

    /// Where hopping windows begin that have not said all.
    fn said_before(&self) -> Result<Option<i64>, Ended> {
        let id = self.ids[self.ids.len() - 1];
        let mut found = Ok(None);
        let range = keys::bucket_range(id, 0);
        self.view.scan(&range.start, &range.end, &mut |_, value| {
            found = codec::decode::<Progress>(hopping::VERSION, value).map(|(_, progress)| Some(progress.next));
            false
        })?;
        found.map_err(|cause| Ended::Store(StoreError::Value { id, bucket: 0, cause }))
    }

    fn step(&self) -> Result<(), Ended> {
        self.steps.set(self.steps.get().wrapping_add(1));
        match !self.steps.get().is_multiple_of(STRIDE) || (self.in_time)() {
            true => Ok(()),
            false => Err(Ended::Late),
        }
    }
}

/// What an entry says now, as on the wire, with all aggregates and `"result":"open"`.
pub(crate) fn open_row(
    group: &Group,
    key_format: Format,
    (start, key): (i64, &[u8]),
    cell: &Cell,
) -> Result<Vec<u8>, FormatError> {
    let document = match group.by {
        By::RecordKey => key_format.read(Some(key))?,
        By::Fields(_) => Document::NULL,
    };
    let row = Row {
        window: group.window.map(|w| (start, w.end_of(start))),
        key: KeyParts::of(&group.by, key, document.whole()),
        aggregates: &group.aggregates,
        values: &cell.values,
        moment: Moment::Open,
    };
    let names = group.aggregates.iter().map(|a| serde_json::Value::from(a.name.as_str()).to_string());
    let mut out = Vec::new();
    row.json(&names.enumerate().collect::<Vec<_>>(), &mut out)?;
    Ok(out)
}
