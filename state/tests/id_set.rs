//! Id sets over every store, rule by rule. The long random runs are in `random.rs`.

// clippy.toml's exception covers test functions alone, and the helpers beside them are tests too.
#![allow(clippy::unwrap_used)]

mod places;

use places::{Place, meta, scanned};
use tidemill_state::{Changes, CodecError, IdSet, IdShape, StateStore, StoreError, Width, fingerprint, keys};

const ID: u16 = 4;
const WIDE: IdShape = IdShape { width: Width::Wide, at_most: usize::MAX };
const NARROW: IdShape = IdShape { width: Width::Narrow, at_most: usize::MAX };

over_all_stores!(
    an_id_is_new_once_to_its_bucket,
    a_seal_is_one_segment_a_bucket_with_what_is_new,
    a_burst_is_cut_into_segments_that_a_broker_takes,
    another_width_halts,
    expiry_writes_tombstones_in_slices,
    the_bound_drops_the_oldest_bucket_and_counts_it,
    a_narrow_set_keeps_the_low_bits,
);

fn commit(set: &mut IdSet, store: &dyn StateStore, sequence: u64) -> usize {
    let mut changes = Changes::new();
    set.seal(sequence, &mut changes);
    store.apply(&changes, &meta(sequence as i64)).unwrap();
    set.applied(sequence);
    changes.len()
}

fn an_id_is_new_once_to_its_bucket<P: Place>() {
    let place = P::new();
    let store = place.open();
    let anna = fingerprint(b"anna");
    let mut set = IdSet::new(ID, WIDE);
    assert!(set.insert(1, anna) && !set.insert(1, anna) && set.insert(2, anna));
    commit(&mut set, &*store, 1);
    let mut set = IdSet::open(ID, WIDE, &*store).unwrap();
    assert!(!set.insert(1, anna) && set.contains(2, anna) && !set.contains(3, anna) && !set.contains(2, anna ^ 1));
    assert_eq!((set.len(1), set.len(3), set.total(), set.oldest()), (1, 0, 2, Some(1)));
    assert!(set.contains_since(2, anna) && !set.contains_since(3, anna));
    assert!(!set.is_dirty(), "what was loaded is not new");
}

fn a_seal_is_one_segment_a_bucket_with_what_is_new<P: Place>() {
    let place = P::new();
    let store = place.open();
    let mut set = IdSet::new(ID, WIDE);
    (0..10).for_each(|id| assert!(set.insert(id % 2, id as u128)));
    assert_eq!(commit(&mut set, &*store, 1), 2);
    assert_eq!(commit(&mut set, &*store, 2), 0, "nothing new, no segment");
    set.insert(1, 77);
    let mut changes = Changes::new();
    set.seal(3, &mut changes);
    let (mut key, mut want) = (Vec::new(), Changes::new());
    keys::key(ID, 1, &3u64.to_be_bytes(), &mut key);
    want.push(&key, Some(&[&[1, 16][..], &77u128.to_be_bytes()].concat()));
    assert_eq!(changes, want);
}

fn a_burst_is_cut_into_segments_that_a_broker_takes<P: Place>() {
    let place = P::new();
    let store = place.open();
    let mut set = IdSet::new(ID, WIDE);
    let ids = 100_000u128;
    (0..ids).for_each(|id| assert!(set.insert(1, id << 90)));
    let mut changes = Changes::new();
    set.seal(1, &mut changes);
    assert_eq!(changes.len(), 4);
    assert!(changes.iter().all(|(_, value)| value.is_some_and(|v| v.len() < 600_000)));
    store.apply(&changes, &meta(1)).unwrap();
    let mut set = IdSet::open(ID, WIDE, &*store).unwrap();
    assert_eq!(set.len(1), ids as usize);
    let mut tombstones = Changes::new();
    assert_eq!(set.expire_before(2, 100, &mut tombstones), 4);
    store.apply(&tombstones, &meta(2)).unwrap();
    assert_eq!(scanned(&*store, b"", b"\xff"), [], "the tombstones name every part");
}

fn another_width_halts<P: Place>() {
    let place = P::new();
    let store = place.open();
    let mut set = IdSet::new(ID, WIDE);
    set.insert(9, 1);
    commit(&mut set, &*store, 1);
    match IdSet::open(ID, NARROW, &*store) {
        Err(StoreError::Value { id: ID, bucket: 9, cause: CodecError::Malformed { .. } }) => {}
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("16 bytes read as two ids of 8"),
    }
}

fn expiry_writes_tombstones_in_slices<P: Place>() {
    let place = P::new();
    let store = place.open();
    let mut set = IdSet::new(ID, WIDE);
    for sequence in 1..=5 {
        (1..=3).for_each(|bucket| assert!(set.insert(bucket, sequence as u128)));
        commit(&mut set, &*store, sequence);
    }
    set.insert(1, 99);
    let mut slices = Vec::new();
    for sequence in 6.. {
        let mut changes = Changes::new();
        let written = set.expire_before(3, 4, &mut changes);
        assert_eq!((set.oldest(), written), (Some(3), changes.len()), "memory goes at once, the log in slices");
        set.seal(sequence, &mut changes);
        store.apply(&changes, &meta(sequence as i64)).unwrap();
        set.applied(sequence);
        set.reclaim(&*store).unwrap();
        slices.push(written);
        if written < 4 {
            break;
        }
    }
    assert_eq!(slices, [4, 4, 2]);
    assert_eq!(scanned(&*store, b"", b"\xff").len(), 5);
    assert_eq!(IdSet::open(ID, WIDE, &*store).unwrap().total(), 5);
}

fn the_bound_drops_the_oldest_bucket_and_counts_it<P: Place>() {
    let place = P::new();
    let store = place.open();
    let shape = IdShape { width: Width::Wide, at_most: 5 };
    let mut set = IdSet::new(ID, shape);
    (0..3).for_each(|id| assert!(set.insert(1, id)));
    (0..2).for_each(|id| assert!(set.insert(2, id)));
    commit(&mut set, &*store, 1);
    assert_eq!((set.total(), set.dropped()), (5, 0));
    assert!(set.insert(2, 9));
    assert_eq!((set.total(), set.dropped(), set.oldest()), (3, 1, Some(2)));
    let mut changes = Changes::new();
    assert_eq!(set.expire_before(0, 10, &mut changes), 1, "the dropped bucket's segment dies with the next expiry");
    set.seal(2, &mut changes);
    store.apply(&changes, &meta(2)).unwrap();
    assert_eq!(IdSet::open(ID, shape, &*store).unwrap().total(), 3);
    let smaller = IdSet::open(ID, IdShape { at_most: 2, ..shape }, &*store).unwrap();
    assert_eq!((smaller.total(), smaller.dropped()), (0, 1));
}

fn a_narrow_set_keeps_the_low_bits<P: Place>() {
    let place = P::new();
    let store = place.open();
    let mut set = IdSet::new(ID, NARROW);
    assert!(set.insert(1, 1 << 64 | 5));
    assert!(!set.insert(1, 2 << 64 | 5), "differs in the high bits alone");
    commit(&mut set, &*store, 1);
    let set = IdSet::open(ID, NARROW, &*store).unwrap();
    assert!(set.contains(1, 5) && !set.contains(1, 6));
    assert_eq!(scanned(&*store, b"", b"\xff")[0].1.len(), 2 + 8);
}
