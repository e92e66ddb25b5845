//! `count_distinct(x)`: how many different values x was; null and missing are skipped.
//!
//! The ids of all groups and windows of a task are fingerprints of 64 bits in one set, so a group costs nothing by
//! itself. Past its bound, or when the memory that all such sets share is used up, no more are kept: who is not in the set
//! goes into a sketch of its group, and the result is the ids known one by one plus an estimate of the rest. Called by
//! groupings. Invariant: below the bound the count is exact, but for fingerprints that collide: among n ids of a window the
//! odds are about n² / 2^65 (10 million ids: 1 in 370 000); and no id is in the set and in a sketch.

use super::super::sketch::{self, Sketch};
use crate::expr::Lookup;
use crate::expr::Path;
use crate::failure::Failure;
use crate::formats::{Datum, Format, Kind};
use crate::view::View;
use std::collections::HashMap;
use tidemill_state::{Changes, IdRoom, IdSet, IdShape, StateId, StateStore, StoreError, Table, Width};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Ids that a task keeps for one aggregate, where the YAML names no bound: 20 million, 160 MB in the log.
pub(crate) const AT_MOST: usize = 20_000_000;

/// Look-ups that are under way at once, of ids that came together.
const AHEAD: usize = 8;

/// Where texts and numbers of the same digits must differ.
const NUMBER: u64 = 1;

/// The fingerprint of what `path` is; `None` for null. `scratch` is for numbers.
pub(crate) fn print(path: &Path, view: &View<'_>, scratch: &mut Vec<u8>) -> Result<Option<u64>, Failure> {
    let datum = view.get(path);
    Ok(Some(match &datum {
        Datum::Null => return Ok(None),
        Datum::Text(text) => xxh3_64(text.as_bytes()),
        Datum::Bytes(bytes) => xxh3_64(bytes),
        other if matches!(other.kind(), Kind::List | Kind::Object) => {
            let text =
                format!("count_distinct({}): {} is no id; name a field in it", path.join("."), other.kind().article());
            return Err(Failure::new("wrong-type", text));
        }
        other => {
            scratch.clear();
            Format::Json.write(other, scratch).map_err(|e| Failure::format(path.join("."), &e))?;
            xxh3_64_with_seed(scratch, NUMBER)
        }
    }))
}

/// One aggregate's ids on one task.
pub(crate) struct Distinct {
    set: IdSet,
    sketches: Table<Sketch>,
    at_most: usize,
    /// Ids can be asked for by their group, which takes 128 bits: where windows hop, panes are put together.
    grouped: bool,
}

/// What an id was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Known,
    New,
    /// There was no room: the estimate of all such ids of the group.
    Beyond(u64),
}

impl Found {
    /// The value of the aggregate with this id.
    pub fn count(self, ids: u64, beyond: Option<u64>) -> (u64, Option<u64>) {
        match self {
            Found::Known => (ids, beyond),
            Found::New => (ids + 1, beyond),
            Found::Beyond(estimate) => (ids, Some(estimate)),
        }
    }
}

/// One group in one window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'k> {
    pub start: i64,
    pub key: &'k [u8],
}

impl Distinct {
    /// Part of the state's shape.
    pub const SHAPE: &'static str = "ids of 64 bits";
    pub const GROUPED_SHAPE: &'static str = "ids of 64 bits, by group";
    pub const SKETCH_SHAPE: &'static str = "sketch of 4096 registers";

    /// `ids` and `sketches` are the numbers of its states.
    pub fn open(
        (ids, sketches): (StateId, StateId),
        grouped: bool,
        (at_most, room): (usize, &IdRoom),
        store: &dyn StateStore,
    ) -> Result<Distinct, StoreError> {
        let width = if grouped { Width::Wide } else { Width::Narrow };
        // The bound is kept here: nothing that was counted may be forgotten while its window is open.
        let shape = IdShape { width, at_most: usize::MAX };
        let set = IdSet::open_within(ids, shape, room, store)?;
        Ok(Distinct { set, sketches: Table::new(sketches, sketch::VERSION), at_most, grouped })
    }

    /// What adding the id would find; nothing is changed. An estimate is that of the ids before it. A group that has one
    /// goes on with it, also where there is room again: what its sketch holds must not be counted anew.
    pub fn look(&self, place: Place<'_>, print: u64, beyond: Option<u64>) -> Found {
        match self.set.contains(bucket(place.start), self.mixed(self.salt(place.key), print)) {
            true => Found::Known,
            false if beyond.is_none() && self.set.has_room(self.at_most) => Found::New,
            false => Found::Beyond(beyond.unwrap_or(1)),
        }
    }

    /// Adds an id that was looked for: `beyond` is what came of it, for meanwhile the room may have become full.
    pub fn add(
        &mut self,
        store: &dyn StateStore,
        place: Place<'_>,
        print: u64,
        beyond: Option<u64>,
    ) -> Result<Found, StoreError> {
        let mixed = self.mixed(self.salt(place.key), print);
        if beyond.is_none() {
            return Ok(self.keep(bucket(place.start), mixed));
        }
        self.sketch(store, place, mixed)
    }

    /// Adds ids that nobody looked for; what the aggregate is with them.
    pub fn add_all(
        &mut self,
        store: &dyn StateStore,
        place: Place<'_>,
        prints: impl Iterator<Item = u64> + Clone,
        (mut ids, mut beyond): (u64, Option<u64>),
    ) -> Result<(u64, Option<u64>), StoreError> {
        let (bucket, salt) = (bucket(place.start), self.salt(place.key));
        // What is looked up a little later is on its way meanwhile.
        prints.clone().take(AHEAD).for_each(|print| self.set.prefetch(bucket, self.mixed(salt, print)));
        let mut ahead = prints.clone().skip(AHEAD);
        for print in prints {
            if let Some(print) = ahead.next() {
                self.set.prefetch(bucket, self.mixed(salt, print));
            }
            let mixed = self.mixed(salt, print);
            let found = match beyond.is_none() && self.set.has_room(self.at_most) {
                true => self.keep(bucket, mixed),
                false => self.sketch(store, place, mixed)?,
            };
            (ids, beyond) = found.count(ids, beyond);
        }
        Ok((ids, beyond))
    }

    fn keep(&mut self, bucket: u64, mixed: u128) -> Found {
        if self.set.insert(bucket, mixed) { Found::New } else { Found::Known }
    }

    fn sketch(&mut self, store: &dyn StateStore, place: Place<'_>, mixed: u128) -> Result<Found, StoreError> {
        if self.set.contains(bucket(place.start), mixed) {
            return Ok(Found::Known);
        }
        let mut sketch = match self.sketches.get(store, place.start as u64, place.key)? {
            Some(sketch) if !sketch.changes(mixed as u64) => return Ok(Found::Beyond(sketch.estimate())),
            Some(sketch) => sketch.clone(),
            None => Sketch::default(),
        };
        sketch.add(mixed as u64);
        let estimate = sketch.estimate();
        self.sketches.put(place.start as u64, place.key, sketch);
        Ok(Found::Beyond(estimate))
    }

    /// What tells the ids of this group from those of others.
    fn salt(&self, key: &[u8]) -> u64 {
        xxh3_64(key)
    }

    /// One set for all groups: the same id in another group is another one.
    fn mixed(&self, salt: u64, print: u64) -> u128 {
        match self.grouped {
            true => u128::from(salt) << 64 | u128::from(print),
            false => u128::from(print.wrapping_add(salt)),
        }
    }

    /// The ids of a pane by the hash of their entry's key.
    pub fn by_key(&self, start: i64) -> HashMap<u64, Vec<u64>> {
        let mut all: HashMap<u64, Vec<u64>> = HashMap::new();
        self.set.each(bucket(start), |id| all.entry((id >> 64) as u64).or_default().push(id as u64));
        all
    }

    /// A group of a closed window is gone.
    pub fn forget(&mut self, place: Place<'_>, approximate: bool) {
        if approximate {
            self.sketches.remove(place.start as u64, place.key);
        }
    }

    /// Forgets the ids of windows that begin before `start`.
    pub fn expire_before(&mut self, start: i64, limit: usize, changes: &mut Changes) {
        self.set.expire_before(bucket(start), limit, changes);
    }

    pub fn seal(&mut self, sequence: u64, changes: &mut Changes) {
        self.set.seal(sequence, changes);
        self.sketches.seal(sequence, changes);
    }

    pub fn applied(&mut self, sequence: u64, store: &dyn StateStore) -> Result<(), StoreError> {
        self.set.applied(sequence);
        self.sketches.applied(sequence);
        self.set.reclaim(store)
    }

    /// Bytes that the next seal takes for ids.
    pub fn pending_bytes(&self) -> usize {
        self.set.pending_bytes()
    }

    pub fn evict(&mut self) {
        self.sketches.evict(0);
    }
}

/// Windows in their order, also before 1970.
pub(in crate::windows) fn bucket(start: i64) -> u64 {
    (start as u64) ^ (1 << 63)
}
