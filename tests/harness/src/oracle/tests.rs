//! The oracle against streams worked out by hand. Knows no Kafka. Invariant: what it expects is written here in full.

use super::*;

fn row(partition: i32, offset: i64, at: i64, amount: &str) -> Row {
    let value = format!("{{\"at\":{at},\"kind\":\"view\",\"size\":50,\"amount\":{amount}}}");
    Row {
        partition,
        offset,
        timestamp: 5,
        key: Some(b"k".to_vec()),
        value: Some(value.into_bytes()),
        headers: Vec::new(),
    }
}

#[test]
fn a_record_is_late_by_the_time_before_it() {
    let mut first = First::default();
    let times = [1_000, WINDOW + GRACE - 1, 2_000, WINDOW + GRACE, 3_000];
    for (offset, at) in times.into_iter().enumerate() {
        first.take(&row(0, offset as i64, at, "1.5"));
    }
    first.close();
    let window = &first.windows[&("k".to_owned(), 0)];
    assert!(window.is_closed && !first.windows[&("k".to_owned(), WINDOW)].is_closed);
    assert_eq!(window.history.len(), 2, "3 000 came after its window had closed");
    assert_eq!(first.dead, BTreeMap::from([((0, 4), "late")]));
    assert_eq!(first.running["k"][4].total, Number::parse("7.5"));
    assert_eq!(first.copies[&0].len(), 5, "late or not, it is copied");
}

#[test]
fn a_dead_letter_leaves_nothing_else() {
    let mut first = First::default();
    let mut keyless = row(0, 1, 99 * WINDOW, "1");
    keyless.key = None;
    for record in [row(0, 0, 1, "\"ten\""), keyless] {
        first.take(&record);
    }
    assert!(first.copies.is_empty() && first.running.is_empty() && first.windows.is_empty());
    assert_eq!((first.ends[&0].dead, first.ends[&0].stream_time), (2, i64::MIN));
}

#[test]
fn a_missing_amount_counts_and_adds_nothing() {
    let mut first = First::default();
    first.take(&row(0, 0, 1, "null"));
    assert_eq!(first.running["k"], [Sums { n: 1, total: None, low: None, high: None }]);
}
