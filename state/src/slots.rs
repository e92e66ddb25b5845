//! A table's entries in memory: a slab in chunks, a hash map into it, and per bucket the list of its slots. It must not know
//! stores or bytes. Only `table.rs` calls it. The invariant: a slot that is not clean is never freed, so an index kept
//! in a list of dirty or sealed slots stays good.

use crate::held::{self, KeyBytes};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher},
};

/// How far an entry's last change has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The store says the same: may be evicted.
    Clean,
    /// Changed since the last seal.
    Dirty,
    /// On its way: the store says so once this sequence is applied.
    Sealed(u64),
}

pub(crate) struct Slot<V> {
    pub(crate) bucket: u64,
    pub(crate) key: KeyBytes,
    /// `None`: known to be absent; a tombstone while not clean.
    pub(crate) value: Option<V>,
    standing: Standing,
    /// Index in the list of its bucket.
    place: u32,
    /// What the value holds outside of the slot, as it was last estimated.
    weight: u32,
    /// Used since the hand last passed.
    recent: bool,
}

/// Chunks of [`CHUNK`] slots: what grows as one vector leaves its earlier self behind, as holes in the process's memory.
struct Slab<V>(Vec<Vec<Option<Slot<V>>>>);

const CHUNK: usize = 1024;

pub(crate) struct Slots<V> {
    map: HashTable<u32>,
    slots: Slab<V>,
    free: Vec<u32>,
    by_bucket: HashMap<u64, Vec<u32>, RandomState>,
    hasher: RandomState,
    bytes: usize,
    /// How many slots are not clean.
    pinned: usize,
    hand: usize,
}

impl<V> Slots<V> {
    /// What an entry costs besides what its key and its value hold outside of it: the slot, and its share of map and lists.
    const FIXED: usize = size_of::<Option<Slot<V>>>() + 32;

    pub(crate) fn new() -> Self {
        Slots {
            map: HashTable::new(),
            slots: Slab(Vec::new()),
            free: Vec::new(),
            by_bucket: HashMap::default(),
            hasher: RandomState::default(),
            bytes: 0,
            pinned: 0,
            hand: 0,
        }
    }

    pub(crate) fn find(&self, bucket: u64, key: &[u8]) -> Option<u32> {
        let is_it = |&i: &u32| {
            let slot = self.at(i);
            slot.bucket == bucket && *slot.key == *key
        };
        self.map.find(hash(&self.hasher, bucket, key), is_it).copied()
    }

    /// Adds a clean entry that is not there yet.
    pub(crate) fn insert(&mut self, bucket: u64, key: &[u8], value: Option<V>) -> u32 {
        let list = self.by_bucket.entry(bucket).or_default();
        let place = u32::try_from(list.len()).expect("memory ends before 2^32 entries");
        let slot = Slot {
            bucket,
            key: KeyBytes::from_slice(key),
            value,
            standing: Standing::Clean,
            place,
            weight: 0,
            recent: true,
        };
        let index = match self.free.pop() {
            Some(index) => {
                *self.slots.place(index as usize) = Some(slot);
                index
            }
            None => u32::try_from(self.slots.push(slot)).expect("memory ends before 2^32 entries"),
        };
        list.push(index);
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.map.insert_unique(hash(hasher, bucket, key), index, |&i| {
            let slot = slots.at(i);
            hash(hasher, slot.bucket, &slot.key)
        });
        self.bytes += Self::FIXED + held::outside(key.len());
        index
    }

    /// Frees a clean entry.
    pub(crate) fn remove(&mut self, index: u32) {
        let slot = self.slots.place(index as usize).take().expect("only an occupied slot is freed");
        debug_assert_eq!(slot.standing, Standing::Clean, "an entry leaves memory only once the store has it");
        let found = self.map.find_entry(hash(&self.hasher, slot.bucket, &slot.key), |&i| i == index);
        found.expect("every occupied slot is in the map").remove();
        let list = self.by_bucket.get_mut(&slot.bucket).expect("every occupied slot is in its bucket's list");
        list.swap_remove(slot.place as usize);
        match list.get(slot.place as usize) {
            Some(&moved) => self.at_mut(moved).place = slot.place,
            None if list.is_empty() => drop(self.by_bucket.remove(&slot.bucket)),
            None => {}
        }
        self.bytes -= Self::FIXED + held::outside(slot.key.len()) + slot.weight as usize;
        self.free.push(index);
    }

    pub(crate) fn at(&self, index: u32) -> &Slot<V> {
        self.slots.at(index)
    }

    fn at_mut(&mut self, index: u32) -> &mut Slot<V> {
        self.slots.place(index as usize).as_mut().expect("an index leads to an occupied slot")
    }

    /// The value, and the entry counts as used.
    pub(crate) fn value(&mut self, index: u32) -> &mut Option<V> {
        let slot = self.at_mut(index);
        slot.recent = true;
        &mut slot.value
    }

    pub(crate) fn standing(&self, index: u32) -> Standing {
        self.at(index).standing
    }

    /// Moves an entry to `to` and says where it stood.
    pub(crate) fn set_standing(&mut self, index: u32, to: Standing) -> Standing {
        let from = std::mem::replace(&mut self.at_mut(index).standing, to);
        self.pinned += usize::from(to != Standing::Clean);
        self.pinned -= usize::from(from != Standing::Clean);
        from
    }

    /// Notes what an entry's value holds outside of its slot, bytes.
    pub(crate) fn weigh(&mut self, index: u32, outside: usize) {
        let weight = u32::try_from(outside).unwrap_or(u32::MAX);
        let before = std::mem::replace(&mut self.at_mut(index).weight, weight);
        self.bytes = self.bytes + weight as usize - before as usize;
    }

    /// Slots of a bucket, in no order that means anything.
    pub(crate) fn of_bucket(&self, bucket: u64) -> &[u32] {
        self.by_bucket.get(&bucket).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// Frees clean entries until `target` bytes are left: those not used since the hand last passed. Two rounds at most.
    pub(crate) fn evict(&mut self, target: usize) {
        let mut steps = 2 * self.slots.len();
        while self.bytes > target && self.map.len() > self.pinned && steps > 0 {
            steps -= 1;
            let here = self.hand % self.slots.len();
            self.hand = here + 1;
            match self.slots.place(here) {
                Some(slot) if slot.standing != Standing::Clean => {}
                Some(slot) if slot.recent => slot.recent = false,
                Some(_) => self.remove(u32::try_from(here).expect("an index was a u32 before")),
                None => {}
            }
        }
    }
}

impl<V> Slab<V> {
    fn len(&self) -> usize {
        self.0.last().map_or(0, |last| (self.0.len() - 1) * CHUNK + last.len())
    }

    /// Adds a slot at the end and says where.
    fn push(&mut self, slot: Slot<V>) -> usize {
        let at = self.len();
        match self.0.last_mut().filter(|last| last.len() < CHUNK) {
            Some(last) => last.push(Some(slot)),
            None => self.0.push(vec![Some(slot)]),
        }
        at
    }

    fn at(&self, index: u32) -> &Slot<V> {
        let index = index as usize;
        self.0[index / CHUNK][index % CHUNK].as_ref().expect("an index leads to an occupied slot")
    }

    fn place(&mut self, index: usize) -> &mut Option<Slot<V>> {
        &mut self.0[index / CHUNK][index % CHUNK]
    }
}

fn hash(hasher: &RandomState, bucket: u64, key: &[u8]) -> u64 {
    let mut h = hasher.build_hasher();
    h.write_u64(bucket);
    h.write(key);
    h.finish()
}
