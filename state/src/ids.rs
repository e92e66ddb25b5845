//! The fingerprints of one bucket, as a hash set in many small tables. It must not know the log or other buckets.
//! `id_set.rs` calls it. The invariant: an insert moves the ids of one small table at most, however many there are, and
//! the tables grow one after another and not all at once.

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hash};

/// Ids up to which one table is enough; the insert after that spreads them.
const ONE_TABLE: usize = 16_384;
/// Tables from then on: 20 million ids are 20 thousand each, and no more than that move at once.
const TABLES: usize = 1_024;

/// A hash set that grows a small table at a time.
pub(crate) struct Ids<T> {
    hasher: RandomState,
    tables: Vec<HashTable<T>>,
    len: usize,
}

impl<T: Hash + Eq + Copy> Ids<T> {
    pub(crate) fn new() -> Self {
        Ids { hasher: RandomState::default(), tables: vec![HashTable::new()], len: 0 }
    }

    /// Whether the id was new.
    pub(crate) fn insert(&mut self, id: T) -> bool {
        let hash = self.hasher.hash_one(id);
        let at = table_of(hash, self.tables.len());
        let hasher = &self.hasher;
        let entry = self.tables[at].entry(hash, |held| *held == id, |held| hasher.hash_one(held));
        let hashbrown::hash_table::Entry::Vacant(free) = entry else { return false };
        free.insert(id);
        self.len += 1;
        if self.len > ONE_TABLE && self.tables.len() == 1 {
            self.spread();
        }
        true
    }

    pub(crate) fn contains(&self, id: T) -> bool {
        let hash = self.hasher.hash_one(id);
        self.tables[table_of(hash, self.tables.len())].find(hash, |held| *held == id).is_some()
    }

    pub(crate) fn each(&self, mut each: impl FnMut(T)) {
        self.tables.iter().flatten().for_each(|id| each(*id));
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// An estimate of the memory held, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let ids: usize = self.tables.iter().map(HashTable::capacity).sum();
        ids * (size_of::<T>() + 1) + self.tables.len() * size_of::<HashTable<T>>()
    }

    fn spread(&mut self) {
        let one = std::mem::take(&mut self.tables);
        self.tables.resize_with(TABLES, HashTable::new);
        for id in one.into_iter().flatten() {
            let hash = self.hasher.hash_one(id);
            let hasher = &self.hasher;
            self.tables[table_of(hash, TABLES)].insert_unique(hash, id, |held| hasher.hash_one(held));
        }
    }
}

/// Equal shares would all reach a power of two, and so grow, within the same few inserts. These differ by a factor of
/// two, evenly on a scale of logarithms: `x + 0.34 x (1 - x)` is log2(1 + x) to within 1 %. The bits are those that the
/// tables themselves leave alone: they take the low ones and the highest seven.
fn table_of(hash: u64, tables: usize) -> usize {
    let x = hash >> 32 & 0xff_ffff;
    let bent = x + ((x * (0x100_0000 - x)) >> 24) * 34 / 100;
    (bent as usize * tables) >> 24
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many ids an insert of one more moved, if it did.
    fn moved(ids: &mut Ids<u64>, id: u64) -> usize {
        let (at, before) = {
            let at = table_of(ids.hasher.hash_one(id), ids.tables.len());
            (at, ids.tables[at].capacity())
        };
        let spread = ids.tables.len();
        assert!(ids.insert(id));
        match ids.tables.len() == spread {
            true if ids.tables[at].capacity() == before => 0,
            true => ids.tables[at].len(),
            false => ids.len,
        }
    }

    #[test]
    fn every_table_is_used_and_the_last_bit_stays_within() {
        assert_eq!((table_of(0, TABLES), table_of(u64::MAX, TABLES), table_of(u64::MAX, 1)), (0, TABLES - 1, 0));
    }

    #[test]
    fn no_insert_moves_many_ids_and_no_run_of_inserts_moves_most() {
        let mut ids = Ids::new();
        let (mut most, mut run, mut longest) = (0, 0, 0);
        for id in 0..2_000_000u64 {
            let now = moved(&mut ids, id);
            most = most.max(now);
            run = if id % 10_000 == 0 { now } else { run + now };
            if id > 500_000 {
                longest = longest.max(run * 100 / ids.len());
            }
        }
        assert!(most <= ONE_TABLE + 1, "one insert moved {most} ids");
        assert!(longest <= 8, "10 000 inserts moved {longest} % of all ids");
        assert!((0..2_000_000).all(|id| ids.contains(id)) && !ids.contains(2_000_000) && ids.len() == 2_000_000);
    }

    #[test]
    fn an_id_is_new_once_also_while_the_tables_are_spread() {
        let mut ids = Ids::new();
        (0..=ONE_TABLE as u128 + 5).for_each(|id| assert!(ids.insert(id) && !ids.insert(id)));
        assert_eq!((ids.tables.len(), ids.len()), (TABLES, ONE_TABLE + 6));
    }
}
