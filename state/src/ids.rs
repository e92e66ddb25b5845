//! The fingerprints of one bucket, as a hash set in many small tables. It must not know the log or other buckets.
//! `id_set.rs` calls it. The invariant: an insert moves the ids of one small table at most, however many there are, and
//! the tables grow one after another and not all at once.
//!
//! Each table is open addressing with linear probing (Knuth, "The Art of Computer Programming" 3, 6.4, algorithm L), for a
//! fingerprint is a hash already, and a free slot needs no byte of its own: at a load of 64 to 80 % an id takes 1.25 to
//! 1.56 slots.

use crate::prefetch;
use foldhash::fast::RandomState;
use std::hash::BuildHasher;

/// Ids up to which one table is enough; the insert after that spreads them.
const ONE_TABLE: usize = 16_384;
/// Tables from then on: 20 million ids are 20 thousand each, and no more than that move at once.
const TABLES: usize = 1_024;
/// Slots from which on one of many tables grows by a quarter: doubling would leave a third of all memory empty.
const SPARING: usize = 256;

/// Bytes that a processor fetches together.
const LINE: usize = 64;

/// A fingerprint as a slot holds it.
pub(crate) trait Print: Copy + Eq {
    /// What a free slot holds; never an id.
    const FREE: Self;

    /// Spread over 64 bits by a secret, so that nobody can choose ids that meet.
    fn mix(self, secret: [u64; 2]) -> u64;
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// Two words and two secrets. Folded twice: once alone, words that differ in few bits are spread badly under some secrets.
fn fold_twice(low: u64, high: u64, secret: [u64; 2]) -> u64 {
    fold(fold(low ^ secret[0], high ^ secret[1]) ^ secret[1], 0x9E37_79B9_7F4A_7C15)
}

impl Print for u64 {
    const FREE: u64 = 0;

    fn mix(self, secret: [u64; 2]) -> u64 {
        fold(self ^ secret[0], secret[1])
    }
}

impl Print for u128 {
    const FREE: u128 = 0;

    fn mix(self, secret: [u64; 2]) -> u64 {
        fold_twice(self as u64, (self >> 64) as u64, secret)
    }
}

/// 80 bits, little-endian: ten bytes in a slot, where wider words would take sixteen.
impl Print for [u8; 10] {
    const FREE: [u8; 10] = [0; 10];

    fn mix(self, secret: [u64; 2]) -> u64 {
        let (low, high) = self.split_at(8);
        let low = u64::from_le_bytes(low.try_into().expect("split at eight"));
        let high = u16::from_le_bytes(high.try_into().expect("two are left"));
        fold_twice(low, u64::from(high), secret)
    }
}

/// A hash set that grows a small table at a time.
pub(crate) struct Ids<T> {
    secret: [u64; 2],
    tables: Vec<Slots<T>>,
    /// The id that is written as a free slot is.
    free: bool,
    len: usize,
    bytes: usize,
}

struct Slots<T> {
    slots: Box<[T]>,
    len: usize,
    /// Ids at which it grows.
    most: usize,
}

impl<T: Print> Ids<T> {
    pub(crate) fn new() -> Self {
        let state = RandomState::default();
        // An odd factor loses no bit of what it multiplies.
        let secret = [state.hash_one(0u8), state.hash_one(1u8) | 1];
        Ids { secret, tables: vec![Slots::new(0)], free: false, len: 0, bytes: 0 }
    }

    /// Whether the id was new.
    pub(crate) fn insert(&mut self, id: T) -> bool {
        if id == T::FREE {
            let new = !std::mem::replace(&mut self.free, true);
            self.len += usize::from(new);
            return new;
        }
        let hash = id.mix(self.secret);
        let tables = self.tables.len();
        let table = &mut self.tables[table_of(hash, tables)];
        let Err(mut at) = table.find(id, hash) else { return false };
        if table.len == table.most {
            self.bytes += table.grow(self.secret, tables > 1);
            at = table.find(id, hash).expect_err("it was not there");
        }
        table.slots[at] = id;
        table.len += 1;
        self.len += 1;
        if tables == 1 && self.len > ONE_TABLE {
            self.spread();
        }
        true
    }

    pub(crate) fn contains(&self, id: T) -> bool {
        if id == T::FREE {
            return self.free;
        }
        let hash = id.mix(self.secret);
        self.tables[table_of(hash, self.tables.len())].find(id, hash).is_ok()
    }

    /// Has the processor fetch what a look-up of this id will read, while there is other work to do: with many ids it
    /// lies in no cache, and a look-up mostly waits.
    #[inline]
    pub(crate) fn prefetch(&self, id: T) {
        let hash = id.mix(self.secret);
        let slots = &self.tables[table_of(hash, self.tables.len())].slots;
        prefetch::fetch(slots.as_ptr().wrapping_add(first_of(hash, slots.len())));
    }

    /// Reads what a look-up of this id will read, and does nothing with it: the processor goes on meanwhile. Unlike a hint, a read
    /// has it look for the page too, which with many ids takes longer than the rest. A look-up that finds nothing goes on over two
    /// lines of the cache mostly, so both are read.
    #[inline]
    pub(crate) fn touch(&self, id: T) {
        let hash = id.mix(self.secret);
        let slots = &self.tables[table_of(hash, self.tables.len())].slots;
        let first = first_of(hash, slots.len());
        for at in [first, first + LINE / size_of::<T>()] {
            if let Some(slot) = slots.get(at) {
                std::hint::black_box(*slot);
            }
        }
    }

    pub(crate) fn each(&self, mut each: impl FnMut(T)) {
        if self.free {
            each(T::FREE);
        }
        self.tables.iter().flat_map(Slots::ids).for_each(each);
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The memory held, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    #[cold]
    fn spread(&mut self) {
        let one = std::mem::take(&mut self.tables);
        self.tables.resize_with(TABLES, || Slots::new(0));
        self.bytes = TABLES * size_of::<Slots<T>>();
        for id in one.iter().flat_map(Slots::ids) {
            let hash = id.mix(self.secret);
            let table = &mut self.tables[table_of(hash, TABLES)];
            if table.len == table.most {
                self.bytes += table.grow(self.secret, true);
            }
            table.put(id, hash);
        }
    }
}

impl<T: Print> Slots<T> {
    fn new(slots: usize) -> Slots<T> {
        Slots { slots: vec![T::FREE; slots].into_boxed_slice(), len: 0, most: slots * 4 / 5 }
    }

    fn ids(&self) -> impl Iterator<Item = T> + '_ {
        self.slots.iter().copied().filter(|id| *id != T::FREE)
    }

    /// Where the id is, or the free slot where it would go; the latter says nothing in a table without slots.
    fn find(&self, id: T, hash: u64) -> Result<usize, usize> {
        let slots = &*self.slots;
        let mut at = first_of(hash, slots.len());
        loop {
            match slots.get(at) {
                Some(held) if *held == id => return Ok(at),
                Some(held) if *held == T::FREE => return Err(at),
                Some(_) => at += 1,
                None if slots.is_empty() => return Err(0),
                None => at = 0,
            }
        }
    }

    fn put(&mut self, id: T, hash: u64) {
        let at = self.find(id, hash).expect_err("each id is put once");
        self.slots[at] = id;
        self.len += 1;
    }

    /// Takes more slots; the bytes that it takes more.
    #[cold]
    fn grow(&mut self, secret: [u64; 2], sparing: bool) -> usize {
        let before = self.slots.len();
        let slots = if sparing && before >= SPARING { before + before / 4 } else { (2 * before).max(8) };
        let old = std::mem::replace(self, Slots::new(slots));
        old.ids().for_each(|id| self.put(id, id.mix(secret)));
        (slots - before) * size_of::<T>()
    }
}

/// Equal shares would all be full, and so grow, within the same few inserts. These differ by a factor of two, evenly on a
/// scale of logarithms: `x + 0.34 x (1 - x)` is log2(1 + x) to within 1 %. The tables themselves take the low 32 bits.
fn table_of(hash: u64, tables: usize) -> usize {
    let x = hash >> 40;
    let bent = x + ((x * (0x100_0000 - x)) >> 24) * 34 / 100;
    (bent as usize * tables) >> 24
}

/// Where a search of so many slots begins.
fn first_of(hash: u64, slots: usize) -> usize {
    (((hash & 0xffff_ffff) * slots as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many ids an insert of one more moved, if it did.
    fn moved(ids: &mut Ids<u64>, id: u64) -> usize {
        let at = table_of(id.mix(ids.secret), ids.tables.len());
        let (before, spread) = (ids.tables[at].slots.len(), ids.tables.len());
        assert!(ids.insert(id));
        match ids.tables.len() == spread {
            true if ids.tables[at].slots.len() == before => 0,
            true => ids.tables[at].len,
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
        assert!(longest <= 14, "10 000 inserts moved {longest} % of all ids");
        assert!((0..2_000_000).all(|id| ids.contains(id)) && !ids.contains(2_000_000) && ids.len() == 2_000_000);
    }

    #[test]
    fn an_id_takes_less_than_one_and_a_half_slots_and_the_bytes_are_those_of_the_slots() {
        let mut ids = Ids::new();
        for id in 1..=3_000_000u64 {
            ids.insert(id.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            if id.is_power_of_two() || id == 3_000_000 {
                let slots: usize = ids.tables.iter().map(|t| t.slots.len()).sum();
                let tables = if ids.tables.len() == 1 { 0 } else { TABLES * size_of::<Slots<u64>>() };
                assert_eq!(ids.bytes(), slots * 8 + tables);
            }
        }
        assert!(ids.bytes() < 3_000_000 * 12, "{} bytes an id", ids.bytes() as f64 / 3e6);
    }

    #[test]
    fn an_id_is_new_once_also_while_the_tables_are_spread() {
        let mut ids = Ids::new();
        (0..=ONE_TABLE as u128 + 5).for_each(|id| assert!(ids.insert(id) && !ids.insert(id)));
        assert_eq!((ids.tables.len(), ids.len()), (TABLES, ONE_TABLE + 6));
        let mut seen = Vec::new();
        ids.each(|id| seen.push(id));
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..=ONE_TABLE as u128 + 5));
    }

    #[test]
    fn ids_that_differ_in_one_word_alone_are_different_and_spread() {
        for word in 0..9 {
            let mut ids = Ids::new();
            for n in 0..=u16::MAX {
                let mut id = [7; 10];
                id[word..word + 2].copy_from_slice(&n.to_be_bytes());
                assert!(ids.insert(id) && !ids.insert(id));
            }
            let fullest = ids.tables.iter().map(|t| t.len).max().unwrap();
            assert!(fullest < 200, "word {word}: {fullest} of 65 536 ids in one of {TABLES} tables");
        }
    }
}
