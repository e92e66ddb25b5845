//! One suite for every `StateStore`. It must not know which one it has. The invariant tested: entries and meta move
//! together, in byte order, and are there again after an open.

// clippy.toml's exception covers test functions alone, and the helpers beside them are tests too.
#![allow(clippy::unwrap_used)]

mod places;

use places::{Place, meta, scanned};
use tidemill_state::Changes;

over_all_stores!(
    a_new_store_is_empty,
    later_entries_win_and_tombstones_delete,
    a_scan_is_ascending_half_open_and_stops_when_told,
    applying_the_same_again_is_harmless,
    a_range_delete_spares_the_rest_and_the_meta,
    a_query_answers_with_its_position,
    applied_changes_are_there_after_a_reopen,
);

fn changes(entries: &[(&[u8], Option<&[u8]>)]) -> Changes {
    let mut changes = Changes::new();
    entries.iter().for_each(|(key, value)| changes.push(key, *value));
    changes
}

fn a_new_store_is_empty<P: Place>() {
    let place = P::new();
    let store = place.open();
    assert_eq!(store.meta(), Ok(None));
    assert_eq!(store.get(b"a"), Ok(None));
    assert_eq!(scanned(&*store, b"", b"\xff"), []);
}

fn later_entries_win_and_tombstones_delete<P: Place>() {
    let place = P::new();
    let store = place.open();
    let all: [(&[u8], Option<&[u8]>); 5] =
        [(b"a", Some(b"1")), (b"a", Some(b"2")), (b"b", Some(b"3")), (b"b", None), (b"c", Some(b""))];
    store.apply(&changes(&all), &meta(1)).unwrap();
    assert_eq!(scanned(&*store, b"", b"\xff"), [(b"a".to_vec(), b"2".to_vec()), (b"c".to_vec(), vec![])]);
    assert_eq!(store.get(b"c"), Ok(Some(vec![])), "an empty value is a value");
    assert_eq!(store.get(b"b"), Ok(None));
}

fn a_scan_is_ascending_half_open_and_stops_when_told<P: Place>() {
    let place = P::new();
    let store = place.open();
    let keys: [&[u8]; 6] = [b"\xff", b"b", b"a\x00", b"a", b"a\xff", b"c"];
    store.apply(&changes(&keys.map(|k| (k, Some(k)))), &meta(1)).unwrap();
    let found: Vec<_> = scanned(&*store, b"a", b"c").into_iter().map(|(k, _)| k).collect();
    assert_eq!(found, [&b"a"[..], b"a\x00", b"a\xff", b"b"]);
    assert_eq!(scanned(&*store, b"c", b"a"), [], "a range that ends before it begins is empty");
    let mut seen = 0;
    let two = &mut |_: &[u8], _: &[u8]| {
        seen += 1;
        seen < 2
    };
    store.scan(b"", b"\xff\xff", two).unwrap();
    assert_eq!(seen, 2);
}

fn applying_the_same_again_is_harmless<P: Place>() {
    let place = P::new();
    let store = place.open();
    let batch = changes(&[(b"a", Some(b"1")), (b"b", None)]);
    store.apply(&batch, &meta(1)).unwrap();
    store.apply(&batch, &meta(1)).unwrap();
    assert_eq!(scanned(&*store, b"", b"\xff").len(), 1);
    assert_eq!(store.meta(), Ok(Some(meta(1))));
}

fn a_range_delete_spares_the_rest_and_the_meta<P: Place>() {
    let place = P::new();
    let store = place.open();
    let keys: [&[u8]; 4] = [b"a", b"b", b"bb", b"c"];
    store.apply(&changes(&keys.map(|k| (k, Some(k)))), &meta(4)).unwrap();
    store.delete_range(b"b", b"c").unwrap();
    store.delete_range(b"z", b"a").unwrap();
    let left: Vec<_> = scanned(&*store, b"", b"\xff").into_iter().map(|(k, _)| k).collect();
    assert_eq!(left, [b"a", b"c"]);
    assert_eq!(store.meta(), Ok(Some(meta(4))));
    store.apply(&changes(&[(b"b", Some(b"new"))]), &meta(5)).unwrap();
    assert_eq!(store.get(b"b"), Ok(Some(b"new".to_vec())), "a later write is not deleted by an earlier range");
}

fn a_query_answers_with_its_position<P: Place>() {
    let place = P::new();
    let store = place.open();
    store.apply(&changes(&[(b"a", Some(b"1"))]), &meta(7)).unwrap();
    let mut seen = 0;
    let position = store.query(b"a", b"b", &mut |_, _| {
        seen += 1;
        true
    });
    assert_eq!((position, seen), (Ok(Some(meta(7))), 1));
}

fn applied_changes_are_there_after_a_reopen<P: Place>() {
    let place = P::new();
    let store = place.open();
    store.apply(&changes(&[(b"a", Some(b"1"))]), &meta(1)).unwrap();
    drop(store);
    let store = place.open();
    store.apply(&changes(&[(b"b", Some(b"2"))]), &meta(2)).unwrap();
    store.flush().unwrap();
    drop(store);
    let store = place.open();
    assert_eq!(scanned(&*store, b"", b"\xff").len(), 2);
    assert_eq!(store.meta(), Ok(Some(meta(2))));
}
