//! Tables over every store, rule by rule. The long random runs are in `random.rs`.

// clippy.toml's exception covers test functions alone, and the helpers beside them are tests too.
#![allow(clippy::unwrap_used)]

mod places;

use places::{Place, meta, scanned};
use std::sync::atomic::{AtomicUsize, Ordering};
use tidemill_state::{
    Changes, CodecError, Meta, Page, StateStore, StoreError, Table, codec,
    keys::{self, StateId},
};

const ID: StateId = 3;

over_all_stores!(
    an_entry_is_not_evicted_before_its_apply,
    an_entry_changed_again_waits_for_its_last_apply,
    what_was_read_stays_in_memory_also_when_absent,
    a_seal_writes_each_changed_entry_once,
    a_tombstone_hides_the_store_until_it_is_applied,
    what_is_used_outlives_what_is_not,
    buckets_are_found_in_store_and_memory,
    a_page_is_memory_over_store_in_key_order,
    expiry_goes_in_slices_and_its_range_after_the_apply,
    a_write_to_an_expired_bucket_saves_it_from_the_range_delete,
    an_older_value_is_read_by_its_version_and_a_newer_one_halts,
);

/// One committed transaction: seal, apply, applied.
fn commit(table: &mut Table<u64>, store: &dyn StateStore, sequence: u64) {
    let mut changes = Changes::new();
    table.seal(sequence, &mut changes);
    store.apply(&changes, &meta(sequence as i64)).unwrap();
    table.applied(sequence);
}

fn entries(table: &mut Table<u64>, store: &dyn StateStore, page: Page<'_>) -> Vec<(Vec<u8>, u64)> {
    let mut found = Vec::new();
    let count = table.page(store, page, |k, v| found.push((k.to_vec(), *v))).unwrap();
    assert_eq!(count, found.len());
    found
}

fn whole(bucket: u64) -> Page<'static> {
    Page { bucket, after: None, limit: usize::MAX }
}

fn an_entry_is_not_evicted_before_its_apply<P: Place>() {
    let place = P::new();
    let store = place.open();
    let mut table = Table::<u64>::new(ID, 1);
    table.put(0, b"k", 1);
    commit(&mut table, &*store, 1);
    table.put(0, b"k", 2);
    table.evict(0);
    assert_eq!(table.get(&*store, 0, b"k"), Ok(Some(&2)), "dirty: the store still has 1");
    let mut changes = Changes::new();
    table.seal(2, &mut changes);
    // Clean neighbours: with none, eviction ends before it looks at anything.
    for neighbour in [b"a", b"b", b"z"] {
        assert_eq!(table.get(&*store, 0, neighbour), Ok(None));
    }
    table.evict(0);
    assert_eq!(table.len(), 1, "the neighbours may go");
    assert_eq!(table.get(&*store, 0, b"k"), Ok(Some(&2)), "sealed, not applied: the store still has 1");
    store.apply(&changes, &meta(2)).unwrap();
    table.applied(2);
    table.evict(0);
    assert_eq!((table.len(), table.bytes()), (0, 0), "applied: may go");
    assert_eq!(table.get(&*store, 0, b"k"), Ok(Some(&2)));
}

fn an_entry_changed_again_waits_for_its_last_apply<P: Place>() {
    let place = P::new();
    let store = place.open();
    let mut table = Table::<u64>::new(ID, 1);
    let (mut first, mut second) = (Changes::new(), Changes::new());
    table.put(0, b"k", 1);
    table.seal(1, &mut first);
    table.put(0, b"k", 2);
    store.apply(&first, &meta(1)).unwrap();
    table.applied(1);
    table.evict(0);
    assert_eq!(table.get(&*store, 0, b"k"), Ok(Some(&2)), "the apply of 1 says nothing about 2");
    table.seal(2, &mut second);
    table.applied(1);
    table.evict(0);
    assert_eq!(table.get(&*store, 0, b"k"), Ok(Some(&2)));
    assert_eq!((first.len(), second.len()), (1, 1));
}

fn what_was_read_stays_in_memory_also_when_absent<P: Place>() {
    let place = P::new();
    let counted = Counting { store: place.open(), gets: AtomicUsize::new(0) };
    let mut table = Table::<u64>::new(ID, 1);
    table.put(0, b"k", 5);
    commit(&mut table, &counted, 1);
    let mut table = Table::<u64>::new(ID, 1);
    for _ in 0..3 {
        assert_eq!(table.get(&counted, 0, b"k"), Ok(Some(&5)));
        assert_eq!(table.get(&counted, 0, b"none"), Ok(None));
        assert_eq!(table.get(&counted, 1, b"k"), Ok(None), "another bucket is another entry");
    }
    assert_eq!(counted.gets.load(Ordering::Relaxed), 3);
    *table.get_mut(&counted, 0, b"k").unwrap().unwrap() += 1;
    let pending = table.pending_bytes();
    assert!(table.is_dirty() && pending > 0, "a present entry changes");
    assert_eq!(table.get_mut(&counted, 0, b"none"), Ok(None));
    assert_eq!(table.pending_bytes(), pending, "an absent entry does not");
    assert_eq!(table.get(&counted, 0, b"k"), Ok(Some(&6)));
}

fn a_seal_writes_each_changed_entry_once<P: Place>() {
    let place = P::new();
    let store = place.open();
    let mut table = Table::<u64>::new(ID, 1);
    for value in 0..100 {
        table.put(7, b"k", value);
        table.get(&*store, 7, b"untouched").unwrap();
    }
    let (mut changes, mut want) = (Changes::new(), Changes::new());
    table.seal(1, &mut changes);
    let (mut key, mut value) = (Vec::new(), Vec::new());
    keys::key(ID, 7, b"k", &mut key);
    codec::encode(1, &99u64, &mut value);
    want.push(&key, Some(&value));
    assert_eq!(changes, want);
    assert!(!table.is_dirty());
}

fn a_tombstone_hides_the_store_until_it_is_applied<P: Place>() {
    let place = P::new();
    let store = place.open();
    let mut table = Table::<u64>::new(ID, 1);
    table.put(0, b"k", 1);
    commit(&mut table, &*store, 1);
    table.evict(0);
    table.remove(0, b"k");
    table.evict(0);
    assert_eq!(table.get(&*store, 0, b"k"), Ok(None));
    assert_eq!(entries(&mut table, &*store, whole(0)), []);
    commit(&mut table, &*store, 2);
    assert_eq!(table.len(), 0, "an applied tombstone needs no memory");
    assert_eq!(scanned(&*store, b"", b"\xff"), []);
}

fn what_is_used_outlives_what_is_not<P: Place>() {
    let place = P::new();
    let counted = Counting { store: place.open(), gets: AtomicUsize::new(0) };
    let mut table = Table::<u64>::new(ID, 1);
    for key in 0u8..100 {
        table.put(0, &[key], 1);
    }
    commit(&mut table, &counted, 1);
    let full = table.bytes();
    table.evict(full * 9 / 10);
    for key in 90u8..95 {
        table.get(&counted, 0, &[key]).unwrap();
    }
    let gets = counted.gets.load(Ordering::Relaxed);
    table.evict(full / 2);
    assert!(table.bytes() <= full / 2 && table.len() > 40, "{} of {full} bytes left", table.bytes());
    for key in 90u8..95 {
        table.get(&counted, 0, &[key]).unwrap();
    }
    assert_eq!(counted.gets.load(Ordering::Relaxed), gets, "recently used entries were still in memory");
}

fn buckets_are_found_in_store_and_memory<P: Place>() {
    let place = P::new();
    let store = place.open();
    let (mut table, mut other) = (Table::<u64>::new(ID, 1), Table::<u64>::new(ID + 1, 1));
    for bucket in [5, 0, u64::MAX, 3] {
        table.put(bucket, b"a", 1);
        table.put(bucket, b"b", 1);
        other.put(bucket + u64::from(bucket == 0), b"a", 1);
    }
    commit(&mut table, &*store, 1);
    commit(&mut other, &*store, 2);
    let mut table = Table::<u64>::new(ID, 1);
    table.put(4, b"a", 1);
    table.get(&*store, 9, b"absent").unwrap();
    assert_eq!(table.buckets(&*store).unwrap().collect::<Vec<_>>(), [0, 3, 4, 5, u64::MAX]);
    table.remove(4, b"a");
    assert_eq!(table.bucket_entries(&*store, 4, 10, |_, _| {}), Ok(0));
    assert_eq!(table.buckets(&*store).unwrap().collect::<Vec<_>>(), [0, 3, 5, u64::MAX]);
}

fn a_page_is_memory_over_store_in_key_order<P: Place>() {
    let place = P::new();
    let store = place.open();
    let mut table = Table::<u64>::new(ID, 1);
    for key in [b"b", b"d", b"f", b"h"] {
        table.put(1, key, 1);
        table.put(2, key, 9);
    }
    commit(&mut table, &*store, 1);
    table.evict(0);
    table.put(1, b"i", 2);
    table.put(1, b"a", 2);
    table.put(1, b"d", 2);
    table.remove(1, b"f");
    let all: Vec<(Vec<u8>, u64)> =
        [("a", 2), ("b", 1), ("d", 2), ("h", 1), ("i", 2)].map(|(k, v)| (k.as_bytes().to_vec(), v)).to_vec();
    assert_eq!(entries(&mut table, &*store, whole(1)), all);
    let mut paged: Vec<(Vec<u8>, u64)> = Vec::new();
    loop {
        let after = paged.last().map(|(k, _)| k.clone());
        let page = entries(&mut table, &*store, Page { bucket: 1, after: after.as_deref(), limit: 2 });
        paged.extend(page.clone());
        if page.len() < 2 {
            break;
        }
    }
    assert_eq!(paged, all);
}

fn expiry_goes_in_slices_and_its_range_after_the_apply<P: Place>() {
    let place = P::new();
    let store = place.open();
    let mut table = Table::<u64>::new(ID, 1);
    for key in 0u8..7 {
        (1..=3).for_each(|bucket| table.put(bucket, &[key], 1));
    }
    commit(&mut table, &*store, 1);
    table.evict(table.bytes() / 2);
    let mut slices = Vec::new();
    for sequence in 2.. {
        slices.push(table.expire_before(&*store, 3, 4).unwrap());
        commit(&mut table, &*store, sequence);
        if slices.last() < Some(&4) {
            break;
        }
    }
    assert_eq!(slices, [4, 4, 4, 2]);
    assert_eq!(scanned(&*store, b"", b"\xff").len(), 7, "bucket 3 alone is left");
    let counted = RangeDeletes { store, ranges: AtomicUsize::new(0) };
    table.reclaim(&counted).unwrap();
    table.reclaim(&counted).unwrap();
    assert_eq!(counted.ranges.load(Ordering::Relaxed), 2, "one for each dead bucket");
    assert_eq!(table.buckets(&counted).unwrap().collect::<Vec<_>>(), [3]);
    assert_eq!(entries(&mut table, &counted, whole(3)).len(), 7);
}

fn a_write_to_an_expired_bucket_saves_it_from_the_range_delete<P: Place>() {
    let place = P::new();
    let store = place.open();
    let mut table = Table::<u64>::new(ID, 1);
    table.put(1, b"old", 1);
    commit(&mut table, &*store, 1);
    assert_eq!(table.expire_before(&*store, 2, 10), Ok(1));
    let mut changes = Changes::new();
    table.seal(2, &mut changes);
    table.reclaim(&*store).unwrap();
    assert_eq!(scanned(&*store, b"", b"\xff").len(), 1, "the store changes by committed changes alone");
    table.put(1, b"new", 2);
    store.apply(&changes, &meta(2)).unwrap();
    table.applied(2);
    commit(&mut table, &*store, 3);
    table.reclaim(&*store).unwrap();
    assert_eq!(scanned(&*store, b"", b"\xff").len(), 1);
    assert_eq!(table.buckets(&*store).unwrap().collect::<Vec<_>>(), [1]);
}

fn an_older_value_is_read_by_its_version_and_a_newer_one_halts<P: Place>() {
    let place = P::new();
    let store = place.open();
    let mut first = Table::<u64>::new(ID, 1);
    first.put(0, b"k", 5);
    commit(&mut first, &*store, 1);
    let mut second = Table::<String>::with_older(ID, 2, |v, body| Ok(codec::body_as::<u64>(v, body)?.to_string()));
    assert_eq!(second.get(&*store, 0, b"k"), Ok(Some(&"5".to_owned())));
    let mut strict = Table::<u64>::new(ID, 2);
    let cause = CodecError::Unreadable { found: 1 };
    assert_eq!(strict.get(&*store, 0, b"k"), Err(StoreError::Value { id: ID, bucket: 0, cause }));
    second.put(0, b"k", "six".into());
    let mut changes = Changes::new();
    second.seal(2, &mut changes);
    store.apply(&changes, &meta(2)).unwrap();
    let mut first = Table::<u64>::new(ID, 1);
    let cause = CodecError::Newer { found: 2, newest: 1 };
    let halt = StoreError::Value { id: ID, bucket: 0, cause };
    assert_eq!(first.get(&*store, 0, b"k"), Err(halt.clone()));
    assert_eq!(first.bucket_entries(&*store, 0, 1, |_, _| {}), Err(halt));
}

/// Counts what reaches the store's `get`.
struct Counting {
    store: Box<dyn StateStore>,
    gets: AtomicUsize,
}

/// Counts range deletes, and carries them out.
struct RangeDeletes {
    store: Box<dyn StateStore>,
    ranges: AtomicUsize,
}

macro_rules! delegate {
    ($of:ty, get: $get:expr, delete_range: $delete:expr) => {
        impl StateStore for $of {
            fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
                $get(self);
                self.store.get(key)
            }
            fn query(
                &self,
                from: &[u8],
                to: &[u8],
                each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
            ) -> Result<Option<Meta>, StoreError> {
                self.store.query(from, to, each)
            }
            fn view(
                &self,
                look: &mut dyn FnMut(&dyn tidemill_state::View) -> Result<(), StoreError>,
            ) -> Result<(), StoreError> {
                self.store.view(look)
            }
            fn apply(&self, changes: &Changes, meta: &Meta) -> Result<(), StoreError> {
                self.store.apply(changes, meta)
            }
            fn delete_range(&self, from: &[u8], to: &[u8]) -> Result<(), StoreError> {
                $delete(self);
                self.store.delete_range(from, to)
            }
            fn meta(&self) -> Result<Option<Meta>, StoreError> {
                self.store.meta()
            }
            fn flush(&self) -> Result<(), StoreError> {
                self.store.flush()
            }
        }
    };
}

delegate!(Counting, get: |s: &Counting| s.gets.fetch_add(1, Ordering::Relaxed), delete_range: |_: &Counting| ());
delegate!(RangeDeletes, get: |_: &RangeDeletes| (), delete_range: |s: &RangeDeletes| s.ranges.fetch_add(1, Ordering::Relaxed));
