//! Hopping windows: kept as panes as long as the hop, put together where a window closes.
//!
//! An entry of a pane begins with the first window that it counts in: a record may come when some of the windows over its
//! pane are closed and others are not. Called by a grouping's entries at a seal. Knows nothing of records. Invariant: what
//! a window says depends on the records and their order alone, not on when seals come.

use super::aggregate::{Function, Value};
use super::cell::Cell;
use super::group::Group;
use super::row::Moment;
use super::scan::Room;
use super::sliding::{Entry, Sliding};
use super::state::{GroupState, Mute, Said};
use super::window::Window;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::RangeInclusive;
use tidemill_state::{Page, StateStore, StoreError, Table};

/// Version of the encoding.
pub(super) const VERSION: u8 = 1;
/// Bytes in front of an entry's key.
pub(super) const FROM: usize = 8;

/// What a window has to say: groups by their key, last one first.
type Rows = Vec<(Vec<u8>, Cell)>;
type Ids = HashSet<u64, foldhash::fast::RandomState>;

/// How far windows have been said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Every window that begins before has said all.
    pub next: i64,
    /// This one has said its groups up to this one.
    after: Option<Vec<u8>>,
}

/// See the module.
pub(super) struct Hopping {
    window: Window,
    pub progress: Table<Progress>,
    /// What is kept of the window that was said last, and which window it is next.
    sliding: Option<(i64, Sliding)>,
    /// Windows up to this pane hold something that no sliding window keeps.
    unfit: i64,
    /// The window that is being said, and what is left of it, last one first.
    saying: Option<(i64, Rows)>,
}

/// The first window that a record counts in, in front of its key.
pub(super) fn write_from(window: Window, pane: i64, stream_time: i64, out: &mut Vec<u8>) {
    let from = first_over(window, pane).max(window.first_open(stream_time));
    out.extend_from_slice(&from_bytes(from));
}

fn from_bytes(from: i64) -> [u8; FROM] {
    ((from as u64) ^ (1 << 63)).to_be_bytes()
}

/// The starts of the windows over a pane.
pub(super) fn windows_over(window: Window, pane: i64) -> impl Iterator<Item = i64> {
    let hops = window.size / window.hop;
    (0..hops).map(move |n| first_over(window, pane).saturating_add(n.saturating_mul(window.hop)))
}

/// The keys under which entries of a group may stand in a pane.
pub(super) fn keys_in(window: Window, pane: i64, key: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    windows_over(window, pane).map(move |from| [&from_bytes(from)[..], key].concat())
}

fn first_over(window: Window, pane: i64) -> i64 {
    pane.saturating_sub(window.size).saturating_add(window.hop)
}

/// The window from which on an entry counts, and its group's key.
fn split(key: &[u8]) -> (i64, &[u8]) {
    match key.split_first_chunk::<FROM>() {
        Some((from, key)) => ((u64::from_be_bytes(*from) ^ (1 << 63)) as i64, key),
        None => (i64::MAX, key),
    }
}

/// The groups of one window, while its panes are put together.
pub(super) struct Together<'g> {
    group: &'g Group,
    start: i64,
    /// Of the distinct counts.
    slots: Vec<usize>,
    groups: BTreeMap<Vec<u8>, Whole>,
}

impl<'g> Together<'g> {
    pub fn new(group: &'g Group, start: i64) -> Together<'g> {
        let slots = group.distinct().map(|(slot, _)| slot).collect();
        Together { group, start, slots, groups: BTreeMap::new() }
    }

    /// Takes an entry of a pane in, if it counts in this window. `ids`: those of the pane for each distinct count, by the
    /// hash of their entry's key.
    pub fn add(&mut self, full: &[u8], cell: &Cell, ids: &[HashMap<u64, Vec<u64>>]) {
        let (from, key) = split(full);
        if from > self.start {
            return;
        }
        let (group, slots) = (self.group, self.slots.len());
        let fresh = || Whole { values: group.initial().collect(), ids: vec![Ids::default(); slots] };
        let whole = self.groups.entry(key.to_vec()).or_insert_with(fresh);
        for ((value, more), aggregate) in whole.values.iter_mut().zip(&cell.values).zip(&group.aggregates) {
            *value = merged(&aggregate.function, *value, *more);
        }
        for (all, ids) in whole.ids.iter_mut().zip(ids) {
            all.extend(ids.get(&xxhash_rust::xxh3::xxh3_64(full)).into_iter().flatten());
        }
    }

    /// What the window says of each group, in the order of their keys.
    pub fn cells(self) -> impl DoubleEndedIterator<Item = (Vec<u8>, Cell)> {
        let slots = self.slots;
        self.groups.into_iter().map(move |(key, whole)| (key, whole.cell(&slots)))
    }
}

/// A group of a window, while its panes are put together.
struct Whole {
    values: Vec<Value>,
    /// One for each distinct count.
    ids: Vec<Ids>,
}

impl Hopping {
    pub fn new(window: Window, progress: Table<Progress>) -> Hopping {
        Hopping { window, progress, sliding: None, unfit: i64::MIN, saying: None }
    }

    /// A pane has a new entry.
    pub fn came(&mut self, pane: i64, full: &[u8]) {
        let (from, _) = split(full);
        if let Some((_, sliding)) = &mut self.sliding
            && from > first_over(self.window, pane)
        {
            sliding.later(from, pane);
        }
    }

    /// About how much memory is held beside the tables.
    pub fn bytes(&self) -> usize {
        self.sliding.as_ref().map_or(0, |(_, sliding)| sliding.bytes())
    }

    /// Where the store says that windows begin which have not said all.
    pub fn said_before(&mut self, store: &dyn StateStore) -> Result<Option<i64>, StoreError> {
        Ok(self.progress.get(store, 0, b"")?.map(|progress| progress.next))
    }
}

impl GroupState {
    /// The next window to be said, if there is anything to say it of.
    pub(super) fn next_window(&self, window: Window) -> Option<i64> {
        let first = first_over(window, *self.open.first()?);
        Some(self.said_before.map_or(first, |said| first.max(said)))
    }

    /// Says the windows that are closed, and removes panes that no open window needs, as much as there is room for.
    pub(super) fn close_hopping(&mut self, said: &mut Said<'_>, window: Window, room: &mut Room) -> Result<(), Mute> {
        loop {
            self.drop_panes(said, room)?;
            let next = self.next_window(window).filter(|w| room.rows > 0 && window.closed(*w, said.stream_time));
            let Some(start) = next else { return Ok(()) };
            let mut left = match self.hopping.as_mut().and_then(|h| h.saying.take()).filter(|(of, _)| *of == start) {
                Some((_, left)) => left,
                None => self.put_together(said, start, window)?,
            };
            let mut last = None;
            while room.rows > 0
                && let Some((key, cell)) = left.pop()
            {
                said.say((start, &key), &cell, Moment::Final)?;
                room.rows -= 1;
                last = Some(key);
            }
            let progress = match left.is_empty() {
                true => Progress { next: start.saturating_add(window.hop), after: None },
                false => Progress { next: start, after: last },
            };
            if left.is_empty() {
                self.slide_on(said, start, window)?;
            }
            self.said_before = Some(progress.next);
            if let Some(hopping) = &mut self.hopping {
                hopping.saying = (!left.is_empty()).then_some((start, left));
                hopping.progress.put(0, b"", progress);
            }
        }
    }

    fn drop_panes(&mut self, said: &Said<'_>, room: &mut Room) -> Result<(), Mute> {
        while let Some(&pane) = self.open.first()
            && self.said_before.is_some_and(|next| pane < next)
            && room.rows > 0
        {
            let mut keys: Vec<(Vec<u8>, Cell)> = Vec::new();
            let page = Page { bucket: pane as u64, after: None, limit: room.rows };
            self.table.page(said.store, page, |key, cell| keys.push((key.into(), cell.clone())))?;
            for (key, cell) in &keys {
                self.table.remove(pane as u64, key);
                self.forget_ids((pane, key), cell);
            }
            if keys.len() < room.rows {
                self.open.remove(&pane);
            }
            room.rows -= keys.len();
        }
        Ok(())
    }

    /// What a window has to say, last group first.
    fn put_together(&mut self, said: &Said<'_>, start: i64, window: Window) -> Result<Rows, Mute> {
        let after = self.read_progress(said)?.filter(|p| p.next == start).and_then(|p| p.after);
        if let Some(sliding) = self.slide_to(said, start, window)? {
            return Ok(sliding.cells(after.as_deref()));
        }
        let mut together = Together::new(said.group, start);
        for pane in self.panes(start, window) {
            let ids: Vec<HashMap<u64, Vec<u64>>> = self.ids_by_key(pane);
            self.table.page(said.store, whole(pane), |full, cell| together.add(full, cell, &ids))?;
        }
        Ok(together.cells().rev().filter(|(key, _)| after.as_ref().is_none_or(|after| key > after)).collect())
    }

    /// The panes of a window that have entries.
    fn panes(&self, start: i64, window: Window) -> Vec<i64> {
        self.open.range(start..window.end_of(start)).copied().collect()
    }

    /// Has the window made of the one before it, or of all its panes; none: it holds what cannot be taken back.
    fn slide_to(&mut self, said: &Said<'_>, start: i64, window: Window) -> Result<Option<&Sliding>, Mute> {
        let Some(hopping) = self.hopping.as_mut().filter(|h| start > h.unfit) else { return Ok(None) };
        let mut kept = hopping.sliding.take().filter(|(next, _)| *next == start);
        let panes: Vec<i64> = match &mut kept {
            Some((_, sliding)) => {
                let behind = window.end_of(start).saturating_sub(window.hop);
                sliding.take_later(start).into_iter().filter(|p| *p < behind).chain([behind]).collect()
            }
            None => self.panes(start, window),
        };
        // Of a new one, everything that counts by now; of one that slides, what counts from here on.
        let first = if kept.is_some() { start } else { i64::MIN };
        let mut sliding = kept.map_or_else(Sliding::default, |(_, sliding)| sliding);
        for pane in panes {
            if !self.take_pane(said, (pane, first..=start), &mut sliding)? {
                if let Some(hopping) = &mut self.hopping {
                    hopping.unfit = pane;
                }
                return Ok(None);
            }
        }
        let hopping = self.hopping.as_mut().expect("it is a hopping window's");
        Ok(Some(&hopping.sliding.insert((start, sliding)).1))
    }

    /// Adds the entries of a pane that count from these windows on; whether all of them fit.
    fn take_pane(
        &mut self,
        said: &Said<'_>,
        (pane, counting): (i64, RangeInclusive<i64>),
        sliding: &mut Sliding,
    ) -> Result<bool, Mute> {
        let ids = self.ids_by_key(pane);
        let mut fits = true;
        self.table.page(said.store, whole(pane), |full, cell| {
            let (from, key) = split(full);
            if from > *counting.end() {
                sliding.later(from, pane);
            } else if counting.contains(&from) {
                fits &= sliding.add(said.group, key, &Entry { pane, cell, ids: ids_of(&ids, full) }).is_some();
            }
        })?;
        Ok(fits)
    }

    /// The window at `start` has been said: what is kept of it is for the next one, without the pane in front.
    fn slide_on(&mut self, said: &Said<'_>, start: i64, window: Window) -> Result<(), Mute> {
        let kept = self.hopping.as_mut().and_then(|h| h.sliding.take()).filter(|(of, _)| *of == start);
        let Some((_, mut sliding)) = kept else { return Ok(()) };
        let ids = self.ids_by_key(start);
        let mut fits = true;
        self.table.page(said.store, whole(start), |full, cell| {
            let (_, key) = split(full);
            fits &= sliding.remove(key, &Entry { pane: start, cell, ids: ids_of(&ids, full) }).is_some();
        })?;
        if let Some(hopping) = self.hopping.as_mut().filter(|_| fits) {
            hopping.sliding = Some((start.saturating_add(window.hop), sliding));
        }
        Ok(())
    }

    fn read_progress(&mut self, said: &Said<'_>) -> Result<Option<Progress>, StoreError> {
        match &mut self.hopping {
            Some(hopping) => Ok(hopping.progress.get(said.store, 0, b"")?.cloned()),
            None => Ok(None),
        }
    }
}

/// All entries of a pane.
fn whole(pane: i64) -> Page<'static> {
    Page { bucket: pane as u64, after: None, limit: usize::MAX }
}

/// The ids of one entry, for each distinct count.
fn ids_of<'i>(ids: &'i [HashMap<u64, Vec<u64>>], full: &[u8]) -> Vec<&'i [u64]> {
    let hash = xxhash_rust::xxh3::xxh3_64(full);
    ids.iter().map(|all| all.get(&hash).map_or(&[][..], Vec::as_slice)).collect()
}

/// Ids are counted apart; of those beyond the bound there is an estimate for each pane, and no way to know which are the
/// same: the sum is what can be said.
fn merged(function: &Function, a: Value, b: Value) -> Value {
    match (a, b) {
        (Value::Distinct { beyond: a, .. }, Value::Distinct { beyond: b, .. }) => {
            let beyond = a.map_or(b, |a| Some(a.saturating_add(b.unwrap_or(0))));
            Value::Distinct { ids: 0, beyond }
        }
        _ => function.merge(a, b),
    }
}

impl Whole {
    fn cell(mut self, slots: &[usize]) -> Cell {
        for (slot, all) in slots.iter().zip(&self.ids) {
            if let Value::Distinct { ids, .. } = &mut self.values[*slot] {
                *ids = all.len() as u64;
            }
        }
        Cell { owes: false, values: self.values.into() }
    }
}

impl Group {
    /// An entry's key without what hopping windows put in front of it.
    pub fn bare<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        match self.window {
            Some(window) if !window.tumbles() => key.get(FROM..).unwrap_or_default(),
            _ => key,
        }
    }

    /// Where samples of a group lie that count in the window at `start`, from and to: see [`Samples`](crate::trace::Samples).
    pub fn places_of(&self, start: i64, key: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let place = |from| [key, &from_bytes(from)[..]].concat();
        (place(i64::MIN), place(start))
    }
}
