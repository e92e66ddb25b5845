//! A grouping's samples in one task: by window and key, in memory as a whole, in the changelog with every seal.
//!
//! Called by the task with each accepted record and at its seal. Knows nothing of results. Invariant: what is held is what
//! was sealed and what has changed since, and is never more than [`BYTES`].

use super::context::Context;
use super::sample::{EACH, Sample};
use crate::windows::Group;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use tidemill_state::{Changes, StateId, StateStore, StoreError, keys};

/// Memory of all samples of one grouping in one task, about: some 20 000 groups and windows with short keys.
pub const BYTES: usize = 8 << 20;
/// What one takes beside its key: eight contexts, its place in the tree, and in the list of what has changed.
pub(super) const COST: usize = EACH * size_of::<Context>() + 184;

pub(crate) struct Samples {
    id: StateId,
    seed: u64,
    /// By window or pane, then by key; see [`Samples::place`].
    held: BTreeMap<i64, BTreeMap<Box<[u8]>, Held>>,
    bytes: usize,
    /// Changed since the last seal, or gone.
    dirty: Vec<(i64, Box<[u8]>)>,
    /// Contexts for which there was no room.
    left_out: u64,
}

#[derive(Default)]
struct Held {
    sample: Sample,
    /// It stands among the dirty ones.
    dirty: bool,
}

impl Samples {
    /// The name of its state, and the shape.
    pub fn state(group: &Group) -> (std::sync::Arc<str>, String) {
        (format!("{}/contexts/sample", group.name).into(), format!("{EACH} contexts"))
    }

    /// What the store holds.
    pub fn open(id: StateId, seed: u64, store: &dyn StateStore) -> Result<Samples, StoreError> {
        let (held, bytes, dirty) = (BTreeMap::new(), 0, Vec::new());
        let mut samples = Samples { id, seed, held, bytes, dirty, left_out: 0 };
        let mut bad = None;
        let range = keys::state_range(id);
        store.scan(&range.start, &range.end, &mut |full, value| {
            let Some((_, bucket, key)) = keys::split(full) else { return true };
            match Sample::decode(value) {
                Ok(sample) => samples.insert(bucket as i64, key.into(), Held { sample, dirty: false }),
                Err(cause) => bad = Some(StoreError::Value { id, bucket, cause }),
            }
            bad.is_none()
        })?;
        bad.map_or(Ok(samples), Err)
    }

    fn insert(&mut self, start: i64, key: Box<[u8]>, held: Held) {
        self.bytes += COST + key.len();
        self.held.entry(start).or_default().insert(key, held);
    }

    /// An entry's key with what hopping puts in front of it at its end: all of one group in a pane lie side by side.
    fn place<'k>(group: &Group, key: &'k [u8]) -> Cow<'k, [u8]> {
        let bare = group.bare(key);
        match key.len() - bare.len() {
            0 => Cow::Borrowed(key),
            front => Cow::Owned([bare, &key[..front]].concat()),
        }
    }

    /// A record with this context has changed the entry.
    pub fn note(&mut self, group: &Group, (start, key): (i64, &[u8]), context: Context) {
        let key = Samples::place(group, key);
        if let Some(held) = self.held.get_mut(&start).and_then(|bucket| bucket.get_mut(&*key)) {
            if held.sample.add(self.seed, context) && !std::mem::replace(&mut held.dirty, true) {
                self.dirty.push((start, key.into()));
            }
            return;
        }
        if self.bytes + COST + key.len() > BYTES {
            self.left_out += 1;
            return;
        }
        let mut held = Held { dirty: true, ..Held::default() };
        held.sample.add(self.seed, context);
        self.dirty.push((start, key.as_ref().into()));
        self.insert(start, key.into(), held);
    }

    /// What a group's result in the window that begins at `start` comes from. `key` is the group's own.
    pub fn of(&self, group: &Group, start: i64, key: &[u8]) -> Vec<Context> {
        let Some(window) = group.window.filter(|w| !w.tumbles()) else {
            let held = self.held.get(&start).and_then(|bucket| bucket.get(key));
            return held.map_or(Vec::new(), |held| held.sample.contexts().to_vec());
        };
        let (first, last) = group.places_of(start, key);
        let mut all = Sample::default();
        for bucket in self.held.range(start..window.end_of(start)).map(|(_, bucket)| bucket) {
            let mine = bucket.range::<[u8], _>((std::ops::Bound::Included(&*first), std::ops::Bound::Included(&*last)));
            // Keys that merely begin alike may lie between.
            let mine = mine.filter(|(place, _)| place.len() == first.len());
            mine.flat_map(|(_, held)| held.sample.contexts()).for_each(|c| all.take(self.seed, *c));
        }
        all.contexts().to_vec()
    }

    /// A grouping without windows has spoken.
    pub fn spoken(&mut self, key: &[u8]) {
        let gone = self.held.get_mut(&0).and_then(|bucket| bucket.remove(key));
        self.gone(0, key.into(), gone);
    }

    fn gone(&mut self, start: i64, key: Box<[u8]>, held: Option<Held>) {
        let Some(held) = held else { return };
        self.bytes -= COST + key.len();
        if !held.dirty {
            self.dirty.push((start, key));
        }
    }

    /// Forgets what belongs to windows that have no entries any more, at most so many.
    pub fn keep(&mut self, open: &BTreeSet<i64>, mut room: usize) {
        while let Some(mut bucket) = self.held.first_entry().filter(|bucket| room > 0 && !open.contains(bucket.key())) {
            let start = *bucket.key();
            let popped = bucket.get_mut().pop_first();
            if bucket.get().is_empty() {
                bucket.remove();
            }
            room -= 1;
            if let Some((key, held)) = popped {
                self.gone(start, key, Some(held));
            }
        }
    }

    /// What has changed since the last seal.
    pub fn seal(&mut self, changes: &mut Changes) {
        let (mut full, mut value) = (Vec::new(), Vec::new());
        for (start, key) in self.dirty.drain(..) {
            full.clear();
            value.clear();
            keys::key(self.id, start as u64, &key, &mut full);
            let held = self.held.get_mut(&start).and_then(|bucket| bucket.get_mut(&key));
            match held {
                Some(held) => {
                    held.dirty = false;
                    held.sample.encode(&mut value);
                    changes.push(&full, Some(&value));
                }
                None => changes.push(&full, None),
            }
        }
    }

    /// About how many bytes are held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Groups in windows that have a sample.
    pub fn len(&self) -> usize {
        self.held.values().map(BTreeMap::len).sum()
    }

    pub fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }

    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}
