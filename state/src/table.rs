//! A keyed state of small values: a write-back cache whose write-back is the Kafka commit. It must not know what a
//! value means, nor when a transaction ends. Operators and windows call it. The invariant: memory is always right, so
//! an entry leaves it only once the store says the same.

use crate::{
    Changes, StateId, StateStore, StoreError,
    buckets::{Dead, Live},
    codec::{self, CodecError},
    keys,
    slots::{Slots, Standing},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

/// Reads a value of an older version: its version byte, and the bytes behind it; mostly by [`codec::body_as`].
pub type Older<V> = fn(u8, &[u8]) -> Result<V, CodecError>;

/// A slice of one bucket, in key order.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// Which bucket.
    pub bucket: u64,
    /// The last key already seen; `None` begins with the bucket.
    pub after: Option<&'a [u8]>,
    /// At most so many entries.
    pub limit: usize,
}

/// What a change takes on its way besides its bytes: the client's record of it, above all.
const UNDER_WAY: usize = 96;

/// Entries `(bucket, key) -> V`. A table without windows has one bucket, 0. Values stay typed in memory and are encoded
/// once, at the seal. Give every call the same store, and sequences that only grow.
pub struct Table<V> {
    id: StateId,
    version: u8,
    older: Older<V>,
    /// What a value holds outside of itself; `None`: about its encoded length.
    outside: Option<fn(&V) -> usize>,
    slots: Slots<V>,
    dirty: Vec<u32>,
    /// What each seal that is not applied yet wrote.
    sealed: VecDeque<(u64, Vec<u32>)>,
    /// A list out of use, kept for its memory.
    spare: Vec<u32>,
    live: Live,
    dead: Dead,
    /// How far the store's part of the bucket being expired has been worked: bucket and last key.
    expiring: Option<(u64, Vec<u8>)>,
    scratch: Vec<u8>,
    /// Bytes of a key and its value, about, as of the last seal.
    usual: usize,
    hits: u64,
    misses: u64,
}

impl<V: Serialize + DeserializeOwned + Clone> Table<V> {
    /// A table over whatever the store holds of state `id` (1 or more), written as `version` (1 or more) and read as
    /// that version alone.
    pub fn new(id: StateId, version: u8) -> Self {
        Table::with_older(id, version, |found, _| Err(CodecError::Unreadable { found }))
    }

    /// As [`new`](Table::new), and `older` reads what earlier versions wrote.
    pub fn with_older(id: StateId, version: u8, older: Older<V>) -> Self {
        debug_assert!(id != 0 && version != 0, "0 is reserved");
        Table {
            id,
            version,
            older,
            outside: None,
            slots: Slots::new(),
            dirty: Vec::new(),
            sealed: VecDeque::new(),
            spare: Vec::new(),
            live: Live::default(),
            dead: Dead::default(),
            expiring: None,
            scratch: Vec::new(),
            usual: keys::PREFIX + 32,
            hits: 0,
            misses: 0,
        }
    }

    /// The same table, told how many bytes a value holds outside of itself. Else that counts as its encoded length.
    #[must_use]
    pub fn weighed(self, outside: fn(&V) -> usize) -> Self {
        Table { outside: Some(outside), ..self }
    }

    /// The value of `key` in `bucket`: from memory, else from the store, and then it is in memory, also if absent.
    pub fn get(&mut self, store: &dyn StateStore, bucket: u64, key: &[u8]) -> Result<Option<&V>, StoreError> {
        let index = self.locate(store, bucket, key)?;
        Ok(self.slots.value(index).as_ref())
    }

    /// As [`get`](Table::get), to change in place: a present value counts as changed.
    pub fn get_mut(&mut self, store: &dyn StateStore, bucket: u64, key: &[u8]) -> Result<Option<&mut V>, StoreError> {
        let index = self.locate(store, bucket, key)?;
        if self.slots.at(index).value.is_some() {
            self.soil(index);
        }
        Ok(self.slots.value(index).as_mut())
    }

    /// Entries that were asked for since the table was made: those that were in memory, and those that were not.
    pub fn lookups(&self) -> (u64, u64) {
        (self.hits, self.misses)
    }

    /// Sets the value of `key` in `bucket`.
    pub fn put(&mut self, bucket: u64, key: &[u8], value: V) {
        let index = self.slots.find(bucket, key).unwrap_or_else(|| self.slots.insert(bucket, key, None));
        if self.slots.value(index).replace(value).is_none() {
            self.enliven(bucket);
        }
        self.soil(index);
    }

    /// Removes `key` from `bucket`; there or not, the next seal writes a tombstone.
    pub fn remove(&mut self, bucket: u64, key: &[u8]) {
        let index = self.slots.find(bucket, key).unwrap_or_else(|| self.slots.insert(bucket, key, None));
        *self.slots.value(index) = None;
        self.soil(index);
    }

    /// Appends every entry changed since the last seal to `out`. They count as clean, but stay in memory until
    /// [`applied`](Table::applied) was called with this sequence or a later one.
    pub fn seal(&mut self, sequence: u64, out: &mut Changes) {
        let empty = std::mem::take(&mut self.spare);
        let batch = std::mem::replace(&mut self.dirty, empty);
        let before = out.bytes();
        for &index in &batch {
            let slot = self.slots.at(index);
            let key = |arena: &mut Vec<u8>| keys::key(self.id, slot.bucket, &slot.key, arena);
            let value = slot.value.as_ref().map(|v| |arena: &mut Vec<u8>| codec::encode(self.version, v, arena));
            let encoded = out.push_with(key, value);
            let outside = self.outside.and_then(|outside| slot.value.as_ref().map(outside));
            self.slots.weigh(index, outside.unwrap_or(encoded));
            self.slots.set_standing(index, Standing::Sealed(sequence));
        }
        if let Some(usual) = (out.bytes() - before).checked_div(batch.len()) {
            self.usual = usual;
        }
        self.dead.seal(sequence);
        self.sealed.push_back((sequence, batch));
    }

    /// The store has applied every seal up to `sequence`: what has not changed since may now be evicted.
    pub fn applied(&mut self, sequence: u64) {
        while self.sealed.front().is_some_and(|(s, _)| *s <= sequence) {
            let Some((_, mut batch)) = self.sealed.pop_front() else { break };
            for index in batch.drain(..) {
                if !matches!(self.slots.standing(index), Standing::Sealed(s) if s <= sequence) {
                    continue;
                }
                self.slots.set_standing(index, Standing::Clean);
                if self.slots.at(index).value.is_none() {
                    self.slots.remove(index);
                }
            }
            self.spare = batch;
        }
        self.dead.applied(sequence);
    }

    /// Drops entries from memory until at most `target_bytes` are left, the longest unused first (second chance). Only
    /// those whose last change has been applied: any other would be read back in its old state.
    pub fn evict(&mut self, target_bytes: usize) {
        self.slots.evict(target_bytes);
    }

    /// An estimate of the memory held: slots, and what keys and values hold outside of them, values as of their last
    /// seal or read (see [`weighed`](Table::weighed)).
    pub fn bytes(&self) -> usize {
        self.slots.bytes()
    }

    /// Entries in memory, known absences and tombstones counted.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether memory is empty; the store may not be.
    pub fn is_empty(&self) -> bool {
        self.slots.len() == 0
    }

    /// Whether the next seal has anything to write.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// About how many bytes the next seal takes: what has changed, as large as at the last seal, and what each change takes on its way.
    pub fn pending_bytes(&self) -> usize {
        self.dirty.len() * (self.usual + UNDER_WAY)
    }

    /// The buckets that have entries, ascending. One whose entries were all removed one by one may be among them until
    /// [`page`](Table::page) finds it empty. The first call seeks through the store, a step a bucket.
    pub fn buckets(&mut self, store: &dyn StateStore) -> Result<impl Iterator<Item = u64> + '_, StoreError> {
        self.live.discover(self.id, store)?;
        Ok(self.live.iter())
    }

    /// The first `limit` entries of `bucket` in key order; returns how many there were. See [`page`](Table::page).
    pub fn bucket_entries(
        &mut self,
        store: &dyn StateStore,
        bucket: u64,
        limit: usize,
        each: impl FnMut(&[u8], &V),
    ) -> Result<usize, StoreError> {
        self.page(store, Page { bucket, after: None, limit }, each)
    }

    /// A page of a bucket in key order, memory over store; returns how many entries it had: fewer than its limit, and
    /// the bucket ends here. Costs a pass over the bucket's entries in memory, and leaves memory as it is.
    pub fn page(
        &mut self,
        store: &dyn StateStore,
        page: Page<'_>,
        mut each: impl FnMut(&[u8], &V),
    ) -> Result<usize, StoreError> {
        let mut merge = Merge { memory: self.in_order(page), left: page.limit, each: &mut each };
        let mut failed = None;
        let range = self.range_of(page.bucket, page.after);
        if page.limit > 0 {
            store.scan(&range.start, &range.end, &mut |full, value| {
                let key = &full[keys::PREFIX..];
                merge.memory_up_to(Some(key));
                if merge.left > 0 && !merge.memory_has(key) {
                    match self.read(page.bucket, value) {
                        Ok(v) => merge.give(key, &v),
                        Err(e) => failed = Some(e),
                    }
                }
                merge.left > 0 && failed.is_none()
            })?;
        }
        if let Some(e) = failed {
            return Err(e);
        }
        merge.memory_up_to(None);
        let given = page.limit - merge.left;
        if given == 0 && page.after.is_none() && page.limit > 0 {
            self.live.remove(page.bucket);
        }
        Ok(given)
    }

    /// Removes entries of the buckets below `bucket`, oldest bucket first, at most `limit`; returns how many. Fewer
    /// than `limit`: nothing older is left. To be called once a transaction, before its seal.
    pub fn expire_before(&mut self, store: &dyn StateStore, bucket: u64, limit: usize) -> Result<usize, StoreError> {
        self.live.discover(self.id, store)?;
        let mut removed = 0;
        while let Some(oldest) = self.live.first_below(bucket).filter(|_| removed < limit) {
            removed += self.expire_memory(oldest, limit - removed);
            removed += self.expire_store(store, oldest, limit - removed)?;
            if removed < limit {
                self.live.remove(oldest);
                self.dead.add(oldest);
                self.expiring = None;
            }
        }
        Ok(removed)
    }

    /// Gives back the space of expired buckets whose tombstones have been applied: a range delete for each.
    pub fn reclaim(&mut self, store: &dyn StateStore) -> Result<(), StoreError> {
        self.dead.reclaim(self.id, store)
    }

    fn locate(&mut self, store: &dyn StateStore, bucket: u64, key: &[u8]) -> Result<u32, StoreError> {
        match self.slots.find(bucket, key) {
            Some(index) => {
                self.hits += 1;
                Ok(index)
            }
            None => self.load(store, bucket, key),
        }
    }

    #[cold]
    fn load(&mut self, store: &dyn StateStore, bucket: u64, key: &[u8]) -> Result<u32, StoreError> {
        self.misses += 1;
        self.scratch.clear();
        keys::key(self.id, bucket, key, &mut self.scratch);
        let stored = store.get(&self.scratch)?;
        let value = stored.as_deref().map(|bytes| self.read(bucket, bytes)).transpose()?;
        let outside = self.outside.and_then(|outside| value.as_ref().map(outside));
        let index = self.slots.insert(bucket, key, value);
        self.slots.weigh(index, outside.or(stored.map(|bytes| bytes.len())).unwrap_or(0));
        Ok(index)
    }

    fn read(&self, bucket: u64, bytes: &[u8]) -> Result<V, StoreError> {
        let read = |found, body: &[u8]| match found == self.version {
            true => codec::body_as(found, body),
            false => (self.older)(found, body),
        };
        let value = codec::decode_versioned(self.version, bytes, read);
        value.map_err(|cause| StoreError::Value { id: self.id, bucket, cause })
    }

    fn soil(&mut self, index: u32) {
        if self.slots.standing(index) != Standing::Dirty {
            self.slots.set_standing(index, Standing::Dirty);
            self.dirty.push(index);
        }
    }

    fn enliven(&mut self, bucket: u64) {
        self.live.add(bucket);
        self.dead.revive(bucket);
        if self.expiring.as_ref().is_some_and(|(b, _)| *b == bucket) {
            self.expiring = None;
        }
    }

    fn range_of(&self, bucket: u64, after: Option<&[u8]>) -> std::ops::Range<Vec<u8>> {
        let mut range = keys::bucket_range(self.id, bucket);
        if let Some(key) = after {
            range.start.extend_from_slice(key);
            range.start.push(0);
        }
        range
    }

    /// The page's entries in memory, smallest key on top: a heap, since mostly only a few of many are wanted.
    fn in_order(&self, page: Page<'_>) -> InOrder<'_, V> {
        let all = self.slots.of_bucket(page.bucket).iter().map(|&i| self.slots.at(i));
        let wanted = all.filter(|slot| page.after.is_none_or(|after| *slot.key > *after));
        wanted.map(|slot| Reverse(ByKey(&slot.key, slot.value.as_ref()))).collect()
    }

    fn expire_memory(&mut self, bucket: u64, limit: usize) -> usize {
        let live = self.slots.of_bucket(bucket).iter().filter(|&&i| self.slots.at(i).value.is_some());
        let batch: Vec<u32> = live.take(limit).copied().collect();
        for &index in &batch {
            *self.slots.value(index) = None;
            self.soil(index);
        }
        batch.len()
    }

    fn expire_store(&mut self, store: &dyn StateStore, bucket: u64, limit: usize) -> Result<usize, StoreError> {
        if limit == 0 {
            return Ok(0);
        }
        let after = self.expiring.take().filter(|(b, _)| *b == bucket);
        let range = self.range_of(bucket, after.as_ref().map(|(_, key)| key.as_slice()));
        let mut batch: Vec<Vec<u8>> = Vec::new();
        store.scan(&range.start, &range.end, &mut |full, _| {
            let key = &full[keys::PREFIX..];
            if self.slots.find(bucket, key).is_none() {
                batch.push(key.to_vec());
            }
            batch.len() < limit
        })?;
        for key in &batch {
            self.remove(bucket, key);
        }
        let count = batch.len();
        self.expiring = batch.pop().or(after.map(|(_, key)| key)).map(|key| (bucket, key));
        Ok(count)
    }
}

type InOrder<'a, V> = BinaryHeap<Reverse<ByKey<'a, V>>>;

/// A key and its value in memory, ordered by the key alone.
struct ByKey<'a, V>(&'a [u8], Option<&'a V>);

impl<V> PartialEq for ByKey<'_, V> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<V> Eq for ByKey<'_, V> {}

impl<V> PartialOrd for ByKey<'_, V> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<V> Ord for ByKey<'_, V> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(other.0)
    }
}

/// Two sorted sources as one, the memory winning.
struct Merge<'a, V, F> {
    memory: InOrder<'a, V>,
    left: usize,
    each: &'a mut F,
}

impl<V, F: FnMut(&[u8], &V)> Merge<'_, V, F> {
    /// Gives what memory has below `end`, tombstones left out.
    fn memory_up_to(&mut self, end: Option<&[u8]>) {
        while self.left > 0 && self.memory.peek().is_some_and(|Reverse(e)| end.is_none_or(|end| e.0 < end)) {
            if let Some(Reverse(ByKey(key, Some(value)))) = self.memory.pop() {
                self.give(key, value);
            }
        }
    }

    fn memory_has(&self, key: &[u8]) -> bool {
        self.memory.peek().is_some_and(|Reverse(e)| e.0 == key)
    }

    fn give(&mut self, key: &[u8], value: &V) {
        (self.each)(key, value);
        self.left -= 1;
    }
}
